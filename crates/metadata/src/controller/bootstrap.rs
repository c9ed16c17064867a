//! The first records of a cluster's log.

use dohle_wire::messages::{BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord};
use dohle_wire::{MetadataRecord, Text};

use super::ControllerSettings;
use crate::MetadataVersion;
use crate::features::{ELR_VERSION, FEATURES, KRAFT_VERSION, METADATA_VERSION};
use crate::image::ResourceType;

/// What a new cluster at `version` starts from, for its bootstrap checkpoint: the default level of every feature.
pub fn format_records(version: MetadataVersion) -> Vec<(MetadataRecord, i16)> {
    let mut levels: Vec<(&str, i16)> = FEATURES
        .iter()
        .filter(|feature| feature.name != KRAFT_VERSION)
        .map(|feature| (feature.name, feature.default_level(version)))
        .filter(|(_, level)| *level > 0)
        .collect();
    levels.sort_unstable();
    levels.insert(0, (METADATA_VERSION, version.level()));
    levels.into_iter().map(|(name, level)| (feature_level(name, level), 0)).collect()
}

/// What the first controller of a cluster appends to the empty log: the records of the bootstrap checkpoint, and what
/// follows from them. Between transaction markers where the cluster's version has them, so that a controller that dies half
/// way leaves nothing behind.
pub fn bootstrap_records(
    settings: &ControllerSettings,
    checkpoint: &[(MetadataRecord, i16)],
) -> Vec<(MetadataRecord, i16)> {
    let version = MetadataVersion::from_level(level_of(checkpoint, METADATA_VERSION));
    let transactions = version.is_some_and(MetadataVersion::transactions_supported);
    let mut records = Vec::with_capacity(checkpoint.len() + 3);
    if transactions {
        let name = Some(Text::from_static("Bootstrap records"));
        records.push((BeginTransactionRecord { name, ..Default::default() }.into(), 0));
    }
    records.extend(checkpoint.iter().cloned());
    if level_of(checkpoint, ELR_VERSION) > 0 {
        // From here on one value holds for the whole cluster.
        let key = "min.insync.replicas";
        let record = ConfigRecord {
            resource_type: ResourceType::BROKER.code(),
            name: key.into(),
            value: Some(settings.config.int(key).to_string().into()),
            ..Default::default()
        };
        records.push((record.into(), 0));
    }
    if transactions {
        records.push((EndTransactionRecord::default().into(), 0));
    }
    records
}

fn feature_level(name: &str, level: i16) -> MetadataRecord {
    FeatureLevelRecord { name: name.into(), feature_level: level, ..Default::default() }.into()
}

/// The level that a feature has after `records`.
fn level_of(records: &[(MetadataRecord, i16)], feature: &str) -> i16 {
    let levels = records.iter().rev().filter_map(|(record, _)| match record {
        MetadataRecord::FeatureLevel(record) if &*record.name == feature => Some(record.feature_level),
        _ => None,
    });
    levels.into_iter().next().unwrap_or(0)
}
