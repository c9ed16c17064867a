//! What the metadata log says, up to some offset.
//!
//! [`Image::replay`] is the only writer; everything in here is a persistent map, so that a clone costs a few reference counts
//! and shares what did not change. Maps are ordered: two images with the same content iterate alike, on every machine.
//!
//! Text is copied out of the records it came in: an image outlives the buffers of the log it was read from.

mod brokers;
mod configs;
mod features;
mod few;
mod partition;
mod security;
mod snapshot;
mod topics;

use dohle_types::{Offset, ProducerId};
use dohle_wire::MetadataRecord;

pub use brokers::{Broker, Brokers, ControllerNode, Endpoint};
pub use configs::{ConfigMap, Configs, ResourceType};
pub use features::{Features, VersionRange};
pub use few::Few;
pub(crate) use partition::NO_LEADER_CHANGE;
pub use partition::{LeaderRecovery, PartitionState};
pub use security::{ClientQuotas, QuotaEntity, Security};
pub use topics::{Partitions, Topic, Topics};

/// A record that cannot follow what came before it: the log is damaged, or was written by software this one does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayError {
    /// Where in the metadata log.
    pub offset: Offset,
    pub reason: String,
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "metadata record at offset {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for ReplayError {}

/// The block of producer ids that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerIds {
    /// `None` until the first block was handed out.
    pub next: Option<ProducerId>,
}

/// The cluster's metadata at one offset of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The offset of the last record that was replayed; `NONE` before the first.
    pub offset: Offset,
    pub features: Features,
    pub brokers: Brokers,
    pub controllers: imbl::OrdMap<dohle_types::NodeId, std::sync::Arc<ControllerNode>>,
    pub topics: Topics,
    pub configs: Configs,
    pub producer_ids: ProducerIds,
    pub client_quotas: ClientQuotas,
    /// What nobody serves yet, but no snapshot may lose: ACLs, SCRAM credentials, delegation tokens.
    pub security: Security,
    /// What was there before the metadata transaction that is open now.
    before_transaction: Option<Box<Image>>,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            offset: Offset::NONE,
            features: Features::default(),
            brokers: Brokers::default(),
            controllers: imbl::OrdMap::new(),
            topics: Topics::default(),
            configs: Configs::default(),
            producer_ids: ProducerIds::default(),
            client_quotas: ClientQuotas::default(),
            security: Security::default(),
            before_transaction: None,
        }
    }
}

impl Image {
    pub fn is_empty(&self) -> bool {
        *self == Self { offset: self.offset, ..Self::default() }
    }

    /// Whether a metadata transaction is open: what this image shows may still be taken back.
    pub fn in_transaction(&self) -> bool {
        self.before_transaction.is_some()
    }

    /// The newest state that cannot be taken back: this image, or the one before the open transaction.
    pub fn stable(&self) -> &Self {
        self.before_transaction.as_deref().unwrap_or(self)
    }

    /// Applies the record at `offset`. A record that is refused leaves the image as it was.
    pub fn replay(&mut self, record: &MetadataRecord, offset: Offset) -> Result<(), ReplayError> {
        self.apply(record, offset).map_err(|reason| ReplayError { offset, reason })?;
        self.offset = offset;
        Ok(())
    }

    fn apply(&mut self, record: &MetadataRecord, offset: Offset) -> Result<(), String> {
        use MetadataRecord as R;
        match record {
            R::RegisterBroker(record) => self.brokers.register(record),
            R::UnregisterBroker(record) => self.brokers.unregister(record),
            R::FenceBroker(record) => self.brokers.set_fenced(record.id, record.epoch, true),
            R::UnfenceBroker(record) => self.brokers.set_fenced(record.id, record.epoch, false),
            R::BrokerRegistrationChange(record) => self.brokers.change(record),
            R::RegisterController(record) => {
                let node = ControllerNode::from_record(record);
                self.controllers.insert(node.id, std::sync::Arc::new(node));
                Ok(())
            }
            R::Topic(record) => self.topics.add(record),
            R::Partition(record) => self.topics.set_partition(record),
            R::PartitionChange(record) => self.topics.change_partition(record),
            R::RemoveTopic(record) => {
                let name = self.topics.remove(record.topic_id)?;
                self.configs.remove_all(ResourceType::TOPIC, &name);
                Ok(())
            }
            R::ClearElr(record) => self.topics.clear_elr(&record.topic_name),
            R::Config(record) => {
                self.configs.set(record);
                Ok(())
            }
            R::FeatureLevel(record) => self.features.set(record),
            R::ProducerIds(record) => self.set_producer_ids(ProducerId(record.next_producer_id)),
            R::ClientQuota(record) => {
                self.client_quotas.set(record);
                Ok(())
            }
            R::AccessControlEntry(_)
            | R::RemoveAccessControlEntry(_)
            | R::UserScramCredential(_)
            | R::RemoveUserScramCredential(_)
            | R::DelegationToken(_)
            | R::RemoveDelegationToken(_) => {
                self.security.set(record);
                Ok(())
            }
            R::BeginTransaction(_) => self.begin_transaction(),
            R::EndTransaction(_) => self.end_transaction(),
            R::AbortTransaction(_) => self.abort_transaction(offset),
            // Written by Kafka 3.x on its way from ZooKeeper; it says nothing since 4.0.
            R::NoOp(_) | R::ZkMigrationState(_) => Ok(()),
        }
    }

    fn set_producer_ids(&mut self, next: ProducerId) -> Result<(), String> {
        match self.producer_ids.next {
            Some(current) if next <= current => {
                Err(format!("the next producer id goes from {current} to {next}, but must grow"))
            }
            _ => {
                self.producer_ids.next = Some(next);
                Ok(())
            }
        }
    }

    fn begin_transaction(&mut self) -> Result<(), String> {
        if self.in_transaction() {
            return Err("a metadata transaction begins inside of another".to_owned());
        }
        self.before_transaction = Some(Box::new(self.clone()));
        Ok(())
    }

    fn end_transaction(&mut self) -> Result<(), String> {
        match self.before_transaction.take() {
            Some(_) => Ok(()),
            None => Err("a metadata transaction ends that never began".to_owned()),
        }
    }

    fn abort_transaction(&mut self, offset: Offset) -> Result<(), String> {
        match self.before_transaction.take() {
            Some(before) => {
                *self = Self { offset, ..*before };
                Ok(())
            }
            None => Err("a metadata transaction is aborted that never began".to_owned()),
        }
    }
}

/// The node ids of a record, typed.
pub(crate) fn node_ids(ids: &[i32]) -> Few<dohle_types::NodeId> {
    ids.iter().map(|&id| dohle_types::NodeId(id)).collect()
}

/// Node ids, as records carry them.
pub(crate) fn raw_ids(ids: &[dohle_types::NodeId]) -> Vec<i32> {
    ids.iter().map(|id| id.get()).collect()
}
