//! The entries of a log file or of a message set, of whatever format.
//!
//! Every format begins with the same seventeen bytes, which is how one file can hold them all:
//!
//! ```text
//! offset i64 | size i32 | (format 2: leader epoch, formats 0 and 1: CRC) i32 | magic i8
//! ```

use bytes::{Buf, Bytes};
use dohle_types::Offset;

use crate::batch::Batch;
use crate::error::BatchError;
use crate::header::{LOG_OVERHEAD, MAGIC};
use crate::legacy::{self, LegacyEntry};

/// Where an entry ends and how it is written, from its first bytes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The base offset in format 2, the offset of the last record in formats 0 and 1.
    pub offset: Offset,
    /// The size of the whole entry in bytes.
    pub size: usize,
    pub magic: i8,
}

impl Frame {
    /// How many bytes [`Frame::peek`] needs.
    pub const LEN: usize = 17;

    /// Looks at the start of an entry. The entry's end need not be there.
    #[inline]
    pub fn peek(bytes: &[u8]) -> Result<Self, BatchError> {
        let incomplete = BatchError::Incomplete { needed: Self::LEN as u64, available: bytes.len() as u64 };
        let Some(mut head) = bytes.get(..LOG_OVERHEAD) else { return Err(incomplete) };
        let offset = Offset(head.get_i64());
        let size = head.get_i32();
        if size < legacy::OVERHEAD_V0 {
            return Err(BatchError::TooSmall { size, minimum: legacy::OVERHEAD_V0 });
        }
        let Some(&magic) = bytes.get(Self::LEN - 1) else { return Err(incomplete) };
        let magic = magic as i8;
        if !(0..=MAGIC).contains(&magic) {
            return Err(BatchError::UnknownMagic(magic));
        }
        Ok(Self { offset, size: LOG_OVERHEAD + size as usize, magic })
    }
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Batch(Batch),
    /// A message of format 0 or 1, perhaps wrapping others.
    Legacy(LegacyEntry),
}

/// The entries in `bytes`, one after the other. One cut short at the end gives [`BatchError::Incomplete`]; after any error the
/// iteration ends.
pub fn parse_entries(bytes: Bytes) -> Entries {
    Entries { rest: bytes, failed: false }
}

/// See [`parse_entries`].
#[derive(Clone, Debug)]
pub struct Entries {
    rest: Bytes,
    failed: bool,
}

impl Entries {
    /// The bytes after the last entry that was returned.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    fn take(&mut self) -> Result<Entry, BatchError> {
        let frame = Frame::peek(&self.rest)?;
        if self.rest.len() < frame.size {
            return Err(BatchError::Incomplete {
                needed: frame.size as u64,
                available: self.rest.len() as u64,
            });
        }
        let bytes = self.rest.slice(..frame.size);
        let entry = if frame.magic == MAGIC {
            Entry::Batch(Batch::parse(&bytes)?)
        } else {
            Entry::Legacy(LegacyEntry::parse(&bytes)?)
        };
        self.rest.advance(frame.size);
        Ok(entry)
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.failed {
            return None;
        }
        let entry = self.take();
        self.failed = entry.is_err();
        Some(entry)
    }
}
