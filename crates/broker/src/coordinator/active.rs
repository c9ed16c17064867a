//! One loaded shard: events go in, what comes of them is seen to.
//!
//! All events of one turn of the core's loop share an append. Replies leave when the partition has acknowledged it; those that came with
//! no record wait for what was decided before them, if that is not stored yet.
//!
//! Bounds: whoever waits for a reply is a request under way, and bounded as such; records gather until they fill a batch of the log.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use dohle_coordinator::frame::{Answer, Coordinator, Job, Moment, ReplyTo, Shard};
use dohle_env::{Env, Tick, task};
use dohle_types::{ErrorCode, TopicPartition};
use tokio::sync::oneshot;
use tracing::warn;

use super::append::batches;
use super::{Hosted, host};
use crate::core::Core;
use crate::partition::{Acknowledged, Partition, Refused};

/// The way to who asked.
pub type Asker<C> = oneshot::Sender<Answer<C>>;

/// A shard that answers.
pub struct Active<C: Hosted> {
    pub id: TopicPartition,
    partition: Rc<Partition>,
    state: RefCell<State<C>>,
    /// It decides nothing any more: what comes late for it is dropped.
    ended: Cell<bool>,
}

struct State<C: Coordinator> {
    shard: Shard<C>,
    /// Who has not been answered, by the number the shard knows them by.
    waiting: HashMap<ReplyTo, Asker<C>>,
    next_reply: u64,
    /// Replies to be released, in order.
    unreleased: VecDeque<Unreleased<C>>,
    /// An append is going to happen at the end of this turn, or after the linger.
    append_planned: bool,
    /// A task waits for the append in front, which it has taken out of `unreleased`.
    releasing: bool,
}

/// Replies that wait until an append, and all before it, are stored.
struct Unreleased<C: Coordinator> {
    /// `None`: the replies came with no record.
    stored: Option<oneshot::Receiver<Result<Acknowledged, Refused>>>,
    replies: Vec<(Asker<C>, Answer<C>)>,
    /// When the replies stop to wait (`offsets.commit.timeout.ms`).
    deadline: Tick,
}

impl<C: Coordinator> Unreleased<C> {
    fn release(self) {
        for (asker, answer) in self.replies {
            // Who has gone meanwhile needs no answer.
            _ = asker.send(answer);
        }
    }

    fn refuse(&mut self, code: ErrorCode) {
        for (asker, _) in self.replies.drain(..) {
            _ = asker.send(Err(code));
        }
    }
}

/// The time and the chance for one event.
pub fn moment(env: &Env) -> Moment {
    Moment { wall: env.clock.now(), tick_ms: env.clock.tick().millis(), chance: env.rng.u64() }
}

impl<C: Hosted> Active<C> {
    pub fn new(id: TopicPartition, partition: Rc<Partition>, shard: Shard<C>) -> Rc<Self> {
        let state = State {
            shard,
            waiting: HashMap::new(),
            next_reply: 0,
            unreleased: VecDeque::new(),
            append_planned: false,
            releasing: false,
        };
        Rc::new(Self { id, partition, state: RefCell::new(state), ended: Cell::new(false) })
    }

    /// The end of the log has been replayed.
    pub fn loaded(self: &Rc<Self>, core: &Rc<Core>) {
        self.event(core, Shard::loaded);
    }

    pub fn handle(self: &Rc<Self>, core: &Rc<Core>, request: C::Request, asker: Asker<C>) {
        if self.ended.get() {
            _ = asker.send(Err(ErrorCode::NotCoordinator));
            return;
        }
        let to = {
            let mut state = self.state.borrow_mut();
            let to = ReplyTo(state.next_reply);
            state.next_reply += 1;
            state.waiting.insert(to, asker);
            to
        };
        self.event(core, |shard, moment| shard.handle(moment, to, request));
    }

    pub fn notice(self: &Rc<Self>, core: &Rc<Core>, event: C::Event) {
        self.event(core, |shard, moment| shard.notice(moment, event));
    }

    /// Runs the timers that are due.
    pub fn advance(self: &Rc<Self>, core: &Rc<Core>) {
        self.event(core, Shard::advance);
    }

    /// Decides nothing more. What was decided and not appended has never been; what was appended is answered when it is stored.
    pub fn end(&self, code: ErrorCode) {
        self.ended.set(true);
        // Those whose replies are decided and wait for an append are among them.
        let waiting = std::mem::take(&mut self.state.borrow_mut().waiting);
        for (_, asker) in waiting {
            _ = asker.send(Err(code));
        }
    }

    /// The topic's limits may have changed.
    pub fn follow_settings(&self) {
        self.state.borrow_mut().shard.set_max_batch_bytes(host::max_batch_bytes(&self.partition));
    }

    fn event(self: &Rc<Self>, core: &Rc<Core>, event: impl FnOnce(&mut Shard<C>, Moment)) {
        if self.ended.get() {
            return;
        }
        event(&mut self.state.borrow_mut().shard, moment(core.env()));
        self.settle(core);
    }

    /// Sees to what came of an event.
    fn settle(self: &Rc<Self>, core: &Rc<Core>) {
        let mut state = self.state.borrow_mut();
        for (to, answer) in state.shard.take_ready() {
            if let Some(asker) = state.waiting.remove(&to) {
                _ = asker.send(answer);
            }
        }
        for job in state.shard.take_jobs() {
            let (active, core) = (self.clone(), core.clone());
            task::spawn(async move {
                let event = task::blocking(move || job.run()).await;
                active.notice(&core, event);
            });
        }
        if let Some(due) = state.shard.next_due() {
            C::host(core).alarm.set::<C>(core, due);
        }
        if !state.shard.has_batch() {
            return;
        }
        let linger = C::host(core).terms.linger;
        let now = state.shard.is_full() || linger == host::Linger::None || state.waits_for_nothing();
        if !now && state.append_planned {
            return;
        }
        state.append_planned = !now;
        drop(state);
        if now {
            return self.append(core);
        }
        let (active, core) = (self.clone(), core.clone());
        task::spawn(async move {
            match linger {
                host::Linger::For(linger) => task::sleep(linger).await,
                host::Linger::None | host::Linger::Turn => task::yield_now().await,
            }
            active.state.borrow_mut().append_planned = false;
            active.append(&core);
        });
    }

    /// Appends what was decided, and lets the replies wait for it.
    pub fn append(self: &Rc<Self>, core: &Rc<Core>) {
        if self.ended.get() {
            return;
        }
        let terms = &C::host(core).terms;
        let deadline = core.env().clock.tick().plus(terms.commit_timeout);
        let mut state = self.state.borrow_mut();
        let Some(batch) = state.shard.take_batch() else { return };
        let replies = batch
            .replies
            .into_iter()
            .filter_map(|(to, answer)| Some((state.waiting.remove(&to)?, answer)))
            .collect();
        let mut last = Unreleased { stored: None, replies, deadline };
        let limit = host::max_batch_bytes(&self.partition);
        let now = core.env().clock.now();
        for batch in batches(&batch.records, &batch.units, terms.compression, limit, now) {
            if let Some(stored) = last.stored.take() {
                let before = Unreleased { stored: Some(stored), replies: Vec::new(), deadline };
                state.unreleased.push_back(before);
            }
            let (sender, mut stored) = oneshot::channel();
            self.partition.append_own(core, vec![batch], sender);
            match stored.try_recv() {
                // What is refused is refused at once, and nothing may be appended after it that knows of it.
                Ok(Err(refused)) => {
                    last.refuse(refused.code);
                    drop(state);
                    return self.fail(core, &refused);
                }
                // `dohle.durability=replicated` waits for no disk.
                Ok(Ok(_)) => {}
                Err(_) => last.stored = Some(stored),
            }
        }
        if last.stored.is_none() && !state.releasing {
            drop(state);
            return last.release();
        }
        state.unreleased.push_back(last);
        if !std::mem::replace(&mut state.releasing, true) {
            task::spawn(release(self.clone(), core.clone()));
        }
    }

    /// The log did not take what the shard has decided: another shard is loaded, which never decided it.
    fn fail(self: &Rc<Self>, core: &Rc<Core>, refused: &Refused) {
        if self.ended.get() {
            return;
        }
        let reason = refused.message.as_deref().unwrap_or_default();
        warn!(topic = C::TOPIC, partition = %self.id.partition, code = %refused.code, reason,
            "a coordinator's records were not appended; it is loaded anew");
        C::host(core).failed(core, self, refused.code);
    }
}

impl<C: Coordinator> State<C> {
    /// Whether the replies in the batch can leave now.
    fn waits_for_nothing(&self) -> bool {
        !self.releasing && !self.append_planned && !self.shard.has_records()
    }
}

/// Releases replies in the order of their appends, until there are none.
async fn release<C: Hosted>(active: Rc<Active<C>>, core: Rc<Core>) {
    loop {
        let front = {
            let mut state = active.state.borrow_mut();
            let front = state.unreleased.pop_front();
            state.releasing = front.is_some();
            front
        };
        let Some(mut front) = front else { return };
        let Some(mut stored) = front.stored.take() else {
            front.release();
            continue;
        };
        let left = front.deadline.since(core.env().clock.tick());
        let answer = match task::timeout(left, &mut stored).await {
            Ok(answer) => answer,
            Err(task::Elapsed) => {
                front.refuse(ErrorCode::RequestTimedOut);
                stored.await
            }
        };
        match answer.unwrap_or_else(|_| Err(Refused::new(ErrorCode::NotLeaderOrFollower))) {
            Ok(_) => front.release(),
            Err(refused) => {
                front.refuse(refused.code);
                active.fail(&core, &refused);
            }
        }
    }
}
