//! `cargo xtask clients` and `cargo xtask soak`: the suites that speak to a broker through other people's programs
//! (`tests/clients`, `docs/clients.md`), chosen by arguments instead of environment variables.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;

use crate::conformance::page;
use crate::test::{Counts, child};

/// The broker under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Target {
    Dohle,
    Kafka,
}

impl Target {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dohle => "dohle",
            Self::Kafka => "kafka",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Dohle, Self::Kafka].into_iter().find(|target| target.name() == name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a run of the client suites writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Nothing,
    /// The golden answers of Kafka's tools, by that suite against Apache Kafka.
    Golden,
    /// The figures of the suites of strangers, in a long run of all of them, and their page.
    Results,
}

/// All client suites, or what writes something.
pub fn run(root: &Path, target: Target, written: Written) -> Result<Counts, String> {
    match written {
        Written::Nothing => tests(root, &TEST, target, &[]),
        Written::Golden => {
            let words = [&TEST[..], &["--test", "tools"]].concat();
            tests(root, &words, Target::Kafka, &[("DOHLE_BLESS", "1")])
        }
        Written::Results => {
            let words = [&TEST[..], &STRANGERS].concat();
            let counts = tests(root, &words, target, &[("DOHLE_RESULTS", "1"), ("DOHLE_TEST_FULL", "1")])?;
            page::write(root)?;
            Ok(counts)
        }
    }
}

/// The broker killed `cycles` times under load, then every acknowledged record looked for.
pub fn soak(root: &Path, target: Target, cycles: u32, seed: Option<u64>) -> Result<Counts, String> {
    let (cycles, seed) = (cycles.to_string(), seed.map(|seed| seed.to_string()));
    let mut settings = vec![("DOHLE_SOAK_CYCLES", cycles.as_str())];
    settings.extend(seed.as_deref().map(|seed| ("DOHLE_SOAK_SEED", seed)));
    let words = [&TEST[..], &["--test", "soak", "--", "--nocapture"]].concat();
    tests(root, &words, target, &settings)
}

const TEST: [&str; 6] = ["cargo", "test", "--release", "--locked", "-p", "dohle-tests-clients"];

/// The tests whose figures are on the page, in this package and one more.
const STRANGERS: [&str; 13] = [
    "-p",
    "dohle-tests-conformance",
    "--no-fail-fast",
    "--test",
    "java_matrix",
    "--test",
    "tools",
    "--test",
    "franz_go",
    "--test",
    "programs",
    "--test",
    "compatibility",
];

fn tests(root: &Path, words: &[&str], target: Target, settings: &[(&str, &str)]) -> Result<Counts, String> {
    let mut command = child::command(root, words)?;
    let ended = child::run(command.env("DOHLE_TEST_TARGET", target.name()).envs(settings.iter().copied()))?;
    match Counts::read(&ended.output) {
        Some(counts) if ended.success || counts.failed > 0 => Ok(counts),
        _ => Err(format!("the client suites ended with {}", ended.status)),
    }
}
