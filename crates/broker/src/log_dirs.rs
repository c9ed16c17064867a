//! The log directories of this node: which partition lies where, and what is known of it before it is opened.
//!
//! Partitions are opened on demand. What a directory says of them at start (folder names, checkpoints, whether it was closed cleanly) is
//! read once; from then on the checkpoints are kept here and rewritten when something in them has moved.
//!
//! A directory is served or offline: one that could not be opened at the start from the beginning, one whose disk fails from then on, both
//! until it comes back. See `docs/paths/log-directories.md`.

mod directory;
mod futures;
mod offline;
mod recoveries;
mod returning;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use dohle_config::TopicSettings;
use dohle_env::Env;
use dohle_log::dirs::{LogDir, MetaProperties};
use dohle_log::names::{FolderState, folder_name};
use dohle_log::{Between, Closed, Log, LogContext, LogError, Recovery, due_at_a_glance};
use dohle_metadata::directory::UNASSIGNED;
use dohle_types::{
    BrokerEpoch, DirectoryId, HighWatermark, Offset, PartitionIndex, TimestampMs, TopicId, TopicPartition,
};
use tokio::sync::Notify;
use tracing::{error, warn};

use self::directory::{Directory, Held, Stock, put_aside, remove};
pub use self::futures::FutureFolder;
use self::futures::Futures;
pub use self::returning::Returned;
pub use crate::checkpoints::Mark;
use crate::places::{Holds, Place, Places};

pub struct LogDirs {
    env: Env,
    /// What the logs of all directories share; its disk is the one below their doors.
    context: LogContext,
    /// Whose directories these are, as far as they say it.
    whose: Option<MetaProperties>,
    directories: Vec<Directory>,
    places: Mutex<Places>,
    futures: Mutex<Futures>,
    /// A directory has failed, or is suspected to.
    trouble: Arc<Notify>,
}

/// A directory of the configuration, as the start has found it.
pub enum Found {
    Opened(LogDir),
    /// It could not be opened.
    Offline {
        path: PathBuf,
        problem: LogError,
    },
}

/// What DescribeLogDirs tells of a directory.
pub struct Described {
    pub path: PathBuf,
    pub id: Option<DirectoryId>,
    pub offline: bool,
    pub available: Option<u64>,
    pub total: Option<u64>,
}

impl Found {
    pub fn path(&self) -> &Path {
        match self {
            Self::Opened(dir) => dir.path(),
            Self::Offline { path, .. } => path,
        }
    }
}

impl LogDirs {
    /// Takes stock of directories that are open and locked. Reads names, not logs. One that cannot be read or written is offline; fails
    /// when all are.
    pub fn new(env: &Env, context: LogContext, found: Vec<Found>) -> Result<Self, LogError> {
        let mut directories = Vec::with_capacity(found.len());
        let (mut places, mut futures) = (Places::default(), Futures::default());
        let (mut whose, mut last_problem) = (None, None);
        for (index, found) in found.into_iter().enumerate() {
            let (path, opened) = match found {
                Found::Opened(dir) => {
                    whose = whose.or_else(|| dir.meta().cloned());
                    (dir.path().to_owned(), Stock::take(dir, &context))
                }
                Found::Offline { path, problem } => (path, Err(problem)),
            };
            let opened = opened.map_err(|problem| {
                error!(path = %path.display(), %problem, "a log directory is offline");
                let why = problem.to_string();
                last_problem = Some(problem);
                why
            });
            let held = opened.map(|Stock { held, live, copies }| {
                for (topic, at) in &live {
                    match places.get(topic, *at) {
                        None => places.insert(topic, *at, Place::found(index)),
                        Some(_) => futures.found_double(topic, *at, index),
                    }
                }
                futures.found_all(index, copies);
                held
            });
            directories.push(Directory::new(path, held));
        }
        if let Some(problem) = last_problem.take_if(|_| directories.iter().all(|dir| dir.held().is_err())) {
            return Err(problem);
        }
        let dirs = Self {
            env: env.clone(),
            context,
            whose,
            directories,
            places: Mutex::new(places),
            futures: Mutex::new(futures),
            trouble: Arc::default(),
        };
        dirs.served().for_each(|(_, held)| dirs.listen(&held));
        Ok(dirs)
    }

    /// Has the watch woken by a directory's failure.
    fn listen(&self, held: &Held) {
        let trouble = self.trouble.clone();
        held.dir.guard().on_trouble(move || trouble.notify_one());
    }

    /// The ids of the directories that are served, for the registration with the controller.
    pub fn ids(&self) -> Vec<DirectoryId> {
        self.served().filter_map(|(at, _)| self.directories[at].id()).collect()
    }

    /// The id of the directory in which a folder lies.
    pub fn id_of(&self, folder: &Path) -> Option<DirectoryId> {
        self.directory_of(folder)?.id()
    }

    /// Where each directory is, and its id.
    pub fn paths(&self) -> Vec<(PathBuf, DirectoryId)> {
        let named =
            self.directories.iter().filter_map(|directory| Some((directory.path.clone(), directory.id()?)));
        named.collect()
    }

    /// Opens a partition's log, or makes it. May block for as long as a recovery takes.
    ///
    /// `wanted` is the directory that the metadata names, `cordoned` are those that take no new partitions; a partition that is on disk
    /// already stays where it is.
    pub fn open(
        &self,
        id: TopicPartition,
        topic: &str,
        wanted: DirectoryId,
        cordoned: &[DirectoryId],
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
        let adopted = self.adopt_future(topic, id)?;
        let mut places = self.places();
        if let Some(place) = places.get_mut(topic, id.partition) {
            place.holds = Holds::Topic(id.topic);
            let (held, closed) = (self.directories[place.directory].held()?, place.closed.take());
            drop(places);
            let folder = held.dir.partition_path(topic, id.partition);
            let known = closed.map(Recovery::of_closed).or(adopted);
            let recovery = known.unwrap_or_else(|| held.recovery(topic, id.partition));
            let mut log = Log::open(&held.context, folder, id.topic, settings, recovery, now)?;
            // What a crash has left in the page cache only is stored before anybody is given it.
            let _stored = log.flush()?;
            let mut places = self.places();
            // Of a directory that was lost meanwhile, and may be back by now, this log says nothing.
            held.check()?;
            if let Some(place) = places.get_mut(topic, id.partition) {
                place.opened = true;
            }
            return Ok(log);
        }
        let index = match self.wished(topic, id.partition) {
            Some(index) if wanted == UNASSIGNED => index,
            _ => self.place(&places, wanted, cordoned)?,
        };
        let held = self.directories[index].held()?;
        // No mark of an earlier partition of this name is left when there is a folder again.
        held.checkpoints().settle(&held.dir)?;
        let folder = held.dir.partition_path(topic, id.partition);
        let log = Log::create(&held.context, folder, id.topic, settings, now)?;
        places.insert(topic, id.partition, Place::made(index, id.topic));
        self.grant_wish(topic, id.partition);
        Ok(log)
    }

    /// The topic whose folder has the name of `wanted`, if it is another one.
    fn other_topic(&self, name: &str, wanted: TopicPartition) -> Result<Option<TopicId>, LogError> {
        match self.holds(name, wanted.partition)? {
            Holds::Topic(found) if found != wanted.topic => Ok(Some(found)),
            _ => Ok(None),
        }
    }

    /// Which topic a place is of, read from its folder if it was not yet. Other places are not locked while the disk is waited for.
    fn holds(&self, topic: &str, partition: PartitionIndex) -> Result<Holds, LogError> {
        loop {
            let Some(place) = self.places().get(topic, partition).copied() else {
                return Ok(Holds::Nameless);
            };
            if place.holds != Holds::Unread {
                return Ok(place.holds);
            }
            let held = self.directories[place.directory].held()?;
            let found = held.dir.topic_id(&held.dir.partition_path(topic, partition))?;
            let mut places = self.places();
            // What took its place meanwhile says itself what it is.
            if let Some(now) = places.get_mut(topic, partition)
                && (now.directory, now.holds) == (place.directory, Holds::Unread)
            {
                now.holds = found.map_or(Holds::Nameless, Holds::Topic);
            }
        }
    }

    /// Every partition in the directories that are served, by name.
    pub fn partitions(&self) -> Vec<(Arc<str>, PartitionIndex)> {
        self.named(|place| self.directories[place.directory].held().is_ok())
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

    /// From when on some partitions of a topic's name, which nobody has open, may have something due. One that cannot be looked at is to be
    /// opened: whatever is wrong with it is said then. Blocks.
    pub fn glance(
        &self,
        topic: &str,
        partitions: &[PartitionIndex],
        settings: &TopicSettings,
    ) -> Vec<(PartitionIndex, TimestampMs)> {
        let due = |&partition: &PartitionIndex| {
            let place = self.places().get(topic, partition).copied()?;
            let held = self.directories[place.directory].held().ok()?;
            let (folder, log_start) =
                (held.dir.partition_path(topic, partition), held.recovery(topic, partition).log_start);
            due_at_a_glance(held.dir.disk().as_ref(), &folder, settings, log_start).ok()
        };
        partitions.iter().map(|at| (*at, due(at).unwrap_or(TimestampMs(0)))).collect()
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
            let Ok(held) = self.directories[directory].held() else { return false };
            let (disk, folder) = (held.dir.disk(), held.dir.partition_path(topic, partition));
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
        _ = self.holds(topic, id.partition)?;
        // Locked for the rest of it: names of folders are given and taken by one thread at a time.
        let mut places = self.places();
        let Some(place) = places.get(topic, id.partition) else { return Ok(None) };
        match place.holds {
            Holds::Topic(found) if found != id.topic => return Ok(None),
            // Another folder has taken its place since it was read.
            Holds::Unread => {
                drop(places);
                return self.put_aside(topic, id, mark);
            }
            Holds::Topic(_) | Holds::Nameless => {}
        }
        let directory = self.directories[place.directory].held()?;
        let to = put_aside(&directory.dir, topic, id.partition, self.env.rng.uuid(), mark)?;
        places.remove(topic, id.partition);
        // Written before a partition is made in the directory, or with the next marks: a topic of thousands goes in one piece.
        directory.checkpoints().remove(topic, id.partition);
        Ok(Some(to))
    }

    /// Removes what earlier processes have left of deleted partitions. Blocks.
    pub fn remove_leftovers(&self, between: Between<'_>) {
        for held in self.directories.iter().filter_map(|directory| directory.held().ok()) {
            if !held.take_leftovers().iter().all(|folder| remove(&held, folder, between)) {
                return;
            }
        }
    }

    /// Removes a folder that was put aside.
    pub fn remove(&self, folder: &Path, between: Between<'_>) {
        if let Some(Ok(held)) = self.directory_of(folder).map(Directory::held) {
            _ = remove(&held, folder, between);
        }
    }

    /// Writes the marks of some partitions into their directories' checkpoints. Blocks.
    pub fn checkpoint(&self, marks: &[Mark]) -> Result<(), LogError> {
        let mut by_directory: BTreeMap<usize, Vec<&Mark>> = BTreeMap::new();
        for mark in marks {
            let at = self.directories.iter().position(|directory| mark.folder.starts_with(&directory.path));
            by_directory.entry(at.expect("a log lies in one of the directories")).or_default().push(mark);
        }
        let mut done = Ok(());
        for (index, marks) in by_directory {
            // The others are written, whichever fails.
            done = done.and(self.checkpoint_directory(index, marks));
        }
        done
    }

    fn checkpoint_directory(&self, index: usize, marks: Vec<&Mark>) -> Result<(), LogError> {
        let held = self.directories[index].held()?;
        // The directory may have been lost since, and be back: what was known before says nothing of it.
        if let Some(failure) = marks.iter().find_map(|mark| mark.failure()) {
            let path = self.directories[index].path.clone();
            return Err(LogError::Offline { path, why: failure.to_string() });
        }
        let places = self.places();
        let mut checkpoints = held.checkpoints();
        // A partition may have been deleted, or have moved, since its mark was taken.
        let is_held = |mark: &&Mark| {
            let place = places.get(&mark.topic, mark.partition);
            place.is_some_and(|place| place.is_of(mark.id) && place.directory == index)
        };
        marks.into_iter().filter(is_held).for_each(|mark| checkpoints.note(mark));
        drop(places);
        // Written under the lock, so that two cores never overwrite newer marks by older ones.
        checkpoints.write(&held.dir)
    }

    /// Up to where a partition's log is compacted.
    pub fn compacted(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        let place = self.places().get(topic, partition).copied()?;
        self.directories[place.directory].held().ok()?.checkpoints().compacted.get(topic, partition)
    }

    /// Stores up to where a partition's log is compacted, if it is still here. Blocks.
    pub fn note_compacted(&self, topic: &str, id: TopicPartition, up_to: Offset) -> Result<(), LogError> {
        let places = self.places();
        let Some(place) = places.get(topic, id.partition).filter(|place| place.is_of(id.topic)) else {
            return Ok(());
        };
        let directory = self.directories[place.directory].held()?;
        let mut checkpoints = directory.checkpoints();
        drop(places);
        checkpoints.compacted.insert(topic, id.partition, up_to);
        checkpoints.compacted_moved = true;
        checkpoints.write_compacted(&directory.dir)
    }

    /// Notes a log that was closed, without writing the checkpoints: a later write of theirs does, [`LogDirs::finish`] at the latest.
    pub fn closed(&self, topic: &str, id: TopicPartition, folder: &Path, closed: &Closed) {
        let Some(Ok(held)) = self.directory_of(folder).map(Directory::held) else { return };
        let mut places = self.places();
        // Where it was may be a younger topic of its name by now, or a directory that was lost and is back, whose places are unread until
        // they are opened: of those this says nothing.
        let place = places.get_mut(topic, id.partition);
        let Some(place) = place.filter(|place| place.is_of(id.topic)) else { return };
        place.closed = Some(*closed);
        drop(places);
        held.checkpoints().note(&Mark {
            id: id.topic,
            topic: topic.to_owned(),
            partition: id.partition,
            folder: folder.to_owned(),
            guard: held.dir.disk().guard().cloned(),
            recovery_point: closed.recovery_point,
            log_start: closed.log_start,
            high_watermark: HighWatermark(closed.recovery_point),
        });
    }

    /// Writes all checkpoints as they are noted. Blocks.
    pub fn write_checkpoints(&self) -> Result<(), LogError> {
        let written = self.served().map(|(_, held)| held.checkpoints().write(&held.dir));
        // The others are written, whichever fails.
        written.fold(Ok(()), Result::and)
    }

    /// The folder of a partition, where there is one.
    pub fn folder(&self, topic: &str, partition: PartitionIndex) -> Option<PathBuf> {
        let place = self.places().get(topic, partition).copied()?;
        Some(self.directories[place.directory].path.join(folder_name(topic, partition)))
    }

    /// Writes the checkpoints and marks the directories as cleanly closed. Call when every open log was closed.
    ///
    /// A directory that a crash has left is not marked while it holds logs that were not opened, and so not recovered, since.
    pub fn finish(&self, broker_epoch: BrokerEpoch) -> Result<(), LogError> {
        for (index, held) in self.served() {
            let all_recovered = self.remaining(index) == 0;
            held.checkpoints().write(&held.dir)?;
            if all_recovered {
                held.dir.write_clean_shutdown(broker_epoch)?;
            }
        }
        Ok(())
    }

    /// Gives memory back that reads have used and may use again.
    pub fn trim_buffers(&self) {
        self.context.buffers.trim();
    }

    /// The directory of a new partition: the one that the metadata names, or the one with the fewest partitions.
    ///
    /// A partition that the metadata has placed is not new. Where it is not found while a directory is offline, it lies there.
    fn place(
        &self,
        places: &Places,
        wanted: DirectoryId,
        cordoned: &[DirectoryId],
    ) -> Result<usize, LogError> {
        if let Some(named) = self.directories.iter().position(|directory| directory.id() == Some(wanted)) {
            return Ok(named);
        }
        let offline = self.directories.iter().find_map(|directory| directory.held().err());
        match offline {
            Some(problem) if wanted != UNASSIGNED => return Err(problem),
            _ => {}
        }
        let is_cordoned =
            |index: usize| self.directories[index].id().is_some_and(|id| cordoned.contains(&id));
        let served = self.served().map(|(index, _)| index);
        // Where all are cordoned the partition was promised before they were.
        served
            .min_by_key(|&index| (is_cordoned(index), places.count_in(index)))
            .ok_or_else(|| offline.expect("none is served"))
    }

    /// The directories that are served.
    fn served(&self) -> impl Iterator<Item = (usize, Arc<Held>)> {
        self.directories
            .iter()
            .enumerate()
            .filter_map(|(index, directory)| Some((index, directory.held().ok()?)))
    }

    fn directory_of(&self, folder: &Path) -> Option<&Directory> {
        self.directories.iter().find(|directory| folder.starts_with(&directory.path))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().expect("nothing panics while the places are locked")
    }
}
