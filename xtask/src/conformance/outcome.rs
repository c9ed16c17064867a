//! What the tests did: the table of results, the allow list it is held to, and its sums.

#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::results::Row;
use super::selection::Selection;
use super::{FOLDER, SUITE, Target};
use crate::jars;
use crate::test::Counts;

/// One invocation of a test method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    pub module: String,
    pub class: String,
    pub method: String,
    /// What tells it from the method's other invocations; empty where there are none.
    pub invocation: String,
}

impl Test {
    fn from_columns(columns: &mut std::str::Split<'_, char>) -> Option<Self> {
        let mut next = || columns.next().map(str::to_owned);
        Some(Self { module: next()?, class: next()?, method: next()?, invocation: next()? })
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}\t{}", self.module, self.class, self.method, self.invocation)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Passed,
    Failed,
    Skipped,
    Denied,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub test: Test,
    pub verdict: Verdict,
    seconds: String,
    pub reason: String,
}

impl Ran {
    /// The row as the rig writes it.
    pub fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split('\t');
        let test = Test::from_columns(&mut columns)?;
        let verdict = match columns.next()? {
            "PASSED" => Verdict::Passed,
            "FAILED" => Verdict::Failed,
            "SKIPPED" => Verdict::Skipped,
            "DENIED" => Verdict::Denied,
            _ => return None,
        };
        let mut next = || columns.next().map(str::to_owned);
        Some(Self { test, verdict, seconds: next()?, reason: next()? })
    }

    /// A class whose tests could not be run to their end.
    pub fn broken(module: &str, class: &str, why: String) -> Self {
        let (module, class) = (module.to_owned(), class.to_owned());
        let test = Test { module, class, method: "-".to_owned(), invocation: String::new() };
        Self { test, verdict: Verdict::Failed, seconds: "0".to_owned(), reason: why }
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = format!("{:?}", self.verdict).to_uppercase();
        write!(f, "{}\t{verdict}\t{}\t{}", self.test, self.seconds, self.reason)
    }
}

/// The tests that have passed once and must pass.
pub fn read_allowed(root: &Path, target: Target) -> Result<BTreeSet<Test>, String> {
    let path = allow_list(target);
    let text = match std::fs::read_to_string(root.join(&path)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("cannot read {path}: {error}")),
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    let test = |(index, line): (usize, &str)| {
        Test::from_columns(&mut line.split('\t')).ok_or_else(|| format!("{path}:{}: not a test", index + 1))
    };
    lines.map(test).collect()
}

fn allow_list(target: Target) -> String {
    match target {
        Target::Dohle => format!("{FOLDER}/pass.tsv"),
        Target::Kafka => format!("{FOLDER}/kafka-pass.tsv"),
    }
}

#[derive(Debug)]
pub struct Outcome {
    pub rows: Vec<Ran>,
    pub selection: Selection,
    /// Whether other tests than those on the allow list count.
    pub only_allowed: bool,
}

impl Outcome {
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let lines: Vec<String> = self.rows.iter().map(Ran::to_string).collect();
        std::fs::write(path, lines.join("\n") + "\n")
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// Counts, and names every test of the allow list that was selected and did not pass.
    pub fn judge(&self, allowed: &BTreeSet<Test>) -> Counts {
        let verdicts: BTreeMap<&Test, &Ran> = self.rows.iter().map(|ran| (&ran.test, ran)).collect();
        let mut counts = Counts::default();
        for (test, ran) in &verdicts {
            match ran.verdict {
                _ if self.only_allowed && !allowed.contains(*test) => counts.skipped += 1,
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed => counts.failed += 1,
                // Counted below, when it is on the list.
                Verdict::Skipped | Verdict::Denied if allowed.contains(*test) => {}
                Verdict::Skipped | Verdict::Denied => counts.skipped += 1,
            }
        }
        for test in allowed.iter().filter(|test| self.selection.contains(test)) {
            let why = match verdicts.get(test) {
                Some(ran) if ran.verdict == Verdict::Passed => continue,
                Some(ran) if ran.verdict == Verdict::Failed => "failed".to_owned(),
                Some(ran) => format!("{:?}: {}", ran.verdict, ran.reason),
                None => "did not run".to_owned(),
            };
            counts.failed += usize::from(why != "failed");
            println!("passed once and must pass: {} ({why})", test.to_string().replace('\t', " "));
        }
        counts
    }

    /// Adds what passed to the allow list, but not what passed without an API that it wanted: that may be by chance, as with tests
    /// that wait for some failure.
    pub fn bless(&self, root: &Path, target: Target, allowed: &BTreeSet<Test>) -> Result<(), String> {
        let mut all = allowed.clone();
        let sound = |ran: &&Ran| ran.verdict == Verdict::Passed && ran.reason.is_empty();
        all.extend(self.rows.iter().filter(sound).map(|ran| ran.test.clone()));
        let path = allow_list(target);
        let mut text = "# Tests that have passed and must pass: module, class, method, invocation. \
            `cargo xtask conformance --bless` adds to it.\n"
            .to_owned();
        all.iter().for_each(|test| text.push_str(&format!("{test}\n")));
        std::fs::write(root.join(&path), text).map_err(|error| format!("cannot write {path}: {error}"))?;
        println!("{path}: {} tests, {} more than before", all.len(), all.len() - allowed.len());
        Ok(())
    }

    /// The sums of every module that was run whole, for the page.
    pub fn of_whole_modules(&self, target: Target) -> Vec<Row> {
        let sum = |module: &str| {
            let of = |verdict: Verdict| {
                let rows = self.rows.iter().filter(|ran| ran.test.module == module);
                rows.filter(move |ran| ran.verdict == verdict)
            };
            let mut denied = BTreeMap::new();
            for ran in of(Verdict::Denied) {
                *denied.entry(summary(&ran.reason)).or_default() += 1;
            }
            Row {
                suite: format!("{SUITE} {module}"),
                version: jars::KAFKA.to_owned(),
                target,
                passed: of(Verdict::Passed).count(),
                failed: of(Verdict::Failed).count(),
                skipped: of(Verdict::Skipped).count(),
                denied,
            }
        };
        self.selection.whole_modules().map(sum).collect()
    }
}

/// A reason without its details, which stand behind a colon; what is not built is told whole.
fn summary(reason: &str) -> String {
    match reason.split_once(": ") {
        Some((kind, _)) if kind != "not built" => kind.to_owned(),
        _ => reason.replace(';', ","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(method: &str, verdict: &str, reason: &str) -> Ran {
        Ran::parse(&format!("core\tATest\t{method}\t[1]\t{verdict}\t0.1\t{reason}")).expect("a row")
    }

    fn outcome(only_allowed: bool) -> Outcome {
        let rows = vec![
            ran("good", "PASSED", ""),
            ran("bad", "FAILED", ""),
            ran("not_asked", "DENIED", "looks inside Kafka's objects: X.y"),
        ];
        let classes = [("core".to_owned(), "ATest".to_owned())].into();
        Outcome { rows, selection: Selection::everything(&classes), only_allowed }
    }

    fn allowed(methods: &[&str]) -> BTreeSet<Test> {
        methods.iter().map(|method| ran(method, "PASSED", "").test).collect()
    }

    #[test]
    fn rows_are_written_as_they_are_read() {
        let line = "core\tATest\tx\t[1] Raft-Combined\tDENIED\t0.10\twhy";
        assert_eq!(Ran::parse(line).expect("a row").to_string(), line);
        assert_eq!(Ran::parse("core\tATest\tx\t\tLOST\t0.10\t"), None);
    }

    #[test]
    fn a_test_of_the_allow_list_must_run_and_pass() {
        let counts = |methods: &[&str]| {
            let Counts { passed, failed, skipped } = outcome(false).judge(&allowed(methods));
            (passed, failed, skipped)
        };
        assert_eq!(counts(&["good"]), (1, 1, 1));
        assert_eq!(counts(&["good", "bad"]), (1, 1, 1));
        assert_eq!(counts(&["not_asked"]), (1, 2, 0));
        assert_eq!(counts(&["gone"]), (1, 2, 1));
    }

    #[test]
    fn only_the_allow_list_counts_when_asked_so() {
        let counts = outcome(true).judge(&allowed(&["good"]));
        assert_eq!((counts.passed, counts.failed), (1, 0));
    }

    #[test]
    fn sums_are_by_reason() {
        let rows = outcome(false).of_whole_modules(Target::Dohle);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].denied, [("looks inside Kafka's objects".to_owned(), 1)].into());
        assert_eq!((rows[0].passed, rows[0].failed), (1, 1));
    }
}
