//! What a partition is to everybody who reads it, byte by byte, asked for by frames of our own: so that two programs can be compared where
//! a client would hide the difference.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dohle_records::{BatchBuilder, Compression};
use dohle_tests_protocol::connection::Connection;
use dohle_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use dohle_wire::RecordBytes;
use dohle_wire::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use dohle_wire::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use dohle_wire::messages::end_txn_request::EndTxnRequest;
use dohle_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use dohle_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use dohle_wire::messages::init_producer_id_request::InitProducerIdRequest;
use dohle_wire::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use dohle_wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use dohle_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const FETCH_BYTES: i32 = 16 << 20;
const TIMEOUT_MS: i32 = 20_000;
/// Latest, earliest, of the largest timestamp, earliest on this disk, latest in remote storage; and some times.
fn timestamps() -> [i64; 9] {
    [-1, -2, -3, -4, -5, 0, first_timestamp(), first_timestamp() + 7, i64::MAX]
}
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// What a broker answers that is not there yet.
const LATER: [ErrorCode; 7] = [
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::CoordinatorNotAvailable,
    ErrorCode::NotCoordinator,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::LeaderNotAvailable,
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::ConcurrentTransactions,
];

fn is_later(code: i16) -> bool {
    LATER.iter().any(|later| later.code() == code)
}

/// Of the first record; each has the timestamp after the one before. A producer whose records are older than a day is forgotten at a start.
pub fn first_timestamp() -> i64 {
    static FIRST: OnceLock<i64> = OnceLock::new();
    *FIRST.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
        since.as_millis() as i64 - 3_600_000
    })
}

/// Offset, length and checksum.
type Batch = (i64, usize, u32);

/// A partition as it is read.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Picture {
    pub start: i64,
    pub high_watermark: i64,
    pub last_stable: i64,
    pub batches: Vec<Batch>,
    /// Where a reader of what is committed stands at the end, and what he is told to leave out: producers with first offsets.
    pub committed_end: i64,
    pub aborted: BTreeSet<(i64, i64)>,
    /// Per isolation level and timestamp: error, offset, timestamp, epoch.
    pub offsets: Vec<(i8, i64, i16, i64, i64, i32)>,
    /// Of each leader epoch that has batches: error, epoch and where it ends, as followers ask for it.
    pub epochs: Vec<(i32, i16, i32, i64)>,
}

/// One who writes and looks by frames.
pub struct Hand(Connection);

impl Hand {
    pub fn on(bootstrap: &str) -> Hand {
        let address: SocketAddr = bootstrap.parse().expect("an address");
        Hand(Connection::open(address))
    }

    /// Asks again while the broker is not there yet.
    fn ready<T>(&mut self, what: &str, mut ask: impl FnMut(&mut Connection) -> (i16, T)) -> T {
        let until = Instant::now() + READY_WITHIN;
        loop {
            let (code, answer) = ask(&mut self.0);
            if code == 0 {
                return answer;
            }
            assert!(is_later(code), "{what}: answered {code}");
            assert!(Instant::now() < until, "{what}: still answers {code}");
            std::thread::sleep(POLL);
        }
    }

    /// A producer's id and epoch; those of a transaction that was left open end it.
    pub fn producer_id(&mut self, transactional_id: Option<&str>) -> (i64, i16) {
        if let Some(id) = transactional_id {
            let find = FindCoordinatorRequest { key: id.into(), key_type: 1, ..Default::default() };
            self.ready("the coordinator", |c| (c.ask(&find, 1).expect("an answer").error_code, ()));
        }
        let request = InitProducerIdRequest {
            transactional_id: transactional_id.map(Into::into),
            transaction_timeout_ms: 600_000,
            ..Default::default()
        };
        self.ready("a producer's id", |c| {
            let answer = c.ask(&request, 1).expect("an answer");
            (answer.error_code, (answer.producer_id, answer.producer_epoch))
        })
    }

    pub fn add_to_transaction(
        &mut self,
        id: &str,
        (producer, epoch): (i64, i16),
        topic: &str,
        partition: i32,
    ) {
        let topic =
            AddPartitionsToTxnTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.into(),
            v3_and_below_producer_id: producer,
            v3_and_below_producer_epoch: epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        self.ready("adding to a transaction", |c| {
            let answer = c.ask(&request, 3).expect("an answer");
            (answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code, ())
        });
    }

    pub fn end_transaction(&mut self, id: &str, (producer_id, producer_epoch): (i64, i16), committed: bool) {
        let request = EndTxnRequest {
            transactional_id: id.into(),
            producer_id,
            producer_epoch,
            committed,
            ..Default::default()
        };
        self.ready("the end of a transaction", |c| (c.ask(&request, 3).expect("an answer").error_code, ()));
    }

    /// Where the batch was put.
    pub fn produce(&mut self, topic: &str, index: i32, of: Option<&str>, batch: &[u8]) -> i64 {
        let records = Some(RecordBytes::from(Bytes::copy_from_slice(batch)));
        let data = PartitionProduceData { index, records, ..Default::default() };
        let what = format!("a batch for {topic}-{index}");
        let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest {
            transactional_id: of.map(Into::into),
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![topic],
            ..Default::default()
        };
        self.ready(&what, |c| {
            let answer = c.ask(&request, 9).expect("an answer");
            let answer = &answer.responses[0].partition_responses[0];
            (answer.error_code, answer.base_offset)
        })
    }

    /// Deletes what lies before an offset, or all there is with -1. Where the log starts then.
    pub fn delete_records(&mut self, topic: &str, partition_index: i32, offset: i64) -> i64 {
        let partition = DeleteRecordsPartition { partition_index, offset, ..Default::default() };
        let asked =
            DeleteRecordsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request =
            DeleteRecordsRequest { topics: vec![asked], timeout_ms: TIMEOUT_MS, ..Default::default() };
        self.ready(topic, |c| {
            let answer = c.ask(&request, 2).expect("an answer");
            let answer = &answer.topics[0].partitions[0];
            (answer.error_code, answer.low_watermark)
        })
    }

    /// Where a partition starts.
    pub fn earliest(&mut self, topic: &str, partition: i32) -> i64 {
        self.offset(topic, partition, 0, EARLIEST).3
    }

    /// The error that is answered to somebody who reads from an offset.
    pub fn fetch_code(&mut self, topic: &str, partition: i32, offset: i64) -> i16 {
        let request = fetch_request(topic, partition, 0, offset);
        self.ready(topic, |c| {
            let answer = c.ask(&request, 11).expect("an answer");
            let code = answer.responses[0].partitions[0].error_code;
            (if is_later(code) { code } else { 0 }, code)
        })
    }

    pub fn picture(&mut self, topic: &str, partition: i32) -> Picture {
        let offsets = [0, 1].into_iter().flat_map(|isolation| timestamps().map(|at| (isolation, at)));
        let offsets: Vec<_> = offsets.map(|(level, at)| self.offset(topic, partition, level, at)).collect();
        let start = offsets.iter().find(|found| found.1 == EARLIEST).expect("it was asked for").3;
        let mut picture = Picture {
            start,
            high_watermark: 0,
            last_stable: 0,
            batches: Vec::new(),
            committed_end: start,
            aborted: BTreeSet::new(),
            offsets,
            epochs: Vec::new(),
        };
        let (mut next, mut epochs) = (start, BTreeSet::new());
        loop {
            let (bytes, _) = self.fetch(topic, partition, 0, next, &mut picture);
            let found = batches(&bytes);
            let Some(last) = found.last() else { break };
            next = last.0;
            epochs.extend(found.iter().filter_map(|(_, epoch, _)| *epoch));
            picture.batches.extend(found.into_iter().map(|(.., batch)| batch));
        }
        loop {
            let (bytes, aborted) = self.fetch(topic, partition, 1, picture.committed_end, &mut picture);
            picture.aborted.extend(aborted);
            let Some(last) = batches(&bytes).last().map(|(next, ..)| *next) else { break };
            picture.committed_end = last;
        }
        // The epoch of the end is that of the leader, who has a new one with each start.
        for found in picture.offsets.iter_mut().filter(|found| found.3 == picture.high_watermark) {
            found.5 = 0;
        }
        picture.epochs = epochs.into_iter().map(|epoch| self.end_of_epoch(topic, partition, epoch)).collect();
        picture
    }

    fn end_of_epoch(&mut self, topic: &str, partition: i32, leader_epoch: i32) -> (i32, i16, i32, i64) {
        let partition = OffsetForLeaderPartition {
            partition,
            current_leader_epoch: -1,
            leader_epoch,
            ..Default::default()
        };
        let asked =
            OffsetForLeaderTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
        let topics = vec![asked];
        let request = OffsetForLeaderEpochRequest { replica_id: -1, topics, ..Default::default() };
        self.ready(topic, |c| {
            let answer = c.ask(&request, 4).expect("an answer");
            let answer = &answer.topics[0].partitions[0];
            (answer.error_code, (leader_epoch, answer.error_code, answer.leader_epoch, answer.end_offset))
        })
    }

    fn offset(
        &mut self,
        topic: &str,
        partition_index: i32,
        isolation_level: i8,
        timestamp: i64,
    ) -> (i8, i64, i16, i64, i64, i32) {
        let partition = ListOffsetsPartition {
            partition_index,
            timestamp,
            current_leader_epoch: -1,
            ..Default::default()
        };
        let topics =
            vec![ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() }];
        let request = ListOffsetsRequest { replica_id: -1, isolation_level, topics, ..Default::default() };
        self.ready(topic, |c| {
            let answer = c.ask(&request, 9).expect("an answer");
            let answer = &answer.topics[0].partitions[0];
            let (offset, at, epoch) = (answer.offset, answer.timestamp, answer.leader_epoch);
            // Of what is committed the latest may lie before the end.
            let epoch = if timestamp == LATEST { 0 } else { epoch };
            let found = (isolation_level, timestamp, answer.error_code, offset, at, epoch);
            (if is_later(answer.error_code) { answer.error_code } else { 0 }, found)
        })
    }

    fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        isolation_level: i8,
        fetch_offset: i64,
        picture: &mut Picture,
    ) -> (Bytes, Vec<(i64, i64)>) {
        let request = fetch_request(topic, partition, isolation_level, fetch_offset);
        let answer = self.ready(topic, |c| {
            let answer = c.ask(&request, 11).expect("an answer");
            let answer = answer.responses.into_iter().next().expect("the topic").partitions.remove(0);
            (answer.error_code, answer)
        });
        picture.high_watermark = answer.high_watermark;
        picture.last_stable = answer.last_stable_offset;
        let aborted = answer.aborted_transactions.unwrap_or_default();
        let aborted = aborted.iter().map(|one| (one.producer_id, one.first_offset)).collect();
        (answer.records.unwrap_or_default().into_bytes(), aborted)
    }
}

fn fetch_request(topic: &str, partition: i32, isolation_level: i8, fetch_offset: i64) -> FetchRequest {
    let asked = FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: FETCH_BYTES,
        current_leader_epoch: -1,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![asked], ..Default::default() }];
    FetchRequest {
        replica_id: -1,
        max_bytes: FETCH_BYTES,
        session_epoch: -1,
        isolation_level,
        topics,
        ..Default::default()
    }
}

/// The whole batches, or messages of an old format: the offset after each, its leader epoch if it has one, and what it is.
fn batches(bytes: &Bytes) -> Vec<(i64, Option<i32>, Batch)> {
    let (mut found, mut rest) = (Vec::new(), &bytes[..]);
    let wide =
        |bytes: &[u8], at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let word =
        |bytes: &[u8], at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    while rest.len() > 27 {
        let (base, len) = (wide(rest, 0), 12 + word(rest, 8) as usize);
        if rest.len() < len {
            break;
        }
        let is_batch = rest[16] >= 2;
        let last = if is_batch { base + i64::from(word(rest, 23)) } else { base };
        let epoch = is_batch.then(|| word(rest, 12));
        found.push((last + 1, epoch, (base, len, crc32fast::hash(&rest[..len]))));
        rest = &rest[len..];
    }
    found
}

/// Numbered records with keys and headers, each a millisecond after the one before.
pub fn batch(
    codec: Compression,
    of: Option<(i64, i16)>,
    numbers: std::ops::Range<i64>,
    is_transactional: bool,
) -> Vec<u8> {
    let mut batch = BatchBuilder::new(codec);
    if let Some((id, epoch)) = of {
        batch = batch.producer(ProducerId(id), ProducerEpoch(epoch), Sequence(numbers.start as i32));
    }
    let mut batch = batch.transactional(is_transactional);
    for number in numbers {
        let (key, value) = (format!("key-{}", number % 17), format!("value {number} ").repeat(9));
        batch.append(
            TimestampMs(first_timestamp() + number),
            Some(key.as_bytes()),
            Some(value.as_bytes()),
            &[],
        );
    }
    batch.build(Offset(0), LeaderEpoch(-1)).to_vec()
}

/// Messages of format 0 or 1, as a broker of that time stored them: with offsets, one by one.
pub fn old_messages(magic: u8, count: i64) -> Vec<u8> {
    let mut log = Vec::new();
    for offset in 0..count {
        let (key, value) = (format!("key-{offset}"), format!("an old value {offset}"));
        let mut message = vec![magic, 0];
        if magic == 1 {
            message.extend((first_timestamp() + offset).to_be_bytes());
        }
        for part in [key.as_bytes(), value.as_bytes()] {
            message.extend((part.len() as i32).to_be_bytes());
            message.extend(part);
        }
        log.extend(offset.to_be_bytes());
        log.extend((message.len() as i32 + 4).to_be_bytes());
        log.extend(crc32fast::hash(&message).to_be_bytes());
        log.extend(message);
    }
    log
}
