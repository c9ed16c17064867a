//! Partitions on their way from one log directory to another (AlterReplicaLogDirs).
//!
//! ```text
//! asked ──> waiting ──> copying (rounds) ──> assigned (the controller has taken it) ──> swapped
//!              └─────────────┴──────────────────┴──> cancelled by another request, failed, or left by a stop and gone on with
//! ```
//! `docs/paths/log-directories.md` tells the stations. [`carry`] is one move from its first byte to its last; this owns which there are,
//! which of them run, and who may change that.
//!
//! Bounds: one move a partition; `num.replica.alter.log.dirs.threads` of them run (as many as there are directories, where it is not
//! set), in the order of their names; what they copy is paced by `replica.alter.log.dirs.io.max.bytes.per.second`, all together.
//!
//! Invariant `OneMoveAPartition`: a copy is made, dropped and exchanged by one task at a time; requests wait for it to end.

pub mod carry;
mod swap;
mod throttle;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dohle_env::task;
use dohle_log::LogError;
use dohle_log::future::{CopyProgress, FutureLog};
use dohle_metadata::Image;
use dohle_types::{DirectoryId, ErrorCode, NodeId, PartitionIndex, TopicId, TopicPartition};
use dohle_wire::Text;
use tracing::{info, warn};

use self::throttle::Throttle;
use crate::core::{Core, Shared};
use crate::log_dirs::FutureFolder;

/// Between two looks whether a move that is not wanted any more has ended.
const STEP: Duration = Duration::from_millis(2);
const THREADS_KEY: &str = "num.replica.alter.log.dirs.threads";
const RATE_KEY: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// In the order in which they are carried, as Kafka takes them.
type Name = (Text, PartitionIndex);

/// All moves of a node.
#[derive(Default)]
pub struct Moves {
    state: Mutex<State>,
    throttle: Throttle,
    /// Held by whoever asks for a move or takes one back.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    moves: BTreeMap<Name, Arc<Move>>,
    running: BTreeSet<Name>,
    /// Those whose last move has failed.
    failed: BTreeSet<Name>,
    stopped: bool,
}

/// A partition that is to lie in another directory.
pub struct Move {
    pub id: TopicPartition,
    pub topic: Text,
    pub future: FutureFolder,
    pub progress: Arc<CopyProgress>,
    /// By how many offsets it was behind when last looked.
    lag: AtomicI64,
    cancelled: AtomicBool,
}

/// What is counted of moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoveNumbers {
    pub failed: usize,
    pub max_lag: i64,
}

impl Move {
    fn name(&self) -> Name {
        (self.topic.clone(), self.id.partition)
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl Moves {
    pub fn numbers(&self) -> MoveNumbers {
        let state = self.state();
        let lags = state.moves.values().map(|known| known.lag.load(Ordering::Relaxed));
        MoveNumbers { failed: state.failed.len(), max_lag: lags.max().unwrap_or(0) }
    }

    /// The move of a partition, if there is one.
    pub fn of(&self, topic: &Text, id: TopicPartition) -> Option<Arc<Move>> {
        self.state().moves.get(&(topic.clone(), id.partition)).filter(|known| known.id == id).cloned()
    }

    fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Starts nothing more, and has what runs end soon.
    pub fn stop(&self) {
        self.state().stopped = true;
    }

    pub fn any_runs(&self) -> bool {
        !self.state().running.is_empty()
    }

    /// Takes a move back and waits until nobody works on it. Its copy stays.
    async fn cancel(&self, name: &Name) {
        if let Some(known) = self.state().moves.remove(name) {
            known.cancelled.store(true, Ordering::Relaxed);
        }
        while self.state().running.contains(name) {
            task::sleep(STEP).await;
        }
    }

    /// A partition is gone, and with it what became of its move.
    pub fn forget(&self, topic: &str, partition: PartitionIndex) {
        self.state().failed.retain(|(name, at)| *at != partition || **name != *topic);
    }

    fn ended(&self, ended: &Arc<Move>, has_failed: bool) {
        let mut state = self.state();
        let name = ended.name();
        if state.moves.get(&name).is_some_and(|known| Arc::ptr_eq(known, ended)) {
            state.moves.remove(&name);
        }
        state.running.remove(&name);
        if has_failed {
            state.failed.insert(name);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while the state is locked")
    }
}

/// Has an open partition moved to a directory, which is served; or, when it lies there, stay where it is.
pub async fn ask(core: &Rc<Core>, topic: &Text, id: TopicPartition, target: usize) -> Result<(), ErrorCode> {
    let (moves, dirs) = (&core.shared().moves, &core.shared().log_dirs);
    let _asking = moves.asking.lock().await;
    let name = (topic.clone(), id.partition);
    if moves.of(topic, id).is_some_and(|known| known.future.directory == target) {
        return Ok(());
    }
    moves.cancel(&name).await;
    moves.state().failed.remove(&name);
    let from = dirs.directory_of_partition(topic, id.partition).ok_or(ErrorCode::ReplicaNotAvailable)?;
    if from == target {
        drop_known(core, topic, id).await;
        return Ok(());
    }
    // As in Kafka: what cannot be seen may hold a copy too.
    if dirs.any_offline() {
        return Err(ErrorCode::KafkaStorageError);
    }
    let progress = Arc::new(CopyProgress::default());
    let (dirs, text, made) = (dirs.clone(), topic.clone(), progress.clone());
    let future = task::blocking(move || {
        let future = dirs.future_folder(&text, id, target)?;
        FutureLog::open(&dirs.disk(target)?, &future.path, id.topic, made)?;
        Ok::<_, LogError>(future)
    });
    let future = future.await.map_err(|problem| {
        warn!(%topic, partition = %id.partition, %problem, "a partition cannot be moved");
        problem.code()
    })?;
    add(core, topic, id, future, progress);
    Ok(())
}

/// Goes on with the moves that the last process has left.
pub async fn resume(core: Rc<Core>) {
    resume_those(&core, |_| true).await;
}

/// Goes on with the moves from and to a directory that was lost and is back, as a start does.
pub async fn resume_in(core: Rc<Core>, directory: usize) {
    let dirs = core.shared().log_dirs.clone();
    resume_those(&core, |(topic, partition, future)| {
        future.directory == directory || dirs.directory_of_partition(topic, *partition) == Some(directory)
    })
    .await;
}

async fn resume_those(core: &Rc<Core>, is_wanted: impl Fn(&(String, PartitionIndex, FutureFolder)) -> bool) {
    let (dirs, moves) = (core.shared().log_dirs.clone(), &core.shared().moves);
    let _asking = moves.asking.lock().await;
    for (topic, partition, future) in dirs.future_folders().into_iter().filter(is_wanted) {
        let image = core.image();
        let node = core.shared().node;
        let known = image.topics.by_name(&topic).filter(|topic| {
            topic.partitions.get(partition).is_some_and(|state| state.replicas.contains(&node))
        });
        let Some(known) = known else {
            let dirs = dirs.clone();
            task::blocking(move || dirs.set_future_aside(&topic, partition, &future)).await;
            continue;
        };
        let id = TopicPartition { topic: known.id, partition };
        info!(%topic, %partition, folder = %future.path.display(), "going on with a move between log directories");
        let name = (known.name.clone(), partition);
        // One that runs has the directory as it was before.
        moves.cancel(&name).await;
        moves.state().failed.remove(&name);
        add(core, &known.name, id, future, Arc::default());
    }
}

/// What the metadata says of a partition of a node: its topic, and its directory.
pub fn named_in(
    image: &Image,
    node: NodeId,
) -> impl Fn(&str, PartitionIndex) -> Option<(TopicId, DirectoryId)> {
    move |topic, partition| {
        let topic = image.topics.by_name(topic)?;
        let named = topic.partitions.get(partition)?.directory_of(node);
        Some((topic.id, named.unwrap_or_default()))
    }
}

fn add(core: &Rc<Core>, topic: &Text, id: TopicPartition, future: FutureFolder, progress: Arc<CopyProgress>) {
    let (lag, cancelled) = (AtomicI64::new(0), AtomicBool::new(false));
    let wanted = Arc::new(Move { id, topic: topic.clone(), future, progress, lag, cancelled });
    core.shared().moves.state().moves.insert(wanted.name(), wanted);
    start_some(core);
}

/// Starts moves while fewer run than may.
fn start_some(core: &Rc<Core>) {
    let moves = &core.shared().moves;
    loop {
        let next = {
            let mut state = moves.state();
            if state.stopped || state.running.len() >= threads(core.shared()) {
                return;
            }
            let waiting = state.moves.iter().find(|(name, _)| !state.running.contains(*name));
            let Some((name, next)) = waiting.map(|(name, next)| (name.clone(), next.clone())) else { return };
            state.running.insert(name);
            next
        };
        core.tell(core.owner(next.id), move |owner| {
            let owner = owner.clone();
            task::spawn(async move {
                let outcome = carry::run(&owner, &next).await;
                let is_there = owner.image().topics.by_id(next.id.topic).is_some();
                owner.shared().moves.ended(&next, outcome.has_failed() && is_there);
                start_some(&owner);
            });
        });
    }
}

/// Removes the copy that is known of a partition which is not to move any more.
async fn drop_known(core: &Rc<Core>, topic: &Text, id: TopicPartition) {
    let (dirs, text) = (core.shared().log_dirs.clone(), topic.clone());
    let dropped = task::blocking(move || {
        let known = dirs
            .future_folders()
            .into_iter()
            .find(|(name, partition, _)| **name == *text && *partition == id.partition);
        known.map_or(Ok(()), |(_, partition, future)| dirs.drop_future(&text, partition, &future))
    });
    if let Err(problem) = dropped.await {
        warn!(%topic, partition = %id.partition, %problem, "a copy that is not wanted any more stays");
    }
}

fn threads(shared: &Shared) -> usize {
    let configured =
        shared.config.optional_long(THREADS_KEY).and_then(|threads| usize::try_from(threads).ok());
    configured.unwrap_or_else(|| shared.log_dirs.count()).max(1)
}

/// How many bytes a second may be copied, as the configuration is now.
fn rate(shared: &Shared) -> f64 {
    let (image, node) = (shared.controller.image(), shared.node.to_string());
    let set = [node.as_str(), ""].into_iter().find_map(|name| image.configs.broker(name).get(RATE_KEY));
    let set = set.and_then(|value| value.parse::<i64>().ok());
    // It can only be set while the cluster runs.
    set.unwrap_or(i64::MAX) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_that_failed_is_counted_until_its_partition_is_gone() {
        let moves = Moves::default();
        for partition in [0, 1] {
            moves.state().failed.insert(("orders".into(), PartitionIndex(partition)));
        }
        moves.forget("others", PartitionIndex(0));
        assert_eq!(moves.numbers().failed, 2);
        moves.forget("orders", PartitionIndex(0));
        assert_eq!(moves.numbers().failed, 1);
    }
}
