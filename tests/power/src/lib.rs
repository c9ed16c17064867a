//! The power goes while a real broker works: its files lie on a disk that forgets what was not flushed.
//!
//! Owns: a file system of the kernel's whose bytes are a [`SimDisk`](dohle_env::disk::SimDisk), the same disk that the crash points
//! of `crates/log` run on ([`mount`], [`files`], [`message`]); a broker on it ([`node`]); producers and others that keep a ledger of
//! what was acknowledged to them ([`load`]); and what has to hold after each cut ([`judge`]).
//! Never: asks the broker what it believes to be stored; only what clients were told counts.
//!
//! Invariants, by the names that a failure prints
//! - *AcknowledgedSurvives*: a record that was acknowledged stands at the offset that was acknowledged, a committed offset is
//!   committed, a topic that was created is there and one that was deleted is not, a deleted record stays deleted.
//! - *OnceAndInOrder*: the numbers of a partition are consecutive, and no number that was not sent is among them.
//! - *StartsAgain*: the broker starts on whatever a cut has left, and none of its threads panics.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // around the platform, not in it: real processes, files and clocks are the point

pub mod client;
pub mod files;
pub mod judge;
pub mod load;
pub mod message;
pub mod mount;
pub mod node;
pub mod soak;
