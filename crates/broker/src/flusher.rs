//! Threads that wait for the disk, so that no core ever does.
//!
//! A core hands over a [`Flush`] of one partition and goes on; when the disk has answered, the partition's core is told. While a flush
//! of a partition is under way, what is appended to it waits for the next one: many appends, one flush, and no timer.
//!
//! Bound: at most one flush of each partition is in the queue, because a partition starts its next one when the last is done.

use std::io;
use std::sync::{Arc, Mutex, mpsc};

use dohle_env::thread;
use dohle_log::{Flush, FlushError, Flushed};

use crate::metrics::Counter;

/// How many flushes of different files are under way at a time. The file system's journal commits what is under way together, so
/// that four take little longer than one.
const THREADS: usize = 4;

struct Job {
    flush: Flush,
    done: Box<dyn FnOnce(Result<Flushed, FlushError>) + Send>,
}

/// The way to the flushing threads. They end when the last clone is dropped and the queue is empty.
#[derive(Clone)]
pub struct Flusher {
    jobs: mpsc::Sender<Job>,
    flushes: Arc<Counter>,
}

impl Flusher {
    pub fn start() -> io::Result<Self> {
        let (jobs, receiver) = mpsc::channel::<Job>();
        let flushes = Arc::new(Counter::default());
        let receiver = Arc::new(Mutex::new(receiver));
        for n in 0..THREADS {
            let (receiver, flushes) = (receiver.clone(), flushes.clone());
            thread::spawn_vital(&format!("dohle-flush-{n}"), move || {
                loop {
                    // The lock is held while waiting: one thread waits, the others flush or stand behind it.
                    let job = receiver.lock().expect("nothing panics while waiting for a job").recv();
                    let Ok(job) = job else { return };
                    let flushed = job.flush.run();
                    flushes.add(1);
                    (job.done)(flushed);
                }
            })?;
        }
        Ok(Self { jobs, flushes })
    }

    /// How many flushes there were so far.
    pub fn flushes(&self) -> u64 {
        self.flushes.get()
    }

    /// Flushes on another thread, then calls `done` there.
    pub fn flush(&self, flush: Flush, done: impl FnOnce(Result<Flushed, FlushError>) + Send + 'static) {
        let job = Job { flush, done: Box::new(done) };
        self.jobs.send(job).expect("the flushing threads live as long as this sender");
    }
}
