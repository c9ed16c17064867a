//! The records of `__consumer_offsets`, as Kafka writes them.

use bytes::Bytes;
use dohle_wire::{ConsumerOffsetsKey, ConsumerOffsetsValue};

use crate::frame::{EncodedRecord, Record};

/// One record; no value is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRecord {
    pub key: ConsumerOffsetsKey,
    /// The value and the version in which it is written.
    pub value: Option<(ConsumerOffsetsValue, i16)>,
}

impl GroupRecord {
    /// A value in the version 0, which is the only one of all kinds but offsets and classic groups.
    pub fn put(key: impl Into<ConsumerOffsetsKey>, value: impl Into<ConsumerOffsetsValue>) -> Self {
        Self::put_at(key, value, 0)
    }

    pub fn put_at(
        key: impl Into<ConsumerOffsetsKey>,
        value: impl Into<ConsumerOffsetsValue>,
        version: i16,
    ) -> Self {
        Self { key: key.into(), value: Some((value.into(), version)) }
    }

    pub fn tombstone(key: impl Into<ConsumerOffsetsKey>) -> Self {
        Self { key: key.into(), value: None }
    }
}

impl Record for GroupRecord {
    fn encode(&self) -> EncodedRecord {
        let key = self.key.encode().expect("a coordinator makes keys that can be written");
        let value = self.value.as_ref().map(|(value, version)| {
            value.encode(*version).expect("a coordinator makes values that can be written")
        });
        EncodedRecord { key, value }
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, String> {
        let Some(type_id) = key.first_chunk().map(|bytes| i16::from_be_bytes(*bytes)) else {
            return Err(format!("a key of {} bytes has no type", key.len()));
        };
        // Types come with newer software; what it means by them is not for this one to judge.
        if type_id > NEWEST_TYPE {
            return Ok(None);
        }
        let key = ConsumerOffsetsKey::decode(key).map_err(|error| format!("the key: {error}"))?;
        let value = value
            .map(|value| ConsumerOffsetsValue::decode(type_id, value))
            .transpose()
            .map_err(|error| format!("the value under {key:?}: {error}"))?;
        Ok(Some(Self { key, value }))
    }
}

/// `StreamsGroupTopology`, the last type of Kafka 4.3.
const NEWEST_TYPE: i16 = 23;
