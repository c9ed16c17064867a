//! What can be told of a log without opening it: from when on retention may have something to do there.
//!
//! A folder's names, the sizes of its segments and the first batch's header are enough to rule most logs out, and cost a few system
//! calls instead of an opening. Nothing is changed. What is told may be too early, never too late: who comes then opens the log, and
//! that one knows.

use std::collections::BTreeMap;
use std::path::Path;

use dohle_config::TopicSettings;
use dohle_env::Disk;
use dohle_env::disk::OpenMode;
use dohle_types::{Offset, TimestampMs};

use crate::error::{LogError, failed};
use crate::frame::{Frame, ONE_HEADER_BYTES};
use crate::names::{FileKind, FileState, file_name, parse_file_name};

/// Something may be due already.
const AT_ONCE: TimestampMs = TimestampMs(0);
/// Nothing is due before something is appended.
const NEVER: TimestampMs = TimestampMs(i64::MAX);

/// From when on [`Log::maintain`](crate::Log::maintain), or the cleaner, may have something to do in a log that nobody has opened since it
/// was closed. `log_start` is what the checkpoint says.
pub fn due_at_a_glance(
    disk: &dyn Disk,
    dir: &Path,
    settings: &TopicSettings,
    log_start: Offset,
) -> Result<TimestampMs, LogError> {
    let mut segments = BTreeMap::new();
    for entry in disk.list(dir).map_err(failed("listing", dir))? {
        match parse_file_name(&entry.name) {
            Some((base, FileKind::Log, FileState::Live)) => _ = segments.insert(base, 0),
            Some((_, _, FileState::Live)) | None => {}
            // What was interrupted is ended by opening.
            Some(_) => return Ok(AT_ONCE),
        }
    }
    let mut bases = segments.keys().copied();
    let (Some(oldest), second) = (bases.next(), bases.next()) else { return Ok(NEVER) };
    let below_start = second.is_some_and(|second| second <= log_start);
    if below_start || second.is_some() && settings.cleanup_compact {
        return Ok(AT_ONCE);
    }
    if !settings.cleanup_delete || (settings.retention_bytes.is_none() && settings.retention_ms.is_none()) {
        return Ok(NEVER);
    }
    for (base, size) in &mut segments {
        let path = dir.join(file_name(*base, FileKind::Log, FileState::Live));
        let found = disk.metadata(&path).map_err(failed("looking at", &path))?;
        *size = found.map_or(0, |found| found.len);
    }
    let size = segments[&oldest];
    if size == 0 {
        return Ok(if second.is_some() { AT_ONCE } else { NEVER });
    }
    let surplus = settings.retention_bytes.map(|limit| segments.values().sum::<u64>().saturating_sub(limit));
    if surplus.is_some_and(|surplus| surplus >= size) {
        return Ok(AT_ONCE);
    }
    let Some(retention_ms) = settings.retention_ms else { return Ok(NEVER) };
    let path = dir.join(file_name(oldest, FileKind::Log, FileState::Live));
    let timestamp = first_timestamp(disk, &path)?;
    // The segment goes by its largest timestamp, which is this one or a later one; or, where there are none, by its file's.
    let retention_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
    let expired = |timestamp: TimestampMs| timestamp.get().saturating_add(retention_ms).saturating_add(1);
    Ok(timestamp.map_or(AT_ONCE, |timestamp| TimestampMs(expired(timestamp))))
}

/// The largest timestamp of a segment's first batch. `None` where it has none, or cannot be understood.
fn first_timestamp(disk: &dyn Disk, path: &Path) -> Result<Option<TimestampMs>, LogError> {
    let file = disk.open(path, OpenMode::Read).map_err(failed("opening", path))?;
    let mut start = [0; ONE_HEADER_BYTES];
    let read = file.read_at(&mut start, 0).map_err(failed("reading", path))?;
    let frame = Frame::parse(&start[..read], 0).ok();
    Ok(frame.map(|frame| frame.max_timestamp).filter(|timestamp| timestamp.get() >= 0))
}
