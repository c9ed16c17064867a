//! How much of a log waits to be compacted, and whether it is time. The rules are Kafka's (`LogCleanerManager.cleanableOffsets`).
//!
//! ```text
//!   start        first dirty            first uncleanable      end
//!     [ clean ...... ][ cleanable ........... ][ ... active segment
//! ```
//! What can be compacted ends with the last whole segment that is closed, stored, below the last stable offset, and older than
//! `min.compaction.lag.ms` by its largest timestamp.

use dohle_types::{HighWatermark, Offset, TimestampMs};

use crate::error::LogError;
use crate::frame::HEADER_WINDOW_BYTES;
use crate::log::Log;
use crate::recovery::storage;
use crate::segment::SegmentView;

/// What a log is to be asked for, off the thread that owns it: this may wait for the device.
pub struct Examination {
    /// All closed segments that may be compacted as far as is known in memory, then the active one.
    views: Vec<SegmentView>,
    bound: Offset,
    first_dirty: Offset,
    reset: bool,
    held_back: bool,
    min_lag_ms: i64,
    max_lag_ms: i64,
    min_ratio: f64,
}

/// What an examination has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dirtiness {
    /// What lies below is compacted.
    pub first_dirty: Offset,
    /// Where a segment begins; what lies above cannot be compacted yet.
    pub first_uncleanable: Offset,
    pub clean_bytes: u64,
    pub cleanable_bytes: u64,
    /// Whether `max.compaction.lag.ms` is over for a record.
    pub overdue: bool,
    /// The checkpoint did not fit the log: `first_dirty` is to be stored instead.
    pub reset: bool,
    /// Closed segments wait for transactions to be decided, or for a flush.
    pub held_back: bool,
    /// When the answer may be another one, though nothing has been appended.
    pub next: Option<TimestampMs>,
    min_ratio: f64,
}

impl Dirtiness {
    /// The part of the log that is dirty, among what can be compacted.
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes + self.cleanable_bytes;
        if total == 0 { 0.0 } else { self.cleanable_bytes as f64 / total as f64 }
    }

    /// Whether the log should be compacted now.
    pub fn is_due(&self) -> bool {
        self.cleanable_bytes > 0 && (self.overdue || self.ratio() > self.min_ratio)
    }
}

impl Log {
    /// Asks how dirty the log is. `compacted` is its entry in `cleaner-offset-checkpoint`.
    pub fn examine(&mut self, compacted: Option<Offset>, high_watermark: HighWatermark) -> Examination {
        let (start, end) = (self.start, self.end);
        let claimed = compacted.unwrap_or(start);
        let reset = claimed < start || claimed > end;
        if reset && !(self.settings.cleanup_delete && claimed < start) {
            tracing::warn!(
                dir = %self.dir.display(), %claimed, %start, %end,
                "the checkpoint of the compaction does not fit the log: all of it counts as not compacted"
            );
        }
        let active = self.segments.len() - 1;
        let stable = self.last_stable_offset(high_watermark).get();
        let open = |at: &usize| self.segment_end(*at) <= stable && self.is_settled(*at);
        let count = (0..active).take_while(open).count();
        let held_back = count < active;
        // To be asked again when something has been flushed, which markers are too.
        self.rolled |= held_back;
        Examination {
            views: (0..count).map(|at| self.view(at, true)).collect(),
            bound: self.segments[count].base,
            first_dirty: if reset { start } else { claimed },
            reset,
            held_back,
            min_lag_ms: self.settings.min_compaction_lag_ms.max(0),
            max_lag_ms: self.settings.max_compaction_lag_ms.max(0),
            min_ratio: self.settings.min_cleanable_dirty_ratio,
        }
    }
}

impl Log {
    /// Whether a segment is stored so well that recovery never replays it: what a compaction takes out of it would be missing among
    /// what is known of producers, should what they wrote since be lost.
    pub(super) fn is_settled(&self, at: usize) -> bool {
        self.segment_end(at) < self.recovery_point && self.is_stored(at)
    }
}

impl Examination {
    /// May wait for the device, if the settings ask for the age of segments.
    pub fn run(self, now: TimestampMs) -> Result<Dirtiness, LogError> {
        let (young, ripe) = self.first_young(now)?;
        let bound = young.map_or(self.bound, |at| self.views[at].base);
        let first_uncleanable = bound.max(self.first_dirty);
        let ends = self.views.iter().skip(1).map(|view| view.base).chain([self.bound]);
        let (mut clean_bytes, mut cleanable_bytes) = (0, 0);
        let mut earliest: Option<TimestampMs> = None;
        for (view, end) in self.views.iter().zip(ends) {
            if view.base < self.first_dirty {
                clean_bytes += view.size;
            }
            if end > self.first_dirty {
                if view.base < bound {
                    cleanable_bytes += view.size;
                }
                if self.max_lag_ms < i64::MAX {
                    earliest = [earliest, first_timestamp(view)?].into_iter().flatten().min();
                }
            }
        }
        let due = earliest.map(|first| first.get().saturating_add(self.max_lag_ms));
        let overdue = due.is_some_and(|due| due < now.get());
        let next_due = due.filter(|due| *due >= now.get() && *due < i64::MAX).map(|due| TimestampMs(due + 1));
        Ok(Dirtiness {
            first_dirty: self.first_dirty,
            first_uncleanable,
            clean_bytes,
            cleanable_bytes,
            overdue,
            reset: self.reset,
            held_back: self.held_back,
            next: [ripe, next_due].into_iter().flatten().min(),
            min_ratio: self.min_ratio,
        })
    }

    /// The first dirty segment that `min.compaction.lag.ms` protects, and until when.
    fn first_young(&self, now: TimestampMs) -> Result<(Option<usize>, Option<TimestampMs>), LogError> {
        if self.min_lag_ms == 0 {
            return Ok((None, None));
        }
        for (at, view) in self.views.iter().enumerate() {
            let end = self.views.get(at + 1).map_or(self.bound, |next| next.base);
            if end <= self.first_dirty {
                continue;
            }
            let ripe = view.largest()?.timestamp.get().saturating_add(self.min_lag_ms);
            if ripe > now.get() {
                return Ok((Some(at), Some(TimestampMs(ripe)).filter(|ripe| ripe.get() < i64::MAX)));
            }
        }
        Ok((None, None))
    }
}

/// The largest timestamp of a segment's first batch, if it has one.
fn first_timestamp(view: &SegmentView) -> Result<Option<TimestampMs>, LogError> {
    if view.size == 0 {
        return Ok(None);
    }
    let frame = view.scanner(0, HEADER_WINDOW_BYTES)?.next().map_err(storage)?;
    Ok(frame.map(|frame| frame.max_timestamp).filter(|timestamp| timestamp.get() > 0))
}
