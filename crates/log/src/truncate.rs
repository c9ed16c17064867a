//! Going back: truncation, starting over, closing, deleting.
//!
//! What is cut off is cut durably, from the end backwards, so that no crash leaves a hole with records behind it.

use std::path::PathBuf;

use dohle_env::disk::OpenMode;
use dohle_types::{Offset, TimestampMs};

use crate::error::{LogError, ReadError, failed};
use crate::frame::HEADER_WINDOW_BYTES;
use crate::log::Log;
use crate::names::{FileKind, FolderState, marked_folder_name, parse_folder_name};
use crate::recovery::{ignore_missing, storage};
use crate::segment::Largest;

/// An active segment up to this size is walked by its headers in a millisecond or two when its log is opened.
const SHORT_WALK_BYTES: u64 = 1 << 20;

/// Where a log stood when it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// For `recovery-point-offset-checkpoint`: the end of the log.
    pub recovery_point: Offset,
    /// For `log-start-offset-checkpoint`.
    pub log_start: Offset,
}

impl Log {
    /// Cuts off everything from the batch that holds `offset` on. Durable when it returns.
    ///
    /// The caller stores [`Log::recovery_point`] in the checkpoint before it appends again: what is appended from here on is not
    /// flushed, whatever an older checkpoint says.
    pub fn truncate_to(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.check_usable()?;
        if offset >= self.end {
            return Ok(());
        }
        if offset <= self.start || offset < self.segments[0].base {
            return self.reset_to(offset);
        }
        self.end_compaction()?;
        let first_cut = self.view(self.segment_of(offset), true).find(offset).map_err(storage)?;
        if first_cut.is_some_and(|frame| frame.base_offset < self.start) {
            // The batch that goes is the one that the log starts in: nothing is left.
            return self.reset_to(self.start);
        }
        self.or_fail(|log| log.cut_at(offset, now))
    }

    /// Throws everything away; the log is empty then, and its next offset is `offset`.
    pub fn reset_to(&mut self, offset: Offset) -> Result<(), LogError> {
        if self.garbage.is_underway() {
            return Err(LogError::Busy { path: self.dir.to_path_buf() });
        }
        self.end_compaction()?;
        self.or_fail(|log| {
            let created = log.segments.back().map_or(TimestampMs(0), |segment| segment.created);
            log.remove_segments_from(0)?;
            log.drop_snapshots_after(Offset::NONE)?;
            log.rewrites += 1;
            log.epochs.clear();
            log.producers.clear();
            log.tail.clear();
            log.quarantine.forget_from(Offset::NONE);
            log.dirty.epochs = true;
            (log.start, log.end) = (offset, offset);
            log.recovery_point = log.recovery_point.min(offset);
            log.limit_flush(offset);
            log.push_segment(offset, created);
            // The file's name is all that says where the log goes on.
            log.segment_file(0)?;
            if !cfg!(dohle_bug = "reset_unsynced") {
                let _stored = log.disk().sync_dir(&log.dir).map_err(failed("flushing", &log.dir))?;
            }
            Ok(())
        })
    }

    /// Cancels a compaction that has not replaced anything yet. One that has must finish first.
    fn end_compaction(&self) -> Result<(), LogError> {
        if self.compaction.is_swapping() {
            return Err(LogError::Busy { path: self.dir.to_path_buf() });
        }
        self.compaction.cancel();
        Ok(())
    }

    fn cut_at(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.rewrites += 1;
        let at = self.segment_of(offset);
        self.remove_segments_from(at + 1)?;
        self.load_active()?;
        let first_cut = self.view(at, true).find(offset).map_err(storage)?;
        let end = match &first_cut {
            Some(frame) => frame.base_offset.min(offset),
            None => offset,
        };
        if let Some(frame) = first_cut {
            self.remove_files(
                self.segments[at].base,
                &[FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex],
            )?;
            let path = self.path(self.segments[at].base, FileKind::Log);
            let file = self.disk().open(&path, OpenMode::ReadWrite).map_err(failed("opening", &path))?;
            file.set_len(frame.position).map_err(failed("cutting", &path))?;
            if !cfg!(dohle_bug = "cut_unsynced") {
                let _stored = file.sync_data().map_err(failed("flushing", &path))?;
            }
            self.segments[at].file = Some(file);
            self.segments[at].cut(frame.position, end);
        }
        self.end = end;
        self.recovery_point = self.recovery_point.min(end);
        self.limit_flush(end);
        self.dirty.epochs |= self.epochs.truncate_from_end(end);
        self.tail.clear();
        self.quarantine.forget_from(end);
        self.drop_snapshots_after(end)?;
        self.find_largest(at).map_err(storage)?;
        self.replay_trusted(now)
    }

    /// What a flush under way is going to prove is less now.
    fn limit_flush(&mut self, end: Offset) {
        if let Some(underway) = &mut self.flushing {
            underway.up_to = underway.up_to.min(end);
        }
    }

    /// Finds the largest timestamp of a segment that was cut.
    fn find_largest(&mut self, at: usize) -> Result<(), ReadError> {
        let view = self.view(at, true);
        let indexes = self.segments[at].indexes.as_ref().expect("loaded");
        let mut largest = Largest { timestamp: TimestampMs::NONE, offset: view.base };
        let mut position = 0;
        if let Some(last) = indexes.times.last() {
            let offset = view.base.plus(i64::from(last.relative));
            largest = Largest { timestamp: last.timestamp, offset };
            position = indexes.position_before(i64::from(last.relative));
        }
        if view.size > 0 {
            let mut scanner = view.scanner(position, HEADER_WINDOW_BYTES)?;
            while let Some(frame) = scanner.next()? {
                if frame.max_timestamp > largest.timestamp {
                    largest = Largest { timestamp: frame.max_timestamp, offset: frame.last_offset };
                }
            }
        }
        self.segments[at].largest = Some(largest);
        Ok(())
    }

    /// Drops the segments from `at` on when a log is opened. If none is left, an empty one takes the place of the first.
    pub(crate) fn drop_segments_from(&mut self, at: usize, now: TimestampMs) -> Result<(), LogError> {
        if at >= self.segments.len() {
            return Ok(());
        }
        self.remove_segments_from(at)?;
        if self.segments.is_empty() {
            self.push_segment(self.end, now);
        }
        Ok(())
    }

    /// Removes segments, the last one first, each durably before the next.
    fn remove_segments_from(&mut self, at: usize) -> Result<(), LogError> {
        while self.segments.len() > at {
            let segment = self.segments.pop_back().expect("there are more than `at`");
            self.dirty.forget(segment.base);
            self.remove_files(segment.base, &FileKind::ALL)?;
            self.snapshots.remove(&segment.base);
            self.dirty.snapshots.retain(|(offset, _)| *offset != segment.base);
        }
        Ok(())
    }

    fn remove_files(&self, base: Offset, kinds: &[FileKind]) -> Result<(), LogError> {
        for kind in kinds {
            let path = self.path(base, *kind);
            self.disk().remove_file(&path).or_else(ignore_missing).map_err(failed("removing", &path))?;
        }
        if !cfg!(dohle_bug = "truncated_in_any_order") {
            let _stored = self.disk().sync_dir(&self.dir).map_err(failed("flushing", &self.dir))?;
        }
        Ok(())
    }

    /// Stores everything, with indexes and a snapshot of the producers, so that the next start has nothing to verify. Refused
    /// while a compaction runs: cancel it and wait until it has ended.
    ///
    /// Once all logs of a directory are closed and the checkpoints are stored, `.kafka_cleanshutdown` may be written.
    pub fn close(mut self) -> Result<Closed, LogError> {
        self.check_usable()?;
        if self.compaction.is_running() {
            return Err(LogError::Busy { path: self.dir.to_path_buf() });
        }
        if self.end > self.start || !self.snapshots.is_empty() {
            self.snapshot_producers(self.end);
        }
        self.give_back_room();
        let active = self.segments.back_mut().expect("a log has an active segment");
        if active.indexes.is_some() && active.size > 0 {
            let sealed = (active.base, active.seal());
            self.dirty.sealed.push(sealed);
        }
        // After a clean stop nobody walks the active segment for them.
        self.dirty.epochs |= self.dirty.epochs_behind.is_some();
        let _stored = self.flush()?;
        Ok(Closed { recovery_point: self.end, log_start: self.start })
    }

    /// As [`Log::close`], for a log that may not have changed since it was opened: what the next opening makes anew in no time (the
    /// indexes of a short segment, a leader epoch in which nothing was written) is not stored then. Records without an index file
    /// are not left so: Kafka takes that for damage.
    pub fn leave(self) -> Result<Closed, LogError> {
        self.check_usable()?;
        let has_index = self.has_index_files()?;
        let active = self.segments.back().expect("a log has an active segment");
        let is_cheap = active.indexes.is_none() || active.size <= SHORT_WALK_BYTES;
        let has_epochs = self.dirty.epochs_behind.is_none_or(|start| start >= self.end);
        let is_flushed = self.flushing.is_none() && self.recovery_point == self.end;
        let is_stored = is_flushed && has_epochs && self.dirty.has_no_files();
        if self.end == self.found_end && is_cheap && has_index && is_stored && !self.compaction.is_running() {
            return Ok(Closed { recovery_point: self.end, log_start: self.start });
        }
        self.close()
    }

    /// Whether the active segment's index files are there, if it has records.
    fn has_index_files(&self) -> Result<bool, LogError> {
        let active = self.segments.back().expect("a log has an active segment");
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            let path = self.path(active.base, kind);
            let is_there = || self.disk().metadata(&path).map_err(failed("looking for", &path));
            if active.size > 0 && is_there()?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Renames the folder to `<name>.<unique>-delete`, durably. The caller removes it after `file.delete.delay.ms`.
    pub fn delete(self) -> Result<PathBuf, LogError> {
        let name = self.dir.file_name().and_then(|name| name.to_str()).and_then(parse_folder_name);
        let Some((topic, partition, _)) = name else {
            return Err(LogError::corrupt(&self.dir, "the folder's name is not a topic and a partition"));
        };
        let unique = self.context.rng.uuid();
        let renamed =
            self.dir.with_file_name(marked_folder_name(topic, partition, unique, FolderState::Deleted));
        self.disk().rename(&self.dir, &renamed).map_err(failed("renaming", &self.dir))?;
        if let Some(parent) = self.dir.parent() {
            let _stored = self.disk().sync_dir(parent).map_err(failed("flushing", parent))?;
        }
        Ok(renamed)
    }
}
