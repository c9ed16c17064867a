//! The classic protocol: members that join, a leader among them that assigns.

use dohle_wire::Text;
use dohle_wire::messages as m;

use super::request::Call;
use super::{Effects, GroupCoordinator};
use crate::frame::Moment;

/// A group of the classic protocol.
#[derive(Debug)]
pub struct ClassicGroup {}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {}

pub(super) fn join(_: &mut GroupCoordinator, _: &Call, _: m::JoinGroupRequest, _: &mut Effects) {}
pub(super) fn sync(_: &mut GroupCoordinator, _: &Call, _: m::SyncGroupRequest, _: &mut Effects) {}
pub(super) fn heartbeat(_: &mut GroupCoordinator, _: &Call, _: m::HeartbeatRequest, _: &mut Effects) {}
pub(super) fn leave(_: &mut GroupCoordinator, _: &Call, _: m::LeaveGroupRequest, _: &mut Effects) {}

pub(super) fn expired(_: &mut GroupCoordinator, _: Moment, timer: Timer, _: &mut Effects) {
    match timer {}
}

pub(super) fn replay(_: &mut GroupCoordinator, _: Text, _: Option<m::GroupMetadataValue>) {}

pub(super) fn loaded(_: &mut GroupCoordinator, _: Moment, _: &mut Effects) {}
