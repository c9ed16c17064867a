//! What the kernel tells about this process. Where it tells nothing, nothing is shown.

use std::path::Path;

use dohle_env::Disk;
use dohle_env::disk::OpenMode;

use crate::metrics::Report;
use crate::names;

/// More than any of the files read here has.
const FILE_BYTES: usize = 4096;
/// The kernel counts processor time for programs in hundredths of a second (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds what is known to the report, and gives the processor time, which is no whole number.
pub(crate) fn report(disk: &dyn Disk, report: &mut Report) -> Option<f64> {
    if let Some(kib) = read(disk, "/proc/self/status").and_then(|text| number_after(&text, "VmRSS:")) {
        report.gauge(names::PROCESS_RESIDENT, &[], kib * 1024.0);
    }
    if let Ok(open) = disk.list(Path::new("/proc/self/fd")) {
        #[allow(clippy::cast_precision_loss)]
        report.gauge(names::PROCESS_FDS, &[], open.len() as f64);
    }
    if let Some(most) = read(disk, "/proc/self/limits").and_then(|text| number_after(&text, "Max open files"))
    {
        report.gauge(names::PROCESS_MAX_FDS, &[], most);
    }
    cpu_seconds(&read(disk, "/proc/self/stat")?)
}

fn read(disk: &dyn Disk, path: &str) -> Option<String> {
    let file = disk.open(Path::new(path), OpenMode::Read).ok()?;
    let mut text = vec![0; FILE_BYTES];
    let len = file.read_at(&mut text, 0).ok()?;
    text.truncate(len);
    String::from_utf8(text).ok()
}

fn number_after(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The 14th and 15th field; the 2nd is the program's name in brackets, which may contain anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        assert_eq!(cpu_seconds("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0"), Some(2.0));
        assert_eq!(number_after("VmPeak:\t 5 kB\nVmRSS:\t  1234 kB\n", "VmRSS:"), Some(1234.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }
}
