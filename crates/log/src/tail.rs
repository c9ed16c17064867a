//! The recent batches of a log, in memory, for those who read at the end.
//!
//! Limits: a log keeps at most [`MAX_TAIL_BYTES`], all logs that share a [`TailBudget`] together at most its limit.
//! Invariant `TailIsTheEnd`: what a tail holds is contiguous and ends at the end of the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dohle_types::Offset;

/// The most that one log keeps in memory.
pub const MAX_TAIL_BYTES: usize = 8 << 20;
/// What a batch in the tail costs beside its bytes.
const ENTRY_OVERHEAD: usize = size_of::<TailBatch>();

/// The bound on what all logs sharing it keep in memory.
#[derive(Clone, Debug)]
pub struct TailBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    used: AtomicUsize,
}

impl TailBudget {
    pub fn new(limit_bytes: usize) -> Self {
        Self(Arc::new(Shared { limit: limit_bytes, used: AtomicUsize::new(0) }))
    }

    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    fn over(&self) -> bool {
        self.used() > self.0.limit
    }

    fn take(&self, bytes: usize) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A batch as two slices: header and body, or all of it and nothing.
#[derive(Clone, Debug)]
pub(crate) struct TailBatch {
    pub base_offset: Offset,
    pub next_offset: Offset,
    pub head: Bytes,
    pub body: Bytes,
}

impl TailBatch {
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

pub(crate) struct Tail {
    budget: TailBudget,
    batches: VecDeque<TailBatch>,
    bytes: usize,
    /// Whether anything was put in since [`Tail::rest`] was last called.
    touched: bool,
}

impl Tail {
    pub fn new(budget: TailBudget) -> Self {
        Self { budget, batches: VecDeque::new(), bytes: 0, touched: false }
    }

    /// Puts a batch at the end, letting go of the oldest ones as the limits ask.
    pub fn push(&mut self, batch: TailBatch) {
        debug_assert!(
            self.batches.back().is_none_or(|last| last.next_offset <= batch.base_offset),
            "TailIsTheEnd"
        );
        let cost = batch.len() + ENTRY_OVERHEAD;
        self.touched = true;
        self.budget.take(cost);
        self.bytes += cost;
        self.batches.push_back(batch);
        while self.bytes > MAX_TAIL_BYTES || (self.budget.over() && !self.batches.is_empty()) {
            self.drop_oldest();
        }
    }

    /// The batches from the one that holds `offset` on. `None` when that one is not here.
    pub fn from(&self, offset: Offset) -> Option<impl Iterator<Item = &TailBatch>> {
        let first = self.batches.front()?;
        if offset < first.base_offset {
            return None;
        }
        let at = self.batches.partition_point(|batch| batch.next_offset <= offset);
        Some(self.batches.range(at..))
    }

    /// Lets go of what lies below `offset`: it is not in the log any more as it is here.
    pub fn forget_below(&mut self, offset: Offset) {
        while self.batches.front().is_some_and(|oldest| oldest.base_offset < offset) {
            self.drop_oldest();
        }
    }

    pub fn clear(&mut self) {
        self.batches = VecDeque::new();
        self.budget.give_back(self.bytes);
        self.bytes = 0;
    }

    /// Called from time to time: a log that was not written to since the last call lets go of its tail.
    pub fn rest(&mut self) {
        if !std::mem::take(&mut self.touched) && self.bytes > 0 {
            self.clear();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.batches.pop_front() else { return };
        let cost = oldest.len() + ENTRY_OVERHEAD;
        self.bytes -= cost;
        self.budget.give_back(cost);
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(offset: i64, len: usize) -> TailBatch {
        let (base_offset, next_offset) = (Offset(offset), Offset(offset + 1));
        TailBatch { base_offset, next_offset, head: Bytes::from(vec![0; len]), body: Bytes::new() }
    }

    #[test]
    fn logs_share_their_budget_and_give_it_back() {
        let budget = TailBudget::new(10_000);
        let (mut a, mut b) = (Tail::new(budget.clone()), Tail::new(budget.clone()));
        for offset in 0..100 {
            a.push(batch(offset, 1000));
            assert!(budget.used() <= 10_000);
        }
        let oldest = a.from(Offset(99)).and_then(|mut found| found.next()).map(|found| found.base_offset);
        assert_eq!(oldest, Some(Offset(99)));
        assert!(a.from(Offset(80)).is_none());
        for offset in 0..100 {
            b.push(batch(offset, 1000));
            assert!(budget.used() <= 10_000);
        }
        drop(a);
        b.push(batch(100, 1000));
        b.rest();
        assert!(!b.is_empty(), "it was written to");
        b.rest();
        assert!(b.is_empty());
        assert_eq!(budget.used(), 0);
    }
}
