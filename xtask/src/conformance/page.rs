//! `docs/conformance.md`: one table of all suites, Dohle beside Apache Kafka, made of the files under `tests/conformance/results`.
//!
//! A pure function from the text of the repository; `cargo xtask tidy` finds a page that is not what its files say.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::Target;
use super::results::{self, Row};
use crate::test::Counts;
use crate::tidy::{Finding, Tree};

pub const PAGE: &str = "docs/conformance.md";
const HOW: &str = "run `cargo xtask conformance --page`";

const INTRODUCTION: &str = "\
# Conformance

What tests that others wrote say about Dohle: each suite runs unchanged, by its published version, against our binary, and where
that is possible against Apache Kafka in the same way. The files under `tests/conformance/results` hold the figures of the last
full run of each suite; this page is made of them by `cargo xtask conformance --page`.

*Denied* is a test that is not asked, and why stands below. *Skipped* is a test that skips itself.

";

/// Writes the page.
pub fn write(root: &Path) -> Result<Counts, String> {
    let page = generated(&Tree::load(root)?)?;
    std::fs::write(root.join(PAGE), page).map_err(|error| format!("cannot write {PAGE}: {error}"))?;
    println!("wrote {PAGE}");
    Ok(Counts { passed: 1, ..Counts::default() })
}

/// Whether the page is what the results say.
pub fn check(tree: &Tree) -> Vec<Finding> {
    match generated(tree) {
        Ok(page) if tree.text(PAGE) == Some(&page) => Vec::new(),
        // A tree without suites has no page either.
        Ok(_) if tree.under(results::FOLDER).next().is_none() && tree.text(PAGE).is_none() => Vec::new(),
        Ok(_) => vec![Finding::new(PAGE, 1, "not what tests/conformance/results says", HOW)],
        Err(fault) => vec![Finding::new(results::FOLDER, 1, fault, "mend the row, or run its suite again")],
    }
}

fn generated(tree: &Tree) -> Result<String, String> {
    let mut rows: BTreeMap<(String, String), BTreeMap<Target, Row>> = BTreeMap::new();
    for (path, text) in tree.under(results::FOLDER).filter(|(path, _)| path.ends_with(".tsv")) {
        for row in results::parse(path, text)? {
            rows.entry((row.suite.clone(), row.version.clone())).or_default().insert(row.target, row);
        }
    }
    let mut page = INTRODUCTION.to_owned();
    table(&mut page, &rows);
    reasons(&mut page, &rows);
    Ok(page)
}

fn table(page: &mut String, rows: &BTreeMap<(String, String), BTreeMap<Target, Row>>) {
    let numbers = "passed | failed | skipped | denied";
    let _ = writeln!(page, "| suite | version | Dohle: {numbers} | Apache Kafka: {numbers} |");
    let _ = writeln!(page, "|---|---|{}", "--:|".repeat(8));
    for ((suite, version), targets) in rows {
        let cells: Vec<String> =
            [Target::Dohle, Target::Kafka].map(|target| cells(targets.get(&target))).into();
        let _ = writeln!(page, "| {suite} | {version} | {} |", cells.join(" | "));
    }
}

fn cells(row: Option<&Row>) -> String {
    match row {
        Some(row) => format!("{} | {} | {} | {}", row.passed, row.failed, row.skipped, row.denied_sum()),
        None => "– | – | – | –".to_owned(),
    }
}

/// Why tests were not asked of Dohle, the most frequent reason first.
fn reasons(page: &mut String, rows: &BTreeMap<(String, String), BTreeMap<Target, Row>>) {
    let mut sums: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for row in rows.values().filter_map(|targets| targets.get(&Target::Dohle)) {
        let suite = row.suite.split(' ').next().unwrap_or_default();
        for (reason, count) in &row.denied {
            *sums.entry(suite).or_default().entry(reason).or_default() += count;
        }
    }
    if sums.is_empty() {
        return;
    }
    page.push_str("\n## Denied to Dohle\n\n| suite | tests | reason |\n|---|--:|---|\n");
    for (suite, reasons) in sums {
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by(|(a, x), (b, y)| y.cmp(x).then(a.cmp(b)));
        for (reason, count) in reasons {
            let _ = writeln!(page, "| {suite} | {count} | {reason} |");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "tests/conformance/results/x.tsv";
    const ROWS: &str =
        "x core\t1\tdohle\t7\t1\t0\t3\t1 plug-in; 2 cluster\nx core\t1\tkafka\t11\t0\t0\t0\t\n";

    #[test]
    fn kafka_stands_beside_us_and_reasons_below() {
        let page = generated(&Tree::of(&[(FILE, ROWS)])).expect("rows");
        assert!(page.contains("| x core | 1 | 7 | 1 | 0 | 3 | 11 | 0 | 0 | 0 |\n"), "{page}");
        assert!(page.ends_with("| x | 2 | cluster |\n| x | 1 | plug-in |\n"), "{page}");
    }

    #[test]
    fn a_page_that_is_not_what_the_files_say_is_found() {
        let page = generated(&Tree::of(&[(FILE, ROWS)])).expect("rows");
        assert_eq!(check(&Tree::of(&[(FILE, ROWS), (PAGE, &page)])), []);
        assert_eq!(check(&Tree::of(&[(FILE, &ROWS.replace('7', "8")), (PAGE, &page)])).len(), 1);
        assert_eq!(check(&Tree::of(&[(FILE, ROWS)])).len(), 1);
        assert_eq!(check(&Tree::of(&[(FILE, "x\n")])).len(), 1);
        assert_eq!(check(&Tree::of(&[])), []);
    }
}
