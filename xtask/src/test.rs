//! `cargo xtask test`: everything a newcomer runs before a change is done, by name, with the counts asserted.
//!
//! Owns the list of suites and the table at the end. A suite that runs fewer tests than its floor in [`FLOORS`] fails, and so
//! does one that has no floor: tests that stop being run are noticed. It never skips a suite silently.

pub mod child;
mod counts;
mod units;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::tidy;
pub use counts::Counts;

/// The least number of tests per suite, raised by hand as suites grow.
pub const FLOORS: &str = "xtask/suites.tsv";

/// What one suite did. `counts` is an error when it did not come to an end.
#[derive(Debug)]
struct Row {
    name: String,
    counts: Result<Counts, String>,
    took: Duration,
}

/// A suite that is a program: its name, and the command with its arguments. Its last line says how much passed and failed.
#[derive(Debug)]
struct Suite {
    name: String,
    command: Vec<String>,
}

impl Suite {
    /// In the command, `xtask` stands for this program.
    fn new(name: &str, command: &[&str]) -> Self {
        Self { name: name.to_owned(), command: command.iter().map(|&word| word.to_owned()).collect() }
    }
}

/// The proofs against Kafka's own classes, and the whole-system suites: every package under `tests/` is one, and runs against
/// a release build. Of the suites of strangers, what is known to pass.
fn suites(root: &Path) -> Result<Vec<Suite>, String> {
    let proofs = ["schemas", "bytes", "config", "assignors"].map(|name| Suite::new(name, &["xtask", name]));
    let whole = units::apart(root)?.into_iter().map(|(name, package)| {
        Suite::new(&name, &["cargo", "test", "--release", "--locked", "--no-fail-fast", "-p", &package])
    });
    let strangers = [Suite::new("conformance-junit", &["xtask", "conformance", "--passed", "--jobs", "4"])];
    Ok(proofs.into_iter().chain(whole).chain(strangers).collect())
}

/// Runs every suite but those named in `without`, prints the table, and gives the sum.
pub fn run(root: &Path, without: &[String]) -> Result<Counts, String> {
    let skipped = |name: &str| without.iter().any(|skip| skip == name);
    let mut rows = Vec::new();
    if !skipped("tidy") {
        rows.push(timed("tidy", || tidy(root)));
    }
    if !skipped("units") {
        let fault = |fault| vec![Row { name: "units".to_owned(), counts: Err(fault), took: Duration::ZERO }];
        rows.extend(units::run(root).unwrap_or_else(fault));
    }
    for suite in suites(root)?.iter().filter(|suite| !skipped(&suite.name)) {
        println!("\n== {}", suite.name);
        rows.push(timed(&suite.name, || program(root, suite)));
    }
    hold_to_floors(&mut rows, &floors(root)?);
    Ok(table(&rows, without))
}

#[allow(clippy::disallowed_methods)] // a tool at the developer's desk, not the platform
fn timed(name: &str, suite: impl FnOnce() -> Result<Counts, String>) -> Row {
    let start = Instant::now();
    let counts = suite();
    Row { name: name.to_owned(), counts, took: start.elapsed() }
}

fn tidy(root: &Path) -> Result<Counts, String> {
    println!("== tidy");
    tidy::run(root, false)
}

fn program(root: &Path, suite: &Suite) -> Result<Counts, String> {
    let ended = child::run(&mut child::command(root, &suite.command)?)?;
    match Counts::read(&ended.output) {
        Some(counts) if ended.success || counts.failed > 0 => Ok(counts),
        Some(counts) => Err(format!("said \"{counts}\" and ended with {}", ended.status)),
        None => Err(format!("ended with {} and no line \"N passed, N failed\"", ended.status)),
    }
}

#[allow(clippy::disallowed_methods)]
fn floors(root: &Path) -> Result<BTreeMap<String, usize>, String> {
    let text = std::fs::read_to_string(root.join(FLOORS))
        .map_err(|error| format!("cannot read {FLOORS}: {error}"))?;
    parse_floors(&text)
}

fn parse_floors(text: &str) -> Result<BTreeMap<String, usize>, String> {
    let rows = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
    rows.map(|(index, line)| {
        let floor = line
            .split_once('\t')
            .and_then(|(name, least)| Some((name.to_owned(), least.trim().parse().ok()?)));
        floor.ok_or_else(|| format!("{FLOORS}:{}: a row is a suite, a tab and a number", index + 1))
    })
    .collect()
}

/// A suite that ran less than it should, or that nobody wrote a floor for, failed.
fn hold_to_floors(rows: &mut [Row], floors: &BTreeMap<String, usize>) {
    for row in rows {
        let Some(counts) = row.counts.as_ref().ok().filter(|counts| counts.failed == 0) else { continue };
        let fault = match floors.get(&row.name) {
            None => Some(format!("has no floor; write {}\t{} into {FLOORS}", row.name, counts.passed)),
            Some(least) if counts.ran() < *least => {
                Some(format!("ran {} tests, {FLOORS} asks for {least}", counts.ran()))
            }
            Some(_) => None,
        };
        if let Some(fault) = fault {
            row.counts = Err(fault);
        }
    }
}

/// Prints the table and gives the sum. A suite that did not come to an end counts as one failed test.
fn table(rows: &[Row], without: &[String]) -> Counts {
    let mut sum = Counts::default();
    println!(
        "\n{:<28} {:>8} {:>8} {:>8} {:>8} {:>9}",
        "suite", "ran", "passed", "failed", "skipped", "seconds"
    );
    for Row { name, counts, took } in rows {
        let seconds = took.as_secs_f64();
        match counts {
            Ok(counts) => {
                let Counts { passed, failed, skipped } = *counts;
                println!(
                    "{name:<28} {:>8} {passed:>8} {failed:>8} {skipped:>8} {seconds:>9.1}",
                    counts.ran()
                );
                sum.add(*counts);
            }
            Err(fault) => {
                println!("{name:<28} FAILED: {fault} ({seconds:.1} s)");
                sum.failed += 1;
            }
        }
    }
    without.iter().for_each(|name| println!("{name:<28} left out by --without"));
    println!("{sum}");
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, passed: usize) -> Row {
        Row {
            name: name.to_owned(),
            counts: Ok(Counts { passed, failed: 0, skipped: 0 }),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn floors_are_held() {
        let floors = parse_floors("# suite\tleast\n\na\t3\nb\t0\n").unwrap();
        let mut rows = [row("a", 2), row("b", 0), row("c", 9)];
        hold_to_floors(&mut rows, &floors);
        assert_eq!(rows[0].counts, Err("ran 2 tests, xtask/suites.tsv asks for 3".to_owned()));
        assert!(rows[1].counts.is_ok());
        assert!(rows[2].counts.as_ref().is_err_and(|fault| fault.starts_with("has no floor")));
        assert_eq!(table(&rows, &[]), Counts { passed: 0, failed: 2, skipped: 0 });
    }

    #[test]
    fn a_bad_floor_names_its_line() {
        assert!(parse_floors("a\tx\n").is_err_and(|error| error.starts_with("xtask/suites.tsv:1")));
    }
}
