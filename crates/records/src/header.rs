//! The 61 bytes before a batch's records.

use bytes::{Buf, BufMut};
use crc_fast::{CrcAlgorithm, Digest};
use dohle_config::TimestampType;
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::codec::Compression;
use crate::error::BatchError;

/// The length of a batch header, and so of the smallest batch.
pub const HEADER_LEN: usize = 61;
/// The current batch format.
pub const MAGIC: i8 = 2;
/// Base offset and length: the part of every entry of a log that its length field does not count.
pub const LOG_OVERHEAD: usize = 12;

/// Where the bytes that the checksum covers begin. What stands before them is set by brokers.
pub(crate) const CRC_START: usize = 21;

/// The attribute bits of a batch.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    pub const fn get(self) -> i16 {
        self.0
    }

    /// The number of the codec, which may be one that Kafka does not define.
    pub const fn codec_id(self) -> u8 {
        (self.0 & Self::COMPRESSION) as u8
    }

    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    #[must_use]
    pub const fn with_compression(self, codec: Compression) -> Self {
        Self((self.0 & !Self::COMPRESSION) | codec as i16)
    }

    #[must_use]
    pub const fn with_timestamp_type(self, kind: TimestampType) -> Self {
        self.with(Self::LOG_APPEND_TIME, matches!(kind, TimestampType::LogAppendTime))
    }

    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    #[must_use]
    pub const fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    #[must_use]
    pub const fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    const fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// A batch header, field by field. Parsing proves only that it is a header of format 2 with a possible length; that the
/// body is all there and that the checksum holds is for [`crate::Batch`] to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// The bytes after this field.
    pub batch_length: i32,
    pub leader_epoch: LeaderEpoch,
    pub magic: i8,
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    /// The first record's timestamp or, in a batch that compaction has marked, its delete horizon.
    pub base_timestamp: TimestampMs,
    pub max_timestamp: TimestampMs,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: Sequence,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header from the first 61 bytes.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(mut bytes) = bytes.get(..HEADER_LEN) else {
            return Err(BatchError::Incomplete { needed: HEADER_LEN as u64, available: bytes.len() as u64 });
        };
        let header = Self {
            base_offset: Offset(bytes.get_i64()),
            batch_length: bytes.get_i32(),
            leader_epoch: LeaderEpoch(bytes.get_i32()),
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: Attributes(bytes.get_i16()),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: TimestampMs(bytes.get_i64()),
            max_timestamp: TimestampMs(bytes.get_i64()),
            producer_id: ProducerId(bytes.get_i64()),
            producer_epoch: ProducerEpoch(bytes.get_i16()),
            base_sequence: Sequence(bytes.get_i32()),
            record_count: bytes.get_i32(),
        };
        if header.magic != MAGIC {
            return Err(BatchError::UnknownMagic(header.magic));
        }
        const MINIMUM: i32 = (HEADER_LEN - LOG_OVERHEAD) as i32;
        if header.batch_length < MINIMUM {
            return Err(BatchError::TooSmall { size: header.batch_length, minimum: MINIMUM });
        }
        Ok(header)
    }

    #[inline]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut out = &mut bytes[..];
        out.put_i64(self.base_offset.0);
        out.put_i32(self.batch_length);
        out.put_i32(self.leader_epoch.0);
        out.put_i8(self.magic);
        out.put_u32(self.crc);
        out.put_i16(self.attributes.0);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp.0);
        out.put_i64(self.max_timestamp.0);
        out.put_i64(self.producer_id.0);
        out.put_i16(self.producer_epoch.0);
        out.put_i32(self.base_sequence.0);
        out.put_i32(self.record_count);
        bytes
    }

    /// The size of the whole batch in bytes, this header included.
    #[inline]
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + self.batch_length.max(0) as usize
    }

    /// The checksum this header has to carry before `body`.
    pub fn compute_crc(&self, body: &[u8]) -> u32 {
        batch_crc(&[&self.encode()[CRC_START..], body])
    }

    // The numbers below come from bytes that anyone may have made, so they saturate where a log's own would be asserted.

    #[inline]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the batch's last one.
    #[inline]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    pub fn compression(&self) -> Result<Compression, BatchError> {
        let id = self.attributes.codec_id();
        Compression::from_id(id).ok_or(BatchError::UnknownCompression(id))
    }

    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// When the tombstones of this batch may go, once compaction has set it.
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// Whether an idempotent or transactional producer wrote it.
    pub fn has_producer(&self) -> bool {
        self.producer_id > ProducerId::NONE
    }

    /// The sequence of the last record, `NONE` without a sequence.
    pub fn last_sequence(&self) -> Sequence {
        if self.base_sequence.0 < 0 || self.last_offset_delta < 0 {
            return Sequence::NONE;
        }
        self.base_sequence.plus(self.last_offset_delta)
    }

    /// The timestamp of a record with this delta.
    #[inline]
    pub(crate) fn timestamp_of(&self, delta: i64) -> TimestampMs {
        match self.timestamp_type() {
            TimestampType::CreateTime => TimestampMs(self.base_timestamp.0.wrapping_add(delta)),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }
}

/// CRC-32C over `parts` in order, as batches of format 2 carry it from their byte 21 on.
pub fn batch_crc(parts: &[&[u8]]) -> u32 {
    if let [whole] = parts {
        return crc_fast::crc32_iscsi(whole);
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    digest.finalize() as u32
}

/// As [`batch_crc`], for bytes that come piece by piece.
pub struct RunningCrc(Digest);

impl Default for RunningCrc {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl RunningCrc {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn value(&self) -> u32 {
        self.0.finalize() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_in_parts_is_crc_of_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
        assert_eq!(batch_crc(&[b"123456789"]), 0xe306_9283);
        for at in [0, 1, 40, 999, 1000] {
            assert_eq!(batch_crc(&[&bytes[..at], &bytes[at..]]), batch_crc(&[&bytes]));
            let mut running = RunningCrc::default();
            running.update(&bytes[..at]);
            running.update(&bytes[at..]);
            assert_eq!(running.value(), batch_crc(&[&bytes]));
        }
    }

    #[test]
    fn hostile_numbers_saturate() {
        let mut header = BatchHeader::parse(&{
            let mut bytes = [0; HEADER_LEN];
            bytes[11] = 49;
            bytes[16] = 2;
            bytes
        })
        .unwrap();
        header.base_offset = Offset(i64::MAX);
        header.last_offset_delta = i32::MAX;
        header.base_sequence = Sequence(i32::MAX);
        assert_eq!(header.next_offset(), Offset(i64::MAX));
        assert_eq!(header.last_sequence(), Sequence(i32::MAX - 1));
        header.last_offset_delta = i32::MIN;
        assert_eq!(header.last_sequence(), Sequence::NONE);
        assert_eq!(BatchHeader::parse(&header.encode()).unwrap(), header);
    }
}
