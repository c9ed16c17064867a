//! One partition's bytes on disk, in Kafka's own files.
//!
//! A [`Log`] has one owner and no lock. It never waits for the device by itself where that can be avoided: what may wait is handed
//! out as an object that runs on another thread ([`Flush`], [`ColdRead`], [`TimestampSearch`], [`AbortedSearch`], [`Cleanup`],
//! [`Compaction`]) and comes back.
//! It knows nothing of replicas, requests or clients, and never tells the time: `now` is handed in.
//!
//! Invariants, by name:
//! - `AcknowledgedSurvives`: what lies below a [`Durable`] is in the log after any crash. Only a flush that returned makes one.
//! - `OffsetsContiguous`: a leader's appends leave no gap, and no batch starts before the end of the one before.
//! - `OneValuePerOffset`: a record that was acknowledged at an offset is the only one ever read there.
//! - `RecoveryIdempotent`: opening a log after a crash, crashing at any instruction of that, and opening it again gives the same.
//! - `ProducersRebuilt`: what is known of producers is what replaying the log gives.
//!
//! Read in this order: [`Log`] (`log.rs`) what it holds; `append.rs`, `flush.rs`, `read.rs` the data path; `segment.rs`, `index.rs`,
//! `frame.rs` the files; `survey.rs`, `damage.rs` what cannot be read of them; `recovery.rs`, `replay.rs` opening; `truncate.rs`,
//! `retention.rs`, `glance.rs`, `compaction/` going back and letting go; [`future`] moving to another directory; [`dirs`] what a log
//! directory holds beside the logs. The formats are drawn in `docs/formats/`, recovery is told in `docs/paths/recovery.md`.

mod aborted;
mod append;
mod buffers;
pub mod checkpoint;
mod closing;
mod compaction;
mod damage;
mod deferred;
pub mod dirs;
mod epochs;
mod error;
mod flush;
mod folder_flushes;
mod frame;
pub mod future;
mod glance;
mod index;
mod leftovers;
mod log;
mod lookup;
mod marker;
pub mod names;
mod producers;
mod read;
mod recovery;
mod removal;
mod replay;
mod retention;
mod rewrite;
mod room;
mod segment;
mod snapshot;
mod source;
mod storing;
mod survey;
mod tail;
mod truncate;
mod verifying;

pub use aborted::{AbortedFound, AbortedSearch};
pub use append::Appended;
pub use buffers::ReadBuffers;
pub use closing::Closed;
pub use compaction::{
    CancelSign, CleanedGroup, Compaction, CompactionCounts, CompactionError, Dirtiness, Examination, KeyMap,
    Pace, RecordCounts, Swap, Swapped,
};
pub use damage::Damage;
pub use deferred::Deferred;
pub use error::{AppendError, DeleteRecordsError, FlushError, LogError, ReadError};
pub use flush::Durable;
pub use folder_flushes::FolderFlushes;
pub use glance::due_at_a_glance;
pub use index::AbortedTransaction;
pub use log::{Log, LogContext, ProducerInfo, SegmentInfo};
pub use lookup::{TimestampSearch, TimestampedOffset};
pub use producers::REMEMBERED_BATCHES;
pub use read::{ColdRead, ColdResult, Read, Slice};
pub use recovery::Recovery;
pub use removal::Between;
pub use retention::{Cleaned, Cleanup, Maintenance};
pub use source::{Manner, Manners, greedy};
pub use storing::{Flush, Flushed};
pub use tail::{MAX_TAIL_BYTES, TailBudget};
pub use truncate::Agreement;
pub use verifying::Verifying;
