//! Letting go: retention by time, size and log start, and everything else that happens from time to time.
//!
//! The rules are Kafka's. A segment that goes leaves the log at once; its files are renamed and, after `file.delete.delay.ms`,
//! removed by a [`Cleanup`] on another thread, the oldest segment first and each durably before the next, so that no crash
//! leaves a hole.

use std::path::Path;
use std::sync::Arc;

use dohle_env::Disk;
use dohle_types::{HighWatermark, Offset, TimestampMs};

use crate::buffers::ReadBuffers;
use crate::error::{DeleteRecordsError, LogError, failed};
use crate::log::Log;
use crate::names::{FileKind, FileState, file_name};
use crate::recovery::ignore_missing;
use crate::removal::{Between, remove_file};
use crate::segment::Lease;

/// How long a log keeps its tail in memory and its files open after it was last used.
const IDLE_MS: i64 = 60_000;
/// When to look again whether a reader is done with a segment that is to go.
const READER_MS: i64 = 1000;
/// How many segments go in one cleanup; the others follow in the next.
const MAX_SEGMENTS_PER_CLEANUP: usize = 64;

/// Segments that left the log and whose files are still there.
#[derive(Default)]
pub(crate) struct Garbage {
    /// Left the log; to be renamed when nobody reads them by name any more.
    retired: Vec<(Offset, Arc<Lease>)>,
    /// Renamed; to be removed at that time.
    renamed: Vec<(TimestampMs, Vec<Offset>)>,
    /// Whether a cleanup is under way.
    underway: bool,
}

impl Garbage {
    pub fn is_underway(&self) -> bool {
        self.underway || !self.retired.is_empty()
    }

    /// Whether files are being renamed or removed on another thread.
    pub fn is_busy(&self) -> bool {
        self.underway
    }
}

/// What maintaining a log has come to.
#[must_use]
pub struct Maintenance {
    /// When to do it again, at the latest. `None`: nothing is due before something is appended.
    pub next: Option<TimestampMs>,
    /// Work on files, for a thread that may wait; its result goes to [`Log::finish_cleanup`].
    pub cleanup: Option<Cleanup>,
    /// The log starts later than before.
    pub log_start_moved: bool,
}

/// Renames and removes the files of segments that left the log.
#[must_use]
pub struct Cleanup {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    readers: ReadBuffers,
    rename: Vec<Offset>,
    remove: Vec<Offset>,
}

/// A cleanup that is done.
#[derive(Debug)]
#[must_use]
pub struct Cleaned {
    renamed: Vec<Offset>,
}

impl Log {
    /// Moves the start of the log to `offset`, which must not be above the high watermark. Gives the start as it is then.
    ///
    /// The caller stores it in `log-start-offset-checkpoint` before it acknowledges. Segments wholly below go with [`Log::maintain`].
    pub fn delete_records_before(
        &mut self,
        offset: Offset,
        high_watermark: HighWatermark,
    ) -> Result<Offset, DeleteRecordsError> {
        self.check_usable()?;
        if offset > high_watermark.get() || offset.get() < 0 {
            return Err(DeleteRecordsError::OutOfRange { offset, start: self.start, high_watermark });
        }
        self.move_start(offset);
        Ok(self.start)
    }

    /// What is due from time to time: retention, forgetting producers, letting go of memory and descriptors.
    pub fn maintain(
        &mut self,
        now: TimestampMs,
        high_watermark: HighWatermark,
    ) -> Result<Maintenance, LogError> {
        self.check_usable()?;
        let start = self.start;
        self.producers.on_high_watermark(high_watermark);
        self.producers.expire(now, self.context.producer_id_expiration_ms);
        // A flush under way may be making the very files that would be renamed, and a compaction reads or renames them.
        let compacting = self.compaction.is_running() || self.compaction.is_swapping();
        if self.flushing.is_none() && !compacting {
            self.or_fail(|log| log.retire_segments(now, high_watermark))?;
        }
        self.rest();
        let cleanup = self.start_cleanup(now);
        // An error is found again by the next look; the cleanup is not to be lost for it.
        let later = TimestampMs(now.get().saturating_add(IDLE_MS));
        let next = self.next_maintenance(now).unwrap_or(Some(later));
        Ok(Maintenance { next, cleanup, log_start_moved: self.start > start })
    }

    /// Takes back what [`Cleanup::run`] returned.
    pub fn finish_cleanup(
        &mut self,
        result: Result<Cleaned, LogError>,
        now: TimestampMs,
    ) -> Result<(), LogError> {
        self.garbage.underway = false;
        let cleaned = result.inspect_err(|error| self.fail(error))?;
        if !cleaned.renamed.is_empty() {
            self.collect_later(cleaned.renamed, now);
        }
        Ok(())
    }

    /// Has files that are renamed already removed after `file.delete.delay.ms`.
    pub(crate) fn collect_later(&mut self, renamed: Vec<Offset>, now: TimestampMs) {
        let due = TimestampMs(now.get().saturating_add(self.settings.file_delete_delay_ms));
        self.garbage.renamed.push((due, renamed));
    }

    fn move_start(&mut self, offset: Offset) {
        if offset > self.start {
            self.start = offset;
            self.dirty.epochs |= self.epochs.truncate_from_start(offset);
        }
    }

    /// Whether there are segments that retention has to delete, or close first.
    pub fn has_retirable(&self, now: TimestampMs, high_watermark: HighWatermark) -> Result<bool, LogError> {
        Ok(self.count_retirable(now, high_watermark)? > 0)
    }

    fn retire_segments(&mut self, now: TimestampMs, high_watermark: HighWatermark) -> Result<(), LogError> {
        let due = self.count_retirable(now, high_watermark)?;
        if due > 0 && due == self.segments.len() {
            self.roll(now)?;
        }
        let count = (0..due.min(MAX_SEGMENTS_PER_CLEANUP)).take_while(|at| self.is_stored(*at)).count();
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            let segment = self.segments.pop_front().expect("counted");
            self.dirty.forget(segment.base);
            self.dirty.snapshots.retain(|(offset, _)| *offset != segment.base);
            self.snapshots.remove(&segment.base);
            self.garbage.retired.push((segment.base, segment.lease));
        }
        let first = self.segments[0].base;
        tracing::info!(dir = %self.dir.display(), count, start = %first, "retention deletes segments");
        self.move_start(first);
        Ok(())
    }

    /// Whether a segment is flushed, and with it the snapshot of the producers that remembers it when it is gone.
    pub(crate) fn is_stored(&self, at: usize) -> bool {
        let base = self.segments[at].base;
        self.segment_end(at) <= self.recovery_point
            && self.dirty.sealed.iter().all(|(sealed, _)| *sealed != base)
            && self.flushing.as_ref().is_none_or(|flush| !flush.sealed.contains(&base))
    }

    /// How many segments, from the first on, are to go.
    fn count_retirable(&self, now: TimestampMs, high_watermark: HighWatermark) -> Result<usize, LogError> {
        let size = self.size_in_bytes();
        let limit = self.settings.retention_bytes.filter(|_| self.settings.cleanup_delete);
        let mut surplus = limit.map_or(0, |limit| size.saturating_sub(limit));
        let mut count = 0;
        for at in 0..self.segments.len() {
            let segment = &self.segments[at];
            let last = at + 1 == self.segments.len();
            if high_watermark.get() < self.segment_end(at) || (last && segment.size == 0) {
                break;
            }
            let below_start = !last && self.segment_end(at) <= self.start;
            let too_much = segment.size > 0 && surplus >= segment.size;
            if !(below_start || too_much || self.is_expired(at, now)?) {
                break;
            }
            surplus = surplus.saturating_sub(segment.size);
            count += 1;
        }
        Ok(count)
    }

    fn is_expired(&self, at: usize, now: TimestampMs) -> Result<bool, LogError> {
        Ok(self.expiry(at)?.is_some_and(|expiry| now > expiry))
    }

    /// When retention by time lets a segment go. One with records of the future stays until they are of the past.
    fn expiry(&self, at: usize) -> Result<Option<TimestampMs>, LogError> {
        let Some(retention_ms) = self.settings.retention_ms.filter(|_| self.settings.cleanup_delete) else {
            return Ok(None);
        };
        let largest = self.view(at, true).largest()?.timestamp;
        let latest = if largest.get() >= 0 { largest } else { self.modified(at)? };
        let retention_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
        Ok(Some(TimestampMs(latest.get().saturating_add(retention_ms))))
    }

    /// When a segment without timestamps was last written to.
    fn modified(&self, at: usize) -> Result<TimestampMs, LogError> {
        let path = self.path(self.segments[at].base, FileKind::Log);
        let found = self.disk().metadata(&path).map_err(failed("looking at", &path))?;
        Ok(found.map_or(self.segments[at].created, |found| found.modified))
    }

    /// Whether the log can be closed and opened again without anybody noticing: nothing is to be flushed, renamed or removed,
    /// and nothing but the clock can make something due.
    pub fn may_rest(&self) -> bool {
        let compacts = self.settings.cleanup_compact && self.segments.len() > 1;
        self.failure.is_none()
            && self.flushing.is_none()
            && self.dirty.written.is_empty()
            && !self.garbage.is_underway()
            && self.garbage.renamed.is_empty()
            && !compacts
            && !self.compaction.is_running()
            && !self.compaction.is_swapping()
            // What is damaged would have to be found, and told of, again.
            && self.damage().next().is_none()
    }

    /// When retention by time has to look at the log again. `None`: not before something is appended.
    pub fn retention_due(&self) -> Result<Option<TimestampMs>, LogError> {
        if self.segments.iter().all(|segment| segment.size == 0) {
            return Ok(None);
        }
        Ok(self.expiry(0)?.map(|at| TimestampMs(at.get().saturating_add(1))))
    }

    /// Closes the files of segments; the next use opens them again. What is being flushed stays open until that is done.
    pub fn let_go_of_files(&mut self) {
        self.segments.iter_mut().for_each(|segment| segment.used = false);
        self.close_unused_files();
    }

    /// Lets go of what was not used since the last time.
    fn rest(&mut self) {
        self.tail.rest();
        if !self.active().used && !self.settings.preallocate {
            self.give_back_room();
        }
        self.close_unused_files();
    }

    /// A segment that compaction has made, and that has not got its name yet, can be read through its open file only.
    fn close_unused_files(&mut self) {
        let nameless = self.compaction.swapping_base();
        for segment in &mut self.segments {
            if !std::mem::take(&mut segment.used) && nameless != Some(segment.base) {
                segment.file = None;
            }
        }
    }

    fn start_cleanup(&mut self, now: TimestampMs) -> Option<Cleanup> {
        if self.garbage.underway {
            return None;
        }
        let free = self.garbage.retired.iter().take_while(|(_, lease)| Arc::strong_count(lease) == 1).count();
        let rename: Vec<Offset> = self.garbage.retired.drain(..free).map(|(base, _)| base).collect();
        let (due, later) = self.garbage.renamed.drain(..).partition(|(at, _)| *at <= now);
        self.garbage.renamed = later;
        let due: Vec<(TimestampMs, Vec<Offset>)> = due;
        let remove: Vec<Offset> = due.into_iter().flat_map(|(_, bases)| bases).collect();
        if rename.is_empty() && remove.is_empty() {
            return None;
        }
        self.garbage.underway = true;
        Some(Cleanup {
            disk: Arc::clone(&self.context.disk),
            dir: Arc::clone(&self.dir),
            readers: self.context.buffers.clone(),
            rename,
            remove,
        })
    }

    fn next_maintenance(&self, now: TimestampMs) -> Result<Option<TimestampMs>, LogError> {
        let removal = self.garbage.renamed.iter().map(|(due, _)| *due).min();
        let renaming =
            (!self.garbage.retired.is_empty()).then(|| TimestampMs(now.get().saturating_add(READER_MS)));
        let in_use = !self.tail.is_empty() || self.segments.iter().any(|segment| segment.file.is_some());
        let rest =
            (in_use || self.flushing.is_some()).then(|| TimestampMs(now.get().saturating_add(IDLE_MS)));
        let expiry = self.retention_due()?.map(|at| at.max(now));
        let producers = self.producers.next_expiry(self.context.producer_id_expiration_ms);
        Ok([removal, renaming, rest, expiry, producers].into_iter().flatten().min())
    }
}

impl Cleanup {
    pub fn run(self, between: Between<'_>) -> Result<Cleaned, LogError> {
        if !self.rename.is_empty() {
            // The segment that takes over has to be there before the others go.
            self.sync_dir()?;
        }
        for base in &self.rename {
            for kind in FileKind::ALL {
                let from = self.dir.join(file_name(*base, kind, FileState::Live));
                let to = self.dir.join(file_name(*base, kind, FileState::Deleted));
                self.disk.rename(&from, &to).or_else(ignore_missing).map_err(failed("renaming", &from))?;
            }
            if !cfg!(dohle_bug = "retired_in_any_order") {
                self.sync_dir()?;
            }
        }
        for base in &self.remove {
            for kind in FileKind::ALL {
                let path = self.dir.join(file_name(*base, kind, FileState::Deleted));
                let removed = remove_file(self.disk.as_ref(), &path, &self.readers, between);
                let missing = |error| ignore_missing(error).map(|()| true);
                if !removed.or_else(missing).map_err(failed("removing", &path))? {
                    return Ok(Cleaned { renamed: self.rename });
                }
            }
        }
        Ok(Cleaned { renamed: self.rename })
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        let _stored = self.disk.sync_dir(&self.dir).map_err(failed("flushing", &self.dir))?;
        Ok(())
    }
}
