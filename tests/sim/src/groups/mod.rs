//! Groups under simulation: members of both protocols as actors, against the coordinator of groups with a simulated log.
//!
//! ```text
//!   members (classic, consumer) ──requests──► network ──► process: Shard<GroupCoordinator> ──batches──► log
//!        ▲      commits, fetches                 │                    │       ▲                         │
//!        └───────────────answers─────────────────┘◄──released replies─┘       └──────replay, at loading─┘
//! ```
//!
//! A message is lost, slow, or sent twice; a member stands still beyond its session, dies, comes back, is cut off in one direction;
//! the coordinator dies at an append, with what is under way stored or not; its wall clock jumps; topics grow, are deleted, and come
//! again under the same name. A connection keeps its order, as TCP does: without that the protocols themselves promise nothing. [`checker`] has the invariants.

mod catalog;
pub mod checker;
mod classic;
mod consumer;
mod cooperative;
mod front;
mod ledger;
mod member;
mod plan;
mod process;
mod truth;
mod world;

use crate::campaign::{Report, Scenario};
use world::World;

/// How long things go wrong.
const STORM_MS: u64 = 40_000;
const CALM_MS: u64 = 30_000;

pub const SCENARIO: Scenario = Scenario { name: "groups", run: storm, marks: MARKS };

/// What a campaign must have seen.
const MARKS: &[&str] = &[
    "a commit is accepted",
    "a commit is refused",
    "a change of the protocol moves a member that owns partitions",
    "a coordinator is held against the replay of its log",
    "a coordinator that loads is asked",
    "a cooperative member gives up partitions and joins again",
    "a cooperative member keeps partitions through a rebalance",
    "a cooperative member loses what it has",
    "a cooperative member waits for a partition of another",
    "a group goes on without a member that owns partitions",
    "a group with members goes back to the classic protocol",
    "a group with members goes over to the consumer protocol",
    "a kill keeps what nobody was told",
    "a kill loses what was appended",
    "a leader sees that topics have changed",
    "a leader is told to leave the assignment as it is",
    "a member asks of a topic that is gone",
    "a member dies and owns partitions",
    "a member finds that its group has become a classic one",
    "a member gives up partitions",
    "a member is cut off in one direction",
    "a member is fenced and owns partitions",
    "a member is given an id first",
    "a member is told of a rebalance",
    "a member leaves",
    "a member stands still for long",
    "a request is doubled",
    "a request is not answered",
    "a static member is late, and the group goes on with it",
    "a static member is replaced",
    "a topic comes again",
    "a topic grows",
    "a topic is deleted",
    "a topic is deleted that members own partitions of",
    "an acknowledged commit is fetched",
    "an answer is lost",
    "an append fails",
    "an instance id is not released yet",
    "compaction drops tombstones",
    "the clock jumps back",
    "the clock jumps on",
    "the coordinator is killed",
    "what was decided together is stored in parts",
    "work of a dead coordinator is done",
];

/// Much goes wrong, then nothing any more, and in the end all is well.
pub fn storm(seed: u64, tells: bool) -> Report {
    let mut world = World::new(seed, tells, plan::stormy);
    world.run(STORM_MS);
    world.heal();
    world.check_end();
    world.report()
}

/// Nothing goes wrong at all.
pub fn calm(seed: u64, tells: bool) -> Report {
    let mut world = World::new(seed, tells, plan::calm);
    world.run(CALM_MS);
    world.heal();
    world.check_end();
    world.report()
}
