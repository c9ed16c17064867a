//! Times, counted in buckets by the one who takes them and summed up by the one who shows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Steps within each power of two: quantiles are off by an eighth at most.
const STEPS: usize = 8;
/// Powers of two: up to 2^36 microseconds, 19 hours. What takes longer counts as that.
const POWERS: usize = 34;
pub(crate) const BUCKETS: usize = STEPS * POWERS;

/// The times of one kind of event on one core. Clones count into the same buckets; 2 KiB each.
#[derive(Clone, Debug)]
pub struct Latencies(Arc<[AtomicU64; BUCKETS]>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Arc::new([const { AtomicU64::new(0) }; BUCKETS]))
    }
}

impl Latencies {
    #[inline]
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket(micros)].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds what has been counted so far to `sums`.
    pub(crate) fn add_to(&self, sums: &mut [u64; BUCKETS]) {
        for (sum, count) in sums.iter_mut().zip(self.0.iter()) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
}

/// Below `STEPS` every microsecond has its own; from there on each power of two has `STEPS` buckets.
const fn bucket(micros: u64) -> usize {
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let power = micros.ilog2() as usize;
    let step = (micros >> (power - STEPS.ilog2() as usize)) as usize - STEPS;
    let at = (power - STEPS.ilog2() as usize + 1) * STEPS + step;
    if at < BUCKETS { at } else { BUCKETS - 1 }
}

/// The middle of a bucket, in milliseconds.
#[allow(clippy::cast_precision_loss)]
fn millis(at: usize) -> f64 {
    if at < STEPS {
        return at as f64 / 1000.0;
    }
    let power = at / STEPS - 1;
    let low = ((STEPS + at % STEPS) << power) as f64;
    (low + (1_u64 << power) as f64 / 2.0) / 1000.0
}

/// The time, in milliseconds, that `share` of the events took at most. 0 when there are none.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn quantile(sums: &[u64; BUCKETS], share: f64) -> f64 {
    let wanted = (sums.iter().sum::<u64>() as f64 * share).ceil() as u64;
    let mut seen = 0;
    for (at, count) in sums.iter().enumerate() {
        seen += count;
        if seen >= wanted && *count > 0 {
            return millis(at);
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_close() {
        let mut last = 0;
        for micros in (0..10_000).chain((0..36).map(|power| 1 << power)) {
            let at = bucket(micros);
            assert!(at >= last || micros < 10_000, "{micros}");
            last = at;
            let shown = millis(at) * 1000.0;
            assert!((shown - micros as f64).abs() <= micros as f64 / 8.0, "{micros} is shown as {shown}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_right() {
        let latencies = Latencies::default();
        for ms in 1..=100 {
            latencies.record(Duration::from_millis(ms));
        }
        let mut sums = [0; BUCKETS];
        latencies.add_to(&mut sums);
        assert_eq!(sums.iter().sum::<u64>(), 100);
        for (share, ms) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let shown = quantile(&sums, share);
            assert!((shown - ms).abs() < ms / 8.0, "{share}: {shown}");
        }
        assert_eq!(quantile(&[0; BUCKETS], 0.5), 0.0);
    }
}
