//! The broker is killed in the middle of rebalances and commits, again and again: the groups come back where they were.
//!
//! Members of Java, librdkafka and franz-go, in both protocols, read under load and commit after every poll. In each cycle a member joins or
//! leaves every group, and at a random moment of the rebalance that follows the broker gets SIGKILL and starts again on its folder and
//! port. Every group must come to rest again with all partitions owned once, and the books must keep the rules: no commit that was
//! acknowledged is forgotten or goes back, no record is missing.
//!
//! `DOHLE_SOAK_CYCLES` sets the number of kills, `DOHLE_SOAK_SEED` their moments.
#![allow(clippy::disallowed_methods)] // kills real processes at real times

use std::time::Duration;

use dohle_tests_clients::client::{Client, everything};
use dohle_tests_clients::groups::member::Protocol::{Classic, Consumer};
use dohle_tests_clients::groups::scene::{Cast, Scene};

const CYCLES: u64 = 2;
const CYCLES_OF_A_FULL_RUN: u64 = 12;
/// From the beginning of a rebalance to the kill: through the delay before the first one, joins, syncs, and what follows.
const MOMENTS_MS: std::ops::Range<u64> = 0..1500;
const CHECKS_PER_GROUP: usize = 2;
/// The member that comes and goes.
const GUEST: usize = 3;

#[test]
fn killed_in_rebalances_and_commits() {
    let mut casts = vec![
        Cast::of(Client::Java, Classic, "range"),
        Cast::of(Client::Java, Consumer, "uniform"),
        Cast::of(Client::Librdkafka, Consumer, "uniform"),
        Cast::of(Client::FranzGo, Classic, "cooperative-sticky"),
    ];
    if everything() {
        casts.extend([
            Cast::of(Client::Java, Classic, "cooperative-sticky"),
            Cast::of(Client::Librdkafka, Classic, "range"),
            Cast::of(Client::FranzGo, Consumer, "range"),
        ]);
    }
    let owed = casts.len() * CHECKS_PER_GROUP;
    let cycles =
        setting("DOHLE_SOAK_CYCLES").unwrap_or(if everything() { CYCLES_OF_A_FULL_RUN } else { CYCLES });
    let mut chance = Chance(setting("DOHLE_SOAK_SEED").unwrap_or(u64::from(std::process::id())));
    println!("crashes of groups: {cycles} cycles, seed {}", chance.0);
    let (mut target, mut scene) = Scene::with_broker("groups and kills of the broker", casts);
    scene.run_load();
    scene.join_all("a", 1);
    scene.join_all("b", 2);
    scene.settle(2);
    let mut guest = false;
    for cycle in 1..=cycles {
        guest = !guest;
        if guest {
            scene.join_all("a", GUEST);
        } else {
            scene.begin_to_leave_all(GUEST);
        }
        let moment = Duration::from_millis(chance.within(MOMENTS_MS));
        std::thread::sleep(moment);
        target.kill();
        let took = target.restart();
        if !guest {
            scene.all_have_left(GUEST);
        }
        scene.settle(if guest { 3 } else { 2 });
        println!("cycle {cycle}: killed after {moment:?}, ready after {took:?}, all groups settled");
    }
    scene.rest_load();
    scene.drain();
    scene.judge("kills of the broker", false);
    scene.committed_is_the_end("after kills of the broker");
    scene.curtain();
    scene.checks.finish(owed);
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is a number, not '{v}'")))
}

/// Repeatable moments.
struct Chance(u64);

impl Chance {
    fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        range.start + (self.0 >> 33) % (range.end - range.start)
    }
}
