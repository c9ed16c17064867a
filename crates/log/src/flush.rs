//! Flushing: what was appended becomes durable, on a thread that may wait.
//!
//! ```text
//! owner:   append, append, start_flush --- append, append ---------- finish_flush -> Durable
//! other:                       `-> Flush::run (sync) -> Flushed -----^
//! ```
//! Many appends, one flush; one flush of a log at a time, so that they finish in order. A flush that fails is never tried
//! again: the kernel may have dropped what it could not write, and the next flush would say that all is well.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dohle_config::Durability;
use dohle_env::disk::{OpenMode, put_file};
use dohle_env::{Disk, DiskFile};
use dohle_types::Offset;

use crate::checkpoint::{
    LEADER_EPOCH_FILE, PARTITION_METADATA_FILE, encode_epochs, encode_partition_metadata,
};
use crate::error::{FlushError, LogError, failed};
use crate::folder_flushes::FolderFlushes;
use crate::index::Indexes;
use crate::log::Log;
use crate::names::{FileKind, FileState, file_name};
use crate::recovery::ignore_missing;

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
    fn makes_names(&self) -> bool {
        self.folder || self.metadata || self.epochs || !self.sealed.is_empty() || !self.snapshots.is_empty()
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
    /// The segments whose index files it writes.
    pub sealed: Vec<Offset>,
}

/// A flush, to be run on a thread that may wait. Its result has to go back to the log.
#[must_use]
pub struct Flush {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    work: Dirty,
    epochs: Vec<u8>,
    partition_metadata: Vec<u8>,
    folders: FolderFlushes,
}

/// A flush that has returned; the log makes it a [`Durable`].
#[derive(Debug)]
#[must_use]
pub struct Flushed {
    /// The segments whose index files are stored now.
    sealed: Vec<Offset>,
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

    /// Collects what has to be stored. `None` when there is nothing, when a flush of this log is under way, or when the log is out
    /// of service.
    pub fn start_flush(&mut self) -> Option<Flush> {
        if self.flushing.is_some() || self.failure.is_some() || self.dirty.is_empty() {
            return None;
        }
        let work = self.dirty.take();
        let sealed = work.sealed.iter().map(|(base, _)| *base).collect();
        self.flushing = Some(FlushUnderway { up_to: self.end, names: work.folder, sealed });
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

impl Flush {
    /// Stores everything. The order does not matter: nothing counts before all of it is done.
    pub fn run(self) -> Result<Flushed, FlushError> {
        for (base, indexes) in &self.work.sealed {
            self.write_file(*base, FileKind::OffsetIndex, &indexes.encode_offsets())?;
            self.write_file(*base, FileKind::TimeIndex, &indexes.encode_times())?;
            if indexes.aborted.is_empty() {
                // What is there was of batches that are not, or was left half written by a process that was killed.
                let path = self.path(*base, FileKind::TransactionIndex);
                self.disk.remove_file(&path).or_else(ignore_missing).map_err(failed("removing", &path))?;
            } else {
                self.write_file(*base, FileKind::TransactionIndex, &indexes.encode_aborted())?;
            }
        }
        for (offset, contents) in &self.work.snapshots {
            self.write_file(*offset, FileKind::ProducerSnapshot, contents)?;
        }
        for (base, file) in &self.work.written {
            let path = self.path(*base, FileKind::Log);
            if !cfg!(dohle_bug = "flush_without_data") {
                let _stored = file.sync_data().map_err(failed("flushing", &path))?;
            }
        }
        if self.work.epochs {
            let path = self.dir.join(LEADER_EPOCH_FILE);
            put_file(self.disk.as_ref(), &path, &self.epochs).map_err(failed("replacing", &path))?;
        }
        if self.work.metadata {
            let path = self.dir.join(PARTITION_METADATA_FILE);
            write_over_synced(self.disk.as_ref(), &path, &self.partition_metadata)?;
        }
        if self.work.makes_names() && !cfg!(dohle_bug = "flush_without_names") {
            let _stored = self.disk.sync_dir(&self.dir).map_err(failed("flushing", &self.dir))?;
        }
        if self.work.parent
            && !cfg!(dohle_bug = "flush_without_folder")
            && let Some(parent) = self.dir.parent()
        {
            self.folders.flush(self.disk.as_ref(), parent).map_err(failed("flushing", parent))?;
        }
        Ok(Flushed { sealed: self.work.sealed.iter().map(|(base, _)| *base).collect() })
    }

    fn path(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.dir.join(file_name(base, kind, FileState::Live))
    }

    fn write_file(&self, base: Offset, kind: FileKind, contents: &[u8]) -> Result<(), LogError> {
        self.write(&self.path(base, kind), contents)
    }

    fn write(&self, path: &Path, contents: &[u8]) -> Result<(), LogError> {
        write_synced(self.disk.as_ref(), path, contents)
    }
}

/// Writes a small file whole, in place; whoever reads it after a crash can tell half of it.
pub(crate) fn write_synced(disk: &dyn Disk, path: &Path, contents: &[u8]) -> Result<(), LogError> {
    if contents.is_empty() {
        // As the index of a short segment. Of a file that is new there is nothing to store but its name.
        match disk.open(path, OpenMode::CreateNew) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return made.map(drop).map_err(failed("making", path)),
        }
    }
    let file = disk.open(path, OpenMode::Create).map_err(failed("making", path))?;
    empty(file.as_ref()).map_err(failed("emptying", path))?;
    finish_synced(file.as_ref(), path, contents)
}

/// Writes `partition.metadata` once more, which has the same length each time and was written when the folder was made.
fn write_over_synced(disk: &dyn Disk, path: &Path, contents: &[u8]) -> Result<(), LogError> {
    let file = disk.open(path, OpenMode::Create).map_err(failed("making", path))?;
    if file.len().map_err(failed("looking at", path))? > contents.len() as u64 {
        file.set_len(0).map_err(failed("emptying", path))?;
    }
    finish_synced(file.as_ref(), path, contents)
}

fn finish_synced(file: &dyn DiskFile, path: &Path, contents: &[u8]) -> Result<(), LogError> {
    file.write_all_at(&[std::io::IoSlice::new(contents)], 0).map_err(failed("writing", path))?;
    if !cfg!(dohle_bug = "index_unsynced") {
        let _stored = file.sync_data().map_err(failed("flushing", path))?;
    }
    Ok(())
}

/// Has nothing in a file. One that has nothing is left alone: ext4 writes a file back as soon as it is closed that was cut to nothing before,
/// each for itself and long before it is flushed.
pub(crate) fn empty(file: &dyn DiskFile) -> std::io::Result<()> {
    if file.len()? > 0 { file.set_len(0) } else { Ok(()) }
}
