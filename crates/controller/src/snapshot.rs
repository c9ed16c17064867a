//! Snapshots of the metadata: `<end offset>-<epoch>.checkpoint`, and the bootstrap checkpoint, which has the same form.
//!
//! ```text
//! control batch   SnapshotHeader, and where the quorum names its voters KRaftVersion, KRaftVoters
//! data batches    metadata records
//! control batch   SnapshotFooter
//! ```
//!
//! A snapshot that has its name is whole: it is written under `.part`, synced, renamed, and the folder is synced.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dohle_env::disk::{Disk, OpenMode, Synced};
use dohle_raft::{ControlRecord, SnapshotId, VoterSet};
use dohle_records::control::{ControlRecord as Stored, ControlType, kraft_batch};
use dohle_records::{Batch, parse_batches};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};
use dohle_wire::messages::{SnapshotFooterRecord, SnapshotHeaderRecord};
use dohle_wire::{Message, MetadataRecord, Reader};

use crate::codec::{self, CodecError};

/// The largest snapshot that is read: some ten million partitions.
pub(crate) const MAX_SNAPSHOT_BYTES: u64 = 2 << 30;
const SUFFIX: &str = ".checkpoint";
const PART_SUFFIX: &str = ".part";
const OFFSET_DIGITS: usize = 20;
const EPOCH_DIGITS: usize = 10;

/// What a snapshot holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    /// When the last record in it was written to the log.
    pub last_timestamp: TimestampMs,
    pub kraft_version: i16,
    pub voters: Option<VoterSet>,
    pub records: Vec<(MetadataRecord, i16)>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("{0}")]
    Damaged(&'static str),
}

pub(crate) fn file_name(id: SnapshotId) -> String {
    format!("{:020}-{:010}{SUFFIX}", id.offset.get(), id.epoch.get())
}

/// The snapshot that a file name stands for.
pub(crate) fn parse_file_name(name: &str) -> Option<SnapshotId> {
    let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(offset, OFFSET_DIGITS) || !digits(epoch, EPOCH_DIGITS) {
        return None;
    }
    Some(SnapshotId::new(Offset(offset.parse().ok()?), LeaderEpoch(epoch.parse().ok()?)))
}

/// Whether a file is a snapshot that was never finished.
pub(crate) fn is_part(name: &str) -> bool {
    name.ends_with(PART_SUFFIX)
}

/// The bytes of a snapshot. Batches carry `epoch`, offsets count from 0.
pub(crate) fn encode(contents: &Contents, epoch: LeaderEpoch, now: TimestampMs) -> Vec<u8> {
    let header = SnapshotHeaderRecord {
        version: 0,
        last_contained_log_timestamp: contents.last_timestamp.get(),
        ..Default::default()
    };
    let mut head = vec![(ControlType::SnapshotHeader, codec::encode_message(&header))];
    if contents.kraft_version > 0 {
        head.push(codec::encode_control(&ControlRecord::KRaftVersion(contents.kraft_version)));
        if let Some(voters) = &contents.voters {
            head.push(codec::encode_control(&ControlRecord::Voters(voters.clone())));
        }
    }
    let mut next = Offset::ZERO;
    let mut bytes = Vec::new();
    let mut put = |batch: Batch, next: &mut Offset| {
        *next = batch.header.next_offset();
        bytes.extend_from_slice(&batch.to_vec());
    };
    put(kraft_batch(&head, now, next, epoch), &mut next);
    for records in contents.records.chunks(codec::MAX_RECORDS_PER_BATCH) {
        put(codec::metadata_batch(records, now, next, epoch), &mut next);
    }
    let footer = [(ControlType::SnapshotFooter, codec::encode_message(&SnapshotFooterRecord::default()))];
    put(kraft_batch(&footer, now, next, epoch), &mut next);
    bytes
}

/// Reads a snapshot and checks all of it.
pub(crate) fn decode(bytes: Bytes) -> Result<Contents, SnapshotError> {
    let mut contents = Contents::default();
    let (mut has_header, mut has_footer) = (false, false);
    let mut next = Offset::ZERO;
    for batch in parse_batches(bytes) {
        let at = |source| CodecError::Batch { offset: next, source };
        let batch = batch.map_err(at)?;
        batch.check_crc().map_err(at)?;
        if has_footer {
            return Err(SnapshotError::Damaged("there are records after the footer"));
        }
        next = batch.header.next_offset();
        if batch.header.is_control() {
            for (_, stored) in codec::control_values(&batch)? {
                match stored {
                    Stored::KRaft(ControlType::SnapshotHeader, value) => {
                        has_header = true;
                        contents.last_timestamp = last_timestamp(value)?;
                    }
                    Stored::KRaft(ControlType::SnapshotFooter, _) => has_footer = true,
                    _ => {}
                }
            }
            for record in codec::control_records(&batch)? {
                match record {
                    ControlRecord::KRaftVersion(level) => contents.kraft_version = level,
                    ControlRecord::Voters(voters) => contents.voters = Some(voters),
                    ControlRecord::LeaderChange(_) | ControlRecord::Other => {}
                }
            }
        } else if has_header {
            for record in codec::metadata_records_with_versions(&batch) {
                contents.records.push(record?);
            }
        }
        if !has_header {
            return Err(SnapshotError::Damaged("it does not start with a header"));
        }
    }
    if has_footer { Ok(contents) } else { Err(SnapshotError::Damaged("it has no footer")) }
}

fn last_timestamp(value: Bytes) -> Result<TimestampMs, SnapshotError> {
    let header = SnapshotHeaderRecord::decode(&mut Reader::new(value), 0);
    let header = header.map_err(|source| CodecError::Record { offset: Offset::ZERO, source })?;
    Ok(TimestampMs(header.last_contained_log_timestamp))
}

/// Reads a snapshot's file. `Ok(None)` when there is none.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Contents>, SnapshotError> {
    match dohle_env::disk::read_file(disk, path, MAX_SNAPSHOT_BYTES)? {
        Some(bytes) => decode(bytes.into()).map(Some),
        None => Ok(None),
    }
}

/// Stores a snapshot's file. A crash leaves it whole or not at all.
pub(crate) fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<Synced> {
    let part = part_path(path);
    let file = disk.open(&part, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(&[IoSlice::new(bytes)], 0)?;
    let _stored = file.sync_data()?;
    finish(disk, &part, path)
}

/// Gives a finished, synced part its name.
pub(crate) fn finish(disk: &dyn Disk, part: &Path, path: &Path) -> io::Result<Synced> {
    disk.rename(part, path)?;
    disk.sync_dir(path.parent().expect("a file has a folder"))
}

pub(crate) fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PART_SUFFIX);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dohle_raft::{Endpoint, KRaftVersions, Replica, Voter};
    use dohle_types::{NodeId, Uuid};
    use dohle_wire::messages::FeatureLevelRecord;

    fn contents() -> Contents {
        let voter = Voter {
            replica: Replica::new(NodeId(1), Uuid::from_u128(0x1234_5678)),
            endpoints: vec![Endpoint { name: "CONTROLLER".into(), host: "localhost".into(), port: 9093 }],
            kraft_versions: KRaftVersions::SUPPORTED,
        };
        let feature =
            FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30, ..Default::default() };
        Contents {
            last_timestamp: TimestampMs(77),
            kraft_version: 1,
            voters: Some(VoterSet::new([voter])),
            records: vec![(feature.into(), 0)],
        }
    }

    #[test]
    fn names_are_kafkas() {
        let id = SnapshotId::new(Offset(4_711), LeaderEpoch(12));
        assert_eq!(file_name(id), "00000000000000004711-0000000012.checkpoint");
        assert_eq!(parse_file_name(&file_name(id)), Some(id));
        for other in
            ["bootstrap.checkpoint", "4711-12.checkpoint", "00000000000000004711-0000000012.checkpoint.part"]
        {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = encode(&contents(), LeaderEpoch(3), TimestampMs(99));
        let read = decode(bytes.into()).expect("whole");
        let written = contents();
        assert_eq!(read.last_timestamp, written.last_timestamp);
        assert_eq!(read.kraft_version, 1);
        assert_eq!(read.voters, written.voters);
        assert_eq!(read.records, written.records);
    }

    #[test]
    fn damage_is_found() {
        let bytes = encode(&contents(), LeaderEpoch(3), TimestampMs(99));
        for cut in 0..bytes.len() {
            assert!(decode(Bytes::copy_from_slice(&bytes[..cut])).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x40;
            // What a checksum does not cover (offsets, epochs) does not change what is read.
            if let Ok(read) = decode(flipped.into()) {
                assert_eq!((read.records, read.voters), (contents().records, contents().voters), "byte {at}");
            }
        }
    }
}
