//! Going back: truncation and starting over.
//!
//! What is cut off is cut durably, from the end backwards, so that no crash leaves a hole with records behind it.

use dohle_env::disk::OpenMode;
use dohle_types::{LeaderEpoch, Offset, TimestampMs};

use crate::error::{LogError, ReadError, failed};
use crate::frame::HEADER_WINDOW_BYTES;
use crate::log::Log;
use crate::names::FileKind;
use crate::recovery::{ignore_missing, storage};
use crate::segment::Largest;

/// How far a follower's log is known to agree with its leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Up to its end.
    Whole,
    /// Up to the beginning of this epoch at least: the leader is asked again, where it ends.
    UpTo(LeaderEpoch),
    /// Not at all.
    Unknown,
}

impl Log {
    /// Cuts off everything from the batch that holds `offset` on. Durable when it returns.
    ///
    /// The caller stores [`Log::recovery_point`] in the checkpoint before it appends again: what is appended from here on is not
    /// flushed, whatever an older checkpoint says.
    /// And before it calls, it lowers to `offset` what the checkpoint of the compaction says: what is appended from here on is not compacted.
    ///
    /// Refused ([`LogError::Busy`]) while a flush writes files that tell of records, and while segments that compaction has made get their
    /// names: to be tried again when that has ended.
    pub fn truncate_to(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.check_usable()?;
        if offset >= self.end {
            // An epoch that has begun here and written nothing may be none of the leader's.
            self.dirty.epochs |= self.epochs.truncate_from_end(offset);
            return Ok(());
        }
        if offset <= self.start || offset < self.segments[0].base {
            return self.reset_to(offset);
        }
        self.make_way()?;
        let first_cut = self.view(self.segment_of(offset), true).find(offset).map_err(storage)?;
        if first_cut.is_some_and(|frame| frame.base_offset < self.start) {
            // The batch that goes is the one that the log starts in: nothing is left.
            return self.reset_to(self.start);
        }
        self.or_fail(|log| log.cut_at(offset, now))
    }

    /// Cuts off what a leader does not have, as far as its answer tells: of the epochs not above the one that it was asked for, the last
    /// of this log, `epoch` is the largest that it has, and `end` is where that ends (KIP-101, KIP-279).
    ///
    /// A leader that knows of no such epoch (`NONE`) says nothing about the log: nothing is cut off, and a follower goes back to its high
    /// watermark then.
    pub fn truncate_to_epoch(
        &mut self,
        epoch: LeaderEpoch,
        end: Offset,
        now: TimestampMs,
    ) -> Result<Agreement, LogError> {
        if epoch == LeaderEpoch::NONE || end == Offset::NONE {
            return Ok(Agreement::Unknown);
        }
        let (own, own_end) = self.end_offset_for_epoch(epoch);
        if own_end == Offset::NONE {
            self.truncate_to(end, now)?;
        } else if own == epoch {
            self.truncate_to(end.min(own_end), now)?;
        } else {
            // What follows the older epoch was written by leaders of whom this one knows nothing.
            self.truncate_to(own_end, now)?;
            return Ok(Agreement::UpTo(own));
        }
        Ok(Agreement::Whole)
    }

    /// Throws everything away; the log is empty then, and its next offset is `offset`.
    pub fn reset_to(&mut self, offset: Offset) -> Result<(), LogError> {
        if self.garbage.is_underway() {
            return Err(LogError::Busy { path: self.dir.to_path_buf() });
        }
        self.make_way()?;
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

    /// Cancels a compaction that has not replaced anything yet. One that has must finish first, and so must a flush that writes files which
    /// tell of records.
    fn make_way(&self) -> Result<(), LogError> {
        let is_told_of = self.flushing.as_ref().is_some_and(|flush| flush.tells_of_records);
        let is_in_the_way = is_told_of && !cfg!(dohle_bug = "cut_under_flush")
            || self.compaction.is_swapping() && !cfg!(dohle_bug = "cut_under_swap");
        if is_in_the_way {
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
            // It is written to again, and sealed again.
            let base = self.segments[at].base;
            self.dirty.sealed.retain(|(sealed, _)| *sealed != base);
        }
        self.end = end;
        self.recovery_point = self.recovery_point.min(end);
        self.limit_flush(end);
        self.dirty.epochs |= self.epochs.truncate_from_end(end);
        self.tail.clear();
        self.quarantine.forget_from(end);
        self.drop_snapshots_after(end)?;
        let last_end = self.find_largest(at).map_err(storage)?;
        let decided = self.producers.decided_before(end);
        self.replay_trusted(now)?;
        self.producers.remember_decided(decided);
        if last_end < end {
            // Where compaction has left a gap no batch says any more where the log ends: as after a reset, a file's name does.
            self.roll_at(end, now)?;
            let _stored = self.disk().sync_dir(&self.dir).map_err(failed("flushing", &self.dir))?;
        }
        Ok(())
    }

    /// What a flush under way is going to prove is less now.
    fn limit_flush(&mut self, end: Offset) {
        if let Some(underway) = &mut self.flushing {
            underway.up_to = underway.up_to.min(end);
        }
    }

    /// Finds the largest timestamp of a segment that was cut. Gives where its last batch ends.
    fn find_largest(&mut self, at: usize) -> Result<Offset, ReadError> {
        let view = self.view(at, true);
        let indexes = self.segments[at].indexes.as_ref().expect("loaded");
        let mut largest = Largest { timestamp: TimestampMs::NONE, offset: view.base };
        let (mut position, mut end) = (0, view.base);
        if let Some(last) = indexes.times.last() {
            let offset = view.base.plus(i64::from(last.relative));
            largest = Largest { timestamp: last.timestamp, offset };
            position = indexes.position_before(i64::from(last.relative));
        }
        if view.size > 0 {
            let mut scanner = view.scanner(position, HEADER_WINDOW_BYTES)?;
            while let Some(frame) = scanner.next()? {
                end = frame.next_offset();
                if frame.max_timestamp > largest.timestamp {
                    largest = Largest { timestamp: frame.max_timestamp, offset: frame.last_offset };
                }
            }
        }
        self.segments[at].largest = Some(largest);
        Ok(end)
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
}
