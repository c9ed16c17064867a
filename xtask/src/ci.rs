//! `cargo xtask ci`: what a change has to pass, as named and timed steps; `.ci/run` starts it.
//!
//! Every step runs even when an earlier one failed, so that one run tells everything. The last line counts the tests of the
//! steps that count, and one for each step that does not.

#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::time::{Duration, Instant};

use crate::test::{Counts, child};

/// One step: its name and its command; `xtask` stands for this program.
#[derive(Debug)]
struct Step {
    name: &'static str,
    command: &'static [&'static str],
    /// Whether it tells how many tests passed; a step that does not counts as one.
    counts: bool,
}

const STEPS: &[Step] = &[
    Step { name: "format", command: &["cargo", "fmt", "--all", "--check"], counts: false },
    Step { name: "tidy", command: &["xtask", "tidy"], counts: true },
    Step { name: "deny", command: &["xtask", "deny"], counts: true },
    Step {
        name: "clippy",
        command: &[
            "cargo",
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ],
        counts: false,
    },
    Step {
        name: "release build",
        // As the tests build it: together with another package its dependencies have other features, and all is built twice.
        command: &["cargo", "build", "--release", "--locked", "--quiet", "-p", "dohle-node"],
        counts: false,
    },
    Step { name: "test", command: &["xtask", "test", "--without", "tidy"], counts: true },
    Step { name: "sim bugs", command: &["xtask", "sim", "--bugs"], counts: true },
    Step {
        name: "fuzz smoke",
        command: &["cargo", "run", "--locked", "--quiet", "-p", "dohle-fuzz", "--", "--seconds", "20"],
        counts: false,
    },
    Step {
        name: "bench smoke",
        command: &[
            "cargo",
            "run",
            "--release",
            "--locked",
            "--quiet",
            "-p",
            "dohle-bench",
            "--",
            "pair",
            "--smoke",
        ],
        counts: true,
    },
    Step {
        name: "growth smoke",
        command: &[
            "cargo",
            "run",
            "--release",
            "--locked",
            "--quiet",
            "-p",
            "dohle-bench",
            "--",
            "grow",
            "--smoke",
        ],
        counts: true,
    },
    Step { name: "instructions", command: &["xtask", "instructions"], counts: true },
];

/// Runs every step and gives the sum; prints each step's name, result and time.
pub fn run(root: &Path) -> Result<Counts, String> {
    let mut sum = Counts::default();
    let mut lines = Vec::new();
    for step in STEPS {
        println!("\n=== {}: {}", step.name, step.command.join(" "));
        let start = Instant::now();
        let (counts, verdict) = outcome(root, step);
        lines.push(line(step.name, &verdict, start.elapsed()));
        println!("=== {}", lines[lines.len() - 1]);
        sum.add(counts);
    }
    println!("\n=== all steps");
    lines.iter().for_each(|line| println!("{line}"));
    println!("\n{sum}");
    Ok(sum)
}

fn line(name: &str, verdict: &str, took: Duration) -> String {
    format!("{name:<16} {:>7.1} s  {verdict}", took.as_secs_f64())
}

/// What the step counts for, and a word about it. A step that fails counts at least one failure.
fn outcome(root: &Path, step: &Step) -> (Counts, String) {
    let ended = match child::command(root, step.command).and_then(|mut command| child::run(&mut command)) {
        Ok(ended) => ended,
        Err(error) => return (Counts { failed: 1, ..Counts::default() }, format!("FAILED: {error}")),
    };
    let told = if step.counts { Counts::read_last(&ended.output) } else { None };
    let mut counts =
        told.unwrap_or(Counts { passed: usize::from(ended.success && !step.counts), ..Counts::default() });
    let good = ended.success && counts.failed == 0 && counts.passed > 0;
    counts.failed = if good { 0 } else { counts.failed.max(1) };
    (counts, if good { format!("ok ({counts})") } else { format!("FAILED ({counts}, {})", ended.status) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of(script: &'static [&'static str], counts: bool) -> Counts {
        outcome(Path::new("/"), &Step { name: "x", command: script, counts }).0
    }

    #[test]
    fn steps_count_what_they_tell() {
        let counts = outcome_of(&["echo", "a\n7 passed, 0 failed, 1 skipped"], true);
        assert_eq!(counts, Counts { passed: 7, failed: 0, skipped: 1 });
        assert_eq!(outcome_of(&["true"], false), Counts { passed: 1, failed: 0, skipped: 0 });
    }

    #[test]
    fn a_step_that_fails_or_tells_nothing_is_a_failure() {
        assert_eq!(outcome_of(&["false"], false).failed, 1);
        assert_eq!(outcome_of(&["true"], true).failed, 1);
        assert_eq!(outcome_of(&["sh", "-c", "echo 7 passed, 0 failed; exit 1"], true).failed, 1);
        assert_eq!(outcome_of(&["no-such-program"], false).failed, 1);
    }
}
