//! The processes that run tests. Each is handed one class at a time over its standard input, so that none is idle while there is
//! work, and is replaced when a test hangs or after a number of classes, because clients of hundreds of clusters do not all leave
//! the heap.
//!
//! A process leads a group, in which its brokers are too. Beside it a shell waits on a pipe that this program holds: when the
//! pipe closes, for whatever reason, the shell kills the group.

#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::Mutex;

use super::outcome::Ran;
use super::rig::Rig;
use super::selection::Selection;

/// What a process says when it wants a class.
const NEXT: &str = "NEXT";
/// How it ends when a test hung; the test has its row.
const HUNG: i32 = 97;
/// How it ends when all is told.
const ENDED: [i32; 2] = [0, 1];
const CLASSES_PER_PROCESS: usize = 25;
/// How often a class may be gone on with after a hang or a crash.
const ATTEMPTS: usize = 40;
/// With more classes than these only failures are told.
const TOLD_IN_FULL: usize = 5;
/// Below the ports that the kernel hands out by itself, so that none is taken between choosing and binding.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Runs the selection and gives every row.
pub fn run(rig: &Rig, selection: &Selection, jobs: usize) -> Result<Vec<Ran>, String> {
    let queue = Mutex::new(VecDeque::from(selection.lines()));
    let quiet = selection.len() > TOLD_IN_FULL;
    let worked: Vec<Result<Vec<Ran>, String>> = std::thread::scope(|scope| {
        let work = |job| scope.spawn(move_into(rig, &queue, job, jobs, quiet));
        let workers: Vec<_> = (0..jobs).map(work).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    let mut rows = Vec::new();
    for (job, broken) in worked.into_iter().enumerate() {
        rows.extend(broken?);
        let path = rig.file(job, "tsv");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for line in text.lines() {
            rows.push(Ran::parse(line).ok_or_else(|| format!("{}: not a row: {line}", path.display()))?);
        }
    }
    rows.sort_by(|a, b| a.test.cmp(&b.test));
    Ok(rows)
}

fn move_into<'a>(
    rig: &'a Rig,
    queue: &'a Mutex<VecDeque<String>>,
    job: usize,
    jobs: usize,
    quiet: bool,
) -> impl FnOnce() -> Result<Vec<Ran>, String> + Send + 'a {
    move || Worker { rig, queue, job, ports: ports(job, jobs), quiet, current: None }.work()
}

fn ports(job: usize, jobs: usize) -> (u16, u16) {
    let share = (PORTS.end - PORTS.start) / u16::try_from(jobs).expect("a handful of jobs");
    let first = PORTS.start + share * u16::try_from(job).expect("a handful of jobs");
    (first, first + share)
}

/// One place for a process, and the rows of classes that broke it.
struct Worker<'a> {
    rig: &'a Rig,
    queue: &'a Mutex<VecDeque<String>>,
    job: usize,
    ports: (u16, u16),
    quiet: bool,
    /// The line that a process is working on.
    current: Option<String>,
}

impl Worker<'_> {
    fn work(mut self) -> Result<Vec<Ran>, String> {
        let mut broken = Vec::new();
        let mut attempts = 0;
        while self.current.is_some() || !self.queue.lock().expect("nobody panics with it").is_empty() {
            let before = self.current.clone();
            let status = self.process()?;
            attempts = if before == self.current { attempts + 1 } else { 0 };
            let Some(line) = self.current.clone() else { continue };
            let hung = status.code() == Some(HUNG);
            if !hung || attempts > ATTEMPTS {
                let (module, rest) = line.split_once('\t').unwrap_or((&line, ""));
                let class = rest.split(['#', '\t']).next().unwrap_or_default();
                println!("FAILED {class}: the process that ran it ended with {status}");
                broken.push(Ran::broken(module, class, format!("its process ended with {status}")));
                self.current = None;
            }
        }
        Ok(broken)
    }

    /// One process from start to end. Leaves in `current` what it did not finish.
    fn process(&mut self) -> Result<ExitStatus, String> {
        let mut java = self.rig.jvm(self.job, self.ports, self.quiet);
        let errors =
            std::fs::File::options().create(true).append(true).open(self.rig.file(self.job, "stderr"));
        java.stderr(errors.map_err(|error| format!("cannot write what java says: {error}"))?);
        let child = java.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("cannot start java: {error}"))?;
        let keeper = Keeper::of(&child)?;
        let mut lines = child.stdin.take();
        let said = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut handed_out = 0;
        for line in said.lines().map_while(Result::ok) {
            if line != NEXT {
                println!("{line}");
                continue;
            }
            if handed_out > 0 || self.current.is_none() {
                self.current = None;
                if handed_out < CLASSES_PER_PROCESS {
                    self.current = self.queue.lock().expect("nobody panics with it").pop_front();
                }
            }
            handed_out += 1;
            hand_out(&mut lines, self.current.as_deref());
        }
        let status = child.wait().map_err(|error| format!("cannot wait for java: {error}"))?;
        drop(keeper);
        if status.code().is_some_and(|code| ENDED.contains(&code)) && lines.is_none() {
            self.current = None;
        }
        Ok(status)
    }
}

/// Writes the line, or closes the pipe when there is none. A process that is gone says so by its exit status.
fn hand_out(lines: &mut Option<ChildStdin>, line: Option<&str>) {
    match (lines.as_mut(), line) {
        (Some(pipe), Some(line)) => _ = writeln!(pipe, "{line}").and_then(|()| pipe.flush()),
        _ => *lines = None,
    }
}

/// Kills a process and its brokers, at the latest when this program is gone.
struct Keeper(Child);

impl Keeper {
    fn of(child: &Child) -> Result<Self, String> {
        let script = "read -r _; kill -s KILL -- \"-$1\"";
        let shell = std::process::Command::new("sh")
            .args(["-c", script, "keeper", &child.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        shell.map(Self).map_err(|error| format!("cannot start sh: {error}"))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_share_the_ports() {
        assert_eq!((ports(0, 2), ports(1, 2)), ((12_000, 22_000), (22_000, 32_000)));
        assert_eq!(ports(15, 16), (30_750, 32_000));
    }

    #[test]
    fn what_a_process_started_ends_with_its_keeper() {
        let mut leader = std::process::Command::new("sh");
        let child =
            leader.args(["-c", "sleep 100 & echo $!; wait"]).process_group(0).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("sh");
        let keeper = Keeper::of(&child).expect("sh");
        let mut grandchild = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        said.read_line(&mut grandchild).expect("a line");
        drop(keeper);
        assert!(!child.wait().expect("a child").success());
        // The pipe closes when the last process that could write to it is gone.
        assert_eq!(std::io::Read::read(&mut said, &mut [0]).expect("the end"), 0);
    }
}
