//! The log back to a shard: every record from its start to its end, in steps that let the core do other things in between.
//!
//! Records are copied out of what was read, so that no group's name keeps megabytes of log in memory.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dohle_coordinator::frame::{Record, Shard};
use dohle_env::task;
use dohle_metadata::Image;
use dohle_records::control::ControlRecord;
use dohle_records::{Batch, BatchError, Entry, parse_entries};
use dohle_types::{ErrorCode, LeaderEpoch, Offset, ProducerId, TopicPartition};
use tracing::{debug, info};

use super::{Hosted, host};
use crate::core::Core;
use crate::partition::{Partition, Refused};
use crate::reading::{Isolation, ReadRequest, Reading};
use crate::waiters::Watcher;

/// After how many records other work of the core gets its turn.
const STEP_RECORDS: usize = 1000;
/// The most that a batch of the log may unpack to. Batches are made by coordinators and are no larger than `max.message.bytes`.
const UNPACKED_MAX: u64 = 1 << 30;

/// Why a shard could not be loaded.
#[derive(Debug)]
pub enum Failure {
    Refused(ErrorCode, Option<String>),
    /// A batch of the log cannot be read.
    Batch(Offset, BatchError),
    /// A record of the log is of a known kind and cannot be read.
    Record(Offset, String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code, None) => write!(f, "the partition answers {code}"),
            Self::Refused(code, Some(message)) => write!(f, "the partition answers {code}: {message}"),
            Self::Batch(offset, error) => write!(f, "the batch at offset {offset}: {error}"),
            Self::Record(offset, error) => write!(f, "the record at offset {offset}: {error}"),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused.code, refused.message)
    }
}

/// Replays a partition's log. One at a time on a core.
pub async fn load<C: Hosted>(
    core: &Rc<Core>,
    image: &Arc<Image>,
    id: TopicPartition,
) -> Result<(Rc<Partition>, Shard<C>), Failure> {
    let loader = C::host(core).loader.clone();
    let _turn = loader.acquire().await.expect("the semaphore is never closed");
    let partition = core.partition(id).await.map_err(|code| Failure::Refused(code, None))?;
    let coordinator = C::fresh(core, image, id.partition);
    let mut loading =
        Loading { shard: Shard::new(coordinator, host::max_batch_bytes(&partition)), records: 0, unknown: 0 };
    let started = core.env().clock.tick();
    let mut at = partition.ask(LeaderEpoch::NONE, |log, _, _| log.start_offset())?;
    while at < partition.ask(LeaderEpoch::NONE, |log, _, _| log.end_offset())? {
        let chunks = read(&partition, at, C::host(core).terms.load_bytes).await?;
        if chunks.end <= at {
            // Nothing but what compaction has left empty.
            break;
        }
        at = chunks.end;
        loading.replay(joined(chunks.chunks)).await?;
    }
    stored(&partition, at).await?;
    let Loading { shard, records, unknown } = loading;
    if records > 0 {
        let took = core.env().clock.tick().since(started);
        info!(topic = C::TOPIC, partition = %id.partition, records, unknown, ?took, "a coordinator is loaded");
    }
    Ok((partition, shard))
}

/// Waits until everything before `end` is stored: what was replayed may be told.
async fn stored(partition: &Partition, end: Offset) -> Result<(), Failure> {
    loop {
        let watcher = Watcher::new(1);
        partition.watch(watcher.clone());
        let high_watermark = partition.ask(LeaderEpoch::NONE, |_, watermarks, _| watermarks.high_watermark);
        if high_watermark?.get() >= end {
            watcher.done();
            return Ok(());
        }
        watcher.woken().await;
    }
}

async fn read(
    partition: &Rc<Partition>,
    offset: Offset,
    max_bytes: usize,
) -> Result<dohle_log::Slice, Failure> {
    let request = ReadRequest {
        offset,
        max_bytes,
        at_least_one: true,
        may_defer: false,
        isolation: Isolation::LogEnd,
        current_leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch::NONE,
    };
    match partition.read(&request)? {
        Reading::Ready(found) | Reading::WithoutAborted(found) => Ok(found.slice),
        Reading::Cold(_, cold) => {
            let read = task::blocking(move || cold.run(&mut dohle_log::greedy)).await;
            Ok(partition.finish_read(read)?)
        }
    }
}

/// What was read in one piece: chunks may divide batches.
fn joined(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() == 1 {
        return chunks.remove(0);
    }
    let mut bytes = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    bytes.freeze()
}

/// A shard that is being loaded.
struct Loading<C: Hosted> {
    shard: Shard<C>,
    records: usize,
    /// Records of kinds that this software does not know.
    unknown: usize,
}

impl<C: Hosted> Loading<C> {
    async fn replay(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let mut turn = self.records;
        for entry in parse_entries(bytes) {
            match entry.map_err(|error| Failure::Batch(Offset::NONE, error))? {
                Entry::Batch(batch) if batch.header.is_control() => self.replay_control(&batch)?,
                Entry::Batch(batch) => self.replay_batch(&batch)?,
                Entry::Legacy(entry) => {
                    for record in entry.records(UNPACKED_MAX) {
                        let record = record.map_err(|error| Failure::Batch(entry.offset, error))?;
                        self.replay_record(
                            record.key.as_deref(),
                            record.value.as_deref(),
                            record.offset,
                            None,
                        )?;
                    }
                }
            }
            if self.records - turn >= STEP_RECORDS {
                turn = self.records;
                task::yield_now().await;
            }
        }
        Ok(())
    }

    fn replay_batch(&mut self, batch: &Batch) -> Result<(), Failure> {
        let header = batch.header;
        let broken = |error| Failure::Batch(header.base_offset, error);
        let transaction = header.is_transactional().then_some(header.producer_id);
        let mut scan = batch.scan(UNPACKED_MAX).map_err(broken)?;
        while let Some(replayed) = scan
            .next_with(|record| {
                let offset = header.base_offset.plus(record.offset_delta.into());
                self.replay_record(record.key, record.value, offset, transaction)
            })
            .map_err(broken)?
        {
            replayed?;
        }
        Ok(())
    }

    fn replay_record(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        offset: Offset,
        transaction: Option<ProducerId>,
    ) -> Result<(), Failure> {
        self.records += 1;
        let (key, value) = copied(key.unwrap_or_default(), value);
        match C::Record::decode(key, value).map_err(|error| Failure::Record(offset, error))? {
            Some(record) => self.shard.replay(record, offset, transaction),
            None => {
                self.unknown += 1;
                debug!(topic = C::TOPIC, %offset, "a record of an unknown kind is passed over");
            }
        }
        Ok(())
    }

    /// The markers that end transactions; other control records mean nothing here.
    fn replay_control(&mut self, batch: &Batch) -> Result<(), Failure> {
        let broken = |error| Failure::Batch(batch.header.base_offset, error);
        for record in batch.records(UNPACKED_MAX) {
            self.records += 1;
            if let ControlRecord::EndTransaction(marker) =
                ControlRecord::parse(&record.map_err(broken)?).map_err(broken)?
            {
                self.shard.end_transaction(batch.header.producer_id, marker.committed);
            }
        }
        Ok(())
    }
}

/// A record's bytes in one allocation of their own.
fn copied(key: &[u8], value: Option<&[u8]>) -> (Bytes, Option<Bytes>) {
    let mut bytes = BytesMut::with_capacity(key.len() + value.map_or(0, <[u8]>::len));
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value.unwrap_or_default());
    let mut bytes = bytes.freeze();
    let key = bytes.split_to(key.len());
    (key, value.map(|_| bytes))
}
