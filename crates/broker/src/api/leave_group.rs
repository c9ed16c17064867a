//! LeaveGroup: members go, by their ids or by the ids of their instances; up to version 2 the one that asks.
//!
//! The coordinator reads both shapes of the request and answers in the shape of its version; what the shell itself refuses has to
//! be put in that shape here.

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use dohle_wire::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};

use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

/// From this version on several members may leave at once, and each has an error of its own.
const MEMBERS_SINCE: i16 = 3;

pub async fn handle(context: Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    if request.group_id.is_empty() {
        return refuse(ErrorCode::InvalidGroupId);
    }
    let (group, members) = (request.group_id.clone(), request.members.clone());
    match groups::ask(&context, &group, Ask::LeaveGroup(request)).await {
        Ok(Response::LeaveGroup(response)) => response,
        Ok(other) => unreachable!("a member that leaves is answered as one, not by {other:?}"),
        Err(ErrorCode::UnknownMemberId) if context.version >= MEMBERS_SINCE => unknown(members),
        Err(code) => refuse(told(code)),
    }
}

/// There is no such group.
fn unknown(members: Vec<MemberIdentity>) -> LeaveGroupResponse {
    let members = members.into_iter().map(|member| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: ErrorCode::UnknownMemberId.code(),
        ..Default::default()
    });
    LeaveGroupResponse { members: members.collect(), ..Default::default() }
}

fn refuse(code: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: code.code(), ..Default::default() }
}
