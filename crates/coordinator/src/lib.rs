//! Coordinators: what keeps its state as records of an internal topic and answers clients from it.
//!
//! [`frame`] is the contract and the bookkeeping that every coordinator shares; [`groups`] is the coordinator of consumer groups and
//! of the offsets they commit. The crate is pure: no clock, no chance, no file, no socket, no task. The broker's shell reads and
//! appends the records, waits until they are stored, and releases the replies.
//!
//! ```text
//!                      ┌────────────────────────── Shard ──────────────────────────┐
//!   request, event ──► │ Coordinator::handle / notice / expired ──► Effects         │ ──► batch: records + replies
//!   time           ──► │        ▲                                     │ records     │       (the shell appends the records and,
//!   finished job   ──► │        └───────── Coordinator::replay ◄──────┘             │       once stored, releases the replies)
//!   log, at loading ─► │                        ▲                                   │ ──► jobs, the next time to look
//!                      └────────────────────────┴───────────────────────────────────┘
//! ```
//!
//! Invariants, by name:
//! - `OneWriter`: what a coordinator must remember changes only in [`frame::Coordinator::replay`]; replaying the log gives it back.
//! - `ReplyAfterRecords`: a reply is released when every record that it may speak of is stored.
//! - `OneOrder`: records are appended in the order in which they were decided.

pub mod frame;
pub mod groups;
mod small_map;
pub mod topics;
