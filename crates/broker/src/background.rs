//! Work for which no producer waits leaves the device to those who do: while somebody produces, whoever works in the background
//! rests after each piece as long as the piece has taken, and fewer cold reads run side by side.
//!
//! Moves between log directories, the removal of files and cold reads are paced so, each for itself. A piece has to be small: an append's
//! flush waits behind it. Where nobody produces, nothing rests.
//!
//! Bound: folders are removed one at a time ([`Background::removal`]), so that threads which rest are few.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dohle_env::{Clock, Tick, thread};
use dohle_log::Manner;
use tokio::sync::{Mutex, MutexGuard};

use crate::metrics::CoreMetrics;

/// For how long after an append somebody counts as producing.
const PRODUCES: Duration = Duration::from_millis(100);
/// Work that took less is not worth a rest; it is added to what follows.
const SHORTEST_REST: Duration = Duration::from_micros(200);
/// A device that does not answer for seconds is no reason to rest for seconds.
const LONGEST_REST: Duration = Duration::from_millis(100);

/// Whether somebody produces. Clones look at the same.
#[derive(Clone)]
pub struct Background(Arc<Seen>);

struct Seen {
    clock: Clock,
    cores: Vec<CoreMetrics>,
    /// How many records there were when last looked.
    records: AtomicU64,
    /// When it was found that there were more than before.
    more_at: AtomicU64,
    stopped: AtomicBool,
    removal: Mutex<()>,
}

impl Background {
    pub fn new(clock: Clock, cores: Vec<CoreMetrics>) -> Self {
        let (records, more_at) = (AtomicU64::new(0), AtomicU64::new(0));
        let (stopped, removal) = (AtomicBool::new(false), Mutex::new(()));
        Self(Arc::new(Seen { clock, cores, records, more_at, stopped, removal }))
    }

    /// The node stops: what is not done is left.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether something was appended a moment ago, or since this was last asked.
    pub fn steps_aside(&self) -> bool {
        let Seen { clock, cores, records, more_at, .. } = self.0.as_ref();
        let now = clock.tick();
        let appended = cores.iter().map(|core| core.records_in.get()).sum();
        if records.swap(appended, Ordering::Relaxed) != appended {
            more_at.store(now.0, Ordering::Relaxed);
            return true;
        }
        let last = more_at.load(Ordering::Relaxed);
        last > 0 && now.since(Tick(last)) < PRODUCES
    }

    /// How long to rest after work that began then.
    pub fn rest_since(&self, began: Tick) -> Duration {
        let took = self.0.clock.tick().since(began);
        if took >= SHORTEST_REST && self.steps_aside() { took.min(LONGEST_REST) } else { Duration::ZERO }
    }

    pub fn now(&self) -> Tick {
        self.0.clock.tick()
    }

    /// The turn to remove a folder.
    pub async fn removal(&self) -> MutexGuard<'_, ()> {
        self.0.removal.lock().await
    }

    /// Work on a thread of its own that begins now.
    pub fn begin(&self) -> Pieces {
        Pieces { background: self.clone(), began: self.now() }
    }
}

/// Work on a thread that may wait, piece by piece.
pub struct Pieces {
    background: Background,
    began: Tick,
}

impl Pieces {
    /// How long to rest for what was done last.
    pub fn rest_due(&self) -> Duration {
        self.background.rest_since(self.began)
    }

    /// How to read the next piece from the device, after the rest that is due.
    pub fn manner(&mut self) -> Manner {
        _ = self.rest();
        if self.background.steps_aside() { Manner::Modest } else { Manner::Greedy }
    }

    /// A piece is done: rests, if somebody is to be left alone. Whether to go on.
    pub fn rest(&mut self) -> bool {
        let rest = self.rest_due();
        if rest > Duration::ZERO {
            thread::sleep(rest);
        }
        if rest > Duration::ZERO || self.background.now().since(self.began) >= SHORTEST_REST {
            self.began = self.background.now();
        }
        !self.background.0.stopped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use dohle_types::TimestampMs;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_works_rests_as_long_as_it_worked_while_somebody_produces() {
        let (clock, hands) = Clock::manual(TimestampMs(0));
        let core = CoreMetrics::default();
        let background = Background::new(clock, vec![CoreMetrics::default(), core.clone()]);
        hands.advance(MS);
        let began = background.now();
        hands.advance(7 * MS);
        assert_eq!(background.rest_since(began), Duration::ZERO, "nobody produces");
        core.records_in.add(1);
        assert_eq!(background.rest_since(began), 7 * MS);
        hands.advance(92 * MS);
        assert_eq!(background.rest_since(began), 99 * MS, "somebody has, a moment ago");
        core.records_in.add(1);
        hands.advance(8 * MS);
        assert_eq!(background.rest_since(began), LONGEST_REST);
        hands.advance(PRODUCES);
        assert_eq!(background.rest_since(began), Duration::ZERO, "not any more");
        core.records_in.add(1);
        assert_eq!(background.rest_since(background.now()), Duration::ZERO, "nothing was done");
    }
}
