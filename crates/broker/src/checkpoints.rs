//! What the checkpoints of a log directory say, and are to say: kept here, written as files of Kafka's when something has moved.

use std::path::PathBuf;
use std::sync::Arc;

use dohle_env::disk::{DiskFailure, Guard};
use dohle_log::LogError;
use dohle_log::checkpoint::Offsets;
use dohle_log::dirs::LogDir;
use dohle_types::{HighWatermark, Offset, PartitionIndex, TopicId};
use tracing::warn;

/// What of a partition goes into the checkpoints of its directory.
#[derive(Clone, Debug)]
pub struct Mark {
    pub id: TopicId,
    pub topic: String,
    pub partition: PartitionIndex,
    pub folder: PathBuf,
    /// Of the log whose state this was.
    pub guard: Option<Arc<Guard>>,
    pub recovery_point: Offset,
    pub log_start: Offset,
    pub high_watermark: HighWatermark,
}

impl Mark {
    /// How the log's directory has failed since the log was opened.
    pub fn failure(&self) -> Option<&DiskFailure> {
        self.guard.as_ref()?.failure()
    }
}

#[derive(Default)]
pub struct Checkpoints {
    pub recovery_points: Offsets,
    pub log_starts: Offsets,
    pub high_watermarks: Offsets,
    /// Up to where each log is compacted.
    pub compacted: Offsets,
    /// Whether `compacted` is not what the file says.
    pub compacted_moved: bool,
    /// Whether the files still speak of partitions that are gone.
    dropped: bool,
    /// Whether all of the files could be understood.
    pub are_whole: bool,
}

impl Checkpoints {
    /// Reads what a directory has. A file that cannot be understood tells nothing: then everything is verified, and logs start where
    /// their first segment does. Kafka says the same, and takes the directory offline afterwards where the file is not even of its form.
    pub fn read(dir: &LogDir) -> Result<Self, LogError> {
        let mut are_whole = true;
        let mut or_nothing = |read: Result<Offsets, LogError>| match read {
            Err(error @ LogError::Corrupt { .. }) => {
                warn!(%error, "a checkpoint cannot be understood; it is made anew, and every log of the directory is verified");
                are_whole = false;
                Ok(Offsets::default())
            }
            read => read,
        };
        Ok(Self {
            recovery_points: or_nothing(dir.recovery_points())?,
            log_starts: or_nothing(dir.log_starts())?,
            high_watermarks: or_nothing(dir.high_watermarks())?,
            compacted: or_nothing(dir.cleaner_points())?,
            compacted_moved: false,
            dropped: false,
            are_whole,
        })
    }

    pub fn note(&mut self, mark: &Mark) {
        let (topic, partition) = (&*mark.topic, mark.partition);
        // Kafka writes a log start only where it is not what the first segment says anyway.
        if mark.log_start > Offset::ZERO {
            self.log_starts.insert(topic, partition, mark.log_start);
        } else {
            self.log_starts.remove(topic, partition);
        }
        self.recovery_points.insert(topic, partition, mark.recovery_point);
        self.high_watermarks.insert(topic, partition, mark.high_watermark.get());
    }

    /// Forgets a partition that is gone; until the next write in memory only.
    pub fn remove(&mut self, topic: &str, partition: PartitionIndex) {
        for offsets in [&mut self.recovery_points, &mut self.log_starts, &mut self.high_watermarks] {
            self.dropped |= offsets.remove(topic, partition).is_some();
        }
        let compacted = self.compacted.remove(topic, partition).is_some();
        self.compacted_moved |= compacted;
        self.dropped |= compacted;
    }

    /// Keeps the entries of some partitions only. Says whether others were there.
    pub fn retain(&mut self, keep: impl Fn(&str, PartitionIndex) -> bool) -> bool {
        let mut dropped = false;
        for offsets in [&mut self.recovery_points, &mut self.log_starts, &mut self.high_watermarks] {
            let before = offsets.len();
            offsets.retain(&keep);
            dropped |= offsets.len() < before;
        }
        let before = self.compacted.len();
        self.compacted.retain(&keep);
        self.compacted_moved |= self.compacted.len() < before;
        dropped | self.compacted_moved
    }

    pub fn write_compacted(&mut self, dir: &LogDir) -> Result<(), LogError> {
        if self.compacted_moved {
            dir.write_cleaner_points(&self.compacted)?;
            self.compacted_moved = false;
        }
        Ok(())
    }

    pub fn write(&mut self, dir: &LogDir) -> Result<(), LogError> {
        self.write_compacted(dir)?;
        dir.write_recovery_points(&self.recovery_points)?;
        dir.write_log_starts(&self.log_starts)?;
        dir.write_high_watermarks(&self.high_watermarks)?;
        self.dropped = false;
        Ok(())
    }

    /// Has no mark of a partition that is gone in the files, so that one of its name may come.
    pub fn settle(&mut self, dir: &LogDir) -> Result<(), LogError> {
        if self.dropped { self.write(dir) } else { Ok(()) }
    }
}
