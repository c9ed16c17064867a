//! What a broker checks of a change of configuration before the controller sees it (`ConfigAdminManager`).

use std::collections::{BTreeMap, HashSet};

use dohle_metadata::{Image, ResourceType};
use dohle_types::ErrorCode;
use dohle_wire::Text;

use crate::request::Context;
use crate::settings;

pub type Failure = (ErrorCode, Option<String>);

/// The resource that is to be changed.
pub struct Change<'a> {
    pub kind: i8,
    pub name: &'a str,
}

fn invalid(message: impl Into<String>) -> Failure {
    (ErrorCode::InvalidRequest, Some(message.into()))
}

/// Checks the form of a change: every resource and every key once, no null where a value is needed, a resource that can be changed.
pub fn check<'a>(
    context: &Context,
    names: &[(i8, Text)],
    change: &Change<'_>,
    keys: impl Iterator<Item = &'a str>,
    nulls: impl Iterator<Item = &'a str>,
) -> Result<(), Failure> {
    if names.iter().filter(|(kind, name)| *kind == change.kind && **name == *change.name).count() > 1 {
        return Err(invalid("Each resource must appear at most once."));
    }
    let mut seen = HashSet::new();
    if !keys.into_iter().all(|key| seen.insert(key)) {
        return Err(invalid("Error due to duplicate config keys"));
    }
    let nulls: Vec<&str> = nulls.collect();
    if !nulls.is_empty() {
        return Err(invalid(format!("Null value not supported for : {}", nulls.join(", "))));
    }
    match ResourceType(change.kind) {
        ResourceType::TOPIC | ResourceType::CLIENT_METRICS | ResourceType::GROUP => Ok(()),
        ResourceType::BROKER if change.name.is_empty() => Ok(()),
        ResourceType::BROKER => check_node(context, change.name),
        // Levels are set when the node starts; none of its loggers can be changed while it runs.
        ResourceType::BROKER_LOGGER => {
            let node = context.core.shared().node;
            if change.name.parse::<i32>().is_ok_and(|id| id != node.get()) {
                return Err(invalid(format!(
                    "Unexpected node id. Expected {node}, but received {}",
                    change.name
                )));
            }
            check_node(context, change.name)?;
            Err((
                ErrorCode::InvalidConfig,
                Some("Logger levels cannot be changed while the broker runs.".to_owned()),
            ))
        }
        ResourceType(code) => Err(invalid(format!("Unknown resource type {code}"))),
    }
}

fn check_node(context: &Context, name: &str) -> Result<(), Failure> {
    let node = context.core.shared().node;
    match name.parse::<i32>() {
        Ok(id) if id == node.get() => Ok(()),
        Ok(_) => Err(invalid(format!("Unexpected broker id, expected {node}, but received {name}"))),
        Err(_) => Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
    }
}

/// Checks the values that a broker would have after the change. Nothing to do for other resources: the controller checks those.
pub fn check_broker(
    context: &Context,
    image: &Image,
    change: &Change<'_>,
    propose: impl FnOnce(&mut BTreeMap<String, String>),
) -> Result<(), Failure> {
    if ResourceType(change.kind) != ResourceType::BROKER {
        return Ok(());
    }
    let held = image.configs.broker(change.name);
    let mut proposed = held.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    propose(&mut proposed);
    let proposed = proposed.iter().map(|(key, value)| (&**key, &**value)).collect();
    let dynamic = settings::dynamic(image, context.core.shared().node);
    dohle_config::validate_broker(&proposed, !change.name.is_empty(), &dynamic, context.core.config())
        .map_err(|problem| (problem.code, Some(problem.message)))
}
