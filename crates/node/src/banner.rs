//! The first lines a person sees. Programs read the log line instead.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// What the lines say.
pub struct Banner<'a> {
    pub addresses: &'a [(String, SocketAddr)],
    pub data: &'a Path,
    pub cluster_id: &'a str,
    pub metrics: Option<SocketAddr>,
    pub took: Duration,
}

/// Whether a person is watching.
pub fn is_watched() -> bool {
    std::io::stdout().is_terminal()
}

impl Banner<'_> {
    /// Writes the lines to stdout. A stdout that is gone is no reason to stop.
    pub fn show(&self) {
        let _ = std::io::stdout().write_all(self.text().as_bytes());
    }

    fn text(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let addresses: Vec<String> =
            self.addresses.iter().map(|(name, address)| format!("{address} ({name})")).collect();
        let metrics =
            self.metrics.map(|address| format!("  metrics   http://{address}/metrics\n")).unwrap_or_default();
        let port = self.addresses.first().map_or(9092, |(_, address)| address.port());
        format!(
            "dohle {version} is ready after {:.1} ms\n  \
             address   {}\n  \
             data      {}\n  \
             cluster   {}\n\
             {metrics}  \
             try       echo hello | kcat -P -b localhost:{port} -t greetings\n  \
             stop      Ctrl-C\n",
            self.took.as_secs_f64() * 1000.0,
            addresses.join(", "),
            self.data.display(),
            self.cluster_id,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_learns_what_there_is_to_know() {
        let addresses = [("PLAINTEXT".to_owned(), SocketAddr::from(([127, 0, 0, 1], 9095)))];
        let banner = Banner {
            addresses: &addresses,
            data: Path::new("/home/me/data"),
            cluster_id: "abc",
            metrics: None,
            took: Duration::from_micros(7250),
        };
        let text = banner.text();
        for part in [
            "7.2 ms",
            "127.0.0.1:9095 (PLAINTEXT)",
            "/home/me/data",
            "abc",
            "kcat -P -b localhost:9095",
            "Ctrl-C",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("metrics"));
    }
}
