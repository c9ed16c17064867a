//! Control records: what brokers and controllers write between the records of clients.
//!
//! Their keys say which they are. The value of a transaction marker is made here; the values of the KRaft records are messages,
//! which their users encode, and pass through as bytes.
//!
//! ```text
//! key:    version i16 = 0 | type i16
//! marker: version i16 = 0 | coordinator epoch i32
//! ```

use bytes::{Buf, BufMut, Bytes};
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::batch::Batch;
use crate::builder::BatchBuilder;
use crate::codec::Compression;
use crate::error::{BatchError, RecordFault};
use crate::record::Record;

const KEY_VERSION: i16 = 0;
const MARKER_VERSION: i16 = 0;

/// Which control record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlType {
    Abort = 0,
    Commit = 1,
    LeaderChange = 2,
    SnapshotHeader = 3,
    SnapshotFooter = 4,
    KRaftVersion = 5,
    KRaftVoters = 6,
}

impl ControlType {
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Abort),
            1 => Some(Self::Commit),
            2 => Some(Self::LeaderChange),
            3 => Some(Self::SnapshotHeader),
            4 => Some(Self::SnapshotFooter),
            5 => Some(Self::KRaftVersion),
            6 => Some(Self::KRaftVoters),
            _ => None,
        }
    }

    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The bytes of the record's key.
    pub fn key(self) -> [u8; 4] {
        let mut key = [0; 4];
        (&mut key[..2]).put_i16(KEY_VERSION);
        (&mut key[2..]).put_i16(self.code());
        key
    }
}

/// A control record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// The end of a transaction.
    EndTransaction(EndTransaction),
    /// A record of the metadata log: its type and its encoded value.
    KRaft(ControlType, Bytes),
    /// Of a type that is not known; Kafka skips these.
    Unknown(i16),
}

impl ControlRecord {
    /// Reads a record of a control batch.
    pub fn parse(record: &Record) -> Result<Self, BatchError> {
        let mut key = record.key.as_deref().unwrap_or_default();
        if key.len() < 4 {
            return Err(RecordFault::Control.into());
        }
        let version = key.get_i16();
        let code = key.get_i16();
        if version < 0 {
            return Err(RecordFault::Control.into());
        }
        let value = record.value.clone().unwrap_or_default();
        Ok(match ControlType::from_code(code) {
            None => Self::Unknown(code),
            Some(ControlType::Abort) => Self::EndTransaction(EndTransaction::parse(false, &value)?),
            Some(ControlType::Commit) => Self::EndTransaction(EndTransaction::parse(true, &value)?),
            Some(kind) => Self::KRaft(kind, value),
        })
    }
}

/// The marker that ends a transaction in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransaction {
    pub committed: bool,
    pub coordinator_epoch: i32,
}

impl EndTransaction {
    /// Later versions only add fields at the end.
    fn parse(committed: bool, mut value: &[u8]) -> Result<Self, BatchError> {
        if value.len() < 6 || value.get_i16() < 0 {
            return Err(RecordFault::Control.into());
        }
        Ok(Self { committed, coordinator_epoch: value.get_i32() })
    }

    /// The control batch that carries this marker. Markers have no sequence.
    pub fn to_batch(
        self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        timestamp: TimestampMs,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
    ) -> Batch {
        let kind = if self.committed { ControlType::Commit } else { ControlType::Abort };
        let mut value = [0; 6];
        (&mut value[..2]).put_i16(MARKER_VERSION);
        (&mut value[2..]).put_i32(self.coordinator_epoch);
        let mut builder = BatchBuilder::new(Compression::None)
            .producer(producer_id, producer_epoch, Sequence::NONE)
            .transactional(true)
            .control();
        builder.append(timestamp, Some(&kind.key()), Some(&value), &[]);
        builder.build(base_offset, leader_epoch)
    }
}

/// A control batch of the metadata log: records of KRaft types with their encoded values, all of one time.
pub fn kraft_batch(
    records: &[(ControlType, Bytes)],
    timestamp: TimestampMs,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None).control();
    for (kind, value) in records {
        builder.append(timestamp, Some(&kind.key()), Some(value), &[]);
    }
    builder.build(base_offset, leader_epoch)
}
