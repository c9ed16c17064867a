//! A broker's beginning and end: listeners bound, cores started, registered, served; drained, closed, marked clean.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dohle_config::Config;
use dohle_controller::{ControllerHandle, Refused};
use dohle_env::{Env, disk, task, thread};
use dohle_log::{FolderFlushes, LogContext, LogError, ReadBuffers, TailBudget, Verifying};
use dohle_metadata::features::Levels;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::assignments::{self, Assignments};
use crate::background::Background;
use crate::budget::MemoryBudget;
use crate::cleaner::Cleaner;
use crate::coordinator::memory::Memory;
use crate::core::{Core, Limits, Mailboxes, Shared};
use crate::flusher::Flusher;
use crate::lifecycle::{Lifecycle, RegistrationError};
use crate::listener::{self, ACCEPTING_CORE, BindError, Bound};
use crate::log_dir_failure::{self, Alarm, Fatal};
use crate::log_dirs::{Found, LogDirs};
use crate::metrics::CoreMetrics;
use crate::moves::{self, Moves};
use crate::open_files::Shares;
use crate::producer_ids::ProducerIds;
use crate::upkeep;

/// How long a drain looks at its connections between two looks.
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// What a broker needs to start.
pub struct BrokerOptions {
    pub config: Arc<Config>,
    pub env: Env,
    pub cluster_id: String,
    pub controller: ControllerHandle,
    /// The node's log directories, opened and locked, or why not.
    pub log_dirs: Vec<Found>,
    /// The folder without which the node cannot go on.
    pub metadata_dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    LogDirs(#[from] LogError),
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error("the controller gave no answer: {0}")]
    Controller(#[from] Refused),
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// A running broker.
pub struct BrokerHandle {
    addresses: Vec<(String, SocketAddr)>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<bool>>,
    metrics: Vec<CoreMetrics>,
}

/// Starts a broker. It is registered, let in by the controller, and serves, when this returns.
pub async fn start(options: BrokerOptions) -> Result<BrokerHandle, StartError> {
    let BrokerOptions { config, env, cluster_id, controller, log_dirs, metadata_dir } = options;
    let mut bound = Vec::new();
    let roles = config.roles();
    if roles.broker {
        for wanted in config.broker_listeners() {
            bound.extend(listener::bind(wanted, false)?);
        }
    }
    if roles.controller {
        for wanted in config.controller_listeners() {
            bound.extend(listener::bind(wanted, true)?);
        }
    }
    let (mailboxes, receivers) = Mailboxes::new(cores(&config));
    let metrics: Vec<CoreMetrics> = receivers.iter().map(|_| CoreMetrics::default()).collect();
    let node = config.node_id();
    let tail = usize::try_from(config.long("dohle.memory.tail.bytes")).unwrap_or(0);
    let context = LogContext {
        disk: env.disk.clone(),
        rng: env.rng.clone(),
        tail: TailBudget::new(tail),
        buffers: ReadBuffers::default(),
        producer_id_expiration_ms: i64::from(config.int("producer.id.expiration.ms")),
        verifying: Verifying::default(),
        folders: FolderFlushes::default(),
    };
    let request_budget = usize::try_from(config.request_memory_bytes()).unwrap_or(usize::MAX);
    let groups_memory = usize::try_from(config.long("dohle.memory.groups.bytes")).unwrap_or(usize::MAX);
    let log_dirs = Arc::new(LogDirs::new(&env, context, log_dirs)?);
    let (strays, image) = (log_dirs.clone(), controller.image());
    task::blocking(move || {
        strays.settle_doubles(moves::named_in(&image, node));
        strays.set_strays_aside(|topic, partition| {
            let topic = image.topics.by_name(topic).and_then(|topic| topic.partitions.get(partition));
            topic.is_some_and(|state| state.replicas.contains(&node))
        });
    })
    .await;
    let lifecycle = Lifecycle::new(controller.clone(), config.clone(), log_dirs.paths());
    let limits = limits(&config);
    let flusher =
        Flusher::start(env.clock.clone(), limits.descriptors.flushes()).map_err(StartError::Thread)?;
    let shared = Arc::new(Shared {
        node,
        cluster_id,
        limits,
        budget: MemoryBudget::new(request_budget),
        responses: MemoryBudget::new(request_budget),
        kept: Memory::new(groups_memory),
        log_dirs,
        alarm: Alarm::new(metadata_dir),
        assignments: Assignments::default(),
        flusher,
        background: Background::new(env.clock.clone(), metrics.clone()),
        cleaner: Cleaner::default(),
        moves: Moves::default(),
        producer_ids: ProducerIds::new(node, controller.clone(), lifecycle.clone()),
        lifecycle,
        mailboxes,
        controller,
        config,
        env,
    });
    let addresses: Vec<_> = bound.iter().map(|bound| (bound.door.name.to_string(), bound.address)).collect();
    if roles.broker {
        let ports: Vec<_> = addresses.iter().map(|(name, address)| (name.clone(), address.port())).collect();
        let (lifecycle, ids) = (&shared.lifecycle, shared.log_dirs.ids());
        lifecycle.register(&shared.config, &shared.env, &shared.cluster_id, ids, &ports).await?;
        lifecycle.enter().await?;
    }
    let mut threads = Vec::new();
    let mut bound = Some(bound);
    for (index, mailbox) in receivers.into_iter().enumerate() {
        let (shared, counted) = (shared.clone(), metrics[index].clone());
        let doors = if index == ACCEPTING_CORE { bound.take() } else { None };
        let thread = thread::spawn_runtime(&format!("dohle-core-{index}"), move || async move {
            let core = Core::new(index, shared, counted);
            open_doors(&core, doors.unwrap_or_default());
            core.clone().run(mailbox).await;
            upkeep::close(&core).await
        });
        threads.push(thread.map_err(StartError::Thread)?);
    }
    Ok(BrokerHandle { addresses, shared, threads, metrics })
}

/// Serves the listeners, and keeps the broker alive, from the accepting core.
fn open_doors(core: &Rc<Core>, doors: Vec<Bound>) {
    if core.index != ACCEPTING_CORE {
        return;
    }
    for door in doors {
        if let Err(problem) = listener::serve(core, door) {
            error!(%problem, "a listener is not served");
        }
    }
    task::spawn(log_dir_failure::watch(core.clone()));
    upkeep::remove_leftovers(core);
    if core.config().roles().broker {
        task::spawn(assignments::tell(core.clone()));
        task::spawn(moves::resume(core.clone()));
        let interval = u64::try_from(core.config().int("broker.heartbeat.interval.ms")).unwrap_or(2000);
        task::spawn(core.shared().lifecycle.clone().keep_alive(Duration::from_millis(interval)));
    }
}

/// How many cores the data path uses: as configured, or what the process may use.
fn cores(config: &Config) -> usize {
    match usize::try_from(config.int("dohle.cores")).unwrap_or(0) {
        0 => thread::available(),
        configured => configured,
    }
}

fn limits(config: &Config) -> Limits {
    let idle = config.long("connections.max.idle.ms");
    Limits {
        frame_max: usize::try_from(config.int("socket.request.max.bytes")).unwrap_or(0),
        idle: u64::try_from(idle).ok().map(Duration::from_millis),
        fetch_max: usize::try_from(config.int("fetch.max.bytes")).unwrap_or(0),
        descriptors: Shares::of(disk::raise_open_file_limit()),
        unstable_versions: config.boolean("unstable.api.versions.enable"),
        feature_levels: Levels::of(config),
    }
}

impl BrokerHandle {
    /// Each listener's name and an address it is bound to.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// The counters of each core.
    pub fn metrics(&self) -> &[CoreMetrics] {
        &self.metrics
    }

    /// Waits for a failure after which the node cannot go on.
    pub async fn fatal(&self) -> Fatal {
        self.shared.alarm.rings().await
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Leaves the cluster in order: asks the controller to be let go, finishes what is under way, closes the logs and marks the
    /// directories clean. Connections that are not done after `deadline` are cut. Says whether everything was closed cleanly.
    pub async fn shut_down(self, deadline: Duration) -> bool {
        if self.shared.config.roles().broker && self.shared.config.boolean("controlled.shutdown.enable") {
            self.shared.lifecycle.leave(deadline).await;
        }
        if task::timeout(deadline, self.drain()).await.is_err() {
            warn!("cutting connections that were still busy");
        }
        for core in 0..self.shared.mailboxes.cores() {
            self.shared.mailboxes.tell(core, |core| core.stop());
        }
        let threads = self.threads;
        let closed = task::blocking(move || {
            // A core that panicked has not closed its logs.
            let ended: Vec<bool> = threads.into_iter().map(|thread| thread.join().unwrap_or(false)).collect();
            ended.into_iter().all(|clean| clean)
        });
        let mut clean = closed.await;
        if clean {
            let (dirs, epoch) = (self.shared.log_dirs.clone(), self.shared.lifecycle.epoch());
            if let Err(problem) = task::blocking(move || dirs.finish(epoch)).await {
                warn!(%problem, "the log directories could not be marked clean");
                clean = false;
            }
        }
        info!(clean, "the broker has stopped");
        clean
    }

    /// Starts no more requests, and waits until those under way are answered.
    async fn drain(&self) {
        for core in 0..self.shared.mailboxes.cores() {
            self.shared.mailboxes.tell(core, |core| core.drain());
        }
        loop {
            let mut busy = 0;
            for core in 0..self.shared.mailboxes.cores() {
                let (sender, receiver) = oneshot::channel();
                self.shared.mailboxes.tell(core, move |core| _ = sender.send(core.requests.get()));
                busy += receiver.await.unwrap_or(0);
            }
            if busy == 0 {
                return;
            }
            task::sleep(DRAIN_STEP).await;
        }
    }
}
