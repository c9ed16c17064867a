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

#[cfg(test)]
mod tests {
    use dohle_types::TopicId;
    use dohle_wire::Text;
    use dohle_wire::messages as m;
    use m::group_metadata_value::MemberMetadata;

    use super::*;

    fn hex(bytes: &Bytes) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn offset(expire_timestamp: i64) -> m::OffsetCommitValue {
        m::OffsetCommitValue {
            offset: 42,
            leader_epoch: 7,
            metadata: Text::from("m"),
            commit_timestamp: 1_000_000,
            expire_timestamp,
            topic_id: TopicId::from_u128(1),
            ..Default::default()
        }
    }

    fn group() -> m::GroupMetadataValue {
        let member = MemberMetadata {
            member_id: Text::from("l"),
            group_instance_id: Some(Text::from("i")),
            client_id: Text::from("c"),
            client_host: Text::from("/127.0.0.1"),
            rebalance_timeout: 60_000,
            session_timeout: 10_000,
            subscription: Bytes::from_static(&[1, 2]),
            assignment: Bytes::from_static(&[3]),
            ..Default::default()
        };
        m::GroupMetadataValue {
            protocol_type: Text::from("consumer"),
            generation: 5,
            protocol: Some(Text::from("range")),
            leader: Some(Text::from("l")),
            current_state_timestamp: 1_000_000,
            members: vec![member],
            ..Default::default()
        }
    }

    /// The bytes are those that Apache Kafka 4.3.1 writes for the same values.
    #[test]
    fn records_are_kafkas_byte_for_byte() {
        let at = || m::OffsetCommitKey { group: Text::from("g"), topic: Text::from("t"), partition: 3 };
        let bare = m::OffsetCommitValue {
            leader_epoch: -1,
            metadata: Text::new(),
            topic_id: TopicId::ZERO,
            ..offset(-1)
        };
        let of_group = || m::GroupMetadataKey { group: Text::from("g") };
        let nobody = m::GroupMetadataValue {
            protocol: None,
            leader: None,
            current_state_timestamp: 1_000_000,
            ..Default::default()
        };
        let commit_key = "000100016700017400000003";
        let group_key = "0002000167";
        let cases = [
            (
                GroupRecord::put_at(at(), offset(-1), 4),
                commit_key,
                "0004000000000000002a00000007026d00000000000f424001001000000000000000000000000000000001",
            ),
            (
                GroupRecord::put_at(at(), bare, 4),
                commit_key,
                "0004000000000000002affffffff0100000000000f424000",
            ),
            (
                GroupRecord::put_at(at(), offset(2_000_000), 1),
                commit_key,
                "0001000000000000002a00016d00000000000f424000000000001e8480",
            ),
            (
                GroupRecord::put_at(of_group(), group(), 3),
                group_key,
                "00030008636f6e73756d657200000005000572616e676500016c00000000000f42400000000100016c000169000163000a2f3132372e302e302e310000ea60000027100000000201020000000103",
            ),
            (
                GroupRecord::put_at(of_group(), nobody, 3),
                group_key,
                "0003000000000000ffffffff00000000000f424000000000",
            ),
        ];
        for (record, key, value) in cases {
            let encoded = record.encode();
            assert_eq!(hex(&encoded.key), key);
            assert_eq!(encoded.value.as_ref().map(hex).as_deref(), Some(value), "{record:?}");
        }
        let tombstone = GroupRecord::tombstone(of_group()).encode();
        assert_eq!((hex(&tombstone.key).as_str(), tombstone.value), (group_key, None));
    }

    #[test]
    fn every_version_of_a_groups_value_is_read() {
        for version in 0..=4 {
            let record =
                GroupRecord::put_at(m::GroupMetadataKey { group: Text::from("g") }, group(), version);
            let encoded = record.encode();
            let read = GroupRecord::decode(encoded.key, encoded.value).unwrap().unwrap();
            let Some((ConsumerOffsetsValue::GroupMetadata(value), of_version)) = read.value else {
                panic!("a group's value")
            };
            assert_eq!((of_version, value.generation, value.members.len()), (version, 5, 1));
            assert_eq!(value.current_state_timestamp, if version < 2 { -1 } else { 1_000_000 });
            assert_eq!(value.members[0].rebalance_timeout, if version < 1 { -1 } else { 60_000 });
            assert_eq!(value.members[0].group_instance_id.is_some(), version >= 3);
        }
    }

    #[test]
    fn types_of_newer_software_are_passed_over_and_rubbish_is_not() {
        let newer = Bytes::from_static(&[0, 24, 1, 2, 3]);
        assert_eq!(GroupRecord::decode(newer, Some(Bytes::from_static(&[9]))), Ok(None));
        assert!(GroupRecord::decode(Bytes::from_static(&[0]), None).is_err());
        assert!(GroupRecord::decode(Bytes::from_static(&[0, 2, 0, 9, b'g']), None).is_err());
        let key = GroupRecord::tombstone(m::GroupMetadataKey { group: Text::from("g") }).encode().key;
        assert!(GroupRecord::decode(key, Some(Bytes::from_static(&[0, 3, 0]))).is_err());
    }
}
