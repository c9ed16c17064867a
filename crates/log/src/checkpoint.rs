//! Kafka's small text files: offsets per partition, leader epochs, the id of a topic.
//!
//! All of them are replaced in one durable step; a crash leaves the old contents or the new.
//!
//! ```text
//! recovery-point-offset-checkpoint   leader-epoch-checkpoint   partition.metadata
//!   0                                  0                         version: 0
//!   2              (lines)             1                         topic_id: 3qGzHs0cR8mV0yZ5mA0b1A
//!   orders 0 1234                      5 1200
//!   orders 1 99                        (epoch, first offset)
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use dohle_env::Disk;
use dohle_env::disk::{put_file, read_file, replace_file};
use dohle_types::{LeaderEpoch, Offset, PartitionIndex, Uuid};

use crate::error::{LogError, failed};

/// The largest checkpoint that is read: 100,000 partitions with names of the full length fit.
const MAX_CHECKPOINT_BYTES: u64 = 64 << 20;
const MAX_METADATA_BYTES: u64 = 4096;
const VERSION: &str = "0";

/// The file of a partition's folder that holds its leader epochs.
pub const LEADER_EPOCH_FILE: &str = "leader-epoch-checkpoint";
/// The file of a partition's folder that holds the id of its topic.
pub const PARTITION_METADATA_FILE: &str = "partition.metadata";

/// An offset per topic name and partition, in the order of the lines of a checkpoint.
///
/// A hundred thousand partitions cost 16 bytes each: topics have few names and numbers without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    topics: BTreeMap<Box<str>, Vec<(PartitionIndex, Offset)>>,
    len: usize,
}

impl Offsets {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        let partitions = self.topics.get(topic)?;
        let at = partitions.binary_search_by_key(&partition, |(index, _)| *index).ok()?;
        Some(partitions[at].1)
    }

    pub fn insert(&mut self, topic: &str, partition: PartitionIndex, offset: Offset) {
        let Some(partitions) = self.topics.get_mut(topic) else {
            self.topics.insert(topic.into(), vec![(partition, offset)]);
            self.len += 1;
            return;
        };
        match partitions.binary_search_by_key(&partition, |(index, _)| *index) {
            Ok(at) => partitions[at].1 = offset,
            Err(at) => {
                partitions.insert(at, (partition, offset));
                self.len += 1;
            }
        }
    }

    pub fn remove(&mut self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        let partitions = self.topics.get_mut(topic)?;
        let at = partitions.binary_search_by_key(&partition, |(index, _)| *index).ok()?;
        let (_, offset) = partitions.remove(at);
        self.len -= 1;
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
        Some(offset)
    }

    /// Keeps the entries of some partitions only.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, PartitionIndex) -> bool) {
        self.topics.retain(|topic, partitions| {
            partitions.retain(|(partition, _)| keep(topic, *partition));
            !partitions.is_empty()
        });
        self.len = self.topics.values().map(Vec::len).sum();
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, PartitionIndex, Offset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|(partition, offset)| (&**topic, *partition, *offset))
        })
    }

    pub fn values(&self) -> impl Iterator<Item = Offset> {
        self.iter().map(|(_, _, offset)| offset)
    }
}

impl<const N: usize> From<[(&str, PartitionIndex, Offset); N]> for Offsets {
    fn from(entries: [(&str, PartitionIndex, Offset); N]) -> Self {
        let mut offsets = Self::new();
        entries.into_iter().for_each(|(topic, partition, offset)| offsets.insert(topic, partition, offset));
        offsets
    }
}

/// Reads a file of offsets; empty when there is none.
pub fn read(disk: &dyn Disk, path: &Path) -> Result<Offsets, LogError> {
    let mut offsets = Offsets::new();
    for_each_line(disk, path, |line| {
        let mut fields = line.split_ascii_whitespace();
        let parsed = (|| {
            let topic = fields.next()?;
            let partition = PartitionIndex(fields.next()?.parse().ok()?);
            let offset = Offset(fields.next()?.parse().ok()?);
            fields.next().is_none().then_some((topic, partition, offset))
        })();
        let Some((topic, partition, offset)) = parsed else {
            return Err(format!("'{line}' is not a topic, a partition and an offset"));
        };
        offsets.insert(topic, partition, offset);
        Ok(())
    })?;
    Ok(offsets)
}

/// Replaces a file of offsets.
pub fn write(disk: &dyn Disk, path: &Path, offsets: &Offsets) -> Result<(), LogError> {
    let mut text = format!("{VERSION}\n{}\n", offsets.len());
    for (topic, partition, offset) in offsets.iter() {
        writeln!(text, "{topic} {partition} {offset}").expect("a string takes all");
    }
    if cfg!(dohle_bug = "checkpoint_nameless") {
        return put_file(disk, path, text.as_bytes()).map_err(failed("replacing", path));
    }
    let _stored = replace_file(disk, path, text.as_bytes()).map_err(failed("replacing", path))?;
    Ok(())
}

/// Reads a `leader-epoch-checkpoint`: epochs with their first offsets; empty when there is none.
pub fn read_epochs(disk: &dyn Disk, path: &Path) -> Result<Vec<(LeaderEpoch, Offset)>, LogError> {
    let mut epochs = Vec::new();
    for_each_line(disk, path, |line| {
        let parsed = line.split_once(' ').and_then(|(epoch, offset)| {
            let epoch: i32 = epoch.parse().ok()?;
            let offset: i64 = offset.trim().parse().ok()?;
            (epoch >= 0 && offset >= 0).then_some((LeaderEpoch(epoch), Offset(offset)))
        });
        let Some(entry) = parsed else {
            return Err(format!("'{line}' is not a leader epoch and an offset"));
        };
        epochs.push(entry);
        Ok(())
    })?;
    Ok(epochs)
}

/// The contents of a `leader-epoch-checkpoint`.
pub fn encode_epochs(epochs: &[(LeaderEpoch, Offset)]) -> Vec<u8> {
    let mut text = format!("{VERSION}\n{}\n", epochs.len());
    for (epoch, offset) in epochs {
        writeln!(text, "{epoch} {offset}").expect("a string takes all");
    }
    text.into_bytes()
}

/// The contents of a `partition.metadata`.
pub fn encode_partition_metadata(topic_id: Uuid) -> Vec<u8> {
    format!("version: 0\ntopic_id: {topic_id}").into_bytes()
}

/// The topic id in a `partition.metadata`. `Ok(None)` when there is no such file.
pub fn read_partition_metadata(disk: &dyn Disk, path: &Path) -> Result<Option<Uuid>, LogError> {
    let Some(contents) = read_file(disk, path, MAX_METADATA_BYTES).map_err(failed("reading", path))? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&contents);
    let field = |name: &str| {
        text.lines().find_map(|line| {
            line.split_once(':').filter(|(key, _)| key.trim() == name).map(|(_, v)| v.trim())
        })
    };
    if field("version") != Some("0") {
        return Err(LogError::corrupt(path, "it has no line 'version: 0'"));
    }
    match field("topic_id").and_then(|id| id.parse::<Uuid>().ok()) {
        Some(id) if !id.is_zero() => Ok(Some(id)),
        _ => Err(LogError::corrupt(path, "it has no line with a topic_id")),
    }
}

/// Goes through the lines after the version and the count, which has to be right.
fn for_each_line(
    disk: &dyn Disk,
    path: &Path,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), LogError> {
    let Some(contents) = read_file(disk, path, MAX_CHECKPOINT_BYTES).map_err(failed("reading", path))? else {
        return Ok(());
    };
    let corrupt = |what: String| LogError::corrupt(path, what);
    let text = std::str::from_utf8(&contents).map_err(|_| corrupt("it is not text".to_owned()))?;
    let mut lines = text.lines();
    match lines.next() {
        None => return Ok(()),
        Some(VERSION) => {}
        Some(other) => return Err(corrupt(format!("unknown version '{other}'"))),
    }
    let claimed = lines.next().unwrap_or_default();
    let mut found = 0_usize;
    for line in lines.filter(|line| !line.is_empty()) {
        take(line).map_err(corrupt)?;
        found += 1;
    }
    if claimed.trim().parse() != Ok(found) {
        return Err(corrupt(format!("it claims '{claimed}' entries and has {found}")));
    }
    Ok(())
}
