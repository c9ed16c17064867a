//! The rules that span keys (`KafkaConfig.validateValues` and its kin).

mod groups;
mod listeners;
mod quorum;
mod values;

pub(crate) use listeners::{inter_broker_listener_name, listeners, protocols};
pub(crate) use quorum::require_cluster_keys;

use crate::keys::KeyDef;
use crate::{Config, InvalidConfig};

/// A rule that is not kept, told twice: for who starts a node, and in Kafka's words for who changes a running one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) key: String,
    /// One sentence that names the key, the value and what is allowed.
    pub(crate) sentence: String,
    pub(crate) kafka: String,
}

impl Violation {
    /// A value that its own key refuses.
    pub(crate) fn of_value(key: &KeyDef, raw: &str, refused: InvalidConfig) -> Self {
        Self::of_listener_value(key.name, key, raw, refused)
    }

    /// The same for `listener.name.<listener>.<key>`.
    pub(crate) fn of_listener_value(name: &str, key: &KeyDef, raw: &str, refused: InvalidConfig) -> Self {
        let sentence = format!("{name} is set to \"{raw}\" but must be {}", key.allowed());
        Self { key: name.to_owned(), sentence, kafka: refused.message }
    }

    fn new(key: &str, sentence: String, kafka: impl Into<String>) -> Self {
        Self { key: key.to_owned(), sentence, kafka: kafka.into() }
    }
}

/// Scala's `require`, which most of Kafka's rules are written with, puts this in front.
fn scala(message: &str) -> String {
    format!("requirement failed: {message}")
}

/// Every rule, on settings whose values are valid one by one.
pub(crate) fn check(config: &Config) -> Result<(), Violation> {
    groups::check(config)?;
    values::check_identity(config)?;
    values::check_log(config)?;
    values::check_replication(config)?;
    match (config.roles().broker, config.roles().controller) {
        (true, false) => quorum::check_broker_only(config)?,
        (false, _) => quorum::check_controller_only(config)?,
        (true, true) => quorum::check_controller_role(config)?,
    }
    if config.roles().broker {
        listeners::check_advertised(config)?;
    }
    listeners::check_routable(config)?;
    values::check_connections(config)?;
    values::check_ours(config)
}
