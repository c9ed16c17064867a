//! Committed offsets: by group, topic and partition; pending in transactions; expiry.

use dohle_types::{Offset, ProducerId, TopicId};
use dohle_wire::messages as m;
use dohle_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use dohle_wire::{ConsumerOffsetsValue, Text};

use super::request::Call;
use super::{Effects, GroupCoordinator};
use crate::frame::Moment;

/// The offsets of a shard's groups.
#[derive(Debug, Default)]
pub struct Offsets {}

/// Who commits, as the request says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committer<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    /// The generation of a classic group, the member's epoch in a consumer group.
    pub epoch: i32,
    pub transactional: bool,
    pub version: i16,
}

impl Offsets {
    pub(super) fn end_transaction(&mut self, _: ProducerId, _: bool) {}
}

pub(super) fn commit(_: &mut GroupCoordinator, _: &Call, _: m::OffsetCommitRequest, _: &mut Effects) {}
pub(super) fn fetch(
    _: &mut GroupCoordinator,
    _: &Call,
    _: OffsetFetchRequestGroup,
    _: bool,
    _: &mut Effects,
) {
}
pub(super) fn delete(_: &mut GroupCoordinator, _: &Call, _: m::OffsetDeleteRequest, _: &mut Effects) {}
pub(super) fn expire(_: &mut GroupCoordinator, _: Moment, _: &mut Effects) {}
pub(super) fn topics_deleted(_: &mut GroupCoordinator, _: &[(Text, TopicId)], _: &mut Effects) {}
pub(super) fn loaded(_: &mut GroupCoordinator, _: Moment, _: &mut Effects) {}

pub(super) fn replay(
    _: &mut GroupCoordinator,
    _: m::OffsetCommitKey,
    _: Option<m::OffsetCommitValue>,
    _: Offset,
    _: Option<ProducerId>,
) {
}

pub(super) fn replay_legacy(
    _: &mut GroupCoordinator,
    _: m::LegacyOffsetCommitKey,
    _: Option<ConsumerOffsetsValue>,
    _: Offset,
    _: Option<ProducerId>,
) {
}
