//! An answer that is an error: the code for the client's program, the sentence for its reader.

use dohle_types::ErrorCode;
use dohle_wire::Text;

/// What goes wrong with a request or with one part of it. `message` is Kafka's sentence, or `None` where Kafka sends null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: Option<Text>,
}

pub(super) type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<Text>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// An error that says no more than its code.
    pub const fn bare(code: ErrorCode) -> Self {
        Self { code, message: None }
    }

    pub(super) fn invalid_request(message: impl Into<Text>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    pub(super) fn invalid_config(message: impl Into<Text>) -> Self {
        Self::new(ErrorCode::InvalidConfig, message)
    }

    pub(super) fn invalid_assignment(message: impl Into<Text>) -> Self {
        Self::new(ErrorCode::InvalidReplicaAssignment, message)
    }

    pub(super) fn invalid_replication_factor(message: impl Into<Text>) -> Self {
        Self::new(ErrorCode::InvalidReplicationFactor, message)
    }

    pub(super) fn invalid_partitions(message: impl Into<Text>) -> Self {
        Self::new(ErrorCode::InvalidPartitions, message)
    }

    pub(super) fn unknown_topic(message: impl Into<Text>) -> Self {
        Self::new(ErrorCode::UnknownTopicOrPartition, message)
    }

    pub(super) fn stale_broker_epoch(message: impl Into<Text>) -> Self {
        Self::new(ErrorCode::StaleBrokerEpoch, message)
    }

    pub(super) fn invalid_registration(message: impl Into<Text>) -> Self {
        Self::new(ErrorCode::InvalidRegistration, message)
    }

    pub(super) fn unsupported_version(message: impl Into<Text>) -> Self {
        Self::new(ErrorCode::UnsupportedVersion, message)
    }
}

/// The code and the sentence of one part of an answer.
pub(super) fn parts<T>(result: &Result<T>) -> (i16, Option<Text>) {
    match result {
        Ok(_) => (ErrorCode::None.code(), None),
        Err(error) => (error.code.code(), error.message.clone()),
    }
}
