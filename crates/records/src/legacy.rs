//! Formats 0 and 1: messages that stand alone, or wrap a compressed set of messages. Read from old segments, never written.
//!
//! ```text
//! offset i64 | size i32 | CRC u32 | magic i8 | attributes i8 | (format 1: timestamp i64) | key i32 + bytes | value i32 + bytes
//! ```
//!
//! The CRC is the one of zip (not Castagnoli's) over everything from the magic on. A wrapper's value, decompressed, is again a
//! run of messages. In format 0 these have their own offsets; in format 1 they count from 0 and the wrapper has the offset of
//! the last. A wrapper of LogAppendTime gives its timestamp to all of them.

use bytes::{Buf, Bytes};
use dohle_config::TimestampType;
use dohle_types::{Offset, TimestampMs};

use crate::codec::{Compression, Decompressor};
use crate::error::{BatchError, RecordFault};
use crate::header::{Attributes, LOG_OVERHEAD};
use crate::record::Record;

/// The smallest message of format 0: what its size field counts when key and value are null.
pub(crate) const OVERHEAD_V0: i32 = 14;
/// The smallest message of format 1.
const OVERHEAD_V1: i32 = OVERHEAD_V0 + 8;
/// Where the bytes that the CRC covers begin.
const CRC_START: usize = LOG_OVERHEAD + 4;
/// How much is read at once while an inner message grows.
const PIECE: usize = 64 << 10;

/// A message, perhaps wrapping others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyEntry {
    /// Its own offset; a wrapper's is that of the last message inside.
    pub offset: Offset,
    pub crc: u32,
    pub magic: i8,
    pub attributes: Attributes,
    /// `NONE` in format 0.
    pub timestamp: TimestampMs,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// The whole entry.
    bytes: Bytes,
}

impl LegacyEntry {
    /// Takes the message in exactly `bytes`. The CRC is not looked at: see [`LegacyEntry::check_crc`].
    pub(crate) fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let fault = || BatchError::from(RecordFault::Structure);
        let mut rest = bytes.clone();
        if rest.len() < LOG_OVERHEAD + OVERHEAD_V0 as usize {
            return Err(fault());
        }
        let offset = Offset(rest.get_i64());
        let size = rest.get_i32();
        let crc = rest.get_u32();
        let magic = rest.get_i8();
        let attributes = Attributes(i16::from(rest.get_i8()));
        let timestamp = match magic {
            0 => TimestampMs::NONE,
            1 if size >= OVERHEAD_V1 => TimestampMs(rest.get_i64()),
            1 => return Err(BatchError::TooSmall { size, minimum: OVERHEAD_V1 }),
            _ => return Err(BatchError::UnknownMagic(magic)),
        };
        let key = take_nullable(&mut rest)?;
        let value = take_nullable(&mut rest)?;
        Ok(Self { offset, crc, magic, attributes, timestamp, key, value, bytes: bytes.clone() })
    }

    /// The size of the whole entry in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The entry as it was stored.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn compression(&self) -> Result<Compression, BatchError> {
        let id = self.attributes.codec_id();
        match Compression::from_id(id) {
            // zstd came with format 2.
            None | Some(Compression::Zstd) => Err(BatchError::UnknownCompression(id)),
            Some(codec) => Ok(codec),
        }
    }

    /// Format 0 has no timestamps, and none is made up for it.
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc32fast::hash(&self.bytes[CRC_START..]);
        if computed == self.crc { Ok(()) } else { Err(BatchError::Checksum { stored: self.crc, computed }) }
    }

    /// The message itself or, from a wrapper, the messages inside, decompressed to at most `limit` bytes. A wrapper of format 1
    /// is passed through the codec twice: only its end tells the offset of its beginning.
    pub fn records(&self, limit: u64) -> LegacyRecords {
        LegacyRecords { state: State::open(self, limit) }
    }

    fn to_record(&self, offset: Offset, timestamp: TimestampMs) -> Record {
        Record {
            offset,
            timestamp,
            attributes: 0,
            key: self.key.clone(),
            value: self.value.clone(),
            headers: Vec::new(),
        }
    }
}

fn take_nullable(rest: &mut Bytes) -> Result<Option<Bytes>, BatchError> {
    if rest.len() < 4 {
        return Err(RecordFault::Structure.into());
    }
    match usize::try_from(rest.get_i32()) {
        Err(_) => Ok(None),
        Ok(len) if len <= rest.len() => Ok(Some(rest.split_to(len))),
        Ok(_) => Err(RecordFault::Structure.into()),
    }
}

/// The records of a [`LegacyEntry`]. After an error the iteration ends.
#[derive(Debug)]
pub struct LegacyRecords {
    state: State,
}

#[derive(Debug)]
enum State {
    One(Record),
    Inside(Box<Inside>),
    Failed(BatchError),
    Done,
}

/// The inside of a wrapper.
#[derive(Debug)]
struct Inside {
    messages: Messages,
    /// What to add to the inner offsets.
    base: i64,
    /// The wrapper's timestamp, where it counts for all.
    append_time: Option<TimestampMs>,
    wrapper_magic: i8,
}

impl State {
    fn open(wrapper: &LegacyEntry, limit: u64) -> Self {
        match wrapper.compression() {
            Ok(Compression::None) => Self::One(wrapper.to_record(wrapper.offset, wrapper.timestamp)),
            Ok(codec) => match Inside::open(wrapper, codec, limit) {
                Ok(inside) => Self::Inside(Box::new(inside)),
                Err(error) => Self::Failed(error),
            },
            Err(error) => Self::Failed(error),
        }
    }
}

impl Inside {
    fn open(wrapper: &LegacyEntry, codec: Compression, limit: u64) -> Result<Self, BatchError> {
        let packed = wrapper.value.clone().ok_or(RecordFault::NullWrapper)?;
        let open = || match wrapper.magic {
            0 => Messages::open(Decompressor::for_format_0(codec, packed.clone(), limit)?),
            _ => Messages::open(Decompressor::new(codec, packed.clone(), limit)?),
        };
        let base = match wrapper.magic {
            0 => {
                open()?.next().ok_or(RecordFault::EmptyWrapper)??;
                0
            }
            _ => relative_base(wrapper.offset, open()?)?,
        };
        let append_time = (wrapper.magic > 0 && wrapper.timestamp_type() == TimestampType::LogAppendTime)
            .then_some(wrapper.timestamp);
        Ok(Self { messages: open()?, base, append_time, wrapper_magic: wrapper.magic })
    }

    fn next(&mut self) -> Option<Result<Record, BatchError>> {
        let message = match self.messages.next()? {
            Ok(message) => message,
            Err(error) => return Some(Err(error)),
        };
        if message.attributes.codec_id() != 0 {
            return Some(Err(RecordFault::NestedCompression.into()));
        }
        let offset = match self.wrapper_magic {
            0 => message.offset,
            _ => Offset(message.offset.0.saturating_add(self.base)),
        };
        let timestamp = match message.magic {
            0 => TimestampMs::NONE,
            _ => self.append_time.unwrap_or(message.timestamp),
        };
        Some(Ok(message.to_record(offset, timestamp)))
    }
}

/// The offset of relative offset 0 inside a wrapper of format 1.
fn relative_base(wrapper: Offset, messages: Messages) -> Result<i64, BatchError> {
    let mut last = None;
    for message in messages {
        last = Some(message?.offset.0);
    }
    let last = last.ok_or(RecordFault::EmptyWrapper)?;
    // Some versions of librdkafka left 0 there.
    if wrapper.0 == 0 {
        return Ok(0);
    }
    if wrapper.0 < last {
        return Err(RecordFault::WrapperOffset { wrapper: wrapper.0, last }.into());
    }
    Ok(wrapper.0.saturating_sub(last))
}

impl Iterator for LegacyRecords {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let State::Inside(inside) = &mut self.state {
            let record = inside.next();
            if !matches!(record, Some(Ok(_))) {
                self.state = State::Done;
            }
            return record;
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::One(record) => Some(Ok(record)),
            State::Failed(error) => Some(Err(error)),
            State::Inside(_) | State::Done => None,
        }
    }
}

/// The messages that come out of a codec. As in Kafka, one that is cut short at the end is as if it were not there.
#[derive(Debug)]
struct Messages {
    decoder: Decompressor,
}

impl Messages {
    fn open(decoder: Decompressor) -> Result<Self, BatchError> {
        Ok(Self { decoder })
    }

    fn read(&mut self) -> Result<Option<LegacyEntry>, BatchError> {
        let mut head = [0; LOG_OVERHEAD];
        if self.decoder.read_full(&mut head)? < LOG_OVERHEAD {
            return Ok(None);
        }
        let size = (&head[8..]).get_i32();
        if size < OVERHEAD_V0 {
            return Err(BatchError::TooSmall { size, minimum: OVERHEAD_V0 });
        }
        let end = LOG_OVERHEAD + size as usize;
        let mut bytes = head.to_vec();
        while bytes.len() < end {
            let start = bytes.len();
            bytes.resize(end.min(start + PIECE), 0);
            let read = self.decoder.read_full(&mut bytes[start..])?;
            if start + read < bytes.len() {
                return Ok(None);
            }
        }
        let message = LegacyEntry::parse(&Bytes::from(bytes))?;
        message.check_crc()?;
        Ok(Some(message))
    }
}

impl Iterator for Messages {
    type Item = Result<LegacyEntry, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
