//! ApiVersions: what this listener serves. The first request of every client, and the only one that may be of any version.

use dohle_metadata::features;
use dohle_types::ErrorCode;
use dohle_wire::messages::ApiVersionsRequest;
use dohle_wire::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use dohle_wire::{ApiKey, DecodeError, Message, Reader, Text};

use crate::dispatch;
use crate::request::{ClientSoftware, Context, Reply};

/// From this version on clients can read a feature whose lowest level is 0.
const LEVEL_ZERO_SINCE: i16 = 4;
/// From this version on clients say what they are.
const SOFTWARE_SINCE: i16 = 3;

pub fn start(context: Context, mut reader: Reader) -> Result<Reply, DecodeError> {
    if !ApiKey::ApiVersions.supports(context.version, context.core.limits().unstable_versions) {
        // A client newer than this node: told in the oldest form which versions to use.
        let response = ApiVersionsResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            api_keys: vec![describe(ApiKey::ApiVersions, &context)],
            ..Default::default()
        };
        return Ok(Reply::Now(context.respond_at(&response, 0)));
    }
    let request = ApiVersionsRequest::decode(&mut reader, context.version)?;
    let response = if context.version >= SOFTWARE_SINCE && !is_valid(&request) {
        ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() }
    } else {
        *context.peer.software.borrow_mut() = ClientSoftware {
            name: request.client_software_name.detached(),
            version: request.client_software_version.detached(),
        };
        served(&context)
    };
    Ok(Reply::Now(context.respond(&response)))
}

fn served(context: &Context) -> ApiVersionsResponse {
    let door = &context.peer.session.door;
    let image = context.core.image();
    let can_be_read = |min: i16| min > 0 || context.version >= LEVEL_ZERO_SINCE;
    let readable = features::supported(context.core.limits().feature_levels)
        .into_iter()
        .filter(|(_, range)| can_be_read(range.min));
    let supported = readable.map(|(name, range)| SupportedFeatureKey {
        name: Text::from_static(name),
        min_version: range.min,
        max_version: range.max,
        ..Default::default()
    });
    // The quorum's own level is not in the image.
    let kraft = context.core.controller().watch_status().borrow().kraft_version;
    let kraft = (kraft > 0).then_some((features::KRAFT_VERSION, kraft));
    let finalized = image.features.finalized().chain(kraft).map(|(name, level)| FinalizedFeatureKey {
        name: Text::from(name),
        max_version_level: level,
        min_version_level: level,
        ..Default::default()
    });
    ApiVersionsResponse {
        api_keys: dispatch::served(door.controller).map(|entry| describe(entry.key, context)).collect(),
        supported_features: supported.collect(),
        finalized_features: finalized.collect(),
        finalized_features_epoch: image.offset.get(),
        ..Default::default()
    }
}

fn describe(key: ApiKey, context: &Context) -> ApiVersion {
    let unstable = context.core.limits().unstable_versions;
    let versions = if context.peer.session.door.controller {
        key.advertised_by_controller(unstable)
    } else {
        key.advertised_by_broker(unstable)
    };
    let (min_version, max_version) = versions.expect("what is in the table has a stable version");
    ApiVersion { api_key: key.code(), min_version, max_version, ..Default::default() }
}

/// Whether name and version are of the form Kafka asks for (`ApiVersionsRequest.isValid`).
fn is_valid(request: &ApiVersionsRequest) -> bool {
    let is_word = |text: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        ends(text.as_bytes().first()) && ends(text.as_bytes().last()) && text.bytes().all(inner)
    };
    is_word(&request.client_software_name) && is_word(&request.client_software_version)
}
