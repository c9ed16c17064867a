//! Dohle and Apache Kafka take turns on one folder with one `server.properties`.
//!
//! Owns: a folder that either program can be started on ([`node`]), what is written to it turn by turn and must read the same
//! from then on ([`relay`]), a history of groups that leaves the same records behind on both ([`history`]), what a coordinator says of a group ([`coordinator`]), what a partition is byte by byte ([`picture`]),
//! a compacted topic and what is the latest of each of its keys ([`table`]), what lies in a folder by names and checkpoints ([`folder`]), and
//! Kafka's own tools over the files that are left behind ([`inspect`]).
//! Never: judges by itself what a file holds; every byte is judged by a program that is not ours.
//!
//! Invariants
//! - *Same bytes*: what one program acknowledged, the other serves at the same offset with the same content.
//! - *Same sequence*: an idempotent producer goes on over every hand-over, as if the broker had merely been away for a moment.
//! - *No fault found*: Kafka's tools accept every file.
#![allow(clippy::disallowed_methods)] // around the platform, not in it: real processes, files and clocks are the point

pub mod coordinator;
pub mod folder;
pub mod history;
pub mod inspect;
pub mod node;
pub mod picture;
pub mod relay;
pub mod table;
