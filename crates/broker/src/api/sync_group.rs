//! SyncGroup: the leader of a classic group tells who reads what, the others ask. Answered when the leader has told.

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

/// From this version on members say which protocol they take it for.
const PROTOCOL_SINCE: i16 = 5;

pub async fn handle(context: Context, request: SyncGroupRequest) -> SyncGroupResponse {
    let no_protocol = request.protocol_type.is_none() || request.protocol_name.is_none();
    if context.version >= PROTOCOL_SINCE && no_protocol {
        return refuse(ErrorCode::InconsistentGroupProtocol);
    }
    if request.group_id.is_empty() {
        return refuse(ErrorCode::InvalidGroupId);
    }
    // Who waits must not keep the frame that the request came in.
    let group = request.group_id.detached();
    match groups::ask(&context, &group, Ask::SyncGroup(request)).await {
        Ok(Response::SyncGroup(response)) => response,
        Ok(other) => unreachable!("a member that syncs is answered as one, not by {other:?}"),
        Err(code) => refuse(told(code)),
    }
}

fn refuse(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: code.code(), ..Default::default() }
}
