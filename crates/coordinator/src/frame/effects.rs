//! What a coordinator wants done after one event.

use dohle_types::ErrorCode;

use super::shard::{BATCH_OVERHEAD, size_in_log};
use super::{Answer, Coordinator, Record, ReplyTo};

/// Collected during one event; taken apart by the [`super::Shard`].
pub struct Effects<C: Coordinator> {
    pub(super) records: Vec<C::Record>,
    pub(super) replies: Vec<(ReplyTo, Answer<C>)>,
    pub(super) at_once: Vec<(ReplyTo, Answer<C>)>,
    pub(super) timers: Vec<(C::Timer, Option<u64>)>,
    pub(super) jobs: Vec<C::Job>,
    pub(super) divisible: bool,
    /// The largest batch of records that the log takes.
    pub(super) max_batch_bytes: usize,
}

impl<C: Coordinator> Default for Effects<C> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            replies: Vec::new(),
            at_once: Vec::new(),
            timers: Vec::new(),
            jobs: Vec::new(),
            divisible: false,
            max_batch_bytes: usize::MAX,
        }
    }
}

impl<C: Coordinator> Effects<C> {
    /// Appends a record.
    pub fn record(&mut self, record: C::Record) {
        self.records.push(record);
    }

    /// Whether the log takes this record beside those decided so far. What it does not take would undo the whole event, so whoever
    /// has something else to answer asks before.
    pub fn fits(&self, record: &C::Record) -> bool {
        let decided = self.records.iter().map(|decided| size_in_log(&decided.encode())).sum::<usize>();
        BATCH_OVERHEAD + decided + size_in_log(&record.encode()) <= self.max_batch_bytes
    }

    /// How large the records of this event may be in the log, for who draws them up before they are decided.
    pub fn max_batch_bytes(&self) -> usize {
        self.max_batch_bytes
    }

    pub fn records(&mut self, records: impl IntoIterator<Item = C::Record>) {
        self.records.extend(records);
    }

    /// Lets the records of this event go into several batches of the log: for many that mean nothing to each other, such as the offsets
    /// of a deleted topic. Without it they go into one, so that no replay ever sees half of an event.
    pub fn divisible(&mut self) {
        self.divisible = true;
    }

    /// Replies once everything decided so far, these effects included, is stored.
    pub fn reply(&mut self, to: ReplyTo, response: C::Response) {
        self.replies.push((to, Ok(response)));
    }

    /// Replies with an error once everything decided so far is stored.
    pub fn refuse(&mut self, to: ReplyTo, code: ErrorCode) {
        self.replies.push((to, Err(code)));
    }

    /// Replies without waiting: for what speaks of nothing that must be stored, such as the answer to a heartbeat.
    pub fn reply_at_once(&mut self, to: ReplyTo, response: C::Response) {
        self.at_once.push((to, Ok(response)));
    }

    /// Sets a timer to a monotonic time ([`super::Moment::after`]); one of that name that runs is moved.
    pub fn set_timer(&mut self, timer: C::Timer, at_tick_ms: u64) {
        self.timers.push((timer, Some(at_tick_ms)));
    }

    /// Stops a timer, if it runs.
    pub fn cancel_timer(&mut self, timer: C::Timer) {
        self.timers.push((timer, None));
    }

    /// Hands out work.
    pub fn start(&mut self, job: C::Job) {
        self.jobs.push(job);
    }

    /// The records decided so far, for tests and for those who must see what they have decided.
    pub fn decided(&self) -> &[C::Record] {
        &self.records
    }
}
