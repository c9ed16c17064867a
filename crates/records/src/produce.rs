//! What a producer may append: Kafka's checks in Kafka's order, without decompressing where the header can answer.
//!
//! The stations, and where Kafka has them: the bytes hold exactly one batch of format 2 (`ProduceRequest.validateRecords`); its
//! base offset, size and checksum (`UnifiedLog.analyzeAndValidateRecords`); its header's story is consistent, and its records
//! are such as the topic takes (`LogValidator`).
//!
//! Records that are not compressed are all walked: it costs a few nanoseconds each and proves count, sizes and offsets.
//! Compressed ones are walked only where the topic's settings make it necessary:
//! - the topic is compacted, so every record needs a key;
//! - the topic stores another codec, so they are packed anew;
//! - `message.timestamp.before.max.ms` is set: the header does not say which timestamp is the smallest;
//! - the header's timestamps or its timestamp type are not acceptable, so that the answer can name the records, or its maximum
//!   lies before the first record's timestamp, which it can't.
//!
//! That is enough for `message.timestamp.after.max.ms`, which every topic has: the header's maximum is the bound that matters.
//! A client whose header claims less than its records hold gets them in, and spoils time lookups in its own topic only; readers
//! look at the records' own timestamps. Kafka would decompress every batch to correct such a header.

use bytes::Bytes;
use dohle_config::TimestampType;
use dohle_types::{ErrorCode, Offset, TimestampMs};

use crate::batch::{Batch, check_crc_of};
use crate::builder::BatchBuilder;
use crate::codec::Compression;
use crate::error::BatchError;
use crate::header::{Attributes, BatchHeader, HEADER_LEN, MAGIC};
use crate::policy::ProducePolicy;
use crate::rejection::ProduceRejection;
use crate::stored::Frame;
use crate::walk::{Walk, WalkEnd};

/// The first version of Produce that may carry zstd.
const FIRST_VERSION_WITH_ZSTD: i16 = 7;

/// Records that may be appended once they have their offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceBatches {
    /// Exactly one, as the protocol has it. Its base offset is 0.
    pub batches: Vec<Batch>,
    /// The time given to the records, `NONE` where they keep their own.
    pub log_append_time: TimestampMs,
    /// Whether the body was packed anew.
    pub rewritten: bool,
}

/// Judges the records of one partition in a produce request of version `api_version`, and brings them into the form in which
/// they are stored but for offset and leader epoch.
pub fn validate_produce(
    bytes: Bytes,
    policy: &ProducePolicy<'_>,
    api_version: i16,
    now: TimestampMs,
) -> Result<ProduceBatches, ProduceRejection> {
    let whole = only_batch(bytes, api_version)?;
    let header = check_integrity(&whole, policy)?;
    let codec = header.compression().map_err(|error| structure_rejection(error, policy))?;
    check_header(&header, policy)?;
    let batch = Batch { header, body: whole.slice(HEADER_LEN..) };
    let (batch, rewritten) = settle(batch, codec, policy, now)?;
    if batch.size() > policy.segment_bytes as usize {
        let message = format!(
            "Message batch size is {} bytes in append to partition {}, which exceeds the maximum configured segment size of {}.",
            batch.size(),
            policy.topic_partition(),
            policy.segment_bytes
        );
        return Err(ProduceRejection::new(ErrorCode::RecordListTooLarge, message));
    }
    let log_append_time = match policy.timestamp_type {
        TimestampType::CreateTime => TimestampMs::NONE,
        TimestampType::LogAppendTime => now,
    };
    Ok(ProduceBatches { batches: vec![batch], log_append_time, rewritten })
}

/// The one batch in `bytes`. What follows it and is no whole batch is cut off, as Kafka does.
fn only_batch(bytes: Bytes, version: i16) -> Result<Bytes, ProduceRejection> {
    let invalid = |what: &str| {
        let message = format!("Produce requests with version {version} {what}");
        Err(ProduceRejection::of_request(ErrorCode::InvalidRecord, message))
    };
    let Some(frame) = next_frame(&bytes)? else {
        return invalid("must have at least one record batch per partition");
    };
    if frame.magic != MAGIC {
        return invalid("are only allowed to contain record batches with magic version 2");
    }
    let whole = bytes.slice(..frame.size);
    if version < FIRST_VERSION_WITH_ZSTD
        && BatchHeader::parse(&whole).is_ok_and(|header| header.compression() == Ok(Compression::Zstd))
    {
        let message =
            format!("Produce requests with version {version} are not allowed to use ZStandard compression");
        return Err(ProduceRejection::of_request(ErrorCode::UnsupportedCompressionType, message));
    }
    if next_frame(&bytes[frame.size..])?.is_some() {
        return invalid("are only allowed to contain exactly one record batch per partition");
    }
    Ok(whole)
}

/// The frame at the start of `bytes` if all of it is there.
fn next_frame(bytes: &[u8]) -> Result<Option<Frame>, ProduceRejection> {
    match Frame::peek(bytes) {
        Ok(frame) => Ok((frame.size <= bytes.len()).then_some(frame)),
        Err(BatchError::Incomplete { .. }) => Ok(None),
        Err(BatchError::TooSmall { size, minimum }) => {
            let message = format!("Record size {size} is less than the minimum record overhead ({minimum})");
            Err(ProduceRejection::of_request(ErrorCode::CorruptMessage, message))
        }
        Err(error) => {
            let message = match error {
                BatchError::UnknownMagic(magic) => format!("Invalid magic found in record: {magic}"),
                other => other.to_string(),
            };
            Err(ProduceRejection::of_request(ErrorCode::CorruptMessage, message))
        }
    }
}

/// Base offset, size and checksum.
fn check_integrity(whole: &Bytes, policy: &ProducePolicy<'_>) -> Result<BatchHeader, ProduceRejection> {
    let place = policy.topic_partition();
    let frame = next_frame(whole)?.expect("only_batch has cut the batch out by its frame");
    if frame.offset != Offset::ZERO {
        let message = format!(
            "The baseOffset of the record batch in the append to {place} should be 0, but it is {}",
            frame.offset
        );
        return Err(ProduceRejection::new(ErrorCode::InvalidRecord, message));
    }
    if whole.len() > policy.max_message_bytes as usize {
        let message = format!(
            "The record batch size in the append to {place} is {} bytes which exceeds the maximum configured value of {}).",
            whole.len(),
            policy.max_message_bytes
        );
        return Err(ProduceRejection::new(ErrorCode::MessageTooLarge, message));
    }
    let corrupt = |stored: u32| {
        let message = format!("Record is corrupt (stored crc = {stored}) in topic partition {place}.");
        ProduceRejection::new(ErrorCode::CorruptMessage, message)
    };
    let Ok(header) = BatchHeader::parse(whole) else {
        // Shorter than a header: there is no checksum that could be right.
        let stored = whole
            .get(Frame::LEN..Frame::LEN + 4)
            .map_or(0, |crc| u32::from_be_bytes(crc.try_into().expect("four bytes")));
        return Err(corrupt(stored));
    };
    check_crc_of(whole, header.crc).map_err(|_| corrupt(header.crc))?;
    Ok(header)
}

/// Whether the header's fields fit together, and a client may say what they say.
fn check_header(header: &BatchHeader, policy: &ProducePolicy<'_>) -> Result<(), ProduceRejection> {
    let place = policy.topic_partition();
    let (first, last, count) = (header.base_offset, header.last_offset(), header.record_count);
    let span = i64::from(header.last_offset_delta) + 1;
    let message = if span <= 0 {
        format!("Batch has an invalid offset range: [{first}, {last}] in topic partition {place}")
    } else if count <= 0 {
        format!("Invalid reported count for record batch: {count} in topic partition {place}")
    } else if span != i64::from(count) {
        format!(
            "Inconsistent batch offset range [{first}, {last}] and count of records {count} in topic partition {place}"
        )
    } else if header.is_control() {
        format!("Clients are not allowed to write control records in topic partition {place}")
    } else if header.has_producer() && header.base_sequence.0 < 0 {
        format!(
            "Invalid sequence number {} in record batch with producerId {} in topic partition {place}",
            header.base_sequence, header.producer_id
        )
    } else {
        return Ok(());
    };
    Err(ProduceRejection::new(ErrorCode::InvalidRecord, message))
}

/// Looks at the records as far as the settings ask for, and makes the batch that is stored. True if its body is a new one.
fn settle(
    batch: Batch,
    codec: Compression,
    policy: &ProducePolicy<'_>,
    now: TimestampMs,
) -> Result<(Batch, bool), ProduceRejection> {
    let target = policy.target(codec);
    if target == codec && codec != Compression::None && header_suffices(&batch.header, policy, now) {
        let max_timestamp = batch.header.max_timestamp;
        return Ok((stamp(batch, max_timestamp, policy, now), false));
    }
    let mut walk = Walk::new(&batch, codec, policy, now);
    if target != codec {
        walk.repack_into(new_body(&batch.header, target, policy, now));
    }
    let (batch, rewritten) = match walk.run()? {
        WalkEnd::Kept { max_timestamp } => (stamp(batch, max_timestamp, policy, now), false),
        WalkEnd::Repacked(builder) => (builder.build(Offset::ZERO, batch.header.leader_epoch), true),
    };
    if rewritten && batch.size() > policy.max_message_bytes as usize {
        return Err(too_large_after_repacking(batch.size(), policy));
    }
    Ok((batch, rewritten))
}

/// Whether nothing inside a compressed batch has to be seen.
fn header_suffices(header: &BatchHeader, policy: &ProducePolicy<'_>, now: TimestampMs) -> bool {
    let type_fits = match policy.timestamp_type {
        TimestampType::CreateTime => true,
        TimestampType::LogAppendTime => header.timestamp_type() == TimestampType::CreateTime,
    };
    type_fits
        && !policy.compacted
        && !policy.bounds_the_past()
        && !policy.refuses(header.max_timestamp, now)
        && !policy.refuses(header.base_timestamp, now)
        && (header.max_timestamp >= header.base_timestamp
            || header.timestamp_type() == TimestampType::LogAppendTime)
}

/// Sets timestamp type and maximum; the checksum is made anew only if that changed anything.
fn stamp(
    mut batch: Batch,
    max_timestamp: TimestampMs,
    policy: &ProducePolicy<'_>,
    now: TimestampMs,
) -> Batch {
    let max_timestamp = match policy.timestamp_type {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => now,
    };
    let header = &mut batch.header;
    if header.timestamp_type() != policy.timestamp_type || header.max_timestamp != max_timestamp {
        // Kafka drops bits without a meaning when it writes the attributes.
        const KNOWN: i16 = 0x7f;
        header.attributes =
            Attributes(header.attributes.0 & KNOWN).with_timestamp_type(policy.timestamp_type);
        header.max_timestamp = max_timestamp;
        batch.seal();
    }
    batch
}

/// An empty batch for the same producer in the topic's codec.
fn new_body(
    header: &BatchHeader,
    target: Compression,
    policy: &ProducePolicy<'_>,
    now: TimestampMs,
) -> BatchBuilder {
    let builder = BatchBuilder::with_level(target, policy.level(target))
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.is_transactional());
    match policy.timestamp_type {
        TimestampType::CreateTime => builder,
        TimestampType::LogAppendTime => builder.log_append_time(now),
    }
}

pub(crate) fn too_large_after_repacking(size: usize, policy: &ProducePolicy<'_>) -> ProduceRejection {
    let message = format!(
        "Message batch size is {size} bytes in append topartition {} which exceeds the maximum configured size of {}.",
        policy.topic_partition(),
        policy.max_message_bytes
    );
    ProduceRejection::new(ErrorCode::MessageTooLarge, message)
}

/// The answer to bytes that are not what the header says. Where Kafka runs into an exception that it has no code for (broken
/// compression, a codec that does not exist) it answers UNKNOWN_SERVER_ERROR; the cause is the client's and is named here.
pub(crate) fn structure_rejection(error: BatchError, policy: &ProducePolicy<'_>) -> ProduceRejection {
    let code = match error {
        BatchError::OutputLimit { .. } => ErrorCode::MessageTooLarge,
        BatchError::UnknownCompression(_) => ErrorCode::UnsupportedCompressionType,
        _ => ErrorCode::InvalidRecord,
    };
    ProduceRejection::new(code, format!("{error} in topic partition {}", policy.topic_partition()))
}
