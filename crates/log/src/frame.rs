//! Walking a segment file from batch to batch.
//!
//! Sizes read from the file are believed only as far as the file reaches, so that a damaged size costs nothing.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use dohle_records::{BatchHeader, HEADER_LEN, LOG_OVERHEAD, MAGIC, RunningCrc, batch_crc};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};

use crate::error::{ReadError, failed};
use crate::source::Source;

/// Enough for the header of one batch.
pub(crate) const ONE_HEADER_BYTES: usize = HEADER_LEN;
/// What is read at once when only headers are wanted.
pub(crate) const HEADER_WINDOW_BYTES: usize = 4096;
/// What is read at once when only headers are wanted, of a whole file, and its batches are small.
const DENSE_WINDOW_BYTES: usize = 64 << 10;
/// What is read at once when all bytes are wanted.
pub(crate) const SCAN_WINDOW_BYTES: usize = 1 << 20;

/// Offset, size, checksum, magic and attributes: the start of the smallest message of formats 0 and 1.
const LEGACY_MINIMUM: usize = LOG_OVERHEAD + 14;
const MAGIC_AT: usize = 16;
/// Where the bytes begin that the checksum of formats 0 and 1 covers, and that of format 2.
const LEGACY_CRC_START: usize = 16;
const CRC_AT: usize = 17;
const CRC_START: usize = 21;

/// One batch of a segment, by its header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    pub position: u64,
    pub size: u64,
    /// For a message of format 0 or 1 the same as `last_offset`: what it wraps is not looked at.
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub max_timestamp: TimestampMs,
    pub leader_epoch: LeaderEpoch,
    /// `None` for a message of format 0 or 1.
    pub header: Option<BatchHeader>,
}

impl Frame {
    pub fn end(&self) -> u64 {
        self.position + self.size
    }

    pub fn next_offset(&self) -> Offset {
        self.last_offset.next()
    }

    /// Reads the header at the start of `bytes`, which is all of the file there is, or at least enough for a header.
    pub fn parse(bytes: &[u8], position: u64) -> Result<Self, String> {
        let Some((&start, _)) = bytes.split_first_chunk::<{ MAGIC_AT + 1 }>() else {
            return Err(format!("{} bytes are no batch", bytes.len()));
        };
        match start[MAGIC_AT] as i8 {
            MAGIC => Self::parse_current(bytes, position),
            0 | 1 => Self::parse_legacy(bytes, position),
            magic => Err(format!("unknown magic {magic}")),
        }
    }

    fn parse_current(bytes: &[u8], position: u64) -> Result<Self, String> {
        let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
        // Compaction leaves batches without records, but none without an offset.
        if header.base_offset.get() < 0 || header.last_offset_delta < 0 || header.record_count < 0 {
            return Err("its offsets or its record count are negative".to_owned());
        }
        if header.next_offset().get() == i64::MAX {
            return Err(format!("its offset {} is absurd", header.base_offset));
        }
        Ok(Self {
            position,
            size: header.size() as u64,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            leader_epoch: header.leader_epoch,
            header: Some(header),
        })
    }

    fn parse_legacy(bytes: &[u8], position: u64) -> Result<Self, String> {
        let Some((start, _)) = bytes.split_first_chunk::<LEGACY_MINIMUM>() else {
            return Err(format!("{} bytes are no message", bytes.len()));
        };
        let i64_at =
            |at: usize| bytes.get(at..at + 8).map(|b| i64::from_be_bytes(b.try_into().expect("8 bytes")));
        let offset = Offset(i64_at(0).expect("long enough"));
        let length = i32::from_be_bytes(start[8..12].try_into().expect("4 bytes"));
        let size = i64::from(length) + LOG_OVERHEAD as i64;
        if size < LEGACY_MINIMUM as i64 || offset.get() < 0 || offset.get() == i64::MAX {
            return Err(format!("a message of {size} bytes at offset {offset}"));
        }
        let timestamp = if start[MAGIC_AT] == 1 { i64_at(18).ok_or("cut short")? } else { -1 };
        Ok(Self {
            position,
            size: size as u64,
            base_offset: offset,
            last_offset: offset,
            max_timestamp: TimestampMs(timestamp),
            leader_epoch: LeaderEpoch::NONE,
            header: None,
        })
    }

    /// Checks the checksum; `bytes` is the whole batch.
    pub fn check_crc(&self, bytes: &[u8]) -> Result<(), String> {
        let (stored_at, computed) = match self.header {
            Some(_) => (CRC_AT, batch_crc(&[&bytes[CRC_START..]])),
            None => (LOG_OVERHEAD, crc32fast::hash(&bytes[LEGACY_CRC_START..])),
        };
        let stored = u32::from_be_bytes(bytes[stored_at..stored_at + 4].try_into().expect("4 bytes"));
        compare_checksums(stored, computed)
    }

    /// As [`Frame::check_crc`], for bytes that come piece by piece.
    pub fn checksum(&self) -> RunningChecksum {
        match self.header {
            Some(_) => RunningChecksum::Current { crc: Box::default(), seen: 0, stored: [0; 4] },
            None => RunningChecksum::Legacy { crc: crc32fast::Hasher::new(), seen: 0, stored: [0; 4] },
        }
    }
}

/// The checksum of a batch whose bytes come piece by piece, from its first one on.
pub(crate) enum RunningChecksum {
    Current { crc: Box<RunningCrc>, seen: usize, stored: [u8; 4] },
    Legacy { crc: crc32fast::Hasher, seen: usize, stored: [u8; 4] },
}

impl RunningChecksum {
    pub fn update(&mut self, bytes: &[u8]) {
        let (seen, stored, stored_at, covered_from) = match self {
            Self::Current { seen, stored, .. } => (seen, stored, CRC_AT, CRC_START),
            Self::Legacy { seen, stored, .. } => (seen, stored, LOG_OVERHEAD, LEGACY_CRC_START),
        };
        for (at, byte) in stored.iter_mut().enumerate() {
            if let Some(found) = (stored_at + at).checked_sub(*seen).and_then(|at| bytes.get(at)) {
                *byte = *found;
            }
        }
        let covered = bytes.get(covered_from.saturating_sub(*seen)..).unwrap_or_default();
        *seen += bytes.len();
        match self {
            Self::Current { crc, .. } => crc.update(covered),
            Self::Legacy { crc, .. } => crc.update(covered),
        }
    }

    pub fn check(self) -> Result<(), String> {
        let (stored, computed) = match self {
            Self::Current { crc, stored, .. } => (stored, crc.value()),
            Self::Legacy { crc, stored, .. } => (stored, crc.finalize()),
        };
        compare_checksums(u32::from_be_bytes(stored), computed)
    }
}

fn compare_checksums(stored: u32, computed: u32) -> Result<(), String> {
    if stored == computed {
        Ok(())
    } else {
        Err(format!("its checksum is {stored:08x}, its bytes give {computed:08x}"))
    }
}

/// Goes through the batches of a file from `position` to `end`.
pub(crate) struct Scanner {
    source: Source,
    path: PathBuf,
    position: u64,
    end: u64,
    window_bytes: usize,
    /// What is read at once where the next batch lies close behind.
    dense_bytes: usize,
    window: Bytes,
    window_start: u64,
}

impl Scanner {
    pub fn new(source: Source, path: &Path, position: u64, end: u64, window_bytes: usize) -> Self {
        debug_assert!(window_bytes >= HEADER_LEN);
        let (path, dense_bytes) = (path.to_owned(), window_bytes);
        Self { source, path, position, end, window_bytes, dense_bytes, window: Bytes::new(), window_start: 0 }
    }

    /// For a walk from the first batch to the last: of large batches only the headers are read, small ones many at once.
    pub fn for_headers(mut self) -> Self {
        (self.window_bytes, self.dense_bytes) = (HEADER_WINDOW_BYTES, DENSE_WINDOW_BYTES);
        self
    }

    /// From here on all bytes are wanted.
    pub fn want_all_bytes(&mut self) {
        (self.window_bytes, self.dense_bytes) = (SCAN_WINDOW_BYTES, SCAN_WINDOW_BYTES);
    }

    /// The next batch, which lies in the file as a whole. `Ok(None)` at the end.
    pub fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let head = self.bytes_at(self.position, HEADER_LEN.min((self.end - self.position) as usize))?;
        let frame = Frame::parse(&head, self.position).map_err(|what| self.damaged(what))?;
        if frame.end() > self.end {
            return Err(self.damaged(format!(
                "it needs {} bytes and {} are left",
                frame.size,
                self.end - self.position
            )));
        }
        self.position = frame.end();
        Ok(Some(frame))
    }

    /// All bytes of a batch that [`Scanner::next`] gave.
    pub fn bytes_of(&mut self, frame: &Frame) -> Result<Bytes, ReadError> {
        self.bytes_at(frame.position, frame.size as usize)
    }

    /// As [`Scanner::bytes_of`], with the checksum checked.
    pub fn checked_bytes_of(&mut self, frame: &Frame) -> Result<Bytes, ReadError> {
        let bytes = self.bytes_of(frame)?;
        frame.check_crc(&bytes).map_err(|what| self.damaged_at(frame, what))?;
        Ok(bytes)
    }

    pub fn damaged_at(&self, frame: &Frame, what: String) -> ReadError {
        ReadError::Damaged { path: self.path.clone(), position: frame.position, what }
    }

    fn damaged(&self, what: String) -> ReadError {
        ReadError::Damaged { path: self.path.clone(), position: self.position, what }
    }

    fn bytes_at(&mut self, position: u64, len: usize) -> Result<Bytes, ReadError> {
        debug_assert!(position + len as u64 <= self.end);
        let in_window = position.checked_sub(self.window_start).map(|at| at as usize);
        if let Some(at) = in_window
            && at + len <= self.window.len()
        {
            return Ok(self.window.slice(at..at + len));
        }
        let is_near = in_window.is_some_and(|at| !self.window.is_empty() && at <= self.window.len());
        let window_bytes = if is_near { self.dense_bytes } else { self.window_bytes };
        let wanted = window_bytes.max(len).min((self.end - position) as usize);
        let read = self.source.read_exact(position, wanted).map_err(failed("reading", &self.path))?;
        self.window = Bytes::from(read);
        self.window_start = position;
        Ok(self.window.slice(..len))
    }
}
