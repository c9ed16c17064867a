//! What a host counts of its shards, and what it tells of them when somebody reads the metrics.
//!
//! Times are those of Kafka's coordinators as far as there is such a thing here: a request's way to its shard ("event queue"), the
//! decision ("processing"), a reply's wait for its records ("purgatory"), records that wait for an append ("linger"), and an append
//! until it is stored ("flush"). Cores do other things too, so there is no share of time that they were idle.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use dohle_coordinator::groups::{Census, GroupCoordinator, Tally};
use dohle_env::Tick;
use dohle_observe::Latencies;
use tokio::sync::oneshot;

use super::Hosted;
use crate::core::{Core, Shared};

/// For how long a load is told of.
const LOADS_FOR: Duration = Duration::from_secs(30);
/// The most loads that are told of.
const LOADS_MOST: usize = 1000;

/// Times of one kind; where there are none they cost a word.
#[derive(Default)]
pub struct Times(OnceCell<Latencies>);

impl Times {
    #[inline]
    pub fn record(&self, took: Duration) {
        self.0.get_or_init(Latencies::default).record(took);
    }
}

/// What a host counts while it works.
#[derive(Default)]
pub struct Runtime {
    pub queue: Times,
    pub processing: Times,
    pub purgatory: Times,
    pub linger: Times,
    pub flush: Times,
    /// Work that is done on other threads: its way there, and the work.
    pub background_queue: Times,
    pub background: Times,
    appends: Cell<u64>,
    loads: RefCell<VecDeque<(Tick, Duration)>>,
}

impl Runtime {
    /// A batch of records goes to the log.
    pub fn appended(&self) {
        self.appends.set(self.appends.get() + 1);
    }

    pub fn loaded(&self, now: Tick, took: Duration) {
        let mut loads = self.loads.borrow_mut();
        if loads.len() == LOADS_MOST {
            loads.pop_front();
        }
        loads.push_back((now, took));
    }

    fn loads(&self, now: Tick) -> Vec<Duration> {
        self.loads.borrow_mut().retain(|(at, _)| now.since(*at) <= LOADS_FOR);
        self.loads.borrow().iter().map(|(_, took)| *took).collect()
    }
}

/// Shards by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shards {
    pub loading: u64,
    pub active: u64,
    pub failed: u64,
    /// Requests that wait for a shard to be loaded.
    pub waiting: u64,
}

/// What the coordinators of groups of a node tell.
#[derive(Default)]
pub struct GroupNumbers {
    pub census: Census,
    pub tally: Tally,
    pub shards: Shards,
    /// How long the shards took that were loaded lately.
    pub loads: Vec<Duration>,
    pub queue: Vec<Latencies>,
    pub processing: Vec<Latencies>,
    pub purgatory: Vec<Latencies>,
    pub linger: Vec<Latencies>,
    pub flush: Vec<Latencies>,
    pub background_queue: Vec<Latencies>,
    pub background: Vec<Latencies>,
    /// Batches of records that were appended.
    pub appends: u64,
}

/// Asks every core.
pub async fn of_groups(shared: &Shared) -> GroupNumbers {
    let ask = |core| {
        let (sender, answer) = oneshot::channel();
        shared.mailboxes.tell(core, |core| _ = sender.send(of_core(core)));
        answer
    };
    let answers: Vec<_> = (0..shared.mailboxes.cores()).map(ask).collect();
    let mut numbers = GroupNumbers::default();
    for answer in answers {
        // A core that has ended coordinates nothing.
        if let Ok(core) = answer.await {
            numbers.add(core);
        }
    }
    numbers
}

fn of_core(core: &Core) -> GroupNumbers {
    let host = GroupCoordinator::host(core);
    let mut numbers = GroupNumbers { tally: host.tally(), shards: host.shards(), ..Default::default() };
    host.each(|groups| numbers.census += groups.census());
    let runtime = &host.runtime;
    let times = |times: &Times| times.0.get().cloned().into_iter().collect();
    numbers.loads = runtime.loads(core.env().clock.tick());
    numbers.queue = times(&runtime.queue);
    numbers.processing = times(&runtime.processing);
    numbers.purgatory = times(&runtime.purgatory);
    numbers.linger = times(&runtime.linger);
    numbers.flush = times(&runtime.flush);
    numbers.background_queue = times(&runtime.background_queue);
    numbers.background = times(&runtime.background);
    numbers.appends = runtime.appends.get();
    numbers
}

impl GroupNumbers {
    fn add(&mut self, other: Self) {
        self.census += other.census;
        self.tally += other.tally;
        self.shards.loading += other.shards.loading;
        self.shards.active += other.shards.active;
        self.shards.failed += other.shards.failed;
        self.shards.waiting += other.shards.waiting;
        self.loads.extend(other.loads);
        self.queue.extend(other.queue);
        self.processing.extend(other.processing);
        self.purgatory.extend(other.purgatory);
        self.linger.extend(other.linger);
        self.flush.extend(other.flush);
        self.background_queue.extend(other.background_queue);
        self.background.extend(other.background);
        self.appends += other.appends;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_told_of_for_half_a_minute() {
        let runtime = Runtime::default();
        let at = |seconds: u64| Tick(seconds * 1_000_000_000);
        runtime.loaded(at(1), Duration::from_millis(5));
        runtime.loaded(at(20), Duration::from_millis(7));
        assert_eq!(runtime.loads(at(31)), [Duration::from_millis(5), Duration::from_millis(7)]);
        assert_eq!(runtime.loads(at(32)), [Duration::from_millis(7)]);
        (0..=LOADS_MOST as u64).for_each(|ms| runtime.loaded(at(40), Duration::from_millis(ms)));
        assert_eq!(runtime.loads(at(40)).len(), LOADS_MOST);
    }
}
