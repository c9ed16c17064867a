//! Configuration as it is now: what the metadata holds of a resource, over what the node was started with.

use dohle_config::{BrokerDynamic, Config, Overrides, TopicSettings};
use dohle_metadata::{ConfigMap, Image};
use dohle_types::NodeId;
use tracing::warn;

use crate::core::Shared;

/// A resource's values in the form that `dohle_config` reads.
pub fn overrides(map: &ConfigMap) -> Overrides<'_> {
    map.iter().map(|(key, value)| (&**key, &**value)).collect()
}

/// The dynamic configuration that applies to one broker.
pub fn dynamic(image: &Image, node: NodeId) -> BrokerDynamic<'_> {
    BrokerDynamic {
        per_broker: overrides(image.configs.broker(&node.to_string())),
        cluster_default: overrides(image.configs.broker("")),
    }
}

/// The effective settings of a topic.
pub fn of_topic(shared: &Shared, image: &Image, name: &str) -> TopicSettings {
    resolve(&overrides(image.configs.topic(name)), &dynamic(image, shared.node), &shared.config, name)
}

fn resolve(own: &Overrides<'_>, dynamic: &BrokerDynamic<'_>, config: &Config, name: &str) -> TopicSettings {
    match TopicSettings::resolve(own, dynamic, config) {
        Ok(settings) => settings,
        Err(problem) => {
            // The controller checked the values; one it let through that means nothing here was written by a newer version.
            warn!(topic = name, %problem, "a topic's configuration cannot be read; its overrides are left out");
            TopicSettings::resolve(&Overrides::none(), dynamic, config).unwrap_or_default()
        }
    }
}
