//! A log goes back: it is cut, starts over, or its first records are deleted.

use super::*;

impl Workload {
    pub(super) fn truncate(&mut self) -> Step {
        let (end, now) = (self.log().end_offset(), ms(self.now));
        let start = self.log().start_offset();
        if self.chance(6) == 0 {
            return self.reset();
        }
        if end <= start {
            return Ok(());
        }
        let to = Offset(end.get() - self.chance((end.get() - start.get()) as u64) as i64 / 3);
        // The batch that holds the offset goes as a whole.
        let cut = self.history.iter().map(|(header, _)| header).find(|header| header.last_offset() >= to);
        let cut = cut.map_or(end, |header| header.base_offset);
        // If the log starts inside of it, nothing is left, and the start stays where it is.
        let emptied = cut < start;
        let cut = cut.max(start);
        let before = self.acknowledged;
        self.acknowledged = before.min(cut);
        let done = self.log().truncate_to(to, now);
        if let Err(LogError::Busy { .. }) = done {
            self.acknowledged = before;
            return self.again(Self::truncate);
        }
        done?;
        self.cuts += 1;
        assert_eq!(self.log().end_offset(), cut.min(end));
        self.appended.retain(|base, _| *base < cut);
        self.history.retain(|(header, _)| header.base_offset < cut && !emptied);
        // Mostly a new leader has asked for it, but not always is something new said.
        if self.chance(4) > 0 {
            self.epoch = self.epoch.get().checked_add(1).map(LeaderEpoch).expect("few epochs");
        }
        self.learn_sequences();
        self.checkpoint()
    }

    /// Starts over at an offset, as a replica does whose leader has nothing of what it has.
    fn reset(&mut self) -> Step {
        let end = self.log().end_offset();
        let to = Offset(end.get() + self.chance(20) as i64);
        self.starts.insert(to);
        // A folder that no flush has seen yet may go as a whole.
        let is_stored = self.acknowledged > Offset::ZERO;
        let before = (self.acknowledged, self.start, false);
        (self.acknowledged, self.start, self.resetting) = (Offset::ZERO, Offset::ZERO, true);
        let done = self.log().reset_to(to);
        if let Err(LogError::Busy { .. }) = done {
            (self.acknowledged, self.start, self.resetting) = before;
            return self.again(Self::reset);
        }
        done?;
        self.resetting = false;
        self.cuts += 1;
        self.appended.clear();
        self.history.clear();
        self.sequences.clear();
        if is_stored {
            (self.acknowledged, self.start) = (to, to);
        }
        self.checkpoint()
    }

    /// What is refused while others work on the log's files is asked for again when they have ended; not if they are in the middle of it.
    fn again(&mut self, what: fn(&mut Self) -> Step) -> Step {
        if !self.pending.may_end() {
            return Ok(());
        }
        self.end_all()?;
        what(self)
    }

    pub(super) fn delete_records(&mut self) -> Step {
        let (start, high_watermark) = (self.log().start_offset(), self.acknowledged);
        if high_watermark <= start {
            return Ok(());
        }
        let before =
            Offset(start.get() + self.chance((high_watermark.get() - start.get()) as u64 / 2 + 1) as i64);
        let start = self.log().delete_records_before(before, HighWatermark(high_watermark))?;
        self.note_start();
        self.checkpoint()?;
        self.start = start;
        Ok(())
    }
}
