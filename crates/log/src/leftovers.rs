//! What a folder holds, and what a stop in the middle of something has left in it.
//!
//! - `.deleted`: no longer part of the log; removed.
//! - `.cleaned`: an unfinished compaction; removed.
//! - `.swap`: a finished compaction. The segments it was made from go, then it takes their place. Not if a `.cleaned` of the same
//!   or a lower offset is there: then the compaction had more to write, and the old segments still hold everything.
//! - an index without its `.log`: removed; so is one beside a `.log` without a batch, if the stop was not clean.
//!
//! A crash may come back to this again and again, and each flush of names here keeps an order that matters then: undone `.swap` are
//! gone before the `.cleaned` that say that they are undone; `.swap` are there for good before the old segments go; the old ones
//! are gone before a new one has its name; a new `.log` has its name before its indexes, so that an index beside a `.log.swap` is
//! always the old one's, and an index `.swap` without its `.log.swap` is always the new one's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dohle_env::Disk;
use dohle_env::disk::OpenMode;
use dohle_types::{Offset, TimestampMs};

use crate::error::{LogError, failed};
use crate::frame::{HEADER_WINDOW_BYTES, Scanner};
use crate::names::{FileKind, FileState, file_name, parse_file_name};
use crate::recovery::{ignore_missing, storage};
use crate::source::Source;

/// What is on disk of one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentFiles {
    pub size: u64,
    pub modified: TimestampMs,
    /// Whether both `.index` and `.timeindex` are there.
    pub has_indexes: bool,
}

/// The live files of a folder.
pub(crate) struct Survey {
    pub segments: BTreeMap<Offset, SegmentFiles>,
    pub snapshots: BTreeSet<Offset>,
}

type Files = BTreeSet<(Offset, FileKind)>;

/// Lists a folder, finishing or undoing what was interrupted.
pub(crate) fn survey(disk: &dyn Disk, dir: &Path) -> Result<Survey, LogError> {
    let (mut live, mut swaps, mut cleaned, mut dead) = (Files::new(), Files::new(), Files::new(), Vec::new());
    for entry in disk.list(dir).map_err(failed("listing", dir))? {
        let Some((base, kind, state)) = parse_file_name(&entry.name) else { continue };
        match state {
            FileState::Live => _ = live.insert((base, kind)),
            FileState::Swap => _ = swaps.insert((base, kind)),
            FileState::Cleaned => _ = cleaned.insert((base, kind)),
            FileState::Deleted => dead.push(entry.name),
        }
    }
    let unfinished = cleaned.first().map(|(base, _)| *base);
    for (base, kind) in cleaned {
        dead.push(file_name(base, kind, FileState::Cleaned));
    }
    let (finished, undone): (Files, Files) =
        swaps.into_iter().partition(|(base, _)| unfinished.is_none_or(|unfinished| *base < unfinished));
    let mut changed = !(dead.is_empty() && undone.is_empty());
    for (base, kind) in &undone {
        remove(disk, dir, &file_name(*base, *kind, FileState::Swap))?;
    }
    if !undone.is_empty() {
        sync(disk, dir)?;
    }
    for name in dead {
        remove(disk, dir, &name)?;
    }
    if !finished.is_empty() {
        changed = true;
        finish_swaps(disk, dir, &finished, &mut live)?;
    }
    let orphans: Files = live.iter().filter(|(base, kind)| is_orphan(&live, *base, *kind)).copied().collect();
    for (base, kind) in orphans {
        changed = true;
        tracing::warn!(dir = %dir.display(), name = file_name(base, kind, FileState::Live), "removing an index without a log");
        remove(disk, dir, &file_name(base, kind, FileState::Live))?;
        live.remove(&(base, kind));
    }
    if changed {
        sync(disk, dir)?;
    }
    describe(disk, dir, &live)
}

fn describe(disk: &dyn Disk, dir: &Path, live: &Files) -> Result<Survey, LogError> {
    let mut found = Survey { segments: BTreeMap::new(), snapshots: BTreeSet::new() };
    for (base, kind) in live {
        match kind {
            FileKind::Log => {
                let path = dir.join(file_name(*base, FileKind::Log, FileState::Live));
                let metadata = disk.metadata(&path).map_err(failed("looking at", &path))?;
                let metadata =
                    metadata.ok_or_else(|| LogError::corrupt(&path, "it vanished while it was opened"))?;
                let has = |kind| live.contains(&(*base, kind));
                let has_indexes = has(FileKind::OffsetIndex) && has(FileKind::TimeIndex);
                let files = SegmentFiles { size: metadata.len, modified: metadata.modified, has_indexes };
                found.segments.insert(*base, files);
            }
            FileKind::ProducerSnapshot => _ = found.snapshots.insert(*base),
            FileKind::OffsetIndex | FileKind::TimeIndex | FileKind::TransactionIndex => {}
        }
    }
    Ok(found)
}

/// Removes the indexes beside logs without a batch: Kafka makes those of its active segment at their full size and full of zeros, and after
/// a clean stop of ours would take them for entries. Whether there were any.
pub(crate) fn remove_indexes_of_nothing(
    disk: &dyn Disk,
    dir: &Path,
    segments: &BTreeMap<Offset, SegmentFiles>,
) -> Result<bool, LogError> {
    let of_nothing = segments.iter().filter(|(_, files)| files.size == 0 && files.has_indexes);
    let mut found = false;
    for (base, _) in of_nothing {
        found = true;
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            remove(disk, dir, &file_name(*base, kind, FileState::Live))?;
        }
    }
    Ok(found)
}

/// Puts finished compactions in the place of what they were made from.
fn finish_swaps(disk: &dyn Disk, dir: &Path, finished: &Files, live: &mut Files) -> Result<(), LogError> {
    // A process that was killed may have left names that are not stored.
    sync(disk, dir)?;
    for (base, _) in finished.iter().filter(|(_, kind)| *kind == FileKind::Log) {
        let end = end_of(disk, dir, *base)?;
        let replaced: Vec<(Offset, FileKind)> =
            live.range((*base, FileKind::Log)..(end, FileKind::Log)).copied().collect();
        for (old, old_kind) in replaced {
            // The snapshot stands before the segment, whichever that is.
            if old != *base || old_kind != FileKind::ProducerSnapshot {
                remove(disk, dir, &file_name(old, old_kind, FileState::Live))?;
                live.remove(&(old, old_kind));
            }
        }
    }
    sync(disk, dir)?;
    for logs in [true, false] {
        for (base, kind) in finished.iter().filter(|(_, kind)| (*kind == FileKind::Log) == logs) {
            let from = dir.join(file_name(*base, *kind, FileState::Swap));
            let to = dir.join(file_name(*base, *kind, FileState::Live));
            disk.rename(&from, &to).map_err(failed("renaming", &from))?;
            live.insert((*base, *kind));
        }
        sync(disk, dir)?;
    }
    Ok(())
}

/// The offset after the last batch of a `.log.swap`.
fn end_of(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<Offset, LogError> {
    let path = dir.join(file_name(base, FileKind::Log, FileState::Swap));
    let file = disk.open(&path, OpenMode::Read).map_err(failed("opening", &path))?;
    let len = file.len().map_err(failed("reading", &path))?;
    let mut scanner = Scanner::new(Source::waiting(file), &path, 0, len, HEADER_WINDOW_BYTES);
    let mut end = base.next();
    while let Some(frame) = scanner.next().map_err(storage)? {
        end = frame.next_offset();
    }
    Ok(end)
}

fn is_orphan(live: &Files, base: Offset, kind: FileKind) -> bool {
    match kind {
        FileKind::Log | FileKind::ProducerSnapshot => false,
        FileKind::OffsetIndex | FileKind::TimeIndex | FileKind::TransactionIndex => {
            !live.contains(&(base, FileKind::Log))
        }
    }
}

fn remove(disk: &dyn Disk, dir: &Path, name: &str) -> Result<(), LogError> {
    let path = dir.join(name);
    disk.remove_file(&path).or_else(ignore_missing).map_err(failed("removing", &path))
}

fn sync(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let _stored = disk.sync_dir(dir).map_err(failed("flushing", dir))?;
    Ok(())
}
