//! UpdateFeatures: all levels that are asked for, or none.

use std::collections::BTreeMap;

use dohle_types::{ErrorCode, NodeId};
use dohle_wire::Text;
use dohle_wire::messages::update_features_request::UpdateFeaturesRequest;
use dohle_wire::messages::update_features_response::{UpdatableFeatureResult, UpdateFeaturesResponse};
use dohle_wire::messages::{ConfigRecord, FeatureLevelRecord, NoOpRecord};

use super::error::{ApiError, Result};
use super::turn::Turn;
use crate::MetadataVersion;
use crate::features::{ELR_VERSION, FeatureDef, KRAFT_VERSION, Levels, METADATA_VERSION, supported_range};
use crate::image::{ResourceType, VersionRange};

/// `UpdateFeaturesRequest.upgrade_type`.
const UPGRADE: i8 = 1;
const UNSAFE_DOWNGRADE: i8 = 3;

/// Up to this version each feature has an answer of its own.
const LAST_WITH_RESULTS: i16 = 1;

/// The level one feature is to get.
struct Update<'a> {
    feature: &'a str,
    level: i16,
    upgrade_type: i8,
}

impl Turn<'_> {
    pub(super) fn update_features(
        &mut self,
        request: &UpdateFeaturesRequest,
    ) -> Result<UpdateFeaturesResponse> {
        let updates: BTreeMap<&str, Update<'_>> = request
            .feature_updates
            .iter()
            .map(|key| {
                let update = Update {
                    feature: &key.feature,
                    level: key.max_version_level,
                    upgrade_type: key.upgrade_type,
                };
                (&*key.feature, update)
            })
            .collect();
        let start = self.batch.mark();
        let elr = updates.get(ELR_VERSION).is_some_and(|update| update.level > 0);
        let made = self.make_updates(&updates, elr);
        if made.is_err() || request.validate_only {
            self.batch.rewind(start);
        }
        if made.is_err() || request.validate_only {
            self.kraft_upgrade = None;
        }
        if let Err(error) = made {
            let reason = error.message.as_deref().unwrap_or("null");
            let sentence = format!(
                "The update failed for all features since the following feature had an error: {reason}"
            );
            return Ok(UpdateFeaturesResponse {
                error_code: error.code.code(),
                error_message: Some(sentence.into()),
                ..Default::default()
            });
        }
        let results = match self.version {
            ..=LAST_WITH_RESULTS => request
                .feature_updates
                .iter()
                .map(|key| UpdatableFeatureResult {
                    feature: key.feature.clone(),
                    // The name of the error, which is what Kafka says here of a success.
                    error_message: Some("NONE".into()),
                    ..Default::default()
                })
                .collect(),
            _ => Vec::new(),
        };
        Ok(UpdateFeaturesResponse { error_message: None, results, ..Default::default() })
    }

    fn make_updates(&mut self, updates: &BTreeMap<&str, Update<'_>>, elr: bool) -> Result<()> {
        let mut proposed: BTreeMap<String, i16> =
            self.image().features.finalized().map(|(name, level)| (name.to_owned(), level)).collect();
        proposed.extend(updates.values().map(|update| (update.feature.to_owned(), update.level)));
        for update in updates.values() {
            self.check_update(update, &proposed)?;
        }
        if elr {
            self.make_min_isr_cluster_wide()?;
        }
        updates.values().try_for_each(|update| self.make_update(update))
    }

    fn make_update(&mut self, update: &Update<'_>) -> Result<()> {
        if update.feature != KRAFT_VERSION {
            let record = FeatureLevelRecord {
                name: update.feature.into(),
                feature_level: update.level,
                ..Default::default()
            };
            return self.batch.push(record, 0);
        }
        if update.level > self.kraft_version {
            self.kraft_upgrade = Some(update.level);
        }
        // The level itself is a control record; this one makes the reply wait for what comes after it.
        self.batch.push(NoOpRecord::default(), 0)
    }

    fn check_update(&self, update: &Update<'_>, proposed: &BTreeMap<String, i16>) -> Result<()> {
        let Update { feature, level, upgrade_type } = *update;
        let refuse = |reason: &str| {
            let sentence = format!("Invalid update version {level} for feature {feature}. {reason}");
            Err(ApiError::new(ErrorCode::InvalidUpdateVersion, sentence))
        };
        if !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&upgrade_type) {
            return refuse("The controller does not support the given upgrade type.");
        }
        if level < 0 {
            return refuse("A feature version cannot be less than 0.");
        }
        if let Some(reason) = self.reason_not_supported(feature, level) {
            return refuse(&reason);
        }
        let current = match feature {
            METADATA_VERSION => self.metadata_version().level(),
            KRAFT_VERSION => self.kraft_version,
            _ => self.image().features.level(feature),
        };
        if level < current && upgrade_type == UPGRADE {
            return refuse(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
                 downgrade.",
            );
        }
        if level > current && upgrade_type != UPGRADE {
            return refuse("Can't downgrade to a newer version.");
        }
        match feature {
            METADATA_VERSION => self.check_metadata_version(level, upgrade_type),
            KRAFT_VERSION if level < current => refuse("Can't downgrade the version of this feature."),
            KRAFT_VERSION => Ok(()),
            _ => check_dependencies(feature, level, proposed).or_else(|reason| refuse(&reason)),
        }
    }

    fn check_metadata_version(&self, level: i16, upgrade_type: i8) -> Result<()> {
        let refuse = |sentence: String| Err(ApiError::new(ErrorCode::InvalidUpdateVersion, sentence));
        let current = self.metadata_version();
        let Some(target) = MetadataVersion::from_level(level) else {
            return refuse(format!(
                "Invalid metadata.version {level}. Valid versions are from {} to {}.",
                MetadataVersion::MINIMUM.level(),
                MetadataVersion::LATEST_TESTING.level()
            ));
        };
        if target >= current || !current.downgrade_loses_metadata(target) {
            return Ok(());
        }
        let reason = match upgrade_type {
            UNSAFE_DOWNGRADE => "Unsafe metadata downgrade is not supported in this version.",
            _ => "Refusing to perform the requested downgrade because it might delete metadata information.",
        };
        refuse(format!(
            "Unsupported metadata.version downgrade from {} to {}. {reason}",
            current.level(),
            target.level()
        ))
    }

    /// Why somebody in the cluster cannot do that level, if so.
    fn reason_not_supported(&self, feature: &str, level: i16) -> Option<String> {
        let none = VersionRange { min: 0, max: 0 };
        let lacking = |who: String, range: VersionRange| match range {
            range if range.contains(level) => None,
            VersionRange { max: 0, .. } => Some(format!("{who} does not support this feature.")),
            range => Some(format!("{who} only supports versions {range}")),
        };
        let (image, local) = (self.image(), self.settings.node_id);
        lacking(
            format!("Local controller {local}"),
            supported_range(feature, Levels::of(&self.settings.config)),
        )
        .or_else(|| {
            let mut brokers = image.brokers.iter();
            brokers.find_map(|broker| {
                let range = broker.features.get(feature).copied().unwrap_or(none);
                lacking(format!("Broker {}", broker.id), range)
            })
        })
        .or_else(|| {
            let mut others = image.controllers.values().filter(|node| node.id != local);
            others.find_map(|node| {
                let range = node.features.get(feature).copied().unwrap_or(none);
                lacking(format!("Controller {}", node.id), range)
            })
        })
        .or_else(|| self.unregistered_voter())
    }

    fn unregistered_voter(&self) -> Option<String> {
        if !self.metadata_version().controller_registration_supported() {
            return None;
        }
        let known = |id: &NodeId| *id == self.settings.node_id || self.image().controllers.contains_key(id);
        let missing = self.settings.voters.iter().find(|id| !known(id))?;
        Some(format!("controller {missing} has not registered, and may not support this feature"))
    }

    /// With eligible leader replicas one `min.insync.replicas` must hold for the whole cluster, or brokers and controller
    /// would disagree about what is committed (KIP-966).
    fn make_min_isr_cluster_wide(&mut self) -> Result<()> {
        let configs = &self.image().configs;
        let min_isr = Text::from_static("min.insync.replicas");
        let mut changes = Vec::new();
        if !configs.broker("").contains_key(&*min_isr) {
            let value = self.settings.config.int(&min_isr).to_string();
            changes.push((Text::default(), Some(Text::from(value))));
        }
        let brokers = configs.resources(ResourceType::BROKER);
        let own = brokers.filter(|(name, map)| !name.is_empty() && map.contains_key(&*min_isr));
        changes.extend(own.map(|(name, _)| (name.clone(), None)));
        for (broker, value) in changes {
            let record = ConfigRecord {
                resource_type: ResourceType::BROKER.code(),
                resource_name: broker,
                name: min_isr.clone(),
                value,
                ..Default::default()
            };
            self.batch.push(record, 0)?;
        }
        Ok(())
    }
}

fn check_dependencies(
    feature: &str,
    level: i16,
    proposed: &BTreeMap<String, i16>,
) -> std::result::Result<(), String> {
    let Some(definition) = FeatureDef::by_name(feature) else {
        return Err(format!("Feature {feature} not found."));
    };
    let Some(wanted) = usize::try_from(level).ok().and_then(|at| definition.levels.get(at)) else {
        return Err(format!("No feature:{feature} with feature level {level}"));
    };
    let needed = wanted.needs_metadata_version;
    if level > 0 && proposed.get(METADATA_VERSION).is_none_or(|version| *version < needed) {
        return Err(format!(
            "{feature} could not be set to {level} because it depends on {METADATA_VERSION} level {needed}"
        ));
    }
    Ok(())
}
