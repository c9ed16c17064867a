//! Making batches.

use bytes::Bytes;
use dohle_config::TimestampType;
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::batch::Batch;
use crate::codec::{Compression, Compressor};
use crate::header::{Attributes, BatchHeader, HEADER_LEN, LOG_OVERHEAD, MAGIC};
use crate::record::{Header, RecordView, put_body};
use crate::varint::put_varint;

/// A batch that is being filled. Records are compressed as they are appended.
#[derive(Debug)]
pub struct BatchBuilder {
    attributes: Attributes,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: Sequence,
    /// Set by the broker for all records (LogAppendTime).
    append_time: Option<TimestampMs>,
    base_timestamp: Option<TimestampMs>,
    max_timestamp: TimestampMs,
    last_offset_delta: i32,
    record_count: i32,
    uncompressed: u64,
    packed: Compressor,
    /// Room for the length of the record at hand and for the record, kept from one to the next.
    prefix: Vec<u8>,
    scratch: Vec<u8>,
}

impl BatchBuilder {
    pub fn new(codec: Compression) -> Self {
        Self::with_level(codec, codec.default_level())
    }

    /// `level` is one of Kafka's for the codec.
    pub fn with_level(codec: Compression, level: i32) -> Self {
        Self {
            attributes: Attributes::default().with_compression(codec),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            append_time: None,
            base_timestamp: None,
            max_timestamp: TimestampMs::NONE,
            last_offset_delta: -1,
            record_count: 0,
            uncompressed: 0,
            packed: Compressor::new(codec, level),
            prefix: Vec::new(),
            scratch: Vec::new(),
        }
    }

    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    #[must_use]
    pub fn transactional(mut self, on: bool) -> Self {
        self.attributes = self.attributes.with_transactional(on);
        self
    }

    /// Makes it a control batch; [`crate::control`] has its records.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes = self.attributes.with_control(true);
        self
    }

    /// Gives all records the time of the append.
    #[must_use]
    pub fn log_append_time(mut self, now: TimestampMs) -> Self {
        self.attributes = self.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.append_time = Some(now);
        self
    }

    /// Marks the batch for compaction: its tombstones may go after `horizon`. To be said before the first append.
    #[must_use]
    pub fn delete_horizon(mut self, horizon: TimestampMs) -> Self {
        assert_eq!(self.record_count, 0, "the horizon is what the records' timestamps are counted from");
        self.attributes = self.attributes.with_delete_horizon(true);
        self.base_timestamp = Some(horizon);
        self
    }

    /// Appends a record at the next offset.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        let headers = headers.iter().map(|header| (&header.key[..], header.value.as_deref()));
        self.put(self.last_offset_delta + 1, timestamp, 0, key, value, headers);
    }

    /// Appends a record at `offset_delta` from the batch's base offset, leaving a gap as compaction does.
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        let headers = headers.iter().map(|header| (&header.key[..], header.value.as_deref()));
        self.put(offset_delta, timestamp, 0, key, value, headers);
    }

    /// Appends a record of another batch at the next offset.
    pub fn append_view(&mut self, timestamp: TimestampMs, record: &RecordView<'_>) {
        self.put(
            self.last_offset_delta + 1,
            timestamp,
            record.attributes,
            record.key,
            record.value,
            record.headers,
        );
    }

    /// Appends a record of another batch at `offset_delta` from the batch's base offset, as compaction does.
    pub fn append_view_at(&mut self, offset_delta: i32, timestamp: TimestampMs, record: &RecordView<'_>) {
        self.put(offset_delta, timestamp, record.attributes, record.key, record.value, record.headers);
    }

    /// Says that offsets up to this delta belong to the batch, though their records are gone.
    pub fn extend_to(&mut self, last_offset_delta: i32) {
        assert!(last_offset_delta >= self.last_offset_delta, "a batch's offsets only ascend");
        self.last_offset_delta = last_offset_delta;
    }

    fn put<'h>(
        &mut self,
        offset_delta: i32,
        timestamp: TimestampMs,
        attributes: i8,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    ) {
        assert!(offset_delta > self.last_offset_delta, "a batch's offsets only ascend");
        let base = *self.base_timestamp.get_or_insert(timestamp);
        self.scratch.clear();
        put_body(
            &mut self.scratch,
            attributes,
            timestamp.0.wrapping_sub(base.0),
            offset_delta,
            key,
            value,
            headers,
        );
        self.prefix.clear();
        put_varint(
            &mut self.prefix,
            i32::try_from(self.scratch.len()).expect("a batch is smaller than 2 GiB"),
        );
        self.packed.write(&self.prefix);
        self.packed.write(&self.scratch);
        self.uncompressed += (self.prefix.len() + self.scratch.len()) as u64;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset_delta = offset_delta;
        self.record_count += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// The size of the batch if its records were not compressed.
    pub fn uncompressed_size(&self) -> u64 {
        HEADER_LEN as u64 + self.uncompressed
    }

    /// At least this many bytes will the batch have.
    pub fn size_so_far(&self) -> usize {
        HEADER_LEN + self.packed.len_so_far()
    }

    /// Closes the batch. Without records it is one of compaction's empty batches.
    pub fn build(self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Batch {
        let codec_stays = self.record_count > 0;
        let body = if codec_stays { Bytes::from(self.packed.finish()) } else { Bytes::new() };
        let attributes =
            if codec_stays { self.attributes } else { self.attributes.with_compression(Compression::None) };
        let length = HEADER_LEN - LOG_OVERHEAD + body.len();
        let mut batch = Batch {
            header: BatchHeader {
                base_offset,
                batch_length: i32::try_from(length).expect("a batch is smaller than 2 GiB"),
                leader_epoch,
                magic: MAGIC,
                crc: 0,
                attributes,
                last_offset_delta: self.last_offset_delta,
                base_timestamp: self.base_timestamp.unwrap_or(TimestampMs::NONE),
                max_timestamp: self.append_time.unwrap_or(self.max_timestamp),
                producer_id: self.producer_id,
                producer_epoch: self.producer_epoch,
                base_sequence: self.base_sequence,
                record_count: self.record_count,
            },
            body,
        };
        batch.seal();
        batch
    }
}
