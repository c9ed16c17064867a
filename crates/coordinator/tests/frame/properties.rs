//! Whatever happens in whatever order: replay equals state, and nobody hangs.

use dohle_coordinator::frame::ReplyTo;
use dohle_types::ErrorCode;

use crate::counters::{Ask, LIFETIME_MS, PATIENCE_MS, Tell};
use crate::shell::Shell;

const SEEDS: u64 = 3000;
const STEPS: usize = 60;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.below(3) as usize]
    }

    fn ask(&mut self) -> Ask {
        match self.below(8) {
            0..3 => Ask::Add(self.name(), 1 + self.below(5) as i64),
            3 => Ask::AddBoth(self.name(), self.name(), 1),
            4 => Ask::Read(self.name()),
            5 => Ask::WaitFor(self.name(), self.below(20) as i64),
            6 => Ask::Double(self.name()),
            _ => Ask::Clear,
        }
    }
}

/// One history; gives what was told in which order.
fn run(seed: u64) -> Vec<ReplyTo> {
    let mut chance = Chance(seed);
    let mut shell = Shell::new();
    for _ in 0..STEPS {
        match chance.below(20) {
            0..10 => _ = shell.ask(chance.ask()),
            10..13 => shell.append(),
            13..15 => shell.store(),
            15 => _ = shell.run_jobs(),
            16 => shell.advance(chance.below(PATIENCE_MS * 2)),
            17 => shell.refuse_append(ErrorCode::NotEnoughReplicas),
            18 => shell.reload(),
            _ => shell.crash(chance.below(4) as usize),
        }
    }
    // What was decided and what is in the log are the same as soon as there is nothing to append.
    shell.append();
    assert_eq!(shell.remembered(), shell.in_log(), "seed {seed}: replay equals state");
    shell.store();
    shell.run_jobs();
    shell.advance(PATIENCE_MS.max(LIFETIME_MS) * 2);
    shell.append();
    shell.store();
    assert_eq!(shell.unanswered(), 0, "seed {seed}: somebody hangs");
    assert_eq!(shell.remembered(), shell.in_log(), "seed {seed}: replay equals state");
    assert_eq!(shell.next_due(), None, "seed {seed}: an idle shard waits for nothing");
    shell.told
}

#[test]
fn replay_equals_state_and_nobody_hangs() {
    (0..SEEDS).for_each(|seed| _ = run(seed));
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..50 {
        assert_eq!(run(seed), run(seed));
    }
}

/// What was told is stored: a crash at any point takes nothing of it back.
#[test]
fn what_was_told_outlives_a_crash() {
    for seed in 0..SEEDS {
        let mut chance = Chance(seed);
        let mut shell = Shell::new();
        let mut told = 0;
        let asked: Vec<ReplyTo> = (0..20)
            .map(|_| {
                let to = shell.ask(Ask::Add("a", 1));
                match chance.below(4) {
                    0 => shell.append(),
                    1 => {
                        shell.append();
                        shell.store();
                    }
                    _ => {}
                }
                to
            })
            .collect();
        for to in asked {
            if let Some(Ok(Tell::Value(value))) = shell.answer(to) {
                told = told.max(value);
            }
        }
        shell.crash(chance.below(3) as usize);
        assert!(shell.value("a") >= told, "seed {seed}: {} was told, {} is there", told, shell.value("a"));
    }
}
