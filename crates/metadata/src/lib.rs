//! The metadata of the cluster: what it is ([`Image`]) and how it changes ([`Controller`]).
//!
//! This crate owns the meaning of Kafka's metadata records and every decision that writes one: topics, partitions and their
//! leaders, registrations, configurations, features, blocks of producer ids. It is pure: no clock, no chance, no file, no
//! socket. Time, a seed and the offset that the next record gets are handed in with every call.
//!
//! ```text
//!   request ── Controller::handle ──> records + reply          (the shell appends the records, waits until they are
//!   record  ── Controller::replay ──> Image                     committed, then releases the reply)
//! ```
//!
//! Invariants, checked by `tests/`:
//! - `OneWriter`: only [`Image::replay`] changes an image; a decision is a list of records and nothing else.
//! - `SnapshotIsState`: replaying [`Image::to_records`] into an empty image gives the image back.
//! - `LeaderInSync`: the leader of a partition is in its ISR, or there is none.
//! - `EpochsGrow`: leader epochs and partition epochs never go back; every change to a partition raises its epoch.
//! - `OneName`: a topic name means at most one topic id, and an id at most one name.
//! - `Bounded`: a request of a user makes at most [`MAX_RECORDS_PER_REQUEST`] records, and one that makes more makes none.

mod chance;
mod controller;
pub mod directory;
pub mod features;
mod image;
mod metadata_version;

pub use controller::{
    ApiError, Controller, ControllerSettings, MAX_ELECTIONS_PER_TICK, MAX_RECORDS_PER_REQUEST, Outcome,
    PRODUCER_ID_BLOCK_SIZE, RequestContext, Tick, bootstrap_records, format_records,
};
pub use image::{
    Broker, Brokers, ClientQuotas, ConfigMap, Configs, ControllerNode, Endpoint, Features, Few, Image,
    LeaderRecovery, PartitionState, Partitions, ProducerIds, QuotaEntity, ReplayError, ResourceType,
    Security, Topic, Topics, VersionRange,
};
pub use metadata_version::MetadataVersion;
