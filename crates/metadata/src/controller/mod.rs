//! The decisions of the active controller.
//!
//! [`Controller::handle`] looks at the image and answers with records and a reply; it changes nothing but soft state (who was
//! heard of when). The shell appends the records, hands each to [`Controller::replay`] at once, in order and before the next
//! request, and releases the reply when they are committed. Standing by, a controller is only replayed into.

mod alter_partition;
mod assign_directories;
mod batch;
mod bootstrap;
mod brokers;
mod config_values;
mod configs;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod elect_leaders;
mod error;
mod heartbeat;
mod partition_change;
mod placement;
mod producer_ids;
mod reassign_partitions;
mod reassignment;
mod refusal;
mod registration;
mod sessions;
mod settings;
mod tick;
mod turn;
mod update_features;

use std::collections::BTreeMap;

use dohle_types::{ErrorCode, NodeId, Offset, TimestampMs};
use dohle_wire::{AnyRequest, AnyResponse, ApiKey, MetadataRecord, Text};

use self::batch::Batch;
use self::sessions::Sessions;
use self::turn::Turn;
use crate::chance::Chance;
use crate::image::{Image, ReplayError};

pub use self::batch::MAX_RECORDS_PER_REQUEST;
pub use self::bootstrap::{bootstrap_records, format_records};
pub use self::error::ApiError;
pub use self::producer_ids::PRODUCER_ID_BLOCK_SIZE;
pub use self::settings::ControllerSettings;
pub use self::tick::{MAX_ELECTIONS_PER_TICK, Tick};

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestContext {
    pub principal: Text,
    pub client_id: Option<Text>,
    pub listener: Text,
    pub host: Text,
    /// The broker whose listener took the request; `None` when it came to the controller's own.
    pub via_broker: Option<NodeId>,
}

/// What a request comes to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Each with the version it is to be written in.
    pub records: Vec<(MetadataRecord, i16)>,
    /// Whether the records must be one batch, all or nothing.
    pub atomic: bool,
    /// The level that the quorum is to raise `kraft.version` to, before the reply is released.
    pub kraft_upgrade: Option<i16>,
    /// To be released when the records are committed, and no earlier than any reply before it.
    pub reply: AnyResponse,
}

/// The offset of each broker's registration record: a broker that has read that far knows of itself.
pub(crate) type Registrations = BTreeMap<NodeId, Offset>;

/// The controller's state: the image, which only records change, and what heartbeats tell.
#[derive(Debug)]
pub struct Controller {
    settings: ControllerSettings,
    image: Image,
    registrations: Registrations,
    sessions: Sessions,
    kraft_version: i16,
    schedule: tick::Schedule,
}

impl Controller {
    pub fn new(settings: ControllerSettings) -> Self {
        Self {
            settings,
            image: Image::default(),
            registrations: Registrations::new(),
            sessions: Sessions::default(),
            kraft_version: 0,
            schedule: tick::Schedule::default(),
        }
    }

    /// Everything that was replayed, committed or not.
    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn settings(&self) -> &ControllerSettings {
        &self.settings
    }

    /// Applies a record of the log, or of a snapshot that ends at `offset`.
    pub fn replay(&mut self, record: &MetadataRecord, offset: Offset) -> Result<(), ReplayError> {
        self.image.replay(record, offset)?;
        match record {
            MetadataRecord::RegisterBroker(record) => {
                self.registrations.insert(NodeId(record.broker_id), offset);
            }
            MetadataRecord::UnregisterBroker(record) => {
                self.registrations.remove(&NodeId(record.broker_id));
                self.sessions.end(NodeId(record.broker_id));
            }
            _ => {}
        }
        Ok(())
    }

    /// Goes back to an image that was taken earlier, when the records after it will never be committed; or on to one that
    /// was read from a snapshot.
    pub fn reset_to(&mut self, image: Image) {
        let registered_at =
            |id| self.registrations.get(&id).copied().unwrap_or(image.offset).min(image.offset);
        self.registrations =
            image.brokers.iter().map(|broker| (broker.id, registered_at(broker.id))).collect();
        self.image = image;
    }

    /// The level of `kraft.version`, which is in the quorum's control records.
    pub fn set_kraft_version(&mut self, level: i16) {
        self.kraft_version = level;
    }

    /// This node leads the metadata quorum from now on.
    pub fn activate(&mut self, now: TimestampMs) {
        self.sessions = Sessions::of_new_controller(&self.image, self.settings.node_id, now);
        self.schedule = tick::Schedule::starting(&self.settings, now);
    }

    /// Whether [`Controller::handle`] takes requests of this API.
    pub fn serves(key: ApiKey) -> bool {
        refusal::is_known(key)
    }

    /// Decides on a request of an API that it [serves](Self::serves). `now` is read from any clock that never goes back;
    /// `next_offset` is the offset that the first record will get; `chance` is a fresh random number.
    pub fn handle(
        &mut self,
        now: TimestampMs,
        next_offset: Offset,
        chance: u64,
        context: &RequestContext,
        request: &AnyRequest,
        version: i16,
    ) -> Outcome {
        let atomic = is_atomic(request.key());
        let limit = if is_users(request.key()) { MAX_RECORDS_PER_REQUEST } else { usize::MAX };
        let mut turn = Turn {
            settings: &self.settings,
            context,
            sessions: &mut self.sessions,
            registrations: &self.registrations,
            version,
            now,
            next_offset,
            chance: Chance::new(chance),
            kraft_version: self.kraft_version,
            kraft_upgrade: None,
            batch: Batch::new(self.image.clone(), next_offset, limit),
        };
        match turn.answer(request) {
            Ok(reply) => {
                let kraft_upgrade = turn.kraft_upgrade;
                Outcome { records: turn.batch.into_records(), atomic, kraft_upgrade, reply }
            }
            Err(error) => {
                let reply = Self::refusal(request, version, &error);
                Outcome { records: Vec::new(), atomic, kraft_upgrade: None, reply }
            }
        }
    }

    /// The answer to a request that fails as a whole, in the shape its API has for that.
    pub fn refusal(request: &AnyRequest, version: i16, error: &ApiError) -> AnyResponse {
        refusal::refusal(request, version, error)
    }
}

impl Turn<'_> {
    fn answer(&mut self, request: &AnyRequest) -> error::Result<AnyResponse> {
        use AnyRequest as R;
        Ok(match request {
            R::AllocateProducerIds(request) => self.allocate_producer_ids(request)?.into(),
            R::AlterConfigs(request) => self.alter_configs(request)?.into(),
            R::AlterPartition(request) => self.alter_partition(request)?.into(),
            R::AlterPartitionReassignments(request) => self.alter_partition_reassignments(request)?.into(),
            R::AssignReplicasToDirs(request) => self.assign_replicas_to_dirs(request)?.into(),
            R::BrokerHeartbeat(request) => self.broker_heartbeat(request)?.into(),
            R::BrokerRegistration(request) => self.register_broker(request)?.into(),
            R::ControllerRegistration(request) => self.register_controller(request)?.into(),
            R::CreatePartitions(request) => self.create_partitions(request)?.into(),
            R::CreateTopics(request) => self.create_topics(request)?.into(),
            R::DeleteTopics(request) => self.delete_topics(request)?.into(),
            R::ElectLeaders(request) => self.elect_leaders(request)?.into(),
            R::IncrementalAlterConfigs(request) => self.incremental_alter_configs(request)?.into(),
            R::ListPartitionReassignments(request) => self.list_partition_reassignments(request).into(),
            R::UnregisterBroker(request) => self.unregister_broker(request)?.into(),
            R::UpdateFeatures(request) => self.update_features(request)?.into(),
            // Quotas, SCRAM credentials, ACLs and delegation tokens: their records are kept, nobody can change them yet.
            _ => return Err(ApiError::bare(ErrorCode::UnsupportedVersion)),
        })
    }
}

/// Whether the records of a request are appended all or nothing.
fn is_atomic(key: ApiKey) -> bool {
    !matches!(
        key,
        ApiKey::AlterPartition
            | ApiKey::AssignReplicasToDirs
            | ApiKey::BrokerHeartbeat
            | ApiKey::BrokerRegistration
            | ApiKey::ElectLeaders
            | ApiKey::UnregisterBroker
    )
}

/// Whether a user asks, whom [`MAX_RECORDS_PER_REQUEST`] binds, or a member of the cluster.
fn is_users(key: ApiKey) -> bool {
    is_atomic(key) || matches!(key, ApiKey::ElectLeaders)
}
