//! The features of the cluster: which this software knows, up to which level, and what each level needs.

use std::collections::BTreeMap;

use dohle_config::Config;

use crate::MetadataVersion;
use crate::image::VersionRange;

pub const METADATA_VERSION: &str = "metadata.version";
pub const KRAFT_VERSION: &str = "kraft.version";
pub const TRANSACTION_VERSION: &str = "transaction.version";
pub const GROUP_VERSION: &str = "group.version";
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";
pub const SHARE_VERSION: &str = "share.version";
pub const STREAMS_VERSION: &str = "streams.version";

/// One feature beside `metadata.version`, its levels from 0 up.
#[derive(Debug)]
pub struct FeatureDef {
    pub name: &'static str,
    pub levels: &'static [LevelDef],
}

/// One level of a feature.
#[derive(Debug)]
pub struct LevelDef {
    /// The first `metadata.version` whose new clusters have this level.
    pub default_from: i16,
    /// The `metadata.version` without which the level cannot be.
    pub needs_metadata_version: i16,
}

const fn level(default_from: i16) -> LevelDef {
    LevelDef { default_from, needs_metadata_version: 7 }
}

/// Kafka 4.3's features in the order of its own table. Every level listed is for production.
pub const FEATURES: &[FeatureDef] = &[
    FeatureDef { name: KRAFT_VERSION, levels: &[level(7), level(21)] },
    FeatureDef { name: TRANSACTION_VERSION, levels: &[level(7), level(24), level(24)] },
    FeatureDef { name: GROUP_VERSION, levels: &[level(7), level(22)] },
    FeatureDef {
        name: ELR_VERSION,
        levels: &[level(7), LevelDef { default_from: 26, needs_metadata_version: 23 }],
    },
    FeatureDef { name: SHARE_VERSION, levels: &[level(7), level(28)] },
    FeatureDef { name: STREAMS_VERSION, levels: &[level(7), level(29)] },
];

impl FeatureDef {
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FEATURES.iter().find(|feature| feature.name == name)
    }

    pub fn latest(&self) -> i16 {
        i16::try_from(self.levels.len() - 1).expect("a handful of levels")
    }

    /// What a new cluster at `version` gets.
    pub fn default_level(&self, version: MetadataVersion) -> i16 {
        let reached = self.levels.iter().take_while(|level| level.default_from <= version.level()).count();
        i16::try_from(reached.max(1) - 1).expect("a handful of levels")
    }
}

/// Which levels a node lets itself be asked for: `unstable.feature.versions.enable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    Production,
    /// Those too that may still change.
    Testing,
}

impl Levels {
    pub fn of(config: &Config) -> Self {
        if config.boolean("unstable.feature.versions.enable") { Self::Testing } else { Self::Production }
    }

    pub const fn latest_metadata_version(self) -> MetadataVersion {
        match self {
            Self::Production => MetadataVersion::LATEST_PRODUCTION,
            Self::Testing => MetadataVersion::LATEST_TESTING,
        }
    }
}

/// What this software supports of every feature, `metadata.version` included: what brokers and controllers register.
pub fn supported(levels: Levels) -> BTreeMap<&'static str, VersionRange> {
    let mut ranges: BTreeMap<_, _> = FEATURES
        .iter()
        .map(|feature| (feature.name, VersionRange { min: 0, max: feature.latest() }))
        .collect();
    let versions =
        VersionRange { min: MetadataVersion::MINIMUM.level(), max: levels.latest_metadata_version().level() };
    ranges.insert(METADATA_VERSION, versions);
    ranges
}

/// What this software supports of `feature`: nothing but level 0 of one it does not know.
pub fn supported_range(feature: &str, levels: Levels) -> VersionRange {
    supported(levels).get(feature).copied().unwrap_or(VersionRange { min: 0, max: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_the_metadata_version() {
        let defaults = |mv: i16| -> Vec<i16> {
            let mv = MetadataVersion::from_level(mv).expect("known");
            FEATURES.iter().map(|feature| feature.default_level(mv)).collect()
        };
        assert_eq!(defaults(30), [1, 2, 1, 1, 1, 1]);
        assert_eq!(defaults(25), [1, 2, 1, 0, 0, 0]);
        assert_eq!(defaults(7), [0, 0, 0, 0, 0, 0]);
        assert_eq!(supported_range("metadata.version", Levels::Production), VersionRange { min: 7, max: 30 });
        assert_eq!(supported_range("metadata.version", Levels::Testing), VersionRange { min: 7, max: 31 });
        assert_eq!(supported_range("nonsense", Levels::Testing), VersionRange { min: 0, max: 0 });
    }
}
