//! Timers by name: set, moved, cancelled, and given out in the order of their times.
//!
//! Most timers are sessions, which every heartbeat moves to a later time. That costs one look-up: a timer keeps the place in the queue
//! that it has, and is put where it belongs only when it comes to the front.

use std::collections::{BTreeMap, BTreeSet};

/// Each name runs at most once. Ties go by name, so that one history gives one order.
#[derive(Clone, Debug)]
pub struct Timers<K: Ord + Clone> {
    at: BTreeMap<K, Time>,
    queue: BTreeSet<(u64, K)>,
}

/// When a timer is due, and its place in the queue, which is not behind that.
#[derive(Clone, Copy, Debug)]
struct Time {
    due: u64,
    queued: u64,
}

impl<K: Ord + Clone> Default for Timers<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), queue: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    pub fn set(&mut self, timer: K, at_tick_ms: u64) {
        let Some(time) = self.at.get_mut(&timer) else {
            self.at.insert(timer.clone(), Time { due: at_tick_ms, queued: at_tick_ms });
            self.queue.insert((at_tick_ms, timer));
            return;
        };
        time.due = at_tick_ms;
        if at_tick_ms < time.queued {
            let before = std::mem::replace(&mut time.queued, at_tick_ms);
            self.queue.remove(&(before, timer.clone()));
            self.queue.insert((at_tick_ms, timer));
        }
    }

    pub fn cancel(&mut self, timer: &K) {
        if let Some(time) = self.at.remove(timer) {
            self.queue.remove(&(time.queued, timer.clone()));
        }
    }

    /// When [`Timers::pop_due`] should be called next: no timer is due before this, and there may be none that is due then.
    pub fn next_due(&self) -> Option<u64> {
        self.queue.first().map(|(queued, _)| *queued)
    }

    /// Takes out the first timer that is due. If there is none, the time of the next is known exactly after this.
    pub fn pop_due(&mut self, now_tick_ms: u64) -> Option<K> {
        loop {
            let (queued, timer) = self.queue.first()?;
            let due = self.at.get(timer)?.due;
            if due == *queued {
                return if due <= now_tick_ms { self.pop_first() } else { None };
            }
            let (_, timer) = self.queue.pop_first()?;
            if let Some(time) = self.at.get_mut(&timer) {
                time.queued = due;
            }
            self.queue.insert((due, timer));
        }
    }

    fn pop_first(&mut self) -> Option<K> {
        let (_, timer) = self.queue.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }

    pub fn len(&self) -> usize {
        self.at.len()
    }

    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_set_again_moves() {
        let mut timers = Timers::default();
        timers.set("a", 10);
        timers.set("b", 20);
        timers.set("a", 30);
        assert_eq!((timers.len(), timers.next_due()), (2, Some(10)), "a look that finds nothing");
        assert_eq!(
            (timers.pop_due(15), timers.next_due()),
            (None, Some(20)),
            "and after it, the time is exact"
        );
        assert_eq!(timers.pop_due(25), Some("b"));
        assert_eq!(timers.pop_due(25), None);
        timers.cancel(&"a");
        assert!(timers.is_empty() && timers.next_due().is_none());
    }

    /// However timers were moved, they are given out at their times, in the order of these and of their names.
    #[test]
    fn moved_timers_keep_the_order_of_their_times() {
        let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
        let mut chance = 1_u64;
        let mut next = |below: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % below
        };
        for now in 0..5_000 {
            let name = next(40);
            if next(8) == 0 {
                timers.cancel(&name);
                model.remove(&name);
            } else {
                let at = now + next(50);
                timers.set(name, at);
                model.insert(name, at);
            }
            let first = |model: &BTreeMap<u64, u64>| model.iter().map(|(name, at)| (*at, *name)).min();
            assert!(
                timers.next_due() <= first(&model).map(|(at, _)| at),
                "no timer is due before the next look"
            );
            if next(3) > 0 {
                continue;
            }
            while let Some((_, name)) = first(&model).filter(|(at, _)| *at <= now) {
                assert_eq!(timers.pop_due(now), Some(name));
                model.remove(&name);
            }
            assert_eq!(timers.pop_due(now), None);
            assert_eq!(timers.next_due(), first(&model).map(|(at, _)| at));
            assert_eq!(timers.len(), model.len());
        }
    }
}
