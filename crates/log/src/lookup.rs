//! Finding offsets by time.

use dohle_records::{Batch, DEFAULT_OUTPUT_LIMIT};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};

use crate::error::ReadError;
use crate::frame::{Frame, HEADER_WINDOW_BYTES, Scanner};
use crate::log::Log;
use crate::segment::SegmentView;

/// A record by its offset, with its time and the leader epoch that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    pub offset: Offset,
    pub timestamp: TimestampMs,
    pub leader_epoch: LeaderEpoch,
}

/// A search by time, to be run on any thread; it may wait for the device.
pub struct TimestampSearch {
    views: Vec<SegmentView>,
    target: Target,
    start: Offset,
    up_to: Offset,
}

enum Target {
    FirstAtOrAfter(TimestampMs),
    Largest,
}

impl Log {
    /// The search for the first record with this timestamp or a later one, below `up_to`.
    pub fn search_timestamp(&self, timestamp: TimestampMs, up_to: Offset) -> TimestampSearch {
        self.search(Target::FirstAtOrAfter(timestamp), up_to)
    }

    /// The search for the first record with the largest timestamp below `up_to`.
    pub fn search_max_timestamp(&self, up_to: Offset) -> TimestampSearch {
        self.search(Target::Largest, up_to)
    }

    /// [`Log::search_timestamp`] on this thread.
    pub fn offset_for_timestamp(
        &self,
        timestamp: TimestampMs,
        up_to: Offset,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        self.search_timestamp(timestamp, up_to).run()
    }

    /// [`Log::search_max_timestamp`] on this thread.
    pub fn max_timestamp(&self, up_to: Offset) -> Result<Option<TimestampedOffset>, ReadError> {
        self.search_max_timestamp(up_to).run()
    }

    fn search(&self, target: Target, up_to: Offset) -> TimestampSearch {
        let first = self.segment_of(self.start);
        let views =
            (first..self.segments.len()).map(|at| self.view(at, true)).filter(|view| view.size > 0).collect();
        TimestampSearch { views, target, start: self.start, up_to: up_to.min(self.end) }
    }
}

impl TimestampSearch {
    pub fn run(self) -> Result<Option<TimestampedOffset>, ReadError> {
        match self.target {
            Target::FirstAtOrAfter(timestamp) => self.first_at_or_after(timestamp),
            Target::Largest => self.largest(),
        }
    }

    fn first_at_or_after(&self, timestamp: TimestampMs) -> Result<Option<TimestampedOffset>, ReadError> {
        for view in &self.views {
            if view.base >= self.up_to {
                break;
            }
            if view.largest()?.timestamp < timestamp {
                continue;
            }
            let from = view.offset_before_time(timestamp)?.max(self.start);
            let mut scanner = view.scanner(view.position_before(from)?, HEADER_WINDOW_BYTES)?;
            while let Some(frame) = scanner.next()? {
                if frame.base_offset >= self.up_to {
                    break;
                }
                if frame.max_timestamp >= timestamp
                    && frame.last_offset >= self.start
                    && let Some(found) = self.first_record(&mut scanner, &frame, timestamp)?
                {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The largest timestamp below the bound. An index says the largest of a whole segment: only the segment that the bound cuts
    /// has to be walked.
    fn largest(&self) -> Result<Option<TimestampedOffset>, ReadError> {
        let mut best: Option<(TimestampMs, &SegmentView)> = None;
        for (at, view) in self.views.iter().enumerate() {
            if view.base >= self.up_to {
                break;
            }
            let whole =
                self.views.get(at + 1).is_some_and(|next| next.base <= self.up_to) && view.base >= self.start;
            let timestamp = if whole { view.largest()?.timestamp } else { self.walk_largest(view)? };
            if timestamp.get() >= 0 && best.is_none_or(|(largest, _)| timestamp > largest) {
                best = Some((timestamp, view));
            }
        }
        let Some((timestamp, view)) = best else { return Ok(None) };
        let mut scanner = view.scanner(0, HEADER_WINDOW_BYTES)?;
        while let Some(frame) = scanner.next()? {
            if frame.max_timestamp >= timestamp
                && frame.last_offset >= self.start
                && let Some(found) = self.first_record(&mut scanner, &frame, timestamp)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn walk_largest(&self, view: &SegmentView) -> Result<TimestampMs, ReadError> {
        let mut largest = TimestampMs::NONE;
        let mut scanner = view.scanner(0, HEADER_WINDOW_BYTES)?;
        while let Some(frame) = scanner.next()? {
            // Bounds lie between batches; of one that is cut all the same nothing is known without its records.
            if frame.next_offset() > self.up_to {
                break;
            }
            if frame.last_offset >= self.start {
                largest = largest.max(frame.max_timestamp);
            }
        }
        Ok(largest)
    }

    /// The first record of a batch at or after `timestamp` that lies within the bounds.
    fn first_record(
        &self,
        scanner: &mut Scanner,
        frame: &Frame,
        timestamp: TimestampMs,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        let leader_epoch = frame.leader_epoch;
        if frame.header.is_none() {
            let (offset, timestamp) = (frame.last_offset, frame.max_timestamp);
            return Ok((offset < self.up_to).then_some(TimestampedOffset {
                offset,
                timestamp,
                leader_epoch,
            }));
        }
        let bytes = scanner.checked_bytes_of(frame)?;
        let batch = Batch::parse(&bytes).map_err(|error| scanner.damaged_at(frame, error.to_string()))?;
        for record in batch.records(DEFAULT_OUTPUT_LIMIT) {
            let record = record.map_err(|error| scanner.damaged_at(frame, error.to_string()))?;
            if record.offset >= self.up_to {
                break;
            }
            if record.timestamp >= timestamp && record.offset >= self.start {
                let (offset, timestamp) = (record.offset, record.timestamp);
                return Ok(Some(TimestampedOffset { offset, timestamp, leader_epoch }));
            }
        }
        Ok(None)
    }
}
