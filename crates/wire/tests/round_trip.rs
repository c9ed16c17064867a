//! What is written is read back, byte for byte, and what a version cannot say is refused as Kafka refuses it.

use bytes::Bytes;
use dohle_wire::arbitrary::{CATALOG, SplitMix};
use dohle_wire::messages::fetch_request::ReplicaState;
use dohle_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use dohle_wire::messages::{
    ConsumerGroupMemberMetadataValue, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest,
    VoteRequest,
};
use dohle_wire::{AnyRequest, ApiKey, DecodeError, EncodeError, Message, Reader, Request, Writer};

fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    Ok(w.into_bytes())
}

#[test]
fn every_message_at_every_version() {
    const VALUES: u64 = 40;
    for entry in CATALOG {
        for version in entry.min_version..=entry.max_version {
            for seed in 0..VALUES {
                let mut rng = SplitMix(seed);
                let bytes = (entry.random)(&mut || rng.next(), version);
                let again = (entry.recode)(bytes.clone(), version);
                assert_eq!(again, Ok(bytes), "{} v{version}, seed {seed}", entry.name);
            }
        }
    }
}

#[test]
fn versions_beyond_the_table_are_refused() {
    assert_eq!(encode(&ProduceRequest::default(), 2), Err(EncodeError::UnsupportedVersion { version: 2 }));
    let decoded = ProduceRequest::decode(&mut Reader::new(Bytes::new()), 14);
    assert_eq!(decoded, Err(DecodeError::UnsupportedVersion { version: 14 }));
}

#[test]
fn a_field_the_version_lacks_is_refused_unless_ignorable() {
    let state = ReplicaState { replica_id: 3, ..Default::default() };
    let request = FetchRequest { replica_state: state, ..Default::default() };
    let refused = EncodeError::FieldNotInVersion { field: "ReplicaState", version: 14 };
    assert_eq!(encode(&request, 14), Err(refused));
    assert!(encode(&request, 15).is_ok());
    let ignorable = FetchRequest { rack_id: "rack".into(), ..Default::default() };
    assert_eq!(encode(&ignorable, 10), encode(&FetchRequest::default(), 10));
}

#[test]
fn null_where_the_version_has_none_is_refused() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(encode(&request, 0), Err(EncodeError::UnexpectedNull { field: "Topics" }));
    assert!(encode(&request, 1).is_ok());
}

#[test]
fn unknown_tags_need_a_flexible_version() {
    let mut request = FetchRequest::default();
    request.unknown_tagged_fields.set(90, Bytes::from_static(b"x"));
    assert_eq!(encode(&request, 11), Err(EncodeError::TagsNotInVersion { version: 11 }));
    request.unknown_tagged_fields.set(1, Bytes::new());
    request.replica_state.replica_id = 1;
    assert_eq!(encode(&request, 15), Err(EncodeError::TagInUse { tag: 1 }));
}

#[test]
fn a_tagged_field_fills_its_size() {
    let request = FetchRequest { cluster_id: Some("abc".into()), ..Default::default() };
    let bytes = encode(&request, 12).unwrap().to_vec();
    // ... one tagged field: number 0, five bytes less one, the compact string.
    let at = bytes.len() - 6;
    assert_eq!(bytes[at - 1..], [1, 0, 4, 4, b'a', b'b', b'c']);
    for wrong in [3, 5] {
        let mut bent = bytes.clone();
        bent[at + 1] = wrong;
        bent.push(0);
        let result = FetchRequest::decode(&mut Reader::new(bent.into()), 12);
        assert_eq!(result, Err(DecodeError::TagSize));
    }
}

#[test]
fn defaults_are_kafkas() {
    let request = FetchRequest::default();
    assert_eq!((request.max_bytes, request.session_epoch, request.replica_id), (i32::MAX, -1, -1));
    assert_eq!(VoteRequest::default().voter_id, -1);
    // The table's JSON says `null` without quotes, which Kafka takes for no default at all.
    assert!(ConsumerGroupMemberMetadataValue::default().classic_member_metadata.is_some());
}

#[test]
fn decoded_records_share_the_frame() {
    let partition = PartitionData { records: Some(Bytes::from(vec![1; 5000]).into()), ..Default::default() };
    let topic = FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    let frame = encode(&response, 13).unwrap();
    let range = frame.as_ptr_range();
    let decoded = FetchResponse::decode(&mut Reader::new(frame), 13).unwrap();
    let records = decoded.responses[0].partitions[0].records.as_ref().unwrap();
    assert!(range.contains(&records.chunks()[0].as_ptr()));
    assert_eq!(decoded, response);
}

#[test]
fn any_request_is_the_request() {
    let request = ProduceRequest { acks: -1, ..Default::default() };
    let bytes = encode(&request, 9).unwrap();
    let any = AnyRequest::decode(ProduceRequest::KEY, 9, &mut Reader::new(bytes)).unwrap();
    assert_eq!(any.key(), ApiKey::Produce);
    assert_eq!(any, AnyRequest::from(request));
}

#[test]
fn versions_that_are_advertised() {
    assert_eq!(ApiKey::ALL.len(), 89);
    assert_eq!(ApiKey::Produce.advertised_by_broker(false), Some((0, 13)));
    assert_eq!(ApiKey::Produce.advertised_by_controller(false), Some((3, 13)));
    assert_eq!(ApiKey::InitProducerId.advertised_by_broker(false), Some((0, 5)));
    assert_eq!(ApiKey::InitProducerId.advertised_by_broker(true), Some((0, 6)));
    assert!(!ApiKey::Produce.supports(2, false));
    assert!(!ApiKey::InitProducerId.supports(6, false));
    assert_eq!(ApiKey::from_code(4), None);
    assert!(ApiKey::ALL.iter().all(|key| ApiKey::from_code(key.code()) == Some(*key)));
}
