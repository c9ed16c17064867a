//! A node inside the test's own process, on a simulated disk that the test has its hand on: for what no real one does when it is told to.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use dohle_broker::{BrokerOptions, Found};
use dohle_config::{Base, Config, Sources};
use dohle_controller::format::{FormatRequest, InitialVoters, format};
use dohle_controller::{ControllerListener, Settings};
use dohle_env::disk::{Asked, AskingDisk, SimDisk};
use dohle_env::{Env, thread};
use dohle_log::dirs::LogDir;
use dohle_metadata::features::Levels;
use dohle_raft::Endpoint;
use dohle_tests_clients::target::free_port;
use tokio::sync::oneshot;

/// How long a stop waits for connections.
const DRAIN: Duration = Duration::from_secs(1);
const EIO: i32 = 5;
const FOLDER: &str = "/data";

/// Counts what is asked of the disk; holds back what is asked of files of one partition, as long as it is shut; and has one kind of
/// operation fail.
#[derive(Clone, Debug, Default)]
pub struct Tap(Arc<(Mutex<Held>, Condvar)>);

#[derive(Debug, Default)]
struct Held {
    /// What is held back, of which folder.
    shut: Option<(Asked, String)>,
    waiting: usize,
    refused: Option<Asked>,
    asked: Vec<Asked>,
}

impl Tap {
    /// Holds back this, of files of the partition whose folder has that name, from now on.
    pub fn shut(&self, what: Asked, folder: &str) {
        self.0.0.lock().expect("whole").shut = Some((what, folder.to_owned()));
    }

    pub fn open(&self) {
        self.0.0.lock().expect("whole").shut = None;
        self.0.1.notify_all();
    }

    /// Has all operations of a kind fail with an IO error.
    pub fn refuse(&self, what: Asked) {
        self.0.0.lock().expect("whole").refused = Some(what);
    }

    /// Begins to count anew.
    pub fn forget(&self) {
        self.0.0.lock().expect("whole").asked.clear();
    }

    /// How often this was asked since the last call.
    pub fn take_count(&self, what: Asked) -> usize {
        let asked = &mut self.0.0.lock().expect("whole").asked;
        let before = asked.len();
        asked.retain(|asked| *asked != what);
        before - asked.len()
    }

    /// How many are held back.
    pub fn waiting(&self) -> usize {
        self.0.0.lock().expect("whole").waiting
    }

    fn pass(&self, asked: Asked, path: &Path) -> io::Result<()> {
        let mut held = self.0.0.lock().expect("whole");
        held.asked.push(asked);
        if held.refused == Some(asked) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        if asked == Asked::ReadCached && held.holds(Asked::Read, path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        held.waiting += 1;
        while held.holds(asked, path) {
            held = self.0.1.wait(held).expect("whole");
        }
        held.waiting -= 1;
        Ok(())
    }
}

impl Held {
    fn holds(&self, asked: Asked, path: &Path) -> bool {
        let shut = self.shut.as_ref().filter(|(what, _)| *what == asked);
        shut.is_some_and(|(_, folder)| path.parent().is_some_and(|parent| parent.ends_with(folder)))
    }
}

/// A node that runs until it is dropped.
#[derive(Debug)]
pub struct Node {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<bool>>,
}

impl Node {
    /// Starts on a disk, which is formatted if nobody has, with these settings beside the least there are.
    pub fn start(disk: &SimDisk, settings: &[(&str, &str)], tap: &Tap) -> Self {
        let tap = tap.clone();
        let disk = AskingDisk::new(Arc::new(disk.clone()), move |asked, path| tap.pass(asked, path));
        let env = Env { disk: Arc::new(disk), ..Env::real() };
        let config = Arc::new(configuration(settings));
        let (started, has_started) = channel();
        let (stop, stopped) = oneshot::channel();
        let live = async move || {
            let (broker, controller) = begin(&env, &config).await;
            let (_, address) =
                broker.addresses().iter().find(|(name, _)| name == "PLAINTEXT").expect("a listener");
            started.send(*address).expect("the test waits");
            _ = stopped.await;
            let clean = broker.shut_down(DRAIN).await;
            controller.shutdown().await;
            clean
        };
        let thread = thread::spawn_runtime("node", live).expect("a thread");
        let address = has_started.recv().expect("the node starts");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Stops as it is asked to. Says whether everything was closed.
    pub fn stop(mut self) -> bool {
        self.end()
    }

    fn end(&mut self) -> bool {
        let Some(thread) = self.thread.take() else { return true };
        self.stop.take().expect("it was not told").send(()).expect("it listens");
        thread.join().expect("it ends")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

fn configuration(settings: &[(&str, &str)]) -> Config {
    let controller = free_port();
    let least = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", "1".to_owned()),
        ("controller.quorum.bootstrap.servers", format!("127.0.0.1:{controller}")),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{controller}", free_port())),
        ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("log.dirs", FOLDER.to_owned()),
        ("offsets.topic.replication.factor", "1".to_owned()),
    ];
    let given = settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
    let flags = least.into_iter().chain(given).map(|(key, value)| (key.to_owned(), value)).collect();
    let base = Base { log_dir: None, host_name: Some("127.0.0.1".to_owned()) };
    let sources = Sources { file: None, environment: Default::default(), flags, base };
    Config::load(sources).expect("a configuration").config
}

async fn begin(
    env: &Env,
    config: &Arc<Config>,
) -> (dohle_broker::BrokerHandle, dohle_controller::ControllerHandle) {
    let folder = PathBuf::from(config.metadata_log_dir());
    let mut dirs = vec![LogDir::open(&env.disk, &folder).expect("the folder")];
    let listeners: Vec<_> = config
        .advertised_controller_listeners()
        .iter()
        .map(|listener| ControllerListener {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            protocol: listener.protocol,
        })
        .collect();
    let endpoints = listeners
        .iter()
        .map(|at| Endpoint { name: at.name.clone(), host: at.host.clone(), port: at.port })
        .collect();
    let request = FormatRequest {
        cluster_id: None,
        node_id: config.node_id(),
        release_version: None,
        levels: Levels::of(config),
        features: Default::default(),
        voters: InitialVoters::Standalone(endpoints),
        ignore_formatted: true,
    };
    let made = format(env, &request, &mut dirs, &folder).expect("formatted");
    let incarnation = env.rng.uuid();
    let settings =
        Settings::new(config.clone(), made.cluster_id.clone(), made.directory_id, incarnation, listeners);
    let controller = dohle_controller::start(settings, env.clone()).await.expect("a controller");
    let options = BrokerOptions {
        config: config.clone(),
        env: env.clone(),
        cluster_id: made.cluster_id,
        controller: controller.clone(),
        log_dirs: dirs.into_iter().map(Found::Opened).collect(),
        metadata_dir: folder,
    };
    (dohle_broker::start(options).await.expect("a broker"), controller)
}
