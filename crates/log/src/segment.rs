//! One segment: a `.log` file and what is known about it.
//!
//! A [`Segment`] belongs to its log and changes; a [`SegmentView`] is what others may take away to read on another thread. An
//! idle segment holds no descriptor, and a closed one no index.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dohle_env::disk::{OpenMode, read_file};
use dohle_env::{Disk, DiskFile};
use dohle_records::HEADER_LEN;
use dohle_types::{Offset, TimestampMs};

use crate::error::{LogError, ReadError, failed};
use crate::frame::{Frame, HEADER_WINDOW_BYTES, Scanner};
use crate::index::{self, AbortedTransaction, Indexes, OffsetEntry, TimeEntry};
use crate::names::{FileKind, FileState, file_name};
use crate::source::{Manner, Source};

/// An index file is never larger: one entry for each KiB of the largest segment.
const MAX_INDEX_BYTES: u64 = 256 << 20;

/// The largest timestamp of a segment, and the last offset of the first batch that has it. The timestamp is `NONE` when no
/// batch carries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Largest {
    pub timestamp: TimestampMs,
    pub offset: Offset,
}

impl Largest {
    pub const UNKNOWN: Self = Self { timestamp: TimestampMs::NONE, offset: Offset::NONE };
}

pub(crate) struct Segment {
    pub base: Offset,
    pub size: u64,
    pub created: TimestampMs,
    pub jitter_ms: u64,
    /// In memory while the segment is appended to and until its index files are stored.
    pub indexes: Option<Arc<Indexes>>,
    /// `None` while the files have not been asked.
    pub largest: Option<Largest>,
    /// The largest timestamp of the first batch; decides when the segment is rolled by time.
    pub first_timestamp: Option<TimestampMs>,
    /// How many bytes were appended since the last index entry.
    unindexed: u64,
    pub file: Option<Arc<dyn DiskFile>>,
    /// Up to where the file has room on the device, as far as this process has asked for it; 0 when it has not.
    pub room: u64,
    /// Whether the file was used since the log was last maintained.
    pub used: bool,
    /// Where the last read ended, for the one that goes on from there.
    pub hint: Option<(Offset, u64)>,
    /// Whether its file of aborted transactions is known to be empty or missing.
    pub has_no_aborted: bool,
    /// Bytes that have not left memory since they were written, or since their checksums were checked.
    checked: Cell<(u64, u64)>,
    /// Set by whoever finds that they have left memory.
    pub lost: Arc<AtomicBool>,
    /// Shared with every view: files are not renamed while somebody may open them by name. Also tells this segment from another
    /// of its base.
    pub lease: Arc<Lease>,
}

/// What a segment and its views share.
#[derive(Default)]
pub(crate) struct Lease {
    /// What the files of a closed segment say, once somebody has asked them. A segment that is changed knows it by itself.
    largest: OnceLock<Largest>,
    /// Whether it was said that the index does not fit.
    is_misfit_told: AtomicBool,
}

impl Segment {
    /// A segment without a byte and without a file.
    pub fn new(base: Offset, created: TimestampMs, jitter_ms: u64) -> Self {
        Self {
            indexes: Some(Arc::new(Indexes::default())),
            largest: Some(Largest { timestamp: TimestampMs::NONE, offset: base }),
            ..Self::found(base, 0, created, jitter_ms)
        }
    }

    /// A segment whose files are there.
    pub fn found(base: Offset, size: u64, created: TimestampMs, jitter_ms: u64) -> Self {
        Self {
            base,
            size,
            created,
            jitter_ms,
            indexes: None,
            largest: None,
            first_timestamp: None,
            unindexed: 0,
            file: None,
            room: 0,
            used: false,
            hint: None,
            has_no_aborted: false,
            checked: Cell::new((0, 0)),
            lost: Arc::default(),
            lease: Arc::default(),
        }
    }

    /// Notes that the last bytes come from memory.
    pub fn wrote(&mut self, bytes: u64) {
        let (from, to) = self.checked.get();
        let before = self.size - bytes;
        self.checked.set((if to == before { from } else { before }, self.size));
    }

    /// Notes that these bytes are in memory and sound. Not while somebody reads the file who may bring others there.
    pub fn note_checked(&self, from: u64, to: u64) {
        let (known_from, known_to) = self.checked.get();
        if Arc::strong_count(&self.lease) > 1 {
            return;
        }
        let joins = from <= known_to && known_from <= to;
        self.checked.set(if joins { (known_from.min(from), known_to.max(to)) } else { (from, to) });
    }

    /// Notes that what is in memory of the file may have come from the device just now.
    pub fn distrust(&self) {
        self.checked.set((0, 0));
    }

    /// Bytes whose checksums need no check.
    pub fn checked(&self) -> (u64, u64) {
        if self.lost.swap(false, Ordering::Relaxed) {
            self.distrust();
        }
        self.checked.get()
    }

    /// Forgets what was noted of batches, before they are noted again from the first on.
    pub fn start_over(&mut self) {
        self.indexes = Some(Arc::new(Indexes::default()));
        self.largest = Some(Largest { timestamp: TimestampMs::NONE, offset: self.base });
        self.first_timestamp = None;
        self.unindexed = 0;
        self.size = 0;
    }

    /// Whether offsets up to `last` can be written as distances from the base.
    pub fn reaches(&self, last: Offset) -> bool {
        reaches(self.base, last)
    }

    /// Whether a batch found in the file can be noted.
    pub fn takes(&self, frame: &Frame) -> bool {
        self.reaches(frame.last_offset)
            && frame.base_offset >= self.base
            && u32::try_from(frame.position).is_ok()
    }

    /// Notes a batch that lies at the end. Its indexes have to be in memory.
    pub fn note(&mut self, last_offset: Offset, max_timestamp: TimestampMs, size: u64, interval: u64) {
        let relative = u32::try_from(last_offset.get() - self.base.get()).expect("the segment reaches it");
        let largest = self.largest.as_mut().expect("known while the indexes are in memory");
        if self.size == 0 {
            self.first_timestamp = Some(max_timestamp);
        }
        if max_timestamp > largest.timestamp {
            *largest = Largest { timestamp: max_timestamp, offset: last_offset };
        }
        if self.unindexed > interval {
            let indexes = Arc::make_mut(self.indexes.as_mut().expect("in memory"));
            let position = u32::try_from(self.size).expect("a segment is below 4 GiB");
            indexes.offsets.push(OffsetEntry { relative, position });
            indexes.push_time(time_entry(self.base, *largest));
            self.unindexed = 0;
        }
        self.size += size;
        self.unindexed += size;
    }

    pub fn note_aborted(&mut self, aborted: AbortedTransaction) {
        // Its file may have been looked for before there was anything to write to it.
        self.has_no_aborted = false;
        Arc::make_mut(self.indexes.as_mut().expect("in memory")).aborted.push(aborted);
    }

    /// Ends the time index with the largest timestamp, as a segment has it that is closed.
    pub fn seal(&mut self) -> Arc<Indexes> {
        let indexes = self.indexes.as_mut().expect("in memory");
        if let Some(largest) = self.largest
            && largest.timestamp.get() >= 0
        {
            let entry = time_entry(self.base, largest);
            if indexes.times.last().is_none_or(|last| entry.timestamp > last.timestamp) {
                Arc::make_mut(indexes).push_time(entry);
            }
        }
        Arc::clone(indexes)
    }

    /// Cuts the segment; what is noted of batches from `offset` on goes.
    pub fn cut(&mut self, size: u64, offset: Offset) {
        let indexes = Arc::make_mut(self.indexes.as_mut().expect("in memory"));
        indexes.truncate(self.base, offset);
        self.unindexed = size - indexes.offsets.last().map_or(0, |last| u64::from(last.position));
        self.size = size;
        self.room = 0;
        self.hint = None;
        let (from, to) = self.checked.get();
        self.checked.set((from.min(size), to.min(size)));
        if size == 0 {
            self.first_timestamp = None;
        }
    }

    /// How long the segment has been filled, for a batch with this timestamp.
    pub fn waited_ms(&self, now: TimestampMs, batch_timestamp: TimestampMs) -> i64 {
        match self.first_timestamp {
            Some(first) if first.get() >= 0 => batch_timestamp.get().saturating_sub(first.get()),
            _ => now.get().saturating_sub(self.created.get()),
        }
    }
}

/// Whether a segment that begins at `base` takes a batch that ends with `last`: indexes hold 31 bits of a distance.
pub(crate) fn reaches(base: Offset, last: Offset) -> bool {
    i32::try_from(last.get() - base.get()).is_ok_and(|relative| relative >= 0)
}

fn time_entry(base: Offset, largest: Largest) -> TimeEntry {
    let relative = u32::try_from(largest.offset.get() - base.get()).expect("the segment reaches it");
    TimeEntry { timestamp: largest.timestamp, relative }
}

/// A segment as it was at one moment, to be read from any thread.
#[derive(Clone)]
pub(crate) struct SegmentView {
    pub disk: Arc<dyn Disk>,
    pub dir: Arc<Path>,
    pub base: Offset,
    pub size: u64,
    /// One past the last offset that can be in it.
    pub end: Offset,
    pub indexes: Option<Arc<Indexes>>,
    pub largest: Option<Largest>,
    pub file: Option<Arc<dyn DiskFile>>,
    pub hint: Option<(Offset, u64)>,
    /// Whether reads may wait for the device.
    pub may_wait: bool,
    /// How they go about it then.
    pub manner: Manner,
    pub lost: Arc<AtomicBool>,
    pub lease: Arc<Lease>,
}

impl SegmentView {
    pub fn path(&self, kind: FileKind) -> PathBuf {
        self.dir.join(file_name(self.base, kind, FileState::Live))
    }

    pub fn source(&self) -> Result<Source, LogError> {
        match &self.file {
            Some(file) => Ok(self.source_of(Arc::clone(file))),
            None => self.open(FileKind::Log),
        }
    }

    /// A walk through the batches from a position on; of an empty segment no file is asked for.
    pub fn scanner(&self, position: u64, window_bytes: usize) -> Result<Scanner, LogError> {
        Ok(Scanner::new(self.source()?, &self.path(FileKind::Log), position, self.size, window_bytes))
    }

    /// A position at or before the batch that holds `offset`.
    pub fn position_before(&self, offset: Offset) -> Result<u64, LogError> {
        let relative = offset.get() - self.base.get();
        if let Some(indexes) = &self.indexes {
            return Ok(indexes.position_before(relative));
        }
        if let Some((hinted, position)) = self.hint
            && hinted == offset
        {
            return Ok(position);
        }
        // From the start everything can be found.
        Ok(self.sound_entry(offset)?.map_or(0, |entry| u64::from(entry.position)))
    }

    /// The last entry of the index at or before a distance from the base.
    pub fn search_entry(&self, relative: i64) -> Result<Option<OffsetEntry>, LogError> {
        match &self.indexes {
            Some(indexes) => Ok(indexes.entry_before(relative)),
            None => {
                let path = self.path(FileKind::OffsetIndex);
                index::search_offsets(&self.open(FileKind::OffsetIndex)?, &path, relative)
            }
        }
    }

    /// All entries of the index; none where it cannot be read.
    pub fn all_entries(&self) -> Vec<OffsetEntry> {
        match &self.indexes {
            Some(indexes) => indexes.offsets.clone(),
            None => {
                let contents = self.contents(FileKind::OffsetIndex).ok().flatten();
                index::read_offsets(&contents.unwrap_or_default())
            }
        }
    }

    /// Says, once, that the index in its file tells of batches that the log has not.
    pub fn tell_misfit(&self, entry: &OffsetEntry) {
        if !self.lease.is_misfit_told.swap(true, Ordering::Relaxed) {
            let path = self.path(FileKind::OffsetIndex);
            tracing::warn!(
                path = %path.display(), position = entry.position, size = self.size,
                "an index tells of a batch behind the end of its log; it is done without"
            );
        }
    }

    /// The first batch whose last offset is not below `offset`.
    pub fn find(&self, offset: Offset) -> Result<Option<Frame>, ReadError> {
        if self.size == 0 {
            return Ok(None);
        }
        let mut scanner = self.scanner(self.position_before(offset)?, HEADER_WINDOW_BYTES)?;
        while let Some(frame) = scanner.next()? {
            if frame.last_offset >= offset {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// A batch behind `first` that ends not far before the position `limit` and below the offset `up_to`, by the index in memory: the
    /// headers of those before it need not be read.
    pub fn batch_near(&self, limit: u64, first: &Frame, up_to: Offset) -> Result<Option<Frame>, ReadError> {
        let Some(indexes) = &self.indexes else { return Ok(None) };
        // Of those that begin later than this most do not fit.
        let latest = limit.saturating_sub(first.size);
        let entry = indexes.entry_within(latest, up_to.get() - self.base.get());
        let Some(entry) = entry.filter(|entry| u64::from(entry.position) > first.position) else {
            return Ok(None);
        };
        match self.scanner(u64::from(entry.position), HEADER_LEN)?.next() {
            Ok(Some(frame)) => {
                let is_meant = frame.last_offset == self.base.plus(i64::from(entry.relative));
                Ok(Some(frame).filter(|frame| is_meant && frame.end() <= limit))
            }
            Err(error) if error.would_block() => Err(error),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// The offset from which on `timestamp` may be reached.
    pub fn offset_before_time(&self, timestamp: TimestampMs) -> Result<Offset, LogError> {
        let relative = match &self.indexes {
            Some(indexes) => indexes.relative_before_time(timestamp),
            None => index::search_times(
                &self.open(FileKind::TimeIndex)?,
                &self.path(FileKind::TimeIndex),
                timestamp,
            )?,
        };
        Ok(self.base.plus(relative))
    }

    pub fn largest(&self) -> Result<Largest, LogError> {
        if let Some(largest) = self.largest.or_else(|| self.lease.largest.get().copied()) {
            return Ok(largest);
        }
        let last = index::last_time(&self.open(FileKind::TimeIndex)?, &self.path(FileKind::TimeIndex))?;
        let largest = last.map_or(Largest::UNKNOWN, |entry| Largest {
            timestamp: entry.timestamp,
            offset: self.base.plus(i64::from(entry.relative)),
        });
        Ok(*self.lease.largest.get_or_init(|| largest))
    }

    pub fn aborted(&self) -> Result<Vec<AbortedTransaction>, LogError> {
        if let Some(indexes) = &self.indexes {
            return Ok(indexes.aborted.clone());
        }
        let path = self.path(FileKind::TransactionIndex);
        let source = match self.open(FileKind::TransactionIndex) {
            Ok(source) => source,
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let len = source.len().map_err(failed("reading", &path))?;
        if len > MAX_INDEX_BYTES {
            return Err(LogError::corrupt(
                &path,
                format!("it has {len} bytes, more than such a file can have"),
            ));
        }
        let contents = source.read_exact(0, len as usize).map_err(failed("reading", &path))?;
        index::read_aborted(&contents, &path)
    }

    /// The index files, if they are there and fit the segment.
    pub fn load_indexes(&self) -> Result<Option<Indexes>, LogError> {
        let offsets = self.contents(FileKind::OffsetIndex)?;
        let times = self.contents(FileKind::TimeIndex)?;
        let aborted = self.contents(FileKind::TransactionIndex)?;
        let loaded = Indexes::load(offsets.as_deref(), times.as_deref(), aborted.as_deref(), self.size);
        if loaded.is_none() && offsets.is_some() && times.is_some() {
            let path = self.path(FileKind::OffsetIndex);
            tracing::warn!(path = %path.display(), size = self.size, "making indexes anew that do not fit their log");
        }
        Ok(loaded)
    }

    fn contents(&self, kind: FileKind) -> Result<Option<Bytes>, LogError> {
        let path = self.path(kind);
        let contents =
            read_file(self.disk.as_ref(), &path, MAX_INDEX_BYTES).map_err(failed("reading", &path))?;
        Ok(contents.map(Bytes::from))
    }

    fn open(&self, kind: FileKind) -> Result<Source, LogError> {
        let path = self.path(kind);
        let file = self.disk.open(&path, OpenMode::Read).map_err(failed("opening", &path))?;
        Ok(self.source_of(file))
    }

    fn source_of(&self, file: Arc<dyn DiskFile>) -> Source {
        if self.may_wait { Source::waiting_as(file, self.manner) } else { Source::cached(file) }
    }
}
