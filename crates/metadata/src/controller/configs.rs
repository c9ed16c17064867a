//! IncrementalAlterConfigs and the older AlterConfigs, which replaces all that a resource has.
//!
//! A request that came by a broker is checked as that broker would (Kafka's `ConfigAdminManager`); one that came to the
//! controller itself is checked as the controller does. What clients read differs a little between the two.

use std::collections::{BTreeMap, BTreeSet};

use dohle_config::Overrides;
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages::{alter_configs_request, alter_configs_response};
use dohle_wire::messages::{incremental_alter_configs_request, incremental_alter_configs_response};

use super::config_values::{Change, ConfigTarget, list_default};
use super::error::{ApiError, Result, parts};
use super::turn::Turn;
use crate::image::{ConfigMap, ResourceType};

/// What an entry of IncrementalAlterConfigs does to its key (`AlterConfigOp.OpType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

impl Operation {
    fn from_code(code: i8) -> Result<Self> {
        match code {
            0 => Ok(Self::Set),
            1 => Ok(Self::Delete),
            2 => Ok(Self::Append),
            3 => Ok(Self::Subtract),
            _ => Err(ApiError::invalid_request(format!("Unknown operations type {code}"))),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Delete => "DELETE",
            Self::Append => "APPEND",
            Self::Subtract => "SUBTRACT",
        }
    }
}

/// One entry of either API; the older one only sets.
struct Entry<'a> {
    key: &'a Text,
    operation: Result<Operation>,
    value: Option<&'a Text>,
}

/// One resource of either API.
struct Asked<'a> {
    kind: ResourceType,
    name: &'a Text,
    entries: Vec<Entry<'a>>,
    /// Whether keys that are not named lose their values.
    replaces_all: bool,
}

impl Turn<'_> {
    pub(super) fn incremental_alter_configs(
        &mut self,
        request: &incremental_alter_configs_request::IncrementalAlterConfigsRequest,
    ) -> Result<incremental_alter_configs_response::IncrementalAlterConfigsResponse> {
        let asked = request.resources.iter().map(|resource| Asked {
            kind: ResourceType(resource.resource_type),
            name: &resource.resource_name,
            entries: resource
                .configs
                .iter()
                .map(|config| Entry {
                    key: &config.name,
                    operation: Operation::from_code(config.config_operation),
                    value: config.value.as_ref(),
                })
                .collect(),
            replaces_all: false,
        });
        let answers = self.alter_all(asked.collect(), request.validate_only)?;
        let responses = answers.into_iter().map(|(kind, name, altered)| {
            let (error_code, error_message) = parts(&altered);
            incremental_alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: kind.code(),
                resource_name: name,
                ..Default::default()
            }
        });
        let responses = responses.collect();
        Ok(incremental_alter_configs_response::IncrementalAlterConfigsResponse {
            responses,
            ..Default::default()
        })
    }

    pub(super) fn alter_configs(
        &mut self,
        request: &alter_configs_request::AlterConfigsRequest,
    ) -> Result<alter_configs_response::AlterConfigsResponse> {
        let asked = request.resources.iter().map(|resource| Asked {
            kind: ResourceType(resource.resource_type),
            name: &resource.resource_name,
            entries: resource
                .configs
                .iter()
                .map(|config| Entry {
                    key: &config.name,
                    operation: Ok(Operation::Set),
                    value: config.value.as_ref(),
                })
                .collect(),
            replaces_all: true,
        });
        let answers = self.alter_all(asked.collect(), request.validate_only)?;
        let responses = answers.into_iter().map(|(kind, name, altered)| {
            let (error_code, error_message) = parts(&altered);
            alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: kind.code(),
                resource_name: name,
                ..Default::default()
            }
        });
        Ok(alter_configs_response::AlterConfigsResponse {
            responses: responses.collect(),
            ..Default::default()
        })
    }

    /// Alters each resource by itself: one that fails leaves the others alone. Answers in the order of the request, or once
    /// for a resource that a controller was asked about twice.
    fn alter_all(
        &mut self,
        asked: Vec<Asked<'_>>,
        validate_only: bool,
    ) -> Result<Vec<(ResourceType, Text, Result<()>)>> {
        let mut counts: BTreeMap<(ResourceType, &str), usize> = BTreeMap::new();
        for resource in &asked {
            *counts.entry((resource.kind, resource.name)).or_default() += 1;
        }
        let start = self.batch.mark();
        let mut answered = BTreeSet::new();
        let mut answers = Vec::with_capacity(asked.len());
        for resource in &asked {
            let identity = (resource.kind, &**resource.name);
            let altered = if counts[&identity] == 1 {
                self.alter_one_resource(resource)?
            } else if self.context.via_broker.is_some() {
                Err(ApiError::invalid_request("Each resource must appear at most once."))
            } else if answered.insert(identity) {
                Err(ApiError::invalid_request("Duplicate resource."))
            } else {
                continue;
            };
            answers.push((resource.kind, resource.name.clone(), altered));
        }
        if validate_only {
            self.batch.rewind(start);
        }
        Ok(answers)
    }

    /// The outer error fails the whole request, the inner one this resource.
    fn alter_one_resource(&mut self, asked: &Asked<'_>) -> Result<Result<()>> {
        let before = self.batch.mark();
        let altered = self.try_alter(asked);
        if altered.is_err() {
            self.batch.rewind(before);
        }
        match altered {
            Err(error) if error.code == ErrorCode::PolicyViolation => Err(error),
            altered => Ok(altered),
        }
    }

    fn try_alter(&mut self, asked: &Asked<'_>) -> Result<()> {
        match self.context.via_broker {
            Some(broker) => self.check_as_broker(asked, broker.get())?,
            None if !asked.kind.is_known() => {
                let sentence = format!("Unknown resource type {}.", asked.kind.code());
                return Err(ApiError::unsupported_version(sentence));
            }
            None => {}
        }
        let target = ConfigTarget { kind: asked.kind, name: asked.name, is_new: false };
        let current = self.image().configs.get(asked.kind, asked.name);
        let proposed = propose(asked, current)?;
        // A broker is told even what it has: it may want to load a file again that changed under the same name.
        let tell_all = asked.kind == ResourceType::BROKER;
        let changes: Vec<Change> = proposed
            .into_iter()
            .filter(|(key, value)| tell_all || current.get(key) != value.as_ref())
            .map(|(key, value)| Change { key, value })
            .collect();
        let dropped: Vec<Text> = match asked.replaces_all {
            true => current
                .keys()
                .filter(|key| asked.entries.iter().all(|entry| entry.key != *key))
                .cloned()
                .collect(),
            false => Vec::new(),
        };
        self.validate_configs(&target, &changes, &dropped)?;
        let dropped = dropped.into_iter().map(|key| Change { key, value: None });
        self.push_configs(&target, changes.into_iter().chain(dropped).collect())
    }

    /// What the broker that took the request would have refused itself.
    fn check_as_broker(&self, asked: &Asked<'_>, broker: i32) -> Result<()> {
        let mut keys = BTreeSet::new();
        if !asked.entries.iter().all(|entry| keys.insert(entry.key)) {
            return Err(ApiError::invalid_request("Error due to duplicate config keys"));
        }
        let without_value =
            |entry: &&Entry<'_>| entry.value.is_none() && entry.operation != Ok(Operation::Delete);
        let nulls: Vec<&str> = asked.entries.iter().filter(without_value).map(|entry| &**entry.key).collect();
        if !nulls.is_empty() {
            return Err(ApiError::invalid_request(format!(
                "Null value not supported for : {}",
                nulls.join(", ")
            )));
        }
        match asked.kind {
            ResourceType::TOPIC | ResourceType::CLIENT_METRICS | ResourceType::GROUP => Ok(()),
            ResourceType::BROKER => self.check_broker_change(asked, broker),
            other => Err(ApiError::invalid_request(format!("Unknown resource type {}", other.code()))),
        }
    }

    fn check_broker_change(&self, asked: &Asked<'_>, broker: i32) -> Result<()> {
        let per_broker = !asked.name.is_empty();
        if per_broker {
            let id: i32 = asked.name.parse().map_err(|_| {
                ApiError::invalid_request(format!("Node id must be an integer, but it is: {}", asked.name))
            })?;
            if id != broker {
                let sentence =
                    format!("Unexpected broker id, expected {broker}, but received {}", asked.name);
                return Err(ApiError::invalid_request(sentence));
            }
        }
        for entry in &asked.entries {
            let operation = entry.operation.clone()?;
            if matches!(operation, Operation::Append | Operation::Subtract) {
                check_broker_list(entry.key, operation)?;
            }
        }
        let empty = ConfigMap::new();
        let current = match asked.replaces_all {
            true => &empty,
            false => self.image().configs.get(asked.kind, asked.name),
        };
        let mut proposed: BTreeMap<Text, Option<Text>> =
            current.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        proposed.extend(propose(asked, current)?);
        let proposed: Overrides<'_> =
            proposed.iter().filter_map(|(key, value)| Some((&**key, &**value.as_ref()?))).collect();
        dohle_config::validate_broker(&proposed, per_broker, &self.broker_dynamic(), &self.settings.config)
            .map_err(|error| ApiError::new(error.code, error.message))
    }
}

fn check_broker_list(key: &str, operation: Operation) -> Result<()> {
    if dohle_config::keys::broker(key).is_none() {
        return Err(ApiError::invalid_config(format!("Unknown config name: {key}")));
    }
    if list_default(ResourceType::BROKER, key).is_none() {
        let verb = operation.name().to_lowercase();
        return Err(ApiError::invalid_config(format!(
            "Config value {verb} is not allowed for config key: {key}"
        )));
    }
    Ok(())
}

/// The value that each named key is to have.
fn propose(asked: &Asked<'_>, current: &ConfigMap) -> Result<BTreeMap<Text, Option<Text>>> {
    let mut proposed = BTreeMap::new();
    for entry in &asked.entries {
        let value = match entry.operation.clone()? {
            Operation::Set => entry.value.map(Text::detached),
            Operation::Delete => None,
            operation @ (Operation::Append | Operation::Subtract) => {
                let Some(default) = list_default(asked.kind, entry.key) else {
                    return Err(ApiError::invalid_config(format!(
                        "Can't {} to key {} because its type is not LIST.",
                        operation.name(),
                        entry.key
                    )));
                };
                let Some(value) = entry.value else {
                    let sentence = format!("Null value not supported for : {}", entry.key);
                    return Err(ApiError::invalid_request(sentence));
                };
                let now = current.get(&**entry.key).map_or(default, |value| &**value);
                Some(combine(now, value, operation == Operation::Append))
            }
        };
        proposed.insert(entry.key.detached(), value);
    }
    Ok(proposed)
}

/// A list with items added that it does not have, or taken out.
fn combine(list: &str, items: &str, append: bool) -> Text {
    let mut list: Vec<&str> = list.split(',').filter(|item| !item.is_empty()).collect();
    for item in items.split(',') {
        match list.iter().position(|present| *present == item) {
            None if append => list.push(item),
            Some(at) if !append => {
                list.remove(at);
            }
            _ => {}
        }
    }
    Text::from(list.join(","))
}
