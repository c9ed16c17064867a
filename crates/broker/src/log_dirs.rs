//! The log directories of this node: which partition lies where, and what is known of it before it is opened.
//!
//! Partitions are opened on demand. What a directory says of them at start (folder names, checkpoints, whether it was closed cleanly) is
//! read once; from then on the checkpoints are kept here and rewritten when something in them has moved.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use dohle_config::TopicSettings;
use dohle_env::Env;
use dohle_log::checkpoint::Offsets;
use dohle_log::dirs::LogDir;
use dohle_log::names::{FolderState, marked_folder_name};
use dohle_log::{Closed, Log, LogContext, LogError, Recovery};
use dohle_types::{BrokerEpoch, DirectoryId, Offset, PartitionIndex, TopicId, TopicPartition, Uuid};
use tracing::{info, warn};

/// The folder of the metadata log is named after this topic.
const METADATA_TOPIC_NAME: &str = "__cluster_metadata";

/// What of a partition goes into the checkpoints of its directory.
#[derive(Clone, Debug)]
pub struct Mark {
    pub id: TopicId,
    pub topic: String,
    pub partition: PartitionIndex,
    pub folder: PathBuf,
    pub recovery_point: Offset,
    pub log_start: Offset,
    pub high_watermark: Offset,
}

pub struct LogDirs {
    env: Env,
    context: LogContext,
    directories: Vec<Directory>,
    places: Mutex<Places>,
}

/// Where each partition's folder lies, by the name of the folder.
type Places = HashMap<(String, PartitionIndex), Place>;

#[derive(Clone, Copy)]
struct Place {
    /// Which of the directories.
    directory: usize,
    /// Which topic of that name it holds. `None` for a folder that was not opened and does not say.
    topic: Option<TopicId>,
    /// Whether its log was opened, and so recovered if that was needed.
    opened: bool,
    /// Where its log stood when this process closed it, until it is opened again: its files need no check.
    closed: Option<Closed>,
}

/// Where both are locked, [`LogDirs::places`] comes before the checkpoints of a directory.
struct Directory {
    dir: LogDir,
    /// The last process closed it cleanly: what its logs hold needs no check.
    clean: bool,
    checkpoints: Mutex<Checkpoints>,
}

#[derive(Default)]
struct Checkpoints {
    recovery_points: Offsets,
    log_starts: Offsets,
    high_watermarks: Offsets,
    /// Up to where each log is compacted.
    compacted: Offsets,
    /// Whether `compacted` is not what the file says.
    compacted_moved: bool,
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
        let mut places = HashMap::new();
        for (index, dir) in dirs.into_iter().enumerate() {
            let clean = dir.take_clean_shutdown()?.is_some();
            for folder in dir.scan()? {
                // The metadata log is the controller's.
                if folder.topic_id == Some(Uuid::METADATA_TOPIC) || folder.topic == METADATA_TOPIC_NAME {
                    continue;
                }
                match folder.state {
                    FolderState::Live => {
                        let place =
                            Place { directory: index, topic: folder.topic_id, opened: false, closed: None };
                        places.insert((folder.topic, folder.partition), place);
                    }
                    FolderState::Deleted => remove(&dir, &folder.path),
                    // Left to whoever put them aside.
                    FolderState::Future | FolderState::Stray => {}
                }
            }
            let mut checkpoints = Checkpoints {
                recovery_points: dir.recovery_points()?,
                log_starts: dir.log_starts()?,
                high_watermarks: dir.high_watermarks()?,
                compacted: dir.cleaner_points()?,
                compacted_moved: false,
            };
            // What a deleted partition left must never be taken for the mark of a younger one of its name.
            if checkpoints.retain(|key| places.contains_key(key)) {
                checkpoints.write(&dir)?;
            }
            info!(path = %dir.path().display(), clean, "log directory");
            directories.push(Directory { dir, clean, checkpoints: Mutex::new(checkpoints) });
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
        let key = (topic.to_owned(), id.partition);
        let now = self.env.clock.now();
        if let Some(other) = self.other_topic(&key, id.topic) {
            // An earlier topic of this name, deleted while this node was away or a moment ago.
            warn!(topic, partition = %id.partition, id = %other, "putting aside the folder of an earlier topic");
            self.put_aside(topic, TopicPartition { topic: other, ..id }, FolderState::Deleted)?;
        }
        let mut places = self.places();
        if let Some(place) = places.get_mut(&key) {
            place.topic = Some(id.topic);
            let (directory, closed) = (&self.directories[place.directory], place.closed.take());
            drop(places);
            let folder = directory.dir.partition_path(topic, id.partition);
            let recovery = closed.map_or_else(|| directory.recovery(&key), Recovery::of_closed);
            let mut log = Log::open(&self.context, folder, id.topic, settings, recovery, now)?;
            // What a crash has left in the page cache only is stored before anybody is given it.
            let _stored = log.flush()?;
            if let Some(place) = self.places().get_mut(&key) {
                place.opened = true;
            }
            return Ok(log);
        }
        let index = self.place(&places, wanted);
        let folder = self.directories[index].dir.partition_path(topic, id.partition);
        let log = Log::create(&self.context, folder, id.topic, settings, now)?;
        places.insert(key, Place { directory: index, topic: Some(id.topic), opened: true, closed: None });
        Ok(log)
    }

    /// The topic whose folder has this name, if it is not `wanted`.
    fn other_topic(&self, key: &(String, PartitionIndex), wanted: TopicId) -> Option<TopicId> {
        self.places().get(key).and_then(|place| place.topic).filter(|&found| found != wanted)
    }

    /// Every partition on disk, by name, with the topic's id where it is known.
    pub fn partitions(&self) -> Vec<(String, PartitionIndex, Option<TopicId>)> {
        let places = self.places();
        places.iter().map(|((topic, partition), place)| (topic.clone(), *partition, place.topic)).collect()
    }

    /// The partitions of a topic that hold records, by the sizes of their files. Blocks.
    pub fn partitions_with_records(&self, topic: &str) -> Vec<PartitionIndex> {
        let places: Vec<_> = self
            .places()
            .iter()
            .filter(|((name, _), _)| name == topic)
            .map(|((_, partition), place)| (*partition, place.directory))
            .collect();
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
        let key = (topic.to_owned(), id.partition);
        // Locked for the whole of it: names of folders are given and taken by one thread at a time.
        let mut places = self.places();
        let Some(place) = places.get(&key).filter(|place| place.topic.is_none_or(|found| found == id.topic))
        else {
            return Ok(None);
        };
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
        places.remove(&key);
        let mut checkpoints = directory.checkpoints();
        if checkpoints.retain(|held| *held != key) {
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
                let place = places.get(&(mark.topic.clone(), mark.partition));
                place.is_some_and(|place| place.topic == Some(mark.id))
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
        let key = (topic.to_owned(), partition);
        let place = self.places().get(&key).copied()?;
        self.directories[place.directory].checkpoints().compacted.get(&key).copied()
    }

    /// Stores up to where a partition's log is compacted, if it is still here. Blocks.
    pub fn note_compacted(&self, topic: &str, id: TopicPartition, up_to: Offset) -> Result<(), LogError> {
        let key = (topic.to_owned(), id.partition);
        let places = self.places();
        let Some(place) = places.get(&key).filter(|place| place.topic == Some(id.topic)) else {
            return Ok(());
        };
        let directory = &self.directories[place.directory];
        let mut checkpoints = directory.checkpoints();
        drop(places);
        checkpoints.compacted.insert(key, up_to);
        checkpoints.compacted_moved = true;
        checkpoints.write_compacted(&directory.dir)
    }

    /// Notes a log that was closed, without writing the checkpoints: a later write of theirs does, [`LogDirs::finish`] at the latest.
    pub fn closed(&self, topic: &str, id: TopicPartition, folder: &Path, closed: &Closed) {
        let Some(directory) = self.directory_of(folder) else { return };
        let mut places = self.places();
        // Where it was may be a younger topic of its name by now, of which this says nothing.
        let place = places.get_mut(&(topic.to_owned(), id.partition));
        let Some(place) = place.filter(|place| place.topic == Some(id.topic)) else { return };
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
        let place = self.places().get(&(topic.to_owned(), partition)).copied()?;
        Some(self.directories[place.directory].dir.partition_path(topic, partition))
    }

    /// Writes the checkpoints and marks the directories as cleanly closed. Call when every open log was closed.
    ///
    /// A directory that a crash has left is not marked while it holds logs that were not opened, and so not recovered, since.
    pub fn finish(&self, broker_epoch: BrokerEpoch) -> Result<(), LogError> {
        for (index, directory) in self.directories.iter().enumerate() {
            let recovered = |place: &Place| place.opened || place.directory != index;
            let all_recovered = self.places().values().all(recovered);
            directory.checkpoints().write(&directory.dir)?;
            if directory.clean || all_recovered {
                directory.dir.write_clean_shutdown(broker_epoch)?;
            }
        }
        Ok(())
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
        places.values().for_each(|place| counts[place.directory] += 1);
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

    fn recovery(&self, key: &(String, PartitionIndex)) -> Recovery {
        let checkpoints = self.checkpoints();
        Recovery {
            clean: self.clean,
            recovery_point: checkpoints.recovery_points.get(key).copied().unwrap_or(Offset::ZERO),
            log_start: checkpoints.log_starts.get(key).copied().unwrap_or(Offset::ZERO),
        }
    }

    fn checkpoints(&self) -> MutexGuard<'_, Checkpoints> {
        self.checkpoints.lock().expect("nothing panics while the checkpoints are locked")
    }
}

impl Checkpoints {
    fn note(&mut self, mark: &Mark) {
        let key = (mark.topic.clone(), mark.partition);
        // Kafka writes a log start only where it is not what the first segment says anyway.
        if mark.log_start > Offset::ZERO {
            self.log_starts.insert(key.clone(), mark.log_start);
        } else {
            self.log_starts.remove(&key);
        }
        self.recovery_points.insert(key.clone(), mark.recovery_point);
        self.high_watermarks.insert(key, mark.high_watermark);
    }

    /// Keeps the entries of some partitions only. Says whether others were there.
    fn retain(&mut self, keep: impl Fn(&(String, PartitionIndex)) -> bool) -> bool {
        let mut dropped = false;
        for offsets in [&mut self.recovery_points, &mut self.log_starts, &mut self.high_watermarks] {
            let before = offsets.len();
            offsets.retain(|key, _| keep(key));
            dropped |= offsets.len() < before;
        }
        let before = self.compacted.len();
        self.compacted.retain(|key, _| keep(key));
        self.compacted_moved |= self.compacted.len() < before;
        dropped | self.compacted_moved
    }

    fn write_compacted(&mut self, dir: &LogDir) -> Result<(), LogError> {
        if self.compacted_moved {
            dir.write_cleaner_points(&self.compacted)?;
            self.compacted_moved = false;
        }
        Ok(())
    }

    fn write(&mut self, dir: &LogDir) -> Result<(), LogError> {
        self.write_compacted(dir)?;
        dir.write_recovery_points(&self.recovery_points)?;
        dir.write_log_starts(&self.log_starts)?;
        dir.write_high_watermarks(&self.high_watermarks)
    }
}

fn remove(dir: &LogDir, folder: &Path) {
    if let Err(problem) = dir.remove_deleted(folder) {
        warn!(folder = %folder.display(), %problem, "a deleted partition's folder could not be removed");
    }
}
