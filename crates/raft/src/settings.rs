//! What the core is told when it starts.

use dohle_types::ClusterId;

use crate::event::ElectionState;
use crate::shape::LogShape;
use crate::voters::{Endpoint, Replica, VoterHistory};

/// The settings of one replica. Names and defaults of the times are those of `controller.quorum.*`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub local: Replica,
    pub cluster_id: ClusterId,
    /// Where this node's controller listeners are reached; the first is the one the quorum uses.
    pub endpoints: Vec<Endpoint>,
    /// Whom to ask for the leader while none is known (`controller.quorum.bootstrap.servers`).
    pub bootstrap: Vec<Endpoint>,
    pub election_timeout_ms: u64,
    pub fetch_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub retry_backoff_ms: u64,
    /// How long a follower lets a fetch wait at the leader.
    pub fetch_max_wait_ms: u32,
    pub fetch_max_bytes: u32,
}

impl Settings {
    pub fn new(local: Replica, cluster_id: ClusterId, endpoints: Vec<Endpoint>) -> Self {
        Self {
            local,
            cluster_id,
            endpoints,
            bootstrap: Vec::new(),
            election_timeout_ms: 1_000,
            fetch_timeout_ms: 2_000,
            request_timeout_ms: 2_000,
            retry_backoff_ms: 20,
            fetch_max_wait_ms: 500,
            fetch_max_bytes: 8 << 20,
        }
    }
}

/// What was found on disk.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub election: ElectionState,
    pub log: LogShape,
    /// From the latest snapshot and every control record after it.
    pub voters: VoterHistory,
}
