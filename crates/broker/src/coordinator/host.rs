//! The shards of one kind of coordinator on one core.
//!
//! A shard is loaded when somebody asks for it, or after the start if its partition holds records: their timers have to run. While it
//! is being loaded, requests wait for [`PATIENCE`] before they are told so: most partitions are read in less.
//!
//! Bounds: one shard at a time is loaded, in steps of `offsets.load.buffer.size` bytes; what failed to load is tried again after
//! [`RETRY_AFTER`] at the earliest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dohle_coordinator::frame::{Answer, Shard};
use dohle_env::{Drawn, Tick, task};
use dohle_metadata::Image;
use dohle_records::Compression;
use dohle_types::{ErrorCode, TopicPartition};
use tokio::sync::{Notify, Semaphore, oneshot};
use tracing::error;

use super::active::{Active, Asker};
use super::alarm::Alarm;
use super::numbers::{Runtime, Shards};
use super::{Hosted, load};
use crate::budget::Charge;
use crate::core::Core;
use crate::partition::Partition;

/// How long requests wait for a shard that is being loaded.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a partition that could not be loaded is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long after a refused append a shard is loaded again that nobody asks for.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

/// How a coordinator of this kind is run, by the configuration.
pub struct Terms {
    pub compression: Compression,
    pub linger: Linger,
    /// How long replies wait for their records to be stored.
    pub commit_timeout: Duration,
    /// How much of the log is read at a time while loading.
    pub load_bytes: usize,
}

/// How long records wait for others to be appended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Until the end of the turn of the loop.
    Turn,
    None,
    For(Duration),
}

/// The largest batch that a partition takes.
pub fn max_batch_bytes(partition: &Partition) -> usize {
    let settings = partition.with_log(|log| log.settings().clone());
    settings.map_or(usize::MAX, |settings| settings.max_message_bytes.min(settings.segment_bytes) as usize)
}

/// A partition's shard on this core.
enum Slot<C: Hosted> {
    Loading(Loading<C>),
    Active(Rc<Active<C>>),
    /// It could not be loaded; nobody tries again before this.
    Failed(Tick),
    /// The log has refused what the shard before had decided; another is loaded when it is needed.
    Dropped,
}

/// A request on its way to a shard.
pub struct Question<C: Hosted> {
    pub request: C::Request,
    pub asker: Asker<C>,
    /// What a request that may be parked holds of the node's budget until a shard has taken it over.
    pub charge: Option<Charge>,
}

struct Loading<C: Hosted> {
    /// Which load it is: one that was given up changes nothing when it ends.
    number: u64,
    waiting: Vec<Question<C>>,
    /// Requests are still told to wait.
    patient: bool,
}

pub struct Host<C: Hosted> {
    pub terms: Terms,
    pub(super) runtime: Runtime,
    /// What shards have counted that are no more.
    gone: Cell<C::Tally>,
    pub(super) alarm: Alarm,
    /// What events may draw on.
    pub(super) chance: RefCell<Drawn>,
    /// Taken while a shard is being loaded.
    pub(super) loader: Rc<Semaphore>,
    slots: RefCell<BTreeMap<TopicPartition, Slot<C>>>,
    next_load: Cell<u64>,
    /// What was on disk at the start is known, and is being loaded.
    scanned: Cell<bool>,
    was_scanned: Rc<Notify>,
    closed: Cell<bool>,
}

impl<C: Hosted> Host<C> {
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            runtime: Runtime::default(),
            gone: Cell::default(),
            alarm: Alarm::default(),
            chance: RefCell::default(),
            loader: Rc::new(Semaphore::new(1)),
            slots: RefCell::default(),
            next_load: Cell::new(0),
            scanned: Cell::new(false),
            was_scanned: Rc::new(Notify::new()),
            closed: Cell::new(false),
        }
    }

    /// Loads the partitions that hold records, one after the other, in the background.
    pub fn start(&self, core: &Rc<Core>) {
        let core = core.clone();
        task::spawn(async move {
            let dirs = core.shared().log_dirs.clone();
            let held = task::blocking(move || dirs.partitions_with_records(C::TOPIC)).await;
            let image = core.image();
            let host = C::host(&core);
            if let Some(topic) = image.topics.by_name(C::TOPIC) {
                for partition in held {
                    let id = TopicPartition { topic: topic.id, partition };
                    let leads =
                        topic.partitions.get(partition).is_some_and(|p| p.leader == core.shared().node);
                    if leads && core.owner(id) == core.index && !host.slots.borrow().contains_key(&id) {
                        host.load(&core, id, Vec::new());
                    }
                }
            }
            host.scanned.set(true);
            host.was_scanned.notify_waiters();
        });
    }

    /// Hands a request to the shard of a partition of this core, which is loaded first if it has to be.
    pub fn handle(&self, core: &Rc<Core>, id: TopicPartition, question: Question<C>) {
        if self.closed.get() {
            _ = question.asker.send(Err(ErrorCode::CoordinatorNotAvailable));
            return;
        }
        let active = match self.slots.borrow_mut().get_mut(&id) {
            Some(Slot::Active(active)) => Some(active.clone()),
            Some(Slot::Loading(loading)) => return loading.wait(core, id, question),
            Some(Slot::Failed(until)) if core.env().clock.tick() < *until => {
                _ = question.asker.send(Err(ErrorCode::NotCoordinator));
                return;
            }
            Some(Slot::Failed(_) | Slot::Dropped) | None => None,
        };
        match active {
            Some(active) => active.handle(core, question),
            None => self.load(core, id, vec![question]),
        }
    }

    /// Asks every shard there is, once those on disk are known. A partition without a shard has no records, so nothing to tell.
    pub async fn ask_all(
        &self,
        core: &Rc<Core>,
        request: impl Fn() -> C::Request,
    ) -> Vec<oneshot::Receiver<Answer<C>>> {
        while !self.scanned.get() && !self.closed.get() {
            self.was_scanned.notified().await;
        }
        let ids: Vec<_> = self.slots.borrow().keys().copied().collect();
        let ask = |id| {
            let (asker, answer) = oneshot::channel();
            self.handle(core, id, Question { request: request(), asker, charge: None });
            answer
        };
        ids.into_iter().map(ask).collect()
    }

    /// Brings the shards in line with new metadata.
    pub fn follow(&self, core: &Rc<Core>, old: &Arc<Image>, new: &Arc<Image>) {
        self.follow_leaders(core, old, new);
        if self.slots.borrow().is_empty() {
            return;
        }
        let news = C::news(core, old, new);
        for active in self.actives() {
            for event in news.iter().filter_map(|news| news.for_shard(active.id.partition)) {
                active.notice(core, event);
            }
        }
        if old.configs != new.configs {
            for active in self.actives() {
                active.follow_settings();
            }
        }
    }

    /// Loads shards of partitions that this node leads now, and ends those of partitions that it does not.
    fn follow_leaders(&self, core: &Rc<Core>, old: &Image, new: &Image) {
        let node = core.shared().node;
        let leads = |image: &Image, id: TopicPartition| {
            let topic = image.topics.by_id(id.topic);
            let state = topic.and_then(|topic| topic.partitions.get(id.partition));
            state.map(|state| state.leader == node)
        };
        let lost: Vec<_> =
            self.slots.borrow().keys().copied().filter(|&id| leads(new, id) != Some(true)).collect();
        lost.into_iter().for_each(|id| self.unload(core, id, ErrorCode::NotCoordinator));
        let (Some(before), Some(topic)) = (old.topics.by_name(C::TOPIC), new.topics.by_name(C::TOPIC)) else {
            return;
        };
        if before == topic || self.closed.get() {
            return;
        }
        for (partition, _) in topic.partitions.iter() {
            let id = TopicPartition { topic: topic.id, partition };
            // A partition that is new has nothing to load until somebody asks for it.
            let gained = leads(old, id) == Some(false) && leads(new, id) == Some(true);
            if gained && core.owner(id) == core.index && !self.slots.borrow().contains_key(&id) {
                self.load(core, id, Vec::new());
            }
        }
    }

    /// Runs the timers that are due, of all shards.
    pub(super) fn advance(&self, core: &Rc<Core>) {
        self.actives().iter().for_each(|active| active.advance(core));
    }

    /// A shard's records were not appended: it ends, and another is loaded for the next request, or after [`RELOAD_AFTER`] for the
    /// sake of its timers. A log that goes on refusing is not asked all the time.
    pub(super) fn failed(&self, core: &Rc<Core>, active: &Rc<Active<C>>, code: ErrorCode) {
        self.end(core, active, code);
        let id = active.id;
        let is_it =
            matches!(self.slots.borrow().get(&id), Some(Slot::Active(held)) if Rc::ptr_eq(held, active));
        if !is_it {
            return;
        }
        // It keeps its place, so that who asks all shards asks for this one too.
        self.slots.borrow_mut().insert(id, Slot::Dropped);
        let core = core.clone();
        task::spawn(async move {
            task::sleep(RELOAD_AFTER).await;
            let (host, image) = (C::host(&core), core.image());
            let topic = image.topics.by_id(id.topic);
            let leads = topic.and_then(|topic| topic.partitions.get(id.partition));
            let leads = leads.is_some_and(|state| state.leader == core.shared().node);
            let is_dropped = matches!(host.slots.borrow().get(&id), Some(Slot::Dropped));
            if leads && !host.is_closed() && is_dropped {
                host.load(&core, id, Vec::new());
            }
        });
    }

    /// Answers whoever waits, and takes no more requests. What was decided is appended first.
    pub fn close(&self, core: &Rc<Core>) {
        self.closed.set(true);
        self.alarm.set::<C>(core, 0);
        self.was_scanned.notify_waiters();
        for active in self.actives() {
            active.append(core);
        }
        let ids: Vec<_> = self.slots.borrow().keys().copied().collect();
        ids.into_iter().for_each(|id| self.unload(core, id, ErrorCode::NotCoordinator));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn actives(&self) -> Vec<Rc<Active<C>>> {
        let slots = self.slots.borrow();
        let active = |slot: &Slot<C>| match slot {
            Slot::Active(active) => Some(active.clone()),
            Slot::Loading(_) | Slot::Failed(_) | Slot::Dropped => None,
        };
        slots.values().filter_map(active).collect()
    }

    /// A shard decides nothing more. What it has counted is kept.
    fn end(&self, core: &Core, active: &Active<C>, code: ErrorCode) {
        let mut gone = self.gone.get();
        gone += active.with(C::tally);
        self.gone.set(gone);
        active.end(core, code);
    }

    /// What all shards of this core have counted since it began.
    pub(super) fn tally(&self) -> C::Tally {
        let mut tally = self.gone.get();
        self.each(|coordinator| tally += coordinator.tally());
        tally
    }

    /// Looks at every shard that is loaded.
    pub(super) fn each(&self, mut look: impl FnMut(&C)) {
        self.actives().iter().for_each(|active| active.with(&mut look));
    }

    pub(super) fn shards(&self) -> Shards {
        let mut shards = Shards::default();
        for slot in self.slots.borrow().values() {
            match slot {
                Slot::Active(_) => shards.active += 1,
                Slot::Loading(loading) => {
                    shards.loading += 1;
                    shards.waiting += loading.waiting.len() as u64;
                }
                Slot::Failed(_) | Slot::Dropped => shards.failed += 1,
            }
        }
        shards
    }

    fn unload(&self, core: &Core, id: TopicPartition, code: ErrorCode) {
        let slot = self.slots.borrow_mut().remove(&id);
        match slot {
            Some(Slot::Active(active)) => self.end(core, &active, code),
            Some(Slot::Loading(loading)) => loading.refuse(code),
            Some(Slot::Failed(_) | Slot::Dropped) | None => {}
        }
    }

    /// Starts to load a shard, for `waiting` and whoever comes until it is there.
    fn load(&self, core: &Rc<Core>, id: TopicPartition, waiting: Vec<Question<C>>) {
        let number = self.next_load.get();
        self.next_load.set(number + 1);
        let mut loading = Loading { number, waiting: Vec::new(), patient: true };
        for question in waiting {
            loading.wait(core, id, question);
        }
        self.slots.borrow_mut().insert(id, Slot::Loading(loading));
        let core = core.clone();
        task::spawn(async move {
            let (image, started) = (core.image(), core.env().clock.tick());
            let loaded = load::load::<C>(&core, &image, id).await;
            if loaded.is_ok() {
                let now = core.env().clock.tick();
                C::host(&core).runtime.loaded(now, now.since(started));
            }
            C::host(&core).loaded(&core, id, number, &image, loaded);
        });
    }

    /// A load has ended.
    fn loaded(
        &self,
        core: &Rc<Core>,
        id: TopicPartition,
        number: u64,
        image: &Arc<Image>,
        loaded: Result<(Rc<Partition>, Shard<C>), load::Failure>,
    ) {
        let loading = match self.slots.borrow_mut().remove(&id) {
            Some(Slot::Loading(loading)) if loading.number == number => loading,
            // It was given up, and another may be under way.
            other => {
                other.map(|slot| self.slots.borrow_mut().insert(id, slot));
                return;
            }
        };
        let (partition, shard) = match loaded {
            Ok(loaded) => loaded,
            Err(failure) => {
                error!(topic = C::TOPIC, partition = %id.partition, %failure, "a coordinator could not be loaded");
                let until = core.env().clock.tick().plus(RETRY_AFTER);
                self.slots.borrow_mut().insert(id, Slot::Failed(until));
                return loading.refuse(ErrorCode::NotCoordinator);
            }
        };
        let active = Active::new(id, partition, shard);
        self.slots.borrow_mut().insert(id, Slot::Active(active.clone()));
        // What changed since the load began was told to those that were there.
        for event in
            C::news(core, image, &core.image()).iter().filter_map(|news| news.for_shard(id.partition))
        {
            active.notice(core, event);
        }
        active.loaded(core);
        for question in loading.waiting {
            active.handle(core, question);
        }
    }

    /// Tells those who wait for a load to come back later.
    fn lose_patience(&self, id: TopicPartition, number: u64) {
        if let Some(Slot::Loading(loading)) = self.slots.borrow_mut().get_mut(&id)
            && loading.number == number
        {
            loading.patient = false;
            for question in loading.waiting.drain(..) {
                _ = question.asker.send(Err(ErrorCode::CoordinatorLoadInProgress));
            }
        }
    }
}

impl<C: Hosted> Loading<C> {
    fn wait(&mut self, core: &Rc<Core>, id: TopicPartition, question: Question<C>) {
        if !self.patient {
            _ = question.asker.send(Err(ErrorCode::CoordinatorLoadInProgress));
            return;
        }
        if self.waiting.is_empty() {
            let (core, number) = (core.clone(), self.number);
            task::spawn(async move {
                task::sleep(PATIENCE).await;
                C::host(&core).lose_patience(id, number);
            });
        }
        self.waiting.push(question);
    }

    fn refuse(self, code: ErrorCode) {
        for question in self.waiting {
            _ = question.asker.send(Err(code));
        }
    }
}
