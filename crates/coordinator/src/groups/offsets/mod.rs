//! Committed offsets: by group, topic and partition; pending in transactions; expiry.
//!
//! Invariants, by name:
//! - `LastCommitWins`: of two commits the later record counts, whether a transaction carried it or not, and whenever that ended.
//! - `PendingIsCounted`: a partition is unstable exactly while an open transaction has an offset pending for it.
//! - `OffsetsHaveGroup`: where offsets are kept, there is a group; it is made by the first of them if nobody joined.

mod commit;
mod delete;
mod expire;
mod fetch;
mod store;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use dohle_types::{ErrorCode, ProducerId, TopicId};
use dohle_wire::messages as m;
use dohle_wire::{ConsumerOffsetsValue, Text};

pub(super) use commit::{Committer, commit};
pub(super) use delete::delete;
pub(super) use expire::{expire, loaded};
pub(super) use fetch::fetch;
pub use store::Offsets;

use super::{Effects, Group, GroupCoordinator, GroupRecord, classic};
use store::Committed;

/// Applies a committed offset, or takes it back.
pub(super) fn replay(
    c: &mut GroupCoordinator,
    key: m::OffsetCommitKey,
    value: Option<m::OffsetCommitValue>,
    transaction: Option<ProducerId>,
) {
    let Some(value) = value else {
        return c.offsets.remove(&key.group, &key.topic, key.partition);
    };
    if !c.groups.contains_key(&key.group) {
        // Someone commits without joining.
        let group = classic::ClassicGroup::default();
        c.put_group(key.group.detached(), Group::Classic(Box::new(group)));
    }
    c.offsets.put(&key.group, &key.topic, key.partition, Committed::of(&value), transaction);
}

/// Offsets of the time before leader epochs.
pub(super) fn replay_legacy(
    c: &mut GroupCoordinator,
    key: m::LegacyOffsetCommitKey,
    value: Option<ConsumerOffsetsValue>,
    transaction: Option<ProducerId>,
) {
    let value = match value {
        Some(ConsumerOffsetsValue::LegacyOffsetCommit(value)) => Some(m::OffsetCommitValue {
            offset: value.offset,
            metadata: value.metadata,
            commit_timestamp: value.commit_timestamp,
            ..Default::default()
        }),
        Some(_) => return,
        None => None,
    };
    let key = m::OffsetCommitKey { group: key.group, topic: key.topic, partition: key.partition };
    replay(c, key, value, transaction);
}

/// The offsets of deleted topics go, but not those of a younger topic of the same name.
pub(super) fn topics_deleted(c: &mut GroupCoordinator, deleted: &[(Text, TopicId)], effects: &mut Effects) {
    effects.divisible();
    let mut gone = BTreeSet::new();
    for (topic, id) in deleted {
        c.offsets.of_topic(topic, |group, partition, committed| {
            if committed.topic_id.is_zero() || committed.topic_id == *id {
                gone.insert((group.clone(), topic.clone(), partition));
            }
        });
    }
    effects.records(gone.into_iter().map(|(group, topic, partition)| tombstone(group, topic, partition)));
}

/// The records that take all offsets of a group back, those pending in transactions included.
pub(super) fn tombstones(c: &GroupCoordinator, group: &Text, records: &mut Vec<GroupRecord>) {
    let partitions = c.offsets.partitions(group);
    records.extend(partitions.map(|(topic, partition)| tombstone(group.clone(), topic.clone(), partition)));
    let pending = c.offsets.pending_only(group);
    records.extend(pending.map(|(topic, partition)| tombstone(group.clone(), topic.clone(), partition)));
}

fn tombstone(group: Text, topic: Text, partition: i32) -> GroupRecord {
    GroupRecord::tombstone(m::OffsetCommitKey { group, topic, partition })
}

/// What a group says of a commit, before any partition is looked at.
fn not_found(version: i16) -> ErrorCode {
    const NOT_FOUND_SINCE: i16 = 9;
    if version >= NOT_FOUND_SINCE { ErrorCode::GroupIdNotFound } else { ErrorCode::IllegalGeneration }
}
