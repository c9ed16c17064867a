//! IncrementalAlterConfigs: single keys set, deleted, appended to, subtracted from. What concerns this node is judged here, the rest by
//! the controller, which stores it all (`ConfigAdminManager.preprocess`).

use std::collections::BTreeMap;

use dohle_metadata::Image;
use dohle_wire::messages::IncrementalAlterConfigsRequest;
use dohle_wire::messages::incremental_alter_configs_request::AlterConfigsResource;
use dohle_wire::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use dohle_wire::{AnyRequest, AnyResponse, Text};

use crate::api::forward;
use crate::config_change::{self, Change, Failure};
use crate::request::Context;

/// `AlterConfigOp.OpType`.
mod operation {
    pub const SET: i8 = 0;
    pub const DELETE: i8 = 1;
    pub const APPEND: i8 = 2;
    pub const SUBTRACT: i8 = 3;
}

pub async fn handle(
    context: Context,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
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
        match forward::ask(&context, context.version, AnyRequest::IncrementalAlterConfigs(request)).await {
            Ok(AnyResponse::IncrementalAlterConfigs(response)) => responses.extend(response.responses),
            Ok(other) => unreachable!("a change of configs is answered by one, not by {:?}", other.key()),
            Err(refused) => {
                responses.extend(kept.iter().map(|resource| refuse(resource, (refused.code(), None))))
            }
        }
    }
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

fn judge(
    context: &Context,
    image: &Image,
    names: &[(i8, Text)],
    resource: &AlterConfigsResource,
) -> Result<(), Failure> {
    let keys = resource.configs.iter().map(|config| &*config.name);
    let nulls = resource
        .configs
        .iter()
        .filter(|config| config.config_operation != operation::DELETE && config.value.is_none())
        .map(|config| &*config.name);
    let change = Change { kind: resource.resource_type, name: &resource.resource_name };
    config_change::check(context, names, &change, keys, nulls)?;
    config_change::check_broker(context, image, &change, |proposed| propose(proposed, resource))
}

/// The values a broker would have after the change.
fn propose(proposed: &mut BTreeMap<String, String>, resource: &AlterConfigsResource) {
    for config in &resource.configs {
        let (name, value) = (config.name.to_string(), config.value.as_deref().unwrap_or_default());
        match config.config_operation {
            operation::SET => _ = proposed.insert(name, value.to_owned()),
            operation::DELETE => _ = proposed.remove(&name),
            operation::APPEND | operation::SUBTRACT => {
                let mut entries: Vec<String> = proposed
                    .get(&name)
                    .map(|list| list.split(',').map(str::to_owned).collect())
                    .unwrap_or_default();
                for entry in value.split(',') {
                    let held = entries.iter().position(|held| held == entry);
                    match (config.config_operation, held) {
                        (operation::APPEND, None) => entries.push(entry.to_owned()),
                        (operation::SUBTRACT, Some(at)) => _ = entries.remove(at),
                        _ => {}
                    }
                }
                proposed.insert(name, entries.join(","));
            }
            // The controller knows what to say of an unknown operation.
            _ => {}
        }
    }
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
