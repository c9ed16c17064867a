//! `cargo xtask power` and `cargo xtask crash`: nothing acknowledged may be lost, wherever the power goes; and the proof that they
//! find what they are there for.
//!
//! With `--bugs`, each mistake of [`BUGS`] is compiled in, one at a time. Every one of them breaks an order in which `crates/log` has to
//! do things, and a crash point has to find it; of those that show soon on a whole broker, a cut has to find it too.

use std::path::Path;
use std::process::Command;

use crate::mistakes;
use crate::test::{Counts, child};

/// Enough for the rarest: what a mistake breaks at once ends a run soon.
const POINTS_FOR_BUGS: &str = "60000";
const CUTS_FOR_BUGS: &str = "40";
/// What a run that found something says.
const INVARIANTS: [&str; 3] = ["AcknowledgedSurvives", "OnceAndInOrder", "StartsAgain"];

/// The values of `cfg(dohle_bug = "…")` in `crates/log` and the disk, and the rule that each breaks.
const BUGS: &[(&str, &str)] = &[
    ("flush_without_data", "the bytes of a log are flushed before they are acknowledged"),
    ("flush_without_names", "so are the names of its files"),
    ("flush_without_folder", "and the name of its folder"),
    ("acknowledged_beyond_flush", "what was appended while a flush ran is not acknowledged by it"),
    ("index_unsynced", "an index is stored before its segment counts as flushed"),
    (
        "closed_without_epochs",
        "the leader epochs of a closed segment are stored before nobody walks it any more",
    ),
    (
        "together_unflushed",
        "a flush of the whole file system has returned before any log that shares it is told",
    ),
    ("roll_before_names", "the name of a segment is durable before the next one is made"),
    ("retired_in_any_order", "retired segments go one after the other, the first one first"),
    ("cut_unsynced", "a log that was cut is flushed before it grows again"),
    ("cut_under_flush", "a log is not cut while a flush writes files that tell of its records"),
    ("cut_under_swap", "nor while a compaction exchanges its segments"),
    ("truncated_in_any_order", "segments beyond a cut go one after the other, the last one first"),
    ("reset_unsynced", "the name of an empty log's only segment is durable: it says where the log goes on"),
    (
        "stale_snapshot_unsynced",
        "what is known of producers beyond a cut is gone before anything is appended",
    ),
    ("checkpoint_nameless", "a checkpoint that was written has its name"),
    ("replaced_before_written", "a small file is written before it takes the place of the old one"),
    ("clean_shutdown_stays", "the mark of a clean stop is gone before the directory is touched"),
    ("compaction_output_unsynced", "the output of a compaction is flushed before it is renamed"),
    ("compaction_output_nameless", "and so are its names"),
    ("compaction_swap_unsynced", "`.swap` names are durable before the old files lose theirs"),
    ("compaction_log_unordered", "the log has its name before its indexes have theirs"),
    (
        "believed_after_failed_flush",
        "what is not known to be flushed is written again before it is flushed: a flush may have failed",
    ),
    ("names_believed", "so are the names that a process has left to the kernel"),
    ("snapshot_believed", "snapshots of producers at the ends of such segments are made anew"),
    ("half_cut_believed", "where a log ends it may have been cut: its size is stored before it grows again"),
    ("move_unflushed", "a log's copy is flushed before it has the log's name"),
    ("move_nameless", "and so are the names of its files"),
    ("move_old_first", "the old log keeps its name until the copy has it"),
];

/// Mistakes about a log directory that fails and comes back, which the test of exactly that has to find.
const BUGS_OF_A_DIRECTORY: &[(&str, &str)] =
    &[("old_handles_write", "what was opened in a directory before it was lost reaches its disk no more")];

/// The mistakes that a broker under load shows within [`CUTS_FOR_BUGS`] cuts.
const BUGS_OF_A_BROKER: &[&str] =
    &["flush_without_data", "flush_without_names", "acknowledged_beyond_flush", "checkpoint_nameless"];

/// Crashes generated workloads at so many operations each: plain logs and compacted ones.
pub fn points(root: &Path, points: u64) -> Result<Counts, String> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["test", "--release", "--locked", "-p", "dohle-log"]);
    command.args(["--test", "crash", "--test", "compaction", "crash_point", "--", "--nocapture"]);
    told(&mut command, &[("DOHLE_CRASH_POINTS", &points.to_string())])
}

/// One count per mistake that a crash point finds, or the test of a directory that was stopped cleanly.
pub fn crash_bugs(root: &Path) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let of_logs = ["dohle-log", "--test", "crash", "--test", "compaction", "--test", "dirs"];
    for (bug, rule) in BUGS {
        let found = is_found(root, (bug, rule), &of_logs, &["crash_point", "a_clean_stop"])?;
        count(&mut counts, bug, found);
    }
    for (bug, rule) in BUGS_OF_A_DIRECTORY {
        let found = is_found(root, (bug, rule), &["dohle-broker", "--test", "log_dir_return"], &[])?;
        count(&mut counts, bug, found);
    }
    println!("bugs: {counts}");
    Ok(counts)
}

/// Whether tests of a package fail when a mistake is compiled in.
fn is_found(root: &Path, (bug, rule): (&str, &str), tests: &[&str], names: &[&str]) -> Result<bool, String> {
    println!("\n== {bug}: {rule}");
    let mut command = mistakes::cargo(root, bug)?;
    command.args(["test", "--locked", "--no-fail-fast", "-p"]).args(tests).arg("--").args(names);
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1").env("DOHLE_CRASH_POINTS", POINTS_FOR_BUGS);
    let ended = child::run(&mut command)?;
    let counts = Counts::read(&ended.output).ok_or_else(|| format!("{bug}: ended with {}", ended.status))?;
    Ok(counts.failed > 0)
}

/// Cuts the power of a broker so many times.
pub fn cuts(root: &Path, cuts: u64, seed: Option<u64>) -> Result<Counts, String> {
    let seed = seed.map(|seed| seed.to_string());
    let cuts = cuts.to_string();
    let mut settings = vec![("DOHLE_POWER_CUTS", cuts.as_str())];
    settings.extend(seed.as_deref().map(|seed| ("DOHLE_POWER_SEED", seed)));
    told(soak(&mut Command::new("cargo"), root), &settings)
}

/// One count per mistake that a cut finds.
pub fn cut_bugs(root: &Path) -> Result<Counts, String> {
    let mut counts = Counts::default();
    for bug in BUGS_OF_A_BROKER {
        println!("\n== {bug}");
        let mut build = mistakes::cargo(root, bug)?;
        let built = child::run(build.args(["build", "--locked", "-p", "dohle-node"]))?;
        if !built.success {
            return Err(format!("{bug}: the build ended with {}", built.status));
        }
        let broker = mistakes::built(root).join("debug/dohle");
        let mut command = Command::new("cargo");
        soak(&mut command, root).env("DOHLE_BIN", broker).env("DOHLE_POWER_CUTS", CUTS_FOR_BUGS);
        // What a failed test says stands on its standard output only when it is captured.
        let ended = child::run(command.env("DOHLE_POWER_SEED", "1"))?;
        count(&mut counts, bug, !ended.success && INVARIANTS.iter().any(|law| ended.output.contains(law)));
    }
    println!("bugs: {counts}");
    Ok(counts)
}

fn soak<'a>(command: &'a mut Command, root: &Path) -> &'a mut Command {
    command.current_dir(root).args(["test", "--release", "--locked", "-p", "dohle-tests-power"]);
    command.args(["--test", "cuts", "survives_every_cut", "--", "--show-output"])
}

fn told(command: &mut Command, settings: &[(&str, &str)]) -> Result<Counts, String> {
    let ended = child::run(command.envs(settings.iter().copied()))?;
    Counts::read(&ended.output).ok_or_else(|| format!("the tests ended with {}", ended.status))
}

fn count(counts: &mut Counts, bug: &str, found: bool) {
    if found {
        counts.passed += 1;
    } else {
        counts.failed += 1;
    }
    println!("{bug}: {}", if found { "found" } else { "NOT FOUND" });
}
