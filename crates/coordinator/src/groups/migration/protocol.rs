//! What consumers of the classic protocol tell each other through the coordinator: subscriptions and assignments.
//!
//! ```text
//!   int16 version | message of that version          a newer version begins like the newest one known
//! ```

use bytes::Bytes;
use dohle_wire::messages as m;
use dohle_wire::messages::consumer_protocol_assignment::TopicPartition;
use dohle_wire::{DecodeError, Message, Reader, Writer};

use crate::groups::assignors::Assigned;
use crate::topics::Topics;

pub fn subscription(metadata: &Bytes) -> Result<m::ConsumerProtocolSubscription, DecodeError> {
    read(metadata)
}

/// An assignment; no bytes are none.
pub fn assignment(bytes: &Bytes) -> Result<m::ConsumerProtocolAssignment, DecodeError> {
    if bytes.is_empty() { Ok(m::ConsumerProtocolAssignment::default()) } else { read(bytes) }
}

fn read<M: Message>(bytes: &Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16()?;
    M::decode(&mut reader, version.min(M::MAX_VERSION))
}

/// What an assignment gives, of the topics that exist.
pub fn assigned(assignment: &m::ConsumerProtocolAssignment, topics: &Topics) -> Assigned {
    let of = |given: &TopicPartition| {
        let mut partitions = given.partitions.clone();
        partitions.sort_unstable();
        partitions.dedup();
        topics.by_name(&given.topic).map(|topic| (topic.id, partitions))
    };
    assignment.assigned_partitions.iter().filter_map(of).filter(|(_, at)| !at.is_empty()).collect()
}

/// An assignment as a member reads it whose subscription was `metadata`.
pub fn write_assignment(
    assigned: &Assigned,
    metadata: &Bytes,
    topics: &Topics,
) -> Result<Bytes, DecodeError> {
    type Assignment = m::ConsumerProtocolAssignment;
    let version = Reader::new(metadata.clone()).i16()?.min(Assignment::MAX_VERSION);
    if version < Assignment::MIN_VERSION {
        return Err(DecodeError::UnsupportedVersion { version });
    }
    let of = |(topic, partitions): (&_, &Vec<i32>)| {
        topics
            .by_id(*topic)
            .map(|topic| TopicPartition { topic: topic.name.clone(), partitions: partitions.clone() })
    };
    let assignment = m::ConsumerProtocolAssignment {
        assigned_partitions: assigned.iter().filter_map(of).collect(),
        user_data: None,
    };
    let mut writer = Writer::new();
    writer.i16(version);
    assignment.encode(&mut writer, version).expect("names and partitions of topics fit every version");
    Ok(writer.into_bytes())
}
