//! The exchange: the log is closed, the copy completed with all its files and stored, and renamed; the partition goes on with it.
//!
//! ```text
//! appends held ── acknowledged up to the end ── who comes waits ── nobody reads ── log closed ── copy whole, flushed
//!     ── checkpoints of the new directory ── -future is the log ── old one is -delete ── opened ── held appends done
//! ```
//! Appends wait as long as that takes: some flushes, and the copy of what came since the last round. What was acknowledged is in both
//! folders before either is renamed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dohle_config::TopicSettings;
use dohle_env::{Tick, task};
use dohle_log::future::{CopyError, CopyPlan, FutureLog};
use dohle_log::{Log, LogError};
use dohle_metadata::directory::UNASSIGNED;
use dohle_types::ErrorCode;
use tracing::{error, info};

use super::Move;
use crate::core::{Core, Shared};
use crate::partition::Partition;
use crate::upkeep;

/// How long appends wait for those before them, and for reads under way, before the exchange is put off.
const PATIENCE: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(1);
/// Before an exchange is tried again.
const PUT_OFF: Duration = Duration::from_millis(50);

pub enum Swap {
    Done,
    /// Something was in the way.
    Later(Box<FutureLog>),
    Failed(CopyError),
}

/// Exchanges a log for its copy, if the copy is no further behind than `close`.
pub async fn swap(
    core: &Rc<Core>,
    partition: &Rc<Partition>,
    wanted: &Arc<Move>,
    copy: FutureLog,
    close: u64,
) -> Swap {
    let until = core.env().clock.tick().plus(PATIENCE);
    let began = core.env().clock.tick();
    partition.hold_appends();
    let Some((log, plan)) = take_log(core, partition, &copy, close, until).await else {
        partition.release_appends(core);
        task::sleep(PUT_OFF).await;
        return Swap::Later(Box::new(copy));
    };
    let settings = log.settings().clone();
    let (shared, moving) = (core.shared().clone(), wanted.clone());
    let (swapped, reopened) = task::blocking(move || {
        let swapped = exchange(&shared, &moving, log, plan, copy);
        (swapped, reopen(&shared, &moving, settings))
    })
    .await;
    match reopened {
        Ok(log) => {
            partition.return_log(log);
            core.opened(wanted.id, Ok(partition.clone()));
        }
        Err(problem) => {
            error!(partition = %wanted.id, %problem, "a partition cannot be opened after it was to be moved");
            core.opened(wanted.id, Err(ErrorCode::KafkaStorageError));
            _ = partition.take_log(ErrorCode::NotLeaderOrFollower);
        }
    }
    partition.release_appends(core);
    match swapped {
        Ok(()) => {
            let waited_ms =
                u64::try_from(core.env().clock.tick().since(began).as_millis()).unwrap_or(u64::MAX);
            info!(partition = %wanted.id, waited_ms, "appends have waited while a log and its copy were exchanged");
            Swap::Done
        }
        Err(problem) => Swap::Failed(problem),
    }
}

/// Takes the log out of service as soon as nobody is in the middle of something with it. `None` when that takes too long.
async fn take_log(
    core: &Rc<Core>,
    partition: &Rc<Partition>,
    copy: &FutureLog,
    close: u64,
    until: Tick,
) -> Option<(Log, CopyPlan)> {
    let is_late = || core.env().clock.tick() >= until;
    while !partition.is_at_rest() {
        if is_late() {
            return None;
        }
        task::sleep(STEP).await;
    }
    // Not yet taken from the slot: nobody else does, as there are those who hold it.
    core.opened_partition(partition.id).filter(|open| Rc::ptr_eq(open, partition))?;
    core.start_resting(partition);
    while partition.with_log(|log| log.is_read()) == Some(true) && !is_late() {
        task::sleep(STEP).await;
    }
    let plan =
        partition.with_log(|log| if log.is_read() || !log.is_quiet() { None } else { log.copy_plan().ok() });
    let plan = plan.flatten().filter(|plan| copy.lag(plan) <= close);
    let taken = plan.and_then(|plan| Some((partition.lend_log()?, plan)));
    if taken.is_none() {
        core.opened(partition.id, Ok(partition.clone()));
    }
    taken
}

/// Blocks.
fn exchange(
    shared: &Arc<Shared>,
    wanted: &Arc<Move>,
    log: Log,
    plan: CopyPlan,
    mut copy: FutureLog,
) -> Result<(), CopyError> {
    let (dirs, folder) = (&shared.log_dirs, log.dir().to_owned());
    let delay_ms = log.settings().file_delete_delay_ms;
    let closed = log.close().map_err(CopyError::Source)?;
    let exchanged = copy
        .finish(plan)
        .and_then(|()| dirs.exchange(&wanted.topic, wanted.id, &wanted.future, &closed))
        // Where it is, it needs no check either.
        .inspect_err(|_| dirs.closed(&wanted.topic, wanted.id, &folder, &closed))?;
    if let Some(old) = exchanged {
        let shared = shared.clone();
        shared.clone().mailboxes.tell(crate::listener::ACCEPTING_CORE, move |_| {
            task::spawn(async move {
                task::sleep(Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0))).await;
                upkeep::remove_folder(shared, old).await;
            });
        });
    }
    Ok(())
}

fn reopen(shared: &Shared, wanted: &Move, settings: Arc<TopicSettings>) -> Result<Log, LogError> {
    shared.log_dirs.open(wanted.id, &wanted.topic, UNASSIGNED, &[], settings)
}
