//! Whether a log directory that is offline is well again, and what follows on the cores and at the controller when it is.
//!
//! ```text
//! offline ── dohle.log.dir.retry.ms ──> tried out ── well ──> taken into use as after a crash (LogDirs::take_back)
//!    ^                                      │                      │──> every core forgets what it had of it
//!    └── again after the same, or twice ────┘                      │──> controller: the same incarnation has more directories
//!        as long when it was lost again                            └──> every core recovers its share, in the background
//! ```
//! Kafka needs a restart for this. Bounds: one directory at a time; one that is lost again soon waits [`MOST_WAITS`] times as long at most.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use dohle_controller::Refused;
use dohle_env::{Tick, task};
use dohle_log::LogError;
use tracing::{info, warn};

use crate::core::Core;
use crate::lifecycle::RegistrationError;
use crate::log_dirs::Returned;
use crate::moves;
use crate::{recovering, upkeep};

/// A directory that is lost again and again is tried this much later than one that was never.
const MOST_WAITS: u32 = 32;
/// Between two tries to tell the controller.
const TELL_AGAIN: Duration = Duration::from_millis(500);

/// When which directory is tried.
pub struct Retries {
    /// `None` for never.
    interval: Option<Duration>,
    directories: BTreeMap<usize, Retry>,
}

struct Retry {
    waits: u32,
    state: State,
    /// Why it did not come back the last time.
    problem: Option<String>,
}

enum State {
    /// Not served; tried at this time.
    Offline(Option<Tick>),
    Served {
        since: Tick,
    },
}

impl Retries {
    pub fn new(interval: Option<Duration>) -> Self {
        Self { interval, directories: BTreeMap::new() }
    }

    /// A directory is offline. Says whether that is news.
    pub fn lost(&mut self, at: usize, now: Tick) -> bool {
        let waits = match self.directories.get(&at) {
            Some(Retry { state: State::Offline(_), .. }) => return false,
            // It is not worth much to have a directory for a moment, and its clients pay for it.
            Some(Retry { state: State::Served { since }, waits, .. })
                if now.since(*since) < self.after(*waits) =>
            {
                (waits * 2).min(MOST_WAITS)
            }
            _ => 1,
        };
        let due = self.interval.map(|_| now.plus(self.after(waits)));
        self.directories.insert(at, Retry { waits, state: State::Offline(due), problem: None });
        true
    }

    /// The directories that are to be tried now.
    pub fn due(&self, now: Tick) -> Vec<usize> {
        let is_due = |retry: &Retry| matches!(retry.state, State::Offline(Some(due)) if due <= now);
        self.directories.iter().filter(|(_, retry)| is_due(retry)).map(|(at, _)| *at).collect()
    }

    /// A directory was tried. Says whether there is something new to be said of it.
    pub fn tried(&mut self, at: usize, back: &Result<(), String>, now: Tick) -> bool {
        let after = self.directories.get(&at).map_or(Duration::ZERO, |retry| self.after(retry.waits));
        let Some(retry) = self.directories.get_mut(&at) else { return false };
        retry.state = match back {
            Ok(()) => State::Served { since: now },
            Err(_) => State::Offline(Some(now.plus(after))),
        };
        let problem = back.as_ref().err().cloned();
        let is_new = problem != retry.problem;
        retry.problem = problem;
        is_new
    }

    /// How long until the next one is to be tried; `None` when none is.
    pub fn next(&self, now: Tick) -> Option<Duration> {
        let due = self.directories.values().filter_map(|retry| match retry.state {
            State::Offline(due) => due,
            State::Served { .. } => None,
        });
        due.min().map(|due| due.since(now))
    }

    fn after(&self, waits: u32) -> Duration {
        self.interval.unwrap_or_default() * waits
    }
}

/// Has a directory served again if its disk is well.
pub async fn try_back(core: &Rc<Core>, at: usize) -> Result<(), String> {
    // The controller has to have heard that it was lost: only then does anybody follow that it is back.
    if core.config().roles().broker {
        core.shared().lifecycle.heartbeat(false).await.map_err(|refused| refused.to_string())?;
    }
    let dirs = core.shared().log_dirs.clone();
    let (node, controller) = (core.shared().node, core.controller().clone());
    let taken_back = task::blocking(move || {
        let image = controller.image();
        let returned = dirs.take_back(at, |topic, partition| {
            let topic = image.topics.by_name(topic).and_then(|topic| topic.partitions.get(partition));
            topic.is_some_and(|state| state.replicas.contains(&node))
        })?;
        dirs.settle_doubles(moves::named_in(&image, node));
        Ok::<_, LogError>(returned)
    });
    let returned = taken_back.await.map_err(|problem| problem.to_string())?;
    let path = core.shared().log_dirs.path(at).to_owned();
    info!(path = %path.display(), logs = returned.logs, "a log directory is back; its logs are recovered as after a crash");
    upkeep::remove_leftovers(core);
    core.tell_all(move |core| core.forget_lost(&path)).await;
    task::spawn(serve(core.clone(), at, returned));
    Ok(())
}

/// Tells the controller, until it has heard, and has the logs recovered then: before, nobody leads them.
async fn serve(core: Rc<Core>, at: usize, returned: Returned) {
    let dirs = &core.shared().log_dirs;
    // In one turn of the loop with what is told: that it was lost again comes from this core too.
    while let Some(id) = returned.id.filter(|_| dirs.is_served(at)) {
        match core.shared().lifecycle.returned(dirs.path(at).to_owned(), id, dirs.ids()).await {
            Ok(()) => break,
            Err(RegistrationError::Unanswered(Refused::Stopped)) => return,
            Err(problem) => {
                warn!(%problem, "the controller was not told that a log directory is back; it is tried again");
                task::sleep(TELL_AGAIN).await;
            }
        }
    }
    core.tell_all(move |core| recovering::start_in(core, at)).await;
    if core.config().roles().broker {
        moves::resume_in(core, at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn who_is_lost_again_at_once_waits_longer_and_who_has_served_is_as_new() {
        let start = dohle_env::Clock::manual(dohle_types::TimestampMs(0)).0.tick();
        let at = |after: u64| start.plus(seconds(after));
        let mut retries = Retries::new(Some(seconds(10)));
        let full = || Err("no space".to_owned());
        assert_eq!(retries.next(start), None);
        assert!(retries.lost(3, start) && !retries.lost(3, start), "told once");
        assert_eq!((retries.due(at(9)), retries.due(at(10))), (vec![], vec![3]));
        assert!(retries.tried(3, &full(), at(10)));
        assert_eq!((retries.due(at(19)), retries.next(at(15))), (vec![], Some(seconds(5))));
        assert!(!retries.tried(3, &full(), at(20)), "it was said");
        let mut now = 30;
        for waits in [2, 4, 8, 16, 32, 32] {
            retries.tried(3, &Ok(()), at(now));
            assert_eq!(retries.next(at(now)), None, "it is served");
            assert!(retries.lost(3, at(now + 1)));
            assert_eq!(retries.next(at(now + 1)), Some(seconds(10 * waits)));
            now += 1000;
        }
        retries.tried(3, &Ok(()), at(now));
        retries.lost(3, at(now + 400));
        assert_eq!(retries.next(at(now + 400)), Some(seconds(10)));
    }

    #[test]
    fn without_an_interval_nothing_is_tried() {
        let start = dohle_env::Clock::manual(dohle_types::TimestampMs(0)).0.tick();
        let mut retries = Retries::new(None);
        assert!(retries.lost(0, start));
        assert_eq!((retries.due(start.plus(seconds(1 << 20))), retries.next(start)), (vec![], None));
    }
}
