//! What the kernel knows about a process: its CPU time, its memory, how often it was switched.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// `/proc` counts CPU time of whole processes in these.
const TICK_NS: u64 = 10_000_000;
const KIB: f64 = 1024.0;

/// A process by its number.
#[derive(Clone, Debug)]
pub struct Process {
    id: u32,
    folder: PathBuf,
}

/// Counters since the process began.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// User and system time of all threads, also of those that have ended, in steps of 10 ms.
    pub cpu_ns: u64,
    /// The same of the threads alive, to the nanosecond.
    pub alive_cpu_ns: u64,
    pub switches: u64,
    /// CPU time of the threads alive by name, those whose names differ by a number only taken together.
    pub threads: BTreeMap<String, u64>,
    /// Resident memory now, and the most it ever was.
    pub rss_bytes: u64,
    pub peak_bytes: u64,
}

impl Process {
    pub fn new(id: u32) -> Self {
        Self { id, folder: Path::new("/proc").join(id.to_string()) }
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// How many descriptors it has open.
    pub fn files(&self) -> Outcome<usize> {
        Ok(std::fs::read_dir(self.folder.join("fd"))?.count())
    }

    /// How many pieces its memory is mapped in.
    pub fn maps(&self) -> Outcome<usize> {
        Ok(read(&self.folder.join("maps"))?.lines().count())
    }

    pub fn read(&self) -> Outcome<Reading> {
        let status = read(&self.folder.join("status"))?;
        let mut reading = Reading {
            cpu_ns: cpu_ns(&read(&self.folder.join("stat"))?)?,
            rss_bytes: kib(&status, "VmRSS:"),
            peak_bytes: kib(&status, "VmHWM:"),
            ..Reading::default()
        };
        for task in std::fs::read_dir(self.folder.join("task"))? {
            let task = task?.path();
            // A thread may end between the listing and the reading.
            let Ok(schedstat) = read(&task.join("schedstat")) else { continue };
            let first = schedstat.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
            reading.alive_cpu_ns += first.unwrap_or(0);
            let name = read(&task.join("comm")).unwrap_or_default();
            *reading.threads.entry(without_numbers(name.trim())).or_default() += first.unwrap_or(0);
            let status = read(&task.join("status")).unwrap_or_default();
            reading.switches += number_after(&status, "voluntary_ctxt_switches:")
                + number_after(&status, "nonvoluntary_ctxt_switches:");
        }
        Ok(reading)
    }
}

impl Reading {
    /// CPU seconds since `earlier`. The finer counter is right unless threads have ended since.
    pub fn cpu_seconds_since(&self, earlier: &Self) -> f64 {
        let whole = self.cpu_ns.saturating_sub(earlier.cpu_ns);
        let alive = self.alive_cpu_ns.saturating_sub(earlier.alive_cpu_ns);
        let exact = if whole.abs_diff(alive) <= 2 * TICK_NS { alive } else { whole.max(alive) };
        exact as f64 / 1e9
    }

    /// CPU seconds since `earlier` by threads' names, without those that did next to nothing.
    pub fn threads_since(&self, earlier: &Self) -> BTreeMap<String, f64> {
        const NOTHING: f64 = 0.005;
        let seconds = self.threads.iter().map(|(name, ns)| {
            let before = earlier.threads.get(name).copied().unwrap_or(0);
            (name.clone(), ns.saturating_sub(before) as f64 / 1e9)
        });
        seconds.filter(|(_, seconds)| *seconds >= NOTHING).collect()
    }

    pub fn rss_mib(&self) -> f64 {
        self.rss_bytes as f64 / KIB / KIB
    }

    pub fn peak_mib(&self) -> f64 {
        self.peak_bytes as f64 / KIB / KIB
    }
}

/// `core-0` and `core-1` are one kind of thread.
fn without_numbers(name: &str) -> String {
    let mut kind = String::new();
    for c in name.chars() {
        match c.is_ascii_digit() {
            true if kind.ends_with('#') => {}
            true => kind.push('#'),
            false => kind.push(c),
        }
    }
    kind
}

fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

/// `pid (name) state ...`: the name may hold anything, so the fields are counted from its last parenthesis.
fn cpu_ns(stat: &str) -> Outcome<u64> {
    /// Fields after the name, from 0.
    const USER: usize = 11;
    const SYSTEM: usize = 12;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |field: usize| -> Outcome<u64> { Ok(fields.get(field).ok_or("a short /proc stat")?.parse()?) };
    Ok((ticks(USER)? + ticks(SYSTEM)?) * TICK_NS)
}

/// The number after a word at the start of a line.
fn number_after(text: &str, word: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_default();
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn kib(status: &str, word: &str) -> u64 {
    number_after(status, word) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_are_no_obstacle() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 25 5 0 0 20 0";
        assert_eq!(cpu_ns(stat).unwrap(), 30 * TICK_NS);
    }

    #[test]
    fn threads_of_a_kind_are_taken_together() {
        assert_eq!(
            without_numbers("data-plane-kafka-network-thread-12"),
            "data-plane-kafka-network-thread-#"
        );
        let (mut earlier, mut later) = (Reading::default(), Reading::default());
        earlier.threads.insert("core-#".into(), 1_000_000_000);
        later.threads.insert("core-#".into(), 1_500_000_000);
        later.threads.insert("sleeper".into(), 1_000);
        assert_eq!(later.threads_since(&earlier), BTreeMap::from([("core-#".to_owned(), 0.5)]));
    }

    #[test]
    fn this_process_can_be_read() {
        let process = Process::new(std::process::id());
        let before = process.read().unwrap();
        let mut sum = 0u64;
        (0..30_000_000u64).for_each(|n| sum = std::hint::black_box(sum ^ n));
        let after = process.read().unwrap();
        assert!(after.cpu_seconds_since(&before) > 0.0);
        assert!(after.rss_mib() > 0.5 && after.peak_mib() >= after.rss_mib());
        assert!(process.files().unwrap() >= 3 && process.maps().unwrap() > 3);
    }

    #[test]
    fn the_finer_counter_is_used_while_it_is_right() {
        let earlier = Reading::default();
        let calm = Reading { cpu_ns: TICK_NS, alive_cpu_ns: 1_500_000, ..earlier.clone() };
        assert_eq!(calm.cpu_seconds_since(&earlier), 0.0015);
        let threads_ended = Reading { cpu_ns: 50 * TICK_NS, alive_cpu_ns: TICK_NS, ..earlier.clone() };
        assert_eq!(threads_ended.cpu_seconds_since(&earlier), 0.5);
    }
}
