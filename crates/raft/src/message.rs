//! What replicas say to each other and what tools ask of them, free of any wire version. The shell translates.

use bytes::Bytes;
use dohle_types::{ErrorCode, LeaderEpoch, NodeId, Offset};

use crate::shape::{LogPoint, SnapshotId};
use crate::voters::{Endpoint, KRaftVersions, Replica, VoterSet};

/// One batch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub base_offset: Offset,
    pub epoch: LeaderEpoch,
    /// How many offsets it takes.
    pub records: u32,
    pub body: Body,
}

impl Entry {
    pub fn next_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.records))
    }

    pub fn control(&self) -> &[ControlRecord] {
        match &self.body {
            Body::Encoded { control, .. } | Body::Control(control) => control,
        }
    }
}

/// What a batch holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The whole batch as it is stored, and its control records where it is a control batch.
    Encoded { bytes: Bytes, control: Vec<ControlRecord> },
    /// Records of the quorum's own, which the shell still has to encode.
    Control(Vec<ControlRecord>),
}

/// The records that the quorum writes for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    LeaderChange(LeaderChange),
    KRaftVersion(i16),
    Voters(VoterSet),
    /// Of no meaning for the quorum; takes its offset.
    Other,
}

/// The first record of every epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderChange {
    pub leader: NodeId,
    pub voters: Vec<Replica>,
    pub granting: Vec<Replica>,
}

/// What is asked of a replica, or by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Vote(VoteRequest),
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    EndQuorumEpoch(EndQuorumEpochRequest),
    Fetch(FetchRequest),
    FetchSnapshot(FetchSnapshotRequest),
    AddVoter(AddVoterRequest),
    RemoveVoter(RemoveVoterRequest),
    UpdateVoter(UpdateVoterRequest),
    /// Only ever sent: asks a voter to be which levels of `kraft.version` it understands.
    ApiVersions,
}

/// The answers, in the order of [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The request was turned away before it was looked at: the error at the top of any response.
    Rejected(ErrorCode),
    Vote {
        standing: Standing,
        granted: bool,
    },
    BeginQuorumEpoch(Standing),
    EndQuorumEpoch(Standing),
    Fetch(FetchResponse),
    FetchSnapshot(FetchSnapshotResponse),
    AddVoter(ChangeResult),
    RemoveVoter(ChangeResult),
    UpdateVoter(Standing),
    /// `None` when the node does not name `kraft.version`.
    ApiVersions(Option<KRaftVersions>),
}

/// What every answer tells of the quorum, with the error of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub error: ErrorCode,
    pub leader: Option<NodeId>,
    pub epoch: LeaderEpoch,
    /// Where the leader listens; empty when not known.
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteRequest {
    pub cluster_id: Option<String>,
    /// Whom it is meant for, where the sender says so.
    pub voter: Option<Replica>,
    pub candidate: Replica,
    pub epoch: LeaderEpoch,
    /// The end of the candidate's log.
    pub last: LogPoint,
    /// Asks only whether a vote would be granted (KIP-996).
    pub pre_vote: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginQuorumEpochRequest {
    pub cluster_id: Option<String>,
    pub voter: Option<Replica>,
    pub leader: NodeId,
    pub epoch: LeaderEpoch,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndQuorumEpochRequest {
    pub cluster_id: Option<String>,
    pub leader: NodeId,
    pub epoch: LeaderEpoch,
    /// Who should stand for election, best first.
    pub preferred: Vec<Replica>,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    pub cluster_id: Option<String>,
    /// `NodeId::NONE` for a reader that is no replica.
    pub replica: Replica,
    pub epoch: LeaderEpoch,
    /// The end of the asker's log: everything below is on its disk.
    pub from: LogPoint,
    pub max_wait_ms: u32,
    pub max_bytes: u32,
    /// The high watermark the asker knows. A newer one is news enough to answer at once (KIP-1166); `None` from those who
    /// do not say.
    pub high_watermark: Option<Offset>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchResponse {
    pub standing: Standing,
    pub high_watermark: Option<Offset>,
    pub log_start: Offset,
    pub fetched: Fetched,
}

/// What a fetch brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    Nothing,
    /// Said by a leader to its shell: fill in the log from here on.
    ReadFrom {
        offset: Offset,
        max_bytes: u32,
    },
    /// What arrives at the other end.
    Entries(Vec<Entry>),
    Diverging(LogPoint),
    Snapshot(SnapshotId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSnapshotRequest {
    pub cluster_id: Option<String>,
    pub replica: Replica,
    pub epoch: LeaderEpoch,
    pub id: SnapshotId,
    pub position: u64,
    pub max_bytes: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSnapshotResponse {
    pub standing: Standing,
    pub id: SnapshotId,
    pub chunk: Chunk,
}

/// A part of a snapshot's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    Nothing,
    /// Said by a leader to its shell: fill in the file from here on, or the error that there is no such file or position.
    ReadFrom {
        position: u64,
        max_bytes: u32,
    },
    /// What arrives at the other end.
    Bytes {
        position: u64,
        size: u64,
        bytes: Bytes,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddVoterRequest {
    pub cluster_id: Option<String>,
    pub voter: Replica,
    pub endpoints: Vec<Endpoint>,
    /// Answer after the new set is committed, not already when it is written.
    pub ack_when_committed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveVoterRequest {
    pub cluster_id: Option<String>,
    pub voter: Replica,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateVoterRequest {
    pub cluster_id: Option<String>,
    pub epoch: LeaderEpoch,
    pub voter: Replica,
    pub endpoints: Vec<Endpoint>,
    pub kraft_versions: KRaftVersions,
}

/// How a change of the voters went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeResult {
    pub error: ErrorCode,
    pub message: Option<String>,
}

impl ChangeResult {
    pub(crate) fn done() -> Self {
        Self { error: ErrorCode::None, message: None }
    }

    pub(crate) fn failed(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: Some(message.into()) }
    }
}
