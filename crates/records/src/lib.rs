//! Kafka's record batches as views over bytes.
//!
//! Owns the layout of batches (format 2, and formats 0 and 1 as old segments hold them), their checksums and codecs, and the
//! judgement of what a producer may append. It never does IO, never reads a clock, and never assigns an offset: the log does.
//!
//! Invariants, by name:
//! - *one copy*: a batch's body is the slice of the buffer it arrived in; whoever changes the header re-makes 61 bytes and the
//!   checksum, never the body.
//! - *claims are proved*: no length, count or window read from bytes sizes an allocation. Buffers grow with bytes that arrived or
//!   came out of a decoder, and what comes out of a decoder has a cap.
//! - *bytes of the world do not panic*: every parser here returns [`BatchError`] or [`ProduceRejection`].
//!
//! The layout is drawn in `docs/formats/record-batch.md`.

mod batch;
mod builder;
pub mod codec;
pub mod control;
mod error;
mod header;
pub mod legacy;
mod policy;
mod produce;
mod record;
mod rejection;
mod scan;
mod stored;
mod varint;
mod walk;

pub use batch::{Batch, Batches, parse_batches};
pub use builder::BatchBuilder;
pub use codec::Compression;
pub use error::{BatchError, RecordFault};
pub use header::{Attributes, BatchHeader, HEADER_LEN, LOG_OVERHEAD, MAGIC, RunningCrc, batch_crc};
pub use policy::ProducePolicy;
pub use produce::{ProduceBatches, validate_produce};
pub use record::{Header, HeaderViews, Record, RecordView};
pub use rejection::{MAX_RECORD_ERRORS, ProduceRejection};
pub use scan::{RecordScan, Records};
pub use stored::{Entries, Entry, Frame, parse_entries};

/// What one batch may grow to when it is decompressed, unless a caller knows better: 64 MiB. Producers fill batches to a few
/// MiB of uncompressed records, and a Java producer whose batch is refused for its size splits it and sends the halves.
pub const DEFAULT_OUTPUT_LIMIT: u64 = 64 << 20;
