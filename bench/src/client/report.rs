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
}

impl LoadReport {
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.records += other.records;
        self.bytes += other.bytes;
        self.took = self.took.max(other.took);
        self.acknowledged.add(&other.acknowledged);
        self.end_to_end.add(&other.end_to_end);
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
