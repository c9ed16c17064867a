//! Partitions that nobody uses take no memory to speak of: what was not used for `dohle.partition.rest.ms` is closed whole, as at
//! shutdown. A [`Rested`] stays in its place, and whoever comes for the partition has it opened, which needs no check of its files.
//!
//! Nothing here wakes while no partition is open.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dohle_config::TopicSettings;
use dohle_env::task;
use dohle_log::Log;
use dohle_types::{ErrorCode, Offset, TimestampMs};
use dohle_wire::Text;
use tracing::{error, warn};

use crate::core::Core;
use crate::open_files::{HasFiles, LetGo};
use crate::partition::Partition;

/// How many logs of a core are closed at a time.
const CLOSED_TOGETHER: usize = 8;

/// What is kept of a partition that rests.
#[derive(Clone)]
pub struct Rested {
    pub name: Text,
    pub size: u64,
    pub start: Offset,
    pub end: Offset,
    pub segments: usize,
    /// When retention has to look at it; `None` for never.
    due: Option<TimestampMs>,
    settings: Arc<TopicSettings>,
}

impl Rested {
    fn of(name: Text, log: &Log) -> Self {
        Self {
            name,
            size: log.size_in_bytes(),
            start: log.start_offset(),
            end: log.end_offset(),
            segments: log.segments().len(),
            // What cannot be said now is found out when it is opened.
            due: log.retention_due().unwrap_or(Some(TimestampMs(0))),
            settings: log.settings().clone(),
        }
    }

    pub fn is_due(&self, now: TimestampMs) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// How long its files stay when its topic is deleted, whose settings are gone by then.
    pub fn file_delete_delay_ms(&self) -> i64 {
        self.settings.file_delete_delay_ms
    }

    /// Its topic has other settings now: retention looks at the next occasion.
    pub fn follow(&mut self, settings: &Arc<TopicSettings>) {
        if self.settings != *settings {
            self.settings = settings.clone();
            self.due = Some(TimestampMs(0));
        }
    }
}

/// Looks for partitions to rest from time to time, as long as one is open.
pub fn look_later(core: &Rc<Core>) {
    if core.looks_for_rest.replace(true) {
        return;
    }
    let core = core.clone();
    let after = u64::try_from(core.config().long("dohle.partition.rest.ms")).unwrap_or(60_000);
    task::spawn(async move {
        while !core.open_partitions().is_empty() {
            task::sleep(Duration::from_millis(after)).await;
            let unused: Vec<_> =
                core.open_partitions().into_iter().filter(|open| !open.uses.lately.replace(false)).collect();
            if rest(&core, unused).await {
                write_checkpoints(&core).await;
            }
            core.files.borrow_mut().forget_gone();
        }
        core.looks_for_rest.set(false);
    });
}

/// Closes those of the partitions that nobody waits for and that have nothing to do. Says whether there were any; then the checkpoints
/// are to be written.
pub async fn rest(core: &Rc<Core>, partitions: Vec<Rc<Partition>>) -> bool {
    let mut closing = Vec::new();
    let mut any = false;
    for partition in partitions {
        // What `dohle.durability` leaves to the page cache is stored before a log is closed.
        if partition.let_go(true) == LetGo::Unflushed {
            core.flush_soon(&partition);
            continue;
        }
        // One reference is the core's, one is ours: somebody else's would be in the middle of something.
        if Rc::strong_count(&partition) > 2 || !partition.may_rest() || core.is_draining() {
            continue;
        }
        let name = partition.name.clone();
        let Some(rested) = partition.with_log(|log| Rested::of(name, log)) else { continue };
        core.start_resting(&partition);
        closing.push(task::spawn(close(core.clone(), partition, rested)));
        any = true;
        if closing.len() == CLOSED_TOGETHER {
            for closing in closing.drain(..) {
                _ = closing.await;
            }
        }
    }
    for closing in closing {
        _ = closing.await;
    }
    any
}

/// Writes down where the logs stood that were closed.
pub async fn write_checkpoints(core: &Rc<Core>) {
    let dirs = core.shared().log_dirs.clone();
    if let Err(problem) = task::blocking(move || dirs.write_checkpoints()).await {
        // The next start verifies more than it had to; nothing is lost.
        warn!(%problem, "a checkpoint could not be written");
    }
}

async fn close(core: Rc<Core>, partition: Rc<Partition>, rested: Rested) {
    let log = partition.take_log(ErrorCode::NotLeaderOrFollower).expect("it was there a moment ago");
    let folder = log.dir().to_owned();
    let rested = match task::blocking(move || log.leave()).await {
        Ok(closed) => {
            core.shared().log_dirs.closed(&partition.name, partition.id, &folder, &closed);
            Some(rested)
        }
        Err(problem) => {
            error!(partition = %partition.id, %problem, "a log could not be closed; it is opened again from its files");
            None
        }
    };
    core.rested(partition.id, &partition.name, rested);
}
