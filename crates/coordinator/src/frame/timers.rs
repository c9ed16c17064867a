//! Timers by name: set, moved, cancelled, and given out in the order of their times.

use std::collections::{BTreeMap, BTreeSet};

/// Each name runs at most once. Ties go by name, so that one history gives one order.
#[derive(Clone, Debug)]
pub struct Timers<K: Ord + Clone> {
    at: BTreeMap<K, u64>,
    order: BTreeSet<(u64, K)>,
}

impl<K: Ord + Clone> Default for Timers<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    pub fn set(&mut self, timer: K, at_tick_ms: u64) {
        if let Some(before) = self.at.insert(timer.clone(), at_tick_ms) {
            if before == at_tick_ms {
                return;
            }
            self.order.remove(&(before, timer.clone()));
        }
        self.order.insert((at_tick_ms, timer));
    }

    pub fn cancel(&mut self, timer: &K) {
        if let Some(before) = self.at.remove(timer) {
            self.order.remove(&(before, timer.clone()));
        }
    }

    pub fn next_due(&self) -> Option<u64> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the first timer that is due.
    pub fn pop_due(&mut self, now_tick_ms: u64) -> Option<K> {
        if self.next_due()? > now_tick_ms {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
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
        assert_eq!((timers.len(), timers.next_due()), (2, Some(20)));
        assert_eq!(timers.pop_due(25), Some("b"));
        assert_eq!(timers.pop_due(25), None);
        timers.cancel(&"a");
        assert!(timers.is_empty() && timers.next_due().is_none());
    }
}
