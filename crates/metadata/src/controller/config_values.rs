//! Whether a resource may have a configuration, and the records that give it one.

use dohle_config::keys::{self, DefaultValue, Kind};
use dohle_config::{BrokerDynamic, Overrides};
use dohle_types::{ErrorCode, NodeId, validate_topic_name};
use dohle_wire::Text;
use dohle_wire::messages::{ClearElrRecord, ConfigRecord};

use super::error::{ApiError, Result};
use super::turn::Turn;
use crate::image::{ConfigMap, ResourceType};

const MIN_ISR: &str = "min.insync.replicas";
const CORDONED: &str = "cordoned.log.dirs";

/// The longest value that a record may carry, in UTF-16 units, as Kafka counts.
const MAX_VALUE_LENGTH: usize = i16::MAX as usize;

/// The resource that is configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfigTarget<'a> {
    pub kind: ResourceType,
    pub name: &'a str,
    /// The request that configures it also makes it.
    pub is_new: bool,
}

/// The value that a key gets, or `None` when it loses its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub key: Text,
    pub value: Option<Text>,
}

/// A map of the image, as the rules want it.
pub(super) fn overrides(map: &ConfigMap) -> Overrides<'_> {
    map.iter().map(|(key, value)| (&**key, &**value)).collect()
}

impl Turn<'_> {
    /// The dynamic configuration of this node as a broker, which topics inherit from.
    pub(super) fn broker_dynamic(&self) -> BrokerDynamic<'_> {
        let configs = &self.image().configs;
        BrokerDynamic {
            per_broker: overrides(configs.broker(&self.settings.node_id.to_string())),
            cluster_default: overrides(configs.broker("")),
        }
    }

    /// Checks what the resource would have after `changes`, and after the keys `dropped` are gone because nobody named them.
    pub(super) fn validate_configs(
        &self,
        target: &ConfigTarget<'_>,
        changes: &[Change],
        dropped: &[Text],
    ) -> Result<()> {
        let existing = self.image().configs.get(target.kind, target.name);
        // What newer or older software left behind is not this request's fault.
        let mut all: ConfigMap =
            existing.iter().filter(|(key, _)| is_known(target.kind, key)).map(clone_pair).collect();
        for change in changes {
            self.check_transition(target, change, existing)?;
            match &change.value {
                None => {
                    all.remove(&change.key);
                }
                Some(value) if value.encode_utf16().count() > MAX_VALUE_LENGTH => {
                    return Err(ApiError::invalid_config(format!(
                        "The configuration value cannot be added because it exceeds the maximum value size of \
                         {MAX_VALUE_LENGTH} bytes."
                    )));
                }
                Some(value) => {
                    all.insert(change.key.clone(), value.clone());
                }
            }
        }
        for key in dropped {
            self.check_transition(target, &Change { key: key.clone(), value: None }, existing)?;
            all.remove(key);
        }
        self.check_values(target, &overrides(&all), existing)?;
        if target.is_new { Ok(()) } else { self.check_existence(target) }
    }

    /// What may not change whatever the value.
    fn check_transition(
        &self,
        target: &ConfigTarget<'_>,
        change: &Change,
        existing: &ConfigMap,
    ) -> Result<()> {
        if target.kind != ResourceType::BROKER {
            return Ok(());
        }
        let refuse = |sentence: String| Err(ApiError::invalid_config(sentence));
        match &*change.key {
            MIN_ISR if self.image().features.elr_enabled() && !target.name.is_empty() => {
                refuse(format!("Broker-level {MIN_ISR} cannot be altered while ELR is enabled."))
            }
            MIN_ISR if self.image().features.elr_enabled() && change.value.is_none() => {
                refuse(format!("Cluster-level {MIN_ISR} cannot be removed while ELR is enabled."))
            }
            CORDONED if !self.metadata_version().cordoned_log_dirs_supported() => refuse(format!(
                "The {CORDONED} configuration value cannot be set because it requires metadata.version >= 4.3-IV0"
            )),
            // Only the broker knows which directories it has: what it did not check may only shrink.
            CORDONED if self.context.via_broker.is_none() && !is_subset(change, existing) => refuse(format!(
                "When updating {CORDONED} via controllers,  the new value must be a subset of the current configuration \
                 value."
            )),
            _ => Ok(()),
        }
    }

    fn check_values(
        &self,
        target: &ConfigTarget<'_>,
        all: &Overrides<'_>,
        existing: &ConfigMap,
    ) -> Result<()> {
        let config = &self.settings.config;
        let checked = match target.kind {
            ResourceType::TOPIC => {
                if target.name.is_empty() {
                    return Err(ApiError::invalid_request("Default topic resources are not allowed."));
                }
                validate_topic_name(target.name).map_err(|error| {
                    let sentence = format!("Topic name is invalid: {}", error.describe(target.name));
                    ApiError::new(ErrorCode::InvalidTopicException, sentence)
                })?;
                dohle_config::validate_topic(all, &overrides(existing), &self.broker_dynamic(), config)
            }
            ResourceType::BROKER => return check_broker_name(target.name),
            ResourceType::CLIENT_METRICS => dohle_config::validate_client_metrics(target.name, all),
            ResourceType::GROUP => {
                if target.name.is_empty() {
                    return Err(ApiError::invalid_request("Default group resources are not allowed."));
                }
                dohle_config::validate_group(all, &self.broker_dynamic(), config)
            }
            other => {
                let sentence = format!("Unknown resource type {}", other.code());
                return Err(ApiError::invalid_request(sentence));
            }
        };
        checked.map_err(|error| ApiError::new(error.code, error.message))
    }

    fn check_existence(&self, target: &ConfigTarget<'_>) -> Result<()> {
        let image = self.image();
        match target.kind {
            ResourceType::TOPIC if image.topics.by_name(target.name).is_none() => {
                Err(ApiError::unknown_topic(format!("The topic '{}' does not exist.", target.name)))
            }
            ResourceType::BROKER if !target.name.is_empty() => {
                let id = NodeId(target.name.parse().expect("checked with the values"));
                let known = image.brokers.get(id).is_some()
                    || self.settings.voters.contains(&id)
                    || image.controllers.contains_key(&id);
                let sentence = || format!("No node with id {id} found.");
                if known { Ok(()) } else { Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, sentence())) }
            }
            _ => Ok(()),
        }
    }

    /// The records of changes that were checked. A changed `min.insync.replicas` ends all eligibility that the old one gave.
    pub(super) fn push_configs(&mut self, target: &ConfigTarget<'_>, changes: Vec<Change>) -> Result<()> {
        let name = Text::from(target.name);
        let clears =
            self.image().features.elr_enabled() && changes.iter().any(|change| &*change.key == MIN_ISR);
        for change in changes {
            let record = ConfigRecord {
                resource_type: target.kind.code(),
                resource_name: name.clone(),
                name: change.key,
                value: change.value,
                ..Default::default()
            };
            self.batch.push(record, 0)?;
        }
        if clears {
            let topic_name = if target.kind == ResourceType::TOPIC { name } else { Text::default() };
            self.batch.push(ClearElrRecord { topic_name, ..Default::default() }, 0)?;
        }
        Ok(())
    }
}

/// Whether values of the key are lists, and the value that holds when none is set.
pub(super) fn list_default(kind: ResourceType, key: &str) -> Option<&'static str> {
    let key = match kind {
        ResourceType::TOPIC => keys::topic(key)?,
        ResourceType::BROKER => keys::broker(key)?,
        _ => return None,
    };
    match (key.kind, key.default) {
        (Kind::List, DefaultValue::Is(default)) => Some(default),
        (Kind::List, _) => Some(""),
        _ => None,
    }
}

fn is_known(kind: ResourceType, key: &str) -> bool {
    match kind {
        ResourceType::TOPIC => keys::topic(key).is_some(),
        ResourceType::GROUP => keys::group(key).is_some(),
        _ => true,
    }
}

fn clone_pair((key, value): (&Text, &Text)) -> (Text, Text) {
    (key.clone(), value.clone())
}

fn is_subset(change: &Change, existing: &ConfigMap) -> bool {
    let parts =
        |text: &str| -> Vec<String> { text.trim().split(',').map(|part| part.trim().to_owned()).collect() };
    let Some(value) = change.value.as_ref().filter(|value| !value.trim().is_empty()) else {
        return true;
    };
    let current = existing.get(&*change.key).map(|value| parts(value)).unwrap_or_default();
    parts(value).iter().all(|part| current.contains(part))
}

fn check_broker_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    match name.parse::<i32>() {
        Err(_) => Err(ApiError::invalid_request("Unable to parse broker name as a base 10 number.")),
        Ok(..0) => Err(ApiError::invalid_request("Invalid negative broker ID.")),
        Ok(_) => Ok(()),
    }
}
