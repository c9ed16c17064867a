//! A log directory: what it holds beside the logs, and which logs it holds.
//!
//! ```text
//! .lock                                 held while a process uses the directory
//! meta.properties                       version, cluster.id, node.id, directory.id
//! .kafka_cleanshutdown                  {"version":0,"brokerEpoch":16}, while stopped cleanly
//! recovery-point-offset-checkpoint      up to where each log is flushed
//! log-start-offset-checkpoint           where each log starts, when that is inside of a segment
//! replication-offset-checkpoint         the high watermarks
//! cleaner-offset-checkpoint             up to where each log is compacted
//! <topic>-<partition>/                  the logs
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dohle_env::Disk;
use dohle_env::disk::{DiskFailure, DiskLock, Guard, GuardedDisk, OpenMode, Space, read_file, replace_file};
use dohle_types::{BrokerEpoch, ClusterId, DirectoryId, NodeId, PartitionIndex, Uuid};

use crate::buffers::ReadBuffers;
use crate::checkpoint::{self, Offsets, PARTITION_METADATA_FILE, read_partition_metadata};
use crate::error::{LogError, failed};
use crate::names::parse_folder_name;
pub use crate::names::{FolderState, folder_name};
use crate::recovery::ignore_missing;
use crate::removal::{Between, remove_folder};

const LOCK_FILE: &str = ".lock";
const META_FILE: &str = "meta.properties";
const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
const LOG_START_FILE: &str = "log-start-offset-checkpoint";
const HIGH_WATERMARK_FILE: &str = "replication-offset-checkpoint";
const CLEANER_FILE: &str = "cleaner-offset-checkpoint";
const MAX_SMALL_FILE_BYTES: u64 = 64 << 10;
const META_VERSION: &str = "1";

/// Written and removed again to see whether a directory takes writes.
const PROBE_FILE: &str = ".dohle_probe";
/// What it is renamed to on the way.
const PROBED_FILE: &str = ".dohle_probed";
/// What a directory has to take before it comes back: with less room than that it would be lost again at once.
const TRIAL_BYTES: usize = 64 << 10;

/// One log directory, locked against other processes until it is dropped.
///
/// Everything under it is reached through [`LogDir::disk`], whose first failure is the directory's: see [`dohle_env::disk::Guard`].
pub struct LogDir {
    disk: Arc<dyn Disk>,
    guard: Arc<Guard>,
    path: PathBuf,
    meta: Option<MetaProperties>,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

/// Whose directory it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    pub directory_id: Option<DirectoryId>,
}

/// What a clean stop has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// `NONE` when it was not known.
    pub broker_epoch: BrokerEpoch,
}

/// A partition's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFolder {
    pub path: PathBuf,
    pub topic: String,
    pub partition: PartitionIndex,
    pub state: FolderState,
}

impl LogDir {
    /// Makes the directory if there is none, locks it, and reads whose it is.
    pub fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<Self, LogError> {
        make_folders(disk.as_ref(), path)?;
        Self::open_there(disk, path)
    }

    /// Opens a directory that was lost, as [`LogDir::open`] does, if its disk is well again. Nothing is made: a folder that is not there,
    /// or that does not say that it is `known`'s, is another one, such as the place where a disk should be mounted. Blocks.
    pub fn open_again(disk: &Arc<dyn Disk>, path: &Path, known: &MetaProperties) -> Result<Self, LogError> {
        let meta_path = path.join(META_FILE);
        if disk.metadata(&meta_path).map_err(failed("looking for", &meta_path))?.is_none() {
            return Err(LogError::corrupt(&meta_path, "it is not there"));
        }
        let dir = Self::open_there(disk, path)?;
        if !dir.meta.as_ref().is_some_and(|found| known.is_kept_by(found)) {
            return Err(LogError::corrupt(
                &meta_path,
                "it names another cluster, node or directory than before",
            ));
        }
        dir.try_out(TRIAL_BYTES)?;
        Ok(dir)
    }

    fn open_there(disk: &Arc<dyn Disk>, path: &Path) -> Result<Self, LogError> {
        let lock_path = path.join(LOCK_FILE);
        let lock = match disk.lock(&lock_path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(LogError::InUse { path: path.to_owned() });
            }
            Err(error) => return Err(failed("locking", &lock_path)(error)),
        };
        let guarded = GuardedDisk::new(Arc::clone(disk), path);
        let guard = Arc::clone(guarded.guard());
        let lock = Mutex::new(Some(lock));
        let mut dir = Self { disk: Arc::new(guarded), guard, path: path.to_owned(), meta: None, lock };
        dir.meta = dir.read_meta()?;
        Ok(dir)
    }

    /// Why nothing of the directory can be used any more, once that is so.
    pub fn failure(&self) -> Option<&DiskFailure> {
        self.guard.failure()
    }

    /// What tells of the directory's failures.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Lets others lock a directory that was lost, once nothing that was begun here can reach it any more; the one who opens it anew
    /// may be this process. Says whether it is so.
    pub fn let_go(&self) -> bool {
        let is_over = self.guard.is_over();
        if is_over {
            *self.lock.lock().expect("nothing panics while it is locked") = None;
        }
        is_over
    }

    /// Whether the directory takes writes. One that does not has failed when this returns. Blocks.
    pub fn probe(&self) -> Result<(), LogError> {
        self.try_out(1)?;
        self.guard.trust();
        Ok(())
    }

    /// Does with a file of so many bytes what is done with logs and checkpoints.
    fn try_out(&self, bytes: usize) -> Result<(), LogError> {
        let (path, renamed) = (self.path.join(PROBE_FILE), self.path.join(PROBED_FILE));
        let disk = self.disk.as_ref();
        let written: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
        // One that a failure has left has a flush behind it that proves nothing.
        disk.remove_file(&path).or_else(ignore_missing).map_err(failed("removing", &path))?;
        let file = disk.open(&path, OpenMode::CreateNew).map_err(failed("making", &path))?;
        file.write_all_at(&[io::IoSlice::new(&written)], 0).map_err(failed("writing", &path))?;
        let _stored = file.sync_data().map_err(failed("flushing", &path))?;
        disk.rename(&path, &renamed).map_err(failed("renaming", &path))?;
        let mut read = vec![0; bytes];
        let len = file.read_uncached_at(&mut read, 0).map_err(failed("reading", &renamed))?;
        disk.remove_file(&renamed).or_else(ignore_missing).map_err(failed("removing", &renamed))?;
        let _stored = disk.sync_dir(&self.path).map_err(failed("flushing", &self.path))?;
        if len != bytes || read != written {
            return Err(LogError::corrupt(&renamed, "it reads otherwise than it was written"));
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The folder for a partition.
    pub fn partition_path(&self, topic: &str, partition: PartitionIndex) -> PathBuf {
        self.path.join(folder_name(topic, partition))
    }

    /// `None` for a directory that was never formatted.
    pub fn meta(&self) -> Option<&MetaProperties> {
        self.meta.as_ref()
    }

    pub fn write_meta(&mut self, meta: MetaProperties) -> Result<(), LogError> {
        self.replace(META_FILE, &meta.encode())?;
        self.meta = Some(meta);
        Ok(())
    }

    /// Reads `.kafka_cleanshutdown` and removes it durably: from here on the directory is in use. All names in it are stored then as they are
    /// seen: a process that was killed may have left that to the kernel, the removal of this file too.
    pub fn take_clean_shutdown(&self) -> Result<Option<CleanShutdown>, LogError> {
        let path = self.path.join(CLEAN_SHUTDOWN_FILE);
        let contents =
            read_file(self.disk.as_ref(), &path, MAX_SMALL_FILE_BYTES).map_err(failed("reading", &path))?;
        if contents.is_some() {
            self.disk.remove_file(&path).or_else(ignore_missing).map_err(failed("removing", &path))?;
        }
        if !cfg!(dohle_bug = "clean_shutdown_stays") {
            let _stored = self.disk.sync_dir(&self.path).map_err(failed("flushing", &self.path))?;
        }
        let Some(contents) = contents else { return Ok(None) };
        let fields: serde_json::Value = serde_json::from_slice(&contents).unwrap_or_default();
        // Its being there says that the stop was clean; the epoch is only told on.
        let broker_epoch = fields["brokerEpoch"].as_i64().map_or(BrokerEpoch::NONE, BrokerEpoch);
        Ok(Some(CleanShutdown { broker_epoch }))
    }

    /// The last thing written on a clean stop, when all logs are closed and the checkpoints stored.
    pub fn write_clean_shutdown(&self, broker_epoch: BrokerEpoch) -> Result<(), LogError> {
        self.replace(
            CLEAN_SHUTDOWN_FILE,
            format!(r#"{{"version":0,"brokerEpoch":{broker_epoch}}}"#).as_bytes(),
        )
    }

    pub fn recovery_points(&self) -> Result<Offsets, LogError> {
        self.offsets(RECOVERY_POINT_FILE)
    }

    pub fn write_recovery_points(&self, offsets: &Offsets) -> Result<(), LogError> {
        self.write_offsets(RECOVERY_POINT_FILE, offsets)
    }

    pub fn log_starts(&self) -> Result<Offsets, LogError> {
        self.offsets(LOG_START_FILE)
    }

    pub fn write_log_starts(&self, offsets: &Offsets) -> Result<(), LogError> {
        self.write_offsets(LOG_START_FILE, offsets)
    }

    pub fn high_watermarks(&self) -> Result<Offsets, LogError> {
        self.offsets(HIGH_WATERMARK_FILE)
    }

    pub fn write_high_watermarks(&self, offsets: &Offsets) -> Result<(), LogError> {
        self.write_offsets(HIGH_WATERMARK_FILE, offsets)
    }

    pub fn cleaner_points(&self) -> Result<Offsets, LogError> {
        self.offsets(CLEANER_FILE)
    }

    pub fn write_cleaner_points(&self, offsets: &Offsets) -> Result<(), LogError> {
        self.write_offsets(CLEANER_FILE, offsets)
    }

    /// All partition folders, by their names alone. Other files and folders are not ours to judge.
    pub fn scan(&self) -> Result<Vec<PartitionFolder>, LogError> {
        let mut folders = Vec::new();
        for entry in self.disk.list(&self.path).map_err(failed("listing", &self.path))? {
            let Some((topic, partition, state)) = parse_folder_name(&entry.name).filter(|_| entry.is_dir)
            else {
                continue;
            };
            let path = self.path.join(&entry.name);
            folders.push(PartitionFolder { topic: topic.to_owned(), partition, state, path });
        }
        Ok(folders)
    }

    /// Which topic a partition's folder is of, by its `partition.metadata`; `None` when a crash left none that can be read.
    pub fn topic_id(&self, folder: &Path) -> Result<Option<Uuid>, LogError> {
        match read_partition_metadata(self.disk.as_ref(), &folder.join(PARTITION_METADATA_FILE)) {
            Err(error @ LogError::Corrupt { .. }) => {
                tracing::warn!(%error, "a partition's folder does not say which topic it is of");
                Ok(None)
            }
            read => read,
        }
    }

    /// Removes a folder that was renamed to be deleted. `readers` are those of the logs that were in it.
    pub fn remove_deleted(
        &self,
        folder: &Path,
        readers: &ReadBuffers,
        between: Between<'_>,
    ) -> Result<bool, LogError> {
        remove_folder(self.disk.as_ref(), folder, readers, between)
            .or_else(|error| ignore_missing(error).map(|()| true))
            .map_err(failed("removing", folder))
    }

    pub fn space(&self) -> Result<Space, LogError> {
        self.disk.space(&self.path).map_err(failed("asking for the space of", &self.path))
    }

    fn offsets(&self, name: &str) -> Result<Offsets, LogError> {
        checkpoint::read(self.disk.as_ref(), &self.path.join(name))
    }

    fn write_offsets(&self, name: &str, offsets: &Offsets) -> Result<(), LogError> {
        checkpoint::write(self.disk.as_ref(), &self.path.join(name), offsets)
    }

    fn replace(&self, name: &str, contents: &[u8]) -> Result<(), LogError> {
        let path = self.path.join(name);
        let _stored =
            replace_file(self.disk.as_ref(), &path, contents).map_err(failed("replacing", &path))?;
        Ok(())
    }

    fn read_meta(&self) -> Result<Option<MetaProperties>, LogError> {
        let path = self.path.join(META_FILE);
        let contents =
            read_file(self.disk.as_ref(), &path, MAX_SMALL_FILE_BYTES).map_err(failed("reading", &path))?;
        contents.map(|contents| MetaProperties::decode(&contents, &path)).transpose()
    }
}

/// Makes a folder and those above it, each with a name that is durable before anything is made in it.
///
/// A start that was killed may have made the lowest folder that is there and not stored its name, so that one is stored again, until
/// the lock file tells that it was.
fn make_folders(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    let is_there = |path: &Path| match disk.metadata(path) {
        Ok(found) => Ok(found.is_some()),
        Err(error) => Err(failed("looking for", path)(error)),
    };
    if is_there(&path.join(LOCK_FILE))? {
        return Ok(());
    }
    let mut missing = Vec::new();
    let mut lowest = path;
    while !is_there(lowest)? {
        missing.push(lowest);
        let Some(parent) = lowest.parent() else { break };
        lowest = parent;
    }
    if let Some(parent) = lowest.parent() {
        match disk.sync_dir(parent) {
            Ok(_stored) => {}
            // No start has made a folder there: it would have failed at its name.
            Err(error) if cannot_be_synced(&error) => {}
            Err(error) => return Err(failed("flushing", parent)(error)),
        }
    }
    for folder in missing.into_iter().rev() {
        disk.create_dir_all(folder).map_err(failed("making", folder))?;
        if let Some(parent) = folder.parent() {
            let _stored = disk.sync_dir(parent).map_err(failed("flushing", parent))?;
        }
    }
    Ok(())
}

/// Whether it is the folder's nature, or this user, that keeps it from being synced.
fn cannot_be_synced(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

impl MetaProperties {
    /// Whether what is found now is of the same node, and of the same directory if that was known.
    fn is_kept_by(&self, found: &Self) -> bool {
        let same_directory = self.directory_id.is_none() || self.directory_id == found.directory_id;
        self.cluster_id == found.cluster_id && self.node_id == found.node_id && same_directory
    }

    fn encode(&self) -> Vec<u8> {
        let Self { cluster_id, node_id, directory_id } = self;
        let directory = directory_id.map(|id| format!("directory.id={id}\n")).unwrap_or_default();
        format!("#\ncluster.id={cluster_id}\n{directory}node.id={node_id}\nversion={META_VERSION}\n")
            .into_bytes()
    }

    fn decode(contents: &[u8], path: &Path) -> Result<Self, LogError> {
        let text = String::from_utf8_lossy(contents);
        let field = |key: &str| {
            text.lines()
                .map(str::trim)
                .filter(|line| !line.starts_with(['#', '!']))
                .find_map(|line| line.split_once('=').filter(|(name, _)| name.trim() == key))
                .map(|(_, value)| value.trim().replace('\\', ""))
                .filter(|value| !value.is_empty())
        };
        match field("version").as_deref() {
            Some(META_VERSION) => {}
            Some("0") => {
                let what = "it has version 0, from before KRaft; format the directory for KRaft first";
                return Err(LogError::corrupt(path, what));
            }
            Some(other) => {
                return Err(LogError::corrupt(path, format!("it has the unknown version '{other}'")));
            }
            None => return Err(LogError::corrupt(path, "it has no 'version'")),
        }
        let cluster_id =
            field("cluster.id").ok_or_else(|| LogError::corrupt(path, "it has no 'cluster.id'"))?;
        let node_id = field("node.id").ok_or_else(|| LogError::corrupt(path, "it has no 'node.id'"))?;
        let node_id = node_id
            .parse()
            .map_err(|_| LogError::corrupt(path, format!("its node.id '{node_id}' is not a number")))?;
        let directory_id = field("directory.id")
            .map(|id| {
                id.parse()
                    .map_err(|_| LogError::corrupt(path, format!("its directory.id '{id}' is not an id")))
            })
            .transpose()?;
        Ok(Self { cluster_id, node_id: NodeId(node_id), directory_id })
    }
}
