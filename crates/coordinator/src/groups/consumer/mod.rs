//! The consumer protocol (KIP-848): members say what they want and the coordinator assigns.

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::messages as m;
use dohle_wire::{ConsumerOffsetsKey, ConsumerOffsetsValue, Text};

use super::offsets::Committer;
use super::request::Call;
use super::{Effects, GroupCoordinator, GroupRecord};
use crate::frame::Moment;
use crate::topics::Changes;

/// A group of the consumer protocol.
#[derive(Debug)]
pub struct ConsumerGroup {}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {}

/// Work for another thread: an assignment, or patterns that are matched with the names of topics.
pub enum Work {}

/// What came of it.
pub enum Done {}

pub(super) fn run(work: Work) -> Done {
    match work {}
}

pub(super) fn heartbeat(
    _: &mut GroupCoordinator,
    _: &Call,
    _: m::ConsumerGroupHeartbeatRequest,
    _: &mut Effects,
) {
}

pub(super) fn describe(_: &mut GroupCoordinator, _: &Call, _: Vec<Text>, _: &mut Effects) {}

/// JoinGroup to a consumer group that has members.
pub(super) fn classic_join(_: &mut GroupCoordinator, _: &Call, _: m::JoinGroupRequest, _: &mut Effects) {}

/// SyncGroup to a consumer group that has members.
pub(super) fn classic_sync(_: &mut GroupCoordinator, _: &Call, _: m::SyncGroupRequest, _: &mut Effects) {}

/// Heartbeat to a consumer group.
pub(super) fn classic_heartbeat(_: &mut GroupCoordinator, _: &Call, _: m::HeartbeatRequest, _: &mut Effects) {
}

/// LeaveGroup to a consumer group.
pub(super) fn classic_leave(_: &mut GroupCoordinator, _: &Call, _: m::LeaveGroupRequest, _: &mut Effects) {}

pub(super) fn topics_changed(_: &mut GroupCoordinator, _: Moment, _: &Changes, _: &mut Effects) {}

pub(super) fn overrides_changed(_: &mut GroupCoordinator, _: Moment, _: &Text, _: &mut Effects) {}

pub(super) fn done(_: &mut GroupCoordinator, _: Moment, done: Done, _: &mut Effects) {
    match done {}
}

pub(super) fn expired(_: &mut GroupCoordinator, _: Moment, timer: Timer, _: &mut Effects) {
    match timer {}
}

/// Records of consumer groups; those of kinds that nobody knows yet come here too and are passed over.
pub(super) fn replay(_: &mut GroupCoordinator, _: ConsumerOffsetsKey, _: Option<ConsumerOffsetsValue>) {}

pub(super) fn loaded(_: &mut GroupCoordinator, _: Moment, _: &mut Effects) {}

impl ConsumerGroup {
    /// No members.
    pub(super) fn is_empty(&self) -> bool {
        true
    }

    /// `Empty`, `Assigning`, `Reconciling`, `Stable`, `Dead`.
    pub(super) fn state_name(&self) -> &'static str {
        "Empty"
    }

    /// Whether a member subscribes to the topic: its offsets neither expire nor are deleted.
    pub(super) fn is_subscribed_to_topic(&self, _: &str) -> bool {
        false
    }

    /// May this one commit, to these partitions?
    pub(super) fn validate_offset_commit(
        &self,
        _: &Committer<'_>,
        _: &mut dyn Iterator<Item = (&str, TopicId, i32)>,
    ) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// May this one fetch offsets (OffsetFetch from version 9)?
    pub(super) fn validate_offset_fetch(
        &self,
        _member_id: Option<&str>,
        _epoch: i32,
    ) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// The records that end the group.
    pub(super) fn tombstones(&self, _group_id: &Text, _: &mut Vec<GroupRecord>) {}
}
