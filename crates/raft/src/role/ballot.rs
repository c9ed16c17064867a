//! Counting votes.

use std::collections::BTreeSet;

use dohle_types::NodeId;

use crate::voters::{Replica, VoterSet};

/// The votes of one election. The replica that holds it has voted for itself.
#[derive(Clone, Debug)]
pub struct Ballot {
    voters: Vec<Replica>,
    granted: BTreeSet<NodeId>,
    rejected: BTreeSet<NodeId>,
}

impl Ballot {
    pub fn new(voters: &VoterSet, local: Replica) -> Self {
        Self {
            voters: voters.iter().map(|voter| voter.replica).collect(),
            granted: BTreeSet::from([local.id]),
            rejected: BTreeSet::new(),
        }
    }

    /// Notes an answer. A grant stays one: an answer can arrive twice, and late.
    pub fn record(&mut self, voter: NodeId, granted: bool) {
        if !self.voters.iter().any(|replica| replica.id == voter) {
            return;
        }
        if granted {
            self.rejected.remove(&voter);
            self.granted.insert(voter);
        } else if !self.granted.contains(&voter) {
            self.rejected.insert(voter);
        }
    }

    fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    pub fn is_won(&self) -> bool {
        self.granted.len() >= self.majority()
    }

    /// Whether those who have not answered no longer matter.
    pub fn is_lost(&self) -> bool {
        self.voters.len() - self.rejected.len() < self.majority()
    }

    pub fn unanswered(&self) -> Vec<Replica> {
        let open = |id: &NodeId| !self.granted.contains(id) && !self.rejected.contains(id);
        self.voters.iter().copied().filter(|replica| open(&replica.id)).collect()
    }

    pub fn granting(&self) -> Vec<Replica> {
        self.voters.iter().copied().filter(|replica| self.granted.contains(&replica.id)).collect()
    }
}
