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
//! Bounds: [`THREADS`]; at most one flush of each partition is in the queue, because a partition starts its next one when the
//! last is done.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use dohle_env::thread;
use dohle_log::{Flush, FlushError, Flushed};
use tracing::warn;

use crate::metrics::Counter;

/// How many flushes are under way at a time.
const THREADS: usize = 16;

/// A flush, and who is told of its end, on the thread that has waited for it.
pub struct Job {
    pub flush: Flush,
    pub done: Box<dyn FnOnce(Result<Flushed, FlushError>) + Send>,
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
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    /// How many of the threads wait for a job.
    idle: usize,
    closed: bool,
}

impl Flusher {
    /// Starts the first of the threads.
    pub fn start() -> io::Result<Self> {
        let queue = Mutex::new(Queue { threads: 1, ..Queue::default() });
        let shared = Arc::new(Shared { queue, more: Condvar::new(), flushes: Counter::default() });
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
        queue.jobs.extend(jobs);
        let (waiting, idle, before) = (queue.jobs.len(), queue.idle, queue.threads);
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
        while let Some(Job { flush, done }) = self.next() {
            let flushed = flush.run();
            self.flushes.add(1);
            done(flushed);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
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

impl Drop for Door {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.more.notify_all();
    }
}
