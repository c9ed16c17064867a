//! What producers may send, with Kafka's answers.

use bytes::Bytes;
use dohle_config::{StoredCompression, TimestampType, TopicSettings};
use dohle_records::{
    Batch, BatchBuilder, Compression, DEFAULT_OUTPUT_LIMIT, Header, ProduceBatches, ProducePolicy,
    ProduceRejection, Record, validate_produce,
};
use dohle_types::{
    ErrorCode, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const VERSION: i16 = 12;

fn policy() -> ProducePolicy<'static> {
    ProducePolicy::new("orders", PartitionIndex(3), &TopicSettings::default())
}

fn at(offset_ms: i64) -> TimestampMs {
    TimestampMs(NOW.0 + offset_ms)
}

fn filled(mut builder: BatchBuilder) -> Batch {
    builder.append(
        at(0),
        Some(b"a"),
        Some(b"1"),
        &[Header::new("h", Some("x")), Header::new("h", None::<Bytes>)],
    );
    builder.append(at(-5), Some(b"b"), None, &[]);
    builder.append(at(7), Some(b"c"), Some(&[b'v'; 3000]), &[]);
    builder.build(Offset::ZERO, LeaderEpoch::NONE)
}

fn sample(codec: Compression) -> Batch {
    filled(BatchBuilder::new(codec))
}

fn judge(batch: &Batch, policy: &ProducePolicy<'_>) -> Result<ProduceBatches, ProduceRejection> {
    validate_produce(batch.to_vec().into(), policy, VERSION, NOW)
}

fn taken(batch: &Batch, policy: &ProducePolicy<'_>) -> (Batch, ProduceBatches) {
    let produced = judge(batch, policy).unwrap();
    assert_eq!(produced.batches.len(), 1);
    produced.batches[0].check_crc().unwrap();
    (produced.batches[0].clone(), produced)
}

fn records(batch: &Batch) -> Vec<Record> {
    batch.records(DEFAULT_OUTPUT_LIMIT).map(Result::unwrap).collect()
}

#[track_caller]
fn refused(batch: &Batch, policy: &ProducePolicy<'_>, code: ErrorCode, message: &str) -> ProduceRejection {
    let rejection = judge(batch, policy).unwrap_err();
    assert_eq!((rejection.code, rejection.message.as_str()), (code, message));
    rejection
}

/// Changes a field that the checksum covers.
fn changed(mut batch: Batch, change: impl FnOnce(&mut Batch)) -> Batch {
    change(&mut batch);
    batch.seal();
    batch
}

#[test]
fn good_batches_pass_untouched() {
    for codec in Compression::ALL {
        let batch = sample(codec);
        let bytes = Bytes::from(batch.to_vec());
        let produced = validate_produce(bytes.clone(), &policy(), VERSION, NOW).unwrap();
        assert_eq!(produced.batches, [batch], "{codec:?}");
        assert!(!produced.rewritten);
        assert_eq!(produced.log_append_time, TimestampMs::NONE);
        // One copy: the body is the received buffer's.
        assert_eq!(produced.batches[0].body.as_ptr(), bytes[61..].as_ptr());
    }
}

#[test]
fn exactly_one_batch_of_format_2() {
    let judge = |bytes: Vec<u8>, version| validate_produce(bytes.into(), &policy(), version, NOW);
    let answer = |bytes: Vec<u8>| {
        let rejection = judge(bytes, 9).unwrap_err();
        assert_eq!(rejection.response_message(), None);
        assert!(!rejection.tells_log_start);
        (rejection.code, rejection.message)
    };
    let good = sample(Compression::None).to_vec();
    let none = "Produce requests with version 9 must have at least one record batch per partition".to_owned();
    assert_eq!(answer(Vec::new()), (ErrorCode::InvalidRecord, none.clone()));
    assert_eq!(answer(good[..good.len() - 1].to_vec()), (ErrorCode::InvalidRecord, none));
    let two = [&good[..], &good[..]].concat();
    let message =
        "Produce requests with version 9 are only allowed to contain exactly one record batch per partition"
            .to_owned();
    assert_eq!(answer(two), (ErrorCode::InvalidRecord, message));
    let mut old = good.clone();
    old[16] = 1;
    let message =
        "Produce requests with version 9 are only allowed to contain record batches with magic version 2"
            .to_owned();
    assert_eq!(answer(old), (ErrorCode::InvalidRecord, message));
    let mut unknown = good.clone();
    unknown[16] = 3;
    assert_eq!(answer(unknown), (ErrorCode::CorruptMessage, "Invalid magic found in record: 3".to_owned()));
    let mut tiny = good.clone();
    tiny[8..12].copy_from_slice(&13u32.to_be_bytes());
    let message = "Record size 13 is less than the minimum record overhead (14)".to_owned();
    assert_eq!(answer(tiny), (ErrorCode::CorruptMessage, message));
    // A whole frame, but less than a header.
    let mut short = good.clone();
    short[8..12].copy_from_slice(&20u32.to_be_bytes());
    short.truncate(32);
    assert_eq!(answer(short).0, ErrorCode::CorruptMessage);
    // What is cut short behind the batch is cut off.
    let trailing = [&good[..], &good[..40]].concat();
    assert_eq!(judge(trailing, 9).unwrap().batches[0].to_vec(), good);

    let rejection = judge(sample(Compression::Zstd).to_vec(), 6).unwrap_err();
    assert_eq!(rejection.code, ErrorCode::UnsupportedCompressionType);
    assert_eq!(
        rejection.message,
        "Produce requests with version 6 are not allowed to use ZStandard compression"
    );
    assert!(judge(sample(Compression::Zstd).to_vec(), 7).is_ok());
}

#[test]
fn headers_that_lie() {
    let good = || sample(Compression::None);
    let invalid = ErrorCode::InvalidRecord;
    refused(
        &changed(good(), |batch| batch.header.base_offset = Offset(4)),
        &policy(),
        invalid,
        "The baseOffset of the record batch in the append to orders-3 should be 0, but it is 4",
    );
    refused(
        &changed(good(), |batch| batch.header.last_offset_delta = -1),
        &policy(),
        invalid,
        "Batch has an invalid offset range: [0, -1] in topic partition orders-3",
    );
    refused(
        &changed(good(), |batch| batch.header.record_count = 0),
        &policy(),
        invalid,
        "Invalid reported count for record batch: 0 in topic partition orders-3",
    );
    refused(
        &changed(good(), |batch| batch.header.record_count = 2),
        &policy(),
        invalid,
        "Inconsistent batch offset range [0, 2] and count of records 2 in topic partition orders-3",
    );
    refused(
        &filled(BatchBuilder::new(Compression::None).control()),
        &policy(),
        invalid,
        "Clients are not allowed to write control records in topic partition orders-3",
    );
    let producer = |sequence| {
        filled(BatchBuilder::new(Compression::Lz4).producer(
            ProducerId(8),
            ProducerEpoch(0),
            Sequence(sequence),
        ))
    };
    refused(
        &producer(-1),
        &policy(),
        invalid,
        "Invalid sequence number -1 in record batch with producerId 8 in topic partition orders-3",
    );
    taken(&producer(0), &policy());
    let mut corrupt = good();
    corrupt.header.crc = 99;
    refused(
        &corrupt,
        &policy(),
        ErrorCode::CorruptMessage,
        "Record is corrupt (stored crc = 99) in topic partition orders-3.",
    );
    let codec = changed(good(), |batch| batch.header.attributes.0 |= 7);
    assert_eq!(judge(&codec, &policy()).unwrap_err().code, ErrorCode::UnsupportedCompressionType);
}

#[test]
fn sizes() {
    let batch = sample(Compression::None);
    let size = batch.size() as u32;
    taken(&batch, &ProducePolicy { max_message_bytes: size, segment_bytes: size, ..policy() });
    refused(
        &batch,
        &ProducePolicy { max_message_bytes: size - 1, ..policy() },
        ErrorCode::MessageTooLarge,
        &format!(
            "The record batch size in the append to orders-3 is {size} bytes which exceeds the maximum configured value of {}).",
            size - 1
        ),
    );
    refused(
        &batch,
        &ProducePolicy { segment_bytes: size - 1, ..policy() },
        ErrorCode::RecordListTooLarge,
        &format!(
            "Message batch size is {size} bytes in append to partition orders-3, which exceeds the maximum configured segment size of {}.",
            size - 1
        ),
    );
    let packed = sample(Compression::Gzip);
    let unpacking = ProducePolicy {
        compression: StoredCompression::Uncompressed,
        max_message_bytes: packed.size() as u32,
        ..policy()
    };
    assert_eq!(judge(&packed, &unpacking).unwrap_err().code, ErrorCode::MessageTooLarge);
    let bomb = ProducePolicy { compacted: true, max_uncompressed_bytes: 1000, ..policy() };
    assert_eq!(judge(&packed, &bomb).unwrap_err().code, ErrorCode::MessageTooLarge);
}

#[test]
fn records_that_are_not() {
    let good = sample(Compression::None);
    for at in 0..good.body.len().min(60) {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let broken = changed(good.clone(), |batch| {
                let mut body = batch.body.to_vec();
                body[at] = value;
                batch.body = body.into();
            });
            if let Err(rejection) = judge(&broken, &policy()) {
                assert!(
                    matches!(rejection.code, ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp),
                    "{rejection}"
                );
            }
        }
    }
    let longer = changed(good.clone(), |batch| {
        batch.body = [&batch.body[..], &[0]].concat().into();
        batch.header.batch_length += 1;
    });
    let rejection = judge(&longer, &policy()).unwrap_err();
    assert_eq!(rejection.code, ErrorCode::InvalidRecord);
    assert!(rejection.record_errors.is_empty());
    let mut gaps = BatchBuilder::new(Compression::None);
    gaps.append(at(0), None, Some(b"1"), &[]);
    gaps.append_at(2, at(0), None, Some(b"2"), &[]);
    let gaps =
        changed(gaps.build(Offset::ZERO, LeaderEpoch::NONE), |batch| batch.header.last_offset_delta = 1);
    assert_eq!(judge(&gaps, &policy()).unwrap_err().code, ErrorCode::InvalidRecord);
}

#[test]
fn records_are_numbered_anew_where_they_are_packed_anew() {
    for codec in Compression::ALL {
        let mut gaps = BatchBuilder::new(codec);
        gaps.append(at(0), Some(b"a"), Some(b"1"), &[]);
        gaps.append_at(5, at(1), Some(b"b"), Some(b"2"), &[]);
        let gaps =
            changed(gaps.build(Offset::ZERO, LeaderEpoch::NONE), |batch| batch.header.last_offset_delta = 1);
        for stored in [StoredCompression::Gzip, StoredCompression::Lz4] {
            match judge(&gaps, &ProducePolicy { compression: stored, compacted: true, ..policy() }) {
                Ok(produced) => {
                    assert!(produced.rewritten);
                    let offsets: Vec<i64> =
                        records(&produced.batches[0]).iter().map(|record| record.offset.0).collect();
                    assert_eq!(offsets, [0, 1]);
                }
                Err(rejection) => {
                    assert_eq!(rejection.code, ErrorCode::InvalidRecord);
                    let kept = matches!(
                        (codec, stored),
                        (Compression::Gzip, StoredCompression::Gzip)
                            | (Compression::Lz4, StoredCompression::Lz4)
                    );
                    assert!(kept, "{codec:?} to {stored:?}");
                }
            }
        }
    }
}

/// The maximum in the header of a compressed batch is believed, unless it can't be.
#[test]
fn an_impossible_maximum_is_corrected() {
    for codec in Compression::ALL {
        let sent = changed(sample(codec), |batch| batch.header.max_timestamp = TimestampMs::NONE);
        let (batch, _) = taken(&sent, &policy());
        assert_eq!(batch.header.max_timestamp, at(7), "{codec:?}");
    }
}

#[test]
fn compacted_topics_need_keys() {
    let policy = ProducePolicy { compacted: true, ..policy() };
    for codec in Compression::ALL {
        taken(&sample(codec), &policy);
        let mut builder = BatchBuilder::new(codec);
        builder.append(at(0), Some(b"k"), Some(b"1"), &[]);
        for _ in 0..4 {
            builder.append(at(0), None, Some(b"2"), &[]);
        }
        let one = "RecordError(batchIndex=N, message='Compacted topic cannot accept message without key in topic partition orders-3')";
        let shown: Vec<String> = (1..4).map(|index| one.replace('N', &index.to_string())).collect();
        let rejection = refused(
            &builder.build(Offset::ZERO, LeaderEpoch::NONE),
            &policy,
            ErrorCode::InvalidRecord,
            &format!(
                "One or more records have been rejected due to 4 record errors in total, and only showing the first three errors at most: [{}]",
                shown.join(", ")
            ),
        );
        assert_eq!(rejection.record_errors.len(), 4);
        assert_eq!(rejection.record_errors[3].0, 4);
        assert!(rejection.response_message().is_some());
        assert!(rejection.tells_log_start);
    }
}

#[test]
fn timestamps_have_bounds() {
    let hour = 3_600_000;
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(codec);
        builder.append(at(0), None, None, &[]);
        builder.append(at(hour + 1), None, None, &[]);
        builder.append(TimestampMs::NONE, None, None, &[]);
        let late = builder.build(Offset::ZERO, LeaderEpoch::NONE);
        let rejection = refused(
            &late,
            &policy(),
            ErrorCode::InvalidTimestamp,
            "One or more records have been rejected due to invalid timestamp",
        );
        let message = format!(
            "Timestamp {} of message with offset 1 is out of range. The timestamp should be within [{}, {}]",
            NOW.0 + hour + 1,
            NOW.0.wrapping_sub(i64::MAX),
            NOW.0 + hour
        );
        assert_eq!(rejection.record_errors, [(1, Some(message))], "{codec:?}");
        let past = ProducePolicy { timestamp_before_max_ms: 4, ..policy() };
        let rejection = judge(&sample(codec), &past).unwrap_err();
        assert_eq!(rejection.code, ErrorCode::InvalidTimestamp);
        assert_eq!(rejection.record_errors[0].0, 1);
        taken(&sample(codec), &ProducePolicy { timestamp_before_max_ms: 5, ..policy() });
        // Nobody asks how old or new it is where the broker sets the time.
        taken(&late, &ProducePolicy { timestamp_type: TimestampType::LogAppendTime, ..policy() });
    }
}

#[test]
fn append_time_is_set_in_the_header_alone() {
    let policy = ProducePolicy { timestamp_type: TimestampType::LogAppendTime, ..policy() };
    for codec in Compression::ALL {
        let sent = sample(codec);
        let (batch, produced) = taken(&sent, &policy);
        assert_eq!(produced.log_append_time, NOW);
        assert!(!produced.rewritten);
        assert_eq!(batch.body, sent.body);
        assert_eq!(batch.header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(batch.header.max_timestamp, NOW);
        assert!(records(&batch).iter().all(|record| record.timestamp == NOW));
        let claimed = filled(BatchBuilder::new(codec).log_append_time(NOW));
        let rejection = judge(&claimed, &policy).unwrap_err();
        assert_eq!(rejection.code, ErrorCode::InvalidTimestamp);
        let (class, null) =
            if codec == Compression::None { ("DefaultRecord", 0) } else { ("PartialDefaultRecord", -1) };
        assert_eq!(
            rejection.record_errors[1].1.as_deref().unwrap(),
            format!(
                "Invalid timestamp type in message {class}(offset=1, timestamp={NOW}, key=1 bytes, value={null} bytes). Producer should not set timestamp type to LogAppendTime."
            )
        );
    }
}

#[test]
fn a_create_time_topic_overrules_the_sender() {
    for codec in Compression::ALL {
        let (batch, _) = taken(&filled(BatchBuilder::new(codec).log_append_time(NOW)), &policy());
        assert_eq!(batch.header.timestamp_type(), TimestampType::CreateTime);
        assert_eq!(batch.header.max_timestamp, NOW);
    }
    let wrong_maximum =
        changed(sample(Compression::None), |batch| batch.header.max_timestamp = TimestampMs(1));
    let (batch, _) = taken(&wrong_maximum, &policy());
    assert_eq!(batch.header.max_timestamp, at(7));
}

#[test]
fn topics_with_a_codec_of_their_own() {
    for (stored, target) in [
        (StoredCompression::Uncompressed, Compression::None),
        (StoredCompression::Gzip, Compression::Gzip),
        (StoredCompression::Snappy, Compression::Snappy),
        (StoredCompression::Lz4, Compression::Lz4),
        (StoredCompression::Zstd, Compression::Zstd),
    ] {
        for source in Compression::ALL {
            for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
                let policy = ProducePolicy { compression: stored, timestamp_type, ..policy() };
                let builder = BatchBuilder::new(source)
                    .producer(ProducerId(9), ProducerEpoch(1), Sequence(44))
                    .transactional(true);
                let sent = filled(builder);
                let (batch, produced) = taken(&sent, &policy);
                assert_eq!(produced.rewritten, source != target);
                assert_eq!(batch.header.compression(), Ok(target));
                assert_eq!(batch.header.timestamp_type(), timestamp_type);
                assert_eq!(batch.header.base_sequence, Sequence(44));
                assert!(batch.header.is_transactional());
                let mut expected = records(&sent);
                if timestamp_type == TimestampType::LogAppendTime {
                    expected.iter_mut().for_each(|record| record.timestamp = NOW);
                }
                assert_eq!(records(&batch), expected);
            }
        }
    }
}

#[test]
fn broken_streams_are_the_clients_fault() {
    let policy = ProducePolicy { compacted: true, ..policy() };
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let broken = changed(sample(codec), |batch| {
            let mut body = batch.body.to_vec();
            let middle = body.len() / 2;
            body.truncate(middle);
            batch.header.batch_length = (49 + body.len()) as i32;
            batch.body = body.into();
        });
        assert_eq!(judge(&broken, &policy).unwrap_err().code, ErrorCode::InvalidRecord, "{codec:?}");
    }
}
