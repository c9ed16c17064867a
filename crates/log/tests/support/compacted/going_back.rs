//! A compacted log is cut, or its first records are deleted.

use super::*;

/// How many batches a cut mostly takes at most.
const FEW_BATCHES: usize = 6;

/// Where to cut.
struct Cut {
    /// From here on everything goes.
    to: Offset,
    /// Where the log ends then: with the batch that holds `to`, or in a gap that compaction has left.
    cut: Offset,
    /// Where the last batch ends that stays: while it is being cut, a crash may leave no more.
    kept: Offset,
}

impl Compacted {
    /// Cuts the log: mostly above what was committed when it was last compacted, and sometimes below, as after an election that
    /// was not clean.
    pub(super) fn truncate(&mut self) -> Step {
        self.answer()?;
        let Some(Cut { to, cut, kept }) = self.choose_cut() else { return Ok(()) };
        let before = (self.records.clone(), self.headers.clone(), self.acknowledged, self.cut_at);
        let is_deep = cut < self.compacted_below;
        if is_deep {
            self.forget_removed(cut);
            self.cut_at = Some(cut);
        }
        self.acknowledged = self.acknowledged.min(kept);
        // What is appended there later is not compacted.
        if self.compacted()?.is_some_and(|compacted| compacted > cut) {
            self.note_compacted(self.world.root(), cut)?;
        }
        let now = ms(self.now);
        let done = self.log().truncate_to(to, now);
        if let Err(LogError::Busy { .. }) = done {
            (self.records, self.headers, self.acknowledged, self.cut_at) = before;
            return self.truncate_again();
        }
        done?;
        self.acknowledged = before.2.min(cut);
        assert_eq!(self.log().end_offset(), cut);
        _ = self.records.split_off(&cut);
        self.headers.retain(|(header, _)| header.base_offset < cut);
        self.cuts += 1;
        self.deep_cuts += u64::from(is_deep);
        self.compacted_below = self.compacted_below.min(cut);
        self.learn_producers();
        self.epoch = LeaderEpoch(self.epoch.get() + self.chance(2) as i32);
        self.checkpoint()
    }

    fn choose_cut(&mut self) -> Option<Cut> {
        let start = self.log().start_offset();
        let headers: Vec<BatchHeader> = read_all(self.log()).iter().map(|batch| batch.header).collect();
        let shallow = headers.iter().filter(|header| header.base_offset >= self.compacted_below).count();
        let is_deep = self.log().is_swapping() || self.chance(3) == 0;
        let most = if is_deep { headers.len() } else { shallow.min(FEW_BATCHES) };
        if most == 0 {
            return None;
        }
        let at = headers.len() - 1 - self.chance(most as u64) as usize;
        let before = at.checked_sub(1).map_or(start, |before| headers[before].next_offset());
        let first = before.max(start.next());
        let (base, last) = (headers[at].base_offset, headers[at].last_offset());
        if base <= start || first > last {
            return None;
        }
        let to = Offset(first.get() + self.chance((last.get() - first.get() + 1) as u64) as i64);
        Some(Cut { to, cut: to.min(base), kept: before })
    }

    /// Of what stays below a cut nothing is missed that a compaction has removed because of what goes.
    fn forget_removed(&mut self, cut: Offset) {
        let batches = read_all(self.log());
        let bases: BTreeSet<Offset> = batches.iter().map(|batch| batch.header.base_offset).collect();
        let offsets: BTreeSet<Offset> =
            batches.iter().flat_map(|batch| self.check_batch(batch).expect("what was written")).collect();
        self.records.retain(|offset, _| *offset >= cut || offsets.contains(offset));
        self.headers.retain(|(header, _)| header.base_offset >= cut || bases.contains(&header.base_offset));
    }

    /// A cut that was refused while others work on the log's files is asked for again when they have ended; not if they are in the middle
    /// of it.
    fn truncate_again(&mut self) -> Step {
        let is_swapping = self.compacting.is_some() && self.log().is_swapping();
        if !is_swapping && !self.pending.may_end() {
            return Ok(());
        }
        self.settle_swap()?;
        self.end_all()?;
        self.truncate()
    }

    /// What is being swapped has its names when this returns.
    pub(super) fn settle_swap(&mut self) -> Step {
        while self.compacting.is_some() && self.log().is_swapping() {
            self.advance()?;
        }
        Ok(())
    }

    /// What producers may send next is what the log remembers of them.
    fn learn_producers(&mut self) {
        self.producers.clear();
        for info in self.log().producers().collect::<Vec<_>>() {
            let open = info.transaction_start != Offset::NONE;
            self.producers
                .insert(info.producer_id.get(), (info.epoch.get(), info.last_sequence.get() + 1, open));
        }
    }

    pub(super) fn delete_records(&mut self) -> Step {
        let (start, high_watermark) = (self.log().start_offset(), self.acknowledged);
        if high_watermark <= start {
            return Ok(());
        }
        let before =
            Offset(start.get() + self.chance((high_watermark.get() - start.get()) as u64 / 3 + 1) as i64);
        let start = self.log().delete_records_before(before, HighWatermark(high_watermark))?;
        self.checkpoint()?;
        self.start = start;
        Ok(())
    }
}
