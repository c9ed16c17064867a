//! What a flush does on its thread: files are written and flushed, names are made and flushed.
//!
//! ```text
//! alone:     write the small files ─> flush each file ──────> rename ─> flush the folders
//! together:  write those of all    ─> flush the file system ─> rename ─> flush the file system, if any was renamed
//! ```
//! Of many logs that are new, or are closed, each would have several files and folders to flush, and each flush is a commit of the file
//! system's journal. One flush of the whole file system stores the same; whoever else has written to it pays for it too, which is why few are
//! not flushed so.
//!
//! Invariant `AllOrNothingCounts`: the result of a flush says that everything of it is stored, whichever way was taken.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dohle_env::disk::{OpenMode, put_in_place, write_beside};
use dohle_env::{Disk, DiskFile};
use dohle_types::Offset;

use crate::checkpoint::{LEADER_EPOCH_FILE, PARTITION_METADATA_FILE};
use crate::error::{FlushError, LogError, failed};
use crate::flush::Dirty;
use crate::folder_flushes::FolderFlushes;
use crate::names::{FileKind, FileState, file_name};
use crate::recovery::ignore_missing;

/// A flush, to be run on a thread that may wait. Its result has to go back to the log.
#[must_use]
pub struct Flush {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: Arc<Path>,
    pub(crate) work: Dirty,
    pub(crate) epochs: Vec<u8>,
    pub(crate) partition_metadata: Vec<u8>,
    pub(crate) folders: FolderFlushes,
}

/// A flush that has returned; the log makes it a [`Durable`](crate::Durable).
#[derive(Debug)]
#[must_use]
pub struct Flushed {
    /// The segments whose index files are stored now.
    pub(crate) sealed: Vec<Offset>,
}

/// A file that has bytes to flush.
type Unflushed = (PathBuf, Arc<dyn DiskFile>);

impl Flush {
    /// Stores everything. The order does not matter, but for a file that replaces another: nothing counts before all of it is done.
    pub fn run(self) -> Result<Flushed, FlushError> {
        let files = self.write()?;
        self.store(&files)
    }

    /// Stores everything of many logs; what each says is in the order of the flushes.
    pub fn run_together(flushes: Vec<Self>) -> Vec<Result<Flushed, FlushError>> {
        let mut outcomes: Vec<_> = flushes.iter().map(|_| None).collect();
        let mut rest: Vec<(usize, Self)> = flushes.into_iter().enumerate().collect();
        while let Some((_, first)) = rest.first() {
            let disk = Arc::clone(&first.disk);
            let (there, elsewhere) = rest.into_iter().partition(|(_, flush)| Arc::ptr_eq(&flush.disk, &disk));
            rest = elsewhere;
            store_together(disk.as_ref(), there, &mut outcomes);
        }
        outcomes.into_iter().map(|outcome| outcome.expect("each was stored with those of its disk")).collect()
    }

    /// Whether it has more to flush than the bytes of one file.
    pub fn makes_names(&self) -> bool {
        self.work.makes_names() || self.work.parent
    }

    /// Writes what is not written yet. Nothing of it counts, and no name is taken from another file.
    fn write(&self) -> Result<Vec<Unflushed>, LogError> {
        let mut files = Vec::new();
        for (base, indexes) in &self.work.sealed {
            files.extend(self.write_file(*base, FileKind::OffsetIndex, &indexes.encode_offsets())?);
            files.extend(self.write_file(*base, FileKind::TimeIndex, &indexes.encode_times())?);
            if indexes.aborted.is_empty() {
                // What is there was of batches that are not, or was left half written by a process that was killed.
                let path = self.path(*base, FileKind::TransactionIndex);
                self.disk.remove_file(&path).or_else(ignore_missing).map_err(failed("removing", &path))?;
            } else {
                files.extend(self.write_file(
                    *base,
                    FileKind::TransactionIndex,
                    &indexes.encode_aborted(),
                )?);
            }
        }
        for (offset, contents) in &self.work.snapshots {
            files.extend(self.write_file(*offset, FileKind::ProducerSnapshot, contents)?);
        }
        if self.work.epochs {
            let path = self.dir.join(LEADER_EPOCH_FILE);
            let file =
                write_beside(self.disk.as_ref(), &path, &self.epochs).map_err(failed("replacing", &path))?;
            if !cfg!(dohle_bug = "replaced_before_written") {
                files.push((path, file));
            }
        }
        if self.work.metadata {
            let path = self.dir.join(PARTITION_METADATA_FILE);
            files.push((path.clone(), write_over(self.disk.as_ref(), &path, &self.partition_metadata)?));
        }
        if !cfg!(dohle_bug = "flush_without_data") {
            let logs = self.work.written.iter();
            files.extend(logs.map(|(base, file)| (self.path(*base, FileKind::Log), Arc::clone(file))));
        }
        Ok(files)
    }

    /// Flushes what was written, by itself.
    fn store(&self, files: &[Unflushed]) -> Result<Flushed, FlushError> {
        for (path, file) in files {
            let _stored = file.sync_data().map_err(failed("flushing", path))?;
        }
        self.rename()?;
        self.store_names()?;
        Ok(self.flushed())
    }

    /// Whether it has anything to rename, once its bytes are stored.
    fn renames(&self) -> bool {
        self.work.epochs
    }

    fn rename(&self) -> Result<(), LogError> {
        if self.renames() {
            let path = self.dir.join(LEADER_EPOCH_FILE);
            put_in_place(self.disk.as_ref(), &path).map_err(failed("replacing", &path))?;
        }
        Ok(())
    }

    fn store_names(&self) -> Result<(), LogError> {
        if self.work.makes_names() && !cfg!(dohle_bug = "flush_without_names") {
            let _stored = self.disk.sync_dir(&self.dir).map_err(failed("flushing", &self.dir))?;
        }
        if self.work.parent
            && !cfg!(dohle_bug = "flush_without_folder")
            && let Some(parent) = self.dir.parent()
        {
            self.folders.flush(self.disk.as_ref(), parent).map_err(failed("flushing", parent))?;
        }
        Ok(())
    }

    fn flushed(&self) -> Flushed {
        Flushed { sealed: self.work.sealed.iter().map(|(base, _)| *base).collect() }
    }

    fn path(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.dir.join(file_name(base, kind, FileState::Live))
    }

    fn write_file(
        &self,
        base: Offset,
        kind: FileKind,
        contents: &[u8],
    ) -> Result<Option<Unflushed>, LogError> {
        let path = self.path(base, kind);
        let written = write_whole(self.disk.as_ref(), &path, contents)?;
        Ok(written.filter(|_| !cfg!(dohle_bug = "index_unsynced")).map(|file| (path, file)))
    }
}

/// Stores what lies on one disk, and puts down what each flush says.
fn store_together(
    disk: &dyn Disk,
    flushes: Vec<(usize, Flush)>,
    outcomes: &mut [Option<Result<Flushed, FlushError>>],
) {
    let mut written = Vec::new();
    for (at, flush) in flushes {
        match flush.write() {
            Ok(files) => written.push((at, flush, files)),
            Err(problem) => outcomes[at] = Some(Err(problem.into())),
        }
    }
    if !sync_all(disk) {
        // The files are open since they were written, so that each tells of itself.
        for (at, flush, files) in written {
            outcomes[at] = Some(flush.store(&files));
        }
        return;
    }
    let (renaming, done): (Vec<_>, Vec<_>) = written.into_iter().partition(|(_, flush, _)| flush.renames());
    for (at, flush, _) in done {
        outcomes[at] = Some(Ok(flush.flushed()));
    }
    let mut renamed = Vec::new();
    for (at, flush, _) in renaming {
        match flush.rename() {
            Ok(()) => renamed.push((at, flush)),
            Err(problem) => outcomes[at] = Some(Err(problem.into())),
        }
    }
    let is_stored = renamed.is_empty() || sync_all(disk);
    for (at, flush) in renamed {
        let stored = if is_stored { Ok(()) } else { flush.store_names() };
        outcomes[at] = Some(stored.map(|()| flush.flushed()).map_err(FlushError::from));
    }
}

/// Flushes the file system as a whole. Says whether that was done.
fn sync_all(disk: &dyn Disk) -> bool {
    cfg!(dohle_bug = "together_unflushed") || disk.sync_all().is_some()
}

/// Writes a small file whole, in place; whoever reads it after a crash can tell half of it.
pub(crate) fn write_synced(disk: &dyn Disk, path: &Path, contents: &[u8]) -> Result<(), LogError> {
    if let Some(file) = write_whole(disk, path, contents)?
        && !cfg!(dohle_bug = "index_unsynced")
    {
        let _stored = file.sync_data().map_err(failed("flushing", path))?;
    }
    Ok(())
}

/// As [`write_synced`], not yet flushed. `None` when there is nothing to flush but the name.
fn write_whole(disk: &dyn Disk, path: &Path, contents: &[u8]) -> Result<Option<Arc<dyn DiskFile>>, LogError> {
    if contents.is_empty() {
        // As the index of a short segment. Of a file that is new there is nothing to store but its name.
        match disk.open(path, OpenMode::CreateNew) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return made.map(|_| None).map_err(failed("making", path)),
        }
    }
    let file = disk.open(path, OpenMode::Create).map_err(failed("making", path))?;
    empty(file.as_ref()).map_err(failed("emptying", path))?;
    fill(file.as_ref(), path, contents)?;
    Ok(Some(file))
}

/// Writes `partition.metadata` once more, which has the same length each time and was written when the folder was made.
fn write_over(disk: &dyn Disk, path: &Path, contents: &[u8]) -> Result<Arc<dyn DiskFile>, LogError> {
    let file = disk.open(path, OpenMode::Create).map_err(failed("making", path))?;
    if file.len().map_err(failed("looking at", path))? > contents.len() as u64 {
        file.set_len(0).map_err(failed("emptying", path))?;
    }
    fill(file.as_ref(), path, contents)?;
    Ok(file)
}

fn fill(file: &dyn DiskFile, path: &Path, contents: &[u8]) -> Result<(), LogError> {
    file.write_all_at(&[std::io::IoSlice::new(contents)], 0).map_err(failed("writing", path))
}

/// Has nothing in a file. One that has nothing is left alone: ext4 writes a file back as soon as it is closed that was cut to nothing before,
/// each for itself and long before it is flushed.
pub(crate) fn empty(file: &dyn DiskFile) -> std::io::Result<()> {
    if file.len()? > 0 { file.set_len(0) } else { Ok(()) }
}
