//! Leads the quorum.

use std::collections::{BTreeMap, BTreeSet};

use dohle_types::{LeaderEpoch, NodeId, Offset};

use super::Resigned;
use crate::event::{TickMs, Ticket};
use crate::message::FetchRequest;
use crate::voters::{Endpoint, Replica, VoterSet};

/// After this long without a fetch an observer is forgotten.
pub const OBSERVER_SESSION_MS: u64 = 300_000;
/// How many observers are tracked; further ones are served without being listed.
pub const MAX_OBSERVERS: usize = 10_000;

/// What the leader knows of one other replica.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub replica: Replica,
    /// The end of its log, all of it on its disk. `None` until it has fetched.
    pub end: Option<Offset>,
    pub last_fetch: Option<TickMs>,
    /// When it had last fetched everything there was.
    pub caught_up: Option<TickMs>,
    /// The leader's end at its last fetch.
    leader_end: Offset,
    /// Whether it knows who leads.
    pub acknowledged: bool,
}

impl Progress {
    fn new(replica: Replica) -> Self {
        Self {
            replica,
            end: None,
            last_fetch: None,
            caught_up: None,
            leader_end: Offset::NONE,
            acknowledged: false,
        }
    }

    fn fetched(&mut self, from: Offset, leader_end: Offset, now: TickMs) {
        if from >= leader_end {
            self.caught_up = Some(now);
        } else if self.leader_end > Offset::ZERO && from >= self.leader_end {
            self.caught_up = self.last_fetch;
        }
        self.end = Some(from);
        self.leader_end = leader_end;
        self.last_fetch = Some(now);
        self.acknowledged = true;
    }
}

/// A fetch that waits for something to fetch.
#[derive(Clone, Debug)]
pub struct Parked {
    pub ticket: Ticket,
    pub request: FetchRequest,
    pub deadline: TickMs,
}

/// A change of the voters under way. There is at most one.
#[derive(Clone, Debug)]
pub struct PendingChange {
    pub ticket: Ticket,
    pub kind: ChangeKind,
    pub deadline: TickMs,
    /// The offset of the record that makes it so, once written.
    pub written: Option<Offset>,
}

#[derive(Clone, Debug)]
pub enum ChangeKind {
    Add { voter: Replica, endpoints: Vec<Endpoint>, ack_when_committed: bool },
    Remove,
}

/// Appends, counts who has what, and knows what is committed.
#[derive(Clone, Debug)]
pub struct Leader {
    pub epoch: LeaderEpoch,
    pub local: Replica,
    /// Where its epoch starts. Nothing is committed until something from here on is.
    pub start: Offset,
    pub granting: Vec<Replica>,
    pub high_watermark: Option<Offset>,
    /// The other voters.
    pub voters: BTreeMap<NodeId, Progress>,
    pub observers: BTreeMap<Replica, Progress>,
    /// Voters that have fetched since the deadline was last moved.
    pub heard: BTreeSet<NodeId>,
    /// When it gives up, having heard of no majority.
    pub check_quorum: TickMs,
    /// When voters that do not fetch are told again who leads.
    pub announce_at: TickMs,
    pub parked: Vec<Parked>,
    pub change: Option<PendingChange>,
    /// It has been voted out, and leaves once that is committed.
    pub resigning: bool,
}

impl Leader {
    pub(super) fn new(
        epoch: LeaderEpoch,
        local: Replica,
        start: Offset,
        granting: Vec<Replica>,
        voters: &VoterSet,
        check_quorum: TickMs,
        now: TickMs,
    ) -> Self {
        let mut leader = Self {
            epoch,
            local,
            start,
            granting,
            high_watermark: None,
            voters: BTreeMap::new(),
            observers: BTreeMap::new(),
            heard: BTreeSet::new(),
            check_quorum,
            announce_at: now,
            parked: Vec::new(),
            change: None,
            resigning: false,
        };
        leader.set_voters(voters);
        leader
    }

    /// Steps down, and names who should follow: those with the most of the log first.
    pub fn resign(self, election: TickMs) -> Resigned {
        let mut voters: Vec<_> = self.voters.values().collect();
        voters.sort_by_key(|progress| std::cmp::Reverse(progress.end));
        Resigned {
            epoch: self.epoch,
            election,
            unaware: self.voters.keys().copied().collect(),
            preferred: voters.iter().map(|progress| progress.replica).collect(),
            high_watermark: self.high_watermark,
        }
    }

    /// The set of voters is another: replicas keep their progress when they change sides.
    pub fn set_voters(&mut self, voters: &VoterSet) {
        let mut old = std::mem::take(&mut self.voters);
        for voter in voters.iter().filter(|voter| voter.replica.id != self.local.id) {
            let id = voter.replica.id;
            let known = match old.remove(&id) {
                Some(progress) if voter.replica.is(progress.replica) => Some(progress),
                other => {
                    old.extend(other.map(|progress| (id, progress)));
                    self.observers.remove(&voter.replica)
                }
            };
            let mut progress = known.unwrap_or_else(|| Progress::new(voter.replica));
            progress.replica = voter.replica;
            self.voters.insert(id, progress);
        }
        self.observers.extend(old.into_values().map(|progress| (progress.replica, progress)));
    }

    pub fn progress(&self, replica: Replica) -> Option<&Progress> {
        match self.voters.get(&replica.id) {
            Some(progress) if progress.replica.is(replica) => Some(progress),
            _ => self.observers.get(&replica),
        }
    }

    /// Notes a fetch: the replica has everything below `from` on its disk.
    pub fn note_fetch(&mut self, replica: Replica, from: Offset, leader_end: Offset, now: TickMs) {
        if let Some(progress) = self.voters.get_mut(&replica.id)
            && progress.replica.is(replica)
        {
            progress.fetched(from, leader_end, now);
            return;
        }
        self.observers.retain(|_, progress| {
            progress.last_fetch.is_none_or(|last_fetch| now.since(last_fetch) < OBSERVER_SESSION_MS)
        });
        if self.observers.len() < MAX_OBSERVERS || self.observers.contains_key(&replica) {
            self.observers
                .entry(replica)
                .or_insert_with(|| Progress::new(replica))
                .fetched(from, leader_end, now);
        }
    }

    /// Notes that a voter is alive; moves the deadline when a majority is. `leads` says whether the leader counts itself.
    pub fn note_heard(&mut self, replica: Replica, counts_itself: bool, deadline: TickMs) {
        if self.voters.get(&replica.id).is_some_and(|progress| progress.replica.is(replica)) {
            self.heard.insert(replica.id);
        }
        let voters = self.voters.len() + usize::from(counts_itself);
        let needed = voters / 2 + 1 - usize::from(counts_itself);
        if self.heard.len() >= needed {
            self.heard.clear();
            self.check_quorum = deadline;
        }
    }

    /// What a majority of the voters has on disk, and with it the new high watermark if it is one.
    pub fn majority_end(&self, voters: &VoterSet, own_flushed: Offset) -> Option<Offset> {
        let mut ends: Vec<Option<Offset>> = voters
            .iter()
            .map(|voter| {
                if voter.replica.is(self.local) {
                    Some(own_flushed)
                } else {
                    self.voters.get(&voter.replica.id).and_then(|progress| progress.end)
                }
            })
            .collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let end = ends.get(voters.majority() - 1).copied().flatten()?;
        (end > self.start && self.high_watermark.is_none_or(|old| end > old)).then_some(end)
    }
}
