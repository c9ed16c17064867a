//! The invariants, by name. They are told what happens and panic when it must not.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use dohle_raft::{Body, Entry};
use dohle_types::{LeaderEpoch, NodeId, Offset};

/// How often something worth testing has happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    pub kills: u64,
    pub elections: u64,
    pub resignations: u64,
    pub truncations: u64,
    pub acknowledged: u64,
    pub snapshots: u64,
    pub snapshots_installed: u64,
    pub voters_changed: u64,
}

impl Marks {
    pub fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.elections += other.elections;
        self.resignations += other.resignations;
        self.truncations += other.truncations;
        self.acknowledged += other.acknowledged;
        self.snapshots += other.snapshots;
        self.snapshots_installed += other.snapshots_installed;
        self.voters_changed += other.voters_changed;
    }
}

#[derive(Default)]
pub struct Checker {
    pub marks: Marks,
    leaders: HashMap<LeaderEpoch, NodeId>,
    epochs: HashMap<NodeId, LeaderEpoch>,
    /// The committed entries by base offset: their end and what they hold.
    committed: BTreeMap<Offset, (Offset, u64)>,
    /// The state after each of them.
    states: HashMap<Offset, u64>,
}

/// What an entry is, wherever it is stored and however it is encoded.
fn identity(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (entry.epoch, entry.base_offset, entry.records).hash(&mut hasher);
    format!("{:?}", entry.control()).hash(&mut hasher);
    match &entry.body {
        Body::Encoded { bytes, control } if control.is_empty() => bytes.hash(&mut hasher),
        Body::Encoded { .. } | Body::Control(_) => {}
    }
    hasher.finish()
}

/// The state of a state machine after one more entry.
pub fn apply(state: u64, entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (state, identity(entry)).hash(&mut hasher);
    hasher.finish()
}

impl Checker {
    /// `NeverTwoLeadersInSameEpoch`, and every committed entry is in a new leader's log.
    pub fn became_leader(&mut self, node: NodeId, epoch: LeaderEpoch, start: Offset) {
        self.marks.elections += 1;
        let earlier = self.leaders.insert(epoch, node);
        assert_eq!(earlier, None, "NeverTwoLeadersInSameEpoch: node {node} in epoch {epoch}");
        let committed = self.committed_end();
        assert!(
            start >= committed,
            "AcknowledgedIsKept: {node} leads from {start}, committed is {committed}"
        );
    }

    /// `SingleLeader`: whoever names a leader of an epoch names the same.
    pub fn names_leader(&self, node: NodeId, epoch: LeaderEpoch, leader: Option<NodeId>) {
        if let Some(leader) = leader {
            assert_eq!(self.leaders.get(&epoch), Some(&leader), "SingleLeader: node {node} in epoch {epoch}");
        }
    }

    /// `MonotonicEpoch`.
    pub fn is_in_epoch(&mut self, node: NodeId, epoch: LeaderEpoch) {
        let before = self.epochs.insert(node, epoch).unwrap_or(epoch);
        assert!(epoch >= before, "MonotonicEpoch: node {node} falls from {before} to {epoch}");
    }

    /// `MonotonicHighWatermark`.
    pub fn announces(&self, node: NodeId, before: Offset, to: Offset, end: Offset) {
        assert!(to > before, "MonotonicHighWatermark: node {node} falls from {before} to {to}");
        assert!(to <= end, "MonotonicHighWatermark: node {node} commits {to} beyond its end {end}");
    }

    /// `CommittedDataConsistent`.
    pub fn commits(&mut self, node: NodeId, entry: &Entry, state: u64) {
        let held = self.committed.entry(entry.base_offset).or_insert((entry.next_offset(), identity(entry)));
        let same = *held == (entry.next_offset(), identity(entry));
        assert!(same, "CommittedDataConsistent: node {node}: {entry:?}, elsewhere up to {}", held.0);
        let known = *self.states.entry(entry.next_offset()).or_insert(state);
        assert_eq!(known, state, "CommittedDataConsistent: node {node} at {}", entry.next_offset());
    }

    pub fn installs(&mut self, node: NodeId, end: Offset, state: u64) {
        self.marks.snapshots_installed += 1;
        assert_eq!(
            self.states.get(&end),
            Some(&state),
            "CommittedDataConsistent: snapshot {end} at node {node}"
        );
    }

    pub fn committed_end(&self) -> Offset {
        self.committed.last_key_value().map_or(Offset::ZERO, |(_, (end, _))| *end)
    }

    /// Something was acknowledged to whoever proposed it.
    pub fn acknowledges(&mut self, entry: &Entry) {
        self.marks.acknowledged += 1;
        let held = self.committed.get(&entry.base_offset);
        assert_eq!(
            held.map(|held| held.1),
            Some(identity(entry)),
            "AcknowledgedIsKept: {}",
            entry.base_offset
        );
    }
}
