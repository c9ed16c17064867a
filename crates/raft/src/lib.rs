//! The metadata quorum (KRaft), as a pure core: [`Raft::step`] takes an [`Event`] and the time and gives [`Effect`]s.
//!
//! It owns who leads in which epoch, how the log is replicated, what of it is committed, and who may vote. It holds the outline of
//! the log ([`LogShape`]) and its control records, never the records themselves. It never reads a clock, draws chance (its one
//! seed comes with [`Raft::start`]), touches a file or a socket, or waits.
//!
//! # Roles
//!
//! One type per role (`role`); a transition consumes the old one.
//!
//! | from | to | when |
//! |---|---|---|
//! | any | unattached | an epoch above the own is seen, without its leader |
//! | any | follower | the leader of an epoch above the own becomes known |
//! | unattached, prospective, candidate | follower | the leader of the own epoch becomes known |
//! | unattached, prospective | unattached, voted | the vote of the epoch is granted to a candidate |
//! | unattached | prospective | the election timeout passes; at once when it is the only voter |
//! | follower | prospective | nothing is heard of the leader for the fetch timeout, or the leader resigns |
//! | prospective | candidate, epoch + 1 | a majority would vote for it |
//! | prospective | follower | a majority would not, or the election timeout passes, and a leader is known |
//! | prospective | unattached | the same, and no leader is known |
//! | candidate | leader | a majority votes for it |
//! | candidate | prospective | a majority does not, or the election timeout passes; it asks again after a random pause |
//! | leader | resigned | it is told to, it hears of no majority for 1.5 fetch timeouts, or it is no longer a voter |
//! | leader, after a restart | resigned | always: what it had not flushed may be elsewhere at other ends |
//! | resigned | unattached, epoch + 1 | the election timeout passes and nobody has taken over |
//! | resigned | prospective | it is the only voter |
//! | observer follower | unattached | nothing is heard of the leader for the fetch timeout; it asks any voter or bootstrap server |
//! | prospective, candidate, resigned | unattached, epoch + 1 | it is no longer a voter |
//!
//! # The contract of effects
//!
//! The effects of a step are performed in their order, each completely before the next. [`Effect::PersistElection`] is always the
//! first of its step and is durable when it has been performed, so no vote and no epoch is spoken of before it is remembered. The
//! one effect that may finish later is [`Effect::Flush`]; [`Event::Flushed`] says so, and until then the bytes count for nothing:
//! a follower asks for no more, a leader does not count itself.
//!
//! # Invariants, checked by name in the simulation under `tests/`
//!
//! - `SingleLeader`: an epoch has one leader.
//! - `MonotonicEpoch`: a replica's epoch never falls, restarts included.
//! - `MonotonicHighWatermark`: what a replica has announced as committed never shrinks while it lives.
//! - `CommittedDataConsistent`: an offset that is committed anywhere holds the same record everywhere it is committed, for ever.
//! - `NeverTwoLeadersInSameEpoch`: no two replicas ever hold themselves for the leader of the same epoch, crashes included.
//! - `AcknowledgedIsKept`: a record whose proposer was told that it is committed is in the log of every later leader.

mod connections;
mod describe;
mod election;
mod event;
mod following;
mod leading;
mod membership;
mod message;
mod peers;
mod raft;
mod role;
mod settings;
mod shape;
mod voters;

pub use describe::{Quorum, ReplicaState};
pub use event::{Call, Effect, ElectionState, Event, Fault, Peer, TailEra, TickMs, Ticket};
pub use leading::MAX_PARKED_FETCHES;
pub use message::{
    AddVoterRequest, BeginQuorumEpochRequest, Body, ChangeResult, Chunk, ControlRecord,
    EndQuorumEpochRequest, Entry, FetchRequest, FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse,
    Fetched, LeaderChange, RemoveVoterRequest, Request, Response, Standing, UpdateVoterRequest, VoteRequest,
};
pub use raft::{Leading, Raft};
pub use role::Role;
pub use settings::{Recovered, Settings};
pub use shape::{BOOTSTRAP_SNAPSHOT, LogPoint, LogShape, Relation, SnapshotId};
pub use voters::{Endpoint, KRaftVersions, Replica, Voter, VoterHistory, VoterSet};
