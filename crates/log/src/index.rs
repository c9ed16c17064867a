//! Where in a segment an offset or a time is: the sparse indexes, in memory and in Kafka's files.
//!
//! While a segment is appended to, and until its index files are stored, [`Indexes`] in memory are the truth; the files are
//! written on roll and on close. Those of closed segments are searched with pread and never held.
//!
//! ```text
//! .index      last offset of a batch - base (u32) | its position in the .log (u32)          8 bytes
//! .timeindex  largest timestamp so far (i64) | last offset of its batch - base (u32)       12 bytes
//! .txnindex   version 0 (i16) | producer (i64) | first (i64) | last (i64) | stable (i64)   34 bytes
//! ```
//! All numbers are big-endian. Offsets and timestamps ascend strictly within a file.

use std::path::Path;

use bytes::{Buf, BufMut};
use dohle_types::{Offset, ProducerId, TimestampMs};

use crate::error::{LogError, failed};
use crate::source::Source;

pub(crate) const OFFSET_ENTRY_BYTES: usize = 8;
pub(crate) const TIME_ENTRY_BYTES: usize = 12;
pub(crate) const ABORTED_ENTRY_BYTES: usize = 34;

/// How many bytes of an index file are read at once when the search has come close.
const SEARCH_WINDOW_BYTES: usize = 4096;

/// The batch whose last offset is `base + relative` starts at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub relative: u32,
    pub position: u32,
}

/// No batch up to the one whose last offset is `base + relative` has a larger timestamp, and that one has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp: TimestampMs,
    pub relative: u32,
}

/// A transaction whose records readers of committed data skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The offset of its marker.
    pub last_offset: Offset,
    /// The last stable offset when it was aborted: what lies below is decided by this and earlier entries.
    pub last_stable_offset: Offset,
}

/// The indexes of one segment, whole, in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexes {
    pub offsets: Vec<OffsetEntry>,
    pub times: Vec<TimeEntry>,
    pub aborted: Vec<AbortedTransaction>,
}

impl Indexes {
    /// The last entry at or before `relative`.
    pub fn entry_before(&self, relative: i64) -> Option<OffsetEntry> {
        let after = self.offsets.partition_point(|entry| i64::from(entry.relative) <= relative);
        after.checked_sub(1).map(|at| self.offsets[at])
    }

    /// A position at or before the batch that holds `relative`.
    pub fn position_before(&self, relative: i64) -> u64 {
        self.entry_before(relative).map_or(0, |entry| u64::from(entry.position))
    }

    /// The last entry of a batch that begins at or before `position` and whose last offset lies below `relative`.
    pub fn entry_within(&self, position: u64, relative: i64) -> Option<OffsetEntry> {
        let is_within = |entry: &OffsetEntry| {
            u64::from(entry.position) <= position && i64::from(entry.relative) < relative
        };
        let after = self.offsets.partition_point(is_within);
        after.checked_sub(1).map(|at| self.offsets[at])
    }

    /// The offset, relative to the base, from which on `timestamp` may be reached.
    pub fn relative_before_time(&self, timestamp: TimestampMs) -> i64 {
        let after = self.times.partition_point(|entry| entry.timestamp <= timestamp);
        after.checked_sub(1).map_or(0, |at| i64::from(self.times[at].relative))
    }

    pub fn push_time(&mut self, entry: TimeEntry) {
        if self
            .times
            .last()
            .is_none_or(|last| entry.timestamp > last.timestamp && entry.relative >= last.relative)
        {
            self.times.push(entry);
        }
    }

    /// Forgets what is about offsets from `relative` on.
    pub fn truncate(&mut self, base: Offset, offset: Offset) {
        let relative = offset.get() - base.get();
        self.offsets.retain(|entry| i64::from(entry.relative) < relative);
        self.times.retain(|entry| i64::from(entry.relative) < relative);
        self.aborted.retain(|entry| entry.last_offset < offset);
    }

    pub fn encode_offsets(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.offsets.len() * OFFSET_ENTRY_BYTES);
        for entry in &self.offsets {
            bytes.put_u32(entry.relative);
            bytes.put_u32(entry.position);
        }
        bytes
    }

    pub fn encode_times(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.times.len() * TIME_ENTRY_BYTES);
        for entry in &self.times {
            bytes.put_i64(entry.timestamp.get());
            bytes.put_u32(entry.relative);
        }
        bytes
    }

    pub fn encode_aborted(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.aborted.len() * ABORTED_ENTRY_BYTES);
        for entry in &self.aborted {
            bytes.put_i16(0);
            bytes.put_i64(entry.producer_id.get());
            bytes.put_i64(entry.first_offset.get());
            bytes.put_i64(entry.last_offset.get());
            bytes.put_i64(entry.last_stable_offset.get());
        }
        bytes
    }

    /// Reads a segment's index files back. `None` when they are not there or not right: then the segment has to be scanned.
    pub fn load(
        offsets: Option<&[u8]>,
        times: Option<&[u8]>,
        aborted: Option<&[u8]>,
        segment_size: u64,
    ) -> Option<Self> {
        let indexes = Self {
            offsets: whole_entries(offsets?, decode_offset)?,
            times: whole_entries(times?, decode_time)?,
            aborted: decode_all_aborted(aborted.unwrap_or_default())?,
        };
        indexes.is_sound(segment_size).then_some(indexes)
    }

    fn is_sound(&self, segment_size: u64) -> bool {
        self.offsets.is_sorted_by(|a, b| a.relative < b.relative && a.position < b.position)
            && self.offsets.last().is_none_or(|last| u64::from(last.position) < segment_size)
            && self.times.is_sorted_by(|a, b| a.timestamp < b.timestamp && a.relative <= b.relative)
    }
}

/// The last entry at or before `relative` in a closed segment's `.index`.
pub(crate) fn search_offsets(
    source: &Source,
    path: &Path,
    relative: i64,
) -> Result<Option<OffsetEntry>, LogError> {
    search(source, path, decode_offset, |entry| i64::from(entry.relative) <= relative)
}

/// All whole entries of an `.index`, whatever they say.
pub(crate) fn read_offsets(bytes: &[u8]) -> Vec<OffsetEntry> {
    bytes.as_chunks().0.iter().map(decode_offset).collect()
}

/// The offset, relative to the base, from which on `timestamp` may be reached, by a closed segment's `.timeindex`.
pub(crate) fn search_times(source: &Source, path: &Path, timestamp: TimestampMs) -> Result<i64, LogError> {
    let found = search(source, path, decode_time, |entry| entry.timestamp <= timestamp)?;
    Ok(found.map_or(0, |entry| i64::from(entry.relative)))
}

/// The last entry of a `.timeindex`: the largest timestamp of the segment.
pub(crate) fn last_time(source: &Source, path: &Path) -> Result<Option<TimeEntry>, LogError> {
    search(source, path, decode_time, |_| true)
}

/// All entries of a `.txnindex`.
pub(crate) fn read_aborted(bytes: &[u8], path: &Path) -> Result<Vec<AbortedTransaction>, LogError> {
    decode_all_aborted(bytes).ok_or_else(|| LogError::corrupt(path, "it does not hold aborted transactions"))
}

/// The last entry for which `before` holds; it holds for all entries up to some point and for none after.
fn search<T, const N: usize>(
    source: &Source,
    path: &Path,
    decode: impl Fn(&[u8; N]) -> T,
    before: impl Fn(&T) -> bool,
) -> Result<Option<T>, LogError> {
    let read = |at: u64, count: u64| -> Result<Vec<T>, LogError> {
        let bytes =
            source.read_exact(at * N as u64, (count * N as u64) as usize).map_err(failed("reading", path))?;
        Ok(bytes.as_chunks::<N>().0.iter().map(&decode).collect())
    };
    let (mut low, mut high) = (0, source.len().map_err(failed("reading", path))? / N as u64);
    while (high - low) * N as u64 > SEARCH_WINDOW_BYTES as u64 {
        let middle = low + (high - low) / 2;
        match read(middle, 1)?.first() {
            Some(entry) if before(entry) => low = middle,
            _ => high = middle,
        }
    }
    let window = read(low, high - low)?;
    Ok(window.into_iter().take_while(before).last())
}

/// `None` when the bytes do not divide into entries.
fn whole_entries<T, const N: usize>(bytes: &[u8], decode: impl Fn(&[u8; N]) -> T) -> Option<Vec<T>> {
    let (entries, rest) = bytes.as_chunks::<N>();
    rest.is_empty().then(|| entries.iter().map(decode).collect())
}

fn decode_offset(bytes: &[u8; OFFSET_ENTRY_BYTES]) -> OffsetEntry {
    let mut bytes = &bytes[..];
    OffsetEntry { relative: bytes.get_u32(), position: bytes.get_u32() }
}

fn decode_time(bytes: &[u8; TIME_ENTRY_BYTES]) -> TimeEntry {
    let mut bytes = &bytes[..];
    TimeEntry { timestamp: TimestampMs(bytes.get_i64()), relative: bytes.get_u32() }
}

/// `None` for a version that Kafka 4.3 does not know.
fn decode_aborted(bytes: &[u8; ABORTED_ENTRY_BYTES]) -> Option<AbortedTransaction> {
    let mut bytes = &bytes[..];
    (bytes.get_i16() == 0).then(|| AbortedTransaction {
        producer_id: ProducerId(bytes.get_i64()),
        first_offset: Offset(bytes.get_i64()),
        last_offset: Offset(bytes.get_i64()),
        last_stable_offset: Offset(bytes.get_i64()),
    })
}

fn decode_all_aborted(bytes: &[u8]) -> Option<Vec<AbortedTransaction>> {
    whole_entries(bytes, decode_aborted)?.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dohle_env::Disk;
    use dohle_env::disk::{OpenMode, SimDisk};

    use super::*;

    fn indexes(entries: u32) -> Indexes {
        let mut indexes = Indexes::default();
        for i in 0..entries {
            indexes.offsets.push(OffsetEntry { relative: i * 10 + 9, position: (i + 1) * 5000 });
            indexes.push_time(TimeEntry { timestamp: TimestampMs(i64::from(i) * 100), relative: i * 10 + 9 });
        }
        indexes
    }

    #[test]
    fn searches_in_files_and_in_memory_agree() {
        for entries in [0, 1, 2, 511, 512, 513, 3000] {
            let indexes = indexes(entries);
            let disk = SimDisk::new(1);
            let source = |name: &str, bytes: &[u8]| {
                let file = disk.open(Path::new(name), OpenMode::Create).unwrap();
                file.write_all_at(&[std::io::IoSlice::new(bytes)], 0).unwrap();
                Source::waiting(Arc::clone(&file))
            };
            let (path, offsets) = (Path::new("/x"), source("/offsets", &indexes.encode_offsets()));
            let times = source("/times", &indexes.encode_times());
            for relative in [0, 8, 9, 10, 18, 19, 5110, 5119, 29_998, 29_999, 1 << 31] {
                let found = search_offsets(&offsets, path, relative).unwrap();
                assert_eq!(found, indexes.entry_before(relative), "{entries} entries, {relative}");
                let timestamp = TimestampMs(relative * 10);
                let found = search_times(&times, path, timestamp).unwrap();
                assert_eq!(found, indexes.relative_before_time(timestamp), "{entries} entries, {timestamp}");
            }
            assert_eq!(last_time(&times, path).unwrap(), indexes.times.last().copied());
        }
    }

    #[test]
    fn load_refuses_what_does_not_fit_the_segment() {
        let indexes = indexes(10);
        let (offsets, times) = (indexes.encode_offsets(), indexes.encode_times());
        assert_eq!(Indexes::load(Some(&offsets), Some(&times), None, 50_001), Some(indexes));
        assert_eq!(
            Indexes::load(Some(&offsets), Some(&times), None, 50_000),
            None,
            "an index longer than its log"
        );
        assert_eq!(Indexes::load(Some(&offsets[..79]), Some(&times), None, 50_001), None, "half an entry");
        assert_eq!(Indexes::load(None, Some(&times), None, 50_001), None);
        let mut padded = offsets;
        padded.resize(4096, 0);
        assert_eq!(Indexes::load(Some(&padded), Some(&times), None, 50_001), None, "not trimmed");
    }
}
