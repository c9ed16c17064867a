//! `dohle start`: parse, look at the world, log, bind, open the folders, start the controller, start the broker, be ready. Taken down
//! in reverse.
//!
//! Nothing is written before the configuration is checked and the addresses are known to be free, so that a start that fails
//! leaves everything as it was.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dohle_broker::{BrokerHandle, BrokerOptions, Fatal};
use dohle_config::{Config, Loaded};
use dohle_controller::{ControllerHandle, ControllerListener};
use dohle_env::{Env, Tick, net, task, thread};
use dohle_log::dirs::LogDir;
use dohle_observe::logging::{self, Format};
use dohle_observe::{Health, Metrics, Status, http};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::banner::{self, Banner};
use crate::cli::StartOptions;
use crate::exit::{Failure, Reason, plainly};
use crate::folders::{self, Folders};
use crate::signals::Signals;
use crate::{clock, metrics, settings, unserved};

/// How log lines are filtered under a banner, where nobody asked for more.
const QUIET: &str = "warn";
/// How many damaged stretches `/healthz` names; the metrics name all.
const DAMAGE_TOLD: usize = 16;

/// Runs a node until it is told to stop.
pub fn run(options: StartOptions) -> Result<(), Failure> {
    let env = Env::real();
    let began = env.clock.tick();
    let Loaded { config, warnings } = settings::load(&env, &options)?;
    start_logging(&config)?;
    for warning in &warnings {
        warn!(key = warning.key, "{}", warning.message);
    }
    let config = Arc::new(config);
    let lived = unserved::check(&config)
        .and_then(|()| thread::block_on(live(env, config.clone(), options.cluster_id, began)));
    lived.map_err(|failure| if logs_json(&config) { failure.log() } else { failure })
}

fn logs_json(config: &Config) -> bool {
    config.text("dohle.log.format") == Some("json")
}

/// The parts of a running node, in the order in which they were started.
struct Node {
    health: Health,
    door: Option<MetricsDoor>,
    controller: ControllerHandle,
    broker: BrokerHandle,
    /// The lock of a folder that only the metadata is in.
    _metadata: Option<LogDir>,
}

struct MetricsDoor {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
}

async fn live(env: Env, config: Arc<Config>, cluster_id: Option<String>, began: Tick) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| {
        Failure::new(Reason::Failed, format!("cannot listen for signals: {}", plainly(&error)))
    })?;
    let (node, place) = tokio::select! {
        started = start(&env, &config, cluster_id.as_deref()) => started?,
        name = signals.next() => {
            return Err(Failure::new(Reason::Forced, format!("told to stop by {name} while starting")));
        }
    };
    node.health.set(Status::Ready);
    announce(&node, &place, env.clock.tick().since(began));
    let name = tokio::select! {
        name = signals.next() => name,
        failure = lost(&node) => halt(failure, &config),
    };
    info!(signal = name, "stopping; once more to stop at once");
    node.health.set(Status::Stopping);
    let drain = u64::try_from(config.long("dohle.shutdown.drain.ms")).unwrap_or(0);
    tokio::select! {
        clean = stop(node, Duration::from_millis(drain)) => match clean {
            true => Ok(()),
            false => Err(Failure::new(Reason::Failed, "stopped, but not everything could be closed cleanly")),
        },
        name = signals.next_after(name, &env.clock) => forced(name, &config),
    }
}

/// Where a node's folders are, for those who tell of it.
struct Place {
    metadata_dir: std::path::PathBuf,
    cluster_id: String,
    new: bool,
}

async fn start(env: &Env, config: &Arc<Config>, cluster_id: Option<&str>) -> Result<(Node, Place), Failure> {
    check_addresses(config)?;
    let door = bind_metrics(config)?;
    let (_, metadata_dir) = folders::paths(config)?;
    clock::check(env, &metadata_dir)?;
    let Folders { dirs, metadata, metadata_dir, cluster_id, directory_id, new } =
        folders::open(env, config, cluster_id)?;

    let (health, registry) = (Health::starting(), Metrics::new(env.clone()));
    metrics::of_node(&registry, &health);
    let door = door.map(|bound| open_metrics(bound, &registry, &health)).transpose()?;

    let listeners = config.advertised_controller_listeners().iter().map(|listener| ControllerListener {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        protocol: listener.protocol,
    });
    let mut settings = dohle_controller::Settings::new(
        config.clone(),
        cluster_id.clone(),
        directory_id,
        env.rng.uuid(),
        listeners.collect(),
    );
    settings.metadata_dir.clone_from(&metadata_dir);
    let controller = dohle_controller::start(settings, env.clone()).await?;
    metrics::of_controller(&registry, &controller);
    task::spawn(watch_metadata(controller.clone(), health.clone()));

    let options = BrokerOptions {
        config: config.clone(),
        env: env.clone(),
        cluster_id: cluster_id.clone(),
        controller: controller.clone(),
        log_dirs: dirs,
        metadata_dir: metadata_dir.clone(),
    };
    let broker = match dohle_broker::start(options).await {
        Ok(broker) => broker,
        Err(error) => {
            controller.shutdown().await;
            return Err(error.into());
        }
    };
    metrics::of_broker(&registry, &broker);
    tell_health(&health, &broker);
    Ok((
        Node { health, door, controller, broker, _metadata: metadata },
        Place { metadata_dir, cluster_id, new },
    ))
}

/// Has the health tell of the logs: what is still to be recovered, which directories are offline, what cannot be read.
fn tell_health(health: &Health, broker: &BrokerHandle) {
    let shared = broker.shared().clone();
    health.ask("recovery", move || {
        let logs: usize = shared.log_dirs.recoveries().into_iter().map(|(_, logs)| logs).sum();
        (logs > 0).then(|| format!("{logs} logs are still to be recovered"))
    });
    let shared = broker.shared().clone();
    health.check("log directories", move || {
        let problems = shared.log_dirs.problems();
        async move { (!problems.is_empty()).then(|| problems.join("; ")) }
    });
    let shared = broker.shared().clone();
    health.check("damage", move || {
        let shared = shared.clone();
        async move {
            let found = dohle_broker::metrics::of_damage(&shared).await;
            let mut told: Vec<String> = found.iter().take(DAMAGE_TOLD).map(ToString::to_string).collect();
            if let Some(more) = found.len().checked_sub(DAMAGE_TOLD).filter(|more| *more > 0) {
                told.push(format!("and {more} more stretches"));
            }
            (!told.is_empty()).then(|| told.join("; "))
        }
    });
}

/// Stops what `start` has started, the last first. Says whether everything was closed cleanly.
async fn stop(node: Node, drain: Duration) -> bool {
    let clean = node.broker.shut_down(drain).await;
    node.controller.shutdown().await;
    if let Some(door) = node.door {
        // Nobody listens any more when the door has failed.
        let _ = door.stop.send(());
    }
    info!(clean, "stopped");
    clean
}

/// Waits for a failure of a disk without which the node cannot go on.
async fn lost(node: &Node) -> Failure {
    let mut metadata = node.controller.watch_status();
    let of_metadata = async {
        loop {
            if let Some(why) = metadata.borrow_and_update().offline.clone() {
                return Failure::new(Reason::LostDisk, format!("the metadata log has failed: {why}"));
            }
            if metadata.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    tokio::select! {
        failure = of_metadata => failure,
        Fatal { what, failure } = node.broker.fatal() => {
            Failure::new(Reason::LostDisk, format!("{what}: {failure}"))
        }
    }
}

/// Ends the process now: what was acknowledged is stored, and what its disk does not take any more cannot be closed.
fn halt(failure: Failure, config: &Config) -> ! {
    let failure = if logs_json(config) { failure.log() } else { failure };
    failure.tell();
    std::process::exit(i32::from(Reason::LostDisk as u8))
}

/// Ends the process now, with whatever its threads are doing. Logs that were not closed are recovered by the next start.
fn forced(name: &str, config: &Config) -> ! {
    let sentence = format!("told to stop at once by {name}: the next start recovers the logs");
    let failure = Failure::new(Reason::Forced, sentence);
    let failure = if logs_json(config) { failure.log() } else { failure };
    failure.tell();
    std::process::exit(i32::from(Reason::Forced as u8))
}

fn start_logging(config: &Config) -> Result<(), Failure> {
    let level = match config.text("dohle.log.level") {
        _ if banner::is_watched() && !config.is_set("dohle.log.level") => QUIET,
        level => level.unwrap_or(QUIET),
    };
    let filter = logging::parse_filter(level).map_err(|bad| {
        Failure::new(Reason::Config, format!("dohle.log.level is set to \"{level}\" but {bad}"))
    })?;
    let format = match logs_json(config) {
        true => Format::Json,
        false => Format::Text { colours: io::IsTerminal::is_terminal(&io::stderr()) },
    };
    logging::start(format, filter)
        .map_err(|error| Failure::new(Reason::Failed, format!("cannot log: {error}")))
}

/// Finds out that an address is taken before anything is written.
fn check_addresses(config: &Config) -> Result<(), Failure> {
    for listener in config.listeners() {
        dohle_broker::listener::bind(listener, false)?;
    }
    Ok(())
}

/// The address of `/metrics` and `/healthz`. Where nobody has asked for it, one that is taken is done without.
fn bind_metrics(config: &Config) -> Result<Option<TcpListener>, Failure> {
    const KEY: &str = "dohle.metrics.listener";
    let text = config.text(KEY).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let bound = resolve(text).and_then(|address| net::bind(address, false));
    match bound {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if !config.is_set(KEY) => {
            warn!(
                address = text,
                error = plainly(&error),
                "no metrics and health over HTTP: the address cannot be had"
            );
            Ok(None)
        }
        Err(error) => {
            let why = plainly(&error);
            Err(Failure::new(
                Reason::Address,
                format!("{KEY} is set to \"{text}\" but this address cannot be had: {why}"),
            ))
        }
    }
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    address.to_socket_addrs()?.next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn open_metrics(bound: TcpListener, metrics: &Metrics, health: &Health) -> Result<MetricsDoor, Failure> {
    let failed = |error: io::Error| {
        Failure::new(Reason::Address, format!("metrics cannot be served: {}", plainly(&error)))
    };
    let address = bound.local_addr().map_err(failed)?;
    let (stop, stopped) = oneshot::channel();
    let serving = http::serve(bound, metrics.clone(), health.clone(), async move { _ = stopped.await });
    task::spawn(serve_metrics(serving));
    Ok(MetricsDoor { address, stop })
}

async fn serve_metrics(serving: impl Future<Output = io::Result<()>>) {
    if let Err(error) = serving.await {
        warn!(%error, "metrics and health are no longer served");
    }
}

/// Tells the health of the metadata log, as it changes.
async fn watch_metadata(controller: ControllerHandle, health: Health) {
    const PART: &str = "metadata";
    let mut status = controller.watch_status();
    loop {
        match status.borrow_and_update().offline.clone() {
            Some(why) => health.degrade(PART, why),
            None => health.recover(PART),
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn announce(node: &Node, place: &Place, took: Duration) {
    let addresses = node.broker.addresses();
    let metrics = node.door.as_ref().map(|door| door.address);
    let shown: Vec<String> = addresses.iter().map(|(name, address)| format!("{name}://{address}")).collect();
    info!(
        addresses = shown.join(","),
        data = %place.metadata_dir.display(),
        cluster_id = place.cluster_id,
        new = place.new,
        metrics = metrics.map(|address| address.to_string()),
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
    if banner::is_watched() {
        let data: &Path = &place.metadata_dir;
        Banner { addresses, data, cluster_id: &place.cluster_id, metrics, took }.show();
    }
}
