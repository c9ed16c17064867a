//! PushTelemetry (KIP-714): metrics of a client. Taken and dropped, as nothing is subscribed.

use dohle_types::ErrorCode;
use dohle_wire::messages::{PushTelemetryRequest, PushTelemetryResponse};

use crate::api::get_telemetry_subscriptions::{EMPTY_SUBSCRIPTION, MAX_BYTES};
use crate::request::Context;

pub async fn handle(_context: Context, request: PushTelemetryRequest) -> PushTelemetryResponse {
    let code = if request.client_instance_id.is_reserved() {
        ErrorCode::InvalidRequest
    } else if request.subscription_id != EMPTY_SUBSCRIPTION {
        ErrorCode::UnknownSubscriptionId
    } else if request.metrics.len() > MAX_BYTES as usize {
        ErrorCode::TelemetryTooLarge
    } else {
        ErrorCode::None
    };
    PushTelemetryResponse { error_code: code.code(), ..Default::default() }
}
