//! Heartbeat: a member of a classic group is alive, and hears whether the group rebalances.

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

pub async fn handle(context: Context, request: HeartbeatRequest) -> HeartbeatResponse {
    if request.group_id.is_empty() {
        return answer(ErrorCode::InvalidGroupId);
    }
    let group = request.group_id.clone();
    match groups::ask(&context, &group, Ask::Heartbeat(request)).await {
        Ok(Response::Heartbeat(response)) => response,
        Ok(other) => unreachable!("a heartbeat is answered by one, not by {other:?}"),
        // Sessions do not run out while the group is being loaded.
        Err(ErrorCode::CoordinatorLoadInProgress) => answer(ErrorCode::None),
        Err(code) => answer(told(code)),
    }
}

fn answer(code: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse { error_code: code.code(), ..Default::default() }
}
