//! Threads that wait for the disk, so that no core ever does.
//!
//! A core hands over the [`Flush`]es of several partitions at once and goes on; when the disk has answered, the partition's core is
//! told. While a flush of a partition is under way, what is appended to it waits for the next one: many appends, one flush, and no
//! timer.
//!
//! Flushes of different files run side by side: the device takes what comes together in one go, and a file system with a journal
//! commits it together. There is one thread at first; another is started when there is more to do than threads wait for, and
//! stays: it costs a few KiB and wakes for nobody.
//!
//! A flush that makes names, as that of a new partition, is several for the device. When many of them wait, one of the threads does them
//! together ([`Flush::run_together`]). What else lies dirty in the file system is stored with them: where that has taken long, each is done for
//! itself for a while.
//!
//! Bounds: [`THREADS`], [`MOST_TOGETHER`]; at most one flush of each partition is in the queue, because a partition starts its next one when
//! the last is done.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use dohle_env::{Clock, Tick, thread};
use dohle_log::{Flush, FlushError, Flushed};
use tracing::warn;

use crate::metrics::Counter;

/// How many flushes are under way at a time.
const THREADS: usize = 16;
/// How many that make names have to wait to be done together, and how many are at most.
const FEWEST_TOGETHER: usize = 32;
const MOST_TOGETHER: usize = 1024;
/// The files that the flush of one log may have open until it is over: two indexes, aborted transactions, a snapshot, epochs.
pub const FILES_OF_ONE: usize = 5;
/// What they may take together, for each of them: about what it would take alone beside others.
const EACH_TOGETHER: Duration = Duration::from_micros(500);
/// How long each is done for itself after it took longer.
const APART: Duration = Duration::from_secs(10);

/// A flush, and who is told of its end, on the thread that has waited for it.
pub struct Job {
    pub flush: Flush,
    pub done: Box<dyn FnOnce(Result<Flushed, FlushError>) + Send>,
}

enum Work {
    One(Job),
    Together(Vec<Job>),
}

/// The way to the flushing threads. They end when the last clone is dropped and the queue is empty.
#[derive(Clone)]
pub struct Flusher(Arc<Door>);

/// Shuts the queue when nobody can add to it any more.
struct Door(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    flushes: Counter,
    clock: Clock,
    most_together: usize,
}

#[derive(Default)]
struct Queue {
    /// Those of one file.
    jobs: VecDeque<Job>,
    /// Those that make names.
    makers: VecDeque<Job>,
    /// Whose turn it is.
    makers_next: bool,
    /// Whether a thread does some together.
    together: bool,
    /// Until when none are done together.
    apart_until: Tick,
    threads: usize,
    /// How many of the threads wait for a job.
    idle: usize,
    closed: bool,
}

impl Flusher {
    /// Starts the first of the threads. `files` is how many those that are done together may open.
    pub fn start(clock: Clock, files: usize) -> io::Result<Self> {
        let most_together = (files / FILES_OF_ONE).clamp(FEWEST_TOGETHER, MOST_TOGETHER);
        let queue = Mutex::new(Queue { threads: 1, ..Queue::default() });
        let shared = Arc::new(Shared {
            queue,
            more: Condvar::new(),
            flushes: Counter::default(),
            clock,
            most_together,
        });
        Shared::spawn(&shared, 0)?;
        Ok(Self(Arc::new(Door(shared))))
    }

    /// How many flushes there were so far.
    pub fn flushes(&self) -> u64 {
        self.0.0.flushes.get()
    }

    /// Flushes on other threads.
    pub fn flush(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let shared = &self.0.0;
        let mut queue = shared.queue();
        for job in jobs {
            if job.flush.makes_names() { queue.makers.push_back(job) } else { queue.jobs.push_back(job) }
        }
        let (waiting, idle, before) = (queue.jobs.len() + queue.makers.len(), queue.idle, queue.threads);
        queue.threads = (before + waiting.saturating_sub(idle)).min(THREADS).max(before);
        let after = queue.threads;
        drop(queue);
        (0..idle.min(waiting)).for_each(|_| shared.more.notify_one());
        for n in before..after {
            if let Err(problem) = Shared::spawn(shared, n) {
                // Those that run do the work, more slowly.
                warn!(%problem, "a flushing thread could not be started");
                shared.queue().threads -= 1;
            }
        }
    }
}

impl Shared {
    fn spawn(shared: &Arc<Self>, n: usize) -> io::Result<()> {
        let shared = shared.clone();
        thread::spawn_vital(&format!("dohle-flush-{n}"), move || shared.work()).map(|_| ())
    }

    /// What a flushing thread does until there will be no more.
    fn work(&self) {
        while let Some(work) = self.next() {
            match work {
                Work::One(Job { flush, done }) => {
                    let flushed = flush.run();
                    self.flushes.add(1);
                    done(flushed);
                }
                Work::Together(jobs) => self.do_together(jobs),
            }
        }
    }

    fn do_together(&self, jobs: Vec<Job>) {
        let begun = self.clock.tick();
        let (flushes, told): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.flush, job.done)).unzip();
        let allowed = EACH_TOGETHER * u32::try_from(flushes.len()).unwrap_or(u32::MAX);
        let flushed = Flush::run_together(flushes);
        self.flushes.add(flushed.len() as u64);
        let now = self.clock.tick();
        let mut queue = self.queue();
        queue.together = false;
        if now.since(begun) > allowed {
            queue.apart_until = now.plus(APART);
        }
        drop(queue);
        // Too few may have come meanwhile to be done together.
        self.more.notify_all();
        for (done, flushed) in told.into_iter().zip(flushed) {
            done(flushed);
        }
    }

    fn next(&self) -> Option<Work> {
        let mut queue = self.queue();
        loop {
            if let Some(work) = queue.pop(self) {
                return Some(work);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            queue = self.more.wait(queue).expect("nothing panics while the queue is locked");
            queue.idle -= 1;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while the queue is locked")
    }
}

impl Queue {
    fn pop(&mut self, shared: &Shared) -> Option<Work> {
        if self.makers.len() >= FEWEST_TOGETHER && shared.clock.tick() >= self.apart_until {
            if self.together {
                // They are the next ones.
                return self.jobs.pop_front().map(Work::One);
            }
            self.together = true;
            let most = self.makers.len().min(shared.most_together);
            return Some(Work::Together(self.makers.drain(..most).collect()));
        }
        self.makers_next = !self.makers_next;
        let (first, second) = match self.makers_next {
            true => (&mut self.makers, &mut self.jobs),
            false => (&mut self.jobs, &mut self.makers),
        };
        first.pop_front().or_else(|| second.pop_front()).map(Work::One)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.more.notify_all();
    }
}
