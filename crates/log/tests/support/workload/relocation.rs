//! The log moves to the other directory while the workload goes on.

use dohle_log::Closed;

use super::*;
use crate::support::moving::Moves;

impl Moves for Workload {
    fn settle(&mut self) -> Step {
        Ok(())
    }

    fn between_rounds(&mut self) -> Step {
        match self.chance(6) {
            0..=2 => self.append(),
            3 => self.maintain(),
            4 => self.truncate(),
            _ => self.delete_records(),
        }
    }

    fn cuts(&self) -> u64 {
        self.cuts
    }

    fn close_to_move(&mut self) -> Result<Closed, Box<dyn std::error::Error>> {
        let closed = self.log.take().expect("the log is open").close()?;
        self.acknowledged = closed.recovery_point;
        Ok(closed)
    }

    fn store_closed(&self, root: &str, closed: Closed) -> Step {
        self.store_in(root, closed.recovery_point, closed.log_start)
    }

    fn open_moved(&mut self) -> Step {
        self.open(true)
    }
}
