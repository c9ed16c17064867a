//! One change to one partition: from what should be to the record that says so, with the election that follows.
//!
//! Every change to a partition is made here, so that what must hold holds whoever asks: the leader is in the ISR or there is
//! none; nobody is in both ISR and ELR; a reassignment ends as soon as its new replicas are in sync.

use std::collections::BTreeSet;

use dohle_types::{DirectoryId, NodeId, PartitionIndex, TopicId};
use dohle_wire::messages::PartitionChangeRecord;

use super::reassignment;
use crate::MetadataVersion;
use crate::image::{LeaderRecovery, PartitionState, raw_ids};

/// `PartitionChangeRecord.leader` of a change that leaves the leader alone.
const NO_CHANGE: i32 = crate::image::NO_LEADER_CHANGE;

/// Who may become leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The preferred replica if it is in sync, whoever leads now.
    Preferred,
    /// The present leader as long as it can, else a replica in sync.
    Online,
    /// As `Online`, and a replica that is not in sync rather than none: what only the lost ones had is lost.
    Unclean,
}

/// What holds for the cluster while the change is made.
pub(super) struct Surroundings<'a> {
    pub version: MetadataVersion,
    pub elr_enabled: bool,
    pub min_isr: usize,
    /// Whether a replica may lead, as far as its broker goes; its directory must be online as well.
    pub may_lead: &'a dyn Fn(NodeId, DirectoryId) -> bool,
    /// Where a broker will put a new replica.
    pub default_dir: &'a dyn Fn(NodeId) -> DirectoryId,
}

/// A partition as it is, and as it should become. Starts out asking for nothing but a leader.
pub(super) struct PartitionChange<'a> {
    before: &'a PartitionState,
    around: &'a Surroundings<'a>,
    pub election: Election,
    pub isr: Vec<NodeId>,
    pub replicas: Vec<NodeId>,
    pub removing: Vec<NodeId>,
    pub adding: Vec<NodeId>,
    pub recovery: LeaderRecovery,
    /// Replicas that lost what was not flushed: they cannot be eligible any more.
    pub unclean_shutdown: Option<NodeId>,
    /// Where replicas are, or are to be. The last entry of a node counts.
    directories: Vec<(NodeId, DirectoryId)>,
    elr: Vec<NodeId>,
}

struct Elected {
    leader: NodeId,
    unclean: bool,
}

impl<'a> PartitionChange<'a> {
    pub fn new(before: &'a PartitionState, around: &'a Surroundings<'a>) -> Self {
        Self {
            before,
            around,
            election: Election::Online,
            isr: before.isr.to_vec(),
            replicas: before.replicas.to_vec(),
            removing: before.removing.to_vec(),
            adding: before.adding.to_vec(),
            recovery: before.leader_recovery,
            unclean_shutdown: None,
            directories: before.replicas.iter().copied().zip(before.directories.iter().copied()).collect(),
            elr: before.elr.to_vec(),
        }
    }

    pub fn set_directory(&mut self, replica: NodeId, directory: DirectoryId) {
        self.directories.push((replica, directory));
    }

    /// The record of the change, or `None` when it changes nothing.
    pub fn build(mut self, topic: TopicId, partition: PartitionIndex) -> Option<PartitionChangeRecord> {
        let mut record =
            PartitionChangeRecord { partition_id: partition.get(), topic_id: topic, ..Default::default() };
        let nothing = record.clone();
        self.complete_reassignment();
        self.fill_elr();
        self.elect(&mut record);
        self.raise_epoch_when_replicas_leave(&mut record);
        self.write_elr(&mut record);
        self.write_isr(&mut record);
        self.write_last_known_leader(&mut record);
        self.write_assignment(&mut record);
        if self.recovery != self.before.leader_recovery {
            record.leader_recovery_state = self.recovery.code();
        }
        (record != nothing).then_some(record)
    }

    fn complete_reassignment(&mut self) {
        if let Some(done) = reassignment::completed(&self.replicas, &self.removing, &self.adding, &self.isr) {
            self.isr = done.isr;
            self.replicas = done.replicas;
            self.removing.clear();
            self.adding.clear();
        }
    }

    /// Below `min.insync.replicas` nothing is committed, so that who leaves the ISR then holds everything that is.
    fn fill_elr(&mut self) {
        if !self.around.elr_enabled {
            return;
        }
        if self.isr.len() >= self.around.min_isr {
            self.elr.clear();
            return;
        }
        let candidates: BTreeSet<NodeId> = self.elr.iter().chain(self.before.isr.iter()).copied().collect();
        self.elr = candidates
            .into_iter()
            .filter(|replica| self.replicas.contains(replica) && !self.isr.contains(replica))
            .filter(|replica| self.unclean_shutdown != Some(*replica))
            .collect();
    }

    fn elect(&mut self, record: &mut PartitionChangeRecord) {
        let elected = match self.election {
            Election::Preferred => self.elect_preferred(),
            Election::Online | Election::Unclean => self.elect_any(),
        };
        if elected.leader == self.before.leader {
            return;
        }
        if self.elr.contains(&elected.leader) {
            self.isr = vec![elected.leader];
            self.elr.retain(|&replica| replica != elected.leader);
        }
        record.leader = elected.leader.get();
        if elected.unclean {
            record.isr = Some(vec![elected.leader.get()]);
            if self.before.leader_recovery != LeaderRecovery::Recovering {
                record.leader_recovery_state = LeaderRecovery::Recovering.code();
            }
        }
    }

    fn elect_preferred(&self) -> Elected {
        let preferred = self.replicas.first().copied();
        let clean = preferred.filter(|&replica| self.can_lead(replica)).or_else(|| self.keep_or_follow(1));
        clean.map_or_else(|| self.last_resort(), Elected::cleanly)
    }

    fn elect_any(&self) -> Elected {
        self.keep_or_follow(0).map_or_else(|| self.last_resort(), Elected::cleanly)
    }

    /// The present leader, or the first replica from `skip` on, if they are in sync and up.
    fn keep_or_follow(&self, skip: usize) -> Option<NodeId> {
        let present = Some(self.before.leader).filter(|&leader| self.can_lead(leader));
        present.or_else(|| self.replicas.iter().skip(skip).copied().find(|&replica| self.can_lead(replica)))
    }

    /// Nobody in sync is up: whoever led last if nobody else can know better, or anyone if that was asked for.
    fn last_resort(&self) -> Elected {
        if let Some(leader) = self.last_known_leader() {
            return Elected { leader, unclean: true };
        }
        let anyone = match self.election {
            Election::Unclean => self.replicas.iter().copied().find(|&replica| self.is_up(replica)),
            Election::Preferred | Election::Online => None,
        };
        match anyone {
            Some(leader) => Elected { leader, unclean: true },
            None => Elected::cleanly(NodeId::NONE),
        }
    }

    /// With ISR and ELR both empty, the last leader holds at least as much as anyone.
    fn last_known_leader(&self) -> Option<NodeId> {
        let nobody_left = self.isr.is_empty() && self.elr.is_empty();
        match self.before.last_known_elr[..] {
            [last] if self.around.elr_enabled && nobody_left && self.is_up(last) => Some(last),
            _ => None,
        }
    }

    fn can_lead(&self, replica: NodeId) -> bool {
        let in_sync = self.isr.contains(&replica) || (self.isr.is_empty() && self.elr.contains(&replica));
        in_sync && self.is_up(replica)
    }

    /// A node that holds no replica yet is never up: it has nothing to lead with.
    fn is_up(&self, replica: NodeId) -> bool {
        self.before.directory_of(replica).is_some_and(|directory| (self.around.may_lead)(replica, directory))
    }

    /// Replicas that left must notice that they are none any more.
    fn raise_epoch_when_replicas_leave(&self, record: &mut PartitionChangeRecord) {
        if record.leader == NO_CHANGE && !contains_all(&self.replicas, &self.before.replicas) {
            record.leader = self.before.leader.get();
        }
    }

    fn write_elr(&mut self, record: &mut PartitionChangeRecord) {
        let unclean = record.isr.is_some();
        if unclean || !self.around.elr_enabled {
            self.elr.clear();
        }
        if *self.elr != *self.before.elr {
            record.eligible_leader_replicas = Some(raw_ids(&self.elr));
        }
    }

    /// Without ELRs the last ISR stays when all of it is gone: one of them has to come back.
    fn write_isr(&self, record: &mut PartitionChangeRecord) {
        let may_be_written = !self.isr.is_empty() || self.around.elr_enabled;
        if record.isr.is_none() && may_be_written && *self.isr != *self.before.isr {
            record.isr = Some(raw_ids(&self.isr));
        }
        let shrinks = record
            .isr
            .as_ref()
            .is_some_and(|isr| !self.before.isr.iter().all(|replica| isr.contains(&replica.get())));
        if shrinks && record.leader == NO_CHANGE && self.around.version.isr_shrink_raises_leader_epoch() {
            record.leader = self.before.leader.get();
        }
    }

    fn write_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.around.elr_enabled {
            return;
        }
        let known = &self.before.last_known_elr;
        if record.leader == NodeId::NONE.get() && known.is_empty() && self.before.has_leader() {
            record.last_known_elr = Some(vec![self.before.leader.get()]);
        } else if record.leader >= 0 && !known.is_empty() {
            record.last_known_elr = Some(Vec::new());
        }
    }

    fn write_assignment(&self, record: &mut PartitionChangeRecord) {
        if !self.replicas.is_empty() {
            if self.around.version.directory_assignment_supported() {
                let known = |replica| self.directories.iter().rev().find(|(node, _)| *node == replica);
                let directory = |&replica: &NodeId| match known(replica) {
                    Some((_, directory)) => *directory,
                    None => (self.around.default_dir)(replica),
                };
                let directories = || self.replicas.iter().map(directory);
                if !directories().eq(self.before.directories.iter().copied()) {
                    record.directories = Some(directories().collect());
                }
            }
            if *self.replicas != *self.before.replicas {
                record.replicas = Some(raw_ids(&self.replicas));
            }
        }
        if *self.removing != *self.before.removing {
            record.removing_replicas = Some(raw_ids(&self.removing));
        }
        if *self.adding != *self.before.adding {
            record.adding_replicas = Some(raw_ids(&self.adding));
        }
    }
}

impl Elected {
    fn cleanly(leader: NodeId) -> Self {
        Self { leader, unclean: false }
    }
}

fn contains_all(set: &[NodeId], subset: &[NodeId]) -> bool {
    subset.iter().all(|node| set.contains(node))
}

#[cfg(test)]
mod tests {
    use dohle_types::{LeaderEpoch, Uuid};

    use super::*;

    const TOPIC: TopicId = Uuid::from_u128(4242);

    fn nodes(ids: &[i32]) -> crate::Few<NodeId> {
        crate::image::node_ids(ids)
    }

    fn partition(replicas: &[i32], isr: &[i32], leader: i32) -> PartitionState {
        PartitionState {
            replicas: nodes(replicas),
            directories: vec![crate::directory::UNASSIGNED; replicas.len()].into(),
            isr: nodes(isr),
            leader: NodeId(leader),
            leader_epoch: LeaderEpoch(5),
            partition_epoch: 9,
            ..Default::default()
        }
    }

    /// Makes the change `with` asks for while only the brokers `up` are, and returns the partition after it.
    fn change(
        before: &PartitionState,
        up: &[i32],
        min_isr: usize,
        elr_enabled: bool,
        with: impl FnOnce(&mut PartitionChange<'_>),
    ) -> PartitionState {
        let around = Surroundings {
            version: MetadataVersion::LATEST_PRODUCTION,
            elr_enabled,
            min_isr,
            may_lead: &|node, _| up.contains(&node.get()),
            default_dir: &|_| crate::directory::UNASSIGNED,
        };
        let mut change = PartitionChange::new(before, &around);
        with(&mut change);
        match change.build(TOPIC, PartitionIndex(0)) {
            Some(record) => before.merged(&record).expect("a change that fits"),
            None => before.clone(),
        }
    }

    #[test]
    fn the_leader_moves_to_a_replica_in_sync() {
        let before = partition(&[1, 2, 3], &[1, 3], 1);
        let after = change(&before, &[2, 3], 1, false, |c| c.isr = vec![NodeId(3)]);
        assert_eq!((after.leader, after.leader_epoch), (NodeId(3), LeaderEpoch(6)));
        assert_eq!(after.isr, nodes(&[3]));
    }

    #[test]
    fn without_elr_the_last_isr_stays_and_its_members_may_return() {
        let before = partition(&[1, 2], &[1], 1);
        let after = change(&before, &[2], 1, false, |c| c.isr = vec![]);
        assert_eq!((after.leader, &after.isr), (NodeId::NONE, &nodes(&[1])));
        let back = change(&after, &[1, 2], 1, false, |_| {});
        assert_eq!((back.leader, back.leader_recovery), (NodeId(1), LeaderRecovery::Recovered));
    }

    #[test]
    fn unclean_election_takes_anyone_and_says_so() {
        let before = partition(&[1, 2], &[1], 1);
        let after = change(&before, &[2], 1, false, |c| {
            c.isr = vec![];
            c.election = Election::Unclean;
        });
        assert_eq!((after.leader, &after.isr), (NodeId(2), &nodes(&[2])));
        assert_eq!(after.leader_recovery, LeaderRecovery::Recovering);
    }

    #[test]
    fn below_min_isr_replicas_become_eligible_and_can_lead_cleanly() {
        let before = partition(&[1, 2, 3], &[1, 2], 1);
        let shrunk = change(&before, &[1, 3], 2, true, |c| c.isr = vec![NodeId(1)]);
        assert_eq!((&shrunk.isr, &shrunk.elr), (&nodes(&[1]), &nodes(&[2])));
        let gone = change(&shrunk, &[3], 2, true, |c| c.isr = vec![]);
        assert_eq!(
            (gone.leader, &gone.elr, &gone.last_known_elr),
            (NodeId::NONE, &nodes(&[1, 2]), &nodes(&[1]))
        );
        let back = change(&gone, &[2, 3], 2, true, |_| {});
        assert_eq!((back.leader, &back.isr, &back.elr), (NodeId(2), &nodes(&[2]), &nodes(&[1])));
        assert_eq!((back.leader_recovery, back.last_known_elr.len()), (LeaderRecovery::Recovered, 0));
    }

    #[test]
    fn an_unclean_shutdown_ends_eligibility_and_the_last_leader_is_the_last_resort() {
        let mut before = partition(&[1, 2], &[], -1);
        before.elr = nodes(&[1]);
        before.last_known_elr = nodes(&[1]);
        let after = change(&before, &[2], 2, true, |c| c.unclean_shutdown = Some(NodeId(1)));
        assert_eq!((after.leader, &after.elr), (NodeId::NONE, &nodes(&[])));
        let back = change(&after, &[1, 2], 2, true, |_| {});
        assert_eq!((back.leader, back.leader_recovery), (NodeId(1), LeaderRecovery::Recovering));
    }

    #[test]
    fn a_reassignment_ends_when_its_replicas_are_in_sync() {
        let mut before = partition(&[3, 4, 1, 2], &[1, 2], 1);
        before.adding = nodes(&[3, 4]);
        before.removing = nodes(&[1, 2]);
        let halfway = change(&before, &[1, 2, 3, 4], 1, false, |c| c.isr = nodes(&[1, 2, 3]).to_vec());
        assert!(halfway.is_reassigning());
        let done = change(&halfway, &[1, 2, 3, 4], 1, false, |c| c.isr = nodes(&[1, 2, 3, 4]).to_vec());
        assert_eq!((&done.replicas, &done.isr, done.leader), (&nodes(&[3, 4]), &nodes(&[3, 4]), NodeId(3)));
        assert!(!done.is_reassigning());
    }
}
