//! What a campaign must have seen at least once to count: a run that never gets into trouble proves nothing.

use std::collections::BTreeMap;

/// How often each interesting thing has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<&'static str, u64>);

impl Marks {
    pub fn hit(&mut self, mark: &'static str) {
        *self.0.entry(mark).or_default() += 1;
    }

    /// Hits the mark where the condition holds.
    pub fn sometimes(&mut self, mark: &'static str, condition: bool) {
        if condition {
            self.hit(mark);
        }
    }

    pub fn count(&self, mark: &str) -> u64 {
        self.0.get(mark).copied().unwrap_or(0)
    }

    pub fn add(&mut self, other: &Self) {
        for (mark, count) in &other.0 {
            *self.0.entry(mark).or_default() += count;
        }
    }

    /// Those of `wanted` that were never hit.
    pub fn missing(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        wanted.iter().copied().filter(|mark| self.count(mark) == 0).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(mark, count)| (*mark, *count))
    }
}
