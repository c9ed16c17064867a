//! The power goes in the middle of everything, or the broker is killed, and nothing that was acknowledged is missing, moved or doubled.
//!
//! `DOHLE_POWER_CUTS` sets the number of cuts, `DOHLE_POWER_SEED` their moments and what each leaves; a failure names its seed. Two
//! hundred of them: `cargo xtask power --cuts 200`. `DOHLE_BIN` names another build of the broker.
#![allow(clippy::disallowed_methods)] // drives real programs

use dohle_env::disk::Lie;
use dohle_tests_power::mount::possible;
use dohle_tests_power::soak::{Done, End, Wish, soak};

const CUTS: u64 = 8;
/// A disk that lies is to be noticed within so many cuts.
const CUTS_OF_A_LIAR: u64 = 12;

const INVARIANTS: [&str; 3] = ["AcknowledgedSurvives", "OnceAndInOrder", "StartsAgain"];

/// Whether there is nothing to run here. Where the device is and we are root, it has to work.
fn skipped() -> bool {
    let possible = possible();
    if let Err(why) = &possible {
        eprintln!("SKIPPED: NO POWER WAS CUT, for no file system can be mounted: {why}");
    }
    possible.is_err()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is a number, not '{v}'")))
}

fn cuts_asked_for(end: End) -> Done {
    let cuts = setting("DOHLE_POWER_CUTS").unwrap_or(CUTS);
    let seed = setting("DOHLE_POWER_SEED").unwrap_or(u64::from(std::process::id()));
    match soak(Wish { cuts, seed, end }) {
        Ok(done) => {
            println!("{end:?}, {cuts} times from seed {seed}: {done:?}");
            done
        }
        Err(broken) => panic!("{end:?}: {broken}"),
    }
}

#[test]
fn what_was_acknowledged_survives_every_cut() {
    if skipped() {
        return;
    }
    let done = cuts_asked_for(End::Cut(None));
    assert!(done.acknowledged > 0 && done.commits > 0 && done.topics > 0, "too little was done: {done:?}");
}

/// The same work, of topics of every kind in two log directories, on the disk of this machine.
#[test]
fn what_was_acknowledged_survives_every_kill() {
    let done = cuts_asked_for(End::Killed);
    assert!(done.acknowledged > 0 && done.commits > 0 && done.topics > 0, "too little was done: {done:?}");
}

/// The negative control: flushes that store nothing, of bytes and of names.
#[test]
fn a_disk_that_only_pretends_to_flush_is_noticed() {
    if skipped() {
        return;
    }
    for lie in [Lie::Data, Lie::Names] {
        let broken = soak(Wish { cuts: CUTS_OF_A_LIAR, seed: 1, end: End::Cut(Some(lie)) });
        let broken = broken.expect_err("a lie that nobody noticed");
        println!("{lie:?}: {}", broken.lines().next().unwrap_or_default());
        assert!(INVARIANTS.iter().any(|law| broken.contains(law)), "{lie:?}: another failure: {broken}");
    }
}
