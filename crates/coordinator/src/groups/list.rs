//! ListGroups.

use std::collections::BTreeSet;

use dohle_wire::Text;
use dohle_wire::messages as m;
use m::list_groups_response::ListedGroup;

use super::request::Call;
use super::{Effects, Group, GroupCoordinator, Response};

pub(super) fn groups(
    c: &GroupCoordinator,
    call: &Call,
    request: m::ListGroupsRequest,
    effects: &mut Effects,
) {
    let states: BTreeSet<String> =
        request.states_filter.iter().map(|state| state.to_lowercase().trim().to_owned()).collect();
    let types: BTreeSet<String> = request.types_filter.iter().map(|name| name.to_lowercase()).collect();
    let is_asked_for = |group: &Group| {
        (states.is_empty() || states.contains(&group.state_name().to_lowercase()))
            && (types.is_empty() || types.contains(group.type_name()))
    };
    let listed = c.groups.iter().filter(|(_, group)| is_asked_for(group)).map(|(id, group)| ListedGroup {
        group_id: id.clone(),
        protocol_type: group.protocol_type(),
        group_state: Text::from_static(group.state_name()),
        group_type: Text::from_static(group.type_name()),
        ..Default::default()
    });
    let response = m::ListGroupsResponse { groups: listed.collect(), ..Default::default() };
    effects.reply(call.to, Response::ListGroups(response));
}
