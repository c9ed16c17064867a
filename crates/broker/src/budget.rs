//! The memory that requests may hold, in one number for the whole node (`dohle.memory.request.bytes`), and as much again for the
//! records that answers to fetches hold until they are written.
//!
//! Every frame is charged for the bytes that have *arrived*, never for the length it claims, and the charge is given back when
//! its response has been written. Frames up to [`FREE_FRAME`] pass uncharged: their sum is bounded by the connection limit.
//!
//! Invariant `BudgetMakesProgress`: when the budget is used up by frames that are still incomplete, one frame at a time may go over
//! it, so that half-received requests never block each other for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use std::sync::Mutex;

/// Frames up to this size are not charged.
pub const FREE_FRAME: usize = 64 * 1024;

/// The node's budget. Clones share it.
#[derive(Clone)]
pub struct MemoryBudget(Arc<Shared>);

struct Shared {
    limit: usize,
    used: AtomicUsize,
    overdraft_taken: AtomicBool,
    /// Connections that wait for room. Touched only when the budget is exhausted.
    waiting: Mutex<Vec<Waker>>,
}

impl MemoryBudget {
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared {
            limit,
            used: AtomicUsize::new(0),
            overdraft_taken: AtomicBool::new(false),
            waiting: Mutex::new(Vec::new()),
        }))
    }

    /// A charge of nothing, to be grown as bytes arrive.
    pub fn open(&self) -> Charge {
        Charge { budget: self.clone(), held: 0, overdraft: false }
    }

    /// A charge of as much of `wanted` as there is room for, possibly nothing. Never waits.
    pub fn claim_up_to(&self, wanted: usize) -> Charge {
        let mut held = 0;
        let claimed = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            held = wanted.min(self.0.limit.saturating_sub(used));
            Some(used + held)
        });
        debug_assert!(claimed.is_ok(), "the update always gives a number");
        Charge { budget: self.clone(), held, overdraft: false }
    }

    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= self.0.limit)
            })
            .is_ok()
    }

    fn take_overdraft(&self) -> bool {
        !self.0.overdraft_taken.swap(true, Ordering::AcqRel)
    }

    fn wake_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        for waker in waiting {
            waker.wake();
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.0.waiting.lock().expect("nothing panics while the list is locked")
    }
}

/// What one frame holds of the budget; given back on drop.
pub struct Charge {
    budget: MemoryBudget,
    held: usize,
    overdraft: bool,
}

impl Charge {
    pub fn held(&self) -> usize {
        self.held
    }

    /// Gives back what is held beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.held.saturating_sub(bytes);
        self.held -= surplus;
        self.budget.0.used.fetch_sub(surplus, Ordering::Relaxed);
    }

    /// Makes the charge at least `bytes`. Pending while the budget has no room; the task is woken when there may be.
    pub fn poll_grow(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        if bytes <= self.held || bytes <= FREE_FRAME || self.overdraft {
            return Poll::Ready(());
        }
        let more = bytes - self.held;
        if !self.budget.take(more) {
            // Registered before the second look, so that room made in between is not missed.
            self.budget.waiting().push(cx.waker().clone());
            if !self.budget.take(more) {
                if !self.budget.take_overdraft() {
                    return Poll::Pending;
                }
                self.overdraft = true;
                return Poll::Ready(());
            }
        }
        self.held = bytes;
        Poll::Ready(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.overdraft {
            self.budget.0.overdraft_taken.store(false, Ordering::Release);
        }
        let before = self.budget.0.used.fetch_sub(self.held, Ordering::Relaxed);
        assert!(before >= self.held, "a charge is given back once");
        if self.held > 0 || self.overdraft {
            self.budget.wake_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grow(charge: &mut Charge, bytes: usize) -> bool {
        charge.poll_grow(bytes, &mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_claim_takes_what_there_is() {
        let budget = MemoryBudget::new(100);
        let mut first = budget.claim_up_to(70);
        let second = budget.claim_up_to(70);
        assert_eq!((first.held(), second.held(), budget.claim_up_to(70).held()), (70, 30, 0));
        first.shrink_to(10);
        assert_eq!(budget.claim_up_to(70).held(), 60);
        drop((first, second));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn small_frames_are_free() {
        let budget = MemoryBudget::new(0);
        assert!(grow(&mut budget.open(), FREE_FRAME));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn one_frame_at_a_time_may_overdraw() {
        let budget = MemoryBudget::new(200_000);
        let (mut a, mut b, mut c) = (budget.open(), budget.open(), budget.open());
        assert!(grow(&mut a, 150_000));
        assert!(grow(&mut b, 100_000), "the overdraft");
        assert!(!grow(&mut c, 100_000), "there is only one");
        drop(b);
        assert!(grow(&mut c, 100_000), "and it comes back");
        drop(a);
        drop(c);
        assert_eq!(budget.used(), 0);
    }
}
