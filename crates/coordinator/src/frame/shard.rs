//! One partition's coordinator between its events and the log.

use dohle_types::{ErrorCode, Offset, ProducerId};

use super::{Answer, Coordinator, Effects, EncodedRecord, Moment, Record, Replayed, ReplyTo, Timers};

/// What the log adds to a batch of records, at most.
pub(super) const BATCH_OVERHEAD: usize = 61;
/// What the log adds to a record, at most, beside its key and value.
const RECORD_OVERHEAD: usize = 21;

/// Records to append and replies to release once they, and all records before them, are stored.
pub struct Batch<C: Coordinator> {
    pub records: Vec<EncodedRecord>,
    /// Where the units of the records end, ascending up to their number. A unit goes into one batch of the log, with others as far as
    /// there is room: a crash leaves all of it or nothing.
    pub units: Vec<usize>,
    pub replies: Vec<(ReplyTo, Answer<C>)>,
}

impl<C: Coordinator> Default for Batch<C> {
    fn default() -> Self {
        Self { records: Vec::new(), units: Vec::new(), replies: Vec::new() }
    }
}

/// How many bytes a record adds to a batch of the log at most, if it is not compressed.
pub fn size_in_log(record: &EncodedRecord) -> usize {
    RECORD_OVERHEAD + record.size()
}

/// A coordinator's state for one partition, with its timers and what it wants done.
///
/// The shell calls it with one event after another and then takes what came of them: [`Shard::take_batch`], [`Shard::take_ready`],
/// [`Shard::take_jobs`], [`Shard::next_due`]. Several events may share a batch. If a batch cannot be appended, the shell drops the
/// shard and loads another one from the log: what was decided and not stored has never been.
pub struct Shard<C: Coordinator> {
    coordinator: C,
    timers: Timers<C::Timer>,
    batch: Batch<C>,
    ready: Vec<(ReplyTo, Answer<C>)>,
    jobs: Vec<C::Job>,
    /// What the batch has grown to.
    pending_bytes: usize,
    /// The largest batch that the topic takes.
    max_batch_bytes: usize,
}

impl<C: Coordinator> Shard<C> {
    pub fn new(coordinator: C, max_batch_bytes: usize) -> Self {
        Self {
            coordinator,
            timers: Timers::default(),
            batch: Batch::default(),
            ready: Vec::new(),
            jobs: Vec::new(),
            pending_bytes: 0,
            max_batch_bytes,
        }
    }

    pub fn coordinator(&self) -> &C {
        &self.coordinator
    }

    /// Loading: a record that is in the log.
    pub fn replay(&mut self, record: C::Record, offset: Offset, transaction: Option<ProducerId>) {
        self.coordinator.replay(Replayed { record, offset, transaction });
    }

    /// Loading: the end of a transaction that is in the log.
    pub fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        self.coordinator.end_transaction(producer, committed);
    }

    /// The end of the log has been replayed.
    pub fn loaded(&mut self, moment: Moment) {
        self.event(|coordinator, effects| coordinator.loaded(moment, effects));
    }

    pub fn handle(&mut self, moment: Moment, to: ReplyTo, request: C::Request) {
        self.event(|coordinator, effects| coordinator.handle(moment, to, request, effects));
    }

    pub fn notice(&mut self, moment: Moment, event: C::Event) {
        self.event(|coordinator, effects| coordinator.notice(moment, event, effects));
    }

    /// Runs the timers that are due.
    pub fn advance(&mut self, moment: Moment) {
        while let Some(timer) = self.timers.pop_due(moment.tick_ms) {
            self.event(|coordinator, effects| coordinator.expired(moment, timer, effects));
        }
    }

    /// When [`Shard::advance`] may have something to do, in monotonic milliseconds, and not before.
    pub fn next_due(&self) -> Option<u64> {
        self.timers.next_due()
    }

    /// What is to be appended, and what is released after that. A batch without records is only to wait for those before it.
    pub fn take_batch(&mut self) -> Option<Batch<C>> {
        if self.batch.records.is_empty() && self.batch.replies.is_empty() {
            return None;
        }
        self.pending_bytes = 0;
        Some(std::mem::take(&mut self.batch))
    }

    /// Whether anything waits for [`Shard::take_batch`].
    pub fn has_batch(&self) -> bool {
        !self.batch.records.is_empty() || !self.batch.replies.is_empty()
    }

    pub fn has_records(&self) -> bool {
        !self.batch.records.is_empty()
    }

    /// Whether the records that wait would fill a batch of the log.
    pub fn is_full(&self) -> bool {
        BATCH_OVERHEAD + self.pending_bytes >= self.max_batch_bytes
    }

    /// The topic takes batches of another size from now on.
    pub fn set_max_batch_bytes(&mut self, bytes: usize) {
        self.max_batch_bytes = bytes;
    }

    /// Replies that wait for nothing.
    pub fn take_ready(&mut self) -> Vec<(ReplyTo, Answer<C>)> {
        std::mem::take(&mut self.ready)
    }

    pub fn take_jobs(&mut self) -> Vec<C::Job> {
        std::mem::take(&mut self.jobs)
    }

    fn event(&mut self, work: impl FnOnce(&mut C, &mut Effects<C>)) {
        let mut effects = Effects { max_batch_bytes: self.max_batch_bytes, ..Effects::default() };
        work(&mut self.coordinator, &mut effects);
        self.ready.append(&mut effects.at_once);
        let encoded: Vec<EncodedRecord> = effects.records.iter().map(Record::encode).collect();
        let largest = if effects.divisible {
            encoded.iter().map(size_in_log).max().unwrap_or(0)
        } else {
            encoded.iter().map(size_in_log).sum()
        };
        if BATCH_OVERHEAD + largest > self.max_batch_bytes && !encoded.is_empty() {
            // Nothing of it happens: the topic would not take it.
            let refused = effects.replies.into_iter().map(|(to, _)| (to, Err(ErrorCode::UnknownServerError)));
            self.batch.replies.extend(refused);
            return;
        }
        for record in effects.records {
            self.coordinator.replay(Replayed { record, offset: Offset::NONE, transaction: None });
        }
        self.pending_bytes += encoded.iter().map(size_in_log).sum::<usize>();
        let before = self.batch.records.len();
        let written = encoded
            .into_iter()
            .filter(|record| record.value.is_some() || !cfg!(dohle_bug = "tombstones-unwritten"));
        self.batch.records.extend(written);
        let after = self.batch.records.len();
        if effects.divisible {
            self.batch.units.extend(before + 1..=after);
        } else if after > before {
            self.batch.units.push(after);
        }
        if cfg!(dohle_bug = "told-before-stored") {
            self.ready.append(&mut effects.replies);
        }
        self.batch.replies.append(&mut effects.replies);
        for (timer, at) in effects.timers {
            match at {
                Some(at) => self.timers.set(timer, at),
                None => self.timers.cancel(&timer),
            }
        }
        self.jobs.append(&mut effects.jobs);
    }
}
