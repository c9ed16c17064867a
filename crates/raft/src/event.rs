//! What happens to the core, and what it wants done.

use std::ops::Add;

use bytes::Bytes;
use dohle_types::{LeaderEpoch, NodeId, Offset};

use crate::message::{Entry, Request, Response};
use crate::shape::SnapshotId;
use crate::voters::{Endpoint, Replica, VoterSet};

/// Milliseconds of monotonic time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TickMs(pub u64);

impl Add<u64> for TickMs {
    type Output = Self;

    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl TickMs {
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A request that came in; its answer carries it back. The shell's to choose, never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A request that was sent; its answer carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call(pub u64);

/// Which life of the log's tail a flush belongs to. A truncation starts another, so that a flush that was under way then proves
/// nothing about what is written at the same offsets afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TailEra(pub u64);

/// What has to survive a restart besides the log (`quorum-state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElectionState {
    pub epoch: LeaderEpoch,
    pub leader: Option<NodeId>,
    pub voted: Option<Replica>,
}

/// Whom to send to. Bootstrap servers, whose id is not known, are numbered from -2 downwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: NodeId,
    pub endpoint: Endpoint,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline may have passed ([`crate::Raft::deadline`]).
    Tick,
    Request {
        ticket: Ticket,
        request: Request,
    },
    Response {
        call: Call,
        response: Response,
    },
    /// A call has failed, or cannot be made.
    Unanswered {
        call: Call,
    },
    /// The leader's shell has something to append, made for [`crate::Leading`]'s epoch and offset.
    Propose {
        entries: Vec<Entry>,
    },
    /// The flush asked for by [`Effect::Flush`] has returned.
    Flushed {
        era: TailEra,
        up_to: Offset,
    },
    /// The shell has stored a snapshot of committed records.
    SnapshotTaken {
        id: SnapshotId,
    },
    /// The shell has deleted the log below `start` and the snapshots before `earliest`.
    Trimmed {
        start: Offset,
        earliest: SnapshotId,
    },
    /// The snapshot of [`Effect::InstallSnapshot`] is in place and the log starts over after it.
    SnapshotInstalled {
        id: SnapshotId,
        kraft_version: i16,
        voters: Option<VoterSet>,
    },
    /// The snapshot of [`Effect::InstallSnapshot`] is damaged: fetch it again.
    SnapshotDamaged {
        id: SnapshotId,
    },
    /// The leader's shell raises `kraft.version`, as [`crate::Raft::can_raise_kraft_version`] has allowed.
    RaiseKRaftVersion {
        level: i16,
    },
    /// Hand over: the process is about to end, or its metadata is no longer to be trusted.
    Resign,
}

/// What is to be done. The shell performs a step's effects in their order, each completely before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Store this durably. Always the first effect of its step, so that nothing is said before it is remembered. When it fails,
    /// none of the step's other effects may be performed and the node is offline.
    PersistElection(ElectionState),
    /// Cut the log: `end` is its new end.
    Truncate {
        end: Offset,
    },
    Append {
        entries: Vec<Entry>,
    },
    /// Make everything appended so far durable, then say so with [`Event::Flushed`]. May take its time.
    Flush {
        era: TailEra,
        up_to: Offset,
    },
    Send {
        call: Call,
        to: Peer,
        request: Request,
    },
    Reply {
        ticket: Ticket,
        response: Response,
    },
    /// Records below are committed.
    HighWatermarkAdvanced {
        to: Offset,
    },
    /// This node leads from `start` on. What is below has to be applied before it decides anything.
    BecameLeader {
        epoch: LeaderEpoch,
        start: Offset,
    },
    /// This node no longer leads `epoch`.
    ResignedLeader {
        epoch: LeaderEpoch,
    },
    /// Another leader, or none, or another epoch.
    LeaderChanged {
        leader: Option<NodeId>,
        epoch: LeaderEpoch,
    },
    /// A part of a snapshot being fetched. Position 0 starts over.
    StoreSnapshotChunk {
        id: SnapshotId,
        position: u64,
        bytes: Bytes,
    },
    /// The snapshot is complete: check it, make it durable, drop the log and start it over after the snapshot.
    InstallSnapshot {
        id: SnapshotId,
    },
    /// The world contradicts what is committed here. The node has to stop taking part.
    Halt(Fault),
}

/// What no correct quorum does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The leader asks to cut committed records.
    TruncationBelowHighWatermark { to: Offset, high_watermark: Offset },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TruncationBelowHighWatermark { to, high_watermark } => write!(
                f,
                "the leader of the metadata quorum asks to cut the log at offset {to}, but records below {high_watermark} are \
                 committed"
            ),
        }
    }
}
