//! The records of consumer groups, with Kafka's values.

use dohle_wire::Text;
use dohle_wire::messages as m;
use dohle_wire::messages::{
    consumer_group_current_member_assignment_value as current,
    consumer_group_target_assignment_member_value as target,
};

use super::member::{Epochs, Member};
use super::regex::Resolved;
use crate::groups::GroupRecord;
use crate::groups::assignors::Assigned;

pub fn member(group_id: &Text, member: &Member) -> GroupRecord {
    GroupRecord::put(
        member_key(group_id, &member.id),
        m::ConsumerGroupMemberMetadataValue {
            instance_id: member.instance.clone(),
            rack_id: member.rack.clone(),
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            subscribed_topic_names: member.topics.iter().cloned().collect(),
            subscribed_topic_regex: member.regex.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            server_assignor: member.assignor.clone(),
            classic_member_metadata: member.classic.clone(),
            ..Default::default()
        },
    )
}

pub fn member_tombstone(group_id: &Text, member_id: &Text) -> GroupRecord {
    GroupRecord::tombstone(member_key(group_id, member_id))
}

fn member_key(group_id: &Text, member_id: &Text) -> m::ConsumerGroupMemberMetadataKey {
    m::ConsumerGroupMemberMetadataKey { group_id: group_id.clone(), member_id: member_id.clone() }
}

pub fn epoch(group_id: &Text, epoch: i32, metadata_hash: i64) -> GroupRecord {
    GroupRecord::put(
        m::ConsumerGroupMetadataKey { group_id: group_id.clone() },
        m::ConsumerGroupMetadataValue { epoch, metadata_hash, ..Default::default() },
    )
}

pub fn epoch_tombstone(group_id: &Text) -> GroupRecord {
    GroupRecord::tombstone(m::ConsumerGroupMetadataKey { group_id: group_id.clone() })
}

/// The end of what older Kafkas wrote about the topics of a group.
pub fn partition_metadata_tombstone(group_id: &Text) -> GroupRecord {
    GroupRecord::tombstone(m::ConsumerGroupPartitionMetadataKey { group_id: group_id.clone() })
}

pub fn target(group_id: &Text, member_id: &Text, partitions: &Assigned) -> GroupRecord {
    let of = |(topic_id, partitions): (&_, &Vec<i32>)| target::TopicPartition {
        topic_id: *topic_id,
        partitions: partitions.clone(),
        ..Default::default()
    };
    GroupRecord::put(
        target_key(group_id, member_id),
        m::ConsumerGroupTargetAssignmentMemberValue {
            topic_partitions: partitions.iter().map(of).collect(),
            ..Default::default()
        },
    )
}

pub fn target_tombstone(group_id: &Text, member_id: &Text) -> GroupRecord {
    GroupRecord::tombstone(target_key(group_id, member_id))
}

fn target_key(group_id: &Text, member_id: &Text) -> m::ConsumerGroupTargetAssignmentMemberKey {
    m::ConsumerGroupTargetAssignmentMemberKey { group_id: group_id.clone(), member_id: member_id.clone() }
}

pub fn target_epoch(group_id: &Text, assignment_epoch: i32, assignment_timestamp: i64) -> GroupRecord {
    GroupRecord::put(
        m::ConsumerGroupTargetAssignmentMetadataKey { group_id: group_id.clone() },
        m::ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch,
            assignment_timestamp,
            ..Default::default()
        },
    )
}

pub fn target_epoch_tombstone(group_id: &Text) -> GroupRecord {
    GroupRecord::tombstone(m::ConsumerGroupTargetAssignmentMetadataKey { group_id: group_id.clone() })
}

pub fn current(group_id: &Text, member: &Member) -> GroupRecord {
    GroupRecord::put(
        current_key(group_id, &member.id),
        m::ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: member.epoch,
            previous_member_epoch: member.previous_epoch,
            state: member.state.code(),
            assigned_partitions: epochs(&member.assigned),
            partitions_pending_revocation: epochs(&member.revoking),
            ..Default::default()
        },
    )
}

fn epochs(epochs: &Epochs) -> Vec<current::TopicPartitions> {
    let of = |(topic_id, partitions): (&_, &std::collections::BTreeMap<i32, i32>)| current::TopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
        ..Default::default()
    };
    epochs.iter().map(of).collect()
}

pub fn current_tombstone(group_id: &Text, member_id: &Text) -> GroupRecord {
    GroupRecord::tombstone(current_key(group_id, member_id))
}

fn current_key(group_id: &Text, member_id: &Text) -> m::ConsumerGroupCurrentMemberAssignmentKey {
    m::ConsumerGroupCurrentMemberAssignmentKey { group_id: group_id.clone(), member_id: member_id.clone() }
}

pub fn regex(group_id: &Text, regex: &Text, resolved: &Resolved) -> GroupRecord {
    GroupRecord::put(
        regex_key(group_id, regex),
        m::ConsumerGroupRegularExpressionValue {
            topics: resolved.topics.iter().cloned().collect(),
            version: resolved.version,
            timestamp: resolved.timestamp,
            ..Default::default()
        },
    )
}

pub fn regex_tombstone(group_id: &Text, regex: &Text) -> GroupRecord {
    GroupRecord::tombstone(regex_key(group_id, regex))
}

fn regex_key(group_id: &Text, regex: &Text) -> m::ConsumerGroupRegularExpressionKey {
    m::ConsumerGroupRegularExpressionKey { group_id: group_id.clone(), regular_expression: regex.clone() }
}

/// What takes a member out of a group.
pub fn remove_member(group_id: &Text, member_id: &Text, records: &mut Vec<GroupRecord>) {
    records.push(current_tombstone(group_id, member_id));
    records.push(target_tombstone(group_id, member_id));
    records.push(member_tombstone(group_id, member_id));
}
