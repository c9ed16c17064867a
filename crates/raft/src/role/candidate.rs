//! Stands for election.

use dohle_types::{LeaderEpoch, Offset};

use super::{Ballot, Leader, Prospective};
use crate::event::TickMs;
use crate::voters::{Replica, VoterSet};

/// Has opened an epoch, has voted for itself, and counts.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub epoch: LeaderEpoch,
    pub local: Replica,
    pub ballot: Ballot,
    pub election: TickMs,
    pub high_watermark: Option<Offset>,
}

impl Candidate {
    /// A majority has voted for it. The high watermark is not taken along: until a record of this epoch is committed, nothing
    /// proves that what an earlier leader had replicated is.
    pub fn win(self, start: Offset, voters: &VoterSet, check_quorum: TickMs, now: TickMs) -> Leader {
        assert!(self.ballot.is_won(), "a leader has a majority");
        Leader::new(self.epoch, self.local, start, self.ballot.granting(), voters, check_quorum, now)
    }

    /// Lost, or nobody won in time. Its vote in this epoch stays with itself.
    pub fn lose(self, voters: &VoterSet, ask_from: TickMs, election: TickMs) -> Prospective {
        Prospective {
            epoch: self.epoch,
            leader: None,
            voted: Some(self.local),
            ballot: Ballot::new(voters, self.local),
            ask_from,
            election,
            high_watermark: self.high_watermark,
        }
    }
}
