//! Appending: check, assign, roll, write once, note.
//!
//! The body of a batch is never touched. Large bodies are written from where they lie, beside their re-made headers; small ones
//! are copied into one buffer, so that neither the write nor the tail in memory is made of crumbs.

use std::io::IoSlice;

use bytes::{BufMut, Bytes, BytesMut};
use dohle_config::TimestampType;
use dohle_records::{Batch, HEADER_LEN};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};

use crate::error::{AppendError, LogError, failed};
use crate::log::Log;
use crate::marker::marker_of;
use crate::names::FileKind;
use crate::producers::{Origin, Update};
use crate::segment::reaches;
use crate::tail::TailBatch;

/// Batches that are smaller than this on average are copied together.
const GATHER_BELOW_BYTES: usize = 4 << 10;

/// Where an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub first: Offset,
    pub last: Offset,
    /// The time the broker gave the records, `NONE` when they keep their own.
    pub log_append_time: TimestampMs,
    pub log_start: Offset,
    /// Nothing was written: the batch had been appended before, at these offsets.
    pub duplicate: bool,
}

impl Log {
    /// Appends what a client sent, giving it the next offsets and the leader's epoch.
    pub fn append_as_leader(
        &mut self,
        batches: Vec<Batch>,
        epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let duplicate =
            batches.iter().find_map(|batch| Some((batch, self.producers.duplicate_of(&batch.header)?)));
        if let Some((batch, original)) = duplicate {
            let kept_time = batch.header.timestamp_type() == TimestampType::CreateTime;
            return Ok(Appended {
                first: original.first_offset(),
                last: original.last_offset,
                log_append_time: if kept_time { TimestampMs::NONE } else { original.timestamp },
                log_start: self.start,
                duplicate: true,
            });
        }
        self.append_assigned(batches, epoch, Origin::Client, now)
    }

    /// Appends what a coordinator on this broker made: records without sequences, and transaction markers, which are checked by
    /// the rules of `transaction_version`.
    pub fn append_as_coordinator(
        &mut self,
        batches: Vec<Batch>,
        epoch: LeaderEpoch,
        transaction_version: i16,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        self.append_assigned(batches, epoch, Origin::Coordinator { transaction_version }, now)
    }

    /// Appends what a leader sent. Offsets and epochs stay; they must not go back behind the end.
    ///
    /// Batches that no segment reaches together are appended one part after the other: where one fails, those before it stay.
    pub fn append_as_follower(
        &mut self,
        mut batches: Vec<Batch>,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let mut next = self.end;
        for batch in &batches {
            if batch.header.base_offset < next || batch.header.last_offset_delta < 0 {
                return Err(AppendError::BehindTheEnd { got: batch.header.base_offset, end: next });
            }
            next = batch.header.next_offset();
        }
        let mut first = None;
        loop {
            let rest = batches.split_off(reached_together(&batches));
            let appended = self.append(batches, Origin::Replication, now)?;
            let first = *first.get_or_insert(appended.first);
            if rest.is_empty() {
                return Ok(Appended { first, ..appended });
            }
            batches = rest;
        }
    }

    fn append_assigned(
        &mut self,
        mut batches: Vec<Batch>,
        epoch: LeaderEpoch,
        origin: Origin,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let latest = self.epochs.latest().unwrap_or(LeaderEpoch::NONE);
        if epoch < latest {
            return Err(AppendError::OldLeaderEpoch { got: epoch, latest });
        }
        let mut next = self.end;
        for batch in &mut batches {
            assert!(batch.header.last_offset_delta >= 0, "a batch that passed validation has an offset");
            batch.header.base_offset = next;
            batch.header.leader_epoch = epoch;
            next = batch.header.next_offset();
        }
        self.append(batches, origin, now)
    }

    fn append(
        &mut self,
        batches: Vec<Batch>,
        origin: Origin,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        self.check_usable()?;
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Err(AppendError::InvalidRecord("there is no batch to append".to_owned()));
        };
        let kept_time = first.header.timestamp_type() == TimestampType::CreateTime;
        let appended = Appended {
            first: first.header.base_offset,
            last: last.header.last_offset(),
            log_append_time: if kept_time { TimestampMs::NONE } else { first.header.max_timestamp },
            log_start: self.start,
            duplicate: false,
        };
        let mut update = Update::at(now);
        for batch in &batches {
            let ends_transaction = batch.header.is_control() && batch.header.has_producer();
            let marker =
                if ends_transaction { marker_of(batch).map_err(AppendError::InvalidRecord)? } else { None };
            update.check(&self.producers, &batch.header, marker, origin)?;
        }
        self.roll_for(&batches, now)?;
        let chunks = lay_out(&batches);
        self.write(&chunks)?;
        self.take_over(batches, chunks, update);
        Ok(appended)
    }

    /// Starts a new segment if the active one cannot or should not take the batches.
    fn roll_for(&mut self, batches: &[Batch], now: TimestampMs) -> Result<(), AppendError> {
        let size: u64 = batches.iter().map(|batch| batch.size() as u64).sum();
        let limit = u64::from(self.settings.segment_bytes);
        if size > limit {
            return Err(AppendError::LargerThanSegment { size, limit });
        }
        let latest =
            batches.iter().map(|batch| batch.header.max_timestamp).max().unwrap_or(TimestampMs::NONE);
        let last = batches.last().map_or(self.end, |batch| batch.header.last_offset());
        self.or_fail(Self::load_active)?;
        let most_entries = self.settings.segment_index_bytes;
        let roll_ms = self.rolls_after_ms();
        let active = self.active();
        let indexes = active.indexes.as_ref().expect("loaded");
        // Kafka keeps one place of the time index free for the entry that ends it.
        let index_full = indexes.offsets.len() as u64 >= u64::from(most_entries / 8)
            || indexes.times.len() as u64 + 1 >= u64::from(most_entries / 12);
        let waited = i128::from(active.waited_ms(now, latest));
        let due = waited > i128::from(roll_ms) - i128::from(active.jitter_ms);
        let too_large = active.size + size > limit;
        if (active.size > 0 && (too_large || due || index_full)) || !active.reaches(last) {
            // After a gap, as compaction leaves them, the batches may lie too far from the end of the log.
            let base = if reaches(self.end, last) { self.end } else { batches[0].header.base_offset };
            self.or_fail(|log| log.roll_at(base, now))?;
        }
        Ok(())
    }

    /// Closes the active segment and starts one at the end of the log.
    pub(crate) fn roll(&mut self, now: TimestampMs) -> Result<(), LogError> {
        self.roll_at(self.end, now)
    }

    pub(crate) fn roll_at(&mut self, base: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.load_active()?;
        self.give_back_room();
        let active = self.segments.back_mut().expect("a log has an active segment");
        if active.size == 0 {
            // Nothing is in it: it only starts elsewhere now. A file of the old name, should there be one, is no segment's.
            let old = self.path(self.segments.back().expect("there is one").base, FileKind::Log);
            if self.disk().metadata(&old).map_err(failed("looking at", &old))?.is_some() {
                self.disk().remove_file(&old).map_err(failed("removing", &old))?;
                self.dirty.folder = true;
            }
            self.segments.pop_back();
        } else {
            let (sealed_base, indexes) = (active.base, active.seal());
            self.dirty.sealed.push((sealed_base, indexes));
            self.snapshot_producers(base);
            self.rolled = true;
        }
        self.sync_names()?;
        self.push_segment(base, now);
        self.segment_file(self.segments.len() - 1)?;
        Ok(())
    }

    /// Makes the names of the segments durable, should no flush have done that: if a crash could take an older name and
    /// leave a newer one, the log would start with a hole.
    fn sync_names(&mut self) -> Result<(), LogError> {
        let underway = self.flushing.as_ref().is_some_and(|flush| flush.names);
        if (self.dirty.folder || underway) && !cfg!(dohle_bug = "roll_before_names") {
            let _stored = self.disk().sync_dir(&self.dir).map_err(failed("flushing", &self.dir))?;
            self.dirty.folder = false;
        }
        Ok(())
    }

    /// Leaves a snapshot of the producers to the next flush.
    pub(crate) fn snapshot_producers(&mut self, at: Offset) {
        debug_assert!(at >= self.end, "a snapshot covers all of the log");
        if self.snapshots.insert(at) {
            self.dirty.snapshots.push((at, crate::snapshot::encode(self.producers.states())));
        }
    }

    /// One write for all. If it fails the file is cut back to what it was, or the log is out of service.
    fn write(&mut self, chunks: &[TailBatch]) -> Result<(), AppendError> {
        let at = self.segments.len() - 1;
        let file = self.or_fail(|log| log.segment_file(at))?;
        let (base, size) = (self.segments[at].base, self.segments[at].size);
        let slices: Vec<IoSlice<'_>> = chunks
            .iter()
            .flat_map(|chunk| [&chunk.head, &chunk.body])
            .filter(|bytes| !bytes.is_empty())
            .map(|bytes| IoSlice::new(bytes))
            .collect();
        let more = slices.iter().map(|slice| slice.len() as u64).sum();
        let limit = u64::from(self.settings.segment_bytes);
        self.segments[at].make_room(file.as_ref(), more, limit);
        let Err(source) = file.write_all_at(&slices, size) else { return Ok(()) };
        self.segments[at].room = 0;
        let path = self.path(base, FileKind::Log);
        let error = failed("writing", &path)(source);
        if let Err(source) = file.set_len(size) {
            self.fail(&failed("cutting back", &path)(source));
        }
        Err(AppendError::Storage(error))
    }

    fn take_over(&mut self, batches: Vec<Batch>, chunks: Vec<TailBatch>, update: Update) {
        let interval = u64::from(self.settings.index_interval_bytes);
        for batch in &batches {
            let header = &batch.header;
            self.active().note(header.last_offset(), header.max_timestamp, header.size() as u64, interval);
            self.active().wrote(header.size() as u64);
            if self.epochs.assign(header.leader_epoch, header.base_offset) {
                self.dirty.note_epoch(header.base_offset);
            }
            self.end = header.next_offset();
        }
        for aborted in self.producers.apply(update) {
            self.active().note_aborted(aborted);
        }
        for chunk in chunks {
            self.tail.push(chunk);
        }
        let active = self.segments.back().expect("a log has an active segment");
        self.dirty.note_written(active.base, active.file.as_ref().expect("it was written to"));
    }
}

/// How many of the batches, from the first on, a segment that begins with them reaches.
fn reached_together(batches: &[Batch]) -> usize {
    let first = batches.first().map_or(Offset::ZERO, |batch| batch.header.base_offset);
    batches.partition_point(|batch| reaches(first, batch.header.last_offset()))
}

/// The bytes to write, batch by batch.
fn lay_out(batches: &[Batch]) -> Vec<TailBatch> {
    let total: usize = batches.iter().map(Batch::size).sum();
    if total / batches.len() < GATHER_BELOW_BYTES {
        let mut buffer = BytesMut::with_capacity(total);
        for batch in batches {
            buffer.put_slice(&batch.header.encode());
            buffer.put_slice(&batch.body);
        }
        let mut buffer = buffer.freeze();
        return batches
            .iter()
            .map(|batch| tail_batch(batch, buffer.split_to(batch.size()), Bytes::new()))
            .collect();
    }
    let mut heads = BytesMut::with_capacity(batches.len() * HEADER_LEN);
    for batch in batches {
        heads.put_slice(&batch.header.encode());
    }
    let mut heads = heads.freeze();
    batches.iter().map(|batch| tail_batch(batch, heads.split_to(HEADER_LEN), batch.body.clone())).collect()
}

fn tail_batch(batch: &Batch, head: Bytes, body: Bytes) -> TailBatch {
    TailBatch { base_offset: batch.header.base_offset, next_offset: batch.header.next_offset(), head, body }
}
