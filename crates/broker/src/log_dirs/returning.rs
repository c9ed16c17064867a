//! A directory that was offline comes back while the node runs: taken into use anew, as a start after a crash takes it.
//!
//! Invariants: `NothingFromBefore`: what this process held of the directory before it failed (open logs, checkpoints in memory, marks on
//! their way, where logs stood that were closed) reaches the disk no more and is not believed. `OnePlace`: a partition that was
//! opened in another directory, or that no topic claims, is put aside and not served; one that lies in another directory and was not opened
//! there is settled as at a start ([`LogDirs::settle_doubles`]). Copies that are to become a log are known as after a start.

use dohle_log::LogError;
use dohle_log::dirs::{LogDir, MetaProperties};
use dohle_log::names::FolderState;
use dohle_types::{DirectoryId, PartitionIndex};
use tracing::warn;

use super::directory::{Directory, Stock, put_aside};
use super::{LogDirs, Place};

/// A directory that is served again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    pub id: Option<DirectoryId>,
    /// How many logs lie in it.
    pub logs: usize,
}

impl LogDirs {
    /// Which directories are offline.
    pub fn offline(&self) -> Vec<usize> {
        (0..self.directories.len()).filter(|&at| self.directories[at].held().is_err()).collect()
    }

    /// Takes a directory that is offline into use, if its disk is well again. `is_known` says whether the metadata has a partition of
    /// this node by that name. Blocks.
    pub fn take_back(
        &self,
        at: usize,
        is_known: impl Fn(&str, PartitionIndex) -> bool,
    ) -> Result<Returned, LogError> {
        let directory = &self.directories[at];
        let lost = directory.lost();
        if lost.as_ref().is_some_and(|held| !held.dir.let_go()) {
            return Err(not_yet(directory, "an operation that was begun before it failed has not ended"));
        }
        let dir = LogDir::open_again(&self.env.disk, &directory.path, &self.known(directory)?)?;
        let id = dir.meta().and_then(|meta| meta.directory_id);
        if id.is_some()
            && self.directories.iter().any(|other| other.path != directory.path && other.id() == id)
        {
            return Err(not_yet(directory, "it has the directory id of another one"));
        }
        let Stock { mut held, mut live, copies } = Stock::take(dir, &self.context)?;
        // No stop can have closed what has failed here.
        held.clean &= lost.is_none();
        let mut places = self.places();
        loop {
            let (wanted, unwanted) = live.into_iter().partition(|(topic, partition)| {
                let is_opened_elsewhere =
                    places.get(topic, *partition).is_some_and(|place| place.directory != at && place.opened);
                is_known(topic, *partition) && !is_opened_elsewhere
            });
            live = wanted;
            let unwanted: Vec<(String, PartitionIndex)> = unwanted;
            if unwanted.is_empty() {
                break;
            }
            // Nobody waits for the places while folders are renamed.
            drop(places);
            for (topic, partition) in unwanted {
                let unique = self.env.rng.uuid();
                let folder = put_aside(&held.dir, &topic, partition, unique, FolderState::Stray)?;
                held.checkpoints().remove(&topic, partition);
                warn!(%topic, %partition, folder = %folder.display(), "a folder that no topic claims is put aside");
            }
            places = self.places();
        }
        places.retain(|place| place.directory != at);
        let mut futures = self.futures();
        futures.forget_all_in(at);
        for (topic, partition) in &live {
            match places.get(topic, *partition) {
                None => places.insert(topic, *partition, Place::found(at)),
                Some(_) => futures.found_double(topic, *partition, at),
            }
        }
        futures.found_all(at, copies);
        drop(futures);
        directory.hold(held);
        drop(places);
        self.listen(&*directory.held()?);
        Ok(Returned { id, logs: live.len() })
    }

    /// What the directory has to say of itself.
    fn known(&self, directory: &Directory) -> Result<MetaProperties, LogError> {
        let whose = self.whose.clone().ok_or_else(|| not_yet(directory, "no directory says whose it is"))?;
        Ok(MetaProperties { directory_id: directory.id(), ..whose })
    }
}

fn not_yet(directory: &Directory, why: &str) -> LogError {
    LogError::Offline { path: directory.path.clone(), why: why.to_owned() }
}
