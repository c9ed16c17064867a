//! JoinGroup: a member of a classic group says that it is there. Answered when the group's round of joining is over.

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

/// From this version on a request says how long a rebalance may take; before, as long as a session.
const REBALANCE_TIMEOUT_SINCE: i16 = 1;
/// From this version on there may be no protocol in the answer.
const NO_PROTOCOL_SINCE: i16 = 7;

pub async fn handle(context: Context, mut request: JoinGroupRequest) -> JoinGroupResponse {
    if context.version < REBALANCE_TIMEOUT_SINCE {
        request.rebalance_timeout_ms = request.session_timeout_ms;
    }
    let mut response = if request.group_id.is_empty() {
        JoinGroupResponse { member_id: request.member_id, ..refuse(ErrorCode::InvalidGroupId) }
    } else {
        // Who waits must not keep the frame that the request came in.
        let group = request.group_id.detached();
        match groups::ask(&context, &group, Ask::JoinGroup(request)).await {
            Ok(Response::JoinGroup(response)) => response,
            Ok(other) => unreachable!("a member that joins is answered as one, not by {other:?}"),
            Err(code) => refuse(told(code)),
        }
    };
    let protocol = response.protocol_name.take().filter(|name| !name.is_empty());
    response.protocol_name =
        if context.version >= NO_PROTOCOL_SINCE { protocol } else { Some(protocol.unwrap_or_default()) };
    response
}

fn refuse(code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse { error_code: code.code(), ..Default::default() }
}
