//! ConsumerGroupHeartbeat: all that a member of the consumer protocol (KIP-848) says, and hears.

use dohle_coordinator::groups::{Ask, Response, malformed_heartbeat};
use dohle_types::ErrorCode;
use dohle_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

pub async fn handle(
    context: Context,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if !groups::consumer_protocol(context.core.config(), &context.core.image()) {
        return refuse(ErrorCode::UnsupportedVersion);
    }
    let id = match groups::coordinated_here(&context, &request.group_id) {
        Ok(id) => id,
        Err(code) => {
            // What is wrong by itself is told by whoever is asked.
            let settings = groups::settings(&context.core, &context.core.image());
            return malformed_heartbeat(&settings, context.version, &request)
                .unwrap_or_else(|| refuse(told(code)));
        }
    };
    match groups::ask_at(&context, id, Ask::ConsumerGroupHeartbeat(request)).await {
        Ok(Response::ConsumerGroupHeartbeat(response)) => response,
        Ok(other) => unreachable!("a heartbeat is answered by one, not by {other:?}"),
        Err(code) => refuse(told(code)),
    }
}

fn refuse(code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: code.code(), ..Default::default() }
}
