//! A contestant that runs: a process on the broker's core with a fresh folder.

#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::broker_file::Places;
use super::contestant::Contestant;
use super::process::Process;
use super::{Lab, kafka};
use crate::Outcome;
use crate::client::{Connection, Moment};

/// How long a broker may take to answer after its start.
const PATIENCE: Duration = Duration::from_secs(90);
const BETWEEN_TRIES: Duration = Duration::from_micros(200);

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
    /// Starts a contestant in an empty folder with settings by Kafka's names. It need not listen yet.
    pub fn with(lab: &Lab, contestant: Contestant, settings: &[(&str, &str)]) -> Outcome<Self> {
        let folder = lab.machine.folder.join(format!("broker-{}", std::process::id()));
        remove(&folder)?;
        std::fs::create_dir_all(&folder)?;
        let file = lab.file(contestant)?;
        let places = Places {
            folder: folder.clone(),
            port: free_port()?,
            second_port: free_port()?,
            kafka: lab.kafka.clone(),
            dohle: lab.dohle.clone(),
            uuid: kafka::uuid()?,
        };
        let words = file.prepared(&places, contestant.durability, settings)?;
        let mut command = lab.machine.on_broker_core(Path::new(&words[0]));
        command.args(&words[1..]);
        let said = File::create(folder.join("said"))?;
        command.stdin(Stdio::null()).stderr(said.try_clone()?).stdout(said);
        let started = Moment::now();
        let child = command.spawn().map_err(|error| format!("cannot start {contestant}: {error}"))?;
        let process = Process::new(child.id());
        Ok(Self { child, folder, command, address: format!("127.0.0.1:{}", places.port), started, process })
    }

    /// SIGTERM, and the same program on the same folder again. It need not listen yet.
    pub fn restart(&mut self) -> Outcome<()> {
        self.stop()?;
        self.again()
    }

    /// SIGTERM.
    pub fn stop(&mut self) -> Outcome<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The same program on the same folder, after it has ended.
    pub fn again(&mut self) -> Outcome<()> {
        let said = File::options().append(true).open(self.folder.join("said"))?;
        self.command.stderr(said.try_clone()?).stdout(said);
        self.started = Moment::now();
        self.child = self.command.spawn()?;
        self.process = Process::new(self.child.id());
        Ok(())
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a contestant and waits until it answers.
    pub fn ready(lab: &Lab, contestant: Contestant) -> Outcome<Self> {
        let mut broker = Self::with(lab, contestant, &[])?;
        broker.connect()?;
        Ok(broker)
    }

    /// Has the kernel forget what the broker has written, so that it is read from the disk next. Only that: what a file system knows of
    /// its free blocks lies in the same cache, and every append would wait for it beside whoever reads.
    pub fn forget_files(&self) -> Outcome<()> {
        Command::new("sync").status()?;
        forget(&self.folder)
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

fn forget(folder: &Path) -> Outcome<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget(&entry.path())?;
        } else {
            // It may have gone meanwhile.
            let Ok(file) = File::open(entry.path()) else { continue };
            rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> std::io::Result<()> {
    if folder.exists() { std::fs::remove_dir_all(folder) } else { Ok(()) }
}

/// A port that nobody listens on at this moment.
fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
