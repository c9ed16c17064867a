//! Compaction: of the records with one key, only the latest stays.
//!
//! ```text
//! owner:  examine   start_compaction                    swap_in    start_swap               finish_swap    (again for each group)
//! other:     `-> run      `-> map -> next_group (.cleaned) -^           `-> run (.swap, live) -^
//! ```
//! [`Log::examine`] says whether it is time. [`Compaction::map`] notes the latest offset of each key of the dirty part, as far as its
//! [`KeyMap`] reaches; [`Compaction::next_group`] writes what stays of a few segments into one, beside them; [`Log::swap_in`] lets the
//! log read from that one; a [`Swap`] gives it its name once nobody reads the old files by theirs. Which records stay is decided in
//! `filter.rs`, without a file.
//!
//! Invariants:
//! - `OffsetsStay`: what is read at an offset before and after is the same record, or it is gone.
//! - `LatestSurvives`: the latest record of a key that is not deleted is in the log after any crash.
//! - `OldNamesOldBytes`: who was given a segment to read finds its bytes under its name, or holds its file open. Old files keep their
//!   names while a view of them is left; a new segment is read through an open file until it has its own name.
//!
//! Only whole segments are compacted that are closed, stored and decided. So a compaction touches nothing that an append, a
//! flush or a truncation above the last stable offset does; retention waits for it, other truncations cancel it.

mod dirtiness;
mod filter;
mod groups;
mod key_map;
mod sip;
mod swap;
#[cfg(test)]
mod tests;
mod transactions;
mod underway;
mod writer;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Weak};

use dohle_env::Disk;
use dohle_records::{Batch, BatchError, DEFAULT_OUTPUT_LIMIT, Entry, parse_entries};
use dohle_types::{Offset, ProducerId, TimestampMs};
use thiserror::Error;

pub use self::dirtiness::{Dirtiness, Examination};
pub use self::filter::RecordCounts;
pub use self::key_map::KeyMap;
pub use self::swap::{Swap, Swapped};
pub use self::underway::CancelSign;
pub(crate) use self::underway::Underway;

use self::filter::{Filter, Kept, LastOf, marker_of, offset_of};
use self::groups::{Sizes, groups};
use self::transactions::Transactions;
use self::underway::Token;
use self::writer::{Writer, remove_output};
use crate::error::{LogError, ReadError, failed};
use crate::frame::{Frame, SCAN_WINDOW_BYTES, Scanner};
use crate::index::{AbortedTransaction, OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES};
use crate::log::Log;
use crate::names::FileKind;
use crate::segment::{Lease, Segment, SegmentView};

/// Why a compaction ended before its time. The log is as it was.
#[derive(Debug, Error)]
pub enum CompactionError {
    /// The log was truncated, closed or deleted meanwhile.
    #[error("it was cancelled")]
    Cancelled,
    /// The log holds something that cannot be judged. Another try would find it again.
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Storage(#[from] LogError),
}

impl From<ReadError> for CompactionError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(LogError::Corrupt { path, what }) => {
                Self::Damaged(format!("{}: {what}", path.display()))
            }
            ReadError::Storage(error) => Self::Storage(error),
            damaged => Self::Damaged(damaged.to_string()),
        }
    }
}

/// Called with the number of bytes that were read or written, it may take its time.
pub type Pace<'a> = &'a mut dyn FnMut(u64);

/// What a compaction has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CompactionCounts {
    pub bytes_read: u64,
    /// Of the segments that were looked through, and of what took their place.
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub records: RecordCounts,
    /// How much of the map was taken.
    pub map_utilization: f64,
    pub map_memory_bytes: usize,
}

/// A compaction under way. Its methods wait for the device; the log goes on meanwhile.
pub struct Compaction {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    token: Arc<Token>,
    limits: Limits,
    /// What may be compacted and is not done yet.
    sources: VecDeque<SegmentView>,
    /// How many of the sources belong together, for each group that is not done yet.
    groups: VecDeque<usize>,
    aborted: Vec<AbortedTransaction>,
    transactions: Transactions,
    producers: HashMap<ProducerId, LastOf>,
    first_dirty: Offset,
    end: Offset,
    now: TimestampMs,
    counts: CompactionCounts,
}

#[derive(Clone, Copy)]
struct Limits {
    segment_bytes: u64,
    index_bytes: u64,
    index_interval_bytes: u64,
    delete_retention_ms: i64,
}

/// One segment that is to take the place of several, stored under `.cleaned` names.
#[must_use]
pub struct CleanedGroup {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    token: Arc<Token>,
    /// Who they are, and how large they were.
    sources: Vec<(Weak<Lease>, u64)>,
    segment: Segment,
}

impl CleanedGroup {
    /// Removes its files. To be called where waiting is allowed.
    pub fn discard(self) -> Result<(), LogError> {
        remove_output(self.disk.as_ref(), &self.dir, self.segment.base)
    }
}

impl Log {
    /// Whether a compaction is under way; the log can be closed when it is not.
    pub fn is_compacting(&self) -> bool {
        self.compaction.is_running()
    }

    /// Whether the files of a segment that compaction has made are being given their names.
    pub fn is_swapping(&self) -> bool {
        self.compaction.is_swapping()
    }

    /// Has a compaction under way end soon, without a result.
    pub fn cancel_compaction(&self) {
        self.compaction.cancel();
    }

    /// Starts to compact `[first_dirty, up_to)`, as [`Log::examine`] has found them. `None` when there is nothing to do, when one is under
    /// way, or when the log is out of service.
    ///
    /// The caller stores [`Log::recovery_point`] in the checkpoint before anything is swapped in.
    pub fn start_compaction(
        &mut self,
        first_dirty: Offset,
        up_to: Offset,
        now: TimestampMs,
    ) -> Option<Compaction> {
        let busy = self.compaction.is_running() || self.compaction.is_swapping() || self.failure.is_some();
        let count =
            self.segments.partition_point(|segment| segment.base < up_to).min(self.segments.len() - 1);
        let stored = (0..count).all(|at| self.is_settled(at));
        if busy || count == 0 || !stored || self.segment_end(count - 1) > up_to {
            return None;
        }
        let token = Arc::new(Token::default());
        self.compaction.begin(&token);
        let last_of = |state: &crate::producers::ProducerState| match state.last_batch() {
            Some(last) => LastOf::Data(last.last_offset),
            None => LastOf::Marker(state.epoch),
        };
        let producers = self.producers.states().iter().map(|(id, state)| (*id, last_of(state)));
        let is_below = |last: &LastOf| !matches!(last, LastOf::Data(offset) if *offset >= up_to);
        let mut compaction = Compaction {
            disk: Arc::clone(&self.context.disk),
            dir: Arc::clone(&self.dir),
            token,
            limits: Limits {
                segment_bytes: u64::from(self.settings.segment_bytes),
                index_bytes: u64::from(self.settings.segment_index_bytes),
                index_interval_bytes: u64::from(self.settings.index_interval_bytes),
                delete_retention_ms: self.settings.delete_retention_ms,
            },
            sources: (0..self.segments.len()).map(|at| self.view(at, true)).collect(),
            groups: VecDeque::new(),
            aborted: Vec::new(),
            transactions: Transactions::default(),
            producers: producers.filter(|(_, last)| is_below(last)).collect(),
            first_dirty,
            end: up_to,
            now,
            counts: CompactionCounts::default(),
        };
        // Those after the range are only asked which transactions were aborted.
        compaction.groups = VecDeque::from([count]);
        Some(compaction)
    }
}

impl Compaction {
    /// Notes the keys of the dirty part in `map`, which is empty, and gives the offset up to which the log will be compacted: less
    /// than was asked for when the map is full.
    pub fn map(&mut self, map: &mut KeyMap, pace: Pace<'_>) -> Result<Offset, CompactionError> {
        self.map_sources(map, pace).map_err(|problem| self.unless_cancelled(problem))
    }

    fn map_sources(&mut self, map: &mut KeyMap, pace: Pace<'_>) -> Result<Offset, CompactionError> {
        for view in &self.sources {
            self.check()?;
            self.aborted.extend(view.aborted().map_err(ReadError::from)?);
        }
        let count = self.groups.pop_front().expect("it was just started");
        self.sources.truncate(count);
        let mut transactions = Transactions::new(&self.aborted, self.first_dirty);
        let mut is_full = false;
        for at in 0..self.sources.len() {
            let view = self.sources[at].clone();
            let end = self.sources.get(at + 1).map_or(self.end, |next| next.base);
            if end <= self.first_dirty || view.size == 0 {
                continue;
            }
            is_full = !self.map_segment(&view, &mut transactions, map, pace)?;
            if is_full {
                break;
            }
        }
        if !is_full {
            map.covers(Offset(self.end.get() - 1));
        }
        self.counts.map_utilization = map.utilization();
        self.counts.map_memory_bytes = map.memory_bytes();
        let mapped = map.latest().next();
        self.sources.truncate(self.sources.iter().take_while(|view| view.base < mapped).count());
        let sizes = self.sources.iter().map(|view| self.sizes_of(view)).collect::<Result<Vec<_>, _>>()?;
        let groups = groups(&sizes, self.limits.segment_bytes, self.limits.index_bytes, self.end);
        self.groups = groups.into_iter().map(|group| group.len()).collect();
        self.transactions = Transactions::new(&self.aborted, Offset::ZERO);
        Ok(mapped)
    }

    /// Writes what stays of the next segments. `Ok(None)` when all are done. What came before has to be swapped in already.
    pub fn next_group(
        &mut self,
        map: &KeyMap,
        pace: Pace<'_>,
    ) -> Result<Option<CleanedGroup>, CompactionError> {
        while let Some(count) = self.groups.pop_front() {
            let sources: Vec<SegmentView> = self.sources.drain(..count).collect();
            let cleaned = self.clean(&sources, map, pace).map_err(|problem| {
                // Should this fail too, the next compaction or the next start removes it.
                _ = remove_output(self.disk.as_ref(), &self.dir, sources[0].base);
                self.unless_cancelled(problem)
            })?;
            if let Some(segment) = cleaned {
                self.check()?;
                return Ok(Some(CleanedGroup {
                    disk: Arc::clone(&self.disk),
                    dir: Arc::clone(&self.dir),
                    token: Arc::clone(&self.token),
                    sources: sources.iter().map(|view| (Arc::downgrade(&view.lease), view.size)).collect(),
                    segment,
                }));
            }
        }
        // What was done is not to be noted as compacted where the log has been cut since.
        self.check()?;
        Ok(None)
    }

    /// Tells whether it is not wanted any more, also while it is at work.
    pub fn sign(&self) -> CancelSign {
        CancelSign::of(&self.token)
    }

    pub fn counts(&self) -> &CompactionCounts {
        &self.counts
    }

    /// Whether it is not wanted any more.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// What has failed because the log was cut under it has not failed.
    fn unless_cancelled(&self, problem: CompactionError) -> CompactionError {
        if self.is_cancelled() { CompactionError::Cancelled } else { problem }
    }

    fn check(&self) -> Result<(), CompactionError> {
        if self.is_cancelled() { Err(CompactionError::Cancelled) } else { Ok(()) }
    }

    /// Notes the keys of one segment. `Ok(false)` when the map is full.
    fn map_segment(
        &mut self,
        view: &SegmentView,
        transactions: &mut Transactions,
        map: &mut KeyMap,
        pace: Pace<'_>,
    ) -> Result<bool, CompactionError> {
        let from = self.first_dirty;
        let position = view.position_before(from).map_err(ReadError::from)?;
        let mut scanner = view.scanner(position, SCAN_WINDOW_BYTES).map_err(ReadError::from)?;
        while let Some((frame, entry)) = self.next_entry(&mut scanner, pace)? {
            if frame.last_offset < from {
                continue;
            }
            let judged = match &entry {
                Entry::Batch(batch) if batch.header.is_control() => marker_of(batch).map(|marker| {
                    transactions.on_control(&batch.header, marker);
                    true
                }),
                Entry::Batch(batch) if transactions.on_data(&batch.header) => Ok(true),
                entry => map_entry(entry, from, map),
            };
            if !judged.map_err(|error| scanner.damaged_at(&frame, error.to_string()))? {
                return Ok(false);
            }
            map.covers(frame.last_offset);
        }
        Ok(true)
    }

    /// Writes what stays of some segments into one. `None` when that is what is there.
    fn clean(
        &mut self,
        sources: &[SegmentView],
        map: &KeyMap,
        pace: Pace<'_>,
    ) -> Result<Option<Segment>, CompactionError> {
        let alone = sources.len() == 1;
        let (first, interval) = (&sources[0], self.limits.index_interval_bytes);
        let segment = Segment::new(first.base, self.now, 0);
        let mut writer = Writer::new(Arc::clone(&self.disk), Arc::clone(&self.dir), segment, interval);
        for view in sources {
            self.counts.bytes_before += view.size;
            if view.size == 0 {
                continue;
            }
            let mut scanner = view.scanner(0, SCAN_WINDOW_BYTES).map_err(ReadError::from)?;
            while let Some((frame, entry)) = self.next_entry(&mut scanner, pace)? {
                let kept = self
                    .filter(&entry, map)
                    .map_err(|error| scanner.damaged_at(&frame, error.to_string()))?;
                let unchanged = alone && kept == Kept::AsItIs;
                if !(unchanged || writer.has_file()) {
                    pace(writer.make_file(first)?);
                }
                match kept {
                    Kept::Nothing => {}
                    Kept::AsItIs => {
                        writer.append(&frame, &scanner.bytes_of(&frame)?)?;
                        pace(frame.size);
                    }
                    Kept::Anew(batch) => {
                        let bytes = batch.to_vec();
                        let frame = Frame::parse(&bytes, 0).expect("it was just built");
                        writer.append(&frame, &bytes)?;
                        pace(frame.size);
                    }
                }
            }
        }
        let kept_aborted = self.transactions.take_kept();
        if alone && !writer.has_file() {
            self.counts.bytes_after += first.size;
            return Ok(None);
        }
        if !writer.has_file() {
            // Segments without a byte.
            writer.make_file(first)?;
        }
        let segment = writer.finish(kept_aborted)?;
        self.counts.bytes_after += segment.size;
        Ok(Some(segment))
    }

    fn filter(&mut self, entry: &Entry, map: &KeyMap) -> Result<Kept, BatchError> {
        let mut filter = Filter {
            map,
            transactions: &mut self.transactions,
            producers: &self.producers,
            end: self.end,
            now: self.now,
            delete_retention_ms: self.limits.delete_retention_ms,
            counts: &mut self.counts.records,
        };
        match entry {
            Entry::Batch(batch) => filter.batch(batch),
            Entry::Legacy(entry) => filter.legacy(entry),
        }
    }

    /// The next batch of a segment, with its checksum checked.
    fn next_entry(
        &mut self,
        scanner: &mut Scanner,
        pace: Pace<'_>,
    ) -> Result<Option<(Frame, Entry)>, CompactionError> {
        self.check()?;
        let Some(frame) = scanner.next()? else { return Ok(None) };
        let bytes = scanner.checked_bytes_of(&frame)?;
        let entry = match frame.header {
            Some(_) => Batch::parse(&bytes).map(Entry::Batch),
            None => parse_entries(bytes).next().expect("a frame is not empty"),
        };
        let entry = entry.map_err(|error| scanner.damaged_at(&frame, error.to_string()))?;
        self.counts.bytes_read += frame.size;
        pace(frame.size);
        Ok(Some((frame, entry)))
    }

    fn sizes_of(&self, view: &SegmentView) -> Result<Sizes, LogError> {
        if let Some(indexes) = &view.indexes {
            let offset_index = (indexes.offsets.len() * OFFSET_ENTRY_BYTES) as u64;
            let time_index = (indexes.times.len() * TIME_ENTRY_BYTES) as u64;
            return Ok(Sizes { base: view.base, log: view.size, offset_index, time_index });
        }
        let size = |kind| {
            let path = view.path(kind);
            let found = self.disk.metadata(&path).map_err(failed("looking at", &path))?;
            Ok::<u64, LogError>(found.map_or(0, |found| found.len))
        };
        let (offset_index, time_index) = (size(FileKind::OffsetIndex)?, size(FileKind::TimeIndex)?);
        Ok(Sizes { base: view.base, log: view.size, offset_index, time_index })
    }
}

/// Notes the keys of a batch from an offset on. `Ok(false)` when the map is full.
fn map_entry(entry: &Entry, from: Offset, map: &mut KeyMap) -> Result<bool, BatchError> {
    let mut put = |key: Option<&[u8]>, offset: Offset| match key {
        Some(key) if offset >= from => map.put(key, offset),
        _ => true,
    };
    match entry {
        Entry::Batch(batch) => {
            let mut scan = batch.scan(DEFAULT_OUTPUT_LIMIT)?;
            while let Some(noted) =
                scan.next_with(|record| put(record.key, offset_of(&batch.header, &record)))?
            {
                if !noted {
                    return Ok(false);
                }
            }
        }
        Entry::Legacy(entry) => {
            for record in entry.records(DEFAULT_OUTPUT_LIMIT) {
                let record = record?;
                if !put(record.key.as_deref(), record.offset) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}
