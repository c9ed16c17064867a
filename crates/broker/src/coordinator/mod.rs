//! Coordinators in the broker: the shell around the pure cores of `dohle_coordinator`.
//!
//! A coordinator has a topic; each partition of it that this node leads has a shard, which lives on the core that owns the partition,
//! so that what it decides is appended without a hop. Nothing here knows what a group is but [`groups`].
//!
//! ```text
//!   api ─ask─► host ──────► active ──events──► Shard<C> (pure) ──batch──► append ──► partition ──► log
//!               │  ▲           ▲                   │                                     │ stored
//!               │  └─ load ◄───┼── read ───────────┼─────────────────────────────────────┤
//!               └─ alarm ──────┘ timers, jobs ◄────┘        replies ◄── released in order┘
//! ```
//!
//! - [`host`]: the shards of one kind on one core: found, loaded, unloaded, woken by their timers.
//! - [`active`]: one loaded shard: its events, the replies that wait, the appends that are not stored.
//! - [`append`]: records to batches of the log. - [`load`]: the log back to a shard.
//! - [`memory`]: what all of them may keep. - [`numbers`]: what is counted of all this. - [`cluster`]: what coordinators know of topics. - [`errors`]: what clients are told of a shard that cannot answer.
//!
//! Invariants, by name:
//! - `NothingHangs`: whoever asks is answered: by the shard, or by the shell when the shard is dropped, unloaded or closed.
//! - `ReplyAfterRecords`: replies leave in the order in which they were decided, each when all records decided until then are stored.
//! - `NoStateWithoutLog`: a shard whose append is refused decides nothing more; another one is loaded from the log.
//! - `IdleIsIdle`: no shard, no task; a shard without timers wakes for nobody.

mod active;
mod alarm;
mod append;
mod cluster;
pub mod errors;
pub mod groups;
mod host;
mod load;
pub mod memory;
pub mod numbers;

use std::ops::AddAssign;
use std::rc::Rc;
use std::sync::Arc;

use dohle_config::Config;
use dohle_coordinator::frame::Coordinator;
use dohle_coordinator::groups::GroupCoordinator;
use dohle_metadata::Image;
use dohle_types::PartitionIndex;

pub use host::{Host, Terms};

use crate::core::Core;
use cluster::ClusterTopics;
use groups::GroupSettings;

/// A coordinator that this broker can host: what the shell must know of it beside the contract.
pub trait Hosted: Coordinator<Request: Send, Response: Send, Event: Send> + 'static {
    /// The topic that keeps its records.
    const TOPIC: &'static str;

    /// What a shard counts, summed up over those that are no more.
    type Tally: Default + Copy + AddAssign;

    /// What this shard has counted since it was loaded.
    fn tally(&self) -> Self::Tally;

    /// What clients make this shard keep in memory, and what a request could add to it.
    fn kept_bytes(&self) -> usize;
    fn would_keep(&self, request: &Self::Request) -> usize;

    /// Where a core keeps its shards.
    fn host(core: &Core) -> &Host<Self>;

    /// A coordinator for one partition that knows the cluster as `image` has it, and nothing of the log.
    fn fresh(core: &Rc<Core>, image: &Arc<Image>, partition: PartitionIndex) -> Self;

    /// What its shards have to be told of a change of the metadata.
    fn news(core: &Rc<Core>, old: &Arc<Image>, new: &Arc<Image>) -> Vec<News<Self>>;
}

/// Something that shards have to be told.
pub enum News<C: Coordinator> {
    All(Box<dyn Fn() -> C::Event>),
    One(PartitionIndex, Box<dyn Fn() -> C::Event>),
}

impl<C: Coordinator> News<C> {
    /// The event for the shard of a partition, if it concerns it.
    fn for_shard(&self, partition: PartitionIndex) -> Option<C::Event> {
        match self {
            Self::All(event) => Some(event()),
            Self::One(wanted, event) if *wanted == partition => Some(event()),
            Self::One(..) => None,
        }
    }
}

/// The coordinators of one core.
pub struct Coordinators {
    groups: Host<GroupCoordinator>,
    group_settings: GroupSettings,
    topics: ClusterTopics,
}

impl Coordinators {
    pub fn new(config: &Config) -> Self {
        Self {
            groups: Host::new(groups::terms(config)),
            group_settings: GroupSettings::default(),
            topics: ClusterTopics::default(),
        }
    }

    /// Loads what is on disk, in the background.
    pub fn start(&self, core: &Rc<Core>) {
        self.groups.start(core);
    }

    /// Brings the shards in line with new metadata, which the core's partitions have followed already.
    pub fn follow(&self, core: &Rc<Core>, old: &Arc<Image>, new: &Arc<Image>) {
        self.groups.follow(core, old, new);
    }

    /// Answers whoever waits, and takes no more requests.
    pub fn close(&self, core: &Rc<Core>) {
        self.groups.close(core);
    }
}
