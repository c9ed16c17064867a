//! GetTelemetrySubscriptions (KIP-714): which metrics a client shall push. Nobody here takes any, so nothing is subscribed.

use dohle_wire::messages::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};

use crate::request::Context;

/// When a client without subscriptions asks again, in milliseconds (`ClientMetricsConfigs.INTERVAL_MS_DEFAULT`).
const INTERVAL_MS: i32 = 300_000;
/// The most bytes of one push (`telemetry.max.bytes`).
pub const MAX_BYTES: i32 = 1024 * 1024;
/// zstd, lz4, gzip, snappy, in the order of preference.
const ACCEPTED_CODECS: [i8; 4] = [4, 3, 1, 2];
/// The id of the empty set of subscriptions.
pub const EMPTY_SUBSCRIPTION: i32 = 0;

pub async fn handle(
    context: Context,
    request: GetTelemetrySubscriptionsRequest,
) -> GetTelemetrySubscriptionsResponse {
    let known = request.client_instance_id;
    GetTelemetrySubscriptionsResponse {
        client_instance_id: if known.is_zero() { context.core.env().rng.uuid() } else { known },
        subscription_id: EMPTY_SUBSCRIPTION,
        accepted_compression_types: ACCEPTED_CODECS.to_vec(),
        push_interval_ms: INTERVAL_MS,
        telemetry_max_bytes: MAX_BYTES,
        delta_temporality: true,
        requested_metrics: Vec::new(),
        ..Default::default()
    }
}
