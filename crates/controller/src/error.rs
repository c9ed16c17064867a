//! Why the controller does not start, or stops.

use std::io;
use std::path::PathBuf;

use dohle_metadata::ReplayError;
use dohle_types::ErrorCode;

/// Why the controller does not start. Nothing on disk has been damaged by the attempt.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot use {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// What is stored cannot be used, and there is no older snapshot to start from.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    /// The log holds what this version does not understand.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("the metadata log cannot be opened: {0}")]
    Log(#[from] dohle_log::LogError),
    #[error("{0}")]
    Unsupported(String),
    #[error("cannot start the controller's thread: {0}")]
    Thread(io::Error),
}

/// Why the metadata log has gone offline. The process keeps serving what it has; nothing can be changed any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error(transparent)]
    Log(#[from] dohle_log::LogError),
    #[error("append: {0}")]
    Append(String),
    #[error("read at offset {offset}: {source}")]
    Read { offset: dohle_types::Offset, source: dohle_log::ReadError },
    #[error(transparent)]
    Codec(#[from] crate::codec::CodecError),
    #[error("{0}")]
    Fault(dohle_raft::Fault),
}

impl StoreError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    pub(crate) fn code(&self) -> ErrorCode {
        ErrorCode::KafkaStorageError
    }
}
