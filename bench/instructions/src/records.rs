//! Produce and fetch: frame, checks, log, response.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dohle_config::TopicSettings;
use dohle_env::Rng;
use dohle_env::disk::{Disk, RealDisk};
use dohle_log::{FolderFlushes, Log, LogContext, Read, ReadBuffers, Recovery, TailBudget, Verifying};
use dohle_records::{BatchBuilder, Compression, ProducePolicy, validate_produce};
use dohle_types::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, Uuid};
use dohle_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use dohle_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use dohle_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use dohle_wire::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
};
use dohle_wire::{ApiKey, Message, Reader, RecordBytes, Request, Segment, Writer, encode_request_header};

const TOPIC: Uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const EPOCH: LeaderEpoch = LeaderEpoch(1);
/// Room for what a fetch at the tail reads.
const TAIL: usize = 4 << 20;

/// A request as it comes from a socket, after its length.
pub fn frame<R: Request>(request: &R) -> (Bytes, i16) {
    let version = R::KEY.latest_version(false);
    let mut writer = Writer::new();
    encode_request_header(&mut writer, R::KEY, version, 7, Some("driver".into())).expect("a header");
    request.encode(&mut writer, version).expect("a request");
    (writer.into_bytes(), version)
}

/// The body of a frame.
pub fn decoded<R: Request>(frame: &Bytes, version: i16) -> R {
    let mut reader = Reader::new(frame.clone());
    RequestHeader::decode(&mut reader, R::KEY.request_header_version(version)).expect("a header");
    R::decode(&mut reader, version).expect("a request")
}

/// A response as it goes into a socket.
pub fn encoded<M: Message>(key: ApiKey, response: &M, version: i16) -> Vec<Segment> {
    let mut writer = Writer::framed();
    let header = ResponseHeader { correlation_id: 7, ..Default::default() };
    header.encode(&mut writer, key.response_header_version(version)).expect("a header");
    response.encode(&mut writer, version).expect("a response");
    writer.finish()
}

fn log(folder: &Path) -> (Log, Arc<TopicSettings>) {
    let disk = RealDisk::new();
    let folder = folder.join("orders-0");
    disk.create_dir_all(folder.parent().expect("a folder has one above")).expect("a folder");
    let context = LogContext {
        disk: Arc::new(disk),
        rng: Rng::seeded(1),
        tail: TailBudget::new(TAIL),
        buffers: ReadBuffers::default(),
        producer_id_expiration_ms: 86_400_000,
        verifying: Verifying::default(),
        folders: FolderFlushes::default(),
    };
    let settings = Arc::new(TopicSettings {
        segment_jitter_ms: 0,
        max_message_bytes: 2 << 20,
        ..TopicSettings::default()
    });
    let log = Log::open(&context, folder, TOPIC, settings.clone(), Recovery::UNKNOWN, NOW).expect("a log");
    (log, settings)
}

fn batch(codec: Compression, records: usize, size: usize) -> RecordBytes {
    let mut builder = BatchBuilder::new(codec);
    for record in 0..records {
        let value: Vec<u8> = (0..size).map(|at| (at * 7 + record * 13) as u8).collect();
        builder.append(NOW, None, Some(&value), &[]);
    }
    RecordBytes::from(builder.build(Offset::ZERO, LeaderEpoch::NONE).segments().to_vec())
}

fn request(records: RecordBytes) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records: Some(records), ..Default::default() };
    let topic = TopicProduceData { topic_id: TOPIC, partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

/// One batch of so many values of this size: decoded, judged, appended, answered.
pub fn produce(folder: &Path, records: usize, size: usize) -> Box<dyn FnMut()> {
    produced(folder, batch(Compression::None, records, size))
}

pub fn produce_zstd(folder: &Path) -> Box<dyn FnMut()> {
    produced(folder, batch(Compression::Zstd, 64, 1024))
}

fn produced(folder: &Path, records: RecordBytes) -> Box<dyn FnMut()> {
    let (frame, version) = frame(&request(records));
    let (mut log, settings) = log(folder);
    Box::new(move || {
        let request: ProduceRequest = decoded(&frame, version);
        let mut answers = Vec::with_capacity(request.topic_data.len());
        for topic in request.topic_data {
            let mut partitions = Vec::with_capacity(topic.partition_data.len());
            for data in topic.partition_data {
                let policy = ProducePolicy::new("orders", PartitionIndex(data.index), &settings);
                let records = data.records.unwrap_or_default().into_bytes();
                let checked = validate_produce(records, &policy, version, NOW).expect("a good batch");
                let appended = log.append_as_leader(checked.batches, EPOCH, NOW).expect("an append");
                partitions.push(PartitionProduceResponse {
                    index: data.index,
                    base_offset: appended.first.get(),
                    log_append_time_ms: appended.log_append_time.0,
                    log_start_offset: appended.log_start.get(),
                    ..Default::default()
                });
            }
            answers.push(TopicProduceResponse {
                topic_id: topic.topic_id,
                partition_responses: partitions,
                ..Default::default()
            });
        }
        let response = ProduceResponse { responses: answers, ..Default::default() };
        black_box(encoded(ApiKey::Produce, &response, version));
    })
}

/// One MiB of batches of 64 KiB that are still in memory: decoded, read, answered without a copy.
pub fn fetch_tail(folder: &Path) -> Box<dyn FnMut()> {
    use dohle_wire::messages::fetch_request::{FetchPartition, FetchTopic};
    const WANTED: usize = 1 << 20;
    let (mut log, settings) = log(folder);
    let records = batch(Compression::None, 62, 1024);
    let policy = ProducePolicy::new("orders", PartitionIndex(0), &settings);
    let version = ApiKey::Produce.latest_version(false);
    for _ in 0..20 {
        let checked = validate_produce(records.clone().into_bytes(), &policy, version, NOW).expect("a batch");
        log.append_as_leader(checked.batches, EPOCH, NOW).expect("an append");
    }
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: log.end_offset().get() - 16 * 62,
        partition_max_bytes: WANTED as i32,
        ..Default::default()
    };
    let topic = FetchTopic { topic_id: TOPIC, partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![topic],
        session_epoch: -1,
        ..Default::default()
    };
    let (frame, version) = frame(&request);
    Box::new(move || {
        let request: FetchRequest = decoded(&frame, version);
        let wanted = &request.topics[0].partitions[0];
        let end = log.end_offset();
        let read = log.read(Offset(wanted.fetch_offset), end, WANTED, true).expect("a read");
        let Read::Ready(slice) = read else { panic!("the tail is not in memory") };
        assert!(slice.bytes > WANTED / 10 * 9, "only {} bytes", slice.bytes);
        let data = PartitionData {
            high_watermark: end.get(),
            last_stable_offset: end.get(),
            log_start_offset: 0,
            records: Some(RecordBytes::from(slice.chunks)),
            ..Default::default()
        };
        let topic = FetchableTopicResponse { topic_id: TOPIC, partitions: vec![data], ..Default::default() };
        let response = FetchResponse { responses: vec![topic], ..Default::default() };
        black_box(encoded(ApiKey::Fetch, &response, version));
    })
}
