//! AlterConfigs: the whole configuration of a resource replaced; the form before IncrementalAlterConfigs.

use dohle_metadata::{Image, ResourceType};
use dohle_types::ErrorCode;
use dohle_wire::messages::AlterConfigsRequest;
use dohle_wire::messages::alter_configs_request::AlterConfigsResource;
use dohle_wire::messages::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};
use dohle_wire::{AnyRequest, AnyResponse, Text};

use crate::api::forward;
use crate::config_change::{self, Change, Failure};
use crate::request::Context;

pub async fn handle(context: Context, mut request: AlterConfigsRequest) -> AlterConfigsResponse {
    let image = context.core.image();
    let names: Vec<_> =
        request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
    let mut responses = Vec::new();
    let mut passed_on = Vec::new();
    for resource in std::mem::take(&mut request.resources) {
        match judge(&context, &image, &names, &resource) {
            Ok(()) => passed_on.push(resource),
            Err(failure) => responses.push(refuse(&resource, failure)),
        }
    }
    if !passed_on.is_empty() {
        let kept = passed_on.clone();
        request.resources = passed_on;
        match forward::ask(&context, context.version, AnyRequest::AlterConfigs(request)).await {
            Ok(AnyResponse::AlterConfigs(response)) => responses.extend(response.responses),
            Ok(other) => unreachable!("a change of configs is answered by one, not by {:?}", other.key()),
            Err(refused) => {
                responses.extend(kept.iter().map(|resource| refuse(resource, (refused.code(), None))))
            }
        }
    }
    AlterConfigsResponse { responses, ..Default::default() }
}

fn judge(
    context: &Context,
    image: &Image,
    names: &[(i8, Text)],
    resource: &AlterConfigsResource,
) -> Result<(), Failure> {
    let keys = resource.configs.iter().map(|config| &*config.name);
    let nulls = resource.configs.iter().filter(|config| config.value.is_none()).map(|config| &*config.name);
    let change = Change { kind: resource.resource_type, name: &resource.resource_name };
    if ResourceType(change.kind) == ResourceType::BROKER_LOGGER {
        // Levels were never set by this API.
        let message = format!("Unknown resource type {}", change.kind);
        return Err((ErrorCode::InvalidRequest, Some(message)));
    }
    config_change::check(context, names, &change, keys, nulls)?;
    config_change::check_broker(context, image, &change, |proposed| {
        proposed.clear();
        for config in &resource.configs {
            proposed.insert(config.name.to_string(), config.value.as_deref().unwrap_or_default().to_owned());
        }
    })
}

fn refuse(resource: &AlterConfigsResource, (code, message): Failure) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message: message.map(Text::from),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}
