//! The few requests of the soak, each as a call. `None` when the connection is gone, which is what a cut looks like from outside.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dohle_records::{Record, parse_batches};
use dohle_tests_protocol::connection::Connection;
use dohle_types::ErrorCode;
use dohle_wire::RecordBytes;
use dohle_wire::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use dohle_wire::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use dohle_wire::messages::delete_topics_request::DeleteTopicsRequest;
use dohle_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use dohle_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use dohle_wire::messages::init_producer_id_request::InitProducerIdRequest;
use dohle_wire::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use dohle_wire::messages::metadata_request::MetadataRequest;
use dohle_wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use dohle_wire::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use dohle_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

/// How long a broker may take until what it leads and coordinates is loaded.
const LOADED_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
const TIMEOUT_MS: i32 = 10_000;
const FETCH_BYTES: i32 = 4 << 20;

pub const EARLIEST: i64 = -2;
pub const LATEST: i64 = -1;

pub struct Client(Connection);

/// An answer's error code.
pub type Code = i16;

impl Client {
    pub fn to(address: SocketAddr) -> Option<Client> {
        Connection::try_open(address).ok().map(Client)
    }

    /// Asks again while the broker says that it is not there yet.
    fn until_loaded<T>(&mut self, mut ask: impl FnMut(&mut Self) -> Option<(Code, T)>) -> Option<T> {
        let until = Instant::now() + LOADED_WITHIN;
        loop {
            let (code, answer) = ask(self)?;
            if code == 0 {
                return Some(answer);
            }
            let later = [
                ErrorCode::CoordinatorLoadInProgress,
                ErrorCode::CoordinatorNotAvailable,
                ErrorCode::NotCoordinator,
                ErrorCode::NotLeaderOrFollower,
                ErrorCode::LeaderNotAvailable,
                ErrorCode::UnknownTopicOrPartition,
            ];
            assert!(later.iter().any(|known| known.code() == code), "the broker answers {code}");
            assert!(Instant::now() < until, "the broker still answers {code} after {LOADED_WITHIN:?}");
            std::thread::sleep(POLL);
        }
    }

    pub fn producer_id(&mut self) -> Option<(i64, i16)> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: TIMEOUT_MS,
            ..Default::default()
        };
        self.until_loaded(|client| {
            let answer = client.0.ask(&request, 1)?;
            Some((answer.error_code, (answer.producer_id, answer.producer_epoch)))
        })
    }

    /// Where a batch was put.
    pub fn produce(&mut self, topic: &str, index: i32, batch: &[u8]) -> Option<i64> {
        let records = Some(RecordBytes::from(bytes::Bytes::copy_from_slice(batch)));
        let data = PartitionProduceData { index, records, ..Default::default() };
        let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![topic],
            ..Default::default()
        };
        self.until_loaded(|client| {
            let answer = client.0.ask(&request, 9)?;
            let answer = &answer.responses[0].partition_responses[0];
            Some((answer.error_code, answer.base_offset))
        })
    }

    /// Deletes what is before an offset. The start as it is then.
    pub fn delete_before(&mut self, topic: &str, partition_index: i32, offset: i64) -> Option<i64> {
        let partition = DeleteRecordsPartition { partition_index, offset, ..Default::default() };
        let topic =
            DeleteRecordsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request =
            DeleteRecordsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() };
        self.until_loaded(|client| {
            let answer = client.0.ask(&request, 1)?;
            let answer = &answer.topics[0].partitions[0];
            Some((answer.error_code, answer.low_watermark))
        })
    }

    pub fn offset(&mut self, topic: &str, partition_index: i32, timestamp: i64) -> Option<i64> {
        let partition = ListOffsetsPartition {
            partition_index,
            timestamp,
            current_leader_epoch: -1,
            ..Default::default()
        };
        let topic =
            ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        self.until_loaded(|client| {
            let answer = client.0.ask(&request, 4)?;
            let answer = &answer.topics[0].partitions[0];
            Some((answer.error_code, answer.offset))
        })
    }

    /// Some records from an offset on; none where the log has neither begun nor ended. An error when what came is not sound.
    pub fn records(&mut self, topic: &str, partition: i32, from: i64) -> Option<Result<Vec<Record>, String>> {
        let asked = FetchPartition {
            partition,
            fetch_offset: from,
            partition_max_bytes: FETCH_BYTES,
            current_leader_epoch: -1,
            ..Default::default()
        };
        let asked = FetchTopic { topic: topic.into(), partitions: vec![asked], ..Default::default() };
        let request = FetchRequest {
            replica_id: -1,
            max_bytes: FETCH_BYTES,
            session_epoch: -1,
            topics: vec![asked],
            ..Default::default()
        };
        let bytes = self.until_loaded(|client| {
            let answer = client.0.ask(&request, 11)?;
            let answer = answer.responses.into_iter().next()?.partitions.into_iter().next()?;
            let is_out = answer.error_code == ErrorCode::OffsetOutOfRange.code();
            let code = if is_out { 0 } else { answer.error_code };
            Some((code, answer.records.unwrap_or_default().into_bytes()))
        })?;
        let mut records = Vec::new();
        for batch in parse_batches(bytes) {
            let Ok(batch) = batch else { break }; // cut off by the limit of the answer
            if let Err(error) = batch.check_crc() {
                return Some(Err(format!("{topic}-{partition} after {from}: {error}")));
            }
            for record in batch.records(FETCH_BYTES as u64 * 16) {
                match record {
                    Ok(record) if record.offset.get() >= from => records.push(record),
                    Ok(_) => {}
                    Err(error) => return Some(Err(format!("{topic}-{partition} after {from}: {error}"))),
                }
            }
        }
        Some(Ok(records))
    }

    pub fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Option<Code> {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() };
        Some(self.0.ask(&request, 4)?.topics[0].error_code)
    }

    pub fn delete(&mut self, name: &str) -> Option<Code> {
        let request = DeleteTopicsRequest {
            topic_names: vec![name.into()],
            timeout_ms: TIMEOUT_MS,
            ..Default::default()
        };
        Some(self.0.ask(&request, 3)?.responses[0].error_code)
    }

    pub fn topics(&mut self) -> Option<Vec<String>> {
        let answer = self.0.ask(&MetadataRequest { topics: None, ..Default::default() }, 4)?;
        Some(answer.topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.to_string())).collect())
    }

    pub fn find_coordinator(&mut self, group: &str) -> Option<()> {
        let request = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        self.until_loaded(|client| Some((client.0.ask(&request, 1)?.error_code, ())))
    }

    pub fn commit(&mut self, group: &str, topic: &str, offset: i64) -> Option<()> {
        let partition = OffsetCommitRequestPartition {
            committed_offset: offset,
            committed_leader_epoch: -1,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        self.until_loaded(|client| Some((client.0.ask(&request, 7)?.topics[0].partitions[0].error_code, ())))
    }

    /// -1 when there is none.
    pub fn committed(&mut self, group: &str, topic: &str) -> Option<i64> {
        let topic =
            OffsetFetchRequestTopic { name: topic.into(), partition_indexes: vec![0], ..Default::default() };
        let request =
            OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
        self.until_loaded(|client| {
            let answer = client.0.ask(&request, 5)?;
            let of = &answer.topics.first()?.partitions[0];
            let code = if answer.error_code == 0 { of.error_code } else { answer.error_code };
            Some((code, of.committed_offset))
        })
    }
}
