//! Asks whether an election could be won, before disturbing anyone with a new epoch (pre-vote, KIP-996).

use dohle_types::{LeaderEpoch, NodeId, Offset};

use super::{Ballot, Candidate, Role, Unattached};
use crate::event::TickMs;
use crate::voters::{Replica, VoterSet};

/// Counts pre-votes in its present epoch. Nothing of it is remembered: the vote given in the epoch, if any, stands.
#[derive(Clone, Debug)]
pub struct Prospective {
    pub epoch: LeaderEpoch,
    /// The leader it may have to go back to.
    pub leader: Option<NodeId>,
    pub voted: Option<Replica>,
    pub ballot: Ballot,
    /// When it starts asking: at once, or after a pause if it has just lost an election.
    pub ask_from: TickMs,
    pub election: TickMs,
    pub high_watermark: Option<Offset>,
}

impl Prospective {
    /// Gives the vote of this epoch away; the search goes on.
    pub fn vote_for(self, candidate: Replica, election: TickMs) -> Unattached {
        assert!(self.voted.is_none(), "one vote in an epoch");
        Unattached {
            epoch: self.epoch,
            leader: self.leader,
            voted: Some(candidate),
            election: Some(election),
            high_watermark: self.high_watermark,
        }
    }

    /// Stands for election in the next epoch.
    pub fn stand(self, local: Replica, voters: &VoterSet, election: TickMs) -> Candidate {
        assert!(self.ballot.is_won(), "only who can win stands for election");
        Candidate {
            epoch: LeaderEpoch(self.epoch.0 + 1),
            local,
            ballot: Ballot::new(voters, local),
            election,
            high_watermark: self.high_watermark,
        }
    }

    /// The others do not want a new leader: back to the one that is known, or to waiting.
    pub fn give_up(self, election: TickMs, fetch_deadline: TickMs) -> Role {
        match self.leader {
            Some(leader) => {
                let epoch = self.epoch;
                Role::Prospective(self).into_follower(leader, epoch, fetch_deadline)
            }
            None => Role::Unattached(Unattached {
                epoch: self.epoch,
                leader: None,
                voted: self.voted,
                election: Some(election),
                high_watermark: self.high_watermark,
            }),
        }
    }
}
