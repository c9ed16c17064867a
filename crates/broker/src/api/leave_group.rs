//! LeaveGroup: members go, by their ids or by the ids of their instances; up to version 2 the one that asks.

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::messages::leave_group_request::LeaveGroupRequest;
use dohle_wire::messages::leave_group_response::LeaveGroupResponse;

use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

pub async fn handle(context: Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    if request.group_id.is_empty() {
        return refuse(ErrorCode::InvalidGroupId);
    }
    let group = request.group_id.clone();
    // The coordinator reads and answers in the shape of the version.
    match groups::ask(&context, &group, Ask::LeaveGroup(request)).await {
        Ok(Response::LeaveGroup(response)) => response,
        Ok(other) => unreachable!("a member that leaves is answered as one, not by {other:?}"),
        Err(code) => refuse(told(code)),
    }
}

fn refuse(code: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: code.code(), ..Default::default() }
}
