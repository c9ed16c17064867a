//! Records that say at which offset they stand, so that a reader notices what is missing, doubled or out of its place.

use bytes::Bytes;
use dohle_records::{BatchBuilder, Compression, parse_batches};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};
use dohle_wire::RecordBytes;
use dohle_wire::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use dohle_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use dohle_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

use crate::connection::Connection;

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 11;
const CREATE_VERSION: i16 = 4;
const MAX_BYTES: i32 = 10 << 20;
/// A busy machine may flush slowly; none of the tests is about time.
const TIMEOUT_MS: i32 = 60_000;

/// Creates a topic of one replica.
pub fn create(client: &mut Connection, topic: &str, num_partitions: i32) {
    create_with(client, topic, num_partitions, Vec::new());
}

/// Creates a topic of one replica that has a configuration of its own.
pub fn create_with(
    client: &mut Connection,
    topic: &str,
    num_partitions: i32,
    configs: Vec<CreatableTopicConfig>,
) {
    let created = CreatableTopic {
        name: topic.into(),
        num_partitions,
        replication_factor: 1,
        configs,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![created], timeout_ms: 10_000, ..Default::default() };
    let response = client.ask(&request, CREATE_VERSION).expect("an answer");
    assert_eq!(response.topics[0].error_code, 0);
}

/// Writes a number in a value of so many bytes, and gives the error and the offset; `None` when there is no answer.
pub fn produce(
    client: &mut Connection,
    topic: &str,
    index: i32,
    number: i64,
    value_bytes: usize,
) -> Option<(i16, i64)> {
    produce_to(client, topic, &[index], number, value_bytes)?.pop()
}

/// As [`produce`], to many partitions with one request.
pub fn produce_to(
    client: &mut Connection,
    topic: &str,
    partitions: &[i32],
    number: i64,
    value_bytes: usize,
) -> Option<Vec<(i16, i64)>> {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(value_bytes, 0xAA);
    let data = partitions.iter().map(|&index| {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(TimestampMs(1_700_000_000_000), None, Some(&value), &[]);
        let records = Bytes::from(builder.build(Offset(0), LeaderEpoch(-1)).to_vec());
        PartitionProduceData { index, records: Some(RecordBytes::from(records)), ..Default::default() }
    });
    let topic = TopicProduceData { name: topic.into(), partition_data: data.collect(), ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: TIMEOUT_MS, topic_data: vec![topic], ..Default::default() };
    let response = client.ask(&request, PRODUCE_VERSION)?;
    let answers = &response.responses[0].partition_responses;
    Some(answers.iter().map(|answer| (answer.error_code, answer.base_offset)).collect())
}

/// Writes a batch of one record for each of so many keys, the first of which will stand at `from`.
pub fn produce_keyed(client: &mut Connection, topic: &str, from: i64, keys: u32, value_bytes: usize) {
    let mut builder = BatchBuilder::new(Compression::None);
    for key in 0..keys {
        let mut value = (from + i64::from(key)).to_be_bytes().to_vec();
        value.resize(value_bytes, 0xAA);
        builder.append(TimestampMs(1_700_000_000_000), Some(&key.to_be_bytes()), Some(&value), &[]);
    }
    let records = Bytes::from(builder.build(Offset(0), LeaderEpoch(-1)).to_vec());
    let data =
        PartitionProduceData { index: 0, records: Some(RecordBytes::from(records)), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: TIMEOUT_MS, topic_data: vec![topic], ..Default::default() };
    let response = client.ask(&request, PRODUCE_VERSION).expect("an answer");
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!((answer.error_code, answer.base_offset), (0, from));
}

/// The error, and the numbers from an offset on that come in one answer, each of which has to stand at its own offset.
pub fn fetch(client: &mut Connection, topic: &str, partition: i32, from: i64) -> (i16, Vec<i64>) {
    let asked = FetchPartition {
        partition,
        fetch_offset: from,
        partition_max_bytes: MAX_BYTES,
        current_leader_epoch: -1,
        ..Default::default()
    };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![asked], ..Default::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_bytes: MAX_BYTES,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let response = client.ask(&request, FETCH_VERSION).expect("an answer");
    let answer = &response.responses[0].partitions[0];
    let bytes = answer.records.clone().unwrap_or_default().into_bytes();
    let mut numbers = Vec::new();
    for batch in parse_batches(bytes) {
        for record in batch.expect("a batch").records(1 << 20) {
            let record = record.expect("a record");
            let value = record.value.expect("a value");
            let number = i64::from_be_bytes(*value.first_chunk().expect("eight bytes"));
            assert_eq!(record.offset, Offset(number), "partition {partition}");
            numbers.push(number);
        }
    }
    (answer.error_code, numbers)
}
