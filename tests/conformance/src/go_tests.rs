//! A Go package's own tests: run from the source that the module cache holds, judged test by test.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dohle_tests_clients::process::Process;

use crate::denials::Denials;

const POLL: Duration = Duration::from_millis(50);
/// Beyond the limit that Go holds itself to, so that its own report comes first.
const GRACE: Duration = Duration::from_secs(20);
/// What the harness of Go puts before its own lines, so that what a test prints is not taken for one.
const MARK: &str = "\u{16}";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Skipped,
    Failed,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Passed => "pass",
            Outcome::Skipped => "skip",
            Outcome::Failed => "fail",
        }
    }

    fn named(name: &str) -> Option<Outcome> {
        [Outcome::Passed, Outcome::Skipped, Outcome::Failed].into_iter().find(|o| o.name() == name)
    }
}

/// Tests and subtests (`Parent/child`) and how they ended.
pub type Outcomes = BTreeMap<String, Outcome>;

/// What a run said: the outcomes, and the text for whoever has to find out why.
#[derive(Debug)]
pub struct Ran {
    pub outcomes: Outcomes,
    pub text: String,
}

/// Runs a test program in the folder of its package; `settings` are environment variables.
pub fn run(
    program: &Path,
    package: &Path,
    settings: &[(&str, String)],
    denials: &Denials,
    log: &Path,
    limit: Duration,
) -> Ran {
    let mut command = Command::new(program);
    command.current_dir(package).envs(settings.iter().map(|(k, v)| (*k, v.as_str())));
    command.args(["-test.v=test2json", &format!("-test.timeout={}s", limit.as_secs())]);
    let skipped: Vec<String> = denials.tests().map(pattern).collect();
    if !skipped.is_empty() {
        command.arg(format!("-test.skip={}", skipped.join("|")));
    }
    let mut process = Process::start("the Go tests", &mut command, log);
    let began = Instant::now();
    while process.ended().is_none() {
        assert!(began.elapsed() < limit + GRACE, "the Go tests do not end\n{}", process.log_tail());
        std::thread::sleep(POLL);
    }
    let text = String::from_utf8_lossy(&std::fs::read(log).expect("the log of the Go tests")).into_owned();
    Ran { outcomes: outcomes(&text), text }
}

/// Exactly this test, as Go's `-skip` wants it: a pattern for each level.
fn pattern(test: &str) -> String {
    test.split('/').map(|level| format!("^{level}$")).collect::<Vec<_>>().join("/")
}

fn outcomes(text: &str) -> Outcomes {
    let line = |line: &str| {
        let (_, said) = line.split_once(&format!("{MARK}--- "))?;
        let (verdict, rest) = said.split_once(": ")?;
        let outcome = Outcome::named(&verdict.to_lowercase())?;
        Some((rest.split(" (").next()?.to_owned(), outcome))
    };
    text.lines().filter_map(line).collect()
}

/// The outcomes on Apache Kafka as they are kept: `test<tab>outcome`.
pub fn read(path: &Path) -> Outcomes {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let row = |line: &str| {
        let (test, outcome) = line.split_once('\t')?;
        Some((test.to_owned(), Outcome::named(outcome)?))
    };
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| row(line).unwrap_or_else(|| panic!("{}: '{line}'", path.display()))).collect()
}

pub fn write(path: &Path, outcomes: &Outcomes) {
    let rows = outcomes.iter().map(|(test, outcome)| format!("{test}\t{}\n", outcome.name()));
    let text = format!("# test\ton Apache Kafka\n{}", rows.collect::<String>());
    std::fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Where a run differs from Apache Kafka's, a line each: a test of one that the other does not have, or another outcome.
pub fn differences(wanted: &Outcomes, denials: &Denials, got: &Outcomes) -> Vec<String> {
    let asked = wanted.iter().filter(|(test, _)| denials.reason(test).is_none());
    let missed = asked.filter_map(|(test, outcome)| match got.get(test) {
        Some(here) if here == outcome => None,
        Some(here) => Some(format!("{test}: {}, on Apache Kafka {}", here.name(), outcome.name())),
        None => Some(format!("{test}: did not run")),
    });
    let new = got.keys().filter(|test| !wanted.contains_key(*test));
    missed.chain(new.map(|test| format!("{test}: not in Apache Kafka's list"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "x\u{16}=== RUN   TestA\n\u{16}--- PASS: TestA (0.10s)\n    \u{16}--- SKIP: TestA/b (0.00s)\n\
        --- FAIL: as a test prints it (0.00s)\n\u{16}--- FAIL: TestC (1.00s)\n";

    #[test]
    fn outcomes_are_those_that_go_itself_tells() {
        let told: Vec<_> = outcomes(SAID).into_iter().collect();
        let wanted = [("TestA", Outcome::Passed), ("TestA/b", Outcome::Skipped), ("TestC", Outcome::Failed)];
        assert_eq!(told, wanted.map(|(test, outcome)| (test.to_owned(), outcome)));
    }

    #[test]
    fn every_way_to_differ_is_a_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tests.tsv");
        std::fs::write(&path, "TestA\tpass\nTestA/b\tpass\nTestC\tpass\nTestD\tskip\n").expect("a table");
        let none = Denials::none();
        assert_eq!(
            differences(&read(&path), &none, &outcomes(SAID)),
            [
                "TestA/b: skip, on Apache Kafka pass",
                "TestC: fail, on Apache Kafka pass",
                "TestD: did not run"
            ]
        );
        write(&path, &outcomes(SAID));
        assert_eq!(read(&path), outcomes(SAID));
        assert_eq!(pattern("TestA/b"), "^TestA$/^b$");
    }
}
