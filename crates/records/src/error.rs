//! What can be wrong with the bytes of a batch.

use thiserror::Error;

/// Why bytes are not a batch, or not one that can be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The bytes end before the batch does. At the end of a fetch response or of a segment that is a batch cut short.
    #[error("a batch of {needed} bytes is cut short after {available}")]
    Incomplete { needed: u64, available: u64 },
    /// The size field is smaller than the smallest batch of its format.
    #[error("record size {size} is less than the minimum record overhead ({minimum})")]
    TooSmall { size: i32, minimum: i32 },
    #[error("invalid magic found in record: {0}")]
    UnknownMagic(i8),
    #[error("record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    Checksum { stored: u32, computed: u32 },
    /// A codec number that Kafka does not define, or one that the batch's format does not allow.
    #[error("unknown compression type id: {0}")]
    UnknownCompression(u8),
    /// The compressed bytes are not what their codec writes.
    #[error("failed to decompress record stream: {0}")]
    Decompression(String),
    /// More comes out of the codec than the caller allows.
    #[error("the records are larger than {limit} bytes when decompressed")]
    OutputLimit { limit: u64 },
    /// A record inside the batch is malformed.
    #[error("{0}")]
    Record(#[from] RecordFault),
}

/// What is wrong with a record inside a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordFault {
    #[error("found invalid record count {0}")]
    Count(i32),
    #[error("found invalid record size {0}")]
    Size(i32),
    #[error(
        "invalid record size: expected {expected} bytes in record payload, but instead the buffer has only {available}"
    )]
    CutShort { expected: i32, available: u64 },
    #[error(
        "invalid record size: expected to read {expected} bytes in record payload, but instead read {read}"
    )]
    SizeMismatch { expected: u64, read: u64 },
    #[error("varint is too long")]
    OverlongVarint,
    #[error("found invalid record structure")]
    Structure,
    #[error("found invalid number of record headers {0}")]
    HeaderCount(i32),
    #[error("invalid negative header key size {0}")]
    HeaderKeySize(i32),
    #[error("incorrect declared batch size, premature EOF reached")]
    MissingRecords,
    #[error("incorrect declared batch size, records still remaining in file")]
    RecordsRemaining,
    #[error("the offset delta of record {index} is {delta}")]
    OffsetDelta { index: i32, delta: i32 },
    #[error("inner messages must not be compressed")]
    NestedCompression,
    #[error("found invalid compressed record set with null value")]
    NullWrapper,
    #[error("found invalid compressed record set with no inner records")]
    EmptyWrapper,
    #[error("the wrapper's offset {wrapper} is less than the last inner offset {last}")]
    WrapperOffset { wrapper: i64, last: i64 },
    #[error("malformed control record")]
    Control,
}
