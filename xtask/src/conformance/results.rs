//! What a suite of strangers leaves behind: `tests/conformance/results/<suite>.tsv`, one row per suite and target.
//!
//! A suite that has parts gives each part a row, named `suite part`. Whoever runs a suite rewrites its rows with [`record`];
//! the page (`super::page`) is made of all files.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::Target;

pub const FOLDER: &str = "tests/conformance/results";

const HEADER: &str =
    "# suite\tversion\ttarget\tpassed\tfailed\tskipped\tdenied\twhy denied (a number and a reason; ...)";

/// What one run of a suite, or of a part of it, came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `suite` or `suite part`.
    pub suite: String,
    /// Of the suite.
    pub version: String,
    pub target: Target,
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// How many tests were not asked, by reason.
    pub denied: BTreeMap<String, usize>,
}

impl Row {
    pub fn denied_sum(&self) -> usize {
        self.denied.values().sum()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suite, version, target, passed, failed, skipped, denied } = self;
        let reasons: Vec<String> = denied.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let (sum, reasons) = (self.denied_sum(), reasons.join("; "));
        write!(f, "{suite}\t{version}\t{target}\t{passed}\t{failed}\t{skipped}\t{sum}\t{reasons}")
    }
}

/// The rows of one file, or the line that is not one.
pub fn parse(path: &str, text: &str) -> Result<Vec<Row>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
    lines.map(|(index, line)| row(line).ok_or_else(|| format!("{path}:{}: not a row", index + 1))).collect()
}

fn row(line: &str) -> Option<Row> {
    let mut columns = line.split('\t');
    let mut next = || columns.next();
    let (suite, version, target) = (next()?.to_owned(), next()?.to_owned(), Target::from_name(next()?)?);
    let mut number = || next()?.parse::<usize>().ok();
    let (passed, failed, skipped, sum) = (number()?, number()?, number()?, number()?);
    let mut denied = BTreeMap::new();
    for reason in next().unwrap_or_default().split("; ").filter(|reason| !reason.is_empty()) {
        let (count, reason) = reason.split_once(' ')?;
        denied.insert(reason.to_owned(), count.parse().ok()?);
    }
    let row = Row { suite, version, target, passed, failed, skipped, denied };
    (row.denied_sum() == sum && columns.next().is_none()).then_some(row)
}

/// Puts the rows in the place of those with the same suite and target in `<name>.tsv`, and keeps the others.
pub fn record(root: &Path, name: &str, rows: Vec<Row>) -> Result<(), String> {
    let path = format!("{FOLDER}/{name}.tsv");
    let old = std::fs::read_to_string(root.join(&path)).unwrap_or_default();
    let key = |row: &Row| (row.suite.clone(), row.target);
    let mut all: BTreeMap<_, Row> = parse(&path, &old)?.into_iter().map(|row| (key(&row), row)).collect();
    all.extend(rows.into_iter().map(|row| (key(&row), row)));
    let lines: Vec<String> = all.values().map(Row::to_string).collect();
    let text = format!("{HEADER}\n{}\n", lines.join("\n"));
    std::fs::create_dir_all(root.join(FOLDER))
        .and_then(|()| std::fs::write(root.join(&path), text))
        .map_err(|error| format!("cannot write {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let denied = [("needs more than one node", 3), ("a Java plug-in", 1)];
        let row = Row {
            suite: "kafka-junit core".to_owned(),
            version: "4.3.1".to_owned(),
            target: Target::Dohle,
            passed: 7,
            failed: 1,
            skipped: 2,
            denied: denied.map(|(reason, count)| (reason.to_owned(), count)).into(),
        };
        let text = format!("{HEADER}\n{row}\n");
        assert_eq!(parse("x.tsv", &text), Ok(vec![row]));
    }

    #[test]
    fn rows_that_do_not_add_up_are_refused() {
        for bad in ["a\t1\tdohle\t1\t0\t0\t2\t1 reason", "a\t1\tredpanda\t1\t0\t0\t0\t", "a\t1\tdohle\t1\t0"]
        {
            assert_eq!(parse("x.tsv", bad), Err("x.tsv:1: not a row".to_owned()));
        }
    }
}
