//! The tests that are not asked of a broker that cannot do what they need, from a table: test, what it needs, reason.
//!
//! What is needed is an API at a version, and the denial ends when the broker advertises it; `-` stands for what no API shows,
//! and such a row ends when someone removes it. Apache Kafka is asked everything. A test is written with its subtests as `Parent/child`; a parent's row denies all below it.

use std::collections::BTreeMap;
use std::path::Path;

use dohle_tests_clients::advertised::{Advertised, Need};
use dohle_tests_clients::target::{Kind, Target};

/// The denials that hold for one broker.
#[derive(Debug)]
pub struct Denials(BTreeMap<String, String>);

impl Denials {
    /// The rows of `path` that hold for `target`.
    pub fn holding(path: &Path, target: &Target) -> Denials {
        if target.kind == Kind::Kafka {
            return Denials::none();
        }
        let broker = Advertised::by(&target.bootstrap());
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let rows = parse(&text).unwrap_or_else(|line| panic!("{}: '{line}' is no row", path.display()));
        let held = rows.into_iter().filter(|row| row.need.as_ref().is_none_or(|need| !broker.has(need)));
        Denials(held.map(|row| (row.test, row.reason)).collect())
    }

    /// Of a broker that can do everything.
    pub fn none() -> Denials {
        Denials(BTreeMap::new())
    }

    /// The reason why a test, or one that it is part of, is denied.
    pub fn reason(&self, test: &str) -> Option<&str> {
        let parents = test.match_indices('/').map(|(at, _)| &test[..at]);
        parents.chain([test]).find_map(|name| self.0.get(name).map(String::as_str))
    }

    pub fn tests(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Says loudly what is not asked.
    pub fn announce(&self, suite: &str) {
        for (test, reason) in &self.0 {
            println!("*** {suite}: {test} IS NOT ASKED of this broker: {reason}");
        }
    }
}

struct Row {
    test: String,
    need: Option<Need>,
    reason: String,
}

fn parse(text: &str) -> Result<Vec<Row>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let row = |line: &str| {
        let mut columns = line.split('\t');
        let (test, need, reason) = (columns.next()?, columns.next()?, columns.next()?);
        let need = if need == "-" { None } else { Some(Need::parse(need)?) };
        Some(Row { test: test.to_owned(), need, reason: reason.to_owned() })
    };
    lines.map(|line| row(line).ok_or_else(|| line.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_denies_its_children_and_nothing_beside_them() {
        let rows = parse("# test\nA\tX(1) v0\twhy\nB/c\tX(1) v0\tbecause\n").unwrap_or_default();
        let denials = Denials(rows.into_iter().map(|row| (row.test, row.reason)).collect());
        let reasons = ["A", "A/x", "A/x/y", "AB", "B", "B/c", "B/cd"].map(|test| denials.reason(test));
        let (why, because) = (Some("why"), Some("because"));
        assert_eq!(reasons, [why, why, why, None, None, because, None]);
        assert!(parse("A\tX\twhy").is_err());
    }
}
