//! A log directory that fails takes what lies in it out of service, and nothing else (KIP-112, KIP-858).
//!
//! ```text
//! disk: a write fails ──> Guard ──> watch (here) ──> every core: its partitions there answer KAFKA_STORAGE_ERROR
//!                                        │───────> controller, by a heartbeat: they lose their leader
//!                                        │───────> the node, when the last directory or the metadata's has failed: it ends
//!                                        └───────> after a while, and again: is its disk well? (log_dir_return.rs)
//! ```
//! One task, on the accepting core. Nothing here wakes while every directory is served.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dohle_env::disk::DiskFailure;
use dohle_env::task;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::core::Core;
use crate::log_dir_return::{self, Retries};

/// Why a node cannot go on.
#[derive(Clone, Debug)]
pub struct Fatal {
    pub what: &'static str,
    pub failure: DiskFailure,
}

/// Tells the node of a failure that it cannot survive.
pub struct Alarm {
    metadata_dir: PathBuf,
    fatal: watch::Sender<Option<Fatal>>,
}

impl Alarm {
    pub fn new(metadata_dir: PathBuf) -> Self {
        Self { metadata_dir, fatal: watch::Sender::new(None) }
    }

    /// Waits for such a failure.
    pub async fn rings(&self) -> Fatal {
        let mut heard = self.fatal.subscribe();
        loop {
            if let Some(fatal) = heard.borrow_and_update().clone() {
                return fatal;
            }
            if heard.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn ring(&self, what: &'static str, failure: &DiskFailure) {
        self.fatal.send_replace(Some(Fatal { what, failure: failure.clone() }));
    }
}

/// Takes directories out of service as they fail, and back into it. Ends with the core.
pub async fn watch(core: Rc<Core>) {
    let dirs = core.shared().log_dirs.clone();
    let mut retries = Retries::new(retry_interval(&core));
    for at in dirs.offline() {
        retries.lost(at, core.env().clock.tick());
    }
    loop {
        let suspects = dirs.clone();
        task::blocking(move || suspects.probe_suspects()).await;
        for (at, failure) in dirs.failed() {
            if retries.lost(at, core.env().clock.tick()) {
                lose(&core, at, &failure).await;
            }
        }
        for at in retries.due(core.env().clock.tick()) {
            let back = log_dir_return::try_back(&core, at).await;
            let is_new = retries.tried(at, &back, core.env().clock.tick());
            if let Err(problem) = back
                && is_new
            {
                warn!(path = %dirs.path(at).display(), problem, "a log directory stays offline");
            }
        }
        match retries.next(core.env().clock.tick()) {
            Some(wait) => _ = task::timeout(wait, dirs.trouble()).await,
            None => dirs.trouble().await,
        }
    }
}

/// `dohle.log.dir.retry.ms`; `None` for never.
fn retry_interval(core: &Core) -> Option<Duration> {
    let ms = u64::try_from(core.config().long("dohle.log.dir.retry.ms")).unwrap_or(0);
    (ms > 0).then(|| Duration::from_millis(ms))
}

/// A directory that was served is not any more.
async fn lose(core: &Rc<Core>, at: usize, failure: &DiskFailure) {
    let (dirs, alarm) = (&core.shared().log_dirs, &core.shared().alarm);
    let path = dirs.path(at);
    error!(path = %path.display(), %failure, "a log directory has failed; nothing in it is served any more");
    give_up(core, path, failure).await;
    if path == alarm.metadata_dir {
        alarm.ring("the log directory that holds the metadata has failed", failure);
    } else if !dirs.any_served() {
        alarm.ring("the last log directory has failed", failure);
    }
    if let Some(id) = dirs.id_of(path) {
        core.shared().lifecycle.lost(id);
    }
}

/// Has every core take its partitions in a directory out of service.
async fn give_up(core: &Rc<Core>, path: &Path, failure: &DiskFailure) {
    let (path, why): (Arc<Path>, Arc<str>) = (path.into(), failure.to_string().into());
    core.tell_all(move |core| {
        for partition in core.open_partitions() {
            partition.give_up_in(&path, &why);
        }
    })
    .await;
}
