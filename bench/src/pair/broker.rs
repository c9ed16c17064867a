//! The contestants, and one of them running: a process on the broker's core with a fresh folder.

#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Lab;
use super::process::Process;
use crate::Outcome;
use crate::client::{Connection, Moment};

/// How long a broker may take to answer after its start.
const PATIENCE: Duration = Duration::from_secs(90);
const BETWEEN_TRIES: Duration = Duration::from_micros(200);

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The records are in the memory of the kernel.
    PageCache,
    /// The records are on the disk.
    Synced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    Kafka(Durability),
    Dohle(Durability),
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka(Durability::PageCache) => "Kafka, page cache",
            Self::Kafka(Durability::Synced) => "Kafka, fsync",
            Self::Dohle(Durability::PageCache) => "Dohle, page cache",
            Self::Dohle(Durability::Synced) => "Dohle, fsync",
        })
    }
}

/// The binary in the folder that this program was built into.
pub fn beside_us() -> Outcome<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("dohle"))
}

/// A broker that runs. Dropping it kills it and removes its folder.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    folder: PathBuf,
    command: Command,
    pub address: String,
    /// The moment before the process was started.
    pub started: Moment,
    pub process: Process,
}

impl Broker {
    /// Starts a contestant in an empty folder with default settings. It need not listen yet.
    pub fn start(lab: &Lab, contestant: Contestant) -> Outcome<Self> {
        Self::with(lab, contestant, &[])
    }

    /// As [`start`](Self::start), with settings by Kafka's names.
    pub fn with(lab: &Lab, contestant: Contestant, settings: &[(&str, &str)]) -> Outcome<Self> {
        let folder = lab.machine.folder.join(format!("broker-{}", std::process::id()));
        remove(&folder)?;
        std::fs::create_dir_all(&folder)?;
        let (port, controller) = (free_port()?, free_port()?);
        let mut command = match contestant {
            Contestant::Kafka(durability) => {
                let libraries = lab.kafka.as_ref().ok_or("Apache Kafka does not take part")?;
                libraries.format(&folder, port, controller, durability, settings)?;
                libraries.serve(lab.machine.on_broker_core(Path::new("java")), &folder)
            }
            Contestant::Dohle(durability) => dohle(lab, &folder, port, durability, settings),
        };
        let said = File::create(folder.join("said"))?;
        command.stdin(Stdio::null()).stderr(said.try_clone()?).stdout(said);
        let started = Moment::now();
        let child = command.spawn().map_err(|error| format!("cannot start {contestant}: {error}"))?;
        let process = Process::new(child.id());
        Ok(Self { child, folder, command, address: format!("127.0.0.1:{port}"), started, process })
    }

    /// SIGTERM, and the same program on the same folder again. It need not listen yet.
    pub fn restart(&mut self) -> Outcome<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        self.child.wait()?;
        let said = File::options().append(true).open(self.folder.join("said"))?;
        self.command.stderr(said.try_clone()?).stdout(said);
        self.started = Moment::now();
        self.child = self.command.spawn()?;
        self.process = Process::new(self.child.id());
        Ok(())
    }

    /// Starts a contestant and waits until it answers.
    pub fn ready(lab: &Lab, contestant: Contestant) -> Outcome<Self> {
        let mut broker = Self::start(lab, contestant)?;
        broker.connect()?;
        Ok(broker)
    }

    /// A connection, as soon as there can be one.
    pub fn connect(&mut self) -> Outcome<Connection> {
        loop {
            match Connection::open(&self.address) {
                Ok(connection) => return Ok(connection),
                Err(error) if self.started.elapsed() > PATIENCE => {
                    return Err(self.because(&error.to_string()));
                }
                Err(_) => {}
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(self.because(&format!("the broker ended with {status}")));
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
    }

    /// The outcome of work with this broker; an error tells what the broker said.
    pub fn explained<T>(&self, outcome: Outcome<T>) -> Outcome<T> {
        outcome.map_err(|error| self.because(&error.to_string()))
    }

    /// An error with the last that the broker said.
    fn because(&self, error: &str) -> Box<dyn std::error::Error + Send + Sync> {
        const LINES: usize = 20;
        let said = std::fs::read_to_string(self.folder.join("said")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        format!("{error}; it said:\n{last}").into()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Err(error) = remove(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

fn dohle(lab: &Lab, folder: &Path, port: u16, durability: Durability, settings: &[(&str, &str)]) -> Command {
    let mut command = lab.machine.on_broker_core(&lab.dohle);
    command
        .arg("start")
        .arg("--data")
        .arg(folder.join("data"))
        .arg("--listen")
        .arg(format!("127.0.0.1:{port}"));
    if durability == Durability::PageCache {
        command.args(["--set", "dohle.durability=replicated"]);
    }
    for (key, value) in settings {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command
}

fn remove(folder: &Path) -> std::io::Result<()> {
    if folder.exists() { std::fs::remove_dir_all(folder) } else { Ok(()) }
}

/// A port that nobody listens on at this moment.
fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
