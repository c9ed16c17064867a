//! Chores of a core: checkpoints a second after something was stored, removal of deleted folders, shutdown.
//!
//! Nothing here wakes while nothing happens.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dohle_env::task;
use dohle_log::names::FolderState;
use dohle_log::{Closed, Log, LogError};
use dohle_types::{ErrorCode, Offset, TopicPartition};
use tracing::{error, warn};

use crate::core::{Core, Shared};
use crate::flusher::FILES_OF_ONE;
use crate::log_dirs::Mark;
use crate::partition::Partition;
use crate::{recovering, retention};

/// How old a checkpoint may be while records are being stored: what a restart after a crash has to verify. As much again for each
/// [`PARTITIONS_PER_AGE`] partitions, whose lines are all written again when one has moved.
const CHECKPOINT_AGE: Duration = Duration::from_secs(1);
const PARTITIONS_PER_AGE: usize = 10_000;
/// In the end, how many logs of a core are closed together, and how many such closings are under way. Of few each is closed for itself, and
/// waits for nothing else that lies dirty in the file system. Each log has up to [`FILES_OF_ONE`] files more open meanwhile, of
/// which there is a bound too.
const APART: (usize, usize) = (1, 8);
const TOGETHER: (usize, usize) = (256, 2);
const FEWEST_TOGETHER: usize = 64;
/// Between two looks at a flush that is waited for.
pub const FLUSH_STEP: Duration = Duration::from_millis(1);

/// Starts the chores that go by the clock.
pub fn start(core: &Rc<Core>) {
    recovering::start(core);
    retention::start(core);
}

/// Has the checkpoints written in a while: something of `partition` has moved.
pub fn checkpoint_soon(core: &Rc<Core>, partition: &Rc<Partition>) {
    if partition.moved.replace(true) {
        return;
    }
    let mut moved = core.moved.borrow_mut();
    moved.push(partition.clone());
    if moved.len() > 1 {
        return;
    }
    let core = core.clone();
    task::spawn(async move {
        let ages = core.shared().log_dirs.held() / PARTITIONS_PER_AGE;
        task::sleep(CHECKPOINT_AGE * (1 + u32::try_from(ages).unwrap_or(u32::MAX - 1))).await;
        let moved = core.moved.take();
        moved.iter().for_each(|partition| partition.moved.set(false));
        let marks: Vec<Mark> = moved.iter().filter_map(|partition| partition.mark()).collect();
        let dirs = core.shared().log_dirs.clone();
        if let Err(problem) = task::blocking(move || dirs.checkpoint(&marks)).await {
            // The next start verifies more than it had to; nothing is lost.
            warn!(%problem, "a checkpoint could not be written");
        }
    });
}

/// Removes what an earlier process has left of deleted partitions.
pub fn remove_leftovers(core: &Rc<Core>) {
    let shared = core.shared().clone();
    task::spawn(async move {
        let (removing, _turn) = (shared.clone(), shared.background.removal().await);
        task::blocking(move || {
            let mut pieces = removing.background.begin();
            removing.log_dirs.remove_leftovers(&mut || pieces.rest());
        })
        .await;
    });
}

/// Removes a folder that was put aside, when it is its turn.
pub async fn remove_folder(shared: Arc<Shared>, folder: PathBuf) {
    let (removing, _turn) = (shared.clone(), shared.background.removal().await);
    task::blocking(move || {
        let mut pieces = removing.background.begin();
        removing.log_dirs.remove(&folder, &mut || pieces.rest());
    })
    .await;
}

/// Puts aside the folder of a partition that is gone, and removes it after `file.delete.delay.ms`.
pub fn put_aside(
    core: &Rc<Core>,
    open: Option<Rc<Partition>>,
    delay_ms: Option<i64>,
    topic: String,
    id: TopicPartition,
) {
    let core = core.clone();
    let log = open.and_then(|open| open.take_log(ErrorCode::UnknownTopicOrPartition));
    let delay = log.as_ref().map(|log| log.settings().file_delete_delay_ms).or(delay_ms);
    // One that was never opened: what the broker does with topics that say nothing.
    let delay = delay.unwrap_or_else(|| core.config().long("log.segment.delete.delay.ms"));
    drop(log);
    task::spawn(async move {
        let dirs = core.shared().log_dirs.clone();
        let put_aside = task::blocking(move || dirs.put_aside(&topic, id, FolderState::Deleted));
        match put_aside.await {
            Ok(Some(folder)) => {
                task::sleep(Duration::from_millis(u64::try_from(delay).unwrap_or(0))).await;
                remove_folder(core.shared().clone(), folder).await;
            }
            Ok(None) => {}
            Err(problem) => warn!(%problem, "a deleted partition's files could not be put aside"),
        }
    });
}

/// Closes every log of this core, which serves nobody any more. Says whether all were closed cleanly.
pub async fn close(core: &Rc<Core>) -> bool {
    core.shared().background.stop();
    core.shared().cleaner.stop();
    core.shared().moves.stop();
    while core.shared().moves.any_runs() {
        task::sleep(FLUSH_STEP).await;
    }
    core.open_partitions().iter().for_each(|open| _ = open.with_log(|log| log.cancel_compaction()));
    let open = core.open_partitions();
    let (together, at_a_time) = if open.len() < FEWEST_TOGETHER { APART } else { TOGETHER };
    let files = core.limits().descriptors.flushes() / core.shared().mailboxes.cores();
    let together = together.min(files / (at_a_time * FILES_OF_ONE)).max(1);
    let mut clean = true;
    let mut closing = VecDeque::new();
    let mut logs = Vec::new();
    for (n, partition) in open.iter().enumerate() {
        // What a flush has been started for comes back through the mailbox first.
        while partition.is_flushing() || partition.with_log(|log| log.is_compacting()) == Some(true) {
            task::sleep(FLUSH_STEP).await;
        }
        if let Some(log) = partition.take_log(ErrorCode::NotLeaderOrFollower) {
            logs.push((partition.clone(), log));
        }
        if logs.len() == together || n + 1 == open.len() {
            if closing.len() == at_a_time {
                clean &= closed(closing.pop_front()).await;
            }
            closing.push_back(task::spawn(close_logs(core.clone(), std::mem::take(&mut logs))));
        }
    }
    while !closing.is_empty() {
        clean &= closed(closing.pop_front()).await;
    }
    clean
}

async fn closed(closing: Option<task::JoinHandle<bool>>) -> bool {
    match closing {
        // One that has met a bug has not closed its log.
        Some(closing) => closing.await.unwrap_or(false),
        None => true,
    }
}

async fn close_logs(core: Rc<Core>, logs: Vec<(Rc<Partition>, Log)>) -> bool {
    let folders: Vec<_> = logs.iter().map(|(_, log)| log.dir().to_owned()).collect();
    let (partitions, logs): (Vec<_>, Vec<_>) = logs.into_iter().unzip();
    let ended = task::blocking(move || match logs.len() {
        1 => logs.into_iter().map(Log::close).collect(),
        _ => Log::close_together(logs),
    });
    let mut clean = true;
    for ((partition, folder), closed) in partitions.iter().zip(&folders).zip(ended.await) {
        clean &= note_closed(&core, partition, folder, closed);
    }
    clean
}

fn note_closed(core: &Core, partition: &Partition, folder: &Path, closed: Result<Closed, LogError>) -> bool {
    match closed {
        Ok(closed) => {
            assert!(closed.recovery_point >= Offset::ZERO, "a closed log is stored up to its end");
            core.shared().log_dirs.closed(&partition.name, partition.id, folder, &closed);
            true
        }
        // Its directory is marked by nobody, and recovered by whoever finds it again.
        Err(_) if core.shared().log_dirs.is_lost(folder) => true,
        Err(problem) => {
            error!(partition = %partition.id, %problem, "a log could not be closed cleanly");
            false
        }
    }
}
