//! Time, chance and the order of things. One seed gives one history.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::marks::Marks;

/// A source of chance: SplitMix64.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give neighbouring histories.
        let mut chance = Self(seed ^ 0x6a09_e667_f3bc_c909);
        chance.0 = chance.number();
        chance
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, and zero where there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// A number from `low` to `high`, both of which may come.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn happens(&mut self, in_a_thousand: u64) -> bool {
        self.below(1000) < in_a_thousand
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// Something that is to happen.
#[derive(Debug)]
struct Due<E> {
    at_ms: u64,
    /// What was planned first happens first.
    order: u64,
    event: E,
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Due<E> {
    /// The heap gives out its greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ms, other.order).cmp(&(self.at_ms, self.order))
    }
}

/// The kernel of a simulation with events of the kind `E`.
#[derive(Debug)]
pub struct Kernel<E> {
    now_ms: u64,
    order: u64,
    due: BinaryHeap<Due<E>>,
    pub chance: Chance,
    pub marks: Marks,
    trace: u64,
    events: u64,
    tells: bool,
}

impl<E> Kernel<E> {
    pub fn new(seed: u64, tells: bool) -> Self {
        Self {
            tells,
            now_ms: 0,
            order: 0,
            due: BinaryHeap::new(),
            chance: Chance::new(seed),
            marks: Marks::default(),
            trace: seed,
            events: 0,
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Plans an event.
    pub fn after(&mut self, ms: u64, event: E) {
        self.at(self.now_ms + ms, event);
    }

    /// Plans an event for a time, which may not have passed.
    pub fn at(&mut self, at_ms: u64, event: E) {
        self.order += 1;
        self.due.push(Due { at_ms: at_ms.max(self.now_ms), order: self.order, event });
    }

    /// The next event until then; time has come to it. With none left, time has come to `until_ms`.
    pub fn next(&mut self, until_ms: u64) -> Option<E> {
        match self.due.peek() {
            Some(due) if due.at_ms <= until_ms => {}
            _ => {
                self.now_ms = self.now_ms.max(until_ms);
                return None;
            }
        }
        let due = self.due.pop()?;
        self.now_ms = due.at_ms;
        self.events += 1;
        self.note(&(due.at_ms, due.order));
        Some(due.event)
    }

    /// Makes what happened part of the trace.
    pub fn note(&mut self, what: &impl Hash) {
        let mut hasher = DefaultHasher::new();
        (self.trace, what).hash(&mut hasher);
        self.trace = hasher.finish();
    }

    /// Prints what happened, for whoever looks for a fault in one run.
    pub fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            println!("{:>8} {}", self.now_ms, what());
        }
    }

    /// The hash of all that has happened.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    pub fn events(&self) -> u64 {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_of_planning() {
        let mut kernel = Kernel::new(1, false);
        kernel.after(5, "c");
        kernel.after(1, "a");
        kernel.after(5, "d");
        kernel.after(1, "b");
        kernel.after(20, "late");
        let order: Vec<&str> = std::iter::from_fn(|| kernel.next(10)).collect();
        assert_eq!((order, kernel.now_ms()), (vec!["a", "b", "c", "d"], 10));
    }

    #[test]
    fn chance_reaches_both_ends() {
        let mut chance = Chance::new(7);
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| chance.between(3, 6)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_ne!(Chance::new(7).number(), Chance::new(8).number());
    }
}
