//! The coordinator of groups: who is a member, who reads which partitions, and which offsets were committed.
//!
//! This file is the table of what there is: which request, event, timer and record goes where. The rooms decide.
//!
//! ```text
//!   JoinGroup, SyncGroup, Heartbeat, LeaveGroup ──► classic ──(the group speaks the consumer protocol)──► consumer
//!   ConsumerGroupHeartbeat, ConsumerGroupDescribe ──────────────────────────────────────────────────────► consumer
//!   OffsetCommit, OffsetFetch, OffsetDelete ──► offsets        ListGroups, DescribeGroups, DeleteGroups ──► list, describe, delete
//! ```
//!
//! Invariants, by name:
//! - `ReplayOnlyOwnKind`: a record changes only a group of the kind that writes such records; a tombstone of another kind finds nothing.

pub mod assignors;
mod classic;
mod consumer;
mod delete;
mod describe;
mod kept;
mod list;
mod migration;
mod numbers;
mod offsets;
mod record;
mod remembered;
mod request;
#[cfg(test)]
mod script;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use dohle_types::{Offset, ProducerId};
use dohle_wire::{ConsumerOffsetsKey as Key, ConsumerOffsetsValue as Value, Text};

pub use consumer::malformed_heartbeat;
pub use numbers::{Census, Tally};
pub use record::GroupRecord;
pub use request::{Ask, Client, Request, Response};
pub use settings::{ConsumerSettings, GroupOverrides, MigrationPolicy, Settings};

use crate::frame::{Coordinator, Job, Moment, Replayed, ReplyTo};
use crate::topics::{Changes, Topics};

use classic::ClassicGroup;
use consumer::{Background, ConsumerGroup};
use offsets::Offsets;
use request::Call;

/// What a shard does for one coordinator event.
pub type Effects = crate::frame::Effects<GroupCoordinator>;

/// One group, by the protocol that its members speak. A group that only keeps offsets is a classic one without members.
#[derive(Debug)]
pub enum Group {
    Classic(Box<ClassicGroup>),
    Consumer(Box<ConsumerGroup>),
}

impl Group {
    /// Nobody is a member.
    fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    fn state_name(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.phase().name(),
            Self::Consumer(group) => group.state_name(),
        }
    }

    /// The name of the protocol between members and coordinator.
    fn type_name(&self) -> &'static str {
        match self {
            Self::Classic(_) => "classic",
            Self::Consumer(_) => "consumer",
        }
    }

    /// What the members call themselves: consumers, workers of Connect.
    fn protocol_type(&self) -> Text {
        match self {
            Self::Classic(group) => group.protocol_type().cloned().unwrap_or_default(),
            Self::Consumer(_) => Text::from_static("consumer"),
        }
    }

    fn is_subscribed_to_topic(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed_to_topic(topic),
            Self::Consumer(group) => group.is_subscribed_to_topic(topic),
        }
    }
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
    /// What is under way for consumer groups.
    background: Background,
    tally: Tally,
    /// What members make it keep.
    kept: Arc<AtomicUsize>,
}

impl GroupCoordinator {
    pub fn new(settings: Arc<Settings>, topics: Topics, overrides: BTreeMap<Text, GroupOverrides>) -> Self {
        Self {
            settings,
            topics,
            overrides,
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            background: Background::default(),
            tally: Tally::default(),
            kept: Arc::default(),
        }
    }
}

impl Coordinator for GroupCoordinator {
    type Request = Request;
    type Response = Response;
    type Event = Event;
    type Record = GroupRecord;
    type Timer = Timer;
    type Job = consumer::Work;

    fn handle(&mut self, moment: Moment, to: ReplyTo, request: Request, effects: &mut Effects) {
        let Request { client, version, ask } = request;
        let call = Call { moment, to, client, version };
        match ask {
            Ask::JoinGroup(join) => classic::join(self, &call, join, effects),
            Ask::SyncGroup(sync) => classic::sync(self, &call, sync, effects),
            Ask::Heartbeat(heartbeat) => classic::heartbeat(self, &call, heartbeat, effects),
            Ask::LeaveGroup(leave) => classic::leave(self, &call, leave, effects),
            Ask::OffsetCommit(commit) => offsets::commit(self, &call, commit, effects),
            Ask::OffsetFetch { group, stable } => offsets::fetch(self, &call, group, stable, effects),
            Ask::OffsetDelete(delete) => offsets::delete(self, &call, delete, effects),
            Ask::DeleteGroups(groups) => delete::groups(self, &call, groups, effects),
            Ask::ListGroups(list) => list::groups(self, &call, list, effects),
            Ask::DescribeGroups(groups) => describe::groups(self, &call, groups, effects),
            Ask::ConsumerGroupHeartbeat(heartbeat) => consumer::heartbeat(self, &call, heartbeat, effects),
            Ask::ConsumerGroupDescribe(groups) => consumer::describe(self, &call, groups, effects),
        }
    }

    fn notice(&mut self, _: Moment, event: Event, effects: &mut Effects) {
        match event {
            Event::Topics(topics, changes) => {
                let before = std::mem::replace(&mut self.topics, topics);
                offsets::topics_deleted(self, &changes.deleted, effects);
                consumer::topics_changed(self, &before, &changes);
            }
            Event::Overrides(group, overrides) => {
                if overrides == GroupOverrides::default() {
                    self.overrides.remove(&group);
                } else {
                    self.overrides.insert(group, overrides);
                }
            }
            Event::Settings(settings) => self.settings = settings,
            Event::Done(done) => consumer::done(self, done, effects),
        }
    }

    fn expired(&mut self, moment: Moment, timer: Timer, effects: &mut Effects) {
        match timer {
            Timer::Classic(timer) => classic::expired(self, moment, timer, effects),
            Timer::Consumer(timer) => consumer::expired(self, moment, &timer, effects),
            Timer::OffsetExpiry => offsets::expire(self, moment, effects),
        }
    }

    fn replay(&mut self, replayed: Replayed<GroupRecord>) {
        let Replayed { record: GroupRecord { key, value }, offset, transaction } = replayed;
        let value = value.map(|(value, _)| value);
        match (key, value) {
            (Key::OffsetCommit(key), Some(Value::OffsetCommit(value))) => {
                self.tally.offset_commits += u64::from(offset == Offset::NONE);
                offsets::replay(self, key, Some(value), transaction);
            }
            (Key::OffsetCommit(key), None) => offsets::replay(self, key, None, transaction),
            (Key::LegacyOffsetCommit(key), value) => offsets::replay_legacy(self, key, value, transaction),
            (Key::GroupMetadata(key), Some(Value::GroupMetadata(value))) => {
                classic::replay(self, key.group, Some(value), offset != Offset::NONE);
            }
            (Key::GroupMetadata(key), None) => classic::replay(self, key.group, None, offset != Offset::NONE),
            (key, value) => consumer::replay(self, key, value),
        }
    }

    fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        self.offsets.end_transaction(producer, committed);
    }

    fn loaded(&mut self, moment: Moment, effects: &mut Effects) {
        classic::loaded(self, moment, effects);
        consumer::loaded(self, moment, effects);
        offsets::loaded(self, moment, effects);
    }
}

impl Job for consumer::Work {
    type Event = Event;
    fn run(self) -> Event {
        Event::Done(consumer::run(self))
    }
}
