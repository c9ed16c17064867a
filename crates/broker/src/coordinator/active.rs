//! One loaded shard: events go in, what comes of them is seen to.
//!
//! All events of one turn of the core's loop share an append, and so does everything that is decided while an append before it is being
//! stored: the disk would not begin with it earlier, and one batch costs less than many. Replies leave when the partition has
//! acknowledged their append; those that came with no record wait for what was decided before them, if that is not stored yet.
//!
//! Bounds: whoever waits for a reply is a request under way, and bounded as such; records gather until they fill a batch of the log.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use dohle_coordinator::frame::{Answer, Coordinator, Job, Moment, ReplyTo, Shard};
use dohle_env::{Tick, task};
use dohle_types::{ErrorCode, TopicPartition};
use tokio::sync::{Notify, oneshot};
use tracing::warn;

use super::append::batches;
use super::host::Question;
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
    /// What the node's [`super::memory`] knows that it keeps.
    kept: Cell<usize>,
    /// Who releases replies has found none with a deadline, and is to be told of the next one.
    unwatched: Cell<bool>,
    has_come: Notify,
}

struct State<C: Coordinator> {
    shard: Shard<C>,
    /// Who has not been answered, by the number the shard knows them by.
    waiting: BTreeMap<ReplyTo, Asker<C>>,
    next_reply: u64,
    /// Replies to be released, in order.
    unreleased: VecDeque<Unreleased<C>>,
    /// Since when something waits for the next append.
    gathering_since: Option<Tick>,
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
    /// When they were appended.
    since: Tick,
    /// When the replies stop to wait (`offsets.commit.timeout.ms`).
    deadline: Tick,
}

impl<C: Hosted> Unreleased<C> {
    fn release(self, core: &Rc<Core>) {
        let runtime = &C::host(core).runtime;
        let waited = core.env().clock.tick().since(self.since);
        for (asker, answer) in self.replies {
            runtime.purgatory.record(waited);
            // Who has gone meanwhile needs no answer.
            _ = asker.send(answer);
        }
    }

    /// Tells those who have waited too long.
    fn refuse_late(&mut self, now: Tick) {
        if self.deadline <= now {
            self.refuse(ErrorCode::RequestTimedOut);
        }
    }

    fn refuse(&mut self, code: ErrorCode) {
        for (asker, _) in self.replies.drain(..) {
            _ = asker.send(Err(code));
        }
    }
}

impl<C: Hosted> Active<C> {
    pub fn new(id: TopicPartition, partition: Rc<Partition>, shard: Shard<C>) -> Rc<Self> {
        let state = State {
            shard,
            waiting: BTreeMap::new(),
            next_reply: 0,
            unreleased: VecDeque::new(),
            gathering_since: None,
            append_planned: false,
            releasing: false,
        };
        Rc::new(Self {
            id,
            partition,
            state: RefCell::new(state),
            ended: Cell::new(false),
            kept: Cell::new(0),
            unwatched: Cell::new(false),
            has_come: Notify::new(),
        })
    }

    /// The end of the log has been replayed.
    pub fn loaded(self: &Rc<Self>, core: &Rc<Core>) {
        self.event(core, Shard::loaded);
    }

    /// What the request holds of the node's budget is given back with its bytes when this returns.
    pub fn handle(self: &Rc<Self>, core: &Rc<Core>, question: Question<C>) {
        let Question { request, asker, charge: _charge } = question;
        if self.ended.get() {
            _ = asker.send(Err(ErrorCode::NotCoordinator));
            return;
        }
        if !core.shared().kept.has_room(self.with(|coordinator| coordinator.would_keep(&request))) {
            _ = asker.send(Err(ErrorCode::CoordinatorNotAvailable));
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
    pub fn end(&self, core: &Core, code: ErrorCode) {
        self.ended.set(true);
        core.shared().kept.replace(self.kept.take(), 0);
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

    /// Looks at the coordinator.
    pub fn with<T>(&self, look: impl FnOnce(&C) -> T) -> T {
        look(self.state.borrow().shard.coordinator())
    }

    fn event(self: &Rc<Self>, core: &Rc<Core>, event: impl FnOnce(&mut Shard<C>, Moment)) {
        if self.ended.get() {
            return;
        }
        let (env, host) = (core.env(), C::host(core));
        let started = env.clock.tick();
        let chance = host.chance.borrow_mut().next(&env.rng);
        let moment = Moment { wall: env.clock.now(), tick_ms: started.millis(), chance };
        event(&mut self.state.borrow_mut().shard, moment);
        let kept = self.with(C::kept_bytes);
        if kept != self.kept.get() {
            core.shared().kept.replace(self.kept.replace(kept), kept);
        }
        host.runtime.processing.record(env.clock.tick().since(started));
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
            let (clock, asked) = (core.env().clock.clone(), core.env().clock.tick());
            task::spawn(async move {
                let work = move || {
                    let started = clock.tick();
                    (job.run(), started, clock.tick())
                };
                let (event, started, ended) = task::blocking(work).await;
                let runtime = &C::host(&core).runtime;
                runtime.background_queue.record(started.since(asked));
                runtime.background.record(ended.since(started));
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
        if state.gathering_since.is_none() {
            state.gathering_since = Some(core.env().clock.tick());
            self.watch();
        }
        let now = state.shard.is_full() || linger == host::Linger::None || state.waits_for_nothing();
        let gathers = state.releasing && linger == host::Linger::Turn && state.shard.has_records();
        if !now && (state.append_planned || gathers) {
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
        let since = core.env().clock.tick();
        let mut state = self.state.borrow_mut();
        let Some(batch) = state.shard.take_batch() else { return };
        let gathering_since = state.gathering_since.take();
        if let Some(gathering) = gathering_since.filter(|_| !batch.records.is_empty()) {
            C::host(core).runtime.linger.record(since.since(gathering));
        }
        let deadline = gathering_since.unwrap_or(since).plus(terms.commit_timeout);
        let replies = batch
            .replies
            .into_iter()
            .filter_map(|(to, answer)| Some((state.waiting.remove(&to)?, answer)))
            .collect();
        let mut last = Unreleased { stored: None, replies, since, deadline };
        let batches = if batch.records.is_empty() {
            Vec::new()
        } else {
            let limit = host::max_batch_bytes(&self.partition);
            batches(&batch.records, &batch.units, terms.compression, limit, core.env().clock.now())
        };
        for batch in batches {
            if let Some(stored) = last.stored.take() {
                let before = Unreleased { stored: Some(stored), replies: Vec::new(), since, deadline };
                state.unreleased.push_back(before);
            }
            let (sender, mut stored) = oneshot::channel();
            C::host(core).runtime.appended();
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
            return last.release(core);
        }
        state.unreleased.push_back(last);
        self.watch();
        if !std::mem::replace(&mut state.releasing, true) {
            task::spawn(release(self.clone(), core.clone()));
        }
    }

    /// Appends what was decided while another append was being stored.
    fn append_gathered(self: &Rc<Self>, core: &Rc<Core>) {
        let gathered = !self.state.borrow().append_planned;
        if gathered {
            self.append(core);
        }
    }

    /// There is a reply with a deadline.
    fn watch(&self) {
        if self.unwatched.take() {
            self.has_come.notify_one();
        }
    }

    /// When the first reply is to stop waiting, of those that wait for an append in `front` or behind it.
    fn next_deadline(&self, core: &Core, front: &Unreleased<C>) -> Option<Tick> {
        let state = self.state.borrow();
        let waiting =
            std::iter::once(front).chain(&state.unreleased).filter(|append| !append.replies.is_empty());
        let gathered = state.gathering_since.filter(|_| !state.append_planned);
        let gathered = gathered.map(|since| since.plus(C::host(core).terms.commit_timeout));
        waiting.map(|append| append.deadline).chain(gathered).min()
    }

    /// The disk takes too long: tells those whose time is over, and appends what was decided meanwhile, so that its replies are among
    /// them when their time comes.
    fn refuse_late(self: &Rc<Self>, core: &Rc<Core>, front: &mut Unreleased<C>) {
        self.append_gathered(core);
        let now = core.env().clock.tick();
        front.refuse_late(now);
        self.state.borrow_mut().unreleased.iter_mut().for_each(|append| append.refuse_late(now));
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
            front.release(&core);
            continue;
        };
        let answer = loop {
            let Some(deadline) = active.next_deadline(&core, &front) else {
                // Nobody waits with a deadline: all were told, or nobody asked. Whoever comes now does.
                active.unwatched.set(true);
                tokio::select! {
                    biased;
                    answer = &mut stored => break answer,
                    () = active.has_come.notified() => continue,
                }
            };
            match task::timeout(deadline.since(core.env().clock.tick()), &mut stored).await {
                Ok(answer) => break answer,
                Err(task::Elapsed) => active.refuse_late(&core, &mut front),
            }
        };
        match answer.unwrap_or_else(|_| Err(Refused::new(ErrorCode::NotLeaderOrFollower))) {
            Ok(_) => {
                // What was decided meanwhile need not wait for these replies to be written.
                active.append_gathered(&core);
                C::host(&core).runtime.flush.record(core.env().clock.tick().since(front.since));
                front.release(&core);
            }
            Err(refused) => {
                front.refuse(refused.code);
                active.fail(&core, &refused);
            }
        }
    }
}
