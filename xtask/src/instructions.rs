//! `cargo xtask instructions`: how many instructions the data path takes, and how often it asks the allocator for memory, counted by
//! callgrind, against the stored figures.
//!
//! The drivers are `bench/instructions`. A count does not depend on the machine's speed or its neighbours, so a change of two percent is
//! a change of the code. What would make it noisy is pinned: addresses are not randomised, the environment is empty, the allocator is the
//! system's, and of several runs the lowest count is taken, because the standard library's maps get a new seed in each.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::test::{Counts, child};

/// The stored figures: driver, instructions per turn, allocations per turn, why they are what they are.
const STORED: &str = "bench/instructions.tsv";
const HEAD: &str = "# Instructions and allocations per turn of the drivers in bench/instructions, by `cargo xtask instructions --bless --reason ...`: driver, instructions, allocations, reason.\n";
const BUILD: [&str; 6] = ["cargo", "build", "--release", "--locked", "-p", "dohle-instructions"];
/// What a figure may grow by before it needs a reason.
const MOST_PERCENT: f64 = 2.0;
/// How often each driver is counted.
const TIMES: usize = 3;

/// The functions of the C library that give memory out.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// What a driver's turn takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    instructions: u64,
    allocations: u64,
}

/// A stored figure.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Figure {
    count: Count,
    reason: String,
}

type Figures = BTreeMap<String, Figure>;

/// Counts all drivers. With a reason the figures that have changed are stored with it; otherwise they are compared.
pub fn run(root: &Path, reason: Option<&str>) -> Result<Counts, String> {
    let valgrind = valgrind()?;
    if !child::run(&mut child::command(root, &BUILD)?)?.success {
        return Err("the drivers could not be built".to_owned());
    }
    let program = built(root)?;
    let stored = parse(&std::fs::read_to_string(root.join(STORED)).unwrap_or_default())?;
    let mut counted = BTreeMap::new();
    for driver in drivers(&program)? {
        let counts =
            (0..TIMES).map(|_| count(&valgrind, &program, &driver)).collect::<Result<Vec<_>, _>>()?;
        let instructions = || counts.iter().map(|count| count.instructions);
        let (least, most) = (instructions().min(), instructions().max());
        let (Some(least), Some(most)) = (least, most) else { return Err(format!("{driver}: no count")) };
        let allocations = counts.iter().map(|count| count.allocations).min().unwrap_or_default();
        let spread = 100.0 * (most - least) as f64 / least.max(1) as f64;
        println!("{driver:<20} {least:>12}  spread {spread:.2} %  {allocations:>6} allocations");
        counted.insert(driver, Count { instructions: least, allocations });
    }
    if let Some(reason) = reason {
        let text = written(&blessed(&stored, &counted, reason));
        std::fs::write(root.join(STORED), text).map_err(|error| format!("cannot write {STORED}: {error}"))?;
        return Ok(Counts { passed: counted.len(), ..Counts::default() });
    }
    let faults = faults(&stored, &counted);
    faults.iter().for_each(|fault| println!("{fault}"));
    let counts =
        Counts { passed: counted.len().saturating_sub(faults.len()), failed: faults.len(), skipped: 0 };
    println!("instructions: {counts}");
    Ok(counts)
}

/// The path of valgrind; installed by `apt-get` where root runs this and it is missing.
fn valgrind() -> Result<String, String> {
    const NAME: &str = "valgrind";
    let there = || {
        Command::new(NAME)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !there() {
        println!("installing {NAME} by apt-get");
        for words in [&["update"][..], &["install", "-y", NAME]] {
            // Whether it worked is seen below.
            let _ = Command::new("apt-get").args(words).stdin(Stdio::null()).stdout(Stdio::null()).status();
        }
    }
    if there() {
        return Ok(NAME.to_owned());
    }
    Err("valgrind is missing and could not be installed: instructions are not counted (docs/clients.md says what a machine needs)".to_owned())
}

fn built(root: &Path) -> Result<PathBuf, String> {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let program = folder.join("release/dohle-instructions");
    if program.is_file() { Ok(program) } else { Err(format!("{} is not there", program.display())) }
}

fn drivers(program: &Path) -> Result<Vec<String>, String> {
    let output = Command::new(program).output().map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// What a turn takes.
fn count(valgrind: &str, program: &Path, driver: &str) -> Result<Count, String> {
    let folder = std::env::temp_dir().join(format!("dohle-instructions-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut command = Command::new("setarch");
    let calls = folder.join("calls");
    command.args(["-R", valgrind, "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", calls.display()));
    command.arg("--toggle-collect=*dohle_instructions*counted*").arg(program).arg(driver).arg(&folder);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("cannot start setarch: {error}"));
    let calls = std::fs::read_to_string(&calls).map_err(|error| format!("{}: {error}", calls.display()));
    let removed = std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()));
    let output = output?;
    removed?;
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let turns = said.trim().parse::<u64>().ok().filter(|turns| output.status.success() && *turns > 0);
    let calls = calls?;
    let counted = turns.and_then(|turns| {
        let instructions = collected(&told)? / turns;
        (instructions > 0).then(|| Count { instructions, allocations: allocations(&calls) / turns })
    });
    counted.ok_or_else(|| format!("{driver} was not counted ({}):\n{said}{told}", output.status))
}

/// callgrind's `==1== Collected : 12345`.
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.split_once("Collected : "))?.1;
    line.trim().parse().ok()
}

/// How often callgrind's file says that memory was asked for. A function has its name where it is first mentioned, `cfn=(7) malloc`, and a
/// number from then on; after the function that is called stands how often, `calls=3 0`.
fn allocations(calls: &str) -> u64 {
    let mut names = BTreeMap::new();
    let (mut called, mut sum) = ("", 0);
    for line in calls.lines() {
        let Some((kind, rest)) = line.split_once('=') else { continue };
        match kind {
            "fn" | "cfn" => {
                let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
                if !name.is_empty() {
                    names.insert(number, name);
                }
                if kind == "cfn" {
                    called = names.get(number).copied().unwrap_or_default();
                }
            }
            "calls" if ALLOCATORS.contains(&called) => {
                let times = rest.split_once(' ').map_or(rest, |(times, _)| times);
                sum += times.parse::<u64>().unwrap_or_default();
            }
            _ => {}
        }
    }
    sum
}

fn parse(text: &str) -> Result<Figures, String> {
    let rows = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
    rows.map(|(index, line)| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [driver, instructions, allocations, reason] = fields.as_slice() else {
            return Err(format!("{STORED}:{}: a row is a driver, two numbers and a reason", index + 1));
        };
        let number = |text: &str| text.parse().map_err(|error| format!("{STORED}:{}: {error}", index + 1));
        let count = Count { instructions: number(instructions)?, allocations: number(allocations)? };
        Ok(((*driver).to_owned(), Figure { count, reason: (*reason).to_owned() }))
    })
    .collect()
}

fn written(figures: &Figures) -> String {
    let mut text = HEAD.to_owned();
    for (driver, Figure { count: Count { instructions, allocations }, reason }) in figures {
        let _ = writeln!(text, "{driver}\t{instructions}\t{allocations}\t{reason}");
    }
    text
}

fn percent(before: u64, now: u64) -> f64 {
    100.0 * (now as f64 - before as f64) / before.max(1) as f64
}

/// The figures of what there is now; the reason stands with those that have changed.
fn blessed(stored: &Figures, counted: &BTreeMap<String, Count>, reason: &str) -> Figures {
    let reason = reason.replace(['\t', '\n'], " ");
    let figure = |(driver, &count): (&String, &Count)| {
        let alike = |before, now| percent(before, now).abs() <= MOST_PERCENT;
        let kept = stored.get(driver).filter(|old| {
            alike(old.count.instructions, count.instructions)
                && alike(old.count.allocations, count.allocations)
        });
        let new = || Figure { count, reason: reason.clone() };
        (driver.clone(), kept.cloned().unwrap_or_else(new))
    };
    counted.iter().map(figure).collect()
}

fn faults(stored: &Figures, counted: &BTreeMap<String, Count>) -> Vec<String> {
    const MEND: &str = "cargo xtask instructions --bless --reason \"...\"";
    let grown = counted.iter().flat_map(|(driver, now)| {
        let Some(Figure { count: before, .. }) = stored.get(driver) else {
            return vec![format!("{driver} has no figure: {MEND}")];
        };
        let pairs = [
            ("instructions", before.instructions, now.instructions),
            ("allocations", before.allocations, now.allocations),
        ];
        let fault = |(what, before, now)| {
            let change = percent(before, now);
            if change < -MOST_PERCENT {
                println!("{driver} takes {change:.1} % {what} ({before} to {now}): hold it with {MEND}");
            }
            let fault = format!("{driver} takes {change:+.1} % {what} ({before} to {now}): {MEND}");
            (change > MOST_PERCENT).then_some(fault)
        };
        pairs.into_iter().filter_map(fault).collect()
    });
    let gone = stored.keys().filter(|driver| !counted.contains_key(*driver));
    grown.chain(gone.map(|driver| format!("{driver} is stored and no longer counted: {MEND}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rows: &[(&str, u64)]) -> Figures {
        let figure = |&(driver, instructions): &(&str, u64)| {
            (driver.to_owned(), Figure { count: takes(instructions), reason: "once".to_owned() })
        };
        rows.iter().map(figure).collect()
    }

    fn takes(instructions: u64) -> Count {
        Count { instructions, allocations: 5 }
    }

    fn counts(rows: &[(&str, u64)]) -> BTreeMap<String, Count> {
        rows.iter().map(|&(driver, count)| (driver.to_owned(), takes(count))).collect()
    }

    #[test]
    fn growth_beyond_two_percent_is_a_fault() {
        let stored = figures(&[("a", 1000), ("b", 1000), ("c", 1000)]);
        let found = faults(&stored, &counts(&[("a", 1020), ("b", 1021), ("d", 5)]));
        assert_eq!(found.len(), 3);
        assert!(found[0].starts_with("b takes +2.1 % instructions (1000 to 1021)"), "{found:?}");
        assert!(found[1].starts_with("d has no figure") && found[2].starts_with("c is stored"), "{found:?}");
        let mut fewer = counts(&[("a", 1000), ("b", 10), ("c", 1000)]);
        assert!(faults(&stored, &fewer).is_empty());
        fewer.get_mut("a").unwrap().allocations += 1;
        let found = faults(&stored, &fewer);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a takes +20.0 % allocations (5 to 6)"), "{found:?}");
    }

    #[test]
    fn a_reason_stands_with_what_has_changed() {
        let stored = figures(&[("a", 1000), ("b", 1000)]);
        let new = blessed(&stored, &counts(&[("a", 1001), ("b", 2000)]), "checks\tmore");
        assert_eq!(new["a"], stored["a"]);
        assert_eq!(new["b"], Figure { count: takes(2000), reason: "checks more".to_owned() });
        assert_eq!(parse(&written(&new)).unwrap(), new);
        assert!(parse("a\t1\tonce\n").is_err());
    }

    #[test]
    fn what_callgrind_tells_is_read() {
        assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 640064\n"), Some(640_064));
        assert_eq!(collected("==7== nothing"), None);
        let calls = "fn=(1) main\n1 5\ncfn=(2) malloc\ncalls=3 0\n1 9\ncfn=(3) free\ncalls=7 0\n1 9\n\nfn=(3)\n1 4\ncfn=(2)\ncalls=2 0\n1 6\n";
        assert_eq!(allocations(calls), 5);
    }
}
