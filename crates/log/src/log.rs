//! What a log holds in memory, and what can be asked of it.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dohle_config::TopicSettings;
use dohle_env::disk::{Guard, OpenMode};
use dohle_env::{Disk, DiskFile, Rng};
use dohle_types::{
    HighWatermark, LastStableOffset, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
    Uuid,
};

use crate::buffers::ReadBuffers;
use crate::checkpoint::PARTITION_METADATA_FILE;
use crate::compaction::Underway;
use crate::damage::Quarantine;
use crate::epochs::Epochs;
use crate::error::{LogError, failed};
use crate::flush::{Dirty, Durable, FlushUnderway};
use crate::folder_flushes::FolderFlushes;
use crate::names::{FileKind, FileState, file_name};
use crate::producers::Producers;
use crate::retention::Garbage;
use crate::segment::{Segment, SegmentView};
use crate::source::Manner;
use crate::storing::empty;
use crate::tail::{Tail, TailBudget};
use crate::verifying::Verifying;

/// What all logs of a process share. Cheap to clone.
#[derive(Clone)]
pub struct LogContext {
    pub disk: Arc<dyn Disk>,
    pub rng: Rng,
    pub tail: TailBudget,
    pub buffers: ReadBuffers,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: i64,
    pub verifying: Verifying,
    pub folders: FolderFlushes,
}

/// One partition's log. See the crate's documentation for its invariants.
///
/// ```text
///      start                           recovery_point        end
///        v                                   v                v
///   [segment][segment]...[segment][   active segment          |
///   ^ bytes below start wait        ^ flushed: survives       ^ next offset
///     for their segment to go         any crash
/// ```
pub struct Log {
    pub(crate) context: LogContext,
    pub(crate) dir: Arc<Path>,
    pub(crate) topic_id: Uuid,
    pub(crate) settings: Arc<TopicSettings>,
    /// In the order of their bases; never empty. The last one is the active one.
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// Where it ended when it was opened.
    pub(crate) found_end: Offset,
    /// Everything below is flushed.
    pub(crate) recovery_point: Offset,
    pub(crate) producers: Producers,
    pub(crate) epochs: Epochs,
    /// Offsets for which a producer snapshot is stored, or about to be.
    pub(crate) snapshots: BTreeSet<Offset>,
    pub(crate) tail: Tail,
    pub(crate) quarantine: Quarantine,
    pub(crate) dirty: Dirty,
    pub(crate) flushing: Option<FlushUnderway>,
    pub(crate) garbage: Garbage,
    pub(crate) compaction: Underway,
    /// Whether a segment was closed since that was last asked.
    pub(crate) rolled: bool,
    /// How often bytes were cut off or replaced by others.
    pub(crate) rewrites: u64,
    /// Why nothing more is taken, once that is so.
    pub(crate) failure: Option<String>,
}

/// A segment, for those who describe a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub base_offset: Offset,
    pub size: u64,
}

/// A producer, for those who describe it (`DescribeProducers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerInfo {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    pub last_sequence: Sequence,
    pub last_timestamp: TimestampMs,
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction, `NONE` without one.
    pub transaction_start: Offset,
}

impl Log {
    pub fn start_offset(&self) -> Offset {
        self.start
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Everything below is flushed: what `recovery-point-offset-checkpoint` is to say.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// Up to where transactions are decided, below the high watermark.
    pub fn last_stable_offset(&self, high_watermark: HighWatermark) -> LastStableOffset {
        let unstable = self.producers.first_unstable(high_watermark).map(|first| first.max(self.start));
        LastStableOffset(unstable.map_or(high_watermark.get(), |first| first.min(high_watermark.get())))
    }

    pub fn size_in_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.segments.iter().map(|s| SegmentInfo { base_offset: s.base, size: s.size }).collect()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    pub fn settings(&self) -> &Arc<TopicSettings> {
        &self.settings
    }

    pub fn set_settings(&mut self, settings: Arc<TopicSettings>) {
        self.settings = settings;
    }

    /// Whether a segment was closed since this was last asked, or one that is could not be compacted yet.
    pub fn take_rolled(&mut self) -> bool {
        std::mem::take(&mut self.rolled)
    }

    /// Why the log takes nothing more, once that is so.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// What ends all use of the log's directory through this log; who has opened the directory anew has another one.
    pub fn guard(&self) -> Option<&Arc<Guard>> {
        self.context.disk.guard()
    }

    /// Whether the log's directory has failed since the log was opened. It never comes back: who wants its records opens another.
    pub fn is_lost(&self) -> bool {
        self.guard().is_some_and(|guard| guard.failure().is_some())
    }

    /// Takes the log out of service: its directory has failed.
    pub fn give_up(&mut self, why: &str) {
        if self.failure.is_none() {
            self.failure = Some(why.to_owned());
            self.tail.clear();
            // Nobody can let go of the device while files on it are open.
            self.dirty.written.clear();
            self.let_go_of_files();
        }
    }

    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// The largest epoch not above `epoch`, and where it ends; both `NONE` when that is not known.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        self.epochs.end_offset_for(epoch, self.end)
    }

    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_of(offset)
    }

    /// Notes that a leader epoch starts at the end of the log, as a new leader does before its first append.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch) {
        if self.epochs.assign(epoch, self.end) {
            self.dirty.note_epoch(self.end);
        }
    }

    pub fn producers(&self) -> impl Iterator<Item = ProducerInfo> {
        self.producers.states().iter().map(|(id, state)| ProducerInfo {
            producer_id: *id,
            epoch: state.epoch,
            last_sequence: state.last_sequence(),
            last_timestamp: state.last_timestamp,
            coordinator_epoch: state.coordinator_epoch,
            transaction_start: state.transaction_start,
        })
    }

    /// Everything that is stored as the durability of the log asks, right now.
    pub fn durable(&self) -> Durable {
        Durable::now(self)
    }

    pub(crate) fn new(
        context: &LogContext,
        dir: PathBuf,
        topic_id: Uuid,
        settings: Arc<TopicSettings>,
        start: Offset,
        now: TimestampMs,
    ) -> Self {
        let mut log = Self {
            context: context.clone(),
            dir: Arc::from(dir),
            topic_id,
            settings,
            segments: VecDeque::new(),
            start,
            end: start,
            found_end: start,
            recovery_point: start,
            producers: Producers::default(),
            epochs: Epochs::default(),
            snapshots: BTreeSet::new(),
            tail: Tail::new(context.tail.clone()),
            quarantine: Quarantine::default(),
            dirty: Dirty::default(),
            flushing: None,
            garbage: Garbage::default(),
            compaction: Underway::default(),
            rolled: false,
            rewrites: 0,
            failure: None,
        };
        log.push_segment(start, now);
        log
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        self.context.disk.as_ref()
    }

    pub(crate) fn path(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.dir.join(file_name(base, kind, FileState::Live))
    }

    pub(crate) fn check_usable(&self) -> Result<(), LogError> {
        match &self.failure {
            None => Ok(()),
            Some(why) => Err(LogError::Failed { path: self.dir.to_path_buf(), why: why.clone() }),
        }
    }

    /// Takes the log out of service. What is in memory about it is no longer to be trusted after this.
    pub(crate) fn fail(&mut self, error: &LogError) {
        if self.failure.is_none() {
            tracing::error!(dir = %self.dir.display(), %error, "a log is out of service");
            self.give_up(&error.to_string());
        }
    }

    /// Does `work` on the log; an error takes it out of service, as half of the work may be done.
    pub(crate) fn or_fail<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.check_usable()?;
        work(self).inspect_err(|error| self.fail(error))
    }

    pub(crate) fn active(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("a log has an active segment")
    }

    /// Makes `base` the active segment, without a file yet.
    pub(crate) fn push_segment(&mut self, base: Offset, now: TimestampMs) {
        let jitter_ms = self.draw_jitter();
        self.segments.push_back(Segment::new(base, now, jitter_ms));
    }

    /// How long a segment is filled: not longer than a compacted topic's records may wait.
    pub(crate) fn rolls_after_ms(&self) -> u64 {
        let settings = &self.settings;
        match u64::try_from(settings.max_compaction_lag_ms) {
            Ok(lag) if lag > 0 && settings.cleanup_compact => settings.segment_ms.min(lag),
            _ => settings.segment_ms,
        }
    }

    /// What is taken off `segment.ms`, so that segments of many partitions do not roll at once.
    pub(crate) fn draw_jitter(&self) -> u64 {
        match self.settings.segment_jitter_ms.min(self.rolls_after_ms()) {
            0 => 0,
            most => self.context.rng.below(most),
        }
    }

    /// The place of the segment that `offset` belongs to; the first one for what lies before all.
    pub(crate) fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1)
    }

    /// Where a segment ends, not looking into it.
    pub(crate) fn segment_end(&self, at: usize) -> Offset {
        self.segments.get(at + 1).map_or(self.end, |next| next.base)
    }

    pub(crate) fn view(&self, at: usize, may_wait: bool) -> SegmentView {
        let segment = &self.segments[at];
        if may_wait {
            // It may bring bytes into memory that nobody has checked.
            segment.distrust();
        }
        SegmentView {
            disk: Arc::clone(&self.context.disk),
            dir: Arc::clone(&self.dir),
            base: segment.base,
            size: segment.size,
            end: self.segment_end(at),
            indexes: segment.indexes.clone(),
            largest: segment.largest,
            file: segment.file.clone(),
            hint: segment.hint,
            may_wait,
            manner: Manner::Greedy,
            lost: Arc::clone(&segment.lost),
            lease: Arc::clone(&segment.lease),
        }
    }

    /// The file of a segment, opened if it is not. The active one's is made when there is none.
    pub(crate) fn segment_file(&mut self, at: usize) -> Result<Arc<dyn DiskFile>, LogError> {
        let last = at + 1 == self.segments.len();
        let segment = &self.segments[at];
        if segment.file.is_none() {
            let path = self.dir.join(file_name(segment.base, FileKind::Log, FileState::Live));
            let file = if last && segment.size == 0 {
                self.dirty.folder = true;
                let file = self.disk().open(&path, OpenMode::Create).map_err(failed("making", &path))?;
                // What a crash has left under this name was never acknowledged.
                empty(file.as_ref()).map_err(failed("emptying", &path))?;
                if self.settings.preallocate {
                    let room = u64::from(self.settings.segment_bytes);
                    file.reserve(0, room).map_err(failed("reserving room for", &path))?;
                    self.segments[at].room = room;
                }
                file
            } else {
                self.disk().open(&path, OpenMode::ReadWrite).map_err(failed("opening", &path))?
            };
            self.segments[at].file = Some(file);
        }
        let segment = &mut self.segments[at];
        segment.used = true;
        Ok(Arc::clone(segment.file.as_ref().expect("just opened")))
    }

    pub(crate) fn metadata_path(&self) -> PathBuf {
        self.dir.join(PARTITION_METADATA_FILE)
    }
}
