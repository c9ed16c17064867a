//! The log directories of this node: which partition lies where, and what is known of it before it is opened.
//!
//! Partitions are opened on demand. What a directory says of them at start (folder names, checkpoints, whether it was closed cleanly) is
//! read once; from then on the checkpoints are kept here and rewritten when something in them has moved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use dohle_config::TopicSettings;
use dohle_env::Env;
use dohle_log::dirs::LogDir;
use dohle_log::names::{FolderState, marked_folder_name};
use dohle_log::{Closed, Log, LogContext, LogError, Recovery};
use dohle_types::{BrokerEpoch, DirectoryId, Offset, PartitionIndex, TopicId, TopicPartition};
use tracing::{info, warn};

use crate::checkpoints::Checkpoints;
pub use crate::checkpoints::Mark;
use crate::places::{Holds, Place, Places};
use crate::recovering::Gate;

/// The folder of the metadata log is named after this topic.
const METADATA_TOPIC_NAME: &str = "__cluster_metadata";

pub struct LogDirs {
    env: Env,
    context: LogContext,
    directories: Vec<Directory>,
    places: Mutex<Places>,
}

/// Where both are locked, [`LogDirs::places`] comes before the checkpoints of a directory.
struct Directory {
    dir: LogDir,
    /// The last process closed it cleanly: what its logs hold needs no check.
    clean: bool,
    gate: Arc<Gate>,
    checkpoints: Mutex<Checkpoints>,
}

/// What DescribeLogDirs tells of a directory.
pub struct Described {
    pub path: PathBuf,
    pub id: Option<DirectoryId>,
    pub available: Option<u64>,
    pub total: Option<u64>,
}

impl LogDirs {
    /// Takes stock of directories that are open and locked. Reads names, not logs.
    pub fn new(env: &Env, context: LogContext, dirs: Vec<LogDir>) -> Result<Self, LogError> {
        let mut directories = Vec::with_capacity(dirs.len());
        let mut places = Places::default();
        for (index, dir) in dirs.into_iter().enumerate() {
            let mut checkpoints = Checkpoints::read(&dir)?;
            let clean = dir.take_clean_shutdown()?.is_some() && checkpoints.are_whole;
            for folder in dir.scan()? {
                // The metadata log is the controller's.
                if folder.topic == METADATA_TOPIC_NAME {
                    continue;
                }
                match folder.state {
                    FolderState::Live => places.insert(&folder.topic, folder.partition, Place::found(index)),
                    FolderState::Deleted => remove(&dir, &folder.path),
                    // Left to whoever put them aside.
                    FolderState::Future | FolderState::Stray => {}
                }
            }
            // What a deleted partition left must never be taken for the mark of a younger one of its name.
            if checkpoints.retain(|topic, partition| places.get(topic, partition).is_some()) {
                checkpoints.write(&dir)?;
            }
            info!(path = %dir.path().display(), clean, "log directory");
            let checkpoints = Mutex::new(checkpoints);
            directories.push(Directory { dir, clean, gate: Arc::default(), checkpoints });
        }
        Ok(Self { env: env.clone(), context, directories, places: Mutex::new(places) })
    }

    /// The ids of the directories, for the registration with the controller.
    pub fn ids(&self) -> Vec<DirectoryId> {
        self.directories.iter().filter_map(Directory::id).collect()
    }

    /// Where each directory is, and its id.
    pub fn paths(&self) -> Vec<(PathBuf, DirectoryId)> {
        let named = self
            .directories
            .iter()
            .filter_map(|directory| Some((directory.dir.path().to_owned(), directory.id()?)));
        named.collect()
    }

    /// Opens a partition's log, or makes it. May block for as long as a recovery takes.
    ///
    /// `wanted` is the directory that the metadata names; a partition that is on disk already stays where it is.
    pub fn open(
        &self,
        id: TopicPartition,
        topic: &str,
        wanted: DirectoryId,
        settings: Arc<TopicSettings>,
    ) -> Result<Log, LogError> {
        let now = self.env.clock.now();
        if let Some(other) = self.other_topic(topic, id)? {
            // An earlier topic of this name: deleted a moment ago, or while this node was away; of that one Kafka keeps the folder.
            let mark =
                if self.is_opened(topic, id.partition) { FolderState::Deleted } else { FolderState::Stray };
            warn!(topic, partition = %id.partition, id = %other, "putting aside the folder of an earlier topic");
            self.put_aside(topic, TopicPartition { topic: other, ..id }, mark)?;
        }
        let mut places = self.places();
        if let Some(place) = places.get_mut(topic, id.partition) {
            place.holds = Holds::Topic(id.topic);
            let (directory, closed) = (&self.directories[place.directory], place.closed.take());
            drop(places);
            let folder = directory.dir.partition_path(topic, id.partition);
            let recovery =
                closed.map_or_else(|| directory.recovery(topic, id.partition), Recovery::of_closed);
            let mut log = Log::open(&self.context, folder, id.topic, settings, recovery, now)?;
            // What a crash has left in the page cache only is stored before anybody is given it.
            let _stored = log.flush()?;
            if let Some(place) = self.places().get_mut(topic, id.partition) {
                place.opened = true;
            }
            return Ok(log);
        }
        let index = self.place(&places, wanted);
        let folder = self.directories[index].dir.partition_path(topic, id.partition);
        let log = Log::create(&self.context, folder, id.topic, settings, now)?;
        places.insert(topic, id.partition, Place::made(index, id.topic));
        Ok(log)
    }

    /// The topic whose folder has the name of `wanted`, if it is another one.
    fn other_topic(&self, name: &str, wanted: TopicPartition) -> Result<Option<TopicId>, LogError> {
        match self.holds(&mut self.places(), name, wanted.partition)? {
            Holds::Topic(found) if found != wanted.topic => Ok(Some(found)),
            _ => Ok(None),
        }
    }

    /// Which topic a place is of, read from its folder if it was not yet.
    fn holds(&self, places: &mut Places, topic: &str, partition: PartitionIndex) -> Result<Holds, LogError> {
        let Some(place) = places.get_mut(topic, partition) else { return Ok(Holds::Nameless) };
        if place.holds == Holds::Unread {
            let dir = &self.directories[place.directory].dir;
            let found = dir.topic_id(&dir.partition_path(topic, partition))?;
            place.holds = found.map_or(Holds::Nameless, Holds::Topic);
        }
        Ok(place.holds)
    }

    /// Every partition on disk, by name.
    pub fn partitions(&self) -> Vec<(Arc<str>, PartitionIndex)> {
        self.named(|_| true)
    }

    /// How many partitions are on disk.
    pub fn held(&self) -> usize {
        self.places().len()
    }

    /// The partitions of a topic that hold records, by the sizes of their files. Blocks.
    pub fn partitions_with_records(&self, topic: &str) -> Vec<PartitionIndex> {
        let places: Vec<_> =
            self.places().of_topic(topic).map(|(partition, place)| (partition, place.directory)).collect();
        let holds = |&(partition, directory): &(PartitionIndex, usize)| {
            let dir = &self.directories[directory].dir;
            let (disk, folder) = (dir.disk(), dir.partition_path(topic, partition));
            // A folder that cannot be looked at is opened, and whatever is wrong with it is said then.
            let Ok(entries) = disk.list(&folder) else { return true };
            let mut logs = entries.iter().filter(|entry| entry.name.ends_with(".log"));
            logs.any(|log| {
                disk.metadata(&folder.join(&log.name))
                    .is_ok_and(|found| found.is_some_and(|file| file.len > 0))
            })
        };
        let mut held: Vec<_> = places.into_iter().filter(holds).map(|(partition, _)| partition).collect();
        held.sort_unstable();
        held
    }

    /// Puts aside the folder of a partition that is gone. Durable when it returns. `None` when there is no folder, or when it holds
    /// a younger topic of the same name already.
    pub fn put_aside(
        &self,
        topic: &str,
        id: TopicPartition,
        mark: FolderState,
    ) -> Result<Option<PathBuf>, LogError> {
        // Locked for the whole of it: names of folders are given and taken by one thread at a time.
        let mut places = self.places();
        if matches!(self.holds(&mut places, topic, id.partition)?, Holds::Topic(found) if found != id.topic) {
            return Ok(None);
        }
        let Some(place) = places.get(topic, id.partition) else { return Ok(None) };
        let directory = &self.directories[place.directory];
        let (disk, from) = (directory.dir.disk(), directory.dir.partition_path(topic, id.partition));
        let name = marked_folder_name(topic, id.partition, self.env.rng.uuid(), mark);
        let to = directory.dir.path().join(name);
        disk.rename(&from, &to).map_err(|source| LogError::Io {
            action: "renaming",
            path: from.clone(),
            source,
        })?;
        let parent = directory.dir.path();
        let _stored = disk.sync_dir(parent).map_err(|source| LogError::Io {
            action: "flushing",
            path: parent.to_owned(),
            source,
        })?;
        places.remove(topic, id.partition);
        let mut checkpoints = directory.checkpoints();
        if checkpoints.remove(topic, id.partition) {
            checkpoints.write(&directory.dir)?;
        }
        Ok(Some(to))
    }

    /// Removes a folder that was put aside.
    pub fn remove(&self, folder: &Path) {
        if let Some(directory) = self.directory_of(folder) {
            remove(&directory.dir, folder);
        }
    }

    /// Writes the marks of some partitions into their directories' checkpoints. Blocks.
    pub fn checkpoint(&self, marks: &[Mark]) -> Result<(), LogError> {
        let mut by_directory: BTreeMap<usize, Vec<&Mark>> = BTreeMap::new();
        for mark in marks {
            let at =
                self.directories.iter().position(|directory| mark.folder.starts_with(directory.dir.path()));
            by_directory.entry(at.expect("a log lies in one of the directories")).or_default().push(mark);
        }
        for (index, marks) in by_directory {
            let directory = &self.directories[index];
            // A partition may have been deleted since its mark was taken.
            let places = self.places();
            let mut checkpoints = directory.checkpoints();
            let is_held = |mark: &&Mark| {
                places.get(&mark.topic, mark.partition).is_some_and(|place| place.is_of(mark.id))
            };
            marks.into_iter().filter(is_held).for_each(|mark| checkpoints.note(mark));
            drop(places);
            // Written under the lock, so that two cores never overwrite newer marks by older ones.
            checkpoints.write(&directory.dir)?;
        }
        Ok(())
    }

    /// Up to where a partition's log is compacted.
    pub fn compacted(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        let place = self.places().get(topic, partition).copied()?;
        self.directories[place.directory].checkpoints().compacted.get(topic, partition)
    }

    /// Stores up to where a partition's log is compacted, if it is still here. Blocks.
    pub fn note_compacted(&self, topic: &str, id: TopicPartition, up_to: Offset) -> Result<(), LogError> {
        let places = self.places();
        let Some(place) = places.get(topic, id.partition).filter(|place| place.is_of(id.topic)) else {
            return Ok(());
        };
        let directory = &self.directories[place.directory];
        let mut checkpoints = directory.checkpoints();
        drop(places);
        checkpoints.compacted.insert(topic, id.partition, up_to);
        checkpoints.compacted_moved = true;
        checkpoints.write_compacted(&directory.dir)
    }

    /// Notes a log that was closed, without writing the checkpoints: a later write of theirs does, [`LogDirs::finish`] at the latest.
    pub fn closed(&self, topic: &str, id: TopicPartition, folder: &Path, closed: &Closed) {
        let Some(directory) = self.directory_of(folder) else { return };
        let mut places = self.places();
        // Where it was may be a younger topic of its name by now, of which this says nothing.
        let place = places.get_mut(topic, id.partition);
        let Some(place) = place.filter(|place| place.is_of(id.topic)) else { return };
        place.closed = Some(*closed);
        drop(places);
        directory.checkpoints().note(&Mark {
            id: id.topic,
            topic: topic.to_owned(),
            partition: id.partition,
            folder: folder.to_owned(),
            recovery_point: closed.recovery_point,
            log_start: closed.log_start,
            high_watermark: closed.recovery_point,
        });
    }

    /// Writes all checkpoints as they are noted. Blocks.
    pub fn write_checkpoints(&self) -> Result<(), LogError> {
        self.directories.iter().try_for_each(|directory| directory.checkpoints().write(&directory.dir))
    }

    /// The folder of a partition, where there is one.
    pub fn folder(&self, topic: &str, partition: PartitionIndex) -> Option<PathBuf> {
        let place = self.places().get(topic, partition).copied()?;
        Some(self.directories[place.directory].dir.partition_path(topic, partition))
    }

    /// Writes the checkpoints and marks the directories as cleanly closed. Call when every open log was closed.
    ///
    /// A directory that a crash has left is not marked while it holds logs that were not opened, and so not recovered, since.
    pub fn finish(&self, broker_epoch: BrokerEpoch) -> Result<(), LogError> {
        for (index, directory) in self.directories.iter().enumerate() {
            let all_recovered = self.remaining(index) == 0;
            directory.checkpoints().write(&directory.dir)?;
            if all_recovered {
                directory.dir.write_clean_shutdown(broker_epoch)?;
            }
        }
        Ok(())
    }

    /// The partitions of a directory that a crash has left and that were not opened, and so not recovered, since.
    pub fn to_recover(&self, directory: usize) -> Vec<(Arc<str>, PartitionIndex)> {
        if self.directories[directory].clean {
            return Vec::new();
        }
        self.named(|place| place.directory == directory && !place.opened)
    }

    /// The partitions of some places; those of a topic share its name, as there may be very many.
    fn named(&self, is_wanted: impl Fn(&Place) -> bool) -> Vec<(Arc<str>, PartitionIndex)> {
        let mut named: Vec<(Arc<str>, PartitionIndex)> = Vec::new();
        for (topic, partition, _) in self.places().iter().filter(|(_, _, place)| is_wanted(place)) {
            let name = match named.last() {
                Some((last, _)) if **last == *topic => last.clone(),
                _ => topic.into(),
            };
            named.push((name, partition));
        }
        named
    }

    /// How many logs of a directory are still to be recovered.
    pub fn remaining(&self, directory: usize) -> usize {
        if self.directories[directory].clean {
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
        self.directories[directory].dir.path()
    }

    /// Puts aside the folders of partitions that the cluster does not know, as Kafka does when it starts. A person may remove them.
    /// Blocks.
    pub fn set_strays_aside(&self, is_known: impl Fn(&str, PartitionIndex) -> bool) {
        let found = self.partitions();
        for (topic, partition) in found.into_iter().filter(|(topic, partition)| !is_known(topic, *partition))
        {
            let holds = self.holds(&mut self.places(), &topic, partition);
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

    /// Gives memory back that reads have used and may use again.
    pub fn trim_buffers(&self) {
        self.context.buffers.trim();
    }

    pub fn describe(&self) -> Vec<Described> {
        let described = self.directories.iter().map(|directory| {
            let space = directory.dir.space().ok();
            Described {
                path: directory.dir.path().to_owned(),
                id: directory.id(),
                available: space.map(|space| space.available),
                total: space.map(|space| space.total),
            }
        });
        described.collect()
    }

    /// The directory of a new partition: the one that the metadata names, or the one with the fewest partitions.
    fn place(&self, places: &Places, wanted: DirectoryId) -> usize {
        if let Some(named) = self.directories.iter().position(|directory| directory.id() == Some(wanted)) {
            return named;
        }
        let mut counts = vec![0_usize; self.directories.len()];
        places.iter().for_each(|(_, _, place)| counts[place.directory] += 1);
        (0..counts.len()).min_by_key(|&index| counts[index]).expect("a node has a log directory")
    }

    fn directory_of(&self, folder: &Path) -> Option<&Directory> {
        self.directories.iter().find(|directory| folder.starts_with(directory.dir.path()))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().expect("nothing panics while the places are locked")
    }
}

impl Directory {
    fn id(&self) -> Option<DirectoryId> {
        self.dir.meta().and_then(|meta| meta.directory_id)
    }

    fn recovery(&self, topic: &str, partition: PartitionIndex) -> Recovery {
        let checkpoints = self.checkpoints();
        Recovery {
            clean: self.clean,
            recovery_point: checkpoints.recovery_points.get(topic, partition).unwrap_or(Offset::ZERO),
            log_start: checkpoints.log_starts.get(topic, partition).unwrap_or(Offset::ZERO),
        }
    }

    fn checkpoints(&self) -> MutexGuard<'_, Checkpoints> {
        self.checkpoints.lock().expect("nothing panics while the checkpoints are locked")
    }
}

fn remove(dir: &LogDir, folder: &Path) {
    if let Err(problem) = dir.remove_deleted(folder) {
        warn!(folder = %folder.display(), %problem, "a deleted partition's folder could not be removed");
    }
}
