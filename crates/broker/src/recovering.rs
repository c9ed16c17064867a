//! After a crash: every log of a directory that was not closed cleanly is recovered, in the background, so that a stop can mark the
//! directory clean again. Whoever comes for a partition meanwhile has it recovered at once, and waits in its slot for that one only.
//!
//! Bound: `num.recovery.threads.per.data.dir` logs of a directory at a time, on all cores together. The number may change any time.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dohle_env::task;
use dohle_types::{ErrorCode, PartitionIndex, TopicPartition};
use tokio::sync::Notify;
use tracing::{error, info};

use crate::core::{Core, Shared};
use crate::listener::ACCEPTING_CORE;
use crate::resting;

const THREADS_KEY: &str = "num.recovery.threads.per.data.dir";
/// Between two lines of the log about a recovery that takes long.
const PROGRESS: Duration = Duration::from_secs(5);
/// Most recoveries are over by then.
const SOON: Duration = Duration::from_millis(200);

/// Lets so many recoveries of one directory run at a time.
#[derive(Debug, Default)]
pub struct Gate {
    running: Mutex<usize>,
    freed: Notify,
}

/// Leave to recover one log.
struct Pass(Arc<Gate>);

impl Gate {
    /// Waits until fewer than `most` recoveries run; `most` is asked anew each time.
    async fn enter(self: &Arc<Self>, most: impl Fn() -> usize) -> Pass {
        loop {
            let freed = self.freed.notified();
            {
                let mut running = self.running.lock().expect("nothing panics while it is locked");
                if *running < most().max(1) {
                    *running += 1;
                    return Pass(self.clone());
                }
            }
            freed.await;
        }
    }

    /// How many recoveries run now.
    pub fn running(&self) -> usize {
        *self.running.lock().expect("nothing panics while it is locked")
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        *self.0.running.lock().expect("nothing panics while it is locked") -= 1;
        self.0.freed.notify_waiters();
    }
}

/// Recovers this core's share of what a crash has left.
pub fn start(core: &Rc<Core>) {
    (0..core.shared().log_dirs.count()).for_each(|directory| start_in(core, directory));
}

/// As [`start`], in one of the directories.
pub fn start_in(core: &Rc<Core>, directory: usize) {
    let waiting = core.shared().log_dirs.to_recover(directory);
    if waiting.is_empty() {
        return;
    }
    if core.index == ACCEPTING_CORE {
        task::spawn(tell_progress(core.clone(), directory, waiting.len()));
    }
    task::spawn(recover_all(core.clone(), directory, waiting));
}

async fn recover_all(core: Rc<Core>, directory: usize, waiting: Vec<(Arc<str>, PartitionIndex)>) {
    let gate = core.shared().log_dirs.gate(directory);
    let mut running = Vec::new();
    for (name, partition) in waiting {
        let Some(topic) = core.image().topics.id_of(&name) else { continue };
        let id = TopicPartition { topic, partition };
        if core.owner(id) != core.index {
            continue;
        }
        let pass = gate.enter(|| threads(core.shared())).await;
        if core.is_draining() {
            return;
        }
        // One that somebody came for meanwhile needs no more.
        if core.shared().log_dirs.is_opened(&name, partition) {
            continue;
        }
        let core = core.clone();
        running.retain(|task: &task::JoinHandle<()>| !task.is_finished());
        running.push(task::spawn(async move {
            let _pass = pass;
            match core.partition(id).await {
                // Opened for this only: it goes back to rest, so that many never have many files open.
                Ok(opened) => _ = resting::rest(&core, vec![opened]).await,
                // The broker is about to stop: its leaderships have been taken from it. The next start goes on.
                Err(ErrorCode::NotLeaderOrFollower) => {}
                Err(code) => error!(topic = %name, %partition, %code, "a log could not be recovered"),
            }
        }));
    }
    for task in running {
        _ = task.await;
    }
    resting::write_checkpoints(&core).await;
}

/// What the configuration says now.
pub fn threads(shared: &Shared) -> usize {
    let (image, node) = (shared.controller.image(), shared.node.to_string());
    let set = [node.as_str(), ""].into_iter().find_map(|name| image.configs.broker(name).get(THREADS_KEY));
    let set = set.and_then(|value| value.parse().ok());
    set.unwrap_or_else(|| usize::try_from(shared.config.int(THREADS_KEY)).unwrap_or(1))
}

async fn tell_progress(core: Rc<Core>, directory: usize, logs: usize) {
    let began = core.env().clock.tick();
    let dirs = core.shared().log_dirs.clone();
    let path = dirs.path(directory).display().to_string();
    info!(path, logs, "recovering the logs of a directory that was not closed cleanly");
    let (mut told, mut after) = (logs, SOON);
    loop {
        task::sleep(after).await;
        let remaining = dirs.remaining(directory);
        if remaining == 0 {
            let took = core.env().clock.tick().since(began);
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            info!(path, logs, took_ms, "recovered the logs of a directory");
            return;
        }
        if remaining == told && dirs.gate(directory).running() == 0 {
            // What is left cannot be opened, as was said of each.
            return;
        }
        if after == PROGRESS {
            info!(path, remaining, logs, "recovering logs");
        }
        (told, after) = (remaining, PROGRESS);
    }
}
