//! Who may vote: replicas, the set of voters, and how that set changed along the log (KIP-853).

use std::collections::BTreeMap;
use std::fmt;

use dohle_types::{DirectoryId, NodeId, Offset};

/// A replica of the metadata log: a node, and the log directory it keeps the log in. A node that comes back with an empty disk
/// is another replica. An all-zero directory means that it is not known (`kraft.version` 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Replica {
    pub id: NodeId,
    pub directory: DirectoryId,
}

impl Replica {
    pub const fn new(id: NodeId, directory: DirectoryId) -> Self {
        Self { id, directory }
    }

    /// Whether `other` is this replica, as far as this replica's directory is known.
    pub fn is(self, other: Self) -> bool {
        self.id == other.id && (self.directory.is_zero() || self.directory == other.directory)
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.id, self.directory)
    }
}

/// Where a replica listens, under the listener's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// The levels of `kraft.version` a voter understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KRaftVersions {
    pub min: i16,
    pub max: i16,
}

impl KRaftVersions {
    /// What this crate understands.
    pub const SUPPORTED: Self = Self { min: 0, max: 1 };

    pub fn contains(self, level: i16) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

/// One member of the set of voters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    pub replica: Replica,
    pub endpoints: Vec<Endpoint>,
    pub kraft_versions: KRaftVersions,
}

/// The voters of the quorum. A majority of them elects leaders and commits records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet(BTreeMap<NodeId, Voter>);

impl VoterSet {
    pub fn new(voters: impl IntoIterator<Item = Voter>) -> Self {
        Self(voters.into_iter().map(|voter| (voter.replica.id, voter)).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many voters a majority is.
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    pub fn get(&self, id: NodeId) -> Option<&Voter> {
        self.0.get(&id)
    }

    pub fn contains(&self, replica: Replica) -> bool {
        self.0.get(&replica.id).is_some_and(|voter| voter.replica.is(replica))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.0.values()
    }

    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().copied()
    }

    /// The set with one voter more. `None` when a voter of that id is there.
    pub fn with(&self, voter: Voter) -> Option<Self> {
        if self.0.contains_key(&voter.replica.id) {
            return None;
        }
        let mut voters = self.0.clone();
        voters.insert(voter.replica.id, voter);
        Some(Self(voters))
    }

    /// The set without one voter. `None` when it is not there, or is the last.
    pub fn without(&self, replica: Replica) -> Option<Self> {
        if self.0.len() < 2 || self.0.get(&replica.id)?.replica != replica {
            return None;
        }
        let mut voters = self.0.clone();
        voters.remove(&replica.id);
        Some(Self(voters))
    }

    /// The set with one voter's endpoints and versions replaced. `None` when it is not there.
    pub fn updated(&self, voter: Voter) -> Option<Self> {
        if !self.contains(voter.replica) {
            return None;
        }
        let mut voters = self.0.clone();
        voters.insert(voter.replica.id, voter);
        Some(Self(voters))
    }
}

impl fmt::Display for VoterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, voter) in self.0.values().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, voter.replica)?;
        }
        f.write_str("]")
    }
}

/// The voter sets and `kraft.version` levels along the log, by the offset of the record that set them. What a snapshot ending at
/// `n` carries counts as set at `n - 1`, so the set of a bootstrap checkpoint has offset -1: it was never written to the log.
///
/// A set counts from the moment it is appended, committed or not; a truncation takes it back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterHistory {
    /// `controller.quorum.voters`: the voters while neither log nor snapshot names any.
    configured: VoterSet,
    sets: BTreeMap<Offset, VoterSet>,
    levels: BTreeMap<Offset, i16>,
}

impl VoterHistory {
    pub fn new(configured: VoterSet) -> Self {
        Self { configured, sets: BTreeMap::new(), levels: BTreeMap::new() }
    }

    pub fn latest(&self) -> &VoterSet {
        self.sets.last_key_value().map_or(&self.configured, |(_, set)| set)
    }

    /// The offset at which the latest set was written. `None` when it is the configured one.
    pub fn latest_offset(&self) -> Option<Offset> {
        self.sets.last_key_value().map(|(offset, _)| *offset)
    }

    /// The level of `kraft.version`; 0 until a record says otherwise.
    pub fn kraft_version(&self) -> i16 {
        self.levels.last_key_value().map_or(0, |(_, level)| *level)
    }

    pub fn record_voters(&mut self, offset: Offset, voters: VoterSet) {
        self.sets.insert(offset, voters);
    }

    pub fn record_kraft_version(&mut self, offset: Offset, level: i16) {
        self.levels.insert(offset, level);
    }

    /// What a snapshot that ends at `end` has to carry: the level, and the voters where the log names them.
    pub fn at(&self, end: Offset) -> (i16, Option<&VoterSet>) {
        let level = self.levels.range(..end).next_back().map_or(0, |(_, level)| *level);
        (level, self.sets.range(..end).next_back().map(|(_, set)| set))
    }

    /// Takes back what was set at `end` or above.
    pub fn truncate(&mut self, end: Offset) {
        self.sets.split_off(&end);
        self.levels.split_off(&end);
    }

    /// Forgets what no snapshot ending at `start` or above needs.
    pub fn trim(&mut self, start: Offset) {
        trim(&mut self.sets, start);
        trim(&mut self.levels, start);
    }

    /// Forgets everything that log and snapshots said.
    pub fn reset(&mut self) {
        self.sets.clear();
        self.levels.clear();
    }
}

/// Keeps the last entry below `start` and everything from there on.
fn trim<T>(entries: &mut BTreeMap<Offset, T>, start: Offset) {
    if let Some(first) = entries.range(..start).next_back().map(|(offset, _)| *offset) {
        *entries = entries.split_off(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(id: i32) -> Voter {
        Voter {
            replica: Replica::new(NodeId(id), DirectoryId::from_u128(1000 + id as u128)),
            endpoints: Vec::new(),
            kraft_versions: KRaftVersions::SUPPORTED,
        }
    }

    #[test]
    fn sets_change_by_one_voter_and_never_become_empty() {
        let one = VoterSet::new([voter(1)]);
        assert_eq!(one.without(voter(1).replica), None);
        let two = one.with(voter(2)).expect("2 is new");
        assert_eq!(two.with(voter(2)), None);
        assert_eq!(two.majority(), 2);
        assert_eq!(two.without(voter(2).replica), Some(one));
        let stranger = Replica::new(NodeId(2), DirectoryId::from_u128(77));
        assert!(!two.contains(stranger));
        assert_eq!(two.without(stranger), None);
    }

    #[test]
    fn history_follows_truncation_and_trimming() {
        let mut history = VoterHistory::new(VoterSet::new([voter(9)]));
        assert_eq!(history.latest(), &VoterSet::new([voter(9)]));
        assert_eq!(history.latest_offset(), None);
        history.record_voters(Offset(-1), VoterSet::new([voter(1)]));
        history.record_kraft_version(Offset(-1), 1);
        history.record_voters(Offset(10), VoterSet::new([voter(1), voter(2)]));
        history.record_voters(Offset(20), VoterSet::new([voter(1), voter(2), voter(3)]));
        assert_eq!(history.at(Offset(20)), (1, Some(&VoterSet::new([voter(1), voter(2)]))));
        history.truncate(Offset(20));
        assert_eq!(history.latest().len(), 2);
        history.trim(Offset(15));
        assert_eq!(history.latest_offset(), Some(Offset(10)));
        assert_eq!(history.kraft_version(), 1);
        history.trim(Offset(5));
        assert_eq!(history.latest().len(), 2);
    }
}
