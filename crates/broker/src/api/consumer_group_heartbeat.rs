//! ConsumerGroupHeartbeat: all that a member of the consumer protocol (KIP-848) says, and hears.

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use crate::coordinator::errors::{sentence, told};
use crate::coordinator::groups;
use crate::request::Context;

pub async fn handle(
    context: Context,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if !groups::consumer_protocol(context.core.config(), &context.core.image()) {
        return refuse(ErrorCode::UnsupportedVersion, None);
    }
    let group = request.group_id.clone();
    match groups::ask(&context, &group, Ask::ConsumerGroupHeartbeat(request)).await {
        Ok(Response::ConsumerGroupHeartbeat(response)) => response,
        Ok(other) => unreachable!("a heartbeat is answered by one, not by {other:?}"),
        // Kafka says what it answers itself, and nothing of what it has made of a partition's error.
        Err(code) if told(code) == code => refuse(code, sentence(code)),
        Err(code) => refuse(told(code), None),
    }
}

fn refuse(code: ErrorCode, message: Option<&'static str>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: code.code(),
        error_message: message.map(Text::from_static),
        ..Default::default()
    }
}
