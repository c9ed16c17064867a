//! BrokerRegistration, ControllerRegistration and UnregisterBroker: who belongs to the cluster, as which incarnation.

use std::collections::BTreeSet;

use dohle_types::{ErrorCode, NodeId};
use dohle_wire::Text;
use dohle_wire::messages::broker_registration_request::{BrokerRegistrationRequest, Feature};
use dohle_wire::messages::register_broker_record::{BrokerEndpoint, BrokerFeature, RegisterBrokerRecord};
use dohle_wire::messages::register_controller_record::{
    ControllerEndpoint, ControllerFeature, RegisterControllerRecord,
};
use dohle_wire::messages::{
    BrokerRegistrationResponse, ControllerRegistrationRequest, ControllerRegistrationResponse,
    UnregisterBrokerRequest, UnregisterBrokerResponse,
};

use super::error::{ApiError, Result};
use super::turn::Turn;
use crate::features::{KRAFT_VERSION, METADATA_VERSION};
use crate::image::VersionRange;

/// From this version on a broker tells the epoch it had when it stopped cleanly.
const TELLS_PREVIOUS_EPOCH: i16 = 3;

impl Turn<'_> {
    pub(super) fn register_broker(
        &mut self,
        request: &BrokerRegistrationRequest,
    ) -> Result<BrokerRegistrationResponse> {
        self.check_registration(request)?;
        let id = NodeId(request.broker_id);
        let existing = self.image().brokers.get(id).cloned();
        let mut record = RegisterBrokerRecord {
            broker_id: id.get(),
            incarnation_id: request.incarnation_id,
            rack: request.rack.as_ref().map(Text::detached),
            end_points: request
                .listeners
                .iter()
                .map(|listener| BrokerEndpoint {
                    name: listener.name.detached(),
                    host: listener.host.detached(),
                    port: listener.port,
                    security_protocol: listener.security_protocol,
                    ..Default::default()
                })
                .collect(),
            features: request.features.iter().map(feature_of_record).collect(),
            ..Default::default()
        };
        if self.metadata_version().directory_assignment_supported() {
            record.log_dirs.clone_from(&request.log_dirs);
        }
        // What was offline in a broker that goes on under its epoch.
        let mut back = BTreeSet::new();
        match existing {
            Some(existing) if existing.incarnation == request.incarnation_id => {
                record.fenced = existing.fenced;
                record.in_controlled_shutdown = existing.in_controlled_shutdown;
                record.broker_epoch = existing.epoch.get();
                if self.metadata_version().cordoned_log_dirs_supported() {
                    record.cordoned_log_dirs.clone_from(&existing.cordoned_log_dirs);
                }
                back.extend(record.log_dirs.iter().filter(|dir| !existing.log_dirs.contains(dir)).copied());
            }
            existing => {
                let stopped_at = existing.map(|existing| existing.epoch.get());
                let clean =
                    self.version >= TELLS_PREVIOUS_EPOCH && stopped_at == Some(request.previous_broker_epoch);
                self.end_incarnation(id, clean)?;
                record.broker_epoch = self.next_offset.get();
                self.sessions.end(id);
            }
        }
        let broker_epoch = record.broker_epoch;
        self.batch.push(record, self.metadata_version().register_broker_record_version())?;
        self.directories_online(id, &back)?;
        Ok(BrokerRegistrationResponse { broker_epoch, ..Default::default() })
    }

    fn check_registration(&self, request: &BrokerRegistrationRequest) -> Result<()> {
        if *request.cluster_id != *self.settings.cluster_id {
            return Err(ApiError::new(
                ErrorCode::InconsistentClusterId,
                format!(
                    "Expected cluster ID {}, but got cluster ID {}",
                    self.settings.cluster_id, request.cluster_id
                ),
            ));
        }
        let id = NodeId(request.broker_id);
        if let Some(existing) = self.image().brokers.get(id) {
            let alive =
                self.sessions.is_alive(id, existing.epoch, self.now, self.settings.session_timeout_ms);
            if alive && existing.incarnation != request.incarnation_id {
                let sentence = "Another broker is registered with that broker id. If the broker was recently restarted \
                                this should self-resolve once the heartbeat manager expires the broker's session.";
                return Err(ApiError::new(ErrorCode::DuplicateBrokerRegistration, sentence));
            }
        }
        if request.is_migrating_zk_broker {
            let sentence = "Controller does not support registering ZK brokers.";
            return Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, sentence));
        }
        self.check_directories(request)?;
        self.check_features(request)
    }

    fn check_directories(&self, request: &BrokerRegistrationRequest) -> Result<()> {
        if !self.metadata_version().directory_assignment_supported() {
            return Ok(());
        }
        let invalid = |sentence: &str| Err(ApiError::invalid_registration(sentence));
        if request.log_dirs.is_empty() {
            return invalid("No directories specified in request");
        }
        if request.log_dirs.iter().any(|dir| dir.is_reserved()) {
            return invalid("Reserved directory ID in request");
        }
        if request.log_dirs.iter().collect::<BTreeSet<_>>().len() != request.log_dirs.len() {
            return invalid("Duplicate directory ID in request");
        }
        for &dir in &request.log_dirs {
            let owner = self.image().brokers.owner_of(dir).filter(|owner| owner.get() != request.broker_id);
            if let Some(owner) = owner {
                return invalid(&format!("Broker {owner} is already registered with directory {dir}"));
            }
        }
        Ok(())
    }

    /// Every feature that is on must be one the broker can do, at the level that holds.
    fn check_features(&self, request: &BrokerRegistrationRequest) -> Result<()> {
        let range_of = |name: &str| {
            let feature = request.features.iter().find(|feature| &*feature.name == name);
            feature.map_or(VersionRange { min: 0, max: 0 }, |feature| VersionRange {
                min: feature.min_supported_version,
                max: feature.max_supported_version,
            })
        };
        let finalized = self.image().features.finalized();
        let on = finalized.chain((self.kraft_version > 0).then_some((KRAFT_VERSION, self.kraft_version)));
        let on: Vec<(&str, i16)> = on.collect();
        let level_of =
            |name: &str| on.iter().find(|(known, _)| *known == name).map_or(0, |(_, level)| *level);
        let offered = request.features.iter().map(|feature| (&*feature.name, level_of(&feature.name)));
        // What the broker offers comes first, as in Kafka: its own words are the better explanation.
        for (name, level) in offered {
            check_level(name, level, range_of(name))?;
        }
        if !request.features.iter().any(|feature| &*feature.name == METADATA_VERSION) {
            let sentence = format!("Request features do not contain '{METADATA_VERSION}'");
            return Err(ApiError::invalid_registration(sentence));
        }
        on.iter().try_for_each(|(name, level)| check_level(name, *level, range_of(name)))
    }

    pub(super) fn register_controller(
        &mut self,
        request: &ControllerRegistrationRequest,
    ) -> Result<ControllerRegistrationResponse> {
        if !self.metadata_version().controller_registration_supported() {
            let sentence = "The current MetadataVersion is too old to support controller registrations.";
            return Err(ApiError::unsupported_version(sentence));
        }
        let record = RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            end_points: request
                .listeners
                .iter()
                .map(|listener| ControllerEndpoint {
                    name: listener.name.detached(),
                    host: listener.host.detached(),
                    port: listener.port,
                    security_protocol: listener.security_protocol,
                    ..Default::default()
                })
                .collect(),
            features: request
                .features
                .iter()
                .map(|feature| ControllerFeature {
                    name: feature.name.detached(),
                    min_supported_version: feature.min_supported_version,
                    max_supported_version: feature.max_supported_version,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        self.batch.push(record, 0)?;
        Ok(ControllerRegistrationResponse::default())
    }

    pub(super) fn unregister_broker(
        &mut self,
        request: &UnregisterBrokerRequest,
    ) -> Result<UnregisterBrokerResponse> {
        let id = NodeId(request.broker_id);
        let Some(epoch) = self.image().brokers.get(id).map(|broker| broker.epoch) else {
            let sentence = format!("Broker ID {id} is not currently registered");
            return Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, sentence));
        };
        self.unregister(id, epoch)?;
        Ok(UnregisterBrokerResponse::default())
    }
}

fn feature_of_record(feature: &Feature) -> BrokerFeature {
    BrokerFeature {
        name: feature.name.detached(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
        ..Default::default()
    }
}

fn check_level(name: &str, level: i16, range: VersionRange) -> Result<()> {
    if range.contains(level) {
        return Ok(());
    }
    Err(ApiError::unsupported_version(format!(
        "Unable to register because the broker does not support finalized version {level} of {name}. The broker wants a \
         version between {} and {}, inclusive.",
        range.min, range.max
    )))
}
