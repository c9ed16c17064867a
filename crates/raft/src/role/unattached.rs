//! In an epoch, with no leader to follow.

use dohle_types::{LeaderEpoch, NodeId, Offset};

use super::{Ballot, Prospective};
use crate::event::TickMs;
use crate::voters::{Replica, VoterSet};

/// Waits for a leader, or until it is time to look for one. Remembers its vote. An observer never tires of waiting: it asks.
#[derive(Clone, Debug, Default)]
pub struct Unattached {
    pub epoch: LeaderEpoch,
    /// Known from the past, but given up on.
    pub leader: Option<NodeId>,
    pub voted: Option<Replica>,
    /// When to stand for election. `None` for an observer.
    pub election: Option<TickMs>,
    pub high_watermark: Option<Offset>,
}

impl Unattached {
    /// Gives the vote of this epoch away, and waits anew: the candidate is as good as we are.
    pub fn vote_for(self, candidate: Replica, election: TickMs) -> Self {
        assert!(self.voted.is_none(), "one vote in an epoch");
        Self { voted: Some(candidate), election: Some(election), ..self }
    }

    /// Asks around whether an election could be won.
    pub fn seek(self, local: Replica, voters: &VoterSet, election: TickMs) -> Prospective {
        Prospective {
            epoch: self.epoch,
            leader: self.leader,
            voted: self.voted,
            ballot: Ballot::new(voters, local),
            ask_from: TickMs(0),
            election,
            high_watermark: self.high_watermark,
        }
    }
}
