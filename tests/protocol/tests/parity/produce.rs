//! Produce, its errors and its idempotent producers; DeleteRecords.

use bytes::Bytes;
use dohle_records::{BatchBuilder, Compression};
use dohle_tests_protocol::connection::{all_versions, some_versions};
use dohle_tests_protocol::run::Run;
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, Uuid};
use dohle_wire::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use dohle_wire::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use dohle_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use dohle_wire::{ApiKey, RecordBytes};

/// The time of the first record of every batch.
pub const TIME: i64 = 1_700_000_000_000;

pub fn script(run: &mut Run) {
    errors(run);
    run.end("produce");
    batches(run);
    run.end("produce_batches");
    idempotent(run);
    run.end("produce_idempotent");
    delete_records(run);
    run.end("delete_records");
}

pub fn batch(count: i64) -> Bytes {
    build(BatchBuilder::new(Compression::None), count)
}

fn build(mut builder: BatchBuilder, count: i64) -> Bytes {
    for n in 0..count {
        builder.append(TimestampMs(TIME + n), Some(format!("k{n}").as_bytes()), Some(b"value"), &[]);
    }
    builder.build(Offset(0), LeaderEpoch(-1)).to_vec().into()
}

pub fn request(topic: &str, id: Uuid, partition: i32, records: Option<Bytes>, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData {
        index: partition,
        records: records.map(RecordBytes::from),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: topic.into(),
        topic_id: id,
        partition_data: vec![data],
        ..Default::default()
    };
    ProduceRequest { acks, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() }
}

fn errors(run: &mut Run) {
    let id = run.topic("p-one", 2, &[]);
    let two = run.topic("p-twice", 2, &[]);
    let unknown = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
    for version in all_versions(ApiKey::Produce) {
        run.ask("valid", version, &request("p-one", id, 0, Some(batch(1)), -1));
        run.ask("acks 1", version, &request("p-one", id, 0, Some(batch(1)), 1));
        run.ask("unknown topic", version, &request("p-none", unknown, 0, Some(batch(1)), -1));
        run.ask("unknown partition", version, &request("p-one", id, 9, Some(batch(1)), -1));
        run.ask("partition below zero", version, &request("p-one", id, -1, Some(batch(1)), 1));
    }
    for version in some_versions(ApiKey::Produce) {
        for acks in [2, -2, 127] {
            run.ask(&format!("acks {acks}"), version, &request("p-one", id, 0, Some(batch(1)), acks));
        }
        run.ask("acks 2, unknown topic", version, &request("p-none", unknown, 0, Some(batch(1)), 2));
        run.ask("no topics", version, &ProduceRequest { acks: -1, timeout_ms: 100, ..Default::default() });
        // Records that are null are not asked for: Kafka fails over them, and answers nothing.
        run.ask("empty records", version, &request("p-one", id, 0, Some(Bytes::new()), -1));
        run.ask("no name, no id", version, &request("", Uuid::ZERO, 0, Some(batch(1)), -1));
        run.ask("a name that is none", version, &request("a b", unknown, 0, Some(batch(1)), -1));
        run.ask(
            "a timeout of zero",
            version,
            &ProduceRequest { timeout_ms: 0, ..request("p-one", id, 0, Some(batch(1)), 1) },
        );
        run.ask(
            "a timeout below zero",
            version,
            &ProduceRequest { timeout_ms: -1, ..request("p-one", id, 0, Some(batch(1)), 1) },
        );
        let mut twice = request("p-twice", two, 0, Some(batch(1)), -1);
        let again = twice.topic_data[0].partition_data[0].clone();
        twice.topic_data[0].partition_data.push(again);
        run.ask("a partition twice", version, &twice);
        let mut two_topics = request("p-twice", two, 0, Some(batch(1)), -1);
        two_topics.topic_data.extend(request("p-twice", two, 1, Some(batch(1)), -1).topic_data);
        run.ask("a topic twice", version, &two_topics);
        let mut mixed = request("p-one", id, 0, Some(batch(1)), -1);
        mixed.topic_data.extend(request("p-none", unknown, 1, Some(batch(1)), -1).topic_data);
        mixed.topic_data[0]
            .partition_data
            .extend(request("p-one", id, 7, Some(batch(1)), -1).topic_data.remove(0).partition_data);
        run.ask("good and bad", version, &mixed);
        let transactional = ProduceRequest {
            transactional_id: Some("t".into()),
            ..request("p-one", id, 0, Some(batch(1)), -1)
        };
        run.ask("a transactional id, plain records", version, &transactional);
        let in_a_transaction = build(
            BatchBuilder::new(Compression::None)
                .producer(ProducerId(77), ProducerEpoch(0), Sequence(0))
                .transactional(true),
            1,
        );
        run.ask(
            "records of a transaction without an id",
            version,
            &request("p-one", id, 0, Some(in_a_transaction.clone()), -1),
        );
    }
    silent(run, id, unknown);
}

/// With acks 0 nothing is answered; what fails closes the connection.
fn silent(run: &mut Run, id: Uuid, unknown: Uuid) {
    let long = Bytes::from(vec![0u8; 30]);
    for version in some_versions(ApiKey::Produce) {
        let cases = [
            ("valid", request("p-one", id, 0, Some(batch(1)), 0)),
            ("unknown topic", request("p-none", unknown, 0, Some(batch(1)), 0)),
            ("unknown partition", request("p-one", id, 5, Some(batch(1)), 0)),
            ("garbage", request("p-one", id, 0, Some(long.clone()), 0)),
            ("no topics", ProduceRequest { acks: 0, timeout_ms: 100, ..Default::default() }),
        ];
        for (name, request) in cases {
            run.reconnect();
            let connection = run.connection();
            let frame = connection.frame(&request, version).expect("a request");
            connection.send(&frame);
            connection.send(&dohle_tests_protocol::connection::head(18, 0, 99));
            let next = connection.receive();
            let line = match next {
                Some(frame) if frame[..4] == 99i32.to_be_bytes() => "the next request is answered",
                Some(_) => "an answer",
                None => "the connection is closed",
            };
            run.note(&format!("acks 0, {name} v{version}"), vec![line.to_owned()]);
            run.reconnect();
        }
    }
}

/// Batches that are wrong in one way.
fn batches(run: &mut Run) {
    let id = run.topic(
        "p-bad",
        1,
        &[("max.message.bytes", "1000"), ("message.timestamp.after.max.ms", "3600000")],
    );
    let before = run.topic("p-old", 1, &[("message.timestamp.before.max.ms", "3600000")]);
    let compacted = run.topic("p-compact", 1, &[("cleanup.policy", "compact")]);
    let append_time = run.topic("p-append", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let lie = run.topic("p-lie", 1, &[]);
    let lie_old = run.topic("p-lie-old", 1, &[("message.timestamp.before.max.ms", "3600000")]);
    let lie_compact = run.topic("p-lie-compact", 1, &[("cleanup.policy", "compact")]);
    let lie_append = run.topic("p-lie-append", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let good = batch(2);
    let changed = |at: usize, with: &[u8], seal: bool| {
        let mut bytes = good.to_vec();
        bytes[at..at + with.len()].copy_from_slice(with);
        if seal {
            let crc = crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        }
        Some(Bytes::from(bytes))
    };
    let joined = |parts: &[Bytes]| Some(Bytes::from(parts.concat()));
    let large = {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(TimestampMs(TIME), None, Some(&[7; 2000]), &[]);
        Some(Bytes::from(builder.build(Offset(0), LeaderEpoch(-1)).to_vec()))
    };
    let at_time = |time: i64| {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(TimestampMs(time), Some(b"k"), Some(b"v"), &[]);
        builder.append(TimestampMs(TIME), Some(b"k"), Some(b"v"), &[]);
        Some(Bytes::from(builder.build(Offset(0), LeaderEpoch(-1)).to_vec()))
    };
    let compressed = |codec| Some(build(BatchBuilder::new(codec), 3));
    let cases: Vec<(&str, Option<Bytes>)> = vec![
        ("good", Some(good.clone())),
        ("gzip", compressed(Compression::Gzip)),
        ("snappy", compressed(Compression::Snappy)),
        ("lz4", compressed(Compression::Lz4)),
        ("zstd", compressed(Compression::Zstd)),
        ("bad crc", changed(17, &[1, 2, 3, 4], false)),
        ("magic 0", changed(16, &[0], false)),
        ("magic 1", changed(16, &[1], false)),
        ("magic 3", changed(16, &[3], false)),
        ("base offset 5", changed(0, &5i64.to_be_bytes(), true)),
        ("base offset below zero", changed(0, &(-5i64).to_be_bytes(), true)),
        ("length 0", changed(8, &0i32.to_be_bytes(), false)),
        ("length below zero", changed(8, &(-1i32).to_be_bytes(), false)),
        ("length too long", changed(8, &500i32.to_be_bytes(), false)),
        ("length too short", changed(8, &60i32.to_be_bytes(), false)),
        ("length 48", changed(8, &48i32.to_be_bytes(), false)),
        ("codec 5", changed(21, &5i16.to_be_bytes(), true)),
        ("codec 7", changed(21, &7i16.to_be_bytes(), true)),
        ("gzip that is none", changed(21, &1i16.to_be_bytes(), true)),
        ("zstd that is none", changed(21, &4i16.to_be_bytes(), true)),
        ("log append time from a client", changed(21, &8i16.to_be_bytes(), true)),
        ("transactional without a producer", changed(21, &16i16.to_be_bytes(), true)),
        ("control", changed(21, &32i16.to_be_bytes(), true)),
        ("a delete horizon", changed(21, &64i16.to_be_bytes(), true)),
        ("unused attributes", changed(21, &128i16.to_be_bytes(), true)),
        ("last offset delta 0", changed(23, &0i32.to_be_bytes(), true)),
        ("last offset delta 9", changed(23, &9i32.to_be_bytes(), true)),
        ("last offset delta below zero", changed(23, &(-1i32).to_be_bytes(), true)),
        ("record count 0", changed(57, &0i32.to_be_bytes(), true)),
        ("record count 1", changed(57, &1i32.to_be_bytes(), true)),
        ("record count 3", changed(57, &3i32.to_be_bytes(), true)),
        ("record count below zero", changed(57, &(-1i32).to_be_bytes(), true)),
        ("record count huge", changed(57, &i32::MAX.to_be_bytes(), true)),
        ("a record's length too long", changed(61, &[0x7e], true)),
        ("a record's length too short", changed(61, &[0x02], true)),
        ("an offset delta that is none", changed(64, &[0x0e], true)),
        ("a leader epoch", changed(12, &7i32.to_be_bytes(), false)),
        ("a producer without epoch", changed(43, &9i64.to_be_bytes(), true)),
        ("a max timestamp that is another", changed(35, &(TIME + 500).to_be_bytes(), true)),
        ("base timestamp below zero", changed(27, &(-7i64).to_be_bytes(), true)),
        ("two batches", joined(&[good.clone(), good.clone()])),
        ("a batch and a half", joined(&[good.clone(), good.slice(..30)])),
        ("a batch and a length", joined(&[good.clone(), good.slice(..12)])),
        ("half a batch", Some(good.slice(..40))),
        ("a few bytes", Some(good.slice(..5))),
        ("garbage", Some(Bytes::from_static(&[0x55; 100]))),
        ("too large", large),
        ("no timestamp", at_time(-1)),
        ("a timestamp of the future", at_time(4_000_000_000_000)),
        ("a timestamp of the past", at_time(1)),
        (
            "empty batch",
            Some(build(
                BatchBuilder::new(Compression::None).producer(ProducerId(3), ProducerEpoch(0), Sequence(0)),
                0,
            )),
        ),
    ];
    for (name, records) in cases {
        // What the offsets that follow depend on stays out of the other topics.
        let topics = if name.ends_with("that is none") {
            [
                ("p-lie", lie),
                ("p-lie-old", lie_old),
                ("p-lie-compact", lie_compact),
                ("p-lie-append", lie_append),
            ]
        } else {
            [("p-bad", id), ("p-old", before), ("p-compact", compacted), ("p-append", append_time)]
        };
        for version in [3, 7, 13] {
            run.ask(name, version, &request(topics[0].0, topics[0].1, 0, records.clone(), -1));
        }
        for (word, (topic, id)) in ["old", "compacted", "append time"].into_iter().zip(&topics[1..]) {
            run.ask(&format!("{word}, {name}"), 13, &request(topic, *id, 0, records.clone(), -1));
        }
    }
    let mut no_key = BatchBuilder::new(Compression::None);
    no_key.append(TimestampMs(TIME), Some(b"k"), Some(b"v"), &[]);
    no_key.append(TimestampMs(TIME), None, Some(b"v"), &[]);
    no_key.append(TimestampMs(TIME), None, None, &[]);
    let no_key = Bytes::from(no_key.build(Offset(0), LeaderEpoch(-1)).to_vec());
    for version in [3, 7, 8, 13] {
        run.ask(
            "compacted, records without a key",
            version,
            &request("p-compact", compacted, 0, Some(no_key.clone()), -1),
        );
        run.ask("compacted, acks 1", version, &request("p-compact", compacted, 0, Some(no_key.clone()), 1));
    }
    for name in ["p-bad", "p-old", "p-compact", "p-append"] {
        let asked = ListOffsetsPartition { timestamp: -1, ..Default::default() };
        let topic = ListOffsetsTopic { name: name.into(), partitions: vec![asked], ..Default::default() };
        run.ask(
            &format!("the end of {name}"),
            7,
            &ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() },
        );
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    dohle_records::batch_crc(&[bytes])
}

fn idempotent(run: &mut Run) {
    let id = run.topic("p-idem", 2, &[]);
    let of = |producer: i64, epoch: i16, sequence: i32, count: i64| {
        Some(build(
            BatchBuilder::new(Compression::None).producer(
                ProducerId(producer),
                ProducerEpoch(epoch),
                Sequence(sequence),
            ),
            count,
        ))
    };
    let steps: &[(&str, i64, i16, i32, i64)] = &[
        ("the first", 500, 0, 0, 2),
        ("the second", 500, 0, 2, 1),
        ("the first again", 500, 0, 0, 2),
        ("the second again", 500, 0, 2, 1),
        ("a gap", 500, 0, 5, 1),
        ("an overlap", 500, 0, 1, 1),
        ("an overlap that ends late", 500, 0, 2, 4),
        ("the third", 500, 0, 3, 3),
        ("4", 500, 0, 6, 1),
        ("5", 500, 0, 7, 1),
        ("6", 500, 0, 8, 1),
        ("7", 500, 0, 9, 1),
        ("8", 500, 0, 10, 1),
        ("the first, long ago", 500, 0, 0, 2),
        ("the fourth again", 500, 0, 6, 1),
        ("a new epoch, wrong start", 500, 1, 5, 1),
        ("a new epoch", 500, 1, 0, 1),
        ("the old epoch", 500, 0, 11, 1),
        ("a far epoch", 500, 30, 0, 1),
        ("a new producer, wrong start", 501, 0, 7, 1),
        ("it goes on", 501, 0, 8, 1),
        ("it goes back", 501, 0, 0, 1),
        ("epoch below zero", 502, -1, 0, 1),
        ("sequence below zero", 502, 0, -1, 1),
        ("sequence below -1", 502, 0, -7, 1),
        ("near the end", 503, 0, i32::MAX - 1, 2),
        ("around", 503, 0, 0, 2),
        ("across", 504, 0, i32::MAX - 1, 4),
        ("after", 504, 0, 2, 1),
        ("the highest epoch", 505, i16::MAX, 0, 1),
    ];
    for (name, producer, epoch, sequence, count) in steps {
        run.ask(name, 13, &request("p-idem", id, 0, of(*producer, *epoch, *sequence, *count), -1));
    }
    for (name, producer, epoch, sequence, count) in steps {
        run.ask(
            &format!("old protocol, {name}"),
            3,
            &request("p-idem", id, 1, of(producer + 1000, *epoch, *sequence, *count), 1),
        );
    }
    let two = Bytes::from([of(600, 0, 0, 1).expect("a batch"), of(600, 0, 1, 1).expect("a batch")].concat());
    run.ask("two batches of one producer", 13, &request("p-idem", id, 0, Some(two), -1));
    let mixed = Bytes::from([of(601, 0, 0, 1).expect("a batch"), batch(1)].concat());
    run.ask("one with a producer, one without", 13, &request("p-idem", id, 0, Some(mixed), -1));
}

fn delete_records(run: &mut Run) {
    let id = run.topic("d-one", 1, &[]);
    run.topic("d-compact", 1, &[("cleanup.policy", "compact")]);
    run.topic("d-both", 1, &[("cleanup.policy", "compact,delete")]);
    run.ask("fill", 13, &request("d-one", id, 0, Some(batch(10)), -1));
    let delete = |topic: &str, partition: i32, offset: i64| DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: partition,
                offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        timeout_ms: 5000,
        ..Default::default()
    };
    let cases = [
        ("unknown topic", delete("d-none", 0, 0)),
        ("unknown partition", delete("d-one", 3, 0)),
        ("partition below zero", delete("d-one", -1, 0)),
        ("to 0", delete("d-one", 0, 0)),
        ("to 3", delete("d-one", 0, 3)),
        ("back to 2", delete("d-one", 0, 2)),
        ("too far", delete("d-one", 0, 11)),
        ("below -1", delete("d-one", 0, -2)),
        ("compacted", delete("d-compact", 0, 0)),
        ("compacted and deleted", delete("d-both", 0, 0)),
        ("internal", delete("__consumer_offsets", 0, 0)),
        ("the metadata", delete("__cluster_metadata", 0, 1)),
        ("no name", delete("", 0, 0)),
        ("nothing", DeleteRecordsRequest { timeout_ms: 100, ..Default::default() }),
        ("no time", DeleteRecordsRequest { timeout_ms: 0, ..delete("d-one", 0, 4) }),
        ("to the end", delete("d-one", 0, -1)),
        ("to the end again", delete("d-one", 0, -1)),
    ];
    for (name, request) in &cases {
        run.ask_in_some(name, request);
    }
    let mut twice = delete("d-one", 0, 10);
    let more = delete("d-one", 0, 9).topics.remove(0).partitions;
    twice.topics[0].partitions.extend(more);
    run.ask("a partition twice", 2, &twice);
    let mut topics = delete("d-one", 0, 10);
    topics.topics.extend(delete("d-none", 0, 10).topics);
    run.ask("good and bad", 2, &topics);
    run.ask("after it", 13, &request("d-one", id, 0, Some(batch(1)), -1));
}
