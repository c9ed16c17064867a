//! What can go wrong, by what a caller does about it.

use std::io;
use std::path::{Path, PathBuf};

use dohle_types::{ErrorCode, HighWatermark, LeaderEpoch, Offset};
use thiserror::Error;

use crate::damage::Damage;

/// The disk refused, or a file is not what it has to be. Each sentence names the file.
#[derive(Debug, Error)]
pub enum LogError {
    #[error("{action} {} failed: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{}: {what}", path.display())]
    Corrupt { path: PathBuf, what: String },
    /// Something failed earlier; what was written since the last flush may be lost, so that nothing more is taken.
    #[error("the log in {} is out of service: {why}", path.display())]
    Failed { path: PathBuf, why: String },
    /// The whole log directory is out of service: nothing of it can be said.
    #[error("the log directory {} is offline: {why}", path.display())]
    Offline { path: PathBuf, why: String },
    #[error("{} is in use by another process", path.display())]
    InUse { path: PathBuf },
    /// Files of this log are being renamed or deleted by work that has not come back yet. Try again after it has.
    #[error("files in {} are still being renamed or deleted", path.display())]
    Busy { path: PathBuf },
}

impl LogError {
    pub fn code(&self) -> ErrorCode {
        ErrorCode::KafkaStorageError
    }

    /// Only the page cache was asked, and it did not have it.
    pub(crate) fn would_block(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into() }
    }
}

/// Says which file an IO error is about: `.map_err(failed("reading", &path))`.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { action, path, source }
}

/// Why an append was refused. Nothing of it is in the log then.
#[derive(Debug, Error)]
pub enum AppendError {
    #[error("{0}")]
    OutOfOrderSequence(String),
    #[error("{0}")]
    InvalidProducerEpoch(String),
    #[error("{0}")]
    InvalidTransactionState(String),
    #[error("{0}")]
    CoordinatorFenced(String),
    #[error("{0}")]
    InvalidRecord(String),
    #[error("the batches have {size} bytes, more than the {limit} of a segment")]
    LargerThanSegment { size: u64, limit: u64 },
    /// From a leader: the batches start before the end of this log.
    #[error("the batches start at offset {got}, before the end of the log at {end}")]
    BehindTheEnd { got: Offset, end: Offset },
    #[error("the batches carry leader epoch {got}, older than {latest} in the log")]
    OldLeaderEpoch { got: LeaderEpoch, latest: LeaderEpoch },
    #[error(transparent)]
    Storage(#[from] LogError),
}

impl AppendError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfOrderSequence(_) => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch(_) => ErrorCode::InvalidProducerEpoch,
            Self::InvalidTransactionState(_) => ErrorCode::InvalidTxnState,
            Self::CoordinatorFenced(_) => ErrorCode::TransactionCoordinatorFenced,
            Self::InvalidRecord(_) => ErrorCode::InvalidRecord,
            Self::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            Self::BehindTheEnd { .. } => ErrorCode::CorruptMessage,
            Self::OldLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::Storage(error) => error.code(),
        }
    }
}

/// Why a read gave nothing.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("offset {offset} is not in the log, which reaches from {start} to {end}")]
    OutOfRange { offset: Offset, start: Offset, end: Offset },
    #[error("{}: the batch at byte {position} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, position: u64, what: String },
    /// What was asked for lies in a damaged stretch of the log, which is known as such.
    #[error("{0}")]
    Quarantined(Box<Damage>),
    #[error(transparent)]
    Storage(#[from] LogError),
}

impl ReadError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Damaged { .. } | Self::Quarantined(_) => ErrorCode::CorruptMessage,
            Self::Storage(error) => error.code(),
        }
    }

    /// Only the page cache was asked, and it did not have it.
    pub(crate) fn would_block(&self) -> bool {
        matches!(self, Self::Storage(error) if error.would_block())
    }
}

/// A flush came back with an error: what it was to store may be lost.
#[derive(Debug, Error)]
#[error("flushing failed: {0}")]
pub struct FlushError(#[from] pub(crate) LogError);

/// Why records were not deleted.
#[derive(Debug, Error)]
pub enum DeleteRecordsError {
    #[error("offset {offset} is outside of {start} to the high watermark {high_watermark}")]
    OutOfRange { offset: Offset, start: Offset, high_watermark: HighWatermark },
    #[error(transparent)]
    Storage(#[from] LogError),
}

impl DeleteRecordsError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Storage(error) => error.code(),
        }
    }
}
