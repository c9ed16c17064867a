//! ListGroups.

use dohle_wire::messages as m;

use super::request::Call;
use super::{Effects, GroupCoordinator};

pub(super) fn groups(_: &GroupCoordinator, _: &Call, _: m::ListGroupsRequest, _: &mut Effects) {}
