//! The recent batches of a log, in memory, for those who read at the end. All readers of a log are given the same bytes.
//!
//! Limits: a log keeps at most [`MAX_TAIL_BYTES`], all logs that share a [`TailBudget`] together at most its limit. When that is
//! reached, what was written first goes first, whichever log it belongs to: an idle log makes room for a busy one.
//!
//! Batches are let go of in runs of [`RUN_BYTES`], so that the line in which the runs of all logs stand is locked once a run and not
//! once a batch. Locks are taken in the order: line, batches of a log. Nothing else is done under them.
//!
//! Invariant `TailIsTheEnd`: what a tail holds is contiguous and ends at the end of the log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use bytes::Bytes;
use dohle_types::Offset;

/// The most that one log keeps in memory.
pub const MAX_TAIL_BYTES: usize = 8 << 20;
/// How much of a log is let go of at once when logs together have too much.
const RUN_BYTES: usize = 64 << 10;
/// A small limit is divided into so many runs all the same.
const LEAST_RUNS: usize = 16;
/// Runs that are gone may stand in line up to this number, and as many as there are others.
const SPENT_RUNS: usize = 1024;
/// What a batch in the tail costs beside its bytes.
const ENTRY_OVERHEAD: usize = size_of::<TailBatch>();

/// The bound on what all logs sharing it keep in memory.
#[derive(Clone, Debug)]
pub struct TailBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    used: AtomicUsize,
    line: Mutex<Line>,
}

/// The runs of all logs, in the order in which they were begun.
#[derive(Debug, Default)]
struct Line {
    runs: VecDeque<InLine>,
    /// How many stood in line when those that are gone were last taken out.
    after_sweep: usize,
}

#[derive(Debug)]
struct InLine {
    tail: Weak<Mutex<Kept>>,
    run: Weak<()>,
}

impl TailBudget {
    pub fn new(limit_bytes: usize) -> Self {
        let (used, line) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Shared { limit: limit_bytes, used, line }))
    }

    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    fn run_bytes(&self) -> usize {
        RUN_BYTES.min(self.0.limit / LEAST_RUNS)
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

    fn line_up(&self, entry: InLine) {
        let mut line = lock(&self.0.line);
        line.runs.push_back(entry);
        if line.runs.len() > 2 * line.after_sweep + SPENT_RUNS {
            line.runs.retain(|entry| entry.run.strong_count() > 0);
            line.after_sweep = line.runs.len();
        }
    }

    /// Lets go of the oldest runs until the limit is kept.
    fn make_room(&self) {
        let mut line = lock(&self.0.line);
        while self.over() {
            let Some(oldest) = line.runs.pop_front() else { break };
            let Some(tail) = oldest.tail.upgrade() else { continue };
            let mut kept = lock(&tail);
            // It may be gone, and others of the same log have come.
            if kept.runs.front().is_some_and(|run| std::ptr::eq(Arc::as_ptr(&run.token), oldest.run.as_ptr()))
            {
                let freed = kept.drop_oldest_run();
                self.give_back(freed);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it is locked")
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

    fn cost(&self) -> usize {
        self.len() + ENTRY_OVERHEAD
    }
}

/// What a log keeps.
#[derive(Debug, Default)]
struct Kept {
    batches: VecDeque<TailBatch>,
    /// How the batches divide into runs; the last one still grows.
    runs: VecDeque<Run>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Run {
    token: Arc<()>,
    batches: usize,
    bytes: usize,
}

impl Kept {
    /// What was freed.
    fn drop_oldest(&mut self) -> usize {
        let Some(oldest) = self.batches.pop_front() else { return 0 };
        let cost = oldest.cost();
        self.bytes -= cost;
        let run = self.runs.front_mut().expect("every batch is in a run");
        run.batches -= 1;
        run.bytes -= cost;
        if run.batches == 0 {
            self.runs.pop_front();
        }
        cost
    }

    fn drop_oldest_run(&mut self) -> usize {
        let batches = self.runs.front().map_or(0, |run| run.batches);
        (0..batches).map(|_| self.drop_oldest()).sum()
    }
}

pub(crate) struct Tail {
    budget: TailBudget,
    kept: Arc<Mutex<Kept>>,
    /// Whether anything was put in since [`Tail::rest`] was last called.
    touched: bool,
}

impl Tail {
    pub fn new(budget: TailBudget) -> Self {
        Self { budget, kept: Arc::default(), touched: false }
    }

    /// Puts a batch at the end, letting go of the oldest ones as the limits ask: first of this log's, then of all logs'.
    pub fn push(&mut self, batch: TailBatch) {
        let cost = batch.cost();
        self.touched = true;
        self.budget.take(cost);
        let mut kept = lock(&self.kept);
        debug_assert!(
            kept.batches.back().is_none_or(|last| last.next_offset <= batch.base_offset),
            "TailIsTheEnd"
        );
        let begins = kept.runs.back().is_none_or(|run| run.bytes >= self.budget.run_bytes());
        if begins {
            kept.runs.push_back(Run::default());
        }
        let run = kept.runs.back_mut().expect("there is one now");
        run.batches += 1;
        run.bytes += cost;
        let begun = begins.then(|| Arc::downgrade(&run.token));
        kept.bytes += cost;
        kept.batches.push_back(batch);
        while kept.bytes > MAX_TAIL_BYTES {
            let freed = kept.drop_oldest();
            self.budget.give_back(freed);
        }
        drop(kept);
        if let Some(run) = begun {
            self.budget.line_up(InLine { tail: Arc::downgrade(&self.kept), run });
        }
        if self.budget.over() {
            self.budget.make_room();
        }
    }

    /// Goes through the batches from the one that holds `offset` on. `None` when that one is not here.
    pub fn from<R>(
        &self,
        offset: Offset,
        walk: impl FnOnce(std::collections::vec_deque::Iter<'_, TailBatch>) -> R,
    ) -> Option<R> {
        let kept = lock(&self.kept);
        if offset < kept.batches.front()?.base_offset {
            return None;
        }
        let at = kept.batches.partition_point(|batch| batch.next_offset <= offset);
        Some(walk(kept.batches.range(at..)))
    }

    /// Lets go of what lies below `offset`: it is not in the log any more as it is here.
    pub fn forget_below(&mut self, offset: Offset) {
        let mut kept = lock(&self.kept);
        while kept.batches.front().is_some_and(|oldest| oldest.base_offset < offset) {
            let freed = kept.drop_oldest();
            self.budget.give_back(freed);
        }
    }

    pub fn clear(&mut self) {
        let kept = std::mem::take(&mut *lock(&self.kept));
        self.budget.give_back(kept.bytes);
    }

    /// Called from time to time: a log that was not written to since the last call lets go of its tail.
    pub fn rest(&mut self) {
        if !std::mem::take(&mut self.touched) {
            self.clear();
        }
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.kept).batches.is_empty()
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

    fn oldest(tail: &Tail) -> Option<i64> {
        lock(&tail.kept).batches.front().map(|batch| batch.base_offset.get())
    }

    #[test]
    fn an_idle_log_makes_room_for_a_busy_one() {
        let budget = TailBudget::new(40 * RUN_BYTES);
        let (mut idle, mut busy) = (Tail::new(budget.clone()), Tail::new(budget.clone()));
        for offset in 0..20 * 64 {
            idle.push(batch(offset, 1024));
        }
        assert_eq!(oldest(&idle), Some(0));
        let mut offset = 0;
        while !idle.is_empty() {
            busy.push(batch(offset, 1024));
            offset += 1;
            assert!(budget.used() <= 40 * RUN_BYTES);
            assert!(idle.is_empty() || oldest(&busy) == Some(0), "what was written first goes first");
        }
        // Runs end with the batch that reaches their size.
        assert!((19 * 64..=42 * 64).contains(&offset), "{offset}");
        for next in 0..50_000 {
            busy.push(batch(offset + next, 1024));
            assert!(budget.used() <= 40 * RUN_BYTES && budget.used() > 37 * RUN_BYTES);
        }
        assert_eq!(busy.from(Offset(offset + 49_999), |found| found.count()), Some(1));
        assert_eq!(busy.from(Offset(0), |_| ()), None);
        drop((idle, busy));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn runs_that_are_gone_do_not_stand_in_line_for_ever() {
        let budget = TailBudget::new(1 << 30);
        let (mut first, mut other) = (Tail::new(budget.clone()), Tail::new(budget.clone()));
        first.push(batch(0, 10));
        for offset in 0..20_000 {
            other.push(batch(offset, RUN_BYTES));
        }
        assert!(budget.used() <= MAX_TAIL_BYTES + 1000, "each log has its own limit too");
        assert!(lock(&budget.0.line).runs.len() < 2 * SPENT_RUNS + 1000);
    }

    #[test]
    fn logs_share_their_budget_and_give_it_back() {
        let budget = TailBudget::new(10_000);
        let (mut a, mut b) = (Tail::new(budget.clone()), Tail::new(budget.clone()));
        for offset in 0..100 {
            a.push(batch(offset, 1000));
            assert!(budget.used() <= 10_000);
        }
        assert!(a.from(Offset(80), |_| ()).is_none());
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

    #[test]
    fn no_budget_is_no_tail() {
        let budget = TailBudget::new(0);
        let mut tail = Tail::new(budget.clone());
        for offset in 0..10 {
            tail.push(batch(offset, 100));
            assert!(tail.is_empty() && budget.used() == 0);
        }
    }
}
