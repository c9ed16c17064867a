//! How many system calls a process makes during a piece of work, counted by the kernel's tracepoint through `perf`.
//!
//! Counting costs some time at each call, so it is done over a short load of its own and never while something else is measured.

#![allow(clippy::disallowed_methods)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::process::Process;
use crate::Outcome;

/// Until the counters are attached.
const ATTACHED: Duration = Duration::from_millis(300);

/// The outcome of the work, and the count; `None` where there is no `perf` that may count.
pub fn of<T>(process: &Process, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Option<f64>)> {
    let counter = start(process);
    std::thread::sleep(ATTACHED);
    let done = work()?;
    Ok((done, counter.and_then(stop)))
}

fn start(process: &Process) -> Option<Child> {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &process.id().to_string()]);
    perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()
}

/// `perf` tells what it has counted when it is interrupted.
fn stop(perf: Child) -> Option<f64> {
    Command::new("kill").args(["-INT", &perf.id().to_string()]).status().ok()?;
    let output = perf.wait_with_output().ok()?;
    counted(&String::from_utf8_lossy(&output.stderr))
}

fn counted(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_first_field() {
        assert_eq!(counted("2109,,raw_syscalls:sys_enter,1563220,100.00,,\n"), Some(2109.0));
        assert_eq!(counted("<not supported>,,raw_syscalls:sys_enter,0,0.00,,\n"), None);
        assert_eq!(counted("perf: no permission\n"), None);
    }
}
