//! Copies a leader's log.

use dohle_types::{LeaderEpoch, NodeId, Offset};

use super::{Ballot, Prospective, Unattached};
use crate::event::TickMs;
use crate::shape::SnapshotId;
use crate::voters::{Replica, VoterSet};

/// Fetches from the leader of its epoch, voter or observer.
#[derive(Clone, Debug)]
pub struct Follower {
    pub epoch: LeaderEpoch,
    pub leader: NodeId,
    pub voted: Option<Replica>,
    /// When the leader counts as lost.
    pub fetch_deadline: TickMs,
    pub high_watermark: Option<Offset>,
    /// Whether a fetch has succeeded since it follows. While so, it helps nobody to replace the leader.
    pub heard_from_leader: bool,
    pub source: Source,
}

/// What a follower fetches from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Log,
    /// The log's part it needs is gone: a snapshot, of which the bytes below `position` are here.
    Snapshot {
        id: SnapshotId,
        position: u64,
    },
    /// The snapshot is complete and being put in place.
    Installing {
        id: SnapshotId,
    },
}

impl Follower {
    /// A voter has lost its leader.
    pub fn seek(self, local: Replica, voters: &VoterSet, election: TickMs) -> Prospective {
        Prospective {
            epoch: self.epoch,
            leader: Some(self.leader),
            voted: self.voted,
            ballot: Ballot::new(voters, local),
            ask_from: TickMs(0),
            election,
            high_watermark: self.high_watermark,
        }
    }

    /// An observer has lost its leader, and asks around for one.
    pub fn detach(self) -> Unattached {
        Unattached {
            epoch: self.epoch,
            leader: None,
            voted: self.voted,
            election: None,
            high_watermark: self.high_watermark,
        }
    }
}
