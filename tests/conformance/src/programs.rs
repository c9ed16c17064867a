//! Kafka's system-test programs, started as processes against the broker under test and listened to.
//!
//! Owns: the [`Stage`] of one program's test (a fresh broker, the denial if there is one, the row of results) and a running
//! [`Program`]. What a program says of itself is the verdict; here it is only read.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dohle_tests_clients::advertised::{Advertised, Need};
use dohle_tests_clients::client::jvm;
use dohle_tests_clients::install;
use dohle_tests_clients::process::Process;
use dohle_tests_clients::results::{self, Figures};
use dohle_tests_clients::target::{Given, Target};
use serde_json::Value;

use crate::denials::Denials;

const SUITE: &str = "kafka-programs";
/// Of the jars in `tests/clients/java/trogdor/pom.xml`.
const VERSION: &str = "4.3.1";
const POLL: Duration = Duration::from_millis(20);

/// A broker of its own for the test of one program.
#[derive(Debug)]
pub struct Stage {
    pub target: Target,
    name: &'static str,
    passed: bool,
}

impl Stage {
    /// `None`, said loudly and written into the results, when the program is denied to this broker.
    pub fn of(name: &'static str, settings: &[(&str, &str)]) -> Option<Stage> {
        let target = Target::with(Given::ByFile, settings);
        let table = Path::new(env!("CARGO_MANIFEST_DIR")).join(SUITE).join("deny.tsv");
        let denials = Denials::holding(&table, &target);
        let Some(reason) = denials.reason(name) else {
            return Some(Stage { target, name, passed: false });
        };
        println!("*** {SUITE}: {name} IS NOT ASKED of this broker: {reason}");
        let figures = Figures { denied: [(reason.to_owned(), 1)].into(), ..Figures::default() };
        results::record(SUITE, name, VERSION, target.kind, &figures);
        None
    }

    /// Starts a program of Kafka with its arguments; `{broker}` in them is the broker's address.
    pub fn program(&self, class: &str, arguments: &str) -> Program {
        let name = class.rsplit('.').next().unwrap_or(class).to_owned();
        let log = (0..).map(|n| self.target.folder().join(format!("{name}-{n}.log"))).find(|p| !p.exists());
        let log = log.expect("there are enough numbers");
        let mut java = jvm("-Xmx256m");
        java.arg("-cp").arg(format!("{}/*", install::jars("trogdor").display())).arg(class);
        java.args(arguments.replace("{broker}", &self.target.bootstrap()).split_whitespace());
        Program { process: Process::start(&name, &mut java, &log), log, name }
    }

    /// Whether the broker does an API at a version, written as [`Need`] is.
    pub fn advertises(&self, need: &str) -> bool {
        let need = Need::parse(need).expect("a need as it is written");
        Advertised::by(&self.target.bootstrap()).has(&need)
    }

    /// A file of this test, for a program that wants its orders in one.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.target.folder().join(name);
        std::fs::write(&path, text.replace("{broker}", &self.target.bootstrap()))
            .expect("a file of this test");
        path
    }

    /// The end of a test that did not panic.
    pub fn passed(mut self) {
        self.passed = true;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let (passed, failed) = (usize::from(self.passed), usize::from(!self.passed));
        let figures = Figures { passed, failed, ..Figures::default() };
        results::record(SUITE, self.name, VERSION, self.target.kind, &figures);
    }
}

/// One running program.
#[derive(Debug)]
pub struct Program {
    process: Process,
    log: PathBuf,
    name: String,
}

impl Program {
    /// Everything it has printed so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("the log of a program")).into_owned()
    }

    /// The events it has printed so far, a JSON object per line; a line that is still being written is left out.
    pub fn events(&self) -> Vec<Value> {
        self.said()
            .lines()
            .filter(|l| l.starts_with('{'))
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect()
    }

    /// Waits until its events are enough for `done`.
    pub fn until(&mut self, what: &str, limit: Duration, done: impl Fn(&[Value]) -> bool) {
        let began = Instant::now();
        while !done(&self.events()) {
            assert!(
                self.process.ended().is_none(),
                "{} ended before {what}\n{}",
                self.name,
                self.process.log_tail()
            );
            let tail = || self.process.log_tail();
            assert!(began.elapsed() < limit, "{}: no {what} within {limit:?}\n{}", self.name, tail());
            std::thread::sleep(POLL * 5);
        }
    }

    /// Waits for its end: it must be a success, and what it printed is the answer.
    pub fn succeeds(mut self, limit: Duration) -> Program {
        let began = Instant::now();
        let status = loop {
            match self.process.ended() {
                Some(status) => break status,
                None if began.elapsed() > limit => {
                    panic!("{} does not end within {limit:?}\n{}", self.name, self.process.log_tail())
                }
                None => std::thread::sleep(POLL),
            }
        };
        assert!(status.success(), "{}: {status}\n{}", self.name, self.process.log_tail());
        self
    }

    /// Waits until it has said something, then ends it if it does not end by itself.
    pub fn says(mut self, words: &str, limit: Duration) -> String {
        let began = Instant::now();
        while !self.said().contains(words) {
            let ended = self.process.ended();
            let late = began.elapsed() > limit;
            // What it said between the look and its end counts.
            assert!(
                (ended.is_none() && !late) || self.said().contains(words),
                "{} ({ended:?}) does not say '{words}' within {limit:?}\n{}",
                self.name,
                self.process.log_tail()
            );
            std::thread::sleep(POLL);
        }
        self.said()
    }

    /// SIGTERM, as Kafka's system tests end a consumer that runs without end; its shutdown hook prints the rest.
    pub fn stop(mut self, limit: Duration) -> Program {
        let ended = self.process.terminate(limit);
        assert!(ended.is_some(), "SIGTERM did not end {}\n{}", self.name, self.process.log_tail());
        self
    }
}

/// The events of a name.
pub fn named<'a>(events: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["name"] == name)
}
