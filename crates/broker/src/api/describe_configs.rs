//! DescribeConfigs: the configuration of topics, brokers, groups and telemetry subscriptions, and where each value comes from.

use dohle_config::describe::{self, Described};
use dohle_metadata::{Image, ResourceType};
use dohle_types::{ErrorCode, validate_topic_name};
use dohle_wire::Text;
use dohle_wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use dohle_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use crate::request::Context;
use crate::settings;

/// From this version on values carry their type and documentation.
const DOCUMENTED_SINCE: i16 = 3;

/// What is said of a resource type that is none.
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the client library or the \
                         message was sent to an incompatible broker. See the broker logs for more details.";

type Failure = (ErrorCode, Option<String>);

pub async fn handle(context: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let image = context.core.image();
    let documented = request.include_documentation && context.version >= DOCUMENTED_SINCE;
    let results = request.resources.iter().map(|resource| match describe(&context, &image, resource) {
        Ok(described) => DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs: described
                .into_iter()
                .filter(|line| is_wanted(resource, &line.name))
                .map(|line| respond(line, request.include_synonyms, documented))
                .collect(),
            ..Default::default()
        },
        Err((code, message)) => DescribeConfigsResult {
            error_code: code.code(),
            // The field's default is no null.
            error_message: Some(message.map(Text::from).unwrap_or_default()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        },
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| **key == *name),
        _ => true,
    }
}

fn describe(
    context: &Context,
    image: &Image,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, Failure> {
    let node = context.core.shared().node;
    let (config, dynamic) = (context.core.config(), settings::dynamic(image, node));
    let name = &*resource.resource_name;
    let invalid = |message: String| Err((ErrorCode::InvalidRequest, Some(message)));
    let kind = ResourceType(resource.resource_type);
    let own = settings::overrides(image.configs.get(kind, name));
    match kind {
        ResourceType::TOPIC => {
            if let Err(problem) = validate_topic_name(name) {
                let message = format!("Topic name is invalid: {}", problem.describe(name));
                return Err((ErrorCode::InvalidTopicException, Some(message)));
            }
            image.topics.by_name(name).ok_or((ErrorCode::UnknownTopicOrPartition, None))?;
            Ok(describe::topic(&own, &dynamic, config))
        }
        ResourceType::BROKER if name.is_empty() => Ok(describe::broker(None, &dynamic, config)),
        ResourceType::BROKER => match name.parse::<i32>() {
            Ok(id) if id == node.get() => Ok(describe::broker(Some(node), &dynamic, config)),
            Ok(_) => {
                invalid(format!("Unexpected broker id, expected {node} or empty string, but received {name}"))
            }
            Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
        },
        ResourceType::BROKER_LOGGER if name.is_empty() => invalid("Broker id must not be empty".to_owned()),
        // No logger can be changed while the node runs, so none is shown.
        ResourceType::BROKER_LOGGER => match name.parse::<i32>() {
            Ok(id) if id == node.get() => Ok(Vec::new()),
            Ok(_) => invalid(format!("Unexpected broker id, expected {node} but received {name}")),
            Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
        },
        ResourceType::CLIENT_METRICS if name.is_empty() => {
            invalid("Client metrics subscription name must not be empty".to_owned())
        }
        ResourceType::CLIENT_METRICS => Ok(describe::client_metrics(&own)),
        ResourceType::GROUP if name.is_empty() => invalid("Group name must not be empty".to_owned()),
        ResourceType::GROUP => Ok(describe::group(&own, &dynamic, config)),
        _ => invalid(MALFORMED.to_owned()),
    }
}

fn respond(line: Described, synonyms: bool, documented: bool) -> DescribeConfigsResourceResult {
    let chain = if synonyms { line.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult {
        name: Text::from(line.name),
        value: line.value.map(Text::from),
        read_only: line.read_only,
        config_source: line.source as i8,
        is_sensitive: line.sensitive,
        synonyms: chain
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: Text::from(synonym.name),
                value: synonym.value.map(Text::from),
                source: synonym.source as i8,
                ..Default::default()
            })
            .collect(),
        config_type: line.config_type,
        documentation: documented.then(|| Text::from_static(line.documentation)),
        ..Default::default()
    }
}
