//! Every target takes a few hundred inputs, the same ones in every run.

use dohle_fuzz::engine::{self, Fault};
use dohle_fuzz::{TARGETS, Target};

const SEED: u64 = 20_261_121;
const INPUTS: u64 = 300;

/// One test for all: memory is counted for the whole process.
#[test]
fn every_target_stands_some_damage() {
    the_guards_guard();
    for target in TARGETS {
        for number in 0..INPUTS {
            let bytes = engine::input(target, SEED, number);
            if let Err(fault) = engine::try_one(target, &bytes) {
                panic!("{} input {number}: {fault}", target.name);
            }
        }
    }
}

fn the_guards_guard() {
    fn greedy(data: &[u8]) {
        drop(vec![1u8; 1000 * data.len()]);
    }
    fn touchy(_: &[u8]) {
        panic!("touched");
    }
    let target =
        |run| Target { name: "guard", run, sample: |_| Vec::new(), memory_factor: 10, memory_slack: 1000 };
    assert_eq!(engine::try_one(&target(|data| drop(data.to_vec())), &[7; 100]), Ok(()));
    let fault = engine::try_one(&target(greedy), &[7; 100]);
    assert!(matches!(fault, Err(Fault::Memory { peak, budget: 2000 }) if peak >= 100_000), "{fault:?}");
    assert_eq!(engine::try_one(&target(touchy), &[]), Err(Fault::Panic("touched".to_owned())));
    // The seed is all that an input follows from.
    for target in TARGETS {
        assert_eq!(engine::input(target, 5, 6), engine::input(target, 5, 6), "{}", target.name);
    }
}
