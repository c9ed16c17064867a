//! `cargo xtask sim`: simulations, by the hundred thousand; and the proof that they find what they are there for.
//!
//! With `--bugs`, every mistake of [`BUGS`] is compiled in, one at a time, and a campaign has to fail because of it.

use std::path::Path;
use std::process::Command;

use crate::mistakes;
use crate::test::{Counts, child};

const PACKAGE: &str = "dohle-tests-sim";
/// Enough for each of the mistakes to show.
const SEEDS_FOR_BUGS: &str = "400";

/// The values of `cfg(dohle_bug = "…")`, and the invariant that each breaks.
const BUGS: &[(&str, &str)] = &[
    ("unreleased", "OneOwner"),
    ("any-generation", "FencedNeverCommits"),
    ("told-before-stored", "StoredBeforeTold"),
    ("left-unnoticed", "AllOwned"),
    ("generation-forgotten", "EpochsNeverGoBack"),
    ("first-commit-stays", "CommitsStay"),
    ("tombstones-unwritten", "ReplayIsState"),
    ("epochs-counted", "CompactionIsReplay"),
];

/// What is asked for on the command line.
#[derive(Debug, Default)]
pub struct Wish {
    pub scenario: String,
    pub seed: Option<u64>,
    pub seeds: Option<u64>,
    pub tell: bool,
}

/// Runs seeds. One count per seed.
pub fn run(root: &Path, wish: &Wish) -> Result<Counts, String> {
    let mut command = running(Command::new("cargo"), &["--release"]);
    command.current_dir(root);
    command.args(["--scenario", &wish.scenario]);
    if let Some(seed) = wish.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(seeds) = wish.seeds {
        command.args(["--seeds", &seeds.to_string()]);
    }
    if wish.tell {
        command.arg("--tell");
    }
    let ended = child::run(&mut command)?;
    Counts::read(&ended.output).ok_or_else(|| format!("the simulation ended with {}", ended.status))
}

/// Builds with each mistake and asks the simulation to find it. One count per mistake.
pub fn bugs(root: &Path) -> Result<Counts, String> {
    let mut counts = Counts::default();
    for (bug, invariant) in BUGS {
        println!("\n== {bug}");
        let mut command = running(mistakes::cargo(root, bug)?, &[]);
        command.args(["--seeds", SEEDS_FOR_BUGS]);
        let ended = child::run(&mut command)?;
        let finished =
            Counts::read(&ended.output).ok_or_else(|| format!("{bug}: ended with {}", ended.status))?;
        let found = finished.failed > 0 && ended.output.contains(&format!("failed: {invariant}"));
        if found {
            counts.passed += 1;
        } else {
            counts.failed += 1;
        }
        println!("{bug}: {}", if found { "found" } else { "NOT FOUND" });
    }
    println!("bugs: {counts}");
    Ok(counts)
}

fn running(mut command: Command, options: &[&str]) -> Command {
    command.args(["run", "--locked", "--quiet", "-p", PACKAGE]).args(options).arg("--");
    command
}
