//! Copies of logs that are to take the place of the log (`-future`), where partitions are wanted that are not there yet, and logs that
//! are found twice.
//!
//! Locked after the places, and never held while anything else is locked or done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dohle_log::future::{CopyError, end_of, rename_folder, take_over};
use dohle_log::names::{FolderState, marked_folder_name};
use dohle_log::{Closed, LogError, Recovery};
use dohle_types::{DirectoryId, HighWatermark, Offset, PartitionIndex, TopicId, TopicPartition};
use tracing::{error, warn};

use super::{Held, LogDirs, Mark, put_aside};
use crate::places::{Holds, Place};

/// How many wishes for partitions that are not there are remembered. For one more than that, the one whose name comes first is forgotten.
pub const MOST_WISHES: usize = 10_000;

type Name = (Box<str>, PartitionIndex);

/// The folder of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FutureFolder {
    pub directory: usize,
    pub path: PathBuf,
}

#[derive(Default)]
pub struct Futures {
    folders: BTreeMap<Name, FutureFolder>,
    /// Directories that were asked for before there was a partition.
    wishes: BTreeMap<Name, usize>,
    /// Logs of a partition that is in another directory too.
    doubles: Vec<(Name, usize)>,
}

impl Futures {
    pub fn found(&mut self, topic: &str, partition: PartitionIndex, folder: FutureFolder) {
        let there = self.folders.entry((topic.into(), partition)).or_insert_with(|| folder.clone());
        if *there != folder {
            warn!(folder = %folder.path.display(), "a second copy of a partition; it is left where it is");
        }
    }

    /// What was known of a directory's copies and doubles is not so any more.
    pub fn forget_all_in(&mut self, directory: usize) {
        self.folders.retain(|_, folder| folder.directory != directory);
        self.doubles.retain(|(_, at)| *at != directory);
    }

    /// The copies that lie in a directory.
    pub fn found_all(&mut self, directory: usize, copies: Vec<(String, PartitionIndex, PathBuf)>) {
        for (topic, partition, path) in copies {
            self.found(&topic, partition, FutureFolder { directory, path });
        }
    }

    pub fn found_double(&mut self, topic: &str, partition: PartitionIndex, directory: usize) {
        self.doubles.push(((topic.into(), partition), directory));
    }

    fn get(&self, topic: &str, partition: PartitionIndex) -> Option<&FutureFolder> {
        self.folders.get(&(topic.into(), partition))
    }

    fn forget(&mut self, topic: &str, partition: PartitionIndex, folder: &Path) {
        let name = (topic.into(), partition);
        if self.folders.get(&name).is_some_and(|known| known.path == folder) {
            self.folders.remove(&name);
        }
    }
}

impl LogDirs {
    /// The directory at a path, named as DescribeLogDirs names it.
    pub fn directory_named(&self, path: &str) -> Option<usize> {
        self.directories.iter().position(|directory| directory.path.to_str() == Some(path))
    }

    pub fn directory_id(&self, directory: usize) -> Option<DirectoryId> {
        self.directories[directory].id()
    }

    /// Which directory a partition lies in.
    pub fn directory_of_partition(&self, topic: &str, partition: PartitionIndex) -> Option<usize> {
        self.places().get(topic, partition).map(|place| place.directory)
    }

    /// The disk under a directory.
    pub fn disk(&self, directory: usize) -> Result<std::sync::Arc<dyn dohle_env::Disk>, LogError> {
        Ok(self.directories[directory].held()?.dir.disk().clone())
    }

    /// Has a partition put into a directory when it is made.
    pub fn wish(&self, topic: &str, partition: PartitionIndex, directory: usize) {
        let mut futures = self.futures();
        if futures.wishes.len() >= MOST_WISHES {
            futures.wishes.pop_first();
        }
        futures.wishes.insert((topic.into(), partition), directory);
    }

    pub(super) fn wished(&self, topic: &str, partition: PartitionIndex) -> Option<usize> {
        let wished = self.futures().wishes.get(&(topic.into(), partition)).copied();
        wished.filter(|directory| self.is_served(*directory))
    }

    pub(super) fn grant_wish(&self, topic: &str, partition: PartitionIndex) {
        self.futures().wishes.remove(&(topic.into(), partition));
    }

    /// The copies that are known.
    pub fn future_folders(&self) -> Vec<(String, PartitionIndex, FutureFolder)> {
        let futures = self.futures();
        let known = futures.folders.iter();
        known.map(|((topic, partition), folder)| (topic.to_string(), *partition, folder.clone())).collect()
    }

    /// The folder for a copy in a directory: the one that an earlier run has left, or a new name. A copy in another directory goes. Blocks.
    pub fn future_folder(
        &self,
        topic: &str,
        id: TopicPartition,
        directory: usize,
    ) -> Result<FutureFolder, LogError> {
        let known = self.futures().get(topic, id.partition).cloned();
        if let Some(known) = known {
            let held = self.directories[known.directory].held();
            let is_of = held.and_then(|held| held.dir.topic_id(&known.path));
            if known.directory == directory && is_of? == Some(id.topic) {
                return Ok(known);
            }
            self.drop_future(topic, id.partition, &known)?;
        }
        let held = self.directories[directory].held()?;
        let name = marked_folder_name(topic, id.partition, self.env.rng.uuid(), FolderState::Future);
        let folder = FutureFolder { directory, path: held.dir.path().join(name) };
        self.futures().folders.insert((topic.into(), id.partition), folder.clone());
        Ok(folder)
    }

    /// Removes a copy. It is called `-delete` first, so that no start goes on with it. Blocks.
    pub fn drop_future(
        &self,
        topic: &str,
        partition: PartitionIndex,
        folder: &FutureFolder,
    ) -> Result<(), LogError> {
        let held = self.directories[folder.directory].held()?;
        let name = marked_folder_name(topic, partition, self.env.rng.uuid(), FolderState::Deleted);
        let gone = held.dir.path().join(name);
        let is_there = held.dir.disk().metadata(&folder.path).is_ok_and(|found| found.is_some());
        if is_there {
            rename_folder(held.dir.disk().as_ref(), &folder.path, &gone)?;
        }
        let places = self.places();
        if places.get(topic, partition).is_none_or(|place| place.directory != folder.directory) {
            held.checkpoints().remove(topic, partition);
        }
        drop(places);
        self.futures().forget(topic, partition, &folder.path);
        if is_there {
            held.dir.remove_deleted(&gone, &held.context.buffers, &mut || true).map(drop)
        } else {
            Ok(())
        }
    }

    /// Puts a copy aside that no partition claims. Blocks.
    pub fn set_future_aside(&self, topic: &str, partition: PartitionIndex, folder: &FutureFolder) {
        let name = marked_folder_name(topic, partition, self.env.rng.uuid(), FolderState::Stray);
        let moved = self.directories[folder.directory].held().and_then(|held| {
            let stray = held.dir.path().join(name);
            rename_folder(held.dir.disk().as_ref(), &folder.path, &stray)?;
            held.checkpoints().remove(topic, partition);
            Ok(stray)
        });
        self.futures().forget(topic, partition, &folder.path);
        match moved {
            Ok(stray) => {
                warn!(topic, %partition, folder = %stray.display(), "a copy that no partition claims is put aside")
            }
            Err(problem) => warn!(topic, %partition, %problem, "a copy that no partition claims stays"),
        }
    }

    /// A finished copy takes the place of a log that was closed. Gives the folder of the old one, which is to be removed; `None` when it
    /// could not be renamed, and its directory is given up. Blocks.
    ///
    /// What the checkpoints of the new directory have to say is stored before the copy has its name: where the log starts, above all.
    pub fn exchange(
        &self,
        topic: &str,
        id: TopicPartition,
        future: &FutureFolder,
        closed: &Closed,
    ) -> Result<Option<PathBuf>, CopyError> {
        let target = self.directories[future.directory].held().map_err(CopyError::Target)?;
        let from = self.directory_of_partition(topic, id.partition).ok_or(CopyError::Cancelled)?;
        let source = self.directories[from].held().map_err(CopyError::Source)?;
        let live = target.dir.partition_path(topic, id.partition);
        let compacted = source.checkpoints().compacted.get(topic, id.partition);
        self.announce(&target, topic, id, &live, closed, compacted).map_err(CopyError::Target)?;
        let old = source.dir.partition_path(topic, id.partition);
        let name = marked_folder_name(topic, id.partition, self.env.rng.uuid(), FolderState::Deleted);
        let put_aside = source.dir.path().join(name);
        // Locked for the whole of it: names of folders are given and taken by one thread at a time.
        let mut places = self.places();
        if places.get(topic, id.partition).is_none_or(|place| !place.is_of(id.topic)) {
            return Err(CopyError::Cancelled);
        }
        let taken = take_over(
            (target.dir.disk().as_ref(), &future.path, &live),
            (source.dir.disk().as_ref(), &old, &put_aside),
        );
        let lost = match taken {
            Ok(()) => None,
            Err(CopyError::Source(problem)) => Some(problem),
            Err(problem) => return Err(problem),
        };
        let place = Place { closed: Some(*closed), ..Place::made(future.directory, id.topic) };
        places.insert(topic, id.partition, place);
        source.checkpoints().remove(topic, id.partition);
        drop(places);
        self.futures().forget(topic, id.partition, &future.path);
        match lost {
            None => Ok(Some(put_aside)),
            Some(problem) => {
                error!(topic, partition = %id.partition, %problem, "a partition has moved, and its old folder is left");
                Ok(None)
            }
        }
    }

    /// Stores what the checkpoints of its new directory say of a log.
    fn announce(
        &self,
        target: &Held,
        topic: &str,
        id: TopicPartition,
        live: &Path,
        closed: &Closed,
        compacted: Option<Offset>,
    ) -> Result<(), LogError> {
        let mark = Mark {
            id: id.topic,
            topic: topic.to_owned(),
            partition: id.partition,
            folder: live.to_owned(),
            guard: target.dir.disk().guard().cloned(),
            recovery_point: closed.recovery_point,
            log_start: closed.log_start,
            high_watermark: HighWatermark(closed.recovery_point),
        };
        let mut checkpoints = target.checkpoints();
        checkpoints.note(&mark);
        match compacted {
            Some(up_to) => checkpoints.compacted.insert(topic, id.partition, up_to),
            None => _ = checkpoints.compacted.remove(topic, id.partition),
        }
        checkpoints.compacted_moved = true;
        checkpoints.write(&target.dir)
    }

    /// A copy whose log is nowhere takes the log's place, as in Kafka: the log's directory was lost for good, or was put aside a moment
    /// before a crash. Not while a directory is offline: the log may lie there. Gives what is known of it; that has to be verified.
    pub(super) fn adopt_future(&self, topic: &str, id: TopicPartition) -> Result<Option<Recovery>, LogError> {
        let Some(folder) = self.futures().get(topic, id.partition).cloned() else { return Ok(None) };
        let mut places = self.places();
        if places.get(topic, id.partition).is_some() {
            return Ok(None);
        }
        if let Some(problem) = self.directories.iter().find_map(|directory| directory.held().err()) {
            return Err(problem);
        }
        let held = self.directories[folder.directory].held()?;
        if held.dir.topic_id(&folder.path)? != Some(id.topic) {
            drop(places);
            self.set_future_aside(topic, id.partition, &folder);
            return Ok(None);
        }
        warn!(topic, partition = %id.partition, folder = %folder.path.display(), "a partition is nowhere but in a copy, which is taken for it");
        let live = held.dir.partition_path(topic, id.partition);
        rename_folder(held.dir.disk().as_ref(), &folder.path, &live)?;
        let place = Place { holds: Holds::Topic(id.topic), ..Place::found(folder.directory) };
        places.insert(topic, id.partition, place);
        drop(places);
        self.futures().forget(topic, id.partition, &folder.path);
        let log_start = held.checkpoints().log_starts.get(topic, id.partition).unwrap_or(Offset::ZERO);
        Ok(Some(Recovery { log_start, ..Recovery::UNKNOWN }))
    }

    /// Decides which of two logs of a partition counts, as a stop between the two renamings of a move leaves them, or a disk that
    /// failed there: the one that was opened since, else the one that reaches further, else the one in the directory that the metadata
    /// names. What is appended after the first renaming is in one of them only, whichever the metadata has heard of. The other one is put
    /// aside for a person to look at. Blocks.
    pub fn settle_doubles(&self, named: impl Fn(&str, PartitionIndex) -> Option<(TopicId, DirectoryId)>) {
        let doubles = std::mem::take(&mut self.futures().doubles);
        for ((topic, partition), other) in doubles {
            let settled = self.settle(&topic, partition, other, named(&topic, partition));
            if let Err(problem) = settled {
                error!(%topic, %partition, %problem, "a partition is in two log directories, and none can be put aside");
            }
        }
    }

    fn settle(
        &self,
        topic: &str,
        partition: PartitionIndex,
        other: usize,
        named: Option<(TopicId, DirectoryId)>,
    ) -> Result<(), LogError> {
        let mut places = self.places();
        let Some(&Place { directory: first, opened: is_opened, .. }) = places.get(topic, partition) else {
            places.insert(topic, partition, Place::found(other));
            return Ok(());
        };
        let mut found = Vec::new();
        for at in [first, other] {
            let held = self.directories[at].held()?;
            let (dir, folder) = (&held.dir, held.dir.partition_path(topic, partition));
            let is_of_topic =
                named.is_none_or(|(topic, _)| dir.topic_id(&folder).ok().flatten() == Some(topic));
            let is_named = named.is_some_and(|(_, id)| self.directories[at].id() == Some(id));
            let is_in_use = at == first && is_opened;
            found.push(((is_in_use, is_of_topic, end_of(dir.disk().as_ref(), &folder)?, is_named), at));
        }
        let (winner, loser) = if found[1].0 > found[0].0 { (other, first) } else { (first, other) };
        let held = self.directories[loser].held()?;
        let stray = put_aside(&held.dir, topic, partition, self.env.rng.uuid(), FolderState::Stray)?;
        held.checkpoints().remove(topic, partition);
        if winner == other {
            places.insert(topic, partition, Place::found(other));
        }
        let kept = &self.directories[winner].path;
        warn!(topic, %partition, kept = %kept.display(), stray = %stray.display(), "a partition was in two log directories");
        Ok(())
    }

    pub(super) fn futures(&self) -> std::sync::MutexGuard<'_, Futures> {
        self.futures.lock().expect("nothing panics while the copies are locked")
    }
}
