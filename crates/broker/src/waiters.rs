//! Parked fetches: woken by the partitions they wait for, never polled.
//!
//! A [`Watcher`] belongs to one waiting request and may watch many partitions on several cores. Each partition tells it how many bytes
//! have become readable; the request wakes once they add up to what it waits for, or when a partition changes hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;

pub struct Watcher {
    /// How many readable bytes the request still waits for.
    missing: AtomicI64,
    /// The request has been answered; partitions may forget the watcher.
    done: AtomicBool,
    wake: Notify,
}

impl Watcher {
    pub fn new(missing: i64) -> Arc<Self> {
        Arc::new(Self { missing: AtomicI64::new(missing), done: AtomicBool::new(false), wake: Notify::new() })
    }

    /// Waits until enough is readable. A wake-up before the wait is not lost.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The request waits no more.
    pub fn done(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// The request has found this many bytes itself.
    pub fn found(&self, bytes: i64) {
        self.readable(bytes);
    }

    fn readable(&self, bytes: i64) {
        if self.missing.fetch_sub(bytes, Ordering::Relaxed) <= bytes {
            self.wake.notify_one();
        }
    }
}

/// The watchers of one partition.
#[derive(Default)]
pub struct Watchers(Vec<Arc<Watcher>>);

impl Watchers {
    pub fn add(&mut self, watcher: Arc<Watcher>) {
        // A quiet partition hears of the end of those who watch it here: the list never holds more than twice the live ones.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|watcher| !watcher.done.load(Ordering::Relaxed));
        }
        self.0.push(watcher);
    }

    /// Whether a request waits here.
    pub fn any(&self) -> bool {
        self.0.iter().any(|watcher| !watcher.done.load(Ordering::Relaxed))
    }

    /// Tells all that `bytes` more can be read.
    pub fn readable(&mut self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.0.retain(|watcher| {
            let waits = !watcher.done.load(Ordering::Relaxed);
            if waits {
                watcher.readable(bytes);
            }
            waits
        });
    }

    /// Has everybody look again.
    pub fn wake_all(&mut self) {
        for watcher in self.0.drain(..) {
            watcher.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn is_woken(watcher: &Watcher) -> bool {
        pin!(watcher.woken()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn bytes_of_all_partitions_add_up() {
        let (mut a, mut b) = (Watchers::default(), Watchers::default());
        let watcher = Watcher::new(100);
        a.add(watcher.clone());
        b.add(watcher.clone());
        a.readable(60);
        assert!(!is_woken(&watcher));
        b.readable(40);
        assert!(is_woken(&watcher));
    }

    #[test]
    fn the_answered_are_forgotten() {
        let mut watchers = Watchers::default();
        for _ in 0..1000 {
            let watcher = Watcher::new(1);
            watchers.add(watcher.clone());
            watcher.done();
        }
        assert!(watchers.0.len() <= 8, "{}", watchers.0.len());
    }
}
