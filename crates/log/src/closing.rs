//! The end of a log's use: closing it, alone or with others, leaving it, deleting it.

use std::path::PathBuf;

use dohle_types::Offset;

use crate::error::{FlushError, LogError, failed};
use crate::log::Log;
use crate::names::{FileKind, FolderState, marked_folder_name, parse_folder_name};
use crate::storing::{Flush, Flushed};

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
    /// Stores everything, with indexes and a snapshot of the producers, so that the next start has nothing to verify. Refused
    /// while a compaction runs: cancel it and wait until it has ended.
    ///
    /// Once all logs of a directory are closed and the checkpoints are stored, `.kafka_cleanshutdown` may be written.
    pub fn close(mut self) -> Result<Closed, LogError> {
        let flush = self.start_close()?;
        self.finish_close(flush.map(Flush::run))
    }

    /// As [`Log::close`], of many logs, which share their flushes.
    pub fn close_together(logs: Vec<Self>) -> Vec<Result<Closed, LogError>> {
        let mut flushes = Vec::new();
        let started: Vec<_> = logs
            .into_iter()
            .map(|mut log| {
                log.start_close().map(|flush| (log, flush.map(|flush| flushes.push(flush)).is_some()))
            })
            .collect();
        let mut flushed = Flush::run_together(flushes).into_iter();
        started
            .into_iter()
            .map(|started| {
                let (log, has_flush) = started?;
                log.finish_close(if has_flush { flushed.next() } else { None })
            })
            .collect()
    }

    /// Collects what is to be stored before the log is closed.
    fn start_close(&mut self) -> Result<Option<Flush>, LogError> {
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
        if self.flushing.is_some() {
            return Err(LogError::Busy { path: self.dir.to_path_buf() });
        }
        Ok(self.start_flush())
    }

    fn finish_close(mut self, flushed: Option<Result<Flushed, FlushError>>) -> Result<Closed, LogError> {
        if let Some(flushed) = flushed {
            let _stored = self.finish_flush(flushed)?;
        }
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
