//! The controller's thread: takes requests, lets the pure cores decide, stores, publishes, answers.
//!
//! ```text
//! a turn:  requests ─> decide, replay at once (speculation) ─> one append ─> one flush ─> high watermark ─> publish ─> answer
//! ```
//!
//! The core of the metadata runs ahead of what is committed: requests of one turn see each other. What leaves this thread does not:
//! images are published, and answers released, only against [`Committed`], which takes a [`Durable`] of the log to make.
//!
//! The flush is made on this thread. Nothing else it could do would not have to wait for it, and requests that come in meanwhile
//! share the next one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dohle_env::{Env, Tick};
use dohle_log::Durable;
use dohle_metadata::{ApiError, Controller, Image, RequestContext};
use dohle_raft::{Effect, Entry, Event, Raft, SnapshotId, Ticket, TickMs};
use dohle_types::{ErrorCode, Offset, TimestampMs};
use dohle_wire::messages::NoOpRecord;
use dohle_wire::{AnyRequest, AnyResponse, MetadataRecord};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::codec;
use crate::error::StoreError;
use crate::handle::{Asked, Command, Refused, Status};
use crate::quorum_api;
use crate::registration;
use crate::settings::Settings;
use crate::snapshot::{self, Contents};
use crate::store::Store;
use crate::translate::{Asker, QuorumApi};

/// How many requests share one flush at most.
const MAX_TURN: usize = 512;
/// How many answers may wait for a commit before no further request is taken.
const MAX_OWED: usize = 8192;

/// How long after an append the log's files are looked after.
const MAINTAIN_AFTER_MS: i64 = 300_000;

type AnswerSender = oneshot::Sender<Result<AnyResponse, Refused>>;

/// Everything below is committed by the quorum and stored here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Committed {
    up_to: Offset,
}

impl Committed {
    fn new(high_watermark: Offset, durable: Durable) -> Self {
        Self { up_to: high_watermark.min(durable.up_to()) }
    }
}

/// An answer that waits for what it tells of to be committed.
struct Owed {
    /// The end of the log when it was decided.
    needs: Offset,
    reply: AnyResponse,
    answer: AnswerSender,
}

impl Owed {
    fn release(self, committed: Committed) {
        assert!(self.needs <= committed.up_to, "an answer is released when what it tells of is committed");
        // Whoever asked may have stopped waiting.
        let _ = self.answer.send(Ok(self.reply));
    }
}

/// A request that the quorum has not answered yet.
struct Asking {
    answer: AnswerSender,
    asker: Asker,
    api: QuorumApi,
}

/// A snapshot that another thread has written.
struct SnapshotWritten {
    id: SnapshotId,
    result: std::io::Result<u64>,
    last_timestamp: TimestampMs,
}

pub(crate) struct Shell {
    env: Env,
    settings: Settings,
    raft: Raft,
    store: Store,
    /// Runs ahead: has replayed everything below `core_end`, committed or not.
    core: Controller,
    core_end: Offset,
    /// When the last record that `core` has replayed was written.
    core_timestamp: TimestampMs,
    /// What is committed: everything below `applied`.
    image: Image,
    applied: Offset,
    durable: Durable,
    /// What the empty log of a new cluster starts with.
    bootstrap: Vec<(MetadataRecord, i16)>,
    active: bool,
    /// This node has just become the leader and has to catch up.
    activating: bool,
    proposal: Vec<Entry>,
    flush_wanted: Option<Event>,
    owed: VecDeque<Owed>,
    asking: HashMap<Ticket, Asking>,
    next_ticket: u64,
    tick_at: TimestampMs,
    maintain_at: Option<TimestampMs>,
    last_append: Tick,
    bytes_since_snapshot: u64,
    last_snapshot: Tick,
    snapshot_underway: bool,
    snapshots: mpsc::UnboundedSender<SnapshotWritten>,
    written: mpsc::UnboundedReceiver<SnapshotWritten>,
    images: watch::Sender<Arc<Image>>,
    status: watch::Sender<Status>,
}

/// The ends of the handle's channels that the thread holds.
pub(crate) struct Channels {
    pub images: watch::Sender<Arc<Image>>,
    pub status: watch::Sender<Status>,
}

/// What was recovered, ready to take part.
pub(crate) struct Parts {
    pub raft: Raft,
    pub store: Store,
    pub core: Controller,
    /// The end of the snapshot that `core` was loaded from, and the time of its last record.
    pub loaded: (Offset, TimestampMs),
    pub durable: Durable,
    pub bootstrap: Vec<(MetadataRecord, i16)>,
}

impl Shell {
    pub(crate) fn new(env: Env, settings: Settings, parts: Parts, channels: Channels) -> Self {
        let (snapshots, written) = mpsc::unbounded_channel();
        let now = env.clock.tick();
        let image = parts.core.image().clone();
        Self {
            settings,
            raft: parts.raft,
            store: parts.store,
            core: parts.core,
            core_end: parts.loaded.0,
            core_timestamp: parts.loaded.1,
            image,
            applied: parts.loaded.0,
            durable: parts.durable,
            bootstrap: parts.bootstrap,
            active: false,
            activating: false,
            proposal: Vec::new(),
            flush_wanted: None,
            owed: VecDeque::new(),
            asking: HashMap::new(),
            next_ticket: 0,
            tick_at: TimestampMs(i64::MAX),
            maintain_at: None,
            last_append: now,
            bytes_since_snapshot: 0,
            last_snapshot: now,
            snapshot_underway: false,
            snapshots,
            written,
            images: channels.images,
            status: channels.status,
            env,
        }
    }

    /// Performs what the quorum wanted when it started. The only voter is active when this returns.
    pub(crate) fn begin(&mut self, effects: Vec<Effect>) -> Result<(), StoreError> {
        let mut events = VecDeque::new();
        for effect in effects {
            events.extend(self.perform(effect)?);
        }
        self.drive(events)?;
        self.finish_turn()
    }

    /// Runs until it is told to stop, or nobody is left who could ask.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut taken = Vec::with_capacity(MAX_TURN);
        loop {
            let wait = self.wait();
            let has_room = self.owed.len() < MAX_OWED;
            tokio::select! {
                count = commands.recv_many(&mut taken, MAX_TURN), if has_room => {
                    if count == 0 {
                        return self.close(None);
                    }
                }
                Some(written) = self.written.recv() => {
                    let done = self.finish_snapshot(written);
                    self.survive(done);
                }
                () = dohle_env::task::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            if let Some(stop) = self.turn(&mut taken) {
                return self.close(Some(stop));
            }
        }
    }

    /// Handles everything that waits, then stores and answers it together.
    fn turn(&mut self, taken: &mut Vec<Command>) -> Option<oneshot::Sender<()>> {
        for command in taken.drain(..) {
            match command {
                Command::Ask(asked) => {
                    let done = self.ask(*asked);
                    self.survive(done);
                }
                Command::Shutdown(done) => return Some(done),
            }
        }
        let done = self.finish_turn();
        self.survive(done);
        None
    }

    fn close(mut self, done: Option<oneshot::Sender<()>>) {
        if !self.is_offline() {
            let finished = self.drive([Event::Resign].into()).and_then(|()| self.finish_turn());
            self.survive(finished);
        }
        if !self.is_offline()
            && let Err(error) = self.store.close()
        {
            error!(%error, "the metadata log was not closed cleanly");
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// A failed disk ends this node's part in the quorum: what is waited for is refused, and so is everything from now on.
    fn survive(&mut self, done: Result<(), StoreError>) {
        let Err(failure) = done else {
            return;
        };
        error!(error = %failure, code = %failure.code(), "the metadata log is offline: nothing can be changed any more");
        self.active = false;
        self.proposal.clear();
        self.flush_wanted = None;
        for owed in self.owed.drain(..) {
            let _ = owed.answer.send(Err(Refused::Offline));
        }
        for (_, asking) in self.asking.drain() {
            let _ = asking.answer.send(Err(Refused::Offline));
        }
        self.status.send_modify(|status| {
            status.active = false;
            status.offline = Some(failure.to_string());
        });
    }

    fn is_offline(&self) -> bool {
        self.status.borrow().offline.is_some()
    }

    /// Whole milliseconds of monotonic time, for both cores.
    fn now_ms(&self) -> TickMs {
        TickMs(self.env.clock.tick().millis())
    }

    fn now(&self) -> TimestampMs {
        TimestampMs(i64::try_from(self.env.clock.tick().millis()).unwrap_or(i64::MAX))
    }

    /// How long there is nothing to do if nobody asks. `None` for ever.
    fn wait(&self) -> Option<Duration> {
        if self.is_offline() {
            return None;
        }
        let now = self.env.clock.tick().millis();
        let tick = u64::try_from(self.tick_at.get()).ok().filter(|_| self.active && self.tick_at.get() != i64::MAX);
        let wall = self.env.clock.now();
        let maintain = self.maintain_at.map(|at| now + u64::try_from(at.get() - wall.get()).unwrap_or(0));
        let due = [self.raft.deadline().map(|due| due.0), tick, maintain, self.snapshot_due(), self.idle_due()];
        let due = due.into_iter().flatten().min()?;
        Some(Duration::from_millis(due.saturating_sub(now)))
    }
}

/// Requests.
impl Shell {
    fn ask(&mut self, asked: Asked) -> Result<(), StoreError> {
        let Asked { context, version, request, answer } = asked;
        if answer.is_closed() {
            return Ok(());
        }
        if self.is_offline() {
            let _ = answer.send(Err(Refused::Offline));
            return Ok(());
        }
        if let AnyRequest::DescribeQuorum(request) = &request {
            let described = self.raft.describe(self.now_ms());
            let clocks = (self.now_ms(), self.env.clock.now());
            let _ = answer.send(Ok(quorum_api::describe_quorum(request, described.as_ref(), clocks, version)));
            return Ok(());
        }
        match crate::translate::request(&request, version) {
            Some(Ok(quorums)) => {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                let asker = Asker { listener: context.listener };
                self.asking.insert(ticket, Asking { answer, asker, api: QuorumApi::of(&quorums) });
                self.drive([Event::Request { ticket, request: quorums }].into())
            }
            Some(Err(response)) => {
                let _ = answer.send(Ok(response));
                Ok(())
            }
            None => self.decide(&context, version, &request, answer),
        }
    }

    /// Lets the controller decide, and takes the records up at once.
    fn decide(
        &mut self,
        context: &RequestContext,
        version: i16,
        request: &AnyRequest,
        answer: AnswerSender,
    ) -> Result<(), StoreError> {
        if !Controller::serves(request.key()) {
            let _ = answer.send(Err(Refused::Unknown));
            return Ok(());
        }
        if !self.active {
            let refusal = Controller::refusal(request, version, &ApiError::bare(ErrorCode::NotController));
            let _ = answer.send(Ok(refusal));
            return Ok(());
        }
        let (now, chance) = (self.now(), self.env.rng.u64());
        let outcome = self.core.handle(now, self.core_end, chance, context, request, version);
        self.take_records(&outcome.records, outcome.atomic)?;
        if let Some(level) = outcome.kraft_upgrade {
            if !self.raft.can_raise_kraft_version(level) {
                let refusal = Controller::refusal(request, version, &ApiError::bare(ErrorCode::InvalidUpdateVersion));
                let _ = answer.send(Ok(refusal));
                return Ok(());
            }
            self.drive([Event::RaiseKRaftVersion { level }].into())?;
            self.core.set_kraft_version(level);
        }
        // What only reads also waits: what it has read may not be committed.
        self.owed.push_back(Owed { needs: self.core_end, reply: outcome.reply, answer });
        Ok(())
    }

    /// Replays records into the core, and makes the batches that carry them.
    fn take_records(&mut self, records: &[(MetadataRecord, i16)], atomic: bool) -> Result<(), StoreError> {
        let size = if atomic { records.len().max(1) } else { codec::MAX_RECORDS_PER_BATCH };
        let now = self.env.clock.now();
        for records in records.chunks(size) {
            let leading = self.raft.leading().expect("only the leader decides");
            let batch = codec::metadata_batch(records, now, self.core_end, leading.epoch);
            for (record, _) in records {
                self.core.replay(record, self.core_end).map_err(codec::CodecError::from)?;
                self.core_end = self.core_end.next();
            }
            self.core_timestamp = now;
            self.proposal.push(codec::entry_of(&batch, Vec::new()));
        }
        Ok(())
    }

    /// What the active controller does unasked.
    fn tick(&mut self) -> Result<(), StoreError> {
        if !self.active {
            return Ok(());
        }
        let (now, chance) = (self.now(), self.env.rng.u64());
        let tick = self.core.tick(now, self.core_end, chance);
        self.tick_at = tick.next;
        self.take_records(&tick.records, false)
    }

    /// Tells those who follow that this controller is there, when nothing else has for a while.
    fn idle(&mut self) -> Result<(), StoreError> {
        match self.idle_due() {
            Some(due) if due <= self.env.clock.tick().millis() => {
                self.take_records(&[(NoOpRecord::default().into(), 0)], true)
            }
            _ => Ok(()),
        }
    }

    fn idle_due(&self) -> Option<u64> {
        let interval = self.settings.idle_interval_ms.filter(|_| self.active && self.raft.is_followed(self.now_ms()))?;
        Some(self.last_append.millis() + interval)
    }
}

/// The quorum.
impl Shell {
    /// Appends what was decided, stores it, and goes on until nothing is left to do.
    fn finish_turn(&mut self) -> Result<(), StoreError> {
        if self.is_offline() {
            return Ok(());
        }
        self.drive([Event::Tick].into())?;
        self.tick()?;
        self.idle()?;
        loop {
            self.propose()?;
            if std::mem::take(&mut self.activating) {
                self.activate()?;
            } else if let Some(flushed) = self.flush_wanted.take() {
                self.durable = self.store.flush()?;
                self.drive([flushed].into())?;
            } else {
                break;
            }
        }
        self.publish();
        self.release();
        self.start_snapshot();
        let now = self.env.clock.now();
        if self.maintain_at.is_some_and(|at| at <= now) {
            self.maintain_at = self.store.maintain(now, self.applied)?;
        }
        Ok(())
    }

    fn propose(&mut self) -> Result<(), StoreError> {
        if self.proposal.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.proposal);
        self.step_all([Event::Propose { entries }].into())
    }

    /// Hands events to the quorum, after what was decided before them.
    fn drive(&mut self, events: VecDeque<Event>) -> Result<(), StoreError> {
        self.propose()?;
        self.step_all(events)
    }

    fn step_all(&mut self, mut events: VecDeque<Event>) -> Result<(), StoreError> {
        while let Some(event) = events.pop_front() {
            let now = self.now_ms();
            for effect in self.raft.step(now, event) {
                events.extend(self.perform(effect)?);
            }
        }
        // The quorum's own records took offsets that hold nothing for the core.
        if let Some(leading) = self.raft.leading().filter(|_| self.active && self.proposal.is_empty()) {
            self.core_end = leading.next_offset;
        }
        Ok(())
    }

    /// Does one thing the quorum wants, and gives what it has to be told of it.
    fn perform(&mut self, effect: Effect) -> Result<Option<Event>, StoreError> {
        match effect {
            Effect::PersistElection(state) => {
                self.store.persist_election(state, self.raft.voters().kraft_version())?;
            }
            Effect::Append { entries } => {
                let leads = self.raft.leading().is_some();
                self.bytes_since_snapshot += self.store.append(entries, leads, self.env.clock.now())?;
                self.last_append = self.env.clock.tick();
                let soon = TimestampMs(self.env.clock.now().get() + MAINTAIN_AFTER_MS);
                self.maintain_at = self.maintain_at.or(Some(soon));
            }
            Effect::Flush { era, up_to } => self.flush_wanted = Some(Event::Flushed { era, up_to }),
            Effect::Truncate { end } => self.truncate(end)?,
            // A quorum of one has nobody to speak to; a voter to be is not reached.
            Effect::Send { call, .. } => return Ok(Some(Event::Unanswered { call })),
            Effect::Reply { ticket, response } => self.answer(ticket, response)?,
            Effect::HighWatermarkAdvanced { to } => self.apply(to)?,
            Effect::BecameLeader { epoch, start } => {
                info!(%epoch, %start, "this node leads the metadata quorum");
                self.activating = true;
                self.replay_log(self.store.end())?;
            }
            Effect::ResignedLeader { epoch } => {
                info!(%epoch, "this node no longer leads the metadata quorum");
                self.step_back();
            }
            Effect::LeaderChanged { leader, epoch } => self.status.send_modify(|status| {
                (status.leader, status.epoch) = (leader, epoch);
            }),
            Effect::StoreSnapshotChunk { id, position, bytes } => self.store.store_chunk(id, position, &bytes)?,
            Effect::InstallSnapshot { id } => return self.install_snapshot(id).map(Some),
            Effect::Halt(fault) => return Err(StoreError::Fault(fault)),
        }
        Ok(None)
    }

    fn truncate(&mut self, end: Offset) -> Result<(), StoreError> {
        assert!(end >= self.core_end, "the core of a follower holds only what is committed");
        self.store.truncate(end, self.env.clock.now())
    }

    fn answer(&mut self, ticket: Ticket, response: dohle_raft::Response) -> Result<(), StoreError> {
        let Some(asking) = self.asking.remove(&ticket) else {
            return Ok(());
        };
        let filled = quorum_api::fill(&mut self.store, response)?;
        let _ = asking.answer.send(Ok(crate::translate::response(asking.api, filled, &asking.asker)));
        Ok(())
    }

    /// Brings the core up to `end` of the log.
    fn replay_log(&mut self, end: Offset) -> Result<(), StoreError> {
        while self.core_end < end {
            for batch in self.store.read(self.core_end, end)? {
                for (offset, record) in codec::metadata_records(&batch)? {
                    if offset >= self.core_end {
                        self.core.replay(&record, offset).map_err(codec::CodecError::from)?;
                    }
                }
                self.core_end = batch.header.next_offset();
                self.core_timestamp = batch.header.max_timestamp;
                self.bytes_since_snapshot += if self.active { 0 } else { batch.size() as u64 };
            }
        }
        Ok(())
    }

    /// Records below `to` are committed.
    fn apply(&mut self, to: Offset) -> Result<(), StoreError> {
        self.replay_log(to)?;
        if self.core_end == to && self.proposal.is_empty() {
            self.image = self.core.image().clone();
        } else {
            self.apply_from_log(to)?;
        }
        self.applied = to;
        Ok(())
    }

    /// The core is further: the image is made from the log.
    fn apply_from_log(&mut self, to: Offset) -> Result<(), StoreError> {
        let mut next = self.applied;
        while next < to {
            for batch in self.store.read(next, to)? {
                for (offset, record) in codec::metadata_records(&batch)? {
                    if offset >= self.applied {
                        self.image.replay(&record, offset).map_err(codec::CodecError::from)?;
                    }
                }
                next = batch.header.next_offset();
            }
        }
        Ok(())
    }

    /// The new leader's core has replayed the whole log: nothing of it will be taken back while it leads.
    fn activate(&mut self) -> Result<(), StoreError> {
        if self.raft.leading().is_none() {
            return Ok(());
        }
        self.active = true;
        self.core_end = self.store.end();
        self.core.set_kraft_version(self.raft.voters().kraft_version());
        let records = self.core.activation_records(&self.bootstrap);
        // One batch: a cluster has all of its beginning or none.
        self.take_records(&records, true)?;
        let now = self.now();
        self.core.activate(now);
        self.register()?;
        self.tick()
    }

    /// Registers this controller with itself.
    fn register(&mut self) -> Result<(), StoreError> {
        let Some(request) = registration::request(&self.settings, self.core.image()) else {
            return Ok(());
        };
        let (now, chance) = (self.now(), self.env.rng.u64());
        let context = RequestContext::default();
        let outcome = self.core.handle(now, self.core_end, chance, &context, &request, registration::VERSION);
        if let AnyResponse::ControllerRegistration(response) = &outcome.reply
            && response.error_code != ErrorCode::None.code()
        {
            warn!(code = response.error_code, message = ?response.error_message, "this controller is not registered");
        }
        self.take_records(&outcome.records, outcome.atomic)
    }

    /// What was decided and not committed may never be.
    fn step_back(&mut self) {
        (self.active, self.activating) = (false, false);
        self.proposal.clear();
        self.core.reset_to(self.image.clone());
        self.core_end = self.applied;
        for owed in self.owed.drain(..) {
            let _ = owed.answer.send(Err(Refused::NotActive));
        }
    }

    fn publish(&mut self) {
        let image = self.image.stable();
        if self.images.borrow().offset != image.offset {
            self.images.send_replace(Arc::new(image.clone()));
        }
        let (active, end, last_applied) = (self.active, self.store.end(), image.offset);
        let high_watermark = self.raft.high_watermark();
        self.status.send_if_modified(|status| {
            let before = (status.active, status.end, status.last_applied, status.high_watermark);
            (status.active, status.end, status.last_applied, status.high_watermark) =
                (active, end, last_applied, high_watermark);
            before != (active, end, last_applied, high_watermark)
        });
    }

    fn release(&mut self) {
        let committed = Committed::new(self.applied, self.durable);
        while self.owed.front().is_some_and(|owed| owed.needs <= committed.up_to) {
            self.owed.pop_front().expect("looked at above").release(committed);
        }
    }
}

/// Snapshots.
impl Shell {
    /// When the next snapshot is due by time, in milliseconds of monotonic time.
    fn snapshot_due(&self) -> Option<u64> {
        let interval = self.settings.snapshot_interval_ms.filter(|_| self.has_news() && !self.snapshot_underway)?;
        Some(self.last_snapshot.millis() + interval)
    }

    /// Whether records are committed that no snapshot holds. The bootstrap checkpoint holds none.
    fn has_news(&self) -> bool {
        self.store.latest_snapshot().is_none_or(|latest| self.applied > latest.offset)
    }

    /// Writes a snapshot on another thread when one is due.
    fn start_snapshot(&mut self) {
        let by_size = self.bytes_since_snapshot >= self.settings.snapshot_bytes;
        let by_time = self.snapshot_due().is_some_and(|due| due <= self.env.clock.tick().millis());
        let is_due = self.has_news() && (by_size || by_time);
        if !is_due || self.snapshot_underway || self.image.in_transaction() {
            return;
        }
        let id = self.raft.log().point_at(self.applied);
        let (kraft_version, voters) = self.raft.voters().at(self.applied);
        let (voters, image, last_timestamp) = (voters.cloned(), self.image.clone(), self.core_timestamp);
        let (disk, path, now) = (self.env.disk.clone(), self.store.snapshot_path(id), self.env.clock.now());
        self.snapshot_underway = true;
        self.last_snapshot = self.env.clock.tick();
        self.bytes_since_snapshot = 0;
        let done = self.snapshots.clone();
        dohle_env::task::spawn(async move {
            let result = dohle_env::task::blocking(move || {
                let records = image.to_records();
                let contents = Contents { last_timestamp, kraft_version, voters, records };
                let bytes = snapshot::encode(&contents, id.epoch, now);
                snapshot::write(&*disk, &path, &bytes).map(|_stored| bytes.len() as u64)
            });
            // The shell may have ended meanwhile; the snapshot is there all the same.
            let _ = done.send(SnapshotWritten { id, result: result.await, last_timestamp });
        });
    }

    fn finish_snapshot(&mut self, written: SnapshotWritten) -> Result<(), StoreError> {
        self.snapshot_underway = false;
        let id = written.id;
        let size = match written.result {
            Ok(size) => size,
            Err(source) => {
                // The log still holds everything: the next one is tried when it is due.
                warn!(error = %source, offset = %id.offset, "the snapshot of the metadata was not stored");
                return Ok(());
            }
        };
        if self.is_offline() || self.store.latest_snapshot().is_some_and(|latest| latest.offset >= id.offset) {
            return Ok(());
        }
        info!(offset = %id.offset, epoch = %id.epoch, bytes = size, "stored a snapshot of the metadata");
        self.store.add_snapshot(id, size, written.last_timestamp);
        let mut events = VecDeque::from([Event::SnapshotTaken { id }]);
        if let Some((start, earliest)) = self.store.retain(&self.settings, self.applied, self.env.clock.now())? {
            events.push_back(Event::Trimmed { start, earliest });
        }
        self.drive(events)
    }

    /// Takes over a snapshot that was fetched from the leader.
    fn install_snapshot(&mut self, id: SnapshotId) -> Result<Event, StoreError> {
        let Some(contents) = self.store.install_snapshot(id)? else {
            return Ok(Event::SnapshotDamaged { id });
        };
        let mut image = Image::default();
        let last = id.offset.plus(-1);
        for (record, _) in &contents.records {
            image.replay(record, last).map_err(codec::CodecError::from)?;
        }
        image.offset = last;
        self.core.reset_to(image.clone());
        (self.image, self.applied, self.core_end) = (image, id.offset, id.offset);
        self.core_timestamp = contents.last_timestamp;
        self.durable = self.store.flush()?;
        let Contents { kraft_version, voters, .. } = contents;
        Ok(Event::SnapshotInstalled { id, kraft_version, voters })
    }
}
