//! Wall-clock time for what is stored, monotonic time for what is measured.

#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dohle_types::TimestampMs;

/// A point in monotonic time, in nanoseconds since the process (or the simulation) began. Never stored, never sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tick(pub u64);

impl Tick {
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub fn millis(self) -> u64 {
        self.0 / 1_000_000
    }
}

/// Tells the time. Clones of one clock agree.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Real { start: Instant },
    Manual(Arc<ManualTimes>),
}

struct ManualTimes {
    wall_ms: AtomicI64,
    monotonic_ns: AtomicU64,
}

impl Clock {
    pub fn real() -> Self {
        Self(Source::Real { start: Instant::now() })
    }

    /// A clock that stands still until its [`ManualClock`] moves it.
    pub fn manual(wall: TimestampMs) -> (Self, ManualClock) {
        let times =
            Arc::new(ManualTimes { wall_ms: AtomicI64::new(wall.0), monotonic_ns: AtomicU64::new(0) });
        (Self(Source::Manual(times.clone())), ManualClock(times))
    }

    /// The wall clock: may jump, also backwards.
    pub fn now(&self) -> TimestampMs {
        match &self.0 {
            Source::Real { .. } => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Manual(times) => TimestampMs(times.wall_ms.load(Ordering::Relaxed)),
        }
    }

    /// Monotonic time, for deadlines and durations.
    pub fn tick(&self) -> Tick {
        match &self.0 {
            Source::Real { start } => Tick(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            Source::Manual(times) => Tick(times.monotonic_ns.load(Ordering::Relaxed)),
        }
    }
}

/// The hand that moves a manual [`Clock`].
#[derive(Clone)]
pub struct ManualClock(Arc<ManualTimes>);

impl ManualClock {
    /// Lets time pass on both faces of the clock.
    pub fn advance(&self, by: Duration) {
        self.0.wall_ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.0.monotonic_ns.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Sets the wall clock, as an operator or NTP would: forwards or backwards.
    pub fn set_wall(&self, wall: TimestampMs) {
        self.0.wall_ms.store(wall.0, Ordering::Relaxed);
    }
}
