//! One log directory as this process has it: its checkpoints, and whether it is served.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use dohle_log::dirs::LogDir;
use dohle_log::names::FolderState;
use dohle_log::{LogContext, LogError, Recovery};
use dohle_types::{DirectoryId, Offset, PartitionIndex};
use tracing::{info, warn};

use crate::checkpoints::Checkpoints;
use crate::places::{Place, Places};
use crate::recovering::Gate;

/// The folder of the metadata log is named after this topic.
const METADATA_TOPIC_NAME: &str = "__cluster_metadata";

pub struct Directory {
    pub path: PathBuf,
    /// Known if it was ever opened.
    pub id: Option<DirectoryId>,
    /// What there is of it, or why it could not be opened.
    pub opened: Result<Held, String>,
    pub gate: Arc<Gate>,
}

/// What this process has of a directory that it could open. Nothing of it is asked once [`LogDir::failure`] is there.
///
/// Where both are locked, the places of all directories come before the checkpoints of one.
pub struct Held {
    pub dir: LogDir,
    pub context: LogContext,
    /// The last process closed it cleanly: what its logs hold needs no check.
    pub clean: bool,
    checkpoints: Mutex<Checkpoints>,
}

impl Directory {
    /// What there is of the directory, unless it is offline.
    pub fn held(&self) -> Result<&Held, LogError> {
        let offline = |why: String| LogError::Offline { path: self.path.clone(), why };
        match &self.opened {
            Err(why) => Err(offline(why.clone())),
            Ok(held) => match held.dir.failure() {
                Some(failure) => Err(offline(failure.to_string())),
                None => Ok(held),
            },
        }
    }
}

impl Held {
    /// Reads names and checkpoints of an opened directory, and from here on has it in use.
    pub fn take_stock(
        dir: LogDir,
        context: &LogContext,
        index: usize,
        places: &mut Places,
    ) -> Result<Self, LogError> {
        let mut checkpoints = Checkpoints::read(&dir)?;
        let clean = dir.take_clean_shutdown()?.is_some() && checkpoints.are_whole;
        // The metadata log is the controller's.
        let of_partitions = |folder: &dohle_log::dirs::PartitionFolder| folder.topic != METADATA_TOPIC_NAME;
        let (mut live, mut deleted) = (Vec::new(), Vec::new());
        for folder in dir.scan()?.into_iter().filter(of_partitions) {
            match folder.state {
                FolderState::Live => live.push((folder.topic, folder.partition)),
                FolderState::Deleted => deleted.push(folder.path),
                // Left to whoever put them aside.
                FolderState::Future | FolderState::Stray => {}
            }
        }
        deleted.iter().for_each(|folder| remove(&dir, folder));
        for (topic, partition) in &live {
            places.insert(topic, *partition, Place::found(index));
        }
        // What a deleted partition left must never be taken for the mark of a younger one of its name.
        let is_here = |topic: &str, partition| {
            places.get(topic, partition).is_some_and(|place| place.directory == index)
        };
        if checkpoints.retain(is_here)
            && let Err(problem) = checkpoints.write(&dir)
        {
            live.iter().for_each(|(topic, partition)| places.remove(topic, *partition));
            return Err(problem);
        }
        info!(path = %dir.path().display(), clean, "log directory");
        let context = LogContext { disk: dir.disk().clone(), ..context.clone() };
        Ok(Self { dir, context, clean, checkpoints: Mutex::new(checkpoints) })
    }

    pub fn recovery(&self, topic: &str, partition: PartitionIndex) -> Recovery {
        let checkpoints = self.checkpoints();
        Recovery {
            clean: self.clean,
            recovery_point: checkpoints.recovery_points.get(topic, partition).unwrap_or(Offset::NONE),
            log_start: checkpoints.log_starts.get(topic, partition).unwrap_or(Offset::ZERO),
        }
    }

    pub fn checkpoints(&self) -> MutexGuard<'_, Checkpoints> {
        self.checkpoints.lock().expect("nothing panics while the checkpoints are locked")
    }
}

pub fn remove(dir: &LogDir, folder: &Path) {
    if let Err(problem) = dir.remove_deleted(folder) {
        warn!(folder = %folder.display(), %problem, "a deleted partition's folder could not be removed");
    }
}
