//! Which records stay, batch by batch: the heart of compaction, without a file.
//!
//! The rules are those of Kafka 4.3 (`Cleaner`, `MemoryRecords.filterTo`):
//! - of records with one key the latest stays (KIP-58). What lies above the end of the map is not judged. A record without a key is
//!   no record of a compacted topic and goes.
//! - a tombstone that is its key's latest stays until the delete horizon of its batch. The horizon is `delete.retention.ms` after the
//!   first compaction that met it, written into the header (KIP-534).
//! - records of aborted transactions go. A marker stays while batches of its transaction are there, then until its horizon.
//! - a batch without records stays where it holds the last sequence or epoch of a producer, or the last offset of the range.
//! - a batch that loses nothing stays byte for byte. One that does is built anew, with its first and last offset, epoch, producer,
//!   sequence and codec.
//!
//! Messages of formats 0 and 1 are rewritten in format 2. Their tombstones get a horizon then; Kafka looks at file times instead.

use std::collections::HashMap;

use dohle_config::TimestampType;
use dohle_records::control::{ControlRecord, EndTransaction};
use dohle_records::legacy::LegacyEntry;
use dohle_records::{Batch, BatchBuilder, BatchError, BatchHeader, DEFAULT_OUTPUT_LIMIT, RecordView};
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::key_map::KeyMap;
use super::transactions::{Marker, Transactions};

/// What becomes of a batch.
#[derive(Debug, PartialEq)]
pub(super) enum Kept {
    Nothing,
    AsItIs,
    Anew(Batch),
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    pub read: u64,
    pub kept: u64,
    /// Dropped for want of a key.
    pub without_key: u64,
}

/// The last thing that the log holds of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastOf {
    /// The batch with this last offset has its last sequence.
    Data(Offset),
    /// Nothing but a marker with this epoch.
    Marker(ProducerEpoch),
}

pub(super) struct Filter<'a> {
    pub map: &'a KeyMap,
    pub transactions: &'a mut Transactions,
    pub producers: &'a HashMap<ProducerId, LastOf>,
    /// The end of what can be compacted: the batch that ends here is never left out.
    pub end: Offset,
    pub now: TimestampMs,
    pub delete_retention_ms: i64,
    pub counts: &'a mut RecordCounts,
}

impl Filter<'_> {
    pub fn batch(&mut self, batch: &Batch) -> Result<Kept, BatchError> {
        let header = &batch.header;
        let (marker_unneeded, drops_all) = if header.is_control() {
            let unneeded = self.transactions.on_control(header, marker_of(batch)?);
            (unneeded, unneeded && header.delete_horizon().is_some_and(|horizon| horizon <= self.now))
        } else {
            (false, self.transactions.on_data(header))
        };
        let keeps_empty = self.holds_producer(header) || header.next_offset() == self.end;
        if drops_all && !keeps_empty {
            self.counts.read += u64::try_from(header.record_count).unwrap_or(0);
            return Ok(Kept::Nothing);
        }
        let verdict = self.judge(batch, drops_all)?;
        let kept = verdict.stays.iter().filter(|stays| **stays).count();
        self.counts.kept += kept as u64;
        if kept == 0 {
            return Ok(if keeps_empty { emptied(header) } else { Kept::Nothing });
        }
        let needs_horizon = header.delete_horizon().is_none() && (verdict.tombstones || marker_unneeded);
        if kept == verdict.stays.len() && !needs_horizon {
            return Ok(Kept::AsItIs);
        }
        let horizon = if needs_horizon { Some(self.horizon()) } else { header.delete_horizon() };
        Ok(Kept::Anew(rebuilt(batch, &verdict.stays, horizon)?))
    }

    /// A message of format 0 or 1, with those it wraps.
    pub fn legacy(&mut self, entry: &LegacyEntry) -> Result<Kept, BatchError> {
        let mut builder: Option<(Offset, BatchBuilder)> = None;
        let (mut kept, mut tombstones) = (Vec::new(), false);
        for record in entry.records(DEFAULT_OUTPUT_LIMIT) {
            let record = record?;
            self.counts.read += 1;
            let stays = record.offset > self.map.latest()
                || record.key.as_deref().is_some_and(|key| self.is_latest(key, record.offset));
            self.counts.without_key += u64::from(record.key.is_none() && record.offset <= self.map.latest());
            if stays {
                tombstones |= record.value.is_none();
                kept.push(record);
            }
        }
        self.counts.kept += kept.len() as u64;
        for record in &kept {
            let (base, builder) = builder.get_or_insert_with(|| {
                let mut builder = BatchBuilder::new(entry.compression().expect("its records were read"));
                if entry.magic > 0 && entry.timestamp_type() == TimestampType::LogAppendTime {
                    builder = builder.log_append_time(record.timestamp);
                }
                if tombstones {
                    builder = builder.delete_horizon(self.horizon());
                }
                (record.offset, builder)
            });
            let delta = i32::try_from(record.offset.get() - base.get())
                .ok()
                .filter(|delta| *delta >= builder.record_count())
                .ok_or(BatchError::from(dohle_records::RecordFault::Structure))?;
            builder.append_at(delta, record.timestamp, record.key.as_deref(), record.value.as_deref(), &[]);
        }
        Ok(builder
            .map_or(Kept::Nothing, |(base, builder)| Kept::Anew(builder.build(base, LeaderEpoch::NONE))))
    }

    fn judge(&mut self, batch: &Batch, drops_all: bool) -> Result<Verdict, BatchError> {
        let header = &batch.header;
        let mut verdict = Verdict::default();
        let mut scan = batch.scan(DEFAULT_OUTPUT_LIMIT)?;
        let tombstones_stay = header.delete_horizon().is_none_or(|horizon| self.now < horizon);
        while let Some(stays) = scan.next_with(|record| {
            let offset = offset_of(header, &record);
            let stays = !drops_all
                && (header.is_control()
                    || offset > self.map.latest()
                    || record.key.is_some_and(|key| {
                        self.is_latest(key, offset) && (record.value.is_some() || tombstones_stay)
                    }));
            let lacks_key = record.key.is_none() && !drops_all && !header.is_control() && !stays;
            self.counts.without_key += u64::from(lacks_key);
            verdict.tombstones |= stays && record.value.is_none();
            stays
        })? {
            verdict.stays.push(stays);
        }
        self.counts.read += verdict.stays.len() as u64;
        Ok(verdict)
    }

    fn is_latest(&self, key: &[u8], offset: Offset) -> bool {
        self.map.get(key).is_none_or(|latest| offset >= latest)
    }

    fn holds_producer(&self, header: &BatchHeader) -> bool {
        header.has_producer()
            && self.producers.get(&header.producer_id).is_some_and(|last| match *last {
                LastOf::Data(offset) => header.last_offset() == offset,
                LastOf::Marker(epoch) => header.is_control() && header.producer_epoch == epoch,
            })
    }

    fn horizon(&self) -> TimestampMs {
        TimestampMs(self.now.get().saturating_add(self.delete_retention_ms))
    }
}

#[derive(Default)]
struct Verdict {
    /// Of each record, whether it stays.
    stays: Vec<bool>,
    /// Whether one that stays has no value.
    tombstones: bool,
}

/// What a control batch says, by its first record.
pub(super) fn marker_of(batch: &Batch) -> Result<Marker, BatchError> {
    let Some(record) = batch.records(DEFAULT_OUTPUT_LIMIT).next() else { return Ok(Marker::Emptied) };
    Ok(match ControlRecord::parse(&record?)? {
        ControlRecord::EndTransaction(EndTransaction { committed: true, .. }) => Marker::Commit,
        ControlRecord::EndTransaction(EndTransaction { committed: false, .. }) => Marker::Abort,
        ControlRecord::KRaft(..) | ControlRecord::Unknown(_) => Marker::Other,
    })
}

/// The offset of a record of a batch.
pub(super) fn offset_of(header: &BatchHeader, record: &RecordView<'_>) -> Offset {
    Offset(header.base_offset.get().saturating_add(i64::from(record.offset_delta)))
}

fn builder_like(header: &BatchHeader, codec: dohle_records::Compression) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.is_transactional());
    if header.is_control() {
        builder = builder.control();
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        builder = builder.log_append_time(header.max_timestamp);
    }
    builder
}

/// The batch without its records: what is left says who wrote up to which sequence, at which offsets, when.
fn emptied(header: &BatchHeader) -> Kept {
    if header.record_count == 0 {
        return Kept::AsItIs;
    }
    let mut builder = builder_like(header, dohle_records::Compression::None);
    builder.extend_to(header.last_offset_delta);
    let mut batch = builder.build(header.base_offset, header.leader_epoch);
    batch.header.max_timestamp = header.max_timestamp;
    batch.seal();
    Kept::Anew(batch)
}

/// The batch with those of its records that stay.
fn rebuilt(batch: &Batch, stays: &[bool], horizon: Option<TimestampMs>) -> Result<Batch, BatchError> {
    let header = &batch.header;
    let mut builder = builder_like(header, header.compression()?);
    if let Some(horizon) = horizon {
        builder = builder.delete_horizon(horizon);
    }
    let mut scan = batch.scan(DEFAULT_OUTPUT_LIMIT)?;
    let mut next_delta = 0;
    for stays in stays {
        let appended = scan.next_with(|record| {
            // The builder takes offsets that ascend and lie in the batch, and a log may hold anything.
            let fits = record.offset_delta >= next_delta && record.offset_delta <= header.last_offset_delta;
            if *stays && fits {
                next_delta = record.offset_delta + 1;
                builder.append_view_at(record.offset_delta, time_of(header, &record), &record);
            }
            fits
        })?;
        if *stays && appended != Some(true) {
            return Err(dohle_records::RecordFault::Structure.into());
        }
    }
    builder.extend_to(header.last_offset_delta);
    Ok(builder.build(header.base_offset, header.leader_epoch))
}

fn time_of(header: &BatchHeader, record: &RecordView<'_>) -> TimestampMs {
    match header.timestamp_type() {
        TimestampType::CreateTime => {
            TimestampMs(header.base_timestamp.get().wrapping_add(record.timestamp_delta))
        }
        TimestampType::LogAppendTime => header.max_timestamp,
    }
}
