//! What the controller is told when it starts.

use std::path::PathBuf;
use std::sync::Arc;

use dohle_config::{Config, HostPort, SecurityProtocol, TopicSettings};
use dohle_types::{ClusterId, DirectoryId, NodeId, Uuid};

/// Where this node serves the controller's APIs, as others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerListener {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub protocol: SecurityProtocol,
}

/// Everything the controller's thread needs to know. Sizes are in bytes, times in milliseconds.
#[derive(Clone, Debug)]
pub struct Settings {
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    /// The id of the folder that holds the metadata log (`meta.properties`).
    pub directory_id: DirectoryId,
    /// The folder that holds `__cluster_metadata-0` (`metadata.log.dir`).
    pub metadata_dir: PathBuf,
    /// The first one is the quorum's. May be empty on a node that nobody asks.
    pub listeners: Vec<ControllerListener>,
    /// This life of the process.
    pub incarnation: Uuid,
    pub config: Arc<Config>,
    pub election_timeout_ms: u64,
    pub fetch_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub retry_backoff_ms: u64,
    /// `metadata.log.max.record.bytes.between.snapshots`
    pub snapshot_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; `None` for never by time.
    pub snapshot_interval_ms: Option<u64>,
    /// `metadata.max.retention.bytes`; `None` for no limit.
    pub retention_bytes: Option<u64>,
    /// `metadata.max.retention.ms`; `None` for no limit.
    pub retention_ms: Option<u64>,
    /// `metadata.max.idle.interval.ms`; `None` for never. See the crate's documentation for when it applies.
    pub idle_interval_ms: Option<u64>,
    /// `metadata.log.segment.bytes`
    pub segment_bytes: u32,
    /// `metadata.log.segment.ms`
    pub segment_ms: u64,
}

impl Settings {
    /// From the configuration. `listeners` are what is advertised, with the ports that were really bound.
    pub fn new(
        config: Arc<Config>,
        cluster_id: ClusterId,
        directory_id: DirectoryId,
        incarnation: Uuid,
        listeners: Vec<ControllerListener>,
    ) -> Self {
        let limit = |value: i64| u64::try_from(value).ok();
        let above_zero = |value: i64| limit(value).filter(|value| *value > 0);
        let ms = |key: &str| u64::try_from(config.int(key)).unwrap_or(0);
        Self {
            cluster_id,
            node_id: config.node_id(),
            directory_id,
            metadata_dir: config.metadata_log_dir().to_owned(),
            listeners,
            incarnation,
            election_timeout_ms: ms("controller.quorum.election.timeout.ms"),
            fetch_timeout_ms: ms("controller.quorum.fetch.timeout.ms"),
            request_timeout_ms: ms("controller.quorum.request.timeout.ms"),
            retry_backoff_ms: ms("controller.quorum.retry.backoff.ms"),
            snapshot_bytes: limit(config.long("metadata.log.max.record.bytes.between.snapshots"))
                .unwrap_or(1),
            snapshot_interval_ms: above_zero(config.long("metadata.log.max.snapshot.interval.ms")),
            retention_bytes: limit(config.long("metadata.max.retention.bytes")),
            retention_ms: limit(config.long("metadata.max.retention.ms")),
            idle_interval_ms: above_zero(i64::from(config.int("metadata.max.idle.interval.ms"))),
            segment_bytes: u32::try_from(config.int("metadata.log.segment.bytes")).unwrap_or(u32::MAX),
            segment_ms: limit(config.long("metadata.log.segment.ms")).unwrap_or(u64::MAX),
            config,
        }
    }

    /// The voters that the configuration names: `controller.quorum.voters`. Their directories are not known.
    pub(crate) fn configured_voters(&self) -> dohle_raft::VoterSet {
        let name = self.quorum_listener_name();
        dohle_raft::VoterSet::new(self.config.quorum_voters().iter().map(|voter| dohle_raft::Voter {
            replica: dohle_raft::Replica::new(voter.id, Uuid::ZERO),
            endpoints: vec![endpoint(&name, &voter.address)],
            kraft_versions: dohle_raft::KRaftVersions { min: 0, max: 0 },
        }))
    }

    pub(crate) fn bootstrap_servers(&self) -> Vec<dohle_raft::Endpoint> {
        let name = self.quorum_listener_name();
        self.config.quorum_bootstrap_servers().iter().map(|address| endpoint(&name, address)).collect()
    }

    pub(crate) fn endpoints(&self) -> Vec<dohle_raft::Endpoint> {
        let listeners = self.listeners.iter();
        listeners
            .map(|listener| dohle_raft::Endpoint {
                name: listener.name.clone(),
                host: listener.host.clone(),
                port: listener.port,
            })
            .collect()
    }

    fn quorum_listener_name(&self) -> String {
        self.listeners.first().map(|listener| listener.name.clone()).unwrap_or_default()
    }

    /// How the log of the metadata is kept: only snapshots decide what of it may go.
    pub(crate) fn log_settings(&self) -> TopicSettings {
        TopicSettings {
            cleanup_delete: true,
            cleanup_compact: false,
            retention_bytes: None,
            retention_ms: None,
            segment_bytes: self.segment_bytes,
            segment_ms: self.segment_ms,
            max_message_bytes: u32::MAX >> 1,
            ..TopicSettings::default()
        }
    }
}

fn endpoint(name: &str, address: &HostPort) -> dohle_raft::Endpoint {
    dohle_raft::Endpoint { name: name.to_owned(), host: address.host.clone(), port: address.port }
}
