//! How far the recoveries of a log directory are: what Kafka tells as `remainingSegmentsToRecover`.

use std::sync::{Arc, Mutex, MutexGuard};

/// The segments that each recovery under way has still to verify. Recoveries have numbers, as Kafka's threads do: the lowest that is free.
///
/// As many entries as there were recoveries at a time.
#[derive(Clone, Default)]
pub struct Verifying(Arc<Mutex<Vec<Option<usize>>>>);

/// A recovery that verifies segments. Its number is free again when this is dropped.
pub(crate) struct Progress {
    of: Verifying,
    number: usize,
}

impl Verifying {
    /// What each number has left.
    pub fn remaining(&self) -> Vec<usize> {
        self.numbers().iter().map(|segments| segments.unwrap_or(0)).collect()
    }

    pub(crate) fn begin(&self, segments: usize) -> Progress {
        let mut numbers = self.numbers();
        let number = numbers.iter().position(Option::is_none).unwrap_or_else(|| {
            numbers.push(None);
            numbers.len() - 1
        });
        numbers[number] = Some(segments);
        drop(numbers);
        Progress { of: self.clone(), number }
    }

    fn numbers(&self) -> MutexGuard<'_, Vec<Option<usize>>> {
        self.0.lock().expect("nothing panics while it is locked")
    }
}

impl Progress {
    /// One more segment is verified.
    pub fn step(&self) {
        if let Some(left) = &mut self.of.numbers()[self.number] {
            *left = left.saturating_sub(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.of.numbers()[self.number] = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recoveries_have_numbers() {
        let verifying = Verifying::default();
        let (first, second) = (verifying.begin(3), verifying.begin(5));
        first.step();
        assert_eq!(verifying.remaining(), [2, 5]);
        drop(first);
        assert_eq!(verifying.remaining(), [0, 5]);
        let third = verifying.begin(1);
        third.step();
        third.step();
        second.step();
        assert_eq!(verifying.remaining(), [0, 4]);
    }
}
