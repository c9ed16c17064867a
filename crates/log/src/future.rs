//! The future of a log: a copy of it in another log directory, made while the log is in use, that takes its place in the end.
//!
//! ```text
//! owner:  copy_plan ------------------ copy_plan ---- ... ---- copy_plan, close
//! other:      `-> FutureLog::copy (rounds) -----^                  `-> FutureLog::finish, then `take_over`
//! ```
//! The copy has the files that the log has, byte for byte: a segment of it is the segment of the log up to where it was copied, so that
//! batches of any format, and damage, are the same in both, and nothing has to be judged twice. Index files and snapshots of the
//! producers follow when they are stored; what only a log at rest has (the last snapshot, the indexes of its last segment, its epochs)
//! comes with [`FutureLog::finish`].
//!
//! A copy that a stop has left is gone on with by comparison: what it has of a segment stays as far as it is the same. It is written again all
//! the same, as recovery does with what no flush is known to have stored.
//!
//! Never: it renames nothing of the log and tells nobody of the copy. Invariant `WholeBeforeNamed`: when [`FutureLog::finish`] has
//! returned, every byte and name of the copy is flushed; only then may [`take_over`] give it the log's name.

mod names;
mod reach;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dohle_env::disk::{OpenMode, read_file};
use dohle_env::{Disk, DiskFile};
use dohle_types::{Offset, Uuid};
use thiserror::Error;

pub use self::names::{rename_folder, take_over};
pub use self::reach::end_of;
use self::walk::Walk;
use crate::checkpoint::{LEADER_EPOCH_FILE, PARTITION_METADATA_FILE, encode_partition_metadata};
use crate::error::{LogError, failed};
use crate::log::Log;
use crate::names::{FileKind, FileState, file_name, parse_file_name};
use crate::recovery::ignore_missing;
use crate::segment::Lease;
use crate::source::{Manner, Source};
use crate::storing::write_synced;

/// What is copied at once, and paced.
const CHUNK_BYTES: usize = 256 << 10;
/// How much is written before it is flushed, so that no large debt of the device builds up beside the appends.
const FLUSH_BYTES: u64 = 1 << 20;
/// Indexes, snapshots and epochs are copied whole.
const MAX_SMALL_FILE_BYTES: u64 = 256 << 20;
/// What a closed segment has beside its bytes.
const INDEXES: [FileKind; 3] = [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex];

/// Why a copy was not made.
#[derive(Debug, Error)]
pub enum CopyError {
    #[error("it is not wanted any more")]
    Cancelled,
    /// The log cannot be read.
    #[error("{0}")]
    Source(LogError),
    /// The copy cannot be written.
    #[error("{0}")]
    Target(LogError),
}

/// How far a copy is, for those who describe it.
#[derive(Debug, Default)]
pub struct CopyProgress {
    end: AtomicI64,
    bytes: AtomicU64,
}

impl CopyProgress {
    /// The offset up to which it holds everything.
    pub fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Relaxed))
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// What a copy of a log has to hold, as the log is now.
pub struct CopyPlan {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    parts: Vec<Part>,
    /// How often bytes of the log were replaced by others.
    rewrites: u64,
}

/// A segment to be copied.
struct Part {
    base: Offset,
    size: u64,
    /// Its index files are stored and change no more.
    is_stored: bool,
    file: Option<Arc<dyn DiskFile>>,
    /// While it is held, the segment keeps its names; gone with the segment.
    lease: Weak<Lease>,
}

impl Log {
    /// What a copy has to hold. Refused while segments are being compacted: cancel that, and wait until it has ended.
    pub fn copy_plan(&self) -> Result<CopyPlan, LogError> {
        self.check_usable()?;
        if self.compaction.is_running() || self.compaction.is_swapping() {
            return Err(LogError::Busy { path: self.dir.to_path_buf() });
        }
        let last = self.segments.len() - 1;
        let part = |at: usize| {
            let segment = &self.segments[at];
            Part {
                base: segment.base,
                size: segment.size,
                is_stored: at < last && self.is_stored(at),
                file: segment.file.clone(),
                lease: Arc::downgrade(&segment.lease),
            }
        };
        Ok(CopyPlan {
            disk: Arc::clone(&self.context.disk),
            dir: Arc::clone(&self.dir),
            parts: (0..=last).map(part).collect(),
            rewrites: self.rewrites,
        })
    }

    /// Has a compaction end that has not replaced anything yet. Whether none is left, so that a copy can be made.
    pub fn end_compaction_for_copy(&self) -> bool {
        if !self.compaction.is_swapping() {
            self.compaction.cancel();
        }
        !self.compaction.is_running() && !self.compaction.is_swapping()
    }

    /// Whether nothing works on the log's files on another thread: no flush, no cleanup, no compaction.
    pub fn is_quiet(&self) -> bool {
        let compacts = self.compaction.is_running() || self.compaction.is_swapping();
        self.flushing.is_none() && !self.garbage.is_busy() && !compacts
    }

    /// Whether reads that were handed out may still open its files by their names.
    pub fn is_read(&self) -> bool {
        self.segments.iter().any(|segment| Arc::strong_count(&segment.lease) > 1)
    }
}

impl CopyPlan {
    /// How many bytes the segments have.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    fn first_base(&self) -> Offset {
        self.parts.first().map_or(Offset::ZERO, |part| part.base)
    }
}

/// A copy under way.
pub struct FutureLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segments: BTreeMap<Offset, Copied>,
    rewrites: Option<u64>,
    progress: Arc<CopyProgress>,
}

/// What is copied of a segment.
#[derive(Default)]
struct Copied {
    /// So many bytes are the log's.
    len: u64,
    /// Bytes behind them that an earlier run has left.
    left: u64,
    unflushed: u64,
    file: Option<Arc<dyn DiskFile>>,
    has_indexes: bool,
    walk: Walk,
}

impl FutureLog {
    /// Makes the folder of a copy, or goes on with what is in it.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        topic_id: Uuid,
        progress: Arc<CopyProgress>,
    ) -> Result<Self, LogError> {
        disk.create_dir_all(dir).map_err(failed("making", dir))?;
        let metadata = dir.join(PARTITION_METADATA_FILE);
        write_synced(disk.as_ref(), &metadata, &encode_partition_metadata(topic_id))?;
        let mut segments = BTreeMap::new();
        for entry in disk.list(dir).map_err(failed("listing", dir))? {
            let Some((base, FileKind::Log, FileState::Live)) = parse_file_name(&entry.name) else { continue };
            let path = dir.join(&entry.name);
            let found = disk.metadata(&path).map_err(failed("looking at", &path))?;
            let left = found.map_or(0, |found| found.len);
            segments.insert(base, Copied { left, ..Copied::default() });
        }
        Ok(Self { disk: Arc::clone(disk), dir: dir.to_owned(), segments, rewrites: None, progress })
    }

    /// How many bytes of what is planned are still to be copied.
    pub fn lag(&self, plan: &CopyPlan) -> u64 {
        if self.rewrites != Some(plan.rewrites) {
            return plan.bytes();
        }
        let copied = |part: &Part| self.segments.get(&part.base).map_or(0, |copied| copied.len);
        plan.parts.iter().map(|part| part.size.saturating_sub(copied(part))).sum()
    }

    /// Copies what is planned. `pace` is told of each chunk before it is copied, may take its time, and says whether to go on.
    pub fn copy(&mut self, plan: CopyPlan, pace: &mut dyn FnMut(u64) -> bool) -> Result<(), CopyError> {
        self.keep_in_step(&plan)?;
        for part in &plan.parts {
            // One that has left the log meanwhile is not in the next plan.
            let Some(_lease) = part.lease.upgrade() else { continue };
            match self.copy_part(&plan, part, pace) {
                Err(CopyError::Source(problem)) if is_missing(&problem) => {}
                copied => copied?,
            }
        }
        self.flush_bytes().map_err(CopyError::Target)
    }

    /// Completes the copy with all the files of a log that was closed after `plan` was made of it. Everything is stored when this returns.
    pub fn finish(&mut self, plan: CopyPlan) -> Result<(), CopyError> {
        self.keep_in_step(&plan)?;
        for part in &plan.parts {
            self.copy_bytes(&plan, part, &mut |_| true)?;
        }
        let wanted = wanted_names(&plan).map_err(CopyError::Source)?;
        for name in &wanted {
            match parse_file_name(name) {
                Some((base, FileKind::Log, _)) => {
                    self.file_of(base).map_err(CopyError::Target)?;
                }
                Some((base, kind, _)) if INDEXES.contains(&kind) && self.has_indexes(base) => {}
                _ => self.copy_small(&plan, name)?,
            }
        }
        self.remove_all_but(&wanted).map_err(CopyError::Target)?;
        self.flush_bytes().map_err(CopyError::Target)?;
        if !cfg!(dohle_bug = "move_nameless") {
            let flushed = self.disk.sync_dir(&self.dir).map_err(failed("flushing", &self.dir));
            let _stored = flushed.map_err(CopyError::Target)?;
        }
        Ok(())
    }

    /// Forgets what the log has replaced, and what it has let go of.
    fn keep_in_step(&mut self, plan: &CopyPlan) -> Result<(), CopyError> {
        if self.rewrites.replace(plan.rewrites) != Some(plan.rewrites) {
            for copied in self.segments.values_mut() {
                let left = copied.len + copied.left;
                *copied = Copied { left, ..Copied::default() };
            }
        }
        let bases: BTreeSet<Offset> = plan.parts.iter().map(|part| part.base).collect();
        let gone: Vec<Offset> = self.segments.keys().filter(|base| !bases.contains(base)).copied().collect();
        for base in gone {
            self.segments.remove(&base);
            for kind in FileKind::ALL {
                self.remove(&file_name(base, kind, FileState::Live)).map_err(CopyError::Target)?;
            }
        }
        for part in &plan.parts {
            let copied = self.segments.entry(part.base).or_default();
            // A log that goes back says so by its rewrites.
            debug_assert!(copied.len <= part.size, "a segment does not shrink unsaid");
        }
        self.tell(plan.first_base());
        Ok(())
    }

    fn copy_part(
        &mut self,
        plan: &CopyPlan,
        part: &Part,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), CopyError> {
        self.copy_bytes(plan, part, pace)?;
        if part.is_stored { self.copy_indexes(plan, part.base) } else { Ok(()) }
    }

    /// Copies the bytes of a segment that are not copied yet; those that an earlier run has left are compared.
    fn copy_bytes(
        &mut self,
        plan: &CopyPlan,
        part: &Part,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), CopyError> {
        if self.segments[&part.base].len >= part.size {
            return self.cut_leftovers(part).map_err(CopyError::Target);
        }
        let source = open_source(plan, part).map_err(CopyError::Source)?;
        let target = self.file_of(part.base).map_err(CopyError::Target)?;
        let (from_path, to_path) = (log_path(&plan.dir, part.base), log_path(&self.dir, part.base));
        let (mut chunk, mut found) = (vec![0; CHUNK_BYTES], Vec::new());
        loop {
            let copied = self.segments.get_mut(&part.base).expect("its file is open");
            let (at, rest) = (copied.len, part.size - copied.len);
            if rest == 0 {
                break;
            }
            let len = CHUNK_BYTES.min(usize::try_from(rest).unwrap_or(CHUNK_BYTES));
            if !pace(len as u64) {
                return Err(CopyError::Cancelled);
            }
            let read = source
                .read_through(&mut chunk[..len], at, &mut || Manner::Modest)
                .map_err(failed("reading", &from_path));
            read.map_err(CopyError::Source)?;
            let len = copied.walk.follow(&chunk[..len], at, part.size);
            let bytes = &chunk[..len];
            let is_left = copied.is_left(&target, bytes, &mut found).map_err(failed("reading", &to_path));
            // What is there may be in the page cache only, and clean there since a flush has failed: it is written again.
            if !is_left.map_err(CopyError::Target)? || !cfg!(dohle_bug = "believed_after_failed_flush") {
                copied.put(&target, bytes, &to_path).map_err(CopyError::Target)?;
            }
            copied.len += len as u64;
            self.tell(plan.first_base());
        }
        self.cut_leftovers(part).map_err(CopyError::Target)
    }

    /// Cuts what an earlier run has left behind what the log has.
    fn cut_leftovers(&mut self, part: &Part) -> Result<(), LogError> {
        let copied = self.segments.get_mut(&part.base).expect("it is planned");
        if std::mem::take(&mut copied.left) > 0 {
            let len = copied.len;
            let file = self.file_of(part.base)?;
            let path = log_path(&self.dir, part.base);
            file.set_len(len).map_err(failed("cutting", &path))?;
            self.segments.get_mut(&part.base).expect("it is planned").unflushed += 1;
        }
        Ok(())
    }

    fn file_of(&mut self, base: Offset) -> Result<Arc<dyn DiskFile>, LogError> {
        let path = log_path(&self.dir, base);
        let copied = self.segments.entry(base).or_default();
        if copied.file.is_none() {
            copied.file = Some(self.disk.open(&path, OpenMode::Create).map_err(failed("making", &path))?);
            // What is in it may be in the page cache only, and so may its being empty.
            copied.unflushed += 1;
        }
        Ok(Arc::clone(copied.file.as_ref().expect("just opened")))
    }

    fn has_indexes(&self, base: Offset) -> bool {
        self.segments.get(&base).is_some_and(|copied| copied.has_indexes)
    }

    /// Copies the index files of a closed segment.
    fn copy_indexes(&mut self, plan: &CopyPlan, base: Offset) -> Result<(), CopyError> {
        if self.has_indexes(base) {
            return Ok(());
        }
        for kind in INDEXES {
            self.copy_small(plan, &file_name(base, kind, FileState::Live))?;
        }
        self.segments.get_mut(&base).expect("its bytes are copied").has_indexes = true;
        Ok(())
    }

    /// Copies a file that is read and written as a whole, if the log has it.
    fn copy_small(&self, plan: &CopyPlan, name: &str) -> Result<(), CopyError> {
        let path = plan.dir.join(name);
        let contents = read_file(plan.disk.as_ref(), &path, MAX_SMALL_FILE_BYTES);
        match contents.map_err(failed("reading", &path)).map_err(CopyError::Source)? {
            Some(contents) => write_synced(self.disk.as_ref(), &self.dir.join(name), &contents),
            None => self.remove(name),
        }
        .map_err(CopyError::Target)
    }

    /// Flushes the bytes of all segments, and keeps no file open that is whole.
    fn flush_bytes(&mut self) -> Result<(), LogError> {
        for (base, copied) in &mut self.segments {
            if let Some(file) = copied.file.take()
                && std::mem::take(&mut copied.unflushed) > 0
            {
                flush(&file, &log_path(&self.dir, *base))?;
            }
        }
        Ok(())
    }

    /// Removes what the log does not have.
    fn remove_all_but(&self, wanted: &BTreeSet<String>) -> Result<(), LogError> {
        for entry in self.disk.list(&self.dir).map_err(failed("listing", &self.dir))? {
            if !entry.is_dir && !wanted.contains(&entry.name) {
                self.remove(&entry.name)?;
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), LogError> {
        let path = self.dir.join(name);
        self.disk.remove_file(&path).or_else(ignore_missing).map_err(failed("removing", &path))
    }

    fn tell(&self, first: Offset) {
        // Segments are copied in order: the first one that is not whole is the last one that has anything.
        let reached = self.segments.values().rev().find(|copied| copied.len > 0);
        let end = reached.map_or(first, |copied| copied.walk.reached.max(first));
        self.progress.end.store(end.get(), Ordering::Relaxed);
        let bytes = self.segments.values().map(|copied| copied.len).sum();
        self.progress.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Copied {
    /// Whether an earlier run has left these bytes at this place.
    fn is_left(
        &mut self,
        target: &Arc<dyn DiskFile>,
        bytes: &[u8],
        found: &mut Vec<u8>,
    ) -> std::io::Result<bool> {
        let len = bytes.len() as u64;
        if self.left == 0 {
            return Ok(false);
        }
        found.resize(bytes.len(), 0);
        let read = if self.left >= len { target.read_at(found, self.len)? } else { 0 };
        let is_same = read == bytes.len() && found == bytes;
        self.left = if is_same { self.left - len } else { 0 };
        if !is_same {
            target.set_len(self.len)?;
        }
        Ok(is_same)
    }

    fn put(&mut self, target: &Arc<dyn DiskFile>, bytes: &[u8], path: &Path) -> Result<(), LogError> {
        let slices = [std::io::IoSlice::new(bytes)];
        target.write_all_at(&slices, self.len).map_err(failed("writing", path))?;
        self.unflushed += bytes.len() as u64;
        if self.unflushed >= FLUSH_BYTES {
            flush(target, path)?;
            self.unflushed = 0;
        }
        Ok(())
    }
}

/// The files of a closed log that belong to it.
fn wanted_names(plan: &CopyPlan) -> Result<BTreeSet<String>, LogError> {
    let first = plan.first_base();
    let is_wanted = |name: &str| match parse_file_name(name) {
        Some((base, _, FileState::Live)) => base >= first,
        Some(_) => false,
        None => name == LEADER_EPOCH_FILE || name == PARTITION_METADATA_FILE,
    };
    let entries = plan.disk.list(&plan.dir).map_err(failed("listing", &plan.dir))?;
    Ok(entries.into_iter().map(|entry| entry.name).filter(|name| is_wanted(name)).collect())
}

fn open_source(plan: &CopyPlan, part: &Part) -> Result<Source, LogError> {
    let path = log_path(&plan.dir, part.base);
    let opened = match &part.file {
        Some(file) => Arc::clone(file),
        None => plan.disk.open(&path, OpenMode::Read).map_err(failed("opening", &path))?,
    };
    Ok(Source::waiting(opened))
}

/// A segment that was leaving the log just as it was to be held.
fn is_missing(problem: &LogError) -> bool {
    matches!(problem, LogError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

fn flush(file: &Arc<dyn DiskFile>, path: &Path) -> Result<(), LogError> {
    if !cfg!(dohle_bug = "move_unflushed") {
        let _stored = file.sync_data().map_err(failed("flushing", path))?;
    }
    Ok(())
}

fn log_path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(file_name(base, FileKind::Log, FileState::Live))
}
