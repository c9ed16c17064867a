//! One partition, owned by one core: the log, how far it is stored, and who waits for that.
//!
//! Owns the log, the leader epoch this node serves it under, and the high watermark. Never waits: what takes time (flushes, cold reads)
//! happens on other threads and comes back as an event.
//!
//! Invariants:
//! - `DurableBeforeAcknowledged`: an [`Acknowledged`] is made only from a [`Durable`] that covers it.
//! - `WatermarkNeverGoesBack` while the partition is led under one epoch.
//! - `ServedBelowWatermark`: consumers are given nothing at or above the high watermark.
//!
//! The next station is `dohle_log`; acknowledgements and wake-ups leave through [`crate::waiters`].

mod flushing;
mod handover;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use dohle_config::TopicSettings;
use dohle_log::{AppendError, Appended, Durable, Log, LogError, Maintenance, Read, ReadError};
use dohle_metadata::PartitionState;
use dohle_records::Batch;
use dohle_types::{
    ErrorCode, HighWatermark, LeaderEpoch, LogStartOffset, NodeId, Offset, TimestampMs, TopicPartition,
};
use dohle_wire::Text;
use tokio::sync::oneshot;
use tracing::error;

use self::flushing::FlushTimer;

pub use crate::acknowledged::Acknowledged;
use crate::core::Core;
use crate::log_dirs::Mark;
use crate::open_files::Uses;
use crate::reading::{Found, Isolation, ReadRequest, Reading, Watermarks};
pub use crate::refused::Refused;
use crate::waiters::{Watcher, Watchers};

pub type AppendAnswer = oneshot::Sender<Result<Acknowledged, Refused>>;

pub struct Partition {
    pub id: TopicPartition,
    pub name: Text,
    /// Whether the core's next checkpoint has to mention it.
    pub moved: Cell<bool>,
    /// Whether a copy of its log is being made elsewhere: it is not compacted meanwhile.
    pub moving: Cell<bool>,
    /// When it was used.
    pub uses: Uses,
    timer: FlushTimer,
    state: RefCell<State>,
}

struct State {
    log: Option<Log>,
    leader_epoch: LeaderEpoch,
    leads: bool,
    replicas: usize,
    in_sync: usize,
    high_watermark: HighWatermark,
    /// Appends that are not acknowledged yet, in the order of their offsets.
    unacknowledged: VecDeque<Unacknowledged>,
    watchers: Watchers,
    flushing: bool,
    /// Appends that wait for the log, which is on its way to another directory.
    held: Option<Vec<handover::HeldAppend>>,
    /// The last problem of a read that was told of.
    told: Option<String>,
}

struct Unacknowledged {
    appended: Appended,
    bytes: u64,
    answer: Option<AppendAnswer>,
}

impl Partition {
    pub fn new(id: TopicPartition, name: Text, mut log: Log, leading: &PartitionState) -> Self {
        // `LogDirs::open` has stored all that was found; a lone replica's watermark is its end.
        let high_watermark = HighWatermark(log.end_offset());
        if log.latest_epoch().is_none_or(|latest| latest < leading.leader_epoch) {
            log.assign_epoch(leading.leader_epoch);
        }
        let state = State {
            log: Some(log),
            leader_epoch: leading.leader_epoch,
            leads: true,
            replicas: leading.replicas.len(),
            in_sync: leading.isr.len(),
            high_watermark,
            unacknowledged: VecDeque::new(),
            watchers: Watchers::default(),
            flushing: false,
            held: None,
            told: None,
        };
        Self {
            id,
            name,
            moved: Cell::new(false),
            moving: Cell::new(false),
            uses: Uses::default(),
            timer: FlushTimer::default(),
            state: RefCell::new(state),
        }
    }

    /// Appends as leader. The answer is sent at once when the append is refused, and otherwise when the batches are stored.
    ///
    /// `all` asks that `min.insync.replicas` replicas be in sync; `silent` asks for no answer but a refusal.
    pub fn append(
        self: &Rc<Self>,
        core: &Rc<Core>,
        batches: Vec<Batch>,
        all: bool,
        silent: bool,
        answer: AppendAnswer,
    ) {
        self.append_by(core, batches, silent, answer, move |state, batches, now| {
            state.check_append(all)?;
            let epoch = state.leader_epoch;
            let appended = state.log_mut().append_as_leader(batches, epoch, now);
            appended.map_err(|error| state.refuse_append(&error))
        });
    }

    /// Appends what a coordinator of this node has decided, and answers as for a client that asks for all replicas.
    pub fn append_own(self: &Rc<Self>, core: &Rc<Core>, batches: Vec<Batch>, answer: AppendAnswer) {
        core.files.borrow_mut().used(self);
        self.append_by(core, batches, false, answer, |state, batches, now| {
            state.check_append(true)?;
            let epoch = state.leader_epoch;
            let appended = state.log_mut().append_as_coordinator(batches, epoch, 0, now);
            appended.map_err(|error| state.refuse_append(&error))
        });
    }

    fn append_by(
        self: &Rc<Self>,
        core: &Rc<Core>,
        batches: Vec<Batch>,
        silent: bool,
        answer: AppendAnswer,
        append: impl FnOnce(&mut State, Vec<Batch>, TimestampMs) -> Result<Appended, Refused> + 'static,
    ) {
        if let Some(held) = &mut self.state.borrow_mut().held {
            held.push(Box::new(move |partition: &Rc<Self>, core: &Rc<Core>| {
                partition.append_by(core, batches, silent, answer, append)
            }));
            return;
        }
        let now = core.env().clock.now();
        let bytes: u64 = batches.iter().map(|batch| batch.header.size() as u64).sum();
        let records: u64 =
            batches.iter().map(|batch| u64::try_from(batch.header.record_count).unwrap_or(0)).sum();
        let appended = append(&mut self.state.borrow_mut(), batches, now);
        let appended = match appended {
            Ok(appended) => appended,
            Err(refused) => {
                _ = answer.send(Err(refused));
                return;
            }
        };
        let answer = (!silent).then_some(answer);
        core.metrics.appended(records, bytes);
        let mut state = self.state.borrow_mut();
        state.unacknowledged.push_back(Unacknowledged { appended, bytes, answer });
        let durable = state.log().durable();
        state.stored(durable);
        drop(state);
        self.flush_if_needed(core);
    }

    /// Reads for a consumer.
    pub fn read(&self, request: &ReadRequest) -> Result<Reading, Refused> {
        let mut state = self.state.borrow_mut();
        state.check_epoch(request.current_leader_epoch)?;
        let watermarks = state.watermarks();
        let mut found = Found { watermarks, ..Found::default() };
        if request.last_fetched_epoch != LeaderEpoch::NONE {
            let (epoch, end) = state.log().end_offset_for_epoch(request.last_fetched_epoch);
            if end == Offset::NONE {
                return Err(state.refuse(ErrorCode::OffsetOutOfRange));
            }
            if epoch < request.last_fetched_epoch || end < request.offset {
                found.diverging = Some((epoch, end));
                return Ok(Reading::Ready(found));
            }
        }
        let up_to = state.bound(request.isolation);
        let log = state.log();
        if request.offset < log.start_offset() || request.offset > log.end_offset() {
            return Err(state.refuse(ErrorCode::OffsetOutOfRange));
        }
        if request.isolation == Isolation::ReadCommitted {
            found.aborted = Some(Vec::new());
        }
        if request.offset >= up_to || request.max_bytes == 0 && !request.at_least_one {
            return Ok(Reading::Ready(found));
        }
        let ReadRequest { offset, max_bytes, at_least_one, may_defer, .. } = *request;
        let read = state.log_mut().read_or_defer(offset, up_to, max_bytes, at_least_one, may_defer);
        match read {
            Ok(Read::Ready(slice)) => {
                let (from, to) = (request.offset, slice.end);
                found.slice = slice;
                if request.isolation != Isolation::ReadCommitted {
                    return Ok(Reading::Ready(found));
                }
                let aborted = state.log_mut().aborted_transactions(from, to);
                match aborted.map_err(|problem| state.refuse_read(self.id, &problem))? {
                    Some(aborted) => {
                        found.aborted = Some(aborted);
                        Ok(Reading::Ready(found))
                    }
                    None => Ok(Reading::WithoutAborted(found)),
                }
            }
            Ok(Read::Cold(cold)) => Ok(Reading::Cold(found, cold)),
            Err(problem) => Err(state.refuse_read(self.id, &problem)),
        }
    }

    /// What a reader is told whose read failed on its way.
    pub fn refuse_read(&self, problem: &ReadError) -> Refused {
        self.state.borrow_mut().refuse_read(self.id, problem)
    }

    /// Has a watcher told of records that become readable from now on.
    pub fn watch(&self, watcher: Arc<Watcher>) {
        self.state.borrow_mut().watchers.add(watcher);
    }

    /// Asks the log something that needs no disk, under the given leader epoch.
    pub fn ask<R>(
        &self,
        current_leader_epoch: LeaderEpoch,
        question: impl FnOnce(&mut Log, Watermarks, LeaderEpoch) -> R,
    ) -> Result<R, Refused> {
        let mut state = self.state.borrow_mut();
        state.check_epoch(current_leader_epoch)?;
        let (watermarks, epoch) = (state.watermarks(), state.leader_epoch);
        Ok(question(state.log_mut(), watermarks, epoch))
    }

    /// Up to where a reader of this isolation may see.
    pub fn bound(&self, isolation: Isolation) -> Offset {
        self.state.borrow().bound(isolation)
    }

    /// Takes over what the metadata says of this partition.
    pub fn follow(&self, new: &PartitionState, node: NodeId) {
        let mut state = self.state.borrow_mut();
        (state.replicas, state.in_sync) = (new.replicas.len(), new.isr.len());
        if new.leader_epoch > state.leader_epoch {
            state.leader_epoch = new.leader_epoch;
            state.leads = new.leader == node;
            if let Some(log) = state.log.as_mut().filter(|_| new.leader == node) {
                log.assign_epoch(new.leader_epoch);
            }
            // Who waits under the old epoch has to look again.
            state.watchers.wake_all();
        }
    }

    pub fn set_settings(&self, settings: Arc<TopicSettings>) {
        if let Some(log) = self.state.borrow_mut().log.as_mut() {
            log.set_settings(settings);
        }
    }

    /// Retention and other chores.
    pub fn maintain(&self, now: TimestampMs) -> Result<Option<Maintenance>, LogError> {
        let mut state = self.state.borrow_mut();
        let high_watermark = state.high_watermark;
        let usable = state.log.as_mut().filter(|log| log.failure().is_none());
        usable.map(|log| log.maintain(now, high_watermark)).transpose()
    }

    /// Whether retention has something to do. What cannot be said now is found out when it does.
    pub fn has_retirable(&self, now: TimestampMs) -> bool {
        let state = self.state.borrow();
        let usable = state.log.as_ref().filter(|log| log.failure().is_none());
        usable.is_some_and(|log| log.has_retirable(now, state.high_watermark).unwrap_or(true))
    }

    /// Works on the log of a partition that may be gone already.
    pub fn with_log<R>(&self, work: impl FnOnce(&mut Log) -> R) -> Option<R> {
        self.state.borrow_mut().log.as_mut().map(work)
    }

    /// What the checkpoints say of the partition; `None` when its log is closed, or out of service.
    pub fn mark(&self) -> Option<Mark> {
        let state = self.state.borrow();
        let log = state.log.as_ref().filter(|log| log.failure().is_none())?;
        Some(Mark {
            id: self.id.topic,
            topic: self.name.to_string(),
            partition: self.id.partition,
            folder: log.dir().to_owned(),
            guard: log.guard().cloned(),
            recovery_point: log.recovery_point(),
            log_start: log.start_offset(),
            high_watermark: state.high_watermark,
        })
    }
}

impl State {
    /// The log of a partition that is served. It is taken away only together with `leads`.
    fn log(&self) -> &Log {
        self.log.as_ref().expect("a partition that is served has its log")
    }

    fn log_mut(&mut self) -> &mut Log {
        self.log.as_mut().expect("a partition that is served has its log")
    }

    /// Whether the log is out of service. What is in memory about it says nothing of the disk any more.
    fn is_failed(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.failure().is_some())
    }

    fn check_append(&self, all: bool) -> Result<(), Refused> {
        if self.is_failed() {
            return Err(self.refuse(ErrorCode::KafkaStorageError));
        }
        if !self.leads || self.log.is_none() {
            return Err(self.refuse(ErrorCode::NotLeaderOrFollower));
        }
        // More than there are replicas of are not asked for (`Partition.effectiveMinIsr`).
        let least = self.replicas.min(self.log().settings().min_insync_replicas as usize);
        if all && self.in_sync < least {
            let message = format!(
                "The size of the current ISR : {} is insufficient to satisfy the min.isr requirement of {least} for this partition",
                self.in_sync
            );
            return Err(Refused { message: Some(message), ..self.refuse(ErrorCode::NotEnoughReplicas) });
        }
        Ok(())
    }

    fn refuse_append(&self, error: &AppendError) -> Refused {
        Refused { message: Some(error.to_string()), ..self.refuse(error.code()) }
    }

    /// Moves the high watermark to what is stored, acknowledges, and wakes readers.
    fn stored(&mut self, durable: Durable) {
        let mut readable = 0;
        while let Some(front) = self.unacknowledged.front() {
            if front.appended.last >= durable.up_to() {
                break;
            }
            let done = self.unacknowledged.pop_front().expect("the front was just looked at");
            readable += done.bytes;
            if let Some(answer) = done.answer {
                _ = answer.send(Ok(Acknowledged::new(done.appended, durable)));
            }
        }
        if durable.up_to() > self.high_watermark.get() {
            self.high_watermark = HighWatermark(durable.up_to());
            self.watchers.readable(readable);
        }
    }

    /// The log takes nothing any more: who waits is told, and told to look elsewhere.
    fn failed(&mut self, id: TopicPartition, problem: &LogError) {
        // One that its directory took with it has been spoken of.
        if !matches!(problem, LogError::Failed { .. }) {
            error!(partition = %id, %problem, "a partition's log has failed; it takes no more appends");
        }
        self.refuse_all(problem.code());
    }

    fn refuse_all(&mut self, code: ErrorCode) {
        if code != ErrorCode::KafkaStorageError {
            self.leads = false;
        }
        for waiting in std::mem::take(&mut self.unacknowledged) {
            if let Some(answer) = waiting.answer {
                _ = answer.send(Err(Refused::new(code)));
            }
        }
        self.watchers.wake_all();
    }

    fn check_epoch(&self, claimed: LeaderEpoch) -> Result<(), Refused> {
        if self.is_failed() {
            return Err(self.refuse(ErrorCode::KafkaStorageError));
        }
        if !self.leads || self.log.is_none() {
            return Err(self.refuse(ErrorCode::NotLeaderOrFollower));
        }
        if claimed != LeaderEpoch::NONE && claimed < self.leader_epoch {
            return Err(self.refuse(ErrorCode::FencedLeaderEpoch));
        }
        if claimed > self.leader_epoch {
            return Err(self.refuse(ErrorCode::UnknownLeaderEpoch));
        }
        Ok(())
    }

    fn refuse(&self, code: ErrorCode) -> Refused {
        let log_start = self.log.as_ref().map_or(Offset::NONE, Log::start_offset);
        Refused { log_start, ..Refused::new(code) }
    }

    fn refuse_read(&mut self, id: TopicPartition, problem: &ReadError) -> Refused {
        let message = problem.to_string();
        // Who has quarantined something has said so; and what is said again is known.
        let known = matches!(problem, ReadError::OutOfRange { .. } | ReadError::Quarantined(_));
        if !known && self.told.as_ref() != Some(&message) {
            error!(partition = %id, %problem, "a partition cannot be read");
            self.told = Some(message.clone());
        }
        Refused { message: Some(message), ..self.refuse(problem.code()) }
    }

    fn watermarks(&self) -> Watermarks {
        Watermarks {
            high_watermark: self.high_watermark,
            last_stable: self.log().last_stable_offset(self.high_watermark),
            log_start: LogStartOffset(self.log().start_offset()),
        }
    }

    fn bound(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::LogEnd => self.log().end_offset(),
            Isolation::ReadUncommitted => self.high_watermark.get(),
            Isolation::ReadCommitted => self.log().last_stable_offset(self.high_watermark).get(),
        }
    }
}
