//! DescribeGroups: groups of the classic protocol. Those of the consumer protocol have an API of their own.

use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages as m;
use m::describe_groups_response::{DescribedGroup, DescribedGroupMember};

use super::classic::{ClassicGroup, Member};
use super::request::Call;
use super::{Effects, Group, GroupCoordinator, Response};

/// From this version on, a group that is not there is an error; before, it is dead.
const NOT_FOUND_SINCE: i16 = 6;

pub(super) fn groups(c: &GroupCoordinator, call: &Call, ids: Vec<Text>, effects: &mut Effects) {
    let described = ids.into_iter().map(|id| match c.groups.get(&id) {
        Some(Group::Classic(group)) => describe(id, group),
        Some(_) => {
            let message = format!("Group {id} is not a classic group.");
            dead(id, message, call.version)
        }
        None => {
            let message = format!("Group {id} not found.");
            dead(id, message, call.version)
        }
    });
    effects.reply(call.to, Response::DescribeGroups(described.collect()));
}

/// What members said and got is only of use together, once the group is stable.
fn describe(group_id: Text, group: &ClassicGroup) -> DescribedGroup {
    let protocol = group.protocol().filter(|_| group.is_stable());
    DescribedGroup {
        group_id,
        group_state: Text::from_static(group.phase().name()),
        protocol_type: group.protocol_type().cloned().unwrap_or_default(),
        protocol_data: protocol.cloned().unwrap_or_default(),
        members: group.members().map(|member| describe_member(member, protocol)).collect(),
        ..Default::default()
    }
}

fn describe_member(member: &Member, protocol: Option<&Text>) -> DescribedGroupMember {
    let metadata = protocol.and_then(|protocol| member.metadata(protocol));
    DescribedGroupMember {
        member_id: member.id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client.id.clone(),
        client_host: member.client.host.clone(),
        member_metadata: metadata.cloned().unwrap_or_default(),
        member_assignment: member.assignment.clone(),
        ..Default::default()
    }
}

fn dead(group_id: Text, message: String, version: i16) -> DescribedGroup {
    let dead = DescribedGroup { group_id, group_state: Text::from_static("Dead"), ..Default::default() };
    if version < NOT_FOUND_SINCE {
        return dead;
    }
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(Text::from(message)),
        ..dead
    }
}
