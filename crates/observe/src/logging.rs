//! Log lines: to stderr, as text for people or JSON for machines.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `2026-01-01T00:00:00.000000Z  INFO dohle_broker: message key=value`
    Text { colours: bool },
    /// One object per line: `timestamp`, `level`, `target`, `fields`.
    Json,
}

/// The filter is neither a level nor a list of `target=level`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFilter(pub String);

impl std::fmt::Display for BadFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" is not a level (error, warn, info, debug, off) or a list of part=level", self.0)
    }
}

impl std::error::Error for BadFilter {}

/// Reads a filter such as `info` or `info,dohle_broker=debug`.
pub fn parse_filter(text: &str) -> Result<Targets, BadFilter> {
    let bad = || BadFilter(text.to_owned());
    let targets: Targets = text.parse().map_err(|_| bad())?;
    // A word that is no level would be taken for the name of a part.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let is_known = |part: &str| part.contains('=') || is_level(part.trim());
    if text.split(',').all(is_known) { Ok(targets) } else { Err(bad()) }
}

/// Starts logging for the whole process. Fails when something logs already.
pub fn start(format: Format, filter: Targets) -> Result<(), TryInitError> {
    let lines = fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        Format::Text { colours } => lines.with_ansi(colours).boxed(),
        Format::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_or_lists() {
        for good in ["info", "debug", "off", "WARN", "info,dohle_broker=debug", "dohle_log=trace,warn"] {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
        for bad in ["loud", "info,loud", "a=loud", ""] {
            assert!(parse_filter(bad).is_err(), "{bad}");
        }
    }
}
