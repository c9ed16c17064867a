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

mod quorum;
mod requests;
mod snapshots;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dohle_env::{Env, Tick};
use dohle_log::Durable;
use dohle_metadata::{Controller, Image};
use dohle_raft::{Effect, Entry, Event, Raft, SnapshotId, TickMs, Ticket};
use dohle_types::{Offset, TimestampMs};
use dohle_wire::{AnyResponse, MetadataRecord};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::error;

use crate::answers::{Asker, QuorumApi};
use crate::error::StoreError;
use crate::handle::{Command, Refused, Status};
use crate::settings::Settings;
use crate::store::Store;

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
                        return self.close(None).await;
                    }
                }
                Some(written) = self.written.recv() => {
                    let done = self.finish_snapshot(written);
                    self.survive(done);
                }
                () = dohle_env::task::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            if let Some(stop) = self.turn(&mut taken) {
                return self.close(Some(stop)).await;
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

    async fn close(mut self, done: Option<oneshot::Sender<()>>) {
        if !self.is_offline() {
            let finished = self.drive([Event::Resign].into()).and_then(|()| self.finish_turn());
            self.survive(finished);
        }
        // Who starts on this folder next must not meet the thread that writes a snapshot there.
        if self.snapshot_underway {
            _ = self.written.recv().await;
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
        self.status.send_modify(|status| {
            status.active = false;
            status.offline = Some(failure.to_string());
        });
        for owed in self.owed.drain(..) {
            let _ = owed.answer.send(Err(Refused::Offline));
        }
        for (_, asking) in self.asking.drain() {
            let _ = asking.answer.send(Err(Refused::Offline));
        }
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
        let tick =
            u64::try_from(self.tick_at.get()).ok().filter(|_| self.active && self.tick_at.get() != i64::MAX);
        let wall = self.env.clock.now();
        let maintain = self.maintain_at.map(|at| now + u64::try_from(at.get() - wall.get()).unwrap_or(0));
        let due =
            [self.raft.deadline().map(|due| due.0), tick, maintain, self.snapshot_due(), self.idle_due()];
        let due = due.into_iter().flatten().min()?;
        Some(Duration::from_millis(due.saturating_sub(now)))
    }
}
