//! What the log says, read without the coordinator's help.

use std::collections::{BTreeMap, BTreeSet};

use dohle_coordinator::frame::Record;
use dohle_coordinator::groups::GroupRecord;
use dohle_types::TopicId;
use dohle_wire::messages as m;
use dohle_wire::{ConsumerOffsetsKey as Key, ConsumerOffsetsValue as Value, Text};

use crate::log::Entry;

/// A partition by its topic's id.
pub type Spot = (TopicId, i32);
/// Where an offset is committed: group, topic, partition.
pub type Place = (Text, Text, i32);

/// `LEAVE_GROUP_STATIC_MEMBER_EPOCH`: a static member is away, and keeps its place.
pub const AWAY: i32 = -2;

/// Groups and offsets after some records.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub groups: BTreeMap<Text, Group>,
    /// By the offset that was committed (no two commits commit the same): the last place in the log where it is.
    commits: BTreeMap<i64, u64>,
    /// Where the last tombstone of an offset is.
    tombstones: BTreeMap<Place, u64>,
    records: u64,
    /// How often a group with members has changed its protocol, and which way.
    pub upgrades: u64,
    pub downgrades: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    pub classic: Option<Classic>,
    /// The epoch of a consumer group.
    pub epoch: Option<i32>,
    pub members: BTreeMap<Text, Current>,
    /// No later epoch or generation may be lower.
    floor: i32,
    speech: Speech,
    /// It has changed its protocol while it had members.
    converted: bool,
}

/// What the members of a group speak, once there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Speech {
    #[default]
    Nothing,
    Classic,
    Consumer,
}

#[derive(Clone, Debug)]
pub struct Classic {
    pub generation: i32,
    pub members: BTreeSet<Text>,
}

/// A member of a consumer group.
#[derive(Clone, Debug, Default)]
pub struct Current {
    pub epoch: i32,
    /// What it has or has not given up yet.
    pub held: BTreeSet<Spot>,
}

impl Truth {
    /// Takes note of a record. Returns the offset that it commits, if it does.
    pub fn apply(&mut self, entry: &Entry) -> Option<i64> {
        let record = GroupRecord::decode(entry.key.clone(), entry.value.clone());
        let record = record.expect("what was written can be read").expect("its kind is known");
        self.records += 1;
        match (record.key, record.value.map(|(value, _)| value)) {
            (Key::OffsetCommit(key), Some(Value::OffsetCommit(value))) => {
                assert!(!key.group.is_empty());
                self.commits.insert(value.offset, self.records);
                return Some(value.offset);
            }
            (Key::OffsetCommit(key), None) => {
                _ = self.tombstones.insert((key.group, key.topic, key.partition), self.records);
            }
            (Key::GroupMetadata(key), value) => {
                let value = value.map(|value| match value {
                    Value::GroupMetadata(value) => value,
                    other => panic!("{other:?} under the key of a classic group"),
                });
                self.group(&key.group).classic(value);
                self.count_change(&key.group);
            }
            (Key::ConsumerGroupMetadata(key), value) => {
                let epoch = match value {
                    Some(Value::ConsumerGroupMetadata(value)) => Some(value.epoch),
                    _ => None,
                };
                self.group(&key.group_id).moves_to(epoch);
                self.count_change(&key.group_id);
            }
            (Key::ConsumerGroupMemberMetadata(key), value) => {
                let group = self.group(&key.group_id);
                match value {
                    Some(_) => _ = group.members.entry(key.member_id).or_default(),
                    None => _ = group.members.remove(&key.member_id),
                }
            }
            (
                Key::ConsumerGroupCurrentMemberAssignment(key),
                Some(Value::ConsumerGroupCurrentMemberAssignment(value)),
            ) => self.group(&key.group_id).member(&key.member_id, &value),
            _ => {}
        }
        None
    }

    fn count_change(&mut self, id: &Text) {
        let group = self.group(id);
        let now = match (&group.classic, group.epoch) {
            (Some(classic), None) if !classic.members.is_empty() => Speech::Classic,
            (None, Some(_)) if !group.members.is_empty() => Speech::Consumer,
            // In the middle of a change.
            (Some(_), Some(_)) | (None, None) => return,
            (Some(_), None) | (None, Some(_)) => Speech::Nothing,
        };
        let before = std::mem::replace(&mut group.speech, now);
        let upgraded = before == Speech::Classic && now == Speech::Consumer;
        let downgraded = before == Speech::Consumer && now == Speech::Classic;
        group.converted |= upgraded || downgraded;
        self.upgrades += u64::from(upgraded);
        self.downgrades += u64::from(downgraded);
    }

    fn group(&mut self, id: &Text) -> &mut Group {
        self.groups.entry(id.clone()).or_default()
    }

    /// Whether the group knows a member of that id.
    pub fn has_member(&self, group: &Text, id: &Text) -> bool {
        self.groups.get(group).is_some_and(|group| {
            group.members.contains_key(id)
                || group.classic.as_ref().is_some_and(|classic| classic.members.contains(id))
        })
    }

    /// The epoch or generation of a member.
    pub fn epoch(&self, group: &Text, id: &Text) -> Option<i32> {
        let group = self.groups.get(group)?;
        match &group.classic {
            Some(classic) => Some(classic.generation),
            None => Some(group.members.get(id)?.epoch),
        }
    }

    /// Whether the group has changed its protocol while it had members.
    pub fn is_converted(&self, group: &Text) -> bool {
        self.groups.get(group).is_some_and(|group| group.converted)
    }

    /// Where the log last commits that offset.
    pub fn commit(&self, offset: i64) -> Option<u64> {
        self.commits.get(&offset).copied()
    }

    pub fn tombstone(&self, place: &Place) -> Option<u64> {
        self.tombstones.get(place).copied()
    }

    pub fn records(&self) -> u64 {
        self.records
    }
}

impl Group {
    fn classic(&mut self, value: Option<m::GroupMetadataValue>) {
        match value {
            Some(value) => {
                assert!(
                    value.generation >= self.floor,
                    "EpochsNeverGoBack: generation {} after {}",
                    value.generation,
                    self.floor
                );
                self.floor = value.generation;
                let members = value.members.into_iter().map(|member| member.member_id).collect();
                self.classic = Some(Classic { generation: value.generation, members });
            }
            None => {
                // A group that ends empty starts over; one that changes the protocol goes on.
                if self.classic.take().is_none_or(|classic| classic.members.is_empty())
                    && self.epoch.is_none()
                {
                    self.floor = 0;
                }
            }
        }
    }

    fn moves_to(&mut self, epoch: Option<i32>) {
        match epoch {
            Some(epoch) => {
                assert!(epoch >= self.floor, "EpochsNeverGoBack: epoch {epoch} after {}", self.floor);
                self.floor = epoch;
            }
            None if self.members.is_empty() && self.classic.is_none() => self.floor = 0,
            None => {}
        }
        self.epoch = epoch;
    }

    fn member(&mut self, id: &Text, value: &m::ConsumerGroupCurrentMemberAssignmentValue) {
        let member = self.members.entry(id.clone()).or_default();
        let went_on = value.member_epoch >= member.epoch || value.member_epoch == AWAY;
        assert!(went_on, "EpochsNeverGoBack: member {id} at {} after {}", value.member_epoch, member.epoch);
        member.epoch = value.member_epoch;
        let held = value.assigned_partitions.iter().chain(&value.partitions_pending_revocation);
        member.held = held
            .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, *partition)))
            .collect();
    }
}
