//! What a core counts of itself. Each core adds to counters of its own; whoever shows them sums up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one core adds to and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one core. Clones count into the same numbers.
#[derive(Clone, Debug, Default)]
pub struct CoreMetrics(Arc<Counters>);

#[derive(Debug, Default)]
pub struct Counters {
    pub records_in: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub produce_requests: Counter,
    pub fetch_requests: Counter,
    pub requests: Counter,
    pub connections_opened: Counter,
    pub connections_closed: Counter,
}

impl std::ops::Deref for CoreMetrics {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0
    }
}

impl CoreMetrics {
    pub fn appended(&self, records: u64, bytes: u64) {
        self.records_in.add(records);
        self.bytes_in.add(bytes);
    }

    pub fn fetched(&self, bytes: usize) {
        self.fetch_requests.add(1);
        self.bytes_out.add(bytes as u64);
    }
}
