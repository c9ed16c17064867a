//! Spreads the bytes that moves copy over time: `replica.alter.log.dirs.io.max.bytes.per.second` for all of them together.

use std::sync::Mutex;

use dohle_env::Tick;

/// What was copied and not yet paid for with time.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Debt>);

#[derive(Debug, Default)]
struct Debt {
    bytes: f64,
    since: Tick,
}

impl Throttle {
    /// Lets so many bytes be copied, unless earlier ones are not paid for yet at the rate of the time since this was last asked.
    pub fn admit(&self, bytes: u64, bytes_per_second: f64, now: Tick) -> bool {
        let mut debt = self.debt();
        let passed = now.since(debt.since).as_secs_f64();
        debt.since = now;
        debt.bytes = (debt.bytes - passed * bytes_per_second).max(0.0);
        let is_free = debt.bytes <= 0.0;
        debt.bytes += if is_free { bytes as f64 } else { 0.0 };
        is_free
    }

    fn debt(&self) -> std::sync::MutexGuard<'_, Debt> {
        self.0.lock().expect("nothing panics while the debt is locked")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dohle_env::Clock;
    use dohle_types::TimestampMs;

    use super::*;

    #[test]
    fn bytes_are_paid_for_with_time_at_the_rate_of_that_time() {
        let (clock, hands) = Clock::manual(TimestampMs(0));
        let throttle = Throttle::default();
        assert!(throttle.admit(1000, 100.0, clock.tick()));
        assert!(!throttle.admit(1, 100.0, clock.tick()));
        hands.advance(Duration::from_secs(9));
        assert!(!throttle.admit(1, 100.0, clock.tick()));
        hands.advance(Duration::from_millis(1001));
        assert!(throttle.admit(1000, 100.0, clock.tick()));
        // A new rate counts at once.
        hands.advance(Duration::from_secs(1));
        assert!(throttle.admit(1000, 1e9, clock.tick()));
        // Time in which nothing was copied is not saved up.
        hands.advance(Duration::from_secs(100));
        assert!(throttle.admit(1000, 100.0, clock.tick()));
        assert!(!throttle.admit(1, 100.0, clock.tick()));
        // Nothing goes by at a rate of nothing.
        hands.advance(Duration::from_secs(1000));
        assert!(!throttle.admit(1, 0.0, clock.tick()));
    }
}
