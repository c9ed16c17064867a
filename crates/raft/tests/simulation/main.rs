//! Quorums of one, three and five replicas in one thread from a seed: a network that loses, doubles, delays and cuts, disks that
//! forget what was not flushed, processes that die. The invariants are those the crate's documentation names; `world` checks them
//! after every event.

mod checker;
mod disk;
mod effects;
mod world;

use checker::Marks;
use world::{Faults, World};

const SEEDS: u64 = 16;

fn campaign(voters: usize, observers: usize, faults: Faults, run_ms: u64) -> Marks {
    let mut marks = Marks::default();
    for seed in 0..SEEDS {
        let mut world = World::new(seed, voters, observers, faults);
        world.run(run_ms);
        world.heal();
        world.expect_progress();
        marks.add(&world.checker.marks);
    }
    marks
}

#[test]
fn one_voter_survives_kills() {
    let marks = campaign(1, 0, Faults::HARSH, 20_000);
    assert!(
        marks.kills > 0 && marks.elections > SEEDS && marks.acknowledged > 0 && marks.snapshots > 0,
        "{marks:?}"
    );
}

#[test]
fn one_voter_feeds_observers() {
    let marks = campaign(1, 2, Faults::HARSH, 20_000);
    assert!(marks.acknowledged > 0 && marks.snapshots_installed > 0, "{marks:?}");
}

#[test]
fn three_voters_agree() {
    let marks = campaign(3, 1, Faults::HARSH, 30_000);
    assert!(marks.kills > 0 && marks.elections > SEEDS && marks.truncations > 0, "{marks:?}");
    assert!(marks.snapshots_installed > 0 && marks.resignations > 0 && marks.acknowledged > 0, "{marks:?}");
}

#[test]
fn five_voters_agree() {
    let marks = campaign(5, 0, Faults::HARSH, 30_000);
    assert!(
        marks.kills > 0 && marks.elections > SEEDS && marks.truncations > 0 && marks.acknowledged > 0,
        "{marks:?}"
    );
}

#[test]
fn a_calm_quorum_elects_once_and_stays() {
    for voters in [1, 3, 5] {
        let mut world = World::new(7, voters, 0, Faults::NONE);
        world.run(60_000);
        assert_eq!(world.checker.marks.elections, 1, "{voters} voters");
        world.expect_progress();
    }
}

#[test]
fn voters_come_and_go() {
    let mut marks = Marks::default();
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 3, 2, Faults::HARSH);
        world.change_voters = true;
        world.run(40_000);
        world.heal();
        world.expect_progress();
        marks.add(&world.checker.marks);
    }
    assert!(marks.voters_changed > SEEDS && marks.elections > SEEDS, "{marks:?}");
}

#[test]
fn one_seed_gives_one_history() {
    let trace = |seed| {
        let mut world = World::new(seed, 3, 1, Faults::HARSH);
        world.run(20_000);
        world.trace
    };
    assert_eq!(trace(11), trace(11));
    assert_ne!(trace(11), trace(12));
}
