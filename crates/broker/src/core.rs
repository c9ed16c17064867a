//! One core of the data path: a thread, its partitions, its connections, and a mailbox by which other cores reach them.
//!
//! A partition is owned by exactly one core, chosen by hash; a connection stays on the core it was given to. What a request needs from
//! a partition of another core travels there as a piece of work, and the answer comes back through a one-shot channel. What
//! cores share on the data path is locked for a few instructions: the memory of tails (`dohle_log`) and the flushing threads' queue.
//!
//! Bounds: every piece of work in a mailbox belongs to a request, a flush or a metadata change that is itself bounded (requests by
//! [`crate::budget::MemoryBudget`] and the pipeline limit, flushes by one per partition), so that the mailboxes need no bound of
//! their own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dohle_config::{Config, TopicSettings};
use dohle_controller::ControllerHandle;
use dohle_env::{Env, task};
use dohle_log::{FlushError, Flushed};
use dohle_metadata::Image;
use dohle_metadata::features::Levels;
use dohle_types::{ErrorCode, NodeId, TopicId, TopicPartition};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::error;

use crate::assignments::Assignments;
use crate::background::Background;
use crate::budget::MemoryBudget;
use crate::cleaner::Cleaner;
use crate::cold_reads::ColdReads;
use crate::coordinator::Coordinators;
use crate::coordinator::memory::Memory;
use crate::doorkeeper::Doorkeeper;
use crate::fetch_session::FetchSessions;
use crate::flusher::Flusher;
use crate::frames::Scratch;
use crate::lifecycle::Lifecycle;
use crate::log_dir_failure::Alarm;
use crate::log_dirs::LogDirs;
use crate::metrics::CoreMetrics;
use crate::moves::Moves;
use crate::open_files::{OpenFiles, Shares};
use crate::partition::Partition;
use crate::producer_ids::ProducerIds;
use crate::retention::Unopened;
use crate::slots::{Entered, Slot};
use crate::upkeep;

/// A piece of work for another core.
type Work = Box<dyn FnOnce(&Rc<Core>) + Send>;

/// Numbers that bound what clients may ask for, read once from the configuration.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`.
    pub frame_max: usize,
    /// `connections.max.idle.ms`; `None` for never.
    pub idle: Option<Duration>,
    /// `fetch.max.bytes`.
    pub fetch_max: usize,
    /// Who may have how many of the process's descriptors.
    pub descriptors: Shares,
    /// `unstable.api.versions.enable`.
    pub unstable_versions: bool,
    /// Which levels of the cluster's features this node can run at: `unstable.feature.versions.enable`.
    pub feature_levels: Levels,
}

/// What all cores share. Immutable, or safe to share by itself.
pub struct Shared {
    pub node: NodeId,
    pub cluster_id: String,
    pub config: Arc<Config>,
    pub env: Env,
    pub controller: ControllerHandle,
    pub limits: Limits,
    /// What requests hold.
    pub budget: MemoryBudget,
    /// What the records in answers hold.
    pub responses: MemoryBudget,
    /// What coordinators keep of what clients say.
    pub kept: Memory,
    pub log_dirs: Arc<LogDirs>,
    pub alarm: Alarm,
    pub assignments: Assignments,
    pub flusher: Flusher,
    pub background: Background,
    pub cleaner: Cleaner,
    pub moves: Moves,
    pub lifecycle: Lifecycle,
    pub producer_ids: ProducerIds,
    pub mailboxes: Mailboxes,
}

/// The way to every core.
#[derive(Clone)]
pub struct Mailboxes(Arc<[mpsc::UnboundedSender<Work>]>);

impl Mailboxes {
    /// One mailbox a core; the receivers go to the cores' threads.
    pub fn new(cores: usize) -> (Self, Vec<mpsc::UnboundedReceiver<Work>>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..cores).map(|_| mpsc::unbounded_channel()).unzip();
        (Self(senders.into()), receivers)
    }

    pub fn cores(&self) -> usize {
        self.0.len()
    }

    /// Gives a core something to do. Lost when that core has ended, as at shutdown.
    pub fn tell(&self, core: usize, work: impl FnOnce(&Rc<Core>) + Send + 'static) {
        _ = self.0[core].send(Box::new(work));
    }
}

pub struct Core {
    pub index: usize,
    shared: Arc<Shared>,
    images: RefCell<watch::Receiver<Arc<Image>>>,
    image: RefCell<Arc<Image>>,
    pub partitions: RefCell<HashMap<TopicPartition, Slot>>,
    /// The settings of topics that were asked for, until the metadata changes.
    pub topic_settings: RefCell<HashMap<TopicId, Arc<TopicSettings>>>,
    pub sessions: RefCell<FetchSessions>,
    pub coordinators: Coordinators,
    pub cold_reads: ColdReads,
    /// Partitions with bytes to be flushed at the end of this turn.
    dirty: RefCell<Vec<Rc<Partition>>>,
    /// Partitions that are being flushed, by the numbers of their flushes.
    flushes: RefCell<HashMap<u64, Rc<Partition>>>,
    flushes_begun: Cell<u64>,
    /// Partitions whose marks have moved since the last checkpoint.
    pub moved: RefCell<Vec<Rc<Partition>>>,
    /// Whose files are open.
    pub files: RefCell<OpenFiles<Partition, Entered>>,
    /// When those may have something due that were never opened.
    pub unopened: RefCell<Unopened>,
    /// Whether [`resting`] is about to look for partitions that nobody uses.
    pub looks_for_rest: Cell<bool>,
    draining: Cell<bool>,
    /// Requests that wait for their response, for draining.
    pub requests: Cell<usize>,
    pub doorkeeper: RefCell<Doorkeeper>,
    /// What small requests are read into.
    pub scratch: RefCell<Scratch>,
    stop: Rc<Notify>,
    pub metrics: CoreMetrics,
}

impl Core {
    pub fn new(index: usize, shared: Arc<Shared>, metrics: CoreMetrics) -> Rc<Self> {
        let mut images = shared.controller.images();
        let image = images.borrow_and_update().clone();
        let slots = shared.config.int("max.incremental.fetch.session.cache.slots");
        let cores = shared.mailboxes.cores();
        let slots = usize::try_from(slots).unwrap_or(0) / cores;
        let doorkeeper = Doorkeeper::new(&shared.config, shared.limits.descriptors.clients(), cores);
        Rc::new(Self {
            index,
            images: RefCell::new(images),
            image: RefCell::new(image),
            partitions: RefCell::default(),
            topic_settings: RefCell::default(),
            sessions: RefCell::new(FetchSessions::new(slots.max(1))),
            coordinators: Coordinators::new(&shared.config),
            cold_reads: ColdReads::new(shared.background.clone()),
            dirty: RefCell::default(),
            flushes: RefCell::default(),
            flushes_begun: Cell::new(0),
            moved: RefCell::default(),
            files: RefCell::new(OpenFiles::new(shared.limits.descriptors, cores)),
            unopened: RefCell::default(),
            looks_for_rest: Cell::new(false),
            draining: Cell::new(false),
            requests: Cell::new(0),
            doorkeeper: RefCell::new(doorkeeper),
            scratch: RefCell::default(),
            stop: Rc::new(Notify::new()),
            metrics,
            shared,
        })
    }

    /// Serves the mailbox and follows the metadata until the core is told to stop.
    pub async fn run(self: Rc<Self>, mut mailbox: mpsc::UnboundedReceiver<Work>) {
        let serving = self.clone();
        let served = task::spawn(async move {
            while let Some(work) = mailbox.recv().await {
                work(&serving);
            }
        });
        let following = self.clone();
        let followed = task::spawn(async move {
            let mut images = following.shared.controller.images();
            while images.changed().await.is_ok() {
                following.image();
            }
        });
        upkeep::start(&self);
        if self.config().roles().broker {
            self.coordinators.start(&self);
        }
        tokio::select! {
            () = self.stop.notified() => {}
            Err(bug) = served => self.die(&bug),
            Err(bug) = followed => self.die(&bug),
        }
    }

    /// Ends the process: a core that serves its partitions no more must not look alive. A restart recovers everything that was
    /// acknowledged.
    fn die(&self, bug: &task::JoinError) {
        error!(core = self.index, %bug, "a core has met a bug and cannot go on");
        std::process::abort();
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub fn budget(&self) -> &MemoryBudget {
        &self.shared.budget
    }

    pub fn responses(&self) -> &MemoryBudget {
        &self.shared.responses
    }

    pub fn controller(&self) -> &ControllerHandle {
        &self.shared.controller
    }

    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// No request is started from now on, and those that wait for others are answered.
    pub fn drain(self: &Rc<Self>) {
        self.draining.set(true);
        self.coordinators.close(self);
    }

    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// The core that owns a partition.
    pub fn owner(&self, partition: TopicPartition) -> usize {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(partition);
        usize::try_from(hash % self.shared.mailboxes.cores() as u64).expect("a core's number is small")
    }

    /// Does a piece of work on a core: at once if it is this one.
    pub fn tell(self: &Rc<Self>, core: usize, work: impl FnOnce(&Rc<Self>) + Send + 'static) {
        if core == self.index { work(self) } else { self.shared.mailboxes.tell(core, work) }
    }

    /// Does a piece of work on every core, and waits until it is done.
    pub async fn tell_all(self: &Rc<Self>, work: impl Fn(&Rc<Self>) + Clone + Send + 'static) {
        let tell = |index| {
            let (done, is_done) = oneshot::channel();
            let work = work.clone();
            self.tell(index, move |core| {
                work(core);
                _ = done.send(());
            });
            is_done
        };
        let told: Vec<_> = (0..self.shared.mailboxes.cores()).map(tell).collect();
        for is_done in told {
            // A core that has ended does nothing more.
            _ = is_done.await;
        }
    }

    /// Works with a partition on the core that owns it, in the order of the calls, and gives back what `work` answers.
    ///
    /// `work` answers through the channel it is given, at once or later.
    pub fn ask<R: Send + 'static>(
        self: &Rc<Self>,
        id: TopicPartition,
        work: impl FnOnce(&Rc<Self>, Result<&Rc<Partition>, ErrorCode>, oneshot::Sender<R>) + Send + 'static,
    ) -> oneshot::Receiver<R> {
        let (sender, receiver) = oneshot::channel();
        self.tell(self.owner(id), move |owner| {
            owner.enter(id, Box::new(move |owner, partition| work(owner, partition, sender)));
        });
        receiver
    }

    /// The newest committed metadata. What changed since the last call has taken effect on this core's partitions when this returns.
    pub fn image(self: &Rc<Self>) -> Arc<Image> {
        if self.images.borrow().has_changed().unwrap_or(false) {
            let new = self.images.borrow_mut().borrow_and_update().clone();
            let old = self.image.replace(new.clone());
            self.follow(&old, &new);
            self.coordinators.follow(self, &old, &new);
        }
        self.image.borrow().clone()
    }

    /// The effective settings of a topic.
    pub fn settings(self: &Rc<Self>, image: &Image, topic: TopicId, name: &str) -> Arc<TopicSettings> {
        if let Some(settings) = self.topic_settings.borrow().get(&topic) {
            return settings.clone();
        }
        let settings = Arc::new(crate::settings::of_topic(&self.shared, image, name));
        self.topic_settings.borrow_mut().insert(topic, settings.clone());
        settings
    }

    /// A flush of a partition begins. Its number is what [`Core::finish_flush`] is told, wherever the partition is then: it may be about to
    /// rest or to move, deleted, or lost with its directory while another of its name is open.
    pub fn begin_flush(&self, partition: &Rc<Partition>) -> u64 {
        let number = self.flushes_begun.get();
        self.flushes_begun.set(number + 1);
        self.flushes.borrow_mut().insert(number, partition.clone());
        number
    }

    /// Takes a flush's result to its partition.
    pub fn finish_flush(self: &Rc<Self>, number: u64, result: Result<Flushed, FlushError>) {
        let partition = self.flushes.borrow_mut().remove(&number).expect("a flush ends once");
        partition.finish_flush(self, result);
        self.flush_is_over();
    }

    /// Has a partition's bytes flushed at the end of this turn of the loop, so that all that is appended until then shares one flush.
    pub fn flush_soon(self: &Rc<Self>, partition: &Rc<Partition>) {
        let mut dirty = self.dirty.borrow_mut();
        dirty.push(partition.clone());
        if dirty.len() == 1 {
            let core = self.clone();
            task::spawn(async move {
                task::yield_now().await;
                let dirty = core.dirty.take();
                // All at once: what reaches the device together, it stores together.
                let jobs: Vec<_> =
                    dirty.iter().filter_map(|partition| partition.start_flush(&core)).collect();
                let all = jobs.len() == dirty.len();
                core.shared.flusher.flush(jobs);
                if !all {
                    // Some had nothing to flush any more.
                    core.flush_is_over();
                }
            });
        }
    }
}
