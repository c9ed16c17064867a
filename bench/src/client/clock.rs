//! Time and pauses of the client: a tool at the machine's edge, outside the platform's one door.

#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Instant);

impl Moment {
    pub fn now() -> Self {
        Self(Instant::now())
    }

    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// How long after `earlier` this is; zero when it is before.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// Sleeps until this moment. Returns at once when it has passed.
    pub fn wait(self) {
        let left = self.since(Self::now());
        if !left.is_zero() {
            pause(left);
        }
    }
}

pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// The wall clock, for the timestamps that brokers check.
pub fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
