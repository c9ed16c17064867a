//! What a run of the client measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Latencies in nanoseconds, to three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        const LONGEST_NS: u64 = 600_000_000_000;
        const DIGITS: u8 = 3;
        Self(Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("the bounds are in order"))
    }
}

impl Latencies {
    pub fn record(&mut self, latency: Duration, count: u64) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record_n(nanos.max(1), count);
    }

    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In milliseconds; `quantile` from 0 to 1.
    pub fn ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e6
    }

    pub fn to_json(&self) -> Value {
        json!({
            "count": self.0.len(), "p50_ms": self.ms(0.5), "p90_ms": self.ms(0.9), "p99_ms": self.ms(0.99),
            "p99.9_ms": self.ms(0.999), "p99.99_ms": self.ms(0.9999), "max_ms": self.0.max() as f64 / 1e6,
        })
    }
}

/// Times in which what was due did not arrive, one by one: a percentile does not tell whether there was one long one or many.
#[derive(Clone, Debug, Default)]
pub struct Stalls(Vec<(Duration, Duration)>);

impl Stalls {
    /// A batch that is later than this is part of a stall.
    pub const LATE: Duration = Duration::from_millis(10);
    const MOST: usize = 10_000;

    /// A batch that was due and came at these moments of the run.
    pub fn saw(&mut self, due: Duration, came: Duration) {
        if came.saturating_sub(due) < Self::LATE {
            return;
        }
        let room = self.0.len() < Self::MOST;
        match self.0.last_mut() {
            Some((_, end)) if due <= *end => *end = (*end).max(came),
            _ if room => self.0.push((due, came)),
            _ => {}
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.0.extend(other.0.iter().take(Self::MOST.saturating_sub(self.0.len())));
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn longest_ms(&self) -> f64 {
        self.0.iter().map(|(from, to)| to.saturating_sub(*from).as_secs_f64() * 1e3).fold(0.0, f64::max)
    }

    /// Where each began, in seconds of the run, and how long it was; the longest first.
    pub fn to_json(&self) -> Value {
        const SHOWN: usize = 20;
        let mut longest = self.0.clone();
        longest.sort_by_key(|(from, to)| std::cmp::Reverse(to.saturating_sub(*from)));
        let shown = longest.iter().take(SHOWN).map(|(from, to)| {
            json!({ "at_s": from.as_secs_f64(), "ms": to.saturating_sub(*from).as_secs_f64() * 1e3 })
        });
        shown.collect()
    }
}

/// What was sent, from the first byte to the last answer.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    pub requests: u64,
    pub records: u64,
    /// Bytes of values.
    pub bytes: u64,
    pub took: Duration,
    /// From a request (closed loop: sent; fixed rate: due) to its answer.
    pub acknowledged: Latencies,
    /// From the moment a record was due to its arrival at a reader.
    pub end_to_end: Latencies,
    pub stalls: Stalls,
}

impl LoadReport {
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.records += other.records;
        self.bytes += other.bytes;
        self.took = self.took.max(other.took);
        self.acknowledged.add(&other.acknowledged);
        self.end_to_end.add(&other.end_to_end);
        self.stalls.add(&other.stalls);
    }

    pub fn mb_per_s(&self) -> f64 {
        per_second(self.bytes, self.took) / 1e6
    }

    pub fn requests_per_s(&self) -> f64 {
        per_second(self.requests, self.took)
    }

    pub fn to_json(&self) -> Value {
        let mut report = json!({
            "requests": self.requests, "records": self.records, "bytes": self.bytes, "seconds": self.took.as_secs_f64(),
            "mb_per_s": self.mb_per_s(), "requests_per_s": self.requests_per_s(),
            "records_per_s": per_second(self.records, self.took),
        });
        for (name, latencies) in [("acknowledged", &self.acknowledged), ("end_to_end", &self.end_to_end)] {
            if !latencies.is_empty() {
                report[name] = latencies.to_json();
            }
        }
        if self.stalls.count() > 0 {
            report["stalls"] = self.stalls.to_json();
        }
        report
    }
}

/// What was read and proved.
#[derive(Clone, Debug, Default)]
pub struct ReadReport {
    pub requests: u64,
    pub batches: u64,
    pub records: u64,
    /// Bytes of values.
    pub bytes: u64,
    pub took: Duration,
}

impl ReadReport {
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.batches += other.batches;
        self.records += other.records;
        self.bytes += other.bytes;
        self.took = self.took.max(other.took);
    }

    pub fn mb_per_s(&self) -> f64 {
        per_second(self.bytes, self.took) / 1e6
    }

    pub fn to_json(&self) -> Value {
        json!({
            "requests": self.requests, "batches": self.batches, "records": self.records, "bytes": self.bytes,
            "seconds": self.took.as_secs_f64(), "mb_per_s": self.mb_per_s(),
            "records_per_s": per_second(self.records, self.took),
        })
    }
}

fn per_second(count: u64, took: Duration) -> f64 {
    if took.is_zero() { 0.0 } else { count as f64 / took.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_are_late_together_are_one_stall() {
        let ms = Duration::from_millis;
        let mut stalls = Stalls::default();
        stalls.saw(ms(10), ms(12)); // in time
        stalls.saw(ms(20), ms(60));
        stalls.saw(ms(25), ms(61));
        stalls.saw(ms(100), ms(120));
        assert_eq!(stalls.count(), 2);
        assert!((stalls.longest_ms() - 41.0).abs() < 1e-9);
        assert_eq!(stalls.to_json()[1]["at_s"], 0.1);
    }
}
