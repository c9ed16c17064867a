//! Why a partition did not do what it was asked.

use dohle_types::{ErrorCode, LeaderEpoch, NodeId, Offset};

/// A request's answer from a partition that could not do what was asked.
#[derive(Clone, Debug)]
pub struct Refused {
    pub code: ErrorCode,
    pub message: Option<String>,
    /// Where the log starts, where the answer tells it.
    pub log_start: Offset,
    /// Who leads, for errors that send clients elsewhere.
    pub leader: Option<(NodeId, LeaderEpoch)>,
}

impl Refused {
    pub fn new(code: ErrorCode) -> Self {
        Self { code, message: None, log_start: Offset::NONE, leader: None }
    }
}
