//! The coordinator of groups: who is a member, who reads which partitions, and which offsets were committed.

pub mod assignors;
mod classic;
mod consumer;
mod offsets;
mod record;
mod request;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use dohle_types::ProducerId;
use dohle_wire::Text;

pub use record::GroupRecord;
pub use request::{Ask, Client, Request, Response};
pub use settings::{ConsumerSettings, GroupOverrides, MigrationPolicy, Settings};

use crate::frame::{Coordinator, Job, Moment, Replayed, ReplyTo};
use crate::topics::{Changes, Topics};

use classic::ClassicGroup;
use consumer::ConsumerGroup;
use offsets::Offsets;

/// What a shard does for one coordinator event.
pub type Effects = crate::frame::Effects<GroupCoordinator>;

/// One group, by the protocol that its members speak. A group that only keeps offsets is a classic one without members.
#[derive(Debug)]
pub enum Group {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

/// What happens beside requests.
pub enum Event {
    /// The topics of the cluster have changed.
    Topics(Topics, Arc<Changes>),
    /// A group's own configuration has changed; the default value is "none".
    Overrides(Text, GroupOverrides),
    /// The configuration has changed, or a level of the cluster's features.
    Settings(Arc<Settings>),
    /// A job is done.
    Done(consumer::Done),
}

/// The timers of groups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    Classic(classic::Timer),
    Consumer(consumer::Timer),
    /// Looks for offsets that have expired.
    OffsetExpiry,
}

/// The groups and offsets of one partition of `__consumer_offsets`.
pub struct GroupCoordinator {
    settings: Arc<Settings>,
    topics: Topics,
    overrides: BTreeMap<Text, GroupOverrides>,
    groups: BTreeMap<Text, Group>,
    offsets: Offsets,
}

impl GroupCoordinator {
    pub fn new(settings: Arc<Settings>, topics: Topics, overrides: BTreeMap<Text, GroupOverrides>) -> Self {
        Self { settings, topics, overrides, groups: BTreeMap::new(), offsets: Offsets::default() }
    }
}

impl Coordinator for GroupCoordinator {
    type Request = Request;
    type Response = Response;
    type Event = Event;
    type Record = GroupRecord;
    type Timer = Timer;
    type Job = consumer::Work;

    fn handle(&mut self, _: Moment, _: ReplyTo, request: Request, _: &mut Effects) {
        match request.ask {
            _ => unimplemented!(),
        }
    }

    fn notice(&mut self, _: Moment, _: Event, _: &mut Effects) {
        unimplemented!()
    }

    fn expired(&mut self, _: Moment, _: Timer, _: &mut Effects) {
        unimplemented!()
    }

    fn replay(&mut self, _: Replayed<GroupRecord>) {
        unimplemented!()
    }

    fn end_transaction(&mut self, _: ProducerId, _: bool) {
        unimplemented!()
    }

    fn loaded(&mut self, _: Moment, _: &mut Effects) {}
}

impl Job for consumer::Work {
    type Event = Event;
    fn run(self) -> Event {
        match self {}
    }
}
