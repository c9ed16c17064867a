//! Child processes that cannot outlive their owner.
//!
//! Each child leads its own process group. Beside it sits a keeper, a shell that blocks on a pipe whose other end this
//! process holds: when the owner dies in whatever way, the pipe closes and the keeper kills the group.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

const POLL: Duration = Duration::from_millis(5);
const LOG_TAIL_LINES: usize = 40;

/// A running child; killed with its whole group when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    keeper: Option<Child>,
    log: PathBuf,
    killed: bool,
}

impl Process {
    /// Starts `command` in a group of its own. What it prints on stderr (and on stdout, unless piped) is appended to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Process {
        let output = || File::options().create(true).append(true).open(log).expect("log file of a child");
        command.process_group(0).stdin(Stdio::null()).stdout(output()).stderr(output());
        Process::spawn(name, command, log)
    }

    /// Starts `command` with its stdin and stdout piped, for a conversation in lines.
    pub fn converse(name: &str, command: &mut Command, log: &Path) -> Conversation {
        let output = File::options().create(true).append(true).open(log).expect("log file of a child");
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(output);
        let mut process = Process::spawn(name, command, log);
        let questions = process.child.stdin.take().expect("stdin is piped");
        let stdout = process.child.stdout.take().expect("stdout is piped");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Conversation { process, questions, answers }
    }

    fn spawn(name: &str, command: &mut Command, log: &Path) -> Process {
        let child = command.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        let mut process =
            Process { name: name.to_owned(), child, keeper: None, log: log.to_owned(), killed: false };
        let keeper = Command::new("sh")
            .args(["-c", "read -r _; kill -s KILL -- \"-$1\"", "keeper", &process.child.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        process.keeper = Some(keeper.expect("sh starts"));
        process
    }

    /// Whether the process has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// SIGKILL to the whole group: what a crash looks like from outside.
    pub fn kill(&mut self) {
        // The keeper goes first: once the child is reaped its id may belong to someone else.
        if let Some(mut keeper) = self.keeper.take() {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
        if !std::mem::replace(&mut self.killed, true) {
            let _ = kill_process_group(self.group(), Signal::KILL);
            let _ = self.child.wait();
        }
    }

    /// SIGKILL to the whole group without waiting for it: for a process that waits for something which only its owner can let go.
    pub fn doom(&self) {
        let _ = kill_process_group(self.group(), Signal::KILL);
    }

    /// SIGTERM, and the exit status if it comes within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Option<ExitStatus> {
        let _ = kill_process_group(self.group(), Signal::TERM);
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Some(status) = self.ended() {
                self.kill();
                return Some(status);
            }
            std::thread::sleep(POLL);
        }
        None
    }

    /// SIGSTOP to the whole group: nothing in it does anything until [`go_on`](Process::go_on).
    pub fn stop(&self) {
        let _ = kill_process_group(self.group(), Signal::STOP);
    }

    pub fn go_on(&self) {
        let _ = kill_process_group(self.group(), Signal::CONT);
    }

    /// The end of what the process logged, for a failure's message.
    pub fn log_tail(&self) -> String {
        let text = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
        format!("--- the last lines of {}:\n{tail}\n---", self.name)
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A child that answers each line with one line.
#[derive(Debug)]
pub struct Conversation {
    pub(crate) process: Process,
    questions: ChildStdin,
    answers: Receiver<String>,
}

impl Conversation {
    /// Sends one line and waits for the answer; a silent or dead child is a failure that names the question.
    pub fn ask(&mut self, question: &str, limit: Duration) -> String {
        self.tell(question);
        self.answer(question, limit)
    }

    /// Sends one line, whose answer is waited for later, in the order of the lines.
    pub fn tell(&mut self, question: &str) {
        let sent = writeln!(self.questions, "{question}").and_then(|()| self.questions.flush());
        if let Err(e) = sent {
            panic!("{} is gone before '{question}': {e}\n{}", self.process.name, self.process.log_tail());
        }
    }

    /// The answer to the oldest line that has none.
    pub fn answer(&mut self, question: &str, limit: Duration) -> String {
        match self.answers.recv_timeout(limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                panic!(
                    "{} gave no answer within {limit:?} to '{question}'\n{}",
                    self.process.name,
                    self.process.log_tail()
                )
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("{} died at '{question}'\n{}", self.process.name, self.process.log_tail())
            }
        }
    }
}

/// Runs a program to its end: stdout when it succeeds within `limit`, a failure with all it printed otherwise.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (name, log, out) = (format!("{command:?}"), folder.path().join("err"), folder.path().join("out"));
    std::fs::write(folder.path().join("in"), input).expect("the input of a program");
    command
        .process_group(0)
        .stdin(File::open(folder.path().join("in")).expect("the input of a program"))
        .stdout(File::create(&out).expect("the output of a program"))
        .stderr(File::create(&log).expect("the log of a program"));
    let mut process = Process::spawn(&name, command, &log);
    let until = Instant::now() + limit;
    let status = loop {
        match process.ended() {
            Some(status) => break status,
            None if Instant::now() > until => {
                panic!("{name} took longer than {limit:?}\n{}", process.log_tail())
            }
            None => std::thread::sleep(POLL),
        }
    };
    let printed = std::fs::read(&out).expect("the output of a program");
    assert!(
        status.success(),
        "{name}: {status}\n{}\n{}",
        String::from_utf8_lossy(&printed),
        process.log_tail()
    );
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group of two processes that would stay for long.
    fn sleepers(folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 300 & sleep 300"]);
        Process::start("sleepers", &mut command, &folder.join("log"))
    }

    fn lives(group: Pid) -> bool {
        rustix::process::test_kill_process_group(group).is_ok()
    }

    fn gone(group: Pid) -> bool {
        let until = Instant::now() + Duration::from_secs(5);
        while lives(group) && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        !lives(group)
    }

    #[test]
    fn a_panic_takes_the_whole_group_along() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let process = sleepers(folder.path());
        let group = process.group();
        assert!(lives(group));
        let panicked = std::thread::spawn(move || {
            let _owned = process;
            panic!("as a failing test does");
        });
        assert!(panicked.join().is_err());
        assert!(gone(group), "orphans are left");
    }

    #[test]
    fn the_owners_death_takes_the_whole_group_along() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut process = sleepers(folder.path());
        let group = process.group();
        // What the system does with an owner that is killed: it closes the pipe that the keeper reads.
        let mut keeper = process.keeper.take().expect("a keeper");
        drop(keeper.stdin.take());
        process.child.wait().expect("the child ends");
        assert!(gone(group), "orphans are left");
        keeper.wait().expect("the keeper ends");
        process.killed = true;
    }
}
