//! Flushing: what was appended becomes durable, on a thread that may wait.
//!
//! ```text
//! owner:   append, append, start_flush --- append, append ---------- finish_flush -> Durable
//! other:                       `-> Flush::run (sync) -> Flushed -----^
//! ```
//! Many appends, one flush; one flush of a log at a time, so that they finish in order. A flush that fails is never tried
//! again: the kernel may have dropped what it could not write, and the next flush would say that all is well.

use std::sync::Arc;
use std::time::Duration;

use dohle_config::Durability;
use dohle_env::DiskFile;
use dohle_types::Offset;

use crate::checkpoint::{encode_epochs, encode_partition_metadata};
use crate::error::{FlushError, LogError};
use crate::index::Indexes;
use crate::log::Log;
use crate::storing::{Flush, Flushed};

/// Proof that everything below `up_to` is stored as the log's durability asks: flushed, or with `Durability::Replicated` in the
/// page cache. What acknowledges an append is made from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Durable {
    up_to: Offset,
}

impl Durable {
    pub fn up_to(self) -> Offset {
        self.up_to
    }

    pub(crate) fn now(log: &Log) -> Self {
        let in_page_cache = log.settings.durability == Durability::Replicated && log.failure.is_none();
        Self { up_to: if in_page_cache { log.end } else { log.recovery_point } }
    }
}

/// What a flush has to store.
#[derive(Default)]
pub(crate) struct Dirty {
    /// Segment files with bytes that are not flushed.
    pub written: Vec<(Offset, Arc<dyn DiskFile>)>,
    /// Segments that were closed and have no index files yet.
    pub sealed: Vec<(Offset, Arc<Indexes>)>,
    pub snapshots: Vec<(Offset, Vec<u8>)>,
    pub epochs: bool,
    /// From where on the active segment alone tells of leader epochs. A crash has it walked, so that nobody waits for the file; it is
    /// stored when the segment is closed, or the log.
    pub epochs_behind: Option<Offset>,
    /// `partition.metadata` was written.
    pub metadata: bool,
    /// Files were made in the folder.
    pub folder: bool,
    /// The folder itself was made.
    pub parent: bool,
}

impl Dirty {
    pub fn note_written(&mut self, base: Offset, file: &Arc<dyn DiskFile>) {
        if self.written.last().is_none_or(|(last, _)| *last != base) {
            self.written.push((base, Arc::clone(file)));
        }
    }

    /// The leader epochs say more from `start` on than their file does.
    pub fn note_epoch(&mut self, start: Offset) {
        self.epochs_behind = Some(self.epochs_behind.map_or(start, |first| first.min(start)));
    }

    /// What is to be stored now. What may wait stays.
    fn take(&mut self) -> Self {
        let mut work = std::mem::take(self);
        let is_closing = !work.sealed.is_empty() && !cfg!(dohle_bug = "closed_without_epochs");
        work.epochs |= is_closing && work.epochs_behind.is_some();
        if !work.epochs {
            self.epochs_behind = work.epochs_behind.take();
        }
        work
    }

    /// Forgets a segment that is no more.
    pub fn forget(&mut self, base: Offset) {
        self.written.retain(|(written, _)| *written != base);
        self.sealed.retain(|(sealed, _)| *sealed != base);
    }

    /// Whether storing it makes names in the folder.
    pub fn makes_names(&self) -> bool {
        self.folder || self.metadata || self.tells_of_records()
    }

    fn tells_of_records(&self) -> bool {
        self.epochs || !self.sealed.is_empty() || !self.snapshots.is_empty()
    }

    /// Whether there is nothing to store, but for epochs.
    pub fn has_no_files(&self) -> bool {
        let bytes = self.written.is_empty() && self.sealed.is_empty() && self.snapshots.is_empty();
        bytes && !(self.metadata || self.folder || self.parent)
    }

    fn is_empty(&self) -> bool {
        self.has_no_files() && !self.epochs
    }
}

/// What the log remembers of a flush that is under way.
pub(crate) struct FlushUnderway {
    /// What will be durable; lowered when the log is truncated meanwhile.
    pub up_to: Offset,
    /// Whether names of files are among what it stores.
    pub names: bool,
    /// Whether it writes files that tell of records: indexes, snapshots of producers, leader epochs. They come under their names whatever
    /// has become of the records meanwhile, so that nothing is cut off before.
    pub tells_of_records: bool,
    /// The segments whose index files it writes.
    pub sealed: Vec<Offset>,
}

impl Log {
    /// Whether there is something that should be flushed: all that was appended or, with `Durability::Replicated`, closed
    /// segments and more than `flush.messages` records.
    pub fn needs_flush(&self) -> bool {
        if self.flushing.is_some() || self.failure.is_some() {
            return false;
        }
        match self.settings.durability {
            Durability::Synced => !self.dirty.is_empty(),
            Durability::Replicated => {
                let unflushed = self.end.get() - self.recovery_point.get();
                !self.dirty.sealed.is_empty() || unflushed >= self.settings.flush_messages
            }
        }
    }

    /// How long what was appended may wait for its flush, if it waits for one and may not wait for ever (`flush.ms`).
    pub fn flush_within(&self) -> Option<Duration> {
        let ms = self.settings.flush_ms;
        let waits =
            ms != i64::MAX && self.settings.durability == Durability::Replicated && self.failure.is_none();
        (waits && self.has_unflushed()).then(|| Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
    }

    /// Whether files have to stay open because of bytes that are not flushed.
    pub fn has_unflushed(&self) -> bool {
        self.flushing.is_some() || !self.dirty.written.is_empty()
    }

    /// Collects what has to be stored. `None` when there is nothing, when a flush of this log is under way, or when the log is out
    /// of service.
    pub fn start_flush(&mut self) -> Option<Flush> {
        if self.flushing.is_some() || self.failure.is_some() || self.dirty.is_empty() {
            return None;
        }
        let work = self.dirty.take();
        let sealed = work.sealed.iter().map(|(base, _)| *base).collect();
        let tells_of_records = work.tells_of_records();
        self.flushing = Some(FlushUnderway { up_to: self.end, names: work.folder, tells_of_records, sealed });
        Some(Flush {
            disk: Arc::clone(&self.context.disk),
            dir: Arc::clone(&self.dir),
            work,
            epochs: encode_epochs(self.epochs.entries()),
            partition_metadata: encode_partition_metadata(self.topic_id),
            folders: self.context.folders.clone(),
        })
    }

    /// Takes back what [`Flush::run`] returned. An error takes the log out of service for good.
    pub fn finish_flush(&mut self, result: Result<Flushed, FlushError>) -> Result<Durable, LogError> {
        let underway = self.flushing.take().expect("a flush that is finished was started");
        self.check_usable()?;
        let flushed = result.map_err(|FlushError(error)| error).inspect_err(|error| self.fail(error))?;
        let up_to = if cfg!(dohle_bug = "acknowledged_beyond_flush") { self.end } else { underway.up_to };
        self.recovery_point = self.recovery_point.max(up_to);
        let active = self.segments.back().map(|segment| segment.base);
        for segment in &mut self.segments {
            let stored = flushed.sealed.contains(&segment.base) && active != Some(segment.base);
            if stored && !self.dirty.sealed.iter().any(|(base, _)| *base == segment.base) {
                segment.indexes = None;
            }
        }
        Ok(Durable::now(self))
    }

    /// Flushes on this thread.
    pub fn flush(&mut self) -> Result<Durable, LogError> {
        self.check_usable()?;
        if self.flushing.is_some() {
            return Err(LogError::Busy { path: self.dir.to_path_buf() });
        }
        match self.start_flush() {
            Some(flush) => self.finish_flush(flush.run()),
            None => Ok(self.durable()),
        }
    }
}
