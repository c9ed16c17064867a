//! Who belongs to the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use dohle_types::{BrokerEpoch, DirectoryId, NodeId, Uuid};
use dohle_wire::Text;
use dohle_wire::messages::broker_registration_change_record::BrokerRegistrationChangeRecord;
use dohle_wire::messages::register_broker_record::{BrokerEndpoint, BrokerFeature, RegisterBrokerRecord};
use dohle_wire::messages::register_controller_record::{
    ControllerEndpoint, ControllerFeature, RegisterControllerRecord,
};
use dohle_wire::messages::unregister_broker_record::UnregisterBrokerRecord;
use imbl::OrdMap;

use super::VersionRange;
use crate::MetadataVersion;
use crate::directory;

/// Where a node can be reached under the name of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub name: Text,
    pub host: Text,
    pub port: u16,
    /// The number of the security protocol (`SecurityProtocol.id`).
    pub protocol: i16,
}

/// One incarnation of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: NodeId,
    pub epoch: BrokerEpoch,
    /// Chosen by the broker's process when it starts.
    pub incarnation: Uuid,
    /// In the order the broker listed them.
    pub endpoints: Vec<Endpoint>,
    pub features: BTreeMap<Text, VersionRange>,
    pub rack: Option<Text>,
    /// Leads nothing and is in no ISR: not caught up yet, or silent for too long.
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    /// Left behind by a migration from ZooKeeper.
    pub migrating_zk_broker: bool,
    /// The directories that are online, sorted.
    pub log_dirs: Vec<DirectoryId>,
    /// Directories that take no new partitions; `None` until the broker has told.
    pub cordoned_log_dirs: Option<Vec<DirectoryId>>,
}

impl Broker {
    /// Whether it may lead partitions and be in ISRs.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| &*endpoint.name == listener)
    }

    pub fn has_online_dir(&self, dir: DirectoryId) -> bool {
        directory::is_online(dir, &self.log_dirs)
    }

    /// Whether any directory takes new partitions.
    pub fn has_uncordoned_dirs(&self) -> bool {
        match &self.cordoned_log_dirs {
            Some(cordoned) if !self.log_dirs.is_empty() => {
                self.log_dirs.iter().any(|dir| !cordoned.contains(dir))
            }
            _ => true,
        }
    }

    /// Where a new replica goes as far as the controller can tell.
    pub fn default_dir(&self) -> DirectoryId {
        match self.log_dirs[..] {
            [] => directory::MIGRATING,
            [only] => only,
            _ => directory::UNASSIGNED,
        }
    }

    fn from_record(record: &RegisterBrokerRecord) -> Self {
        let mut log_dirs = record.log_dirs.clone();
        log_dirs.sort_unstable();
        Self {
            id: NodeId(record.broker_id),
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation: record.incarnation_id,
            endpoints: record.end_points.iter().map(endpoint_of_broker).collect(),
            features: record
                .features
                .iter()
                .map(|f| {
                    let range = VersionRange { min: f.min_supported_version, max: f.max_supported_version };
                    (f.name.detached(), range)
                })
                .collect(),
            rack: record.rack.as_ref().map(Text::detached),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            migrating_zk_broker: record.is_migrating_zk_broker,
            log_dirs,
            cordoned_log_dirs: record.cordoned_log_dirs.clone(),
        }
    }

    /// The registration as far as `version` can say it.
    pub(crate) fn to_record(&self, version: MetadataVersion) -> RegisterBrokerRecord {
        let directories = version.directory_assignment_supported();
        RegisterBrokerRecord {
            broker_id: self.id.get(),
            is_migrating_zk_broker: self.migrating_zk_broker && version.register_broker_record_version() >= 2,
            incarnation_id: self.incarnation,
            broker_epoch: self.epoch.get(),
            end_points: self
                .endpoints
                .iter()
                .map(|e| BrokerEndpoint {
                    name: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.protocol,
                    ..Default::default()
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|(name, range)| BrokerFeature {
                    name: name.clone(),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                    ..Default::default()
                })
                .collect(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: if directories { self.log_dirs.clone() } else { Vec::new() },
            cordoned_log_dirs: self
                .cordoned_log_dirs
                .clone()
                .filter(|_| version.cordoned_log_dirs_supported()),
            ..Default::default()
        }
    }
}

fn endpoint_of_broker(endpoint: &BrokerEndpoint) -> Endpoint {
    Endpoint {
        name: endpoint.name.detached(),
        host: endpoint.host.detached(),
        port: endpoint.port,
        protocol: endpoint.security_protocol,
    }
}

/// One incarnation of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerNode {
    pub id: NodeId,
    pub incarnation: Uuid,
    pub zk_migration_ready: bool,
    pub endpoints: Vec<Endpoint>,
    pub features: BTreeMap<Text, VersionRange>,
}

impl ControllerNode {
    pub(super) fn from_record(record: &RegisterControllerRecord) -> Self {
        Self {
            id: NodeId(record.controller_id),
            incarnation: record.incarnation_id,
            zk_migration_ready: record.zk_migration_ready,
            endpoints: record
                .end_points
                .iter()
                .map(|e| Endpoint {
                    name: e.name.detached(),
                    host: e.host.detached(),
                    port: e.port,
                    protocol: e.security_protocol,
                })
                .collect(),
            features: record
                .features
                .iter()
                .map(|f| {
                    let range = VersionRange { min: f.min_supported_version, max: f.max_supported_version };
                    (f.name.detached(), range)
                })
                .collect(),
        }
    }

    pub(super) fn to_record(&self) -> RegisterControllerRecord {
        RegisterControllerRecord {
            controller_id: self.id.get(),
            incarnation_id: self.incarnation,
            zk_migration_ready: self.zk_migration_ready,
            end_points: self
                .endpoints
                .iter()
                .map(|e| ControllerEndpoint {
                    name: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.protocol,
                    ..Default::default()
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|(name, range)| ControllerFeature {
                    name: name.clone(),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }
}

/// The brokers that are registered, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brokers(OrdMap<NodeId, Arc<Broker>>);

impl Brokers {
    pub fn get(&self, id: NodeId) -> Option<&Broker> {
        self.0.get(&id).map(|broker| &**broker)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Broker> {
        self.0.values().map(|broker| &**broker)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the broker is registered, not fenced and not shutting down.
    pub fn is_active(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(Broker::is_active)
    }

    /// The broker that registered a directory.
    pub fn owner_of(&self, dir: DirectoryId) -> Option<NodeId> {
        self.iter().find(|broker| broker.log_dirs.contains(&dir)).map(|broker| broker.id)
    }

    pub(super) fn register(&mut self, record: &RegisterBrokerRecord) -> Result<(), String> {
        let broker = Broker::from_record(record);
        for &dir in &broker.log_dirs {
            if let Some(owner) = self.owner_of(dir).filter(|&owner| owner != broker.id) {
                return Err(format!("broker {} registers directory {dir} of broker {owner}", broker.id));
            }
        }
        self.0.insert(broker.id, Arc::new(broker));
        Ok(())
    }

    pub(super) fn unregister(&mut self, record: &UnregisterBrokerRecord) -> Result<(), String> {
        let id = NodeId(record.broker_id);
        self.incarnation_mut(id, BrokerEpoch(record.broker_epoch))?;
        self.0.remove(&id);
        Ok(())
    }

    pub(super) fn set_fenced(&mut self, id: i32, epoch: i64, fenced: bool) -> Result<(), String> {
        self.incarnation_mut(NodeId(id), BrokerEpoch(epoch))?.fenced = fenced;
        Ok(())
    }

    pub(super) fn change(&mut self, record: &BrokerRegistrationChangeRecord) -> Result<(), String> {
        let fenced = match record.fenced {
            -1 => Some(false),
            0 => None,
            1 => Some(true),
            other => return Err(format!("broker {} gets the fencing change {other}", record.broker_id)),
        };
        let shutdown = match record.in_controlled_shutdown {
            0 => None,
            1 => Some(true),
            other => return Err(format!("broker {} gets the shutdown change {other}", record.broker_id)),
        };
        let broker = self.incarnation_mut(NodeId(record.broker_id), BrokerEpoch(record.broker_epoch))?;
        broker.fenced = fenced.unwrap_or(broker.fenced);
        broker.in_controlled_shutdown = shutdown.unwrap_or(broker.in_controlled_shutdown);
        if !record.log_dirs.is_empty() {
            broker.log_dirs.clone_from(&record.log_dirs);
            broker.log_dirs.sort_unstable();
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            broker.cordoned_log_dirs = Some(cordoned.clone());
        }
        Ok(())
    }

    fn incarnation_mut(&mut self, id: NodeId, epoch: BrokerEpoch) -> Result<&mut Broker, String> {
        let broker = self.0.get_mut(&id).ok_or_else(|| format!("broker {id} is not registered"))?;
        if broker.epoch != epoch {
            return Err(format!("broker {id} has epoch {}, not {epoch}", broker.epoch));
        }
        Ok(Arc::make_mut(broker))
    }
}
