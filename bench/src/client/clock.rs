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

/// The day in UTC, as in 2026-11-28.
pub fn today() -> String {
    day(unix_millis().div_euclid(86_400_000))
}

/// Days since 1970-01-01 as a date of the Gregorian calendar, whose years are counted from March here so that leap days come last.
fn day(since: i64) -> String {
    let days = since + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_names() {
        assert_eq!(
            [day(0), day(59), day(19_782), day(20_785)],
            ["1970-01-01", "1970-03-01", "2024-02-29", "2026-11-28"]
        );
    }
}
