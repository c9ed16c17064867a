//! A compaction of the workload's log, from one part of its work to the next.

use dohle_log::{CleanedGroup, Compaction, CompactionError, KeyMap, Swap, Swapped};

use super::*;

/// A map with less room than there are keys, and one with more than enough.
const MAP_BYTES: [usize; 2] = [120, 4800];
const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// A compaction under way.
pub(super) struct Compacting {
    compaction: Compaction,
    map: KeyMap,
    /// What is compacted when it has ended.
    end: Offset,
    next: Next,
}

/// What it does next.
enum Next {
    Write,
    SwapIn(CleanedGroup),
    StartSwap,
    Rename(Swap),
    FinishSwap(Result<Swapped, LogError>),
}

impl Compacted {
    pub(super) fn compacted(&self) -> Result<Option<Offset>, LogError> {
        let path = Path::new(self.world.root()).join(CLEANER_CHECKPOINT);
        Ok(checkpoint::read(&self.world.disk, &path)?.values().next())
    }

    pub(super) fn note_compacted(&self, root: &str, up_to: Offset) -> Step {
        self.write(root, CLEANER_CHECKPOINT, up_to)
    }

    /// Compacts, or begins to.
    pub(super) fn compact(&mut self) -> Step {
        if self.compacting.is_some() {
            return self.advance_to_swap();
        }
        if !self.begin_compaction()? {
            return Ok(());
        }
        while !self.is_slow() && self.advance()? {
            match self.chance(4) {
                0 => self.append()?,
                1 => self.flush()?,
                2 => self.ask()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn begin_compaction(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
        let (now, high_watermark, compacted) = (ms(self.now), self.acknowledged, self.compacted()?);
        let found = self.log().examine(compacted, HighWatermark(high_watermark)).run(now)?;
        if found.cleanable_bytes == 0 {
            return Ok(false);
        }
        let (from, to) = (found.first_dirty, found.first_uncleanable);
        let Some(mut compaction) = self.log().start_compaction(from, to, now) else { return Ok(false) };
        self.compacted_below = self.compacted_below.max(self.acknowledged);
        self.checkpoint()?;
        let budget = MAP_BYTES[self.chance(2) as usize];
        let mut map = KeyMap::new(budget, 0.9, &Rng::seeded(self.tag));
        let end = compaction.map(&mut map, &mut |_| {})?;
        assert!(end > from && end <= to, "{from} to {to} was asked for, {end} was reached");
        self.append()?;
        self.compacting = Some(Compacting { compaction, map, end, next: Next::Write });
        Ok(true)
    }

    /// Does the next part of the compaction under way. Whether there is another.
    pub(super) fn advance(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
        let Some(Compacting { mut compaction, map, end, next }) = self.compacting.take() else {
            return Ok(false);
        };
        let now = ms(self.now);
        let next = match next {
            Next::Write => match self.during(|| compaction.next_group(&map, &mut |_| {}))? {
                Ok(Some(group)) => Next::SwapIn(group),
                Ok(None) => return self.end_compaction(&compaction, end).map(|()| false),
                Err(CompactionError::Cancelled) => return Ok(self.is_cancelled()),
                Err(problem) => return Err(problem.into()),
            },
            Next::SwapIn(group) => match self.log().swap_in(group) {
                Ok(()) => Next::StartSwap,
                Err(refused) => {
                    refused.discard()?;
                    return Ok(self.is_cancelled());
                }
            },
            Next::StartSwap => match self.log().start_swap() {
                Some(swap) => Next::Rename(swap),
                None => {
                    assert!(!self.reads.is_empty(), "only reads hold names");
                    self.answer()?;
                    Next::StartSwap
                }
            },
            Next::Rename(swap) => Next::FinishSwap(self.during(|| swap.run())?),
            Next::FinishSwap(swapped) => {
                self.log().finish_swap(swapped, now)?;
                self.answer()?;
                Next::Write
            }
        };
        self.compacting = Some(Compacting { compaction, map, end, next });
        Ok(true)
    }

    /// Goes on with a compaction, mostly until segments are being replaced, and is there for a while.
    pub(super) fn advance_to_swap(&mut self) -> Step {
        self.advance()?;
        while !self.log().is_swapping() && self.chance(8) > 0 && self.advance()? {}
        Ok(())
    }

    fn is_cancelled(&mut self) -> bool {
        assert!(self.is_slow(), "nothing has touched the old segments");
        self.cancelled += 1;
        false
    }

    fn end_compaction(&mut self, compaction: &Compaction, end: Offset) -> Step {
        let counts = compaction.counts().records;
        self.removed += counts.read - counts.kept;
        self.compactions += 1;
        self.note_compacted(self.world.root(), end)
    }
}
