//! What a start has to look after: logs that a crash has left, and folders that no topic claims.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dohle_log::names::FolderState;
use dohle_types::{PartitionIndex, TopicId, TopicPartition};
use tracing::warn;

use super::LogDirs;
use crate::places::Holds;
use crate::recovering::Gate;

impl LogDirs {
    /// Closed cleanly, or not there to be recovered.
    fn needs_no_recovery(&self, directory: usize) -> bool {
        self.directories[directory].held().map_or(true, |held| held.clean)
    }

    /// The partitions of a directory that a crash has left and that were not opened, and so not recovered, since.
    pub fn to_recover(&self, directory: usize) -> Vec<(Arc<str>, PartitionIndex)> {
        if self.needs_no_recovery(directory) {
            return Vec::new();
        }
        self.named(|place| place.directory == directory && !place.opened)
    }

    /// How many logs of a directory are still to be recovered.
    pub fn remaining(&self, directory: usize) -> usize {
        if self.needs_no_recovery(directory) {
            return 0;
        }
        let places = self.places();
        places.iter().filter(|(_, _, place)| place.directory == directory && !place.opened).count()
    }

    /// Where each directory is, and how many of its logs are still to be recovered.
    pub fn recoveries(&self) -> Vec<(PathBuf, usize)> {
        let of = |at: usize| (self.path(at).to_owned(), self.remaining(at));
        (0..self.count()).map(of).collect()
    }

    /// Where each directory is, and how many segments each of its recoveries has still to verify: one number for each that may run, and for
    /// those besides that somebody came for.
    pub fn segments_to_recover(&self, threads: usize) -> Vec<(PathBuf, Vec<usize>)> {
        let of = |at: usize| {
            let held = self.directories[at].held();
            let mut remaining = held.map_or_else(|_| Vec::new(), |held| held.context.verifying.remaining());
            let numbers = remaining.len().max(threads);
            remaining.resize(numbers, 0);
            (self.path(at).to_owned(), remaining)
        };
        (0..self.count()).map(of).collect()
    }

    /// Whether a partition was opened since the start, and so recovered if that was needed.
    pub fn is_opened(&self, topic: &str, partition: PartitionIndex) -> bool {
        self.places().get(topic, partition).is_none_or(|place| place.opened)
    }

    /// What bounds the recoveries of a directory.
    pub fn gate(&self, directory: usize) -> Arc<Gate> {
        self.directories[directory].gate.clone()
    }

    /// How many directories there are.
    pub fn count(&self) -> usize {
        self.directories.len()
    }

    pub fn path(&self, directory: usize) -> &Path {
        &self.directories[directory].path
    }

    /// Puts aside the folders of partitions that the cluster does not know, as Kafka does when it starts. A person may remove them.
    /// Blocks.
    pub fn set_strays_aside(&self, is_known: impl Fn(&str, PartitionIndex) -> bool) {
        let found = self.partitions();
        for (topic, partition) in found.into_iter().filter(|(topic, partition)| !is_known(topic, *partition))
        {
            let holds = self.holds(&topic, partition);
            let held = match holds {
                Ok(Holds::Topic(id)) => id,
                _ => TopicId::default(),
            };
            match self.put_aside(&topic, TopicPartition { topic: held, partition }, FolderState::Stray) {
                Ok(Some(folder)) => {
                    warn!(%topic, %partition, folder = %folder.display(), "a folder that no topic claims is put aside");
                }
                Ok(None) => {}
                Err(problem) => warn!(%topic, %partition, %problem, "a folder that no topic claims stays"),
            }
        }
    }
}
