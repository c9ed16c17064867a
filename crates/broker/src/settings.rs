//! Configuration as it is now: what the metadata holds of a resource, over what the node was started with.

use std::path::{Path, PathBuf};

use dohle_config::{BrokerDynamic, Config, Overrides, TopicSettings};
use dohle_metadata::{ConfigMap, Image, MetadataVersion};
use dohle_types::{DirectoryId, NodeId};
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

/// The directories of this broker that take no new partitions: `cordoned.log.dirs`, from the metadata version on that knows of it.
pub fn cordoned(
    image: &Image,
    node: NodeId,
    config: &Config,
    directories: &[(PathBuf, DirectoryId)],
) -> Vec<DirectoryId> {
    if !image.features.metadata_version().is_some_and(MetadataVersion::cordoned_log_dirs_supported) {
        return Vec::new();
    }
    const KEY: &str = "cordoned.log.dirs";
    // It is asked for at every change of the metadata: the whole configuration is only made anew where this key was set.
    let named = match image.configs.broker(&node.to_string()).contains_key(KEY) {
        true => config.with_dynamic(&dynamic(image, node)).0.list(KEY).to_vec(),
        false => config.list(KEY).to_vec(),
    };
    let is_named = |path: &Path| {
        named.iter().any(|name| name == "*" || std::path::absolute(name).is_ok_and(|named| named == path))
    };
    directories.iter().filter(|(path, _)| is_named(path)).map(|(_, id)| *id).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use dohle_config::Sources;
    use dohle_types::{Offset, Uuid};
    use dohle_wire::messages::{ConfigRecord, FeatureLevelRecord};

    const NODE: NodeId = NodeId(1);

    fn image(version: MetadataVersion, cordoned: Option<&str>) -> Image {
        let mut image = Image::default();
        let name = dohle_metadata::features::METADATA_VERSION.into();
        let level = FeatureLevelRecord { name, feature_level: version.level(), ..Default::default() };
        image.replay(&level.into(), Offset(0)).expect("a level");
        if let Some(value) = cordoned {
            let record = ConfigRecord {
                resource_type: dohle_metadata::ResourceType::BROKER.code(),
                resource_name: "1".into(),
                name: "cordoned.log.dirs".into(),
                value: Some(value.into()),
                ..Default::default()
            };
            image.replay(&record.into(), Offset(1)).expect("a configuration");
        }
        image
    }

    fn cordoned_of(version: MetadataVersion, set: Option<&str>, started_with: &str) -> Vec<DirectoryId> {
        let text = format!("node.id=1\nlog.dirs=/a,/b\ncordoned.log.dirs={started_with}\n");
        let sources = Sources { file: Some(("x".into(), text)), ..Sources::default() };
        let config = Config::load(sources).expect("a good configuration").config;
        let directories = [("/a".into(), Uuid::from_u128(1)), ("/b".into(), Uuid::from_u128(2))];
        cordoned(&image(version, set), NODE, &config, &directories)
    }

    #[test]
    fn directories_are_cordoned_by_file_and_by_metadata() {
        let (new, [a, b]) = (MetadataVersion::LATEST_PRODUCTION, [1, 2].map(Uuid::from_u128));
        assert_eq!(cordoned_of(new, None, ""), []);
        assert_eq!(cordoned_of(new, None, "/b"), [b]);
        assert_eq!(cordoned_of(new, None, "*"), [a, b]);
        assert_eq!(cordoned_of(new, Some("/a"), "*"), [a]);
        assert_eq!(cordoned_of(new, Some(""), "*"), []);
        let old = MetadataVersion::from_level(29).expect("a level");
        assert_eq!(cordoned_of(old, Some("/a"), "*"), []);
    }
}
