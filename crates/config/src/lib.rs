//! Configuration under Kafka's names: one table per kind of resource, and what follows from the values.
//!
//! What this crate owns: every key of Kafka 4.3 with its type, default, range and update mode, and our own `dohle.*` keys
//! ([`keys`]); reading them from `server.properties`, the environment and flags ([`Config`]); the rules that span keys; dynamic
//! configuration of brokers, topics, groups and client metrics with Kafka's messages ([`dynamic`]); what `DescribeConfigs` tells
//! ([`describe`]). It is pure: it never opens a file, never asks for the time and never resolves a host name.
//!
//! Invariants:
//! - `OneTable`: a key is defined in exactly one row of [`keys`]; the reference page is generated from it and a check compares it
//!   with Kafka's own definitions.
//! - `CheckedOnce`: whoever holds a [`Config`] holds values that passed every check. Reading one never fails.

pub mod describe;
mod dynamic;
mod error;
pub mod keys;
mod listener;
mod load;
mod overrides;
mod properties;
mod reference;
mod rules;
mod settings;
mod synonyms;
mod topic_settings;

pub use dynamic::{broker_value, validate_broker, validate_client_metrics, validate_group, validate_topic};
pub use error::{ConfigError, InvalidConfig};
pub use keys::{KeyDef, Value};
pub use listener::{BindHost, HostPort, Listener, SecurityProtocol, Voter};
pub use load::{Loaded, Sources, Warning};
pub use overrides::{BrokerDynamic, Overrides};
pub use properties::parse_properties;
pub use reference::reference;
pub use settings::{Base, Config, LONE_DEFAULTS, Roles};
pub use topic_settings::{Durability, StoredCompression, TimestampType, TopicSettings};
