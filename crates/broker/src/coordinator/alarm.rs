//! The one sleeping task of a host: it wakes when the first timer of any of its shards is due, and never otherwise.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use dohle_env::task;
use tokio::sync::Notify;

use super::Hosted;
use crate::core::Core;

/// No timer is set.
const NEVER: u64 = u64::MAX;

pub struct Alarm {
    /// When the task wakes, in monotonic milliseconds.
    at: Cell<u64>,
    earlier: Rc<Notify>,
    runs: Cell<bool>,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { at: Cell::new(NEVER), earlier: Rc::new(Notify::new()), runs: Cell::new(false) }
    }
}

impl Alarm {
    /// Sees to it that the shards are looked at when `due` has come. A timer that is moved to a later time or cancelled costs one
    /// look that finds nothing.
    pub fn set<C: Hosted>(&self, core: &Rc<Core>, due: u64) {
        if due >= self.at.get() {
            return;
        }
        self.at.set(due);
        if self.runs.replace(true) {
            self.earlier.notify_one();
        } else {
            task::spawn(run::<C>(core.clone()));
        }
    }
}

async fn run<C: Hosted>(core: Rc<Core>) {
    let alarm = &C::host(&core).alarm;
    while !C::host(&core).is_closed() {
        let (at, now) = (alarm.at.get(), core.env().clock.tick().millis());
        if at == NEVER {
            alarm.earlier.notified().await;
        } else if at > now {
            let left = Duration::from_millis(at - now);
            _ = task::timeout(left, alarm.earlier.notified()).await;
        } else {
            // Every shard that is looked at sets the alarm again.
            alarm.at.set(NEVER);
            C::host(&core).advance(&core);
        }
    }
}
