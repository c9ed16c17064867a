//! What a coordinator of groups tells of itself: how much it has, and how often what has happened since it was loaded.
//!
//! Counted where Kafka's coordinator counts: an offset that is committed, expired, or deleted by `OffsetDelete`; a classic generation
//! that gets its assignments; an epoch of a consumer group that a heartbeat or a resolved pattern begins.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::{Group, GroupCoordinator};

/// The states of groups as Kafka names them. No group stays `Dead`, and dashboards ask for it.
const CLASSIC_STATES: [&str; 5] = ["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty"];
const CONSUMER_STATES: [&str; 5] = ["Empty", "Assigning", "Reconciling", "Stable", "Dead"];

/// What has happened. Nothing of it is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub offset_commits: u64,
    pub offset_expirations: u64,
    pub offset_deletions: u64,
    pub classic_rebalances: u64,
    pub consumer_rebalances: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.offset_commits += other.offset_commits;
        self.offset_expirations += other.offset_expirations;
        self.offset_deletions += other.offset_deletions;
        self.classic_rebalances += other.classic_rebalances;
        self.consumer_rebalances += other.consumer_rebalances;
    }
}

/// What there is. Every state of a kind of group is in it, also where there is no group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    pub offsets: u64,
    pub classic: BTreeMap<&'static str, u64>,
    pub consumer: BTreeMap<&'static str, u64>,
}

impl Default for Census {
    fn default() -> Self {
        let none = |states: [&'static str; 5]| states.into_iter().map(|state| (state, 0)).collect();
        Self { offsets: 0, classic: none(CLASSIC_STATES), consumer: none(CONSUMER_STATES) }
    }
}

impl AddAssign for Census {
    fn add_assign(&mut self, other: Self) {
        self.offsets += other.offsets;
        other.classic.into_iter().for_each(|(state, count)| *self.classic.entry(state).or_default() += count);
        let consumer = other.consumer.into_iter();
        consumer.for_each(|(state, count)| *self.consumer.entry(state).or_default() += count);
    }
}

impl GroupCoordinator {
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Counts groups and offsets: a walk over the groups and their topics.
    pub fn census(&self) -> Census {
        let mut census = Census { offsets: self.offsets.count(), ..Census::default() };
        for group in self.groups.values() {
            let states = match group {
                Group::Classic(_) => &mut census.classic,
                Group::Consumer(_) => &mut census.consumer,
            };
            *states.entry(group.state_name()).or_default() += 1;
        }
        census
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dohle_types::TimestampMs;
    use dohle_wire::Text;
    use dohle_wire::messages as m;
    use m::{offset_commit_request as commit, offset_delete_request as delete};

    use super::*;
    use crate::frame::{Moment, Record, ReplyTo, Shard};
    use crate::groups::{Ask, Client, GroupRecord, Request, Settings};
    use crate::topics::Topics;

    const MAX_BATCH_BYTES: usize = 1_000_000;
    const DAY_MS: u64 = 24 * 3_600_000;

    fn at(tick_ms: u64) -> Moment {
        Moment { wall: TimestampMs(tick_ms.cast_signed()), tick_ms, chance: tick_ms + 1 }
    }

    fn ask(shard: &mut Shard<GroupCoordinator>, version: i16, ask: Ask) {
        let client = Client { id: Text::from_static("c"), host: Text::from_static("/127.0.0.1") };
        shard.handle(at(0), ReplyTo(1), Request { client, version, ask });
    }

    fn commit(group: &str, partitions: i32) -> Ask {
        let partition = |partition_index| commit::OffsetCommitRequestPartition {
            partition_index,
            committed_offset: 1,
            ..Default::default()
        };
        let topic = commit::OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: (0..partitions).map(partition).collect(),
            ..Default::default()
        };
        Ask::OffsetCommit(m::OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        })
    }

    fn coordinator() -> Shard<GroupCoordinator> {
        let settings = Arc::new(Settings { consumer_protocol: true, ..Settings::default() });
        let mut shard =
            Shard::new(GroupCoordinator::new(settings, Topics::default(), BTreeMap::new()), MAX_BATCH_BYTES);
        shard.loaded(at(0));
        shard
    }

    #[test]
    fn offsets_are_counted_as_they_come_and_go() {
        let mut shard = coordinator();
        ask(&mut shard, 8, commit("g", 3));
        assert_eq!(shard.coordinator().census().offsets, 3);
        let partition = delete::OffsetDeleteRequestPartition { partition_index: 1 };
        let topic = delete::OffsetDeleteRequestTopic { name: "t".into(), partitions: vec![partition] };
        let request = m::OffsetDeleteRequest { group_id: "g".into(), topics: vec![topic] };
        ask(&mut shard, 0, Ask::OffsetDelete(request));
        assert_eq!(shard.coordinator().census().offsets, 2);
        shard.advance(at(8 * DAY_MS));
        let tally =
            Tally { offset_commits: 3, offset_deletions: 1, offset_expirations: 2, ..Tally::default() };
        assert_eq!(shard.coordinator().tally(), tally);
        assert_eq!(shard.coordinator().census(), Census::default());
        // What is read back was counted by who wrote it.
        let mut second = coordinator();
        for record in shard.take_batch().expect("records").records {
            let record = GroupRecord::decode(record.key, record.value);
            second.replay(record.expect("readable").expect("known"), dohle_types::Offset(1), None);
        }
        assert_eq!(second.coordinator().tally(), Tally::default());
    }

    #[test]
    fn groups_are_counted_by_kind_and_state() {
        let mut shard = coordinator();
        ask(&mut shard, 8, commit("offsets-only", 1));
        let heartbeat = m::ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: "m".into(),
            rebalance_timeout_ms: 1000,
            subscribed_topic_names: Some(vec!["t".into()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        ask(&mut shard, 1, Ask::ConsumerGroupHeartbeat(heartbeat));
        let mut census = shard.coordinator().census();
        assert_eq!(shard.coordinator().tally().consumer_rebalances, 1);
        assert_eq!((census.classic["Empty"], census.classic.values().sum::<u64>()), (1, 1));
        assert_eq!((census.classic.len(), census.consumer.len()), (5, 5));
        census += shard.coordinator().census();
        assert_eq!(
            (census.consumer.values().sum::<u64>(), census.classic["Empty"], census.offsets),
            (2, 2, 2)
        );
    }
}
