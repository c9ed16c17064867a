//! The controller: runs the metadata quorum ([`dohle_raft`]) and the decisions on metadata ([`dohle_metadata`]) on one thread, and
//! keeps `__cluster_metadata-0`.
//!
//! It owns the metadata log, its snapshots, the quorum's memory, and the moment at which a change counts: when it is durable and
//! committed. It never decides what a request comes to, never listens on a socket, and knows nothing of partitions' data.
//!
//! Read in this order: [`ControllerHandle`] (`handle.rs`) is what others hold; `start.rs` recovers and starts the thread;
//! `shell/` is the thread; `store.rs` the files, `snapshot.rs`, `quorum_state.rs` and `codec.rs` their forms; `translate.rs`,
//! `answers.rs` and `quorum_api.rs` the quorum's messages; [`format`] makes a new folder. The files are drawn in `docs/formats/metadata-log.md`, a
//! change is followed through in `docs/paths/metadata-change.md`.
//!
//! Invariants:
//! - `DurableBeforeAcknowledged`: an answer is released, and an image published, only against a `Committed`, which takes a
//!   [`dohle_log::Durable`] to make.
//! - `OneOrder`: requests are decided in the order they were taken, each on what all before it have decided.
//! - `NothingAfterFailure`: after a failed write, flush or read of the metadata log nothing is decided or acknowledged any more.
//! - `RememberedBeforeSaid`: the quorum's vote and epoch are on disk before anything they allow is done.
//!
//! # Idle means idle
//!
//! Kafka's active controller appends a `NoOpRecord` every `metadata.max.idle.interval.ms` (500 ms) so that those who copy its log can
//! tell a quiet leader from a lost one. Here it does so only while somebody copies the log: another voter, or an observer that has
//! fetched within five minutes. A node on its own appends nothing when nothing happens.

mod answers;
mod codec;
mod error;
pub mod format;
mod handle;
mod quorum_api;
mod quorum_state;
mod registration;
mod settings;
mod shell;
mod snapshot;
mod start;
mod store;
mod translate;

pub use error::StartError;
pub use handle::{ControllerHandle, DEFAULT_DEADLINE, MAX_WAITING_REQUESTS, Refused, Status};
pub use settings::{ControllerListener, Settings};
pub use start::start;
