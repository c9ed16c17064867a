//! The vocabulary of the house: every number and id that crosses a crate boundary has a type of its own here.
//!
//! This crate owns names and their conversions and nothing else. It never does IO, never allocates from a number it was
//! handed, and depends on nothing but `std`. The words are Kafka's; `docs/glossary.md` explains each of them.

mod error_code;
mod id;
mod number;
mod topic_name;

pub use error_code::ErrorCode;
pub use id::{ClusterId, DirectoryId, ParseUuidError, TopicId, Uuid};
pub use number::{
    BrokerEpoch, HighWatermark, LastStableOffset, LeaderEpoch, LogStartOffset, NodeId, Offset,
    PartitionIndex, Position, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};
pub use topic_name::{MAX_TOPIC_NAME_LENGTH, TopicNameError, is_internal_topic, validate_topic_name};

/// One partition of one topic, by the topic's id. Names are for people and old clients; state is keyed by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: TopicId,
    pub partition: PartitionIndex,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
