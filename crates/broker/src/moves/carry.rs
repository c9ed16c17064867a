//! One move: copies a log while it is in use until the copy is close behind, has the controller know of the new directory, and exchanges
//! them. A task of the core that owns the partition; what waits for a disk runs on other threads.
//!
//! What becomes of the copy: it stays when the node stops and when another request has cancelled the move (whoever did that decides), and
//! when the log's directory is lost, as in Kafka; it goes when the partition does, and when it cannot be completed.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dohle_env::{task, thread};
use dohle_log::LogError;
use dohle_log::future::{CopyError, CopyPlan, FutureLog};
use dohle_types::DirectoryId;
use tracing::{info, warn};

use super::swap::{self, Swap};
use super::{Move, rate};
use crate::cleaner;
use crate::core::{Core, Shared};
use crate::partition::Partition;

/// How far a copy may be behind when the exchange is tried: what appends then wait for. More, when they are too fast for that.
const CLOSE_BYTES: u64 = 1 << 20;
const MOST_DOUBLINGS: u32 = 5;
/// So many rounds are tried with one bound.
const ROUNDS: u32 = 8;
/// The rest of a throttled copy before it looks whether it is still wanted, and at what rate.
const REST: Duration = Duration::from_millis(20);
/// Before something is tried again that was in the way.
const RETRY: Duration = Duration::from_millis(5);
/// Between two times that the controller is told.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// How a move has ended.
pub enum Outcome {
    Moved,
    /// It was cancelled, or the node stops.
    Left,
    /// The partition is gone, or lies there already.
    NotNeeded,
    Failed,
}

impl Outcome {
    pub fn has_failed(&self) -> bool {
        matches!(self, Self::Failed)
    }
}

pub async fn run(core: &Rc<Core>, wanted: &Arc<Move>) -> Outcome {
    let Ok(partition) = core.partition(wanted.id).await else {
        let image = core.image();
        let is_there = image.topics.by_id(wanted.id.topic).is_some();
        // One whose directory is offline keeps its copy for better days.
        return if is_there { Outcome::Failed } else { drop_copy(core, wanted).await };
    };
    partition.moving.set(true);
    let began = core.env().clock.tick();
    let carried = carry(core, &partition, wanted).await;
    partition.moving.set(false);
    cleaner::note(core, &partition);
    let took_ms = u64::try_from(core.env().clock.tick().since(began).as_millis()).unwrap_or(u64::MAX);
    let (topic, index) = (&wanted.topic, wanted.id.partition);
    match carried {
        Ok(Carried::There) => {
            let to = core.shared().log_dirs.path(wanted.future.directory).display().to_string();
            let bytes = wanted.progress.bytes();
            info!(%topic, partition = %index, to, bytes, took_ms, "a partition has moved to another log directory");
            Outcome::Moved
        }
        Ok(Carried::NotNeeded) => drop_copy(core, wanted).await,
        Err(CopyError::Cancelled) => Outcome::Left,
        Err(CopyError::Source(problem)) => {
            warn!(%topic, partition = %index, %problem, "a partition cannot be read to be moved");
            let is_lost = partition.with_log(|log| log.failure().is_some()) != Some(false);
            if !is_lost {
                drop_copy(core, wanted).await;
            }
            Outcome::Failed
        }
        Err(CopyError::Target(problem)) => {
            warn!(%topic, partition = %index, %problem, "a partition cannot be moved; it is served where it is");
            drop_copy(core, wanted).await;
            Outcome::Failed
        }
    }
}

enum Carried {
    There,
    NotNeeded,
}

async fn carry(core: &Rc<Core>, partition: &Rc<Partition>, wanted: &Arc<Move>) -> Result<Carried, CopyError> {
    let dirs = core.shared().log_dirs.clone();
    let Some(from) = dirs.directory_of_partition(&wanted.topic, wanted.id.partition) else {
        return Ok(Carried::NotNeeded);
    };
    if from == wanted.future.directory {
        return Ok(Carried::NotNeeded);
    }
    let (opening, progress) = (wanted.clone(), wanted.progress.clone());
    let opened = task::blocking(move || {
        let disk = dirs.disk(opening.future.directory)?;
        FutureLog::open(&disk, &opening.future.path, opening.id.topic, progress)
    });
    let mut copy = opened.await.map_err(CopyError::Target)?;
    let mut is_assigned = false;
    let mut rounds = 0;
    let carried = loop {
        let plan = match plan(core, partition, wanted).await {
            Ok(Some(plan)) => plan,
            Ok(None) => break Ok(Carried::NotNeeded),
            Err(problem) => break Err(problem),
        };
        let close = CLOSE_BYTES << (rounds / ROUNDS).min(MOST_DOUBLINGS);
        let is_close = copy.lag(&plan) <= close;
        rounds += u32::from(copy.lag(&plan) <= CLOSE_BYTES << MOST_DOUBLINGS);
        let copied = round(core, wanted, copy, plan).await;
        copy = match copied {
            Ok(copy) => copy,
            Err(problem) => break Err(problem),
        };
        if !is_close {
            continue;
        }
        if !std::mem::replace(&mut is_assigned, true) {
            match assign(core, wanted).await {
                Ok(true) => {}
                Ok(false) => break Ok(Carried::NotNeeded),
                Err(problem) => break Err(problem),
            }
        }
        match swap::swap(core, partition, wanted, copy, close).await {
            Swap::Done => break Ok(Carried::There),
            Swap::Later(back) => copy = *back,
            Swap::Failed(problem) => break Err(problem),
        }
    };
    if is_assigned && !matches!(carried, Ok(Carried::There)) {
        take_back(core, wanted);
    }
    carried
}

/// What is to be copied now. `None` when the partition is gone.
async fn plan(core: &Rc<Core>, partition: &Partition, wanted: &Move) -> Result<Option<CopyPlan>, CopyError> {
    loop {
        if wanted.is_cancelled() || core.shared().moves.is_stopped() {
            return Err(CopyError::Cancelled);
        }
        let asked = partition.with_log(|log| {
            let lag = log.end_offset().get() - wanted.progress.end().get().max(log.start_offset().get());
            wanted.lag.store(lag.max(0), Ordering::Relaxed);
            if log.end_compaction_for_copy() { Some(log.copy_plan()) } else { None }
        });
        match asked {
            // Its directory was lost, and is back: whoever took it back goes on with the copy.
            None if named(&core.image(), core.shared(), wanted).is_some() => {
                return Err(CopyError::Cancelled);
            }
            None => return Ok(None),
            Some(Some(Ok(plan))) => return Ok(Some(plan)),
            Some(None | Some(Err(LogError::Busy { .. }))) => task::sleep(RETRY).await,
            Some(Some(Err(problem))) => return Err(CopyError::Source(problem)),
        }
    }
}

/// Copies what is planned, on a thread that may wait.
async fn round(
    core: &Rc<Core>,
    wanted: &Arc<Move>,
    mut copy: FutureLog,
    plan: CopyPlan,
) -> Result<FutureLog, CopyError> {
    let (shared, wanted) = (core.shared().clone(), wanted.clone());
    task::blocking(move || {
        let mut pieces = shared.background.begin();
        let mut pace = |bytes| {
            _ = pieces.rest();
            pace(&shared, &wanted, bytes)
        };
        copy.copy(plan, &mut pace).map(|()| copy)
    })
    .await
}

/// Waits until so many bytes may be copied. Whether they are still wanted.
fn pace(shared: &Shared, wanted: &Move, bytes: u64) -> bool {
    loop {
        if wanted.is_cancelled() || shared.moves.is_stopped() {
            return false;
        }
        if shared.moves.throttle.admit(bytes, rate(shared), shared.env.clock.tick()) {
            return true;
        }
        thread::sleep(REST);
    }
}

/// Has the controller take the new directory, before the copy becomes the log (KIP-858). `Ok(false)` when the partition is gone.
async fn assign(core: &Rc<Core>, wanted: &Move) -> Result<bool, CopyError> {
    let shared = core.shared();
    let Some(target) = shared.log_dirs.directory_id(wanted.future.directory) else { return Ok(true) };
    let mut images = shared.controller.images();
    loop {
        let image = images.borrow_and_update().clone();
        let version = image.features.metadata_version();
        if !version.is_some_and(|version| version.directory_assignment_supported()) {
            return Ok(true);
        }
        match named(&image, shared, wanted) {
            None => return Ok(false),
            Some(named) if named == target => return Ok(true),
            Some(_) => shared.assignments.note(wanted.id, target),
        }
        let until = shared.env.clock.tick().plus(TELL_AGAIN);
        while named(&images.borrow_and_update().clone(), shared, wanted).is_some_and(|named| named != target)
            && shared.env.clock.tick() < until
        {
            if wanted.is_cancelled() || shared.moves.is_stopped() {
                return Err(CopyError::Cancelled);
            }
            _ = task::timeout(REST, images.changed()).await;
        }
    }
}

/// The directory that the metadata names. `None` when the partition is gone.
fn named(image: &dohle_metadata::Image, shared: &Shared, wanted: &Move) -> Option<DirectoryId> {
    let state = image.topics.by_id(wanted.id.topic)?.partitions.get(wanted.id.partition)?;
    Some(state.directory_of(shared.node).unwrap_or_default())
}

/// The partition stays where it is after all.
fn take_back(core: &Rc<Core>, wanted: &Move) {
    let dirs = &core.shared().log_dirs;
    let lies_in = dirs.directory_of_partition(&wanted.topic, wanted.id.partition);
    if let Some(id) = lies_in.and_then(|directory| dirs.directory_id(directory)) {
        core.shared().assignments.note(wanted.id, id);
    }
}

async fn drop_copy(core: &Rc<Core>, wanted: &Arc<Move>) -> Outcome {
    let (dirs, gone) = (core.shared().log_dirs.clone(), wanted.clone());
    let dropped = task::blocking(move || dirs.drop_future(&gone.topic, gone.id.partition, &gone.future));
    match dropped.await {
        // What lies in a directory that is offline stays there.
        Ok(()) | Err(LogError::Offline { .. }) => {}
        Err(problem) => {
            let (topic, partition) = (&wanted.topic, wanted.id.partition);
            warn!(%topic, %partition, %problem, "a copy that is not wanted any more stays");
        }
    }
    Outcome::NotNeeded
}
