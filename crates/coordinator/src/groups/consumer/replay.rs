//! What records do to consumer groups: the only writer of what must be remembered.
//!
//! A log that was compacted tells of ends without beginnings, and of parts of groups in an order that never was: a tombstone of what is
//! not there does nothing, and a part makes the group that it is of.

use std::sync::Arc;

use dohle_wire::messages as m;
use dohle_wire::{ConsumerOffsetsKey as Key, ConsumerOffsetsValue as Value, Text};

use super::group::{ConsumerGroup, Watched};
use super::member::{Epochs, LEFT, Member};
use super::regex::Resolved;
use crate::groups::{Group, GroupCoordinator};

/// Records of consumer groups; those of kinds that nobody knows yet come here too and are passed over.
pub(in crate::groups) fn replay(coordinator: &mut GroupCoordinator, key: Key, value: Option<Value>) {
    match (key, value) {
        (Key::ConsumerGroupMemberMetadata(key), Some(Value::ConsumerGroupMemberMetadata(value))) => {
            update(coordinator, key.group_id, true, |group, watched| {
                let mut member = take(group, key.member_id);
                member.read_metadata(value);
                group.put_member(member, watched);
            });
        }
        (Key::ConsumerGroupMemberMetadata(key), None) => {
            update(coordinator, key.group_id, false, |group, watched| {
                group.targets.remove(&key.member_id);
                group.remove_member(&key.member_id, watched);
            });
        }
        (Key::ConsumerGroupMetadata(key), Some(Value::ConsumerGroupMetadata(value))) => {
            update(coordinator, key.group_id, true, |group, _| {
                let counts = cfg!(dohle_bug = "epochs-counted") && group.epoch > 0;
                group.epoch = if counts { group.epoch + 1 } else { value.epoch };
                group.metadata_hash = value.metadata_hash;
            });
        }
        (Key::ConsumerGroupMetadata(key), None) => end(coordinator, &key.group_id),
        (Key::ConsumerGroupPartitionMetadata(key), value) => {
            let exists = value.is_some();
            update(coordinator, key.group_id, exists, |group, _| group.has_partition_metadata = exists);
        }
        (
            Key::ConsumerGroupCurrentMemberAssignment(key),
            Some(Value::ConsumerGroupCurrentMemberAssignment(value)),
        ) => update(coordinator, key.group_id, true, |group, watched| {
            let mut member = take(group, key.member_id);
            member.read_assignment(&value);
            group.put_member(member, watched);
        }),
        (Key::ConsumerGroupCurrentMemberAssignment(key), None) => {
            update(coordinator, key.group_id, false, |group, watched| {
                let Some(mut member) = group.members.get(&key.member_id).cloned() else { return };
                member.epoch = LEFT;
                member.previous_epoch = LEFT;
                member.assigned = Epochs::new();
                member.revoking = Epochs::new();
                group.put_member(member, watched);
            });
        }
        (key, value) => replay_target(coordinator, key, value),
    }
}

/// Records of what members are to have, and of what patterns match.
fn replay_target(coordinator: &mut GroupCoordinator, key: Key, value: Option<Value>) {
    match (key, value) {
        (
            Key::ConsumerGroupTargetAssignmentMember(key),
            Some(Value::ConsumerGroupTargetAssignmentMember(value)),
        ) => update(coordinator, key.group_id, true, |group, _| {
            let of = |mut topic: m::consumer_group_target_assignment_member_value::TopicPartition| {
                topic.partitions.sort_unstable();
                (topic.topic_id, topic.partitions)
            };
            let target =
                value.topic_partitions.into_iter().map(of).filter(|(_, at)| !at.is_empty()).collect();
            group.targets.insert(key.member_id.detached(), Arc::new(target));
        }),
        (Key::ConsumerGroupTargetAssignmentMember(key), None) => {
            update(coordinator, key.group_id, false, |group, _| {
                group.targets.remove(&key.member_id);
            });
        }
        (
            Key::ConsumerGroupTargetAssignmentMetadata(key),
            Some(Value::ConsumerGroupTargetAssignmentMetadata(value)),
        ) => update(coordinator, key.group_id, true, |group, _| {
            group.assignment_epoch = value.assignment_epoch;
            group.assignment_timestamp = value.assignment_timestamp;
        }),
        (Key::ConsumerGroupTargetAssignmentMetadata(key), None) => {
            update(coordinator, key.group_id, false, |group, _| {
                group.assignment_epoch = LEFT;
                group.assignment_timestamp = 0;
            });
        }
        (Key::ConsumerGroupRegularExpression(key), Some(Value::ConsumerGroupRegularExpression(value))) => {
            let topics = value.topics.iter().map(Text::detached).collect();
            let resolved =
                Resolved { topics: Arc::new(topics), version: value.version, timestamp: value.timestamp };
            update(coordinator, key.group_id, true, |group, watched| {
                group.put_resolved(key.regular_expression.detached(), Some(resolved), watched);
            });
        }
        (Key::ConsumerGroupRegularExpression(key), None) => {
            update(coordinator, key.group_id, false, |group, watched| {
                group.put_resolved(key.regular_expression, None, watched);
            });
        }
        _ => {}
    }
}

fn take(group: &ConsumerGroup, member_id: Text) -> Member {
    group.members.get(&member_id).cloned().unwrap_or_else(|| Member::new(member_id.detached()))
}

/// Changes a group. A group of another kind under its id has ended: its members have gone over to this one.
fn update(
    coordinator: &mut GroupCoordinator,
    group_id: Text,
    create: bool,
    change: impl FnOnce(&mut ConsumerGroup, &mut Watched),
) {
    let exists = matches!(coordinator.groups.get(&group_id), Some(Group::Consumer(_)));
    if !exists {
        if !create {
            return;
        }
        coordinator.put_group(group_id.detached(), Group::Consumer(Box::new(ConsumerGroup::new())));
    }
    let mut watched = Watched::default();
    if let Some(Group::Consumer(group)) = coordinator.groups.get_mut(&group_id) {
        change(group, &mut watched);
    }
    if watched == Watched::default() {
        return;
    }
    let group_id = group_id.detached();
    for topic in watched.begun {
        coordinator.background.watch(&group_id, topic);
    }
    for topic in watched.ceased {
        coordinator.background.unwatch(&group_id, &topic);
    }
}

fn end(coordinator: &mut GroupCoordinator, group_id: &Text) {
    if matches!(coordinator.groups.get(group_id), Some(Group::Consumer(_))) {
        forget(coordinator, group_id);
        coordinator.groups.remove(group_id);
    }
}

/// A consumer group is about to go: it looks at no topic, and waits for no work.
pub(in crate::groups) fn forget(coordinator: &mut GroupCoordinator, group_id: &Text) {
    let Some(Group::Consumer(group)) = coordinator.groups.get(group_id) else { return };
    for topic in group.topics().keys() {
        coordinator.background.unwatch(group_id, topic);
    }
    coordinator.background.forget(group_id);
}
