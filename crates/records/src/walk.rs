//! One pass over the records of a batch that a producer sent.

use dohle_config::TimestampType;
use dohle_types::{ErrorCode, TimestampMs};

use crate::batch::Batch;
use crate::builder::BatchBuilder;
use crate::codec::Compression;
use crate::error::RecordFault;
use crate::policy::ProducePolicy;
use crate::produce::{structure_rejection, too_large_after_repacking};
use crate::record::RecordView;
use crate::rejection::{ProduceRejection, RecordErrors};

/// A pass over the records: each is judged and, if asked for, packed into a new batch.
pub(crate) struct Walk<'a> {
    batch: &'a Batch,
    codec: Compression,
    policy: &'a ProducePolicy<'a>,
    now: TimestampMs,
    repack: Option<BatchBuilder>,
    errors: RecordErrors,
    max_timestamp: TimestampMs,
    index: i32,
}

/// What the records turned out to be.
pub(crate) enum WalkEnd {
    /// As the header says, with this largest timestamp.
    Kept { max_timestamp: TimestampMs },
    /// Packed anew.
    Repacked(Box<BatchBuilder>),
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        batch: &'a Batch,
        codec: Compression,
        policy: &'a ProducePolicy<'a>,
        now: TimestampMs,
    ) -> Self {
        Self {
            batch,
            codec,
            policy,
            now,
            repack: None,
            errors: RecordErrors::default(),
            max_timestamp: TimestampMs::NONE,
            index: 0,
        }
    }

    pub(crate) fn repack_into(&mut self, builder: BatchBuilder) {
        self.repack = Some(builder);
    }

    pub(crate) fn run(mut self) -> Result<WalkEnd, ProduceRejection> {
        let (batch, policy) = (self.batch, self.policy);
        let refuse = |error| structure_rejection(error, policy);
        let mut scan = batch.scan(policy.max_uncompressed_bytes).map_err(refuse)?;
        while let Some(judged) = scan.next_with(|record| self.judge(&record)).map_err(refuse)? {
            judged?;
        }
        self.errors.into_result()?;
        Ok(match self.repack {
            Some(builder) => WalkEnd::Repacked(Box::new(builder)),
            None => WalkEnd::Kept { max_timestamp: self.max_timestamp },
        })
    }

    #[inline]
    fn judge(&mut self, record: &RecordView<'_>) -> Result<(), ProduceRejection> {
        let index = self.index;
        self.index += 1;
        let timestamp = self.batch.header.timestamp_of(record.timestamp_delta);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        // A new body is numbered anew. Kafka stores such a batch if it is not compressed, and fails over it if it is; here no
        // two records are stored at one offset.
        if record.offset_delta != index && self.repack.is_none() {
            let fault = RecordFault::OffsetDelta { index, delta: record.offset_delta };
            return Err(structure_rejection(fault.into(), self.policy));
        }
        if self.policy.compacted && record.key.is_none() {
            self.missing_key(index);
        } else if self.policy.refuses(timestamp, self.now) {
            self.bad_timestamp(record, timestamp, index);
        } else if self.has_wrong_type(timestamp) {
            self.wrong_type(record, timestamp, index);
        }
        if self.errors.is_empty() {
            self.pack(record, timestamp)?;
        }
        Ok(())
    }

    #[cold]
    fn missing_key(&mut self, index: i32) {
        let place = self.policy.topic_partition();
        self.errors.add(ErrorCode::InvalidRecord, index, || {
            format!("Compacted topic cannot accept message without key in topic partition {place}")
        });
    }

    #[cold]
    fn bad_timestamp(&mut self, record: &RecordView<'_>, timestamp: TimestampMs, index: i32) {
        let earliest = self.now.0.wrapping_sub(self.policy.timestamp_before_max_ms);
        let latest = self.now.0.wrapping_add(self.policy.timestamp_after_max_ms);
        self.errors.add(ErrorCode::InvalidTimestamp, index, || {
            format!(
                "Timestamp {timestamp} of message with offset {} is out of range. The timestamp should be within \
                 [{earliest}, {latest}]",
                record.offset_delta
            )
        });
    }

    /// Only brokers say LogAppendTime. Kafka overlooks it where the topic has CreateTime and the timestamp is in range.
    #[inline]
    fn has_wrong_type(&self, timestamp: TimestampMs) -> bool {
        self.batch.header.timestamp_type() == TimestampType::LogAppendTime
            && (self.policy.timestamp_type == TimestampType::LogAppendTime || timestamp == TimestampMs::NONE)
    }

    #[cold]
    fn wrong_type(&mut self, record: &RecordView<'_>, timestamp: TimestampMs, index: i32) {
        // Kafka shows the class that read the record, another one where keys and values are skipped, with its own idea of null.
        let skipped = self.codec != Compression::None && self.repack.is_none();
        let (class, null) = if skipped { ("PartialDefaultRecord", -1) } else { ("DefaultRecord", 0) };
        let len = |bytes: Option<&[u8]>| bytes.map_or(null, |bytes| bytes.len() as i64);
        self.errors.add(ErrorCode::InvalidTimestamp, index, || {
            format!(
                "Invalid timestamp type in message {class}(offset={}, timestamp={timestamp}, key={} bytes, value={} bytes). \
                 Producer should not set timestamp type to LogAppendTime.",
                record.offset_delta,
                len(record.key),
                len(record.value)
            )
        });
    }

    #[inline]
    fn pack(&mut self, record: &RecordView<'_>, timestamp: TimestampMs) -> Result<(), ProduceRejection> {
        let Some(builder) = &mut self.repack else { return Ok(()) };
        builder.append_view(timestamp, record);
        // What is already too large need not be finished.
        if builder.size_so_far() > self.policy.max_message_bytes as usize {
            return Err(too_large_after_repacking(builder.size_so_far(), self.policy));
        }
        Ok(())
    }
}
