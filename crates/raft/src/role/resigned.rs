//! Has led, and leads no more.

use std::collections::BTreeSet;

use dohle_types::{LeaderEpoch, NodeId, Offset};

use super::{Ballot, Prospective, Unattached};
use crate::event::TickMs;
use crate::voters::{Replica, VoterSet};

/// Tells the others that its epoch is over. Votes for nobody in it. A leader starts as this after a restart.
#[derive(Clone, Debug)]
pub struct Resigned {
    pub epoch: LeaderEpoch,
    pub election: TickMs,
    /// Who has not heard of it yet.
    pub unaware: BTreeSet<NodeId>,
    /// Who should follow it, best first.
    pub preferred: Vec<Replica>,
    pub high_watermark: Option<Offset>,
}

impl Resigned {
    /// The only voter has nobody to wait for: it stands for the next epoch.
    pub fn seek(self, local: Replica, voters: &VoterSet, election: TickMs) -> Prospective {
        Prospective {
            epoch: self.epoch,
            leader: None,
            voted: None,
            ballot: Ballot::new(voters, local),
            ask_from: TickMs(0),
            election,
            high_watermark: self.high_watermark,
        }
    }

    /// Nobody has taken over: takes part again, in the next epoch, where its vote is free.
    pub fn rejoin(self, election: TickMs) -> Unattached {
        Unattached {
            epoch: LeaderEpoch(self.epoch.0 + 1),
            leader: None,
            voted: None,
            election: Some(election),
            high_watermark: self.high_watermark,
        }
    }
}
