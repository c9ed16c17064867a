//! The way between one client and the server: a connection that keeps its order, is slow at times, and breaks.
//!
//! What is sent twice is sent by a client that had no answer: only the last of the copies is answered to.

use crate::kernel::Chance;

/// Chances in a thousand, per message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub loss: u64,
    pub duplication: u64,
    pub slow: u64,
}

/// The longest that a slow message takes.
const SLOW_MS: u64 = 4_000;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// When what was sent last arrives: nothing overtakes it.
    busy_until_ms: u64,
    /// Cut off until then: all is lost.
    cut_until_ms: u64,
}

impl Line {
    pub fn cut(&mut self, until_ms: u64) {
        self.cut_until_ms = until_ms;
    }

    /// When a message sent now arrives, if it does.
    pub fn send(&mut self, now_ms: u64, weather: &Weather, chance: &mut Chance) -> Option<u64> {
        if now_ms < self.cut_until_ms || chance.happens(weather.loss) {
            return None;
        }
        let delay = if chance.happens(weather.slow) { chance.below(SLOW_MS) } else { chance.between(1, 15) };
        self.busy_until_ms = self.busy_until_ms.max(now_ms + delay);
        Some(self.busy_until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_order_and_loses_all_while_cut() {
        let (mut line, mut chance) = (Line::default(), Chance::new(3));
        let weather = Weather { slow: 500, ..Weather::default() };
        let arrivals: Vec<u64> = (0..100).filter_map(|now| line.send(now, &weather, &mut chance)).collect();
        assert!(arrivals.len() == 100 && arrivals.is_sorted());
        line.cut(1_000);
        assert_eq!(line.send(999, &weather, &mut chance), None);
        assert!(line.send(1_000, &weather, &mut chance).is_some());
    }
}
