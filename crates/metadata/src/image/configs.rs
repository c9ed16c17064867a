//! Dynamic configuration: what topics, brokers, groups and telemetry subscriptions were given over their defaults.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use dohle_wire::Text;
use dohle_wire::messages::ConfigRecord;
use imbl::OrdMap;

/// What kind of thing a configuration belongs to (`ConfigResource.Type`). Not an enum: records may carry kinds that came later,
/// and they must survive a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceType(pub i8);

impl ResourceType {
    pub const TOPIC: Self = Self(2);
    /// The broker of that id, or all of them when the name is empty.
    pub const BROKER: Self = Self(4);
    pub const BROKER_LOGGER: Self = Self(8);
    pub const CLIENT_METRICS: Self = Self(16);
    pub const GROUP: Self = Self(32);

    pub const fn code(self) -> i8 {
        self.0
    }

    pub const fn is_known(self) -> bool {
        matches!(self, Self::TOPIC | Self::BROKER | Self::BROKER_LOGGER | Self::CLIENT_METRICS | Self::GROUP)
    }
}

/// The keys and values of one resource.
pub type ConfigMap = BTreeMap<Text, Text>;

static EMPTY: LazyLock<ConfigMap> = LazyLock::new(ConfigMap::new);

/// The configuration of every resource that has any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configs(OrdMap<ResourceType, OrdMap<Text, Arc<ConfigMap>>>);

impl Configs {
    /// The keys of a resource; an empty map when nothing was set.
    pub fn get(&self, kind: ResourceType, name: &str) -> &ConfigMap {
        match self.0.get(&kind).and_then(|resources| resources.get(name)) {
            Some(map) => map,
            None => &EMPTY,
        }
    }

    pub fn topic(&self, name: &str) -> &ConfigMap {
        self.get(ResourceType::TOPIC, name)
    }

    /// What one broker was given; the cluster-wide values under the name "".
    pub fn broker(&self, name: &str) -> &ConfigMap {
        self.get(ResourceType::BROKER, name)
    }

    /// The resources of one kind that have any configuration, sorted by name.
    pub fn resources(&self, kind: ResourceType) -> impl Iterator<Item = (&Text, &ConfigMap)> {
        self.0.get(&kind).into_iter().flat_map(|resources| resources.iter().map(|(name, map)| (name, &**map)))
    }

    /// Every resource that has any configuration.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceType, &Text, &ConfigMap)> {
        self.0.iter().flat_map(|(kind, resources)| resources.iter().map(|(name, map)| (*kind, name, &**map)))
    }

    pub(super) fn set(&mut self, record: &ConfigRecord) {
        let kind = ResourceType(record.resource_type);
        match &record.value {
            Some(value) => {
                let resources = self.0.entry(kind).or_default();
                let map = resources.entry(record.resource_name.detached()).or_default();
                Arc::make_mut(map).insert(record.name.detached(), value.detached());
            }
            None => self.unset(kind, &record.resource_name, &record.name),
        }
    }

    fn unset(&mut self, kind: ResourceType, name: &str, key: &str) {
        if !self.get(kind, name).contains_key(key) {
            return;
        }
        let map = self.0.get_mut(&kind).and_then(|resources| resources.get_mut(name));
        let map = Arc::make_mut(map.expect("the key was found in it"));
        map.remove(key);
        if map.is_empty() {
            self.remove_all(kind, name);
        }
    }

    pub(super) fn remove_all(&mut self, kind: ResourceType, name: &str) {
        if let Some(resources) = self.0.get_mut(&kind) {
            resources.remove(name);
            if resources.is_empty() {
                self.0.remove(&kind);
            }
        }
    }
}
