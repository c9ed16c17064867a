//! What `DescribeConfigs` tells of each kind of resource, as plain data (`ConfigHelper`).

use std::collections::BTreeMap;

use dohle_types::NodeId;

use crate::keys::{self, KeyDef, Kind, UpdateMode};
use crate::{BrokerDynamic, Config, Overrides, dynamic, synonyms, topic_settings};

/// Where a value comes from (`DescribeConfigsResponse.ConfigSource`); the numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ConfigSource {
    Unknown = 0,
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicBrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
}

/// One line of the answer. What the request did not ask for (synonyms, documentation) is dropped by the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    pub name: String,
    /// `None` for null and for what is sensitive.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub sensitive: bool,
    pub read_only: bool,
    /// Highest precedence first.
    pub synonyms: Vec<Synonym>,
    /// The type's number in the protocol (`DescribeConfigsResponse.ConfigType`).
    pub config_type: i8,
    /// Empty for a key that is in no table.
    pub documentation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// All keys of a topic, sorted by name.
pub fn topic(overrides: &Overrides<'_>, dynamic: &BrokerDynamic<'_>, config: &Config) -> Vec<Described> {
    let layers = Layers::new(dynamic, config);
    let describe = |name: &str| {
        let key = keys::topic(name);
        let value = match (overrides.get(name), key) {
            (Some(raw), _) => shown(key, raw),
            (None, Some(_)) => topic_settings::broker_default(name, &layers.current).to_text(),
            (None, None) => None,
        };
        let mut synonyms = match synonyms::of_topic(name).first() {
            Some((broker, _)) => layers.synonyms(broker, is_sensitive(key)),
            None => Vec::new(),
        };
        if overrides.get(name).is_some() {
            synonyms.insert(
                0,
                Synonym { name: name.to_owned(), value: value.clone(), source: ConfigSource::Topic },
            );
        }
        described(name, key, value, synonyms, false)
    };
    names(keys::all_topic(), overrides).into_keys().map(describe).collect()
}

/// All keys of a broker (`node`), or only the dynamic ones of the cluster-wide default (`None`), sorted by name.
pub fn broker(node: Option<NodeId>, dynamic: &BrokerDynamic<'_>, config: &Config) -> Vec<Described> {
    let layers = Layers::new(dynamic, config);
    let describe = |name: &str, raw: Option<&str>| {
        // A key given for one listener has the type of the key it is about.
        let key = keys::broker(name).or_else(|| keys::broker_quota(name));
        let typed = key.or_else(|| keys::broker(synonyms::listener_base(name)?));
        let value = match keys::broker(name) {
            Some(_) if node.is_some() => layers.current.value(name).to_text(),
            _ => raw.map(str::to_owned),
        };
        let mut synonyms = layers.synonyms(name, is_sensitive(typed));
        if node.is_none() {
            synonyms.retain(|synonym| synonym.source == ConfigSource::DynamicDefaultBroker);
        }
        let read_only = match key {
            Some(key) => key.update == UpdateMode::ReadOnly,
            None => true,
        };
        described(name, typed, value, synonyms, read_only)
    };
    if node.is_none() {
        return layers.cluster_default.iter().map(|(name, raw)| describe(name, Some(raw))).collect();
    }
    let set: Overrides<'_> = layers.current.told_statics().collect();
    names(keys::all_broker(), &set).into_iter().map(|(name, raw)| describe(name, raw)).collect()
}

/// All keys of a group, sorted by name.
pub fn group(overrides: &Overrides<'_>, dynamic: &BrokerDynamic<'_>, config: &Config) -> Vec<Described> {
    let layers = Layers::new(dynamic, config);
    let describe = |name: &str| {
        let key = keys::group(name);
        let broker = synonyms::of_group(name);
        let value = match (overrides.get(name), broker) {
            (Some(raw), _) => shown(key, raw),
            (None, Some(broker)) => layers.current.value(broker).to_text(),
            (None, None) => key.and_then(KeyDef::default_text).map(str::to_owned),
        };
        let mut synonyms = match broker {
            Some(broker) => layers.synonyms(broker, is_sensitive(key)),
            None => key.and_then(|key| default_synonym(key, is_sensitive(Some(key)))).into_iter().collect(),
        };
        if overrides.get(name).is_some() {
            synonyms.insert(
                0,
                Synonym { name: name.to_owned(), value: value.clone(), source: ConfigSource::Group },
            );
        }
        described(name, key, value, synonyms, false)
    };
    names(keys::GROUP.iter(), overrides).into_keys().map(describe).collect()
}

/// All keys of a client-metrics subscription, sorted by name.
pub fn client_metrics(overrides: &Overrides<'_>) -> Vec<Described> {
    let describe = |name: &str| {
        let key = keys::client_metrics(name);
        let raw = overrides.get(name);
        let value = match raw {
            Some(raw) => shown(key, raw),
            None => key.and_then(KeyDef::default_text).map(str::to_owned),
        };
        let own =
            || Synonym { name: name.to_owned(), value: value.clone(), source: ConfigSource::ClientMetrics };
        let synonyms = raw.map(|_| own()).into_iter().collect();
        described(name, key, value.clone(), synonyms, false)
    };
    names(keys::CLIENT_METRICS.iter(), overrides).into_keys().map(describe).collect()
}

/// The layers of a broker's values, with what cannot hold left out.
struct Layers<'a> {
    per_broker: Overrides<'a>,
    cluster_default: Overrides<'a>,
    config: &'a Config,
    current: Config,
}

impl<'a> Layers<'a> {
    fn new(dynamic: &BrokerDynamic<'a>, config: &'a Config) -> Self {
        Self {
            per_broker: dynamic::accepted(&dynamic.per_broker, true),
            cluster_default: dynamic::accepted(&dynamic.cluster_default, false),
            config,
            current: config.with_dynamic(dynamic).0,
        }
    }

    /// Every value that the key or one of its synonyms has in any layer. What comes before the key's own first value is dropped,
    /// as Kafka does it.
    fn synonyms(&self, name: &str, sensitive: bool) -> Vec<Synonym> {
        let names = synonyms::of_broker(name);
        let mut found = Vec::new();
        let statics: Overrides<'_> = self.config.told_statics().collect();
        for (layer, source) in [
            (&self.per_broker, ConfigSource::DynamicBroker),
            (&self.cluster_default, ConfigSource::DynamicDefaultBroker),
            (&statics, ConfigSource::StaticBroker),
        ] {
            for name in &names {
                if let Some(raw) = layer.get(name) {
                    let value = (!sensitive).then(|| raw.to_owned());
                    found.push(Synonym { name: (*name).to_owned(), value, source });
                }
            }
        }
        for key in names.iter().filter_map(|name| keys::broker(name)) {
            found.extend(default_synonym(key, sensitive));
        }
        found.into_iter().skip_while(|synonym| synonym.name != name).collect()
    }
}

/// The names of a table that are shown, and those that are set; with the values of the latter.
fn names<'a>(
    table: impl Iterator<Item = &'static KeyDef>,
    set: &Overrides<'a>,
) -> BTreeMap<&'a str, Option<&'a str>> {
    let mut names: BTreeMap<&str, Option<&str>> =
        table.filter(|key| !key.internal).map(|key| (key.name, None)).collect();
    names.extend(set.iter().map(|(name, raw)| (name, Some(raw))));
    names
}

fn described(
    name: &str,
    key: Option<&'static KeyDef>,
    value: Option<String>,
    synonyms: Vec<Synonym>,
    read_only: bool,
) -> Described {
    let sensitive = is_sensitive(key);
    Described {
        name: name.to_owned(),
        value: value.filter(|_| !sensitive),
        source: synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source),
        sensitive,
        read_only,
        synonyms,
        config_type: key.map_or(0, |key| key.kind.protocol_id()),
        documentation: key.map_or("", |key| key.doc),
    }
}

fn default_synonym(key: &KeyDef, sensitive: bool) -> Option<Synonym> {
    let text = key.default_text()?;
    let value = (!sensitive).then(|| text.to_owned());
    Some(Synonym { name: key.name.to_owned(), value, source: ConfigSource::Default })
}

/// Passwords, and what nothing is known about.
fn is_sensitive(key: Option<&KeyDef>) -> bool {
    key.is_none_or(|key| key.kind == Kind::Password)
}

/// A set value as its type shows it.
fn shown(key: Option<&KeyDef>, raw: &str) -> Option<String> {
    match key.map(|key| key.parse(raw)) {
        Some(Ok(value)) => value.to_text(),
        Some(Err(_)) | None => Some(raw.to_owned()),
    }
}
