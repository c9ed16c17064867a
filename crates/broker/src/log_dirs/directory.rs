//! One log directory as this process has it: its checkpoints, and whether it is served.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use dohle_log::dirs::LogDir;
use dohle_log::names::{FolderState, marked_folder_name};
use dohle_log::{Between, LogContext, LogError, Recovery, Verifying};
use dohle_types::{DirectoryId, Offset, PartitionIndex, Uuid};
use tracing::{info, warn};

use crate::checkpoints::Checkpoints;
use crate::recovering::Gate;

/// The folder of the metadata log is named after this topic.
const METADATA_TOPIC_NAME: &str = "__cluster_metadata";

pub struct Directory {
    pub path: PathBuf,
    id: OnceLock<DirectoryId>,
    /// What there is of it, or why it could not be opened. Exchanged as a whole when the directory comes back: what has been taken from
    /// here before reaches the disk no more. Locked for a moment only, and after the places where both are.
    opened: Mutex<Result<Arc<Held>, String>>,
    pub gate: Arc<Gate>,
}

/// What this process has of a directory since it opened it. Nothing of it is asked once [`LogDir::failure`] is there.
///
/// Where both are locked, the places of all directories come before the checkpoints of one.
pub struct Held {
    pub dir: LogDir,
    pub context: LogContext,
    /// The last process closed it cleanly: what its logs hold needs no check.
    pub clean: bool,
    checkpoints: Mutex<Checkpoints>,
    /// Folders of deleted partitions that an earlier process has left.
    leftovers: Mutex<Vec<PathBuf>>,
}

/// A directory of which the names were read.
pub struct Stock {
    pub held: Held,
    /// The partitions whose folders lie there.
    pub live: Vec<(String, PartitionIndex)>,
    /// Copies that are to become a partition's log, and their folders.
    pub copies: Vec<(String, PartitionIndex, PathBuf)>,
}

impl Directory {
    pub fn new(path: PathBuf, opened: Result<Held, String>) -> Self {
        let directory =
            Self { path, id: OnceLock::new(), opened: Mutex::new(Err(String::new())), gate: Arc::default() };
        match opened {
            Ok(held) => directory.hold(held),
            Err(why) => *directory.opened() = Err(why),
        }
        directory
    }

    /// Its id, if it was ever opened.
    pub fn id(&self) -> Option<DirectoryId> {
        self.id.get().copied()
    }

    /// From here on this is what there is of the directory.
    pub fn hold(&self, held: Held) {
        if let Some(id) = held.dir.meta().and_then(|meta| meta.directory_id) {
            let known = self.id.get_or_init(|| id);
            assert_eq!(*known, id, "a directory keeps its id");
        }
        *self.opened() = Ok(Arc::new(held));
    }

    /// What there is of the directory, unless it is offline.
    pub fn held(&self) -> Result<Arc<Held>, LogError> {
        match &*self.opened() {
            Err(why) => Err(LogError::Offline { path: self.path.clone(), why: why.clone() }),
            Ok(held) => held.check().map(|()| held.clone()),
        }
    }

    /// What there was of a directory that has failed since it was opened.
    pub fn lost(&self) -> Option<Arc<Held>> {
        self.opened().as_ref().ok().filter(|held| held.dir.failure().is_some()).cloned()
    }

    fn opened(&self) -> MutexGuard<'_, Result<Arc<Held>, String>> {
        self.opened.lock().expect("nothing panics while it is locked")
    }
}

impl Stock {
    /// Reads names and checkpoints of an opened directory, and from here on has it in use.
    pub fn take(dir: LogDir, context: &LogContext) -> Result<Self, LogError> {
        let mut checkpoints = Checkpoints::read(&dir)?;
        let clean = dir.take_clean_shutdown()?.is_some() && checkpoints.are_whole;
        // The metadata log is the controller's.
        let of_partitions = |folder: &dohle_log::dirs::PartitionFolder| folder.topic != METADATA_TOPIC_NAME;
        let (mut live, mut copies, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
        for folder in dir.scan()?.into_iter().filter(of_partitions) {
            match folder.state {
                FolderState::Live => live.push((folder.topic, folder.partition)),
                FolderState::Deleted => deleted.push(folder.path),
                FolderState::Future => copies.push((folder.topic, folder.partition, folder.path)),
                // Left to whoever put them aside.
                FolderState::Stray => {}
            }
        }
        // What a deleted partition left must never be taken for the mark of a younger one of its name.
        let mut here: HashSet<(&str, PartitionIndex)> =
            live.iter().map(|(topic, at)| (&**topic, *at)).collect();
        here.extend(copies.iter().map(|(topic, at, _)| (&**topic, *at)));
        if checkpoints.retain(|topic, partition| here.contains(&(topic, partition))) {
            checkpoints.write(&dir)?;
        }
        drop(here);
        info!(path = %dir.path().display(), clean, "log directory");
        let context =
            LogContext { disk: dir.disk().clone(), verifying: Verifying::default(), ..context.clone() };
        let (checkpoints, leftovers) = (Mutex::new(checkpoints), Mutex::new(deleted));
        let held = Held { dir, context, clean, checkpoints, leftovers };
        Ok(Self { held, live, copies })
    }
}

impl Held {
    /// Fails once the directory has failed since it was opened.
    pub fn check(&self) -> Result<(), LogError> {
        match self.dir.failure() {
            None => Ok(()),
            Some(failure) => {
                Err(LogError::Offline { path: self.dir.path().to_owned(), why: failure.to_string() })
            }
        }
    }

    pub fn recovery(&self, topic: &str, partition: PartitionIndex) -> Recovery {
        let checkpoints = self.checkpoints();
        Recovery {
            clean: self.clean,
            recovery_point: checkpoints.recovery_points.get(topic, partition).unwrap_or(Offset::NONE),
            log_start: checkpoints.log_starts.get(topic, partition).unwrap_or(Offset::ZERO),
        }
    }

    /// What is still to be removed of deleted partitions; told once.
    pub fn take_leftovers(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.leftovers.lock().expect("nothing panics while the leftovers are locked"))
    }

    pub fn checkpoints(&self) -> MutexGuard<'_, Checkpoints> {
        self.checkpoints.lock().expect("nothing panics while the checkpoints are locked")
    }
}

/// Gives a partition's folder a name that says why it is nobody's. Durable when it returns.
pub fn put_aside(
    dir: &LogDir,
    topic: &str,
    partition: PartitionIndex,
    unique: Uuid,
    mark: FolderState,
) -> Result<PathBuf, LogError> {
    let from = dir.partition_path(topic, partition);
    let to = dir.path().join(marked_folder_name(topic, partition, unique, mark));
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| LogError::Io { action, path, source }
    };
    dir.disk().rename(&from, &to).map_err(failed("renaming", &from))?;
    let _stored = dir.disk().sync_dir(dir.path()).map_err(failed("flushing", dir.path()))?;
    Ok(to)
}

/// Whether to go on with others.
pub fn remove(held: &Held, folder: &Path, between: Between<'_>) -> bool {
    held.dir.remove_deleted(folder, &held.context.buffers, between).unwrap_or_else(|problem| {
        warn!(folder = %folder.display(), %problem, "a deleted partition's folder could not be removed");
        true
    })
}
