//! The quorum as `DescribeQuorum` shows it.

use dohle_types::{LeaderEpoch, NodeId, Offset};

use crate::event::TickMs;
use crate::raft::Raft;
use crate::role::{OBSERVER_SESSION_MS, Progress, Role};
use crate::voters::{Endpoint, Replica};

/// The quorum as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    pub leader: NodeId,
    pub epoch: LeaderEpoch,
    pub high_watermark: Option<Offset>,
    pub voters: Vec<ReplicaState>,
    pub observers: Vec<ReplicaState>,
    /// Where each voter listens.
    pub nodes: Vec<(NodeId, Vec<Endpoint>)>,
}

/// One replica of it. For the leader itself the times are unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaState {
    pub replica: Replica,
    pub end: Option<Offset>,
    pub last_fetch: Option<TickMs>,
    pub last_caught_up: Option<TickMs>,
}

impl Raft {
    /// Whether anyone copies this leader's log.
    pub fn is_followed(&self, now: TickMs) -> bool {
        let Role::Leader(leader) = &self.role else {
            return false;
        };
        let is_active = |observer: &Progress| {
            observer.last_fetch.is_some_and(|last| now.since(last) < OBSERVER_SESSION_MS)
        };
        !leader.voters.is_empty() || leader.observers.values().any(is_active)
    }

    /// `None` when this replica does not lead.
    pub fn describe(&self, now: TickMs) -> Option<Quorum> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let own = ReplicaState {
            replica: self.local(),
            end: Some(self.log.end()),
            last_fetch: None,
            last_caught_up: Some(now),
        };
        let state = |progress: &Progress| ReplicaState {
            replica: progress.replica,
            end: progress.end,
            last_fetch: progress.last_fetch,
            last_caught_up: progress.caught_up,
        };
        let mut voters: Vec<_> = leader.voters.values().map(state).collect();
        let active = |progress: &&Progress| {
            progress.last_fetch.is_some_and(|last_fetch| now.since(last_fetch) < OBSERVER_SESSION_MS)
        };
        let mut observers: Vec<_> = leader.observers.values().filter(active).map(state).collect();
        if self.is_voter() {
            voters.push(own)
        } else {
            observers.push(own)
        }
        voters.sort_by_key(|state| state.replica);
        Some(Quorum {
            leader: self.local().id,
            epoch: leader.epoch,
            high_watermark: leader.high_watermark,
            voters,
            observers,
            nodes: self
                .voters
                .latest()
                .iter()
                .map(|voter| (voter.replica.id, voter.endpoints.clone()))
                .collect(),
        })
    }
}
