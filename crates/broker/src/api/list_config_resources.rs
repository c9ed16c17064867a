//! ListConfigResources (KIP-1142): which resources can have configuration. Version 0 knows only telemetry subscriptions.

use dohle_metadata::{Image, ResourceType};
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages::ListConfigResourcesRequest;
use dohle_wire::messages::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};

use crate::request::Context;

const ALL: [ResourceType; 5] = [
    ResourceType::TOPIC,
    ResourceType::BROKER,
    ResourceType::BROKER_LOGGER,
    ResourceType::CLIENT_METRICS,
    ResourceType::GROUP,
];

pub async fn handle(context: Context, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse {
    let kinds: Vec<ResourceType> = match context.version {
        0 => vec![ResourceType::CLIENT_METRICS],
        _ if request.resource_types.is_empty() => ALL.to_vec(),
        _ => request.resource_types.iter().map(|&code| ResourceType(code)).collect(),
    };
    if !kinds.iter().all(|kind| kind.is_known()) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..Default::default()
        };
    }
    let image = context.core.image();
    let config_resources = kinds.into_iter().flat_map(|kind| {
        names(&image, kind).into_iter().map(move |resource_name| ConfigResource {
            resource_name,
            resource_type: kind.code(),
            ..Default::default()
        })
    });
    ListConfigResourcesResponse { config_resources: config_resources.collect(), ..Default::default() }
}

fn names(image: &Image, kind: ResourceType) -> Vec<Text> {
    match kind {
        ResourceType::TOPIC => image.topics.iter().map(|topic| topic.name.clone()).collect(),
        ResourceType::BROKER | ResourceType::BROKER_LOGGER => {
            image.brokers.iter().map(|broker| Text::from(broker.id.to_string())).collect()
        }
        _ => image.configs.resources(kind).map(|(name, _)| name.clone()).collect(),
    }
}
