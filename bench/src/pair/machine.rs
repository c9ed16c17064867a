//! The machine under the measurement: what it is, how its traps are kept out of the figures, and how quiet it was.
//!
//! Three things swing figures on small virtual machines more than the brokers do (`docs/performance.md` tells how much):
//! loopback under BBR costs twice what it does under cubic; memory that the guest has given back to its host is touched for the
//! first time at ten times the price; neighbours.

#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Options;
use crate::Outcome;
use crate::client::Moment;

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// What every contestant is measured under.
const NEUTRAL: &str = "cubic";
/// The broker's core, and the client's.
const BROKER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
/// Over this, a sample is marked and left out of medians: percent of a second that some task waited for a CPU before the
/// run, and percent of CPU that the host took away during it.
const MOST_PRESSURE: f64 = 5.0;
const MOST_STEAL: f64 = 1.0;
const PAGE: usize = 4096;

/// The machine, prepared. Dropping it puts back what was changed.
#[derive(Debug)]
pub struct Machine {
    pub folder: PathBuf,
    pub pinned: bool,
    /// Figures do not count: nothing is waited for on their account.
    smoke: bool,
    #[expect(dead_code, reason = "held for what dropping it does")]
    neutral: Option<Neutral>,
    before: String,
}

/// The machine's congestion control while it is not its own. Dropping this puts it back, and so does a watcher when this
/// process is killed.
#[derive(Debug)]
struct Neutral {
    before: String,
    watcher: Child,
}

/// How quiet the machine was around one sample.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Noise {
    pub pressure_percent: f64,
    pub steal_percent: f64,
}

impl Noise {
    pub fn too_much(&self) -> bool {
        self.pressure_percent > MOST_PRESSURE || self.steal_percent > MOST_STEAL
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.too_much() {
            let Self { pressure_percent, steal_percent } = self;
            write!(f, " [noisy: pressure {pressure_percent:.0} % before, steal {steal_percent:.1} %]")?;
        }
        Ok(())
    }
}

/// Between the start and the end of a sample.
#[derive(Debug)]
pub struct Watch {
    pressure_percent: f64,
    start: Cpu,
}

impl Watch {
    pub fn noise(&self) -> Noise {
        let used = Cpu::read().since(&self.start);
        let steal_percent = 100.0 * used.stolen / used.all.max(1.0);
        Noise { pressure_percent: self.pressure_percent, steal_percent }
    }
}

/// The machine's CPU time in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    all: f64,
    idle: f64,
    stolen: f64,
}

impl Cpu {
    pub fn read() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        let ticks: Vec<f64> =
            first.split_whitespace().skip(1).filter_map(|number| number.parse().ok()).collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or(0.0);
        // user nice system idle iowait irq softirq steal; guest time is in user already
        Self { all: ticks.iter().take(8).sum(), idle: at(3) + at(4), stolen: at(7) }
    }

    pub fn since(&self, earlier: &Self) -> Self {
        let Self { all, idle, stolen } = *earlier;
        Self { all: self.all - all, idle: self.idle - idle, stolen: self.stolen - stolen }
    }

    /// Seconds of work, by whomever.
    pub fn busy_seconds(&self) -> f64 {
        const TICKS_PER_SECOND: f64 = 100.0;
        (self.all - self.idle - self.stolen) / TICKS_PER_SECOND
    }
}

impl Machine {
    pub fn prepare(options: &Options) -> Outcome<Self> {
        let folder = options.folder.clone().unwrap_or_else(std::env::temp_dir).join("dohle-bench");
        std::fs::create_dir_all(&folder)?;
        let cores = std::thread::available_parallelism()?.get();
        let pinned = cores > CLIENT_CORE && pin_us();
        if !pinned {
            println!(
                "broker and client are not pinned: that needs two cores and the programs taskset and setpriv"
            );
        }
        many_files();
        let before = sysctl(CONGESTION_CONTROL);
        let wanted = !options.keep_congestion_control && before != NEUTRAL;
        let neutral = if wanted { Neutral::set(&before) } else { None };
        if wanted && neutral.is_none() {
            println!("the congestion control stays {before}: changing it needs root");
        }
        Ok(Self { folder, pinned, smoke: options.smoke, neutral, before })
    }

    /// A command that runs `program` on the broker's core, and ends it when this process ends.
    pub fn on_broker_core(&self, program: &Path) -> Command {
        if !self.pinned {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "-c", &BROKER_CORE.to_string()]).arg(program);
        command
    }

    /// Waits, but not for ever, until it is quiet, and starts to look how quiet it stays.
    pub fn watch(&self) -> Watch {
        const PATIENCE: Duration = Duration::from_secs(20);
        let start = Moment::now();
        let mut pressure_percent = look();
        while pressure_percent > MOST_PRESSURE && start.elapsed() < PATIENCE {
            pressure_percent = look();
        }
        Watch { pressure_percent, start: Cpu::read() }
    }

    /// Writes what earlier work left dirty, so that no write-back of that is charged to what runs next; then takes `bytes` from the host
    /// and gives them back to the kernel, so that it finds memory at its usual price.
    pub fn settle(&self, bytes: u64) {
        let written = if self.smoke { Ok(()) } else { Command::new("sync").status().map(drop) };
        if let Err(error) = written {
            println!("what is dirty stays so: {error}");
        }
        let most = available_memory() * 6 / 10;
        let size = usize::try_from(bytes.min(most)).unwrap_or(0);
        let mut memory: Vec<u8> = vec![0; size];
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        std::hint::black_box(&memory);
    }

    /// What the figures were measured on.
    pub fn describe(&self) -> Value {
        let cpu = first_line_with("/proc/cpuinfo", "model name");
        let memory = first_line_with("/proc/meminfo", "MemTotal");
        let kernel = sysctl("/proc/sys/kernel/osrelease");
        json!({
            "cpu": cpu, "cores": processors(), "memory": memory,
            "kernel": kernel, "file_system": file_system(&self.folder), "pinned": self.pinned,
            "congestion_control": { "found": self.before, "measured_under": sysctl(CONGESTION_CONTROL) },
            "transparent_huge_pages": sysctl("/sys/kernel/mm/transparent_hugepage/enabled"),
            "dirty_ratio": sysctl("/proc/sys/vm/dirty_ratio"),
            "dirty_background_ratio": sysctl("/proc/sys/vm/dirty_background_ratio"),
        })
    }
}

impl Neutral {
    fn set(before: &str) -> Option<Self> {
        const PUT_BACK: &str = "while kill -0 \"$0\" 2>/dev/null; do sleep 1; done; echo \"$1\" > \"$2\"";
        std::fs::write(CONGESTION_CONTROL, NEUTRAL).ok()?;
        let mut watcher = Command::new("sh");
        watcher.args(["-c", PUT_BACK, &std::process::id().to_string(), before, CONGESTION_CONTROL]);
        // In a group of its own, what ends this process from a terminal does not end the watcher.
        let watcher = watcher.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        match watcher {
            Ok(watcher) => Some(Self { before: before.to_owned(), watcher }),
            Err(_) => std::fs::write(CONGESTION_CONTROL, before).ok().and(None),
        }
    }
}

impl Drop for Neutral {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to do.
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
        if let Err(error) = std::fs::write(CONGESTION_CONTROL, &self.before) {
            eprintln!("the congestion control could not be set back to {}: {error}", self.before);
        }
    }
}

/// As many files and connections as the system lets this process and its brokers have.
fn many_files() {
    let own = std::process::id().to_string();
    let limits = sysctl("/proc/self/limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let Some(hard) = line.split_whitespace().nth(4) else { return };
    let limit = Command::new("prlimit").args(["--pid", &own, &format!("--nofile={hard}:{hard}")]).status();
    if !limit.is_ok_and(|status| status.success()) {
        println!("the limit of open files stays as it is: raising it needs the program prlimit");
    }
}

/// Puts this process, and every thread it starts from now on, on the client's core.
fn pin_us() -> bool {
    let own = std::process::id().to_string();
    let mut taskset = Command::new("taskset");
    taskset.args(["-pc", &CLIENT_CORE.to_string(), &own]).stdin(Stdio::null()).stdout(Stdio::null());
    taskset.status().is_ok_and(|status| status.success())
}

/// All of the machine's, also those that this process is pinned away from.
fn processors() -> usize {
    sysctl("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count()
}

/// How much of the next moment some task waits for a CPU, in percent.
fn look() -> f64 {
    const WHILE: Duration = Duration::from_secs(1);
    let (start, before) = (Moment::now(), pressure_us());
    std::thread::sleep(WHILE);
    let waited = pressure_us().saturating_sub(before) as f64;
    100.0 * waited / 1e6 / start.elapsed().as_secs_f64()
}

fn sysctl(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// How long some task has waited for a CPU since the machine started.
fn pressure_us() -> u64 {
    let text = sysctl("/proc/pressure/cpu");
    let total = text.lines().next().and_then(|line| line.rsplit("total=").next());
    total.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn first_line_with(path: &str, word: &str) -> String {
    let text = sysctl(path);
    let line = text.lines().find(|line| line.starts_with(word)).unwrap_or_default();
    line.split_once(':').map_or("", |(_, value)| value.trim()).to_owned()
}

fn available_memory() -> u64 {
    let text = first_line_with("/proc/meminfo", "MemAvailable");
    text.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The type of the file system that a folder lies on.
fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = sysctl("/proc/mounts");
    let on = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (place, kind) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        folder.starts_with(&place).then_some((place.len(), kind))
    };
    mounts.lines().filter_map(on).max().map(|(_, kind)| kind).unwrap_or_default()
}
/// The calling thread, and those that it starts, run when no other wants the core. Without effect where that is not allowed.
pub fn last_of_all() {
    /// `nice`'s largest value.
    const LAST: i32 = 19;
    // Linux takes the calling thread where POSIX says the calling process.
    _ = rustix::process::setpriority_process(None, LAST);
}
