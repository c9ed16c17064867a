//! Opening a log: after a clean stop its files are trusted, after a crash what lies past the recovery point is verified.
//!
//! ```text
//! survey      list the folder; finish or undo what a crash has interrupted (`leftovers.rs`)
//! trust       segments that end at or below the recovery point: sizes only
//! verify      the others, batch by batch: of what lies below the recovery point the headers, to make the indexes anew; structure,
//!             order and checksum of what is past it. The first
//!             batch that is not right ends the log; what follows is cut off
//! replay      the producers, from the newest snapshot on; the epochs, from their checkpoint and the verified batches
//! ```
//! Verified segments are flushed, with new index files, before anything past the old recovery point counts as durable: a process
//! that was killed leaves bytes in the page cache that a power cut can still take. Where an acknowledgement means flushed
//! (`Durability::Synced`), what is past the recovery point is written again first (`rewrite.rs`): a flush that failed before may have left bytes
//! that are read and are nowhere else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use dohle_config::{Durability, TopicSettings};
use dohle_env::disk::OpenMode;
use dohle_types::{Offset, TimestampMs, Uuid};

use crate::checkpoint::{LEADER_EPOCH_FILE, encode_partition_metadata, read_epochs, read_partition_metadata};
use crate::closing::Closed;
use crate::epochs::Epochs;
use crate::error::{LogError, ReadError, failed};
use crate::frame::{HEADER_WINDOW_BYTES, SCAN_WINDOW_BYTES, Scanner};
use crate::leftovers::{SegmentFiles, remove_indexes_of_nothing, survey};
use crate::log::{Log, LogContext};
use crate::names::FileKind;
use crate::rewrite::Rewrite;
use crate::room::may_have_room;
use crate::segment::{Largest, Segment};
use crate::storing::empty;
use crate::verifying::Progress;

/// What is known about a log before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The log directory was stopped cleanly: `.kafka_cleanshutdown` was there.
    pub clean: bool,
    /// From `recovery-point-offset-checkpoint`: everything below is flushed, and so is the folder with the names that it had. `NONE` when
    /// the checkpoint does not speak of the log: then not even its names may be stored.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`.
    pub log_start: Offset,
}

impl Recovery {
    /// Nothing is known: verify everything.
    pub const UNKNOWN: Self = Self { clean: false, recovery_point: Offset::NONE, log_start: Offset::ZERO };

    /// What is known of a log that the same process has closed, and nobody has touched since.
    pub fn of_closed(closed: Closed) -> Self {
        Self { clean: true, recovery_point: closed.recovery_point, log_start: closed.log_start }
    }
}

impl Log {
    /// Makes the log of a new partition, or takes over a folder that holds none yet. Nothing is flushed: the first flush does it.
    pub fn create(
        context: &LogContext,
        dir: PathBuf,
        topic_id: Uuid,
        settings: Arc<TopicSettings>,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        let mut log = Self::new(context, dir, topic_id, settings, Offset::ZERO, now);
        log.make_folder()?;
        Ok(log)
    }

    /// Opens the log in a folder; makes it when there is none.
    pub fn open(
        context: &LogContext,
        dir: PathBuf,
        topic_id: Uuid,
        settings: Arc<TopicSettings>,
        recovery: Recovery,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        let mut log = Self::new(context, dir, topic_id, settings, recovery.log_start, now);
        let found = context.disk.metadata(&log.dir).map_err(failed("looking at", &log.dir))?;
        if found.is_none() {
            log.make_folder()?;
            return Ok(log);
        }
        log.check_topic_id()?;
        let files = survey(log.disk(), &log.dir)?;
        log.snapshots = files.snapshots;
        let epochs_are_known = log.load_epochs()?;
        let flushed = recovery.recovery_point.max(Offset::ZERO);
        log.load(files.segments, Recovery { recovery_point: flushed, ..recovery }, epochs_are_known, now)?;
        if !recovery.clean && log.settings.durability == Durability::Synced {
            log.doubt_names(recovery.recovery_point);
        }
        Ok(log)
    }

    /// Reads the leader epochs. A file that cannot be understood is said so of, and made anew from the batches, which say their epochs.
    fn load_epochs(&mut self) -> Result<bool, LogError> {
        match read_epochs(self.disk(), &self.dir.join(LEADER_EPOCH_FILE)) {
            Ok(entries) => {
                self.epochs = Epochs::of(entries);
                Ok(true)
            }
            Err(error @ LogError::Corrupt { .. }) => {
                tracing::warn!(%error, "making the leader epochs anew from the log");
                self.dirty.epochs = true;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn make_folder(&mut self) -> Result<(), LogError> {
        self.disk().create_dir_all(&self.dir).map_err(failed("making", &self.dir))?;
        self.dirty.parent = true;
        self.write_metadata()
    }

    fn write_metadata(&mut self) -> Result<(), LogError> {
        let path = self.metadata_path();
        let contents = encode_partition_metadata(self.topic_id);
        let file = self.disk().open(&path, OpenMode::Create).map_err(failed("making", &path))?;
        empty(file.as_ref()).map_err(failed("emptying", &path))?;
        file.write_all_at(&[std::io::IoSlice::new(&contents)], 0).map_err(failed("writing", &path))?;
        self.dirty.metadata = true;
        Ok(())
    }

    fn check_topic_id(&mut self) -> Result<(), LogError> {
        let path = self.metadata_path();
        match read_partition_metadata(self.disk(), &path) {
            Ok(Some(found)) if found == self.topic_id => Ok(()),
            Ok(Some(found)) => {
                let expected = self.topic_id;
                Err(LogError::corrupt(&path, format!("the folder is of topic id {found}, not of {expected}")))
            }
            // Torn by a crash before the first flush: nothing in the folder was acknowledged then.
            Ok(None) | Err(LogError::Corrupt { .. }) => self.write_metadata(),
            Err(error) => Err(error),
        }
    }

    fn load(
        &mut self,
        files: BTreeMap<Offset, SegmentFiles>,
        recovery: Recovery,
        epochs_are_known: bool,
        now: TimestampMs,
    ) -> Result<(), LogError> {
        let Some(first) = files.keys().next().copied() else {
            return self.start_empty(recovery.log_start, now);
        };
        self.start = recovery.log_start.max(first);
        self.dirty.folder |= !recovery.clean && remove_indexes_of_nothing(self.disk(), &self.dir, &files)?;
        // Those of the active segment are then made anew in memory, and what lies on disk is not right.
        let stale_indexes = !recovery.clean
            && files.values().next_back().is_some_and(|active| active.size > 0 && active.has_indexes);
        self.segments.clear();
        for (base, found) in &files {
            let jitter_ms = self.draw_jitter();
            self.segments.push_back(Segment::found(*base, found.size, found.modified, jitter_ms));
        }
        let suspect = if epochs_are_known { self.first_suspect(&files, recovery) } else { 0 };
        if !recovery.clean && !self.settings.cleanup_compact {
            self.tell_gaps(suspect)?;
        }
        self.verify(suspect, recovery, now)?;
        let untouched = recovery.clean && self.dirty.written.is_empty();
        self.recovery_point = if untouched { self.end } else { recovery.recovery_point.min(self.end) };
        self.epochs.truncate_from_end(self.end);
        self.epochs.truncate_from_start(self.start);
        self.drop_snapshots_after(self.end)?;
        if recovery.clean {
            self.drop_stray_snapshots()?;
        }
        if self.start > self.end {
            return self.reset_to(self.start);
        }
        // The next opening would trust them, so that the log is stored when it is left, though it has not changed.
        self.found_end = if stale_indexes { Offset::NONE } else { self.end };
        Ok(())
    }

    /// Has the names stored again that nobody is known to have stored: a process that was killed has left them to the kernel.
    fn doubt_names(&mut self, recovery_point: Offset) {
        if cfg!(dohle_bug = "names_believed") {
            return;
        }
        self.dirty.metadata |= recovery_point < Offset::ZERO;
        // Where the log ends at its recovery point, too: it may be there that it was being cut, and files that were removed come back.
        self.dirty.folder = true;
    }

    /// A folder without a segment: what the log held is gone, or there never was anything.
    fn start_empty(&mut self, start: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.segments.clear();
        self.push_segment(start, now);
        self.epochs.clear();
        self.dirty.epochs = true;
        self.drop_snapshots_after(Offset::NONE)
    }

    /// The first segment that has to be verified; there is none when this is past the last.
    fn first_suspect(&self, files: &BTreeMap<Offset, SegmentFiles>, recovery: Recovery) -> usize {
        // When something of the next segment is flushed, so are the indexes of this one; not yet when the next one begins there.
        let flushed = (0..self.segments.len())
            .take_while(|at| {
                recovery.clean
                    || self.segments.get(at + 1).is_some_and(|next| next.base < recovery.recovery_point)
            })
            .count();
        // Without an index nothing can be found; making one is the same walk.
        let lacking = self.segments.iter().position(|segment| !files[&segment.base].has_indexes);
        // An empty segment needs none.
        lacking.filter(|at| self.segments[*at].size > 0).map_or(flushed, |at| at.min(flushed))
    }

    /// Verifies the segments from `suspect` on and replays what the newest snapshot does not hold.
    fn verify(&mut self, suspect: usize, recovery: Recovery, now: TimestampMs) -> Result<(), LogError> {
        let trusted_end = self.segments.get(suspect).map(|segment| segment.base);
        self.end = match trusted_end {
            Some(base) => base,
            None => match self.end_by_index(self.segments.len() - 1)? {
                Some(end) => end,
                // Stopped cleanly, and yet the last batch is not whole.
                None => {
                    return self.verify(self.segments.len() - 1, Recovery { clean: false, ..recovery }, now);
                }
            },
        };
        self.replay_trusted(now)?;
        let unverified = self.segments.len().saturating_sub(suspect);
        let progress = (unverified > 0).then(|| self.context.verifying.begin(unverified));
        let mut at = suspect;
        while at < self.segments.len() {
            // After a crash a segment may have lost its end where a batch ended. What comes next does not continue it.
            let unflushed = !recovery.clean && self.segments[at].base > recovery.recovery_point;
            let broken_off =
                unflushed && self.segments[at].base != self.end && !self.settings.cleanup_compact;
            if broken_off {
                let path = self.path(self.segments[at].base, FileKind::Log);
                tracing::warn!(path = %path.display(), end = %self.end, "dropping a segment that does not continue the log");
                return self.drop_segments_from(at, now);
            }
            // A log that was cut in a gap goes on where its last segment begins.
            self.end = self.end.max(self.segments[at].base);
            let trusted = if recovery.clean { Offset(i64::MAX) } else { recovery.recovery_point };
            if !self.verify_segment(at, trusted)? {
                return self.drop_segments_from(at + 1, now);
            }
            progress.iter().for_each(Progress::step);
            at += 1;
        }
        Ok(())
    }

    /// Says where a segment is missing in the middle of what is trusted. As in Kafka the log is served all the same: a reader goes on
    /// at the next segment.
    fn tell_gaps(&self, trusted: usize) -> Result<(), LogError> {
        for at in 1..trusted.min(self.segments.len()) {
            let base = self.segments[at].base;
            if let Some(end) = self.end_by_index(at - 1)?.filter(|end| *end < base) {
                let path = self.path(base, FileKind::Log);
                tracing::warn!(path = %path.display(), from = %end, to = %base, "the log has a gap: the segment before this one is missing");
            }
        }
        Ok(())
    }

    /// The end of a segment by the batches after its last index entry. `None` when they are not right.
    fn end_by_index(&self, at: usize) -> Result<Option<Offset>, LogError> {
        let view = self.view(at, true);
        if view.size == 0 {
            return Ok(Some(view.base));
        }
        let mut scanner = view.scanner(
            view.position_before(Offset(view.base.get() + i64::from(u32::MAX)))?,
            HEADER_WINDOW_BYTES,
        )?;
        let mut end = view.base;
        loop {
            match scanner.next() {
                Ok(Some(frame)) => end = frame.next_offset(),
                Ok(None) => return Ok(Some(end)),
                Err(ReadError::Damaged { .. }) => return Ok(None),
                Err(error) => return Err(storage(error)),
            }
        }
    }

    /// Goes through one segment, noting everything anew. Whether all of it is right; if not, it is cut.
    fn verify_segment(&mut self, at: usize, trusted: Offset) -> Result<bool, LogError> {
        let view = self.view(at, true);
        let replay_from = self.end;
        self.segments[at].start_over();
        let file = self.reopen(at)?;
        let mut rewrite = Rewrite::of(Arc::clone(&file), view.path(FileKind::Log));
        let mut damage = None;
        if view.size > 0 {
            let mut scanner = view.scanner(0, SCAN_WINDOW_BYTES)?.for_headers();
            loop {
                match self.verify_next(at, &mut scanner, &mut rewrite, trusted, replay_from) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error @ ReadError::Damaged { .. }) => {
                        damage = Some(error);
                        break;
                    }
                    Err(error) => return Err(storage(error)),
                }
            }
        }
        rewrite.write()?;
        if let Some(damage) = &damage {
            let (kept, lost) = (self.segments[at].size, view.size - self.segments[at].size);
            tracing::warn!(%damage, kept, lost, end = %self.end, "cutting a segment at a batch that is not right");
            let path = view.path(FileKind::Log);
            file.set_len(kept).map_err(failed("cutting", &path))?;
        }
        let base = self.segments[at].base;
        // What ends below is flushed, whatever has become of the process; but where the log ends, it may have died while it cut: the
        // size is then the page cache's, and behind it the device has records that would come back.
        let was_active = at + 1 == self.segments.len() && trusted < Offset(i64::MAX);
        let may_be_half_cut = was_active && !cfg!(dohle_bug = "half_cut_believed");
        if was_active && may_have_room(view.size, self.settings.preallocate) {
            // The process had no time to give back what it had asked for.
            _ = file.set_len(self.segments[at].size);
        }
        if damage.is_some() || self.end > trusted || may_be_half_cut {
            self.dirty.note_written(base, &file);
        }
        if at + 1 < self.segments.len() && damage.is_none() {
            let indexes = self.segments[at].seal();
            self.dirty.sealed.push((base, indexes));
            let next = self.segments[at + 1].base;
            // The snapshot there may never have been written, or be one of those that only look stored. Once this segment is gone
            // nothing else tells of its producers.
            let is_doubtful = next >= trusted && !cfg!(dohle_bug = "snapshot_believed");
            if is_doubtful && !self.producers.states().is_empty() {
                self.snapshots.remove(&next);
                self.snapshot_producers(next);
            }
        }
        Ok(damage.is_none())
    }

    fn reopen(&mut self, at: usize) -> Result<Arc<dyn dohle_env::DiskFile>, LogError> {
        let path = self.path(self.segments[at].base, FileKind::Log);
        let file = self.disk().open(&path, OpenMode::ReadWrite).map_err(failed("opening", &path))?;
        self.segments[at].file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Takes one more batch of a segment into the log. `Ok(false)` at its end.
    fn verify_next(
        &mut self,
        at: usize,
        scanner: &mut Scanner,
        rewrite: &mut Rewrite,
        trusted: Offset,
        replay_from: Offset,
    ) -> Result<bool, ReadError> {
        let Some(frame) = scanner.next()? else { return Ok(false) };
        let path = || self.path(self.segments[at].base, FileKind::Log);
        let damaged = |what: String| ReadError::Damaged { path: path(), position: frame.position, what };
        if frame.base_offset < self.end || !self.segments[at].takes(&frame) {
            return Err(damaged(format!("it has offset {}, and {} comes next", frame.base_offset, self.end)));
        }
        let mut unflushed = None;
        if frame.next_offset() > trusted {
            scanner.want_all_bytes();
            unflushed = Some(scanner.checked_bytes_of(&frame)?);
        }
        let interval = u64::from(self.settings.index_interval_bytes);
        // A marker that cannot be read is damage: nothing of the batch may be noted before that is known.
        let aborted =
            if frame.base_offset >= replay_from { self.replay_frame(scanner, &frame)? } else { None };
        self.segments[at].note(frame.last_offset, frame.max_timestamp, frame.size, interval);
        if let Some(aborted) = aborted {
            self.segments[at].note_aborted(aborted);
        }
        if self.epochs.observe(frame.leader_epoch, frame.base_offset) {
            self.dirty.note_epoch(frame.base_offset);
        }
        self.end = frame.next_offset();
        if let Some(bytes) = unflushed.filter(|_| self.settings.durability == Durability::Synced) {
            rewrite.push(frame.position, bytes)?;
        }
        Ok(true)
    }

    /// Brings the active segment's indexes into memory, before it is appended to.
    pub(crate) fn load_active(&mut self) -> Result<(), LogError> {
        let at = self.segments.len() - 1;
        if self.segments[at].indexes.is_some() {
            return Ok(());
        }
        let view = self.view(at, true);
        let Some(indexes) = view.load_indexes()? else { return self.walk_active(at) };
        let largest = indexes.times.last().map_or(
            Largest { timestamp: TimestampMs::NONE, offset: view.base },
            |last| Largest { timestamp: last.timestamp, offset: view.base.plus(i64::from(last.relative)) },
        );
        let first = if view.size == 0 {
            None
        } else {
            view.scanner(0, HEADER_WINDOW_BYTES)?.next().map_err(storage)?
        };
        let segment = &mut self.segments[at];
        segment.indexes = Some(Arc::new(indexes));
        segment.largest = Some(largest);
        segment.first_timestamp = first.map(|frame| frame.max_timestamp);
        Ok(())
    }

    /// Makes the active segment's indexes anew, where its files are not right.
    fn walk_active(&mut self, at: usize) -> Result<(), LogError> {
        let view = self.view(at, true);
        let interval = u64::from(self.settings.index_interval_bytes);
        let aborted = view.aborted()?;
        self.segments[at].start_over();
        if view.size == 0 {
            return Ok(());
        }
        let mut scanner = view.scanner(0, HEADER_WINDOW_BYTES)?.for_headers();
        while let Some(frame) = scanner.next().map_err(storage)? {
            if !self.segments[at].takes(&frame) {
                let what = format!("it has a batch with offset {}", frame.base_offset);
                return Err(LogError::corrupt(&view.path(FileKind::Log), what));
            }
            self.segments[at].note(frame.last_offset, frame.max_timestamp, frame.size, interval);
        }
        for entry in aborted {
            self.segments[at].note_aborted(entry);
        }
        Ok(())
    }

    /// Removes the producer snapshots that stand after `offset`.
    pub(crate) fn drop_snapshots_after(&mut self, offset: Offset) -> Result<(), LogError> {
        let stale = self.snapshots.split_off(&Offset(offset.get() + 1));
        self.dirty.snapshots.retain(|(at, _)| !stale.contains(at));
        let removed = !stale.is_empty();
        for at in stale {
            let path = self.path(at, FileKind::ProducerSnapshot);
            self.disk().remove_file(&path).or_else(ignore_missing).map_err(failed("removing", &path))?;
        }
        if removed && !cfg!(dohle_bug = "stale_snapshot_unsynced") {
            // One that came back after a crash would stand beside records it has never seen.
            let _stored = self.disk().sync_dir(&self.dir).map_err(failed("flushing", &self.dir))?;
        }
        Ok(())
    }
}

pub(crate) fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Damage where everything was to be trusted.
pub(crate) fn storage(error: ReadError) -> LogError {
    match error {
        ReadError::Storage(error) => error,
        ReadError::Damaged { path, position, what } => {
            LogError::Corrupt { path, what: format!("the batch at byte {position} is damaged: {what}") }
        }
        ReadError::Quarantined(damage) => LogError::Corrupt { path: damage.path.clone(), what: damage.what },
        ReadError::OutOfRange { offset, .. } => unreachable!("offset {offset} was not asked for"),
    }
}
