//! Which directories are offline, and what is told of each.

use std::path::Path;

use dohle_env::disk::DiskFailure;
use dohle_metadata::directory::UNASSIGNED;
use dohle_types::{DirectoryId, PartitionIndex};
use tracing::{error, warn};

use super::{Described, LogDirs};

impl LogDirs {
    /// Waits until a directory has failed or become suspect. A word before the wait is not lost.
    pub async fn trouble(&self) {
        self.trouble.notified().await;
    }

    /// The directories that have failed since they were opened, and why.
    pub fn failed(&self) -> Vec<(usize, DiskFailure)> {
        let failure = |at: usize| Some((at, self.directories[at].lost()?.dir.failure()?.clone()));
        (0..self.directories.len()).filter_map(failure).collect()
    }

    /// Writes to the directories in which something could not be read: one whose device is gone has failed when this returns. Blocks.
    pub fn probe_suspects(&self) {
        for (_, held) in self.served().filter(|(_, held)| held.dir.guard().is_suspect()) {
            match held.dir.probe() {
                Ok(()) => {
                    warn!(path = %held.dir.path().display(), "something in a log directory cannot be read")
                }
                Err(problem) => error!(%problem, "a log directory cannot be written"),
            }
        }
    }

    pub fn is_served(&self, at: usize) -> bool {
        self.directories[at].held().is_ok()
    }

    /// Whether any directory is served.
    pub fn any_served(&self) -> bool {
        self.served().next().is_some()
    }

    pub fn any_offline(&self) -> bool {
        self.describe_states().any(|(_, offline)| offline)
    }

    /// Each directory, and whether it is offline.
    pub fn describe_states(&self) -> impl Iterator<Item = (&Path, bool)> {
        self.directories.iter().map(|directory| (&*directory.path, directory.held().is_err()))
    }

    /// What is wrong with each directory that is offline.
    pub fn problems(&self) -> Vec<String> {
        self.directories.iter().filter_map(|directory| Some(directory.held().err()?.to_string())).collect()
    }

    /// Whether a file lies in a directory that has failed: nothing can be done for it.
    pub fn is_lost(&self, file: &Path) -> bool {
        self.directory_of(file).is_some_and(|directory| directory.held().is_err())
    }

    /// Whether a partition lies in a directory that is offline, as far as can be known: by its folder, or by what the metadata says.
    pub fn is_offline(&self, topic: &str, partition: PartitionIndex, named: DirectoryId) -> bool {
        let place = self.places().get(topic, partition).map(|place| place.directory);
        match place {
            Some(at) => self.directories[at].held().is_err(),
            // One that was placed, and that no directory which is served has, lies in one that is not.
            None => named != UNASSIGNED && self.any_offline() && !self.ids().contains(&named),
        }
    }

    pub fn describe(&self) -> Vec<Described> {
        let described = self.directories.iter().map(|directory| {
            let held = directory.held().ok();
            let space = held.as_ref().and_then(|held| held.dir.space().ok());
            Described {
                path: directory.path.clone(),
                id: directory.id(),
                offline: held.is_none(),
                available: space.map(|space| space.available),
                total: space.map(|space| space.total),
            }
        });
        described.collect()
    }
}
