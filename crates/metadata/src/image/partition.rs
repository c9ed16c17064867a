//! One partition: who keeps it, who leads it, and how often either changed.

use dohle_types::{DirectoryId, LeaderEpoch, NodeId, PartitionIndex, TopicId};
use dohle_wire::messages::{PartitionChangeRecord, PartitionRecord};

use super::{Few, node_ids, raw_ids};
use crate::MetadataVersion;
use crate::directory;

/// `PartitionChangeRecord.leader` of a change that leaves the leader and its epoch alone.
pub(crate) const NO_LEADER_CHANGE: i32 = -2;
/// `PartitionChangeRecord.leader_recovery_state` of a change that leaves it alone.
pub(crate) const NO_RECOVERY_CHANGE: i8 = -1;

/// Whether the leader still repairs what an unclean election may have broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderRecovery {
    #[default]
    Recovered,
    Recovering,
}

impl LeaderRecovery {
    pub const fn code(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }
}

/// One partition. The lists are [`Few`]: a partition that nobody asks for should cost little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionState {
    /// In order of preference; the first is the preferred leader.
    pub replicas: Few<NodeId>,
    /// The directory of each replica, in the order of `replicas`.
    pub directories: Few<DirectoryId>,
    pub isr: Few<NodeId>,
    /// Replicas that hold everything committed although they left the ISR (KIP-966). Never in the ISR.
    pub elr: Few<NodeId>,
    /// Who led when both ISR and ELR ran empty.
    pub last_known_elr: Few<NodeId>,
    /// Replicas that an unfinished reassignment takes away.
    pub removing: Few<NodeId>,
    /// Replicas that an unfinished reassignment brings.
    pub adding: Few<NodeId>,
    /// `NodeId::NONE` when there is none.
    pub leader: NodeId,
    pub leader_recovery: LeaderRecovery,
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change.
    pub partition_epoch: i32,
}

impl PartitionState {
    pub fn has_leader(&self) -> bool {
        self.leader != NodeId::NONE
    }

    pub fn preferred_leader(&self) -> NodeId {
        self.replicas.first().copied().unwrap_or(NodeId::NONE)
    }

    pub fn is_reassigning(&self) -> bool {
        !self.removing.is_empty() || !self.adding.is_empty()
    }

    /// Where `replica` keeps the partition; `None` for a node that is no replica.
    pub fn directory_of(&self, replica: NodeId) -> Option<DirectoryId> {
        self.replicas.iter().position(|&node| node == replica).map(|at| self.directories[at])
    }

    pub(super) fn from_record(record: &PartitionRecord) -> Result<Self, String> {
        if !record.directories.is_empty() && record.directories.len() != record.replicas.len() {
            return Err(counts_differ(record.topic_id, record.partition_id));
        }
        Ok(Self {
            replicas: node_ids(&record.replicas),
            directories: directory::or_migrating(&record.directories, record.replicas.len()),
            isr: node_ids(&record.isr),
            elr: node_ids(record.eligible_leader_replicas.as_deref().unwrap_or(&[])),
            last_known_elr: node_ids(record.last_known_elr.as_deref().unwrap_or(&[])),
            removing: node_ids(&record.removing_replicas),
            adding: node_ids(&record.adding_replicas),
            leader: NodeId(record.leader),
            leader_recovery: recovery(record.leader_recovery_state)?,
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
        })
    }

    /// The partition after a change.
    pub(crate) fn merged(&self, change: &PartitionChangeRecord) -> Result<Self, String> {
        let or_before = |new: &Option<Vec<i32>>, before: &[NodeId]| match new {
            Some(ids) => node_ids(ids),
            None => Few::from(before),
        };
        let replicas = or_before(&change.replicas, &self.replicas);
        let directories = change.directories.as_deref().unwrap_or(&self.directories);
        let directories = directory::or_migrating(directories, replicas.len());
        if directories.len() != replicas.len() {
            return Err(counts_differ(change.topic_id, change.partition_id));
        }
        let (leader, leader_epoch) = match change.leader {
            NO_LEADER_CHANGE => (self.leader, self.leader_epoch),
            leader => (NodeId(leader), LeaderEpoch(next_epoch(self.leader_epoch.get())?)),
        };
        Ok(Self {
            replicas,
            directories,
            isr: or_before(&change.isr, &self.isr),
            elr: or_before(&change.eligible_leader_replicas, &self.elr),
            last_known_elr: or_before(&change.last_known_elr, &self.last_known_elr),
            removing: or_before(&change.removing_replicas, &self.removing),
            adding: or_before(&change.adding_replicas, &self.adding),
            leader,
            leader_recovery: match change.leader_recovery_state {
                NO_RECOVERY_CHANGE => self.leader_recovery,
                code => recovery(code)?,
            },
            leader_epoch,
            partition_epoch: next_epoch(self.partition_epoch)?,
        })
    }

    /// The partition as far as `version` can say it.
    pub(crate) fn to_record(
        &self,
        topic_id: TopicId,
        partition: PartitionIndex,
        version: MetadataVersion,
    ) -> PartitionRecord {
        let elr = |ids: &[NodeId]| (version.elr_supported() && !ids.is_empty()).then(|| raw_ids(ids));
        PartitionRecord {
            partition_id: partition.get(),
            topic_id,
            replicas: raw_ids(&self.replicas),
            isr: raw_ids(&self.isr),
            removing_replicas: raw_ids(&self.removing),
            adding_replicas: raw_ids(&self.adding),
            leader: self.leader.get(),
            leader_recovery_state: self.leader_recovery.code(),
            leader_epoch: self.leader_epoch.get(),
            partition_epoch: self.partition_epoch,
            directories: match version.directory_assignment_supported() {
                true => self.directories.to_vec(),
                false => Vec::new(),
            },
            eligible_leader_replicas: elr(&self.elr),
            last_known_elr: elr(&self.last_known_elr),
            ..Default::default()
        }
    }
}

fn recovery(code: i8) -> Result<LeaderRecovery, String> {
    LeaderRecovery::from_code(code).ok_or_else(|| format!("{code} is no leader recovery state"))
}

fn next_epoch(epoch: i32) -> Result<i32, String> {
    epoch.checked_add(1).ok_or_else(|| "an epoch of a partition is exhausted".to_owned())
}

fn counts_differ(topic: TopicId, partition: i32) -> String {
    format!("partition {topic}-{partition} has another number of directories than of replicas")
}
