//! The last part of a compaction: the new segment takes the place of the old ones, first in memory, then on disk.
//!
//! ```text
//!   .cleaned, old files live          a crash: the .cleaned go (`leftovers.rs`)
//!   1  .cleaned -> .swap, folder flushed                        a crash from here on: the .swap take their place
//!   2  old files -> .deleted, folder flushed
//!   3  .log.swap -> .log, folder flushed; then the indexes, folder flushed
//!   later: .deleted removed, after file.delete.delay.ms
//! ```
//! Each flush is between two states of which both are whole: without the first, a crash could take the new files and the old ones.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use dohle_env::Disk;
use dohle_types::{Offset, TimestampMs};

use super::CleanedGroup;
use super::underway::Token;
use crate::error::{LogError, failed};
use crate::log::Log;
use crate::names::{FileKind, FileState, file_name};
use crate::recovery::ignore_missing;
use crate::segment::Lease;

/// What a segment's own files are; its producer snapshot stands before it.
const OF_SEGMENT: [FileKind; 4] =
    [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex];

/// Segments that were replaced in memory and still have their names.
pub(crate) struct Swapping {
    pub base: Offset,
    /// The replaced ones; the first has the base of the new one.
    old: Vec<(Offset, Arc<Lease>)>,
    /// The kinds of files that the new one has.
    kinds: Vec<FileKind>,
    token: Weak<Token>,
}

/// Gives a new segment's files their names. To be run where waiting is allowed; its result goes to [`Log::finish_swap`].
#[must_use]
pub struct Swap {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    base: Offset,
    old: Vec<Offset>,
    kinds: Vec<FileKind>,
    /// Keeps the log from being closed meanwhile.
    _token: Option<Arc<Token>>,
}

/// A swap that is done.
#[derive(Debug)]
#[must_use]
pub struct Swapped {
    old: Vec<Offset>,
}

impl Log {
    /// Reads from the new segment from now on. Given back when the old ones are not what they were any more.
    pub fn swap_in(&mut self, group: CleanedGroup) -> Result<(), Box<CleanedGroup>> {
        let at = self.segment_of(group.segment.base);
        let same = group.sources.iter().enumerate().all(|(nth, (lease, size))| {
            self.segments.get(at + nth).is_some_and(|segment| {
                std::ptr::eq(Arc::as_ptr(&segment.lease), lease.as_ptr()) && segment.size == *size
            })
        });
        let wanted = !group.token.is_cancelled() && self.failure.is_none() && !self.compaction.is_swapping();
        if !(same && wanted) {
            return Err(Box::new(group));
        }
        let CleanedGroup { token, sources, mut segment, .. } = group;
        self.rewrites += 1;
        self.quarantine.forget_segments(segment.base, self.segment_end(at + sources.len() - 1));
        let old: Vec<_> = self.segments.drain(at..at + sources.len()).collect();
        segment.created = old[0].created;
        segment.jitter_ms = old[0].jitter_ms;
        let has_aborted = segment.indexes.as_ref().is_some_and(|indexes| !indexes.aborted.is_empty());
        let kinds = OF_SEGMENT.into_iter().filter(|kind| *kind != FileKind::TransactionIndex || has_aborted);
        // Which transactions were aborted is told of what is in the files.
        self.tail.forget_below(self.segments[at].base);
        for gone in &old[1..] {
            self.snapshots.remove(&gone.base);
        }
        self.compaction.swapping = Some(Swapping {
            base: segment.base,
            old: old.into_iter().map(|segment| (segment.base, segment.lease)).collect(),
            kinds: kinds.collect(),
            token: Arc::downgrade(&token),
        });
        self.segments.insert(at, segment);
        Ok(())
    }

    /// The renaming that follows [`Log::swap_in`]. `None` while somebody reads the old files by their names: ask again a little later.
    pub fn start_swap(&mut self) -> Option<Swap> {
        let swapping = self.compaction.swapping.as_ref()?;
        if self.failure.is_some() || swapping.old.iter().any(|(_, lease)| Arc::strong_count(lease) > 1) {
            return None;
        }
        Some(Swap {
            disk: Arc::clone(&self.context.disk),
            dir: Arc::clone(&self.dir),
            base: swapping.base,
            old: swapping.old.iter().map(|(base, _)| *base).collect(),
            kinds: swapping.kinds.clone(),
            _token: swapping.token.upgrade(),
        })
    }

    /// Takes back what [`Swap::run`] returned. An error takes the log out of service: which files have which names is not known then.
    pub fn finish_swap(
        &mut self,
        result: Result<Swapped, LogError>,
        now: TimestampMs,
    ) -> Result<(), LogError> {
        let swapped = result.inspect_err(|error| self.fail(error))?;
        let swapping = self.compaction.swapping.take().expect("a swap that is finished was started");
        let at = self.segment_of(swapping.base);
        // From here on the files say it.
        self.segments[at].indexes = None;
        self.collect_later(swapped.old, now);
        Ok(())
    }
}

impl Swap {
    pub fn run(self) -> Result<Swapped, LogError> {
        for kind in self.kinds.iter().rev() {
            self.rename(self.base, *kind, FileState::Cleaned, FileState::Swap)?;
        }
        if !cfg!(dohle_bug = "compaction_swap_unsynced") {
            self.sync_dir()?;
        }
        for (nth, base) in self.old.iter().enumerate() {
            let kinds = if nth == 0 { &OF_SEGMENT[..] } else { &FileKind::ALL[..] };
            for kind in kinds {
                let from = self.path(*base, *kind, FileState::Live);
                let to = self.path(*base, *kind, FileState::Deleted);
                self.disk.rename(&from, &to).or_else(ignore_missing).map_err(failed("renaming", &from))?;
            }
        }
        self.sync_dir()?;
        self.rename(self.base, FileKind::Log, FileState::Swap, FileState::Live)?;
        if !cfg!(dohle_bug = "compaction_log_unordered") {
            self.sync_dir()?;
        }
        for kind in self.kinds.iter().filter(|kind| **kind != FileKind::Log) {
            self.rename(self.base, *kind, FileState::Swap, FileState::Live)?;
        }
        self.sync_dir()?;
        Ok(Swapped { old: self.old })
    }

    fn rename(&self, base: Offset, kind: FileKind, from: FileState, to: FileState) -> Result<(), LogError> {
        let (from, to) = (self.path(base, kind, from), self.path(base, kind, to));
        self.disk.rename(&from, &to).map_err(failed("renaming", &from))
    }

    fn path(&self, base: Offset, kind: FileKind, state: FileState) -> PathBuf {
        self.dir.join(file_name(base, kind, state))
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        let _stored = self.disk.sync_dir(&self.dir).map_err(failed("flushing", &self.dir))?;
        Ok(())
    }
}
