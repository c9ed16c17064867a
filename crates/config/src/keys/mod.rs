//! The tables of keys, and what a row of them says.
//!
//! A row holds Kafka's facts (name, type, default, what is valid, importance, update mode) and a line of documentation in our own
//! words. `cargo xtask config` compares the facts with Kafka's classes and generates `docs/configuration.md` from the rows.

mod broker;
mod client_metrics;
mod group;
mod ours;
mod parse;
mod topic;

pub use broker::{BROKER, BROKER_QUOTAS};
pub use client_metrics::CLIENT_METRICS;
pub use group::GROUP;
pub use ours::{OUR_BROKER, OUR_TOPIC};
pub use parse::Value;
pub use topic::TOPIC;

use DefaultValue::{Is, Null, Required};

/// One row: everything there is to say about one key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeyDef {
    pub name: &'static str,
    pub kind: Kind,
    pub default: DefaultValue,
    pub valid: Valid,
    pub importance: Importance,
    pub update: UpdateMode,
    /// Not shown by Kafka's documentation nor, unless it is set, by DescribeConfigs.
    pub internal: bool,
    pub doc: &'static str,
}

/// How a value is written and compared (`ConfigDef.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Text,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// What holds when nothing sets the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// Kafka does not start without it. A node of ours that stands alone has a value of its own (`load::LONE_DEFAULTS`).
    Required,
    Null,
    Is(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// Whether and for whom a key can change while the node runs. Keys of topics, groups and client metrics are not about a node and
/// say `ReadOnly`, which means nothing for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    ReadOnly,
    PerBroker,
    ClusterWide,
}

/// What values are allowed beyond the type: one variant per validator that Kafka's tables use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    Any,
    AtLeast(f64),
    Between(f64, f64),
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    /// A list without duplicates and empty entries. An empty `of` allows every entry.
    List {
        of: &'static [&'static str],
        empty: bool,
        null: bool,
    },
    NonNull,
    NonEmpty,
    GzipLevel,
    Voters,
    BootstrapServers,
    ThrottledReplicas,
    OffsetReset,
}

impl Kind {
    /// Kafka's name of the type, as its messages use it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Text => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// The type's number in DescribeConfigs (`DescribeConfigsResponse.ConfigType`); 0 is for a type that is not known.
    pub const fn protocol_id(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }
}

impl Importance {
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
}

impl UpdateMode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
        }
    }
}

/// A key of brokers and controllers, Kafka's or ours.
pub fn broker(name: &str) -> Option<&'static KeyDef> {
    find(BROKER, name).or_else(|| find(OUR_BROKER, name))
}

/// A key of topics, Kafka's or ours.
pub fn topic(name: &str) -> Option<&'static KeyDef> {
    find(TOPIC, name).or_else(|| find(OUR_TOPIC, name))
}

pub fn group(name: &str) -> Option<&'static KeyDef> {
    find(GROUP, name)
}

pub fn client_metrics(name: &str) -> Option<&'static KeyDef> {
    find(CLIENT_METRICS, name)
}

/// One of the quotas that a broker can only be given dynamically.
pub fn broker_quota(name: &str) -> Option<&'static KeyDef> {
    find(BROKER_QUOTAS, name)
}

/// Every key of brokers, Kafka's first.
pub fn all_broker() -> impl Iterator<Item = &'static KeyDef> {
    BROKER.iter().chain(OUR_BROKER)
}

/// Every key of topics, Kafka's first.
pub fn all_topic() -> impl Iterator<Item = &'static KeyDef> {
    TOPIC.iter().chain(OUR_TOPIC)
}

/// The place of a broker key in [`all_broker`].
pub(crate) fn broker_index(name: &str) -> Option<usize> {
    position(BROKER, name).or_else(|| position(OUR_BROKER, name).map(|at| BROKER.len() + at))
}

fn find(table: &'static [KeyDef], name: &str) -> Option<&'static KeyDef> {
    position(table, name).map(|at| &table[at])
}

/// The tables are sorted by name; a test sees to it.
fn position(table: &[KeyDef], name: &str) -> Option<usize> {
    table.binary_search_by(|key| key.name.cmp(name)).ok()
}

/// A row. The tables are written with it to keep a key on two lines.
#[allow(clippy::too_many_arguments)]
const fn key(
    name: &'static str,
    kind: Kind,
    default: DefaultValue,
    valid: Valid,
    importance: Importance,
    update: UpdateMode,
    doc: &'static str,
) -> KeyDef {
    KeyDef { name, kind, default, valid, importance, update, internal: false, doc }
}

impl KeyDef {
    const fn internal(self) -> Self {
        Self { internal: true, ..self }
    }
}

/// What the tables import.
mod rows {
    pub(super) use super::DefaultValue::{Is, Null, Required};
    pub(super) use super::Importance::{High, Low, Medium};
    pub(super) use super::Kind::{Boolean, Class, Double, Int, List, Long, Password, Short, Text};
    pub(super) use super::UpdateMode::{ClusterWide, PerBroker, ReadOnly};
    pub(super) use super::Valid::{
        Any, AtLeast, Between, BootstrapServers, GzipLevel, NonEmpty, NonNull, OffsetReset, OneOf,
        OneOfAnyCase, ThrottledReplicas, Voters,
    };
    pub(super) use super::{KeyDef, Valid, key};
}

impl KeyDef {
    /// The default as text; `None` for null and for what has none.
    pub const fn default_text(&self) -> Option<&'static str> {
        match self.default {
            Is(text) => Some(text),
            Null | Required => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_complete() {
        for (table, rows) in
            [(BROKER, 360), (TOPIC, 34), (GROUP, 17), (CLIENT_METRICS, 3), (BROKER_QUOTAS, 3)]
        {
            assert_eq!(table.len(), rows);
            assert!(table.is_sorted_by(|a, b| a.name < b.name));
        }
        assert!(OUR_BROKER.is_sorted_by(|a, b| a.name < b.name));
        assert!(OUR_TOPIC.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn defaults_are_valid() {
        for key in all_broker().chain(all_topic()).chain(GROUP).chain(CLIENT_METRICS).chain(BROKER_QUOTAS) {
            assert!(key.default_value().is_ok(), "{}", key.name);
            assert!(!key.doc.is_empty() && key.doc.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn our_keys_say_that_they_are_ours() {
        assert!(OUR_BROKER.iter().chain(OUR_TOPIC).all(|key| key.name.starts_with("dohle.")));
    }
}
