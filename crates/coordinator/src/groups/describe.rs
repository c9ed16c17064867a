//! DescribeGroups.

use dohle_wire::Text;

use super::request::Call;
use super::{Effects, GroupCoordinator};

pub(super) fn groups(_: &GroupCoordinator, _: &Call, _: Vec<Text>, _: &mut Effects) {}
