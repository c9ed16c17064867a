//! A log directory that fails takes what lies in it out of service, and nothing else (KIP-112, KIP-858).
//!
//! ```text
//! disk: a write fails ──> Guard ──> watch (here) ──> every core: its partitions there answer KAFKA_STORAGE_ERROR
//!                                        │───────> controller, by a heartbeat: they lose their leader
//!                                        └───────> the node, when the last directory or the metadata's has failed: it ends
//! ```
//! One task, on the accepting core. Nothing here wakes while no disk fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use dohle_env::disk::DiskFailure;
use dohle_env::task;
use tokio::sync::{oneshot, watch};
use tracing::error;

use crate::core::Core;

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

/// Takes directories out of service as they fail. Ends with the core.
pub async fn watch(core: Rc<Core>) {
    let mut known = BTreeSet::new();
    loop {
        let dirs = core.shared().log_dirs.clone();
        task::blocking(move || dirs.probe_suspects()).await;
        for (path, id, failure) in core.shared().log_dirs.failed() {
            if !known.insert(path.clone()) {
                continue;
            }
            error!(path = %path.display(), %failure, "a log directory has failed; nothing in it is served any more");
            give_up(&core, &path, &failure).await;
            let alarm = &core.shared().alarm;
            if path == alarm.metadata_dir {
                alarm.ring("the log directory that holds the metadata has failed", &failure);
            } else if !core.shared().log_dirs.any_served() {
                alarm.ring("the last log directory has failed", &failure);
            }
            if let Some(id) = id {
                core.shared().lifecycle.lost(id);
            }
        }
        core.shared().log_dirs.trouble().await;
    }
}

/// Has every core take its partitions in a directory out of service.
async fn give_up(core: &Rc<Core>, path: &Path, failure: &DiskFailure) {
    let tell = |index| {
        let (done, given_up) = oneshot::channel();
        let (path, why) = (path.to_owned(), failure.to_string());
        core.tell(index, move |core| {
            for partition in core.open_partitions() {
                partition.give_up_in(&path, &why);
            }
            _ = done.send(());
        });
        given_up
    };
    let told: Vec<_> = (0..core.shared().mailboxes.cores()).map(tell).collect();
    for given_up in told {
        // A core that has ended serves nothing.
        _ = given_up.await;
    }
}
