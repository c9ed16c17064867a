//! What readers ask of a partition, and what they are given.

use std::sync::Arc;

use dohle_log::{AbortedTransaction, ColdRead, ColdResult, Deferred, Slice};
use dohle_types::{ErrorCode, HighWatermark, LastStableOffset, LeaderEpoch, LogStartOffset, Offset};
use dohle_wire::{DeferredBytes, RecordBytes};

use crate::cold_reads::{ColdReads, Reader};
use crate::partition::{Partition, Refused};

/// Up to where a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Everything, stored or not: the debugging consumer of Kafka's tools (replica id -2).
    LogEnd,
    ReadUncommitted,
    ReadCommitted,
}

/// What a reader asks of one partition.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    pub offset: Offset,
    pub max_bytes: usize,
    pub at_least_one: bool,
    /// Whether the records go to a socket, and may stay in their file until then.
    pub may_defer: bool,
    pub isolation: Isolation,
    /// -1 for a reader that does not know.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the record before `offset`, as the reader has it; -1 for not known.
    pub last_fetched_epoch: LeaderEpoch,
}

/// The watermarks every answer about a partition tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    pub high_watermark: HighWatermark,
    pub last_stable: LastStableOffset,
    pub log_start: LogStartOffset,
}

/// What a reader is given.
#[derive(Debug, Default)]
pub struct Found {
    pub slice: Slice,
    pub watermarks: Watermarks,
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The reader's log and this one part before the offset it asked for.
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self {
            high_watermark: HighWatermark(Offset::NONE),
            last_stable: LastStableOffset(Offset::NONE),
            log_start: LogStartOffset(Offset::NONE),
        }
    }
}

/// Records that stay in their log until they are sent.
#[derive(Debug)]
pub struct InLog(pub Arc<Deferred>);

impl DeferredBytes for InLog {
    fn size(&self) -> usize {
        self.0.size()
    }
}

impl Found {
    /// The records as a response carries them.
    pub fn records(slice: Slice) -> RecordBytes {
        match slice.deferred {
            Some(deferred) => RecordBytes::deferred(Arc::new(InLog(deferred))),
            None => RecordBytes::from(slice.chunks),
        }
    }
}

/// Records that are there, or what has to wait for the device.
pub enum Reading {
    Ready(Found),
    /// To be run on a thread that may wait, and taken back by [`crate::partition::Partition::finish_read`]; its slice completes what was
    /// found.
    Cold(Found, ColdRead),
    /// All but the aborted transactions.
    WithoutAborted(Found),
}

impl Partition {
    /// Takes back a read that has waited for the device.
    pub fn finish_read(&self, result: ColdResult) -> Result<Slice, Refused> {
        let mut result = Some(result);
        let mut take = || result.take().expect("it is taken once");
        let finished = self.with_log(|log| log.finish_read(take()));
        let slice = finished.unwrap_or_else(|| take().into_slice());
        slice.map_err(|problem| self.refuse_read(&problem))
    }

    /// The transactions that were aborted in a range, which only a thread that may wait can find out.
    pub async fn find_aborted(
        &self,
        reads: &ColdReads,
        reader: Reader,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<AbortedTransaction>, Refused> {
        let gone = || Refused::new(ErrorCode::NotLeaderOrFollower);
        let search = self.with_log(|log| log.search_aborted(from, to)).ok_or_else(gone)?;
        let found = reads.run(reader, move |_| search.run()).await;
        let found = found.map_err(|problem| self.refuse_read(&problem))?;
        self.with_log(|log| log.finish_aborted(found)).ok_or_else(gone)
    }
}
