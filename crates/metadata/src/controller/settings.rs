//! What the controller is told when it is made.

use std::sync::Arc;

use dohle_config::Config;
use dohle_types::{ClusterId, NodeId};

/// How this controller decides. The numbers come from `config`; they stand apart for tests to change.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    /// The nodes of the metadata quorum, this one included.
    pub voters: Vec<NodeId>,
    /// The static configuration of this node, for what topics inherit and for what may be set.
    pub config: Arc<Config>,
    pub default_partitions: i32,
    pub default_replication_factor: i16,
    pub delete_topics: bool,
    /// How long a broker may be silent before it is fenced.
    pub session_timeout_ms: i64,
    /// How often leadership goes back to preferred replicas; `None` for never.
    pub balance_interval_ms: Option<i64>,
    /// How often partitions without a leader are looked at for an unclean election.
    pub unclean_interval_ms: i64,
}

impl ControllerSettings {
    pub fn new(cluster_id: ClusterId, voters: Vec<NodeId>, config: Arc<Config>) -> Self {
        let balance = config.boolean("auto.leader.rebalance.enable");
        let balance_interval_ms = 1000 * config.long("leader.imbalance.check.interval.seconds");
        Self {
            cluster_id,
            node_id: config.node_id(),
            voters,
            default_partitions: config.int("num.partitions"),
            default_replication_factor: i16::try_from(config.int("default.replication.factor"))
                .unwrap_or(i16::MAX),
            delete_topics: config.boolean("delete.topic.enable"),
            session_timeout_ms: i64::from(config.int("broker.session.timeout.ms")),
            balance_interval_ms: balance.then_some(balance_interval_ms),
            unclean_interval_ms: config.long("unclean.leader.election.interval.ms"),
            config,
        }
    }
}
