//! The roles of a replica, one type each. A transition consumes the old role; the table is in the crate's documentation.

mod ballot;
mod candidate;
mod follower;
mod leader;
mod prospective;
mod resigned;
mod unattached;

use dohle_types::{LeaderEpoch, NodeId, Offset};

pub use ballot::Ballot;
pub use candidate::Candidate;
pub use follower::{Follower, Source};
pub use leader::{ChangeKind, Leader, OBSERVER_SESSION_MS, Parked, PendingChange, Progress};
pub use prospective::Prospective;
pub use resigned::Resigned;
pub use unattached::Unattached;

use crate::event::{ElectionState, TickMs};
use crate::voters::Replica;

/// What a replica is in its epoch.
#[derive(Clone, Debug)]
pub enum Role {
    Unattached(Unattached),
    Prospective(Prospective),
    Candidate(Candidate),
    Leader(Box<Leader>),
    Follower(Follower),
    Resigned(Resigned),
}

impl Default for Role {
    fn default() -> Self {
        Self::Unattached(Unattached::default())
    }
}

/// A voter's wish for a vote, as far as the grant depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Plea {
    pub candidate: Replica,
    /// The candidate's log holds everything that ours can hold of what is committed.
    pub up_to_date: bool,
    pub pre_vote: bool,
}

impl Role {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unattached(_) => "unattached",
            Self::Prospective(_) => "prospective",
            Self::Candidate(_) => "candidate",
            Self::Leader(_) => "leader",
            Self::Follower(_) => "follower",
            Self::Resigned(_) => "resigned",
        }
    }

    pub fn epoch(&self) -> LeaderEpoch {
        match self {
            Self::Unattached(role) => role.epoch,
            Self::Prospective(role) => role.epoch,
            Self::Candidate(role) => role.epoch,
            Self::Leader(role) => role.epoch,
            Self::Follower(role) => role.epoch,
            Self::Resigned(role) => role.epoch,
        }
    }

    /// The leader of the epoch, where it is known. A leader that has resigned is none.
    pub fn leader(&self, local: NodeId) -> Option<NodeId> {
        match self {
            Self::Unattached(role) => role.leader,
            Self::Prospective(role) => role.leader,
            Self::Candidate(_) | Self::Resigned(_) => None,
            Self::Leader(_) => Some(local),
            Self::Follower(role) => Some(role.leader),
        }
    }

    pub fn high_watermark(&self) -> Option<Offset> {
        match self {
            Self::Unattached(role) => role.high_watermark,
            Self::Prospective(role) => role.high_watermark,
            Self::Candidate(role) => role.high_watermark,
            Self::Leader(role) => role.high_watermark,
            Self::Follower(role) => role.high_watermark,
            Self::Resigned(role) => role.high_watermark,
        }
    }

    /// What has to be remembered of the role. A leader, also one that has resigned, is remembered as such, so that after a
    /// restart it neither votes in its epoch nor leads it again: what it had written but not flushed may have been replicated.
    pub fn election(&self, local: Replica) -> ElectionState {
        let (leader, voted) = match self {
            Self::Unattached(role) => (role.leader, role.voted),
            Self::Prospective(role) => (role.leader, role.voted),
            Self::Candidate(_) => (None, Some(local)),
            Self::Leader(_) | Self::Resigned(_) => (Some(local.id), None),
            Self::Follower(role) => (Some(role.leader), role.voted),
        };
        ElectionState { epoch: self.epoch(), leader, voted }
    }

    /// Whether this role grants the vote in its own epoch.
    pub fn grants(&self, plea: Plea) -> bool {
        match self {
            Self::Unattached(role) => grants_undecided(role.leader, role.voted, plea),
            Self::Prospective(role) => grants_undecided(role.leader, role.voted, plea),
            // Its own vote is given.
            Self::Candidate(_) | Self::Resigned(_) => plea.pre_vote && plea.up_to_date,
            Self::Leader(_) => false,
            Self::Follower(role) => {
                if plea.pre_vote {
                    // A leader that answers us is reason enough to keep it.
                    plea.up_to_date && !role.heard_from_leader
                } else {
                    role.voted.is_some_and(|voted| voted.is(plea.candidate))
                }
            }
        }
    }

    /// Another epoch, of which nothing is known yet.
    pub fn into_unattached(self, epoch: LeaderEpoch, election: Option<TickMs>) -> Self {
        assert!(epoch > self.epoch(), "epochs only grow");
        // Whoever was about to stand for election keeps its patience: otherwise a replica that cannot win could keep the
        // others from ever trying.
        let pending = match &self {
            Self::Unattached(role) => role.election,
            Self::Prospective(role) => Some(role.election),
            Self::Candidate(role) => Some(role.election),
            Self::Resigned(role) => Some(role.election),
            Self::Leader(_) | Self::Follower(_) => None,
        };
        let high_watermark = self.high_watermark();
        let election = election.map(|fresh| pending.unwrap_or(fresh));
        Self::Unattached(Unattached { epoch, leader: None, voted: None, election, high_watermark })
    }

    /// The leader of this or a later epoch has become known.
    pub fn into_follower(self, leader: NodeId, epoch: LeaderEpoch, fetch_deadline: TickMs) -> Self {
        assert!(epoch >= self.epoch(), "epochs only grow");
        assert!(!matches!(&self, Self::Leader(role) if role.epoch == epoch), "an epoch has one leader");
        let voted = (epoch == self.epoch()).then(|| self.voted()).flatten();
        Self::Follower(Follower {
            epoch,
            leader,
            voted,
            fetch_deadline,
            high_watermark: self.high_watermark(),
            heard_from_leader: false,
            source: Source::Log,
        })
    }

    fn voted(&self) -> Option<Replica> {
        match self {
            Self::Unattached(role) => role.voted,
            Self::Prospective(role) => role.voted,
            Self::Follower(role) => role.voted,
            Self::Candidate(role) => Some(role.local),
            Self::Leader(_) | Self::Resigned(_) => None,
        }
    }
}

/// The rule for those who follow nobody: one vote in an epoch, to whom it was given, or to anyone whose log is up to date while
/// no leader is known.
fn grants_undecided(leader: Option<NodeId>, voted: Option<Replica>, plea: Plea) -> bool {
    if plea.pre_vote {
        plea.up_to_date
    } else if let Some(voted) = voted {
        voted.is(plea.candidate)
    } else {
        leader.is_none() && plea.up_to_date
    }
}
