//! The broker under test: Dohle, or Apache Kafka as the yardstick (`DOHLE_TEST_TARGET=kafka`).
//!
//! A target has one folder and one port for its whole life; it can be killed and started again on them.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::advertised::Advertised;
use crate::client::jvm;
use crate::install;
use crate::process::{Process, run};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const BUILD_LIMIT: Duration = Duration::from_secs(1800);
const READY_POLL: Duration = Duration::from_millis(10);
/// Below the ports that the system hands out by itself, so that a killed broker's port is still free at its restart.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Kafka,
    Dohle,
}

impl Kind {
    /// What `DOHLE_TEST_TARGET` names; Dohle when it is not set.
    pub fn chosen() -> Kind {
        match std::env::var("DOHLE_TEST_TARGET").as_deref() {
            Ok("kafka") => Kind::Kafka,
            Ok("dohle") | Err(_) => Kind::Dohle,
            Ok(other) => panic!("DOHLE_TEST_TARGET is kafka or dohle, not '{other}'"),
        }
    }
}

/// How the broker is told its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// As a newcomer does: `--data`, `--listen`, `--set`. Kafka, which has none of them, gets a file.
    ByFlags,
    /// By a `server.properties` as Kafka's quick start has it, with a controller listener, the same file for both.
    ByFile,
}

#[derive(Debug)]
pub struct Target {
    pub kind: Kind,
    given: Given,
    settings: Vec<(String, String)>,
    port: u16,
    controller_port: u16,
    /// Before the folder, so that it is dead when its files go.
    process: Option<Process>,
    folder: TempDir,
}

impl Target {
    /// Starts the chosen broker on an empty folder with default settings.
    pub fn start() -> Target {
        Target::with(Given::ByFlags, &[])
    }

    pub fn with(given: Given, settings: &[(&str, &str)]) -> Target {
        let kind = Kind::chosen();
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let folder = tempfile::Builder::new().prefix("dohle-clients-").tempdir().expect("a temporary folder");
        let (port, controller_port) = (free_port(), free_port());
        let mut target = Target { kind, given, settings, port, controller_port, process: None, folder };
        if kind == Kind::Kafka || given == Given::ByFile {
            std::fs::write(target.properties_path(), target.properties()).expect("server.properties");
        }
        if kind == Kind::Kafka {
            target.format_kafka();
        }
        target.restart();
        target
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The first API of `needs` (`Name(key) vN`) that the broker does not advertise. Kafka is taken to have all.
    pub fn lacks<'a>(&self, needs: &[&'a str]) -> Option<&'a str> {
        if self.kind == Kind::Kafka {
            return None;
        }
        Advertised::by(&self.bootstrap()).lacks(needs)
    }

    pub fn controller(&self) -> String {
        format!("127.0.0.1:{}", self.controller_port)
    }

    /// A folder for logs and files of this test, gone with the target.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that holds `meta.properties`.
    pub fn log_dir(&self) -> PathBuf {
        let data = self.data();
        let inside = |dir: &Path| dir.join("meta.properties").is_file();
        if inside(&data) {
            return data;
        }
        let entries = std::fs::read_dir(&data).expect("the data folder");
        let found = entries.map(|e| e.expect("an entry of the data folder").path()).find(|p| inside(p));
        found.unwrap_or_else(|| panic!("no meta.properties in {}", data.display()))
    }

    /// A value of `meta.properties`, as `cluster.id`.
    pub fn meta(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.log_dir().join("meta.properties")).expect("meta.properties");
        let found = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("meta.properties has no {key}:\n{text}")).to_owned()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("the broker runs").kill();
    }

    /// SIGTERM; the broker must end by itself.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("the broker runs");
        assert!(
            process.terminate(STOP_LIMIT).is_some(),
            "SIGTERM did not end the broker\n{}",
            process.log_tail()
        );
    }

    /// How the broker has ended by itself, if it does within `limit`.
    pub fn ended(&mut self, limit: Duration) -> Option<std::process::ExitStatus> {
        let process = self.process.as_mut().expect("the broker runs");
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Some(status) = process.ended() {
                self.process = None;
                return Some(status);
            }
            std::thread::sleep(READY_POLL);
        }
        None
    }

    /// Starts the broker on its folder and port and waits until it answers; how long that took.
    pub fn restart(&mut self) -> Duration {
        assert!(self.process.is_none(), "the broker runs already");
        // Which may build the broker first.
        let mut command = self.command();
        let began = Instant::now();
        let mut process = Process::start("the broker", &mut command, &self.folder.path().join("broker.log"));
        while !answers(self.port) {
            if let Some(status) = process.ended() {
                panic!("the broker ended at its start: {status}\n{}", process.log_tail());
            }
            assert!(began.elapsed() < START_LIMIT, "the broker is not ready\n{}", process.log_tail());
            std::thread::sleep(READY_POLL);
        }
        self.process = Some(process);
        began.elapsed()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn properties_path(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn command(&self) -> Command {
        if self.kind == Kind::Kafka {
            let mut kafka = jvm("-Xmx512m");
            kafka.arg("-cp").arg(kafka_class_path()).arg("kafka.Kafka").arg(self.properties_path());
            return kafka;
        }
        let mut dohle = Command::new(dohle_binary());
        dohle.current_dir(self.folder.path()).arg("start");
        // The broker takes settings from `DOHLE_*`; those of this harness are not for it.
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("DOHLE_")) {
            dohle.env_remove(name);
        }
        match self.given {
            Given::ByFile => {
                dohle.arg("--config").arg(self.properties_path());
            }
            Given::ByFlags => {
                dohle.arg("--data").arg(self.data()).arg("--listen").arg(self.bootstrap());
                for (key, value) in &self.settings {
                    dohle.arg("--set").arg(format!("{key}={value}"));
                }
            }
        }
        dohle
    }

    fn format_kafka(&self) {
        let mut tool = jvm("-Xmx128m");
        tool.arg("-cp").arg(kafka_class_path()).args(["kafka.tools.StorageTool", "format", "--standalone"]);
        tool.args(["-t", "q1Sh-9_ISia_zwGINzRvyQ", "-c"]).arg(self.properties_path());
        run(&mut tool, &[], START_LIMIT);
    }

    /// Kafka's quick-start file, on our ports and folder.
    fn properties(&self) -> String {
        let (broker, controller, data) =
            (self.bootstrap(), self.controller(), self.data().display().to_string());
        let mut text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers={controller}\n\
             listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\n\
             inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\nlog.dirs={data}\n\
             offsets.topic.replication.factor=1\nshare.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n"
        );
        for (key, value) in &self.settings {
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let (true, Some(process)) = (std::thread::panicking(), &self.process) {
            eprintln!("{}", process.log_tail());
        }
    }
}

pub fn kafka_class_path() -> String {
    format!("{}/*", install::jars("kafka").display())
}

/// `DOHLE_BIN`, or the binary of this profile beside the test's own, built on first use.
pub fn dohle_binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(given) = std::env::var_os("DOHLE_BIN") {
            return PathBuf::from(given);
        }
        let test = std::env::current_exe().expect("the path of this test");
        let profile = test.ancestors().nth(2).expect("a test lies in target/<profile>/deps");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(install::sources()).args([
            "build",
            "--quiet",
            "-p",
            "dohle-node",
            "--bin",
            "dohle",
            "--target-dir",
        ]);
        cargo.arg(profile.parent().expect("a target folder"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        run(&mut cargo, &[], BUILD_LIMIT);
        profile.join("dohle")
    })
}

/// A port that nothing listens on; tests of other processes look for theirs at other places of the range.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 400) as u16 * 30;
    for _ in PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + start.wrapping_add(step) % (PORTS.end - PORTS.start);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// Whether a broker behind the port answers Metadata (version 1) with at least one broker that is alive.
pub fn answers(port: u16) -> bool {
    metadata_brokers(port).is_some_and(|brokers| brokers > 0)
}

fn metadata_brokers(port: u16) -> Option<i32> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    // length, api key 3, version 1, correlation id 7, client id "t", an empty list of topics
    socket.write_all(&[0, 0, 0, 15, 0, 3, 0, 1, 0, 0, 0, 7, 0, 1, b't', 0, 0, 0, 0]).ok()?;
    let mut head = [0; 12]; // length, correlation id, number of brokers
    socket.read_exact(&mut head).ok()?;
    let word = |at: usize| i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    (word(4) == 7).then(|| word(8))
}
