//! A compacted log moves to the other directory while the workload goes on.

use super::*;

impl Moves for Compacted {
    /// As before a move: a compaction that has replaced something ends, another one is cancelled, and the reads of old segments end.
    fn settle(&mut self) -> Step {
        self.answer()?;
        // It may have just ended.
        while self.chance(16) > 0 && self.advance()? {}
        while !self.log().end_compaction_for_copy() {
            self.settle_swap()?;
            self.log().cancel_compaction();
            self.cancelled += u64::from(self.compacting.take().is_some());
        }
        self.compacting = None;
        Ok(())
    }

    fn between_rounds(&mut self) -> Step {
        match self.chance(6) {
            0..=2 => self.append(),
            3 => self.maintain(),
            4 => self.truncate(),
            _ => self.delete_records(),
        }
    }

    fn cuts(&self) -> u64 {
        self.cuts
    }

    fn close_to_move(&mut self) -> Result<Closed, Box<dyn std::error::Error>> {
        self.close()
    }

    fn store_closed(&self, root: &str, closed: Closed) -> Step {
        if let Some(compacted) = self.compacted()? {
            self.note_compacted(root, compacted)?;
        }
        self.store_in(root, closed.recovery_point, closed.log_start)
    }

    fn open_moved(&mut self) -> Step {
        self.moves += 1;
        self.open(true)
    }
}
