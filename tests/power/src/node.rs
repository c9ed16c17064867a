//! One broker on a disk whose power can go, or on the disk of this machine, where it can be killed.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use dohle_env::disk::{Fault, SimDisk};
use dohle_tests_clients::process::Process;
use dohle_tests_clients::target::{answers, dohle_binary, free_port};
use tempfile::TempDir;

use crate::mount::Mount;

const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// As short as they can be, so that everything happens within a life of a second.
const SETTINGS: &[(&str, &str)] = &[
    ("log.initial.task.delay.ms", "50"),
    ("log.retention.check.interval.ms", "100"),
    ("log.flush.offset.checkpoint.interval.ms", "150"),
    ("log.flush.start.offset.checkpoint.interval.ms", "150"),
    ("log.cleaner.backoff.ms", "50"),
    ("log.segment.delete.delay.ms", "100"),
    ("log.index.interval.bytes", "1024"),
    ("metadata.log.max.record.bytes.between.snapshots", "3000"),
    ("offsets.topic.num.partitions", "3"),
    ("offsets.topic.segment.bytes", "1048576"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("dohle.partition.rest.ms", "300"),
];

/// What became of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    Ready,
    /// The power went before the broker answered anybody.
    CutBefore,
}

pub struct Node {
    /// The disk that forgets; without one the files lie on the machine's.
    disk: Option<SimDisk>,
    mount: Option<Mount>,
    process: Option<Process>,
    port: u16,
    controller_port: u16,
    folder: TempDir,
}

impl Node {
    /// With two log directories on the disk.
    pub fn on(disk: Option<SimDisk>) -> Node {
        // Which may build it, and is no part of its first start.
        dohle_binary();
        let folder = tempfile::Builder::new().prefix("dohle-power-").tempdir().expect("a temporary folder");
        let (port, controller_port) = (free_port(), free_port());
        let node = Node { disk, mount: None, process: None, port, controller_port, folder };
        std::fs::create_dir(node.disk_path()).expect("a folder to mount on");
        std::fs::write(node.properties_path(), node.properties()).expect("server.properties");
        node
    }

    pub fn address(&self) -> SocketAddr {
        format!("127.0.0.1:{}", self.port).parse().expect("an address")
    }

    fn disk_path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn properties_path(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("broker.log")
    }

    fn properties(&self) -> String {
        let (broker, controller) = (self.address(), format!("127.0.0.1:{}", self.controller_port));
        let disk = self.disk_path().display().to_string();
        let mut text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers={controller}\n\
             listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\ncontroller.listener.names=CONTROLLER\n\
             log.dirs={disk}/a,{disk}/b\noffsets.topic.replication.factor=1\n"
        );
        for (key, value) in SETTINGS {
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }

    /// Starts the broker on what the disk holds.
    pub fn start(&mut self) -> Result<Started, String> {
        if let Some(disk) = &self.disk {
            self.mount = Some(Mount::new(disk.clone(), &self.disk_path()).expect("mounting"));
        }
        let mut command = Command::new(dohle_binary());
        command.current_dir(self.folder.path()).args(["start", "--config"]).arg(self.properties_path());
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("DOHLE_")) {
            command.env_remove(name);
        }
        let _fresh = std::fs::remove_file(self.log_path());
        self.process = Some(Process::start("the broker", &mut command, &self.log_path()));
        let began = Instant::now();
        loop {
            if self.has_fallen() {
                return Ok(Started::CutBefore);
            }
            if answers(self.port) {
                return Ok(Started::Ready);
            }
            let process = self.process.as_mut().expect("just started");
            if let Some(status) = process.ended() {
                return Err(format!("StartsAgain: it ended with {status}\n{}", process.log_tail()));
            }
            if began.elapsed() > START_LIMIT {
                return Err(format!("StartsAgain: it is not ready\n{}", process.log_tail()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether the power is off.
    pub fn has_fallen(&self) -> bool {
        self.disk.as_ref().is_some_and(SimDisk::has_crashed)
    }

    /// Lets the power go so many operations from now; on a real disk nothing happens.
    pub fn cut_after(&self, operations: u64) {
        if let Some(disk) = &self.disk {
            disk.fail_at(disk.operations() + operations, Fault::Crash);
        }
    }

    /// Waits until the power has gone by itself, and lets it go when that takes longer than `limit`.
    pub fn await_cut(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while !self.has_fallen() {
            if Instant::now() > until {
                if self.disk.is_none() {
                    return;
                }
                self.cut_after(0);
            }
            std::thread::sleep(POLL);
        }
    }

    /// The process dies, without having learnt that the power has gone, and its connections close.
    pub fn fall(&mut self) -> Result<(), String> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let ended = process.ended();
        process.doom();
        if let Some(mount) = self.mount.take() {
            mount.cut_off();
        }
        process.kill();
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        match (log.lines().find(|line| line.contains("panicked at")), ended) {
            (Some(line), _) => Err(format!("StartsAgain: {line}\n{}", process.log_tail())),
            (None, Some(status)) => {
                Err(format!("StartsAgain: it ended by itself: {status}\n{}", process.log_tail()))
            }
            (None, None) => Ok(()),
        }
    }

    /// The power comes back; the disk has kept of what was not flushed what `seed` lets it.
    pub fn power_returns(&self, seed: u64) {
        if let Some(disk) = &self.disk {
            disk.crash(seed);
        }
    }

    pub fn log_tail(&self) -> String {
        self.process.as_ref().map(Process::log_tail).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            process.doom();
        }
        self.mount = None;
    }
}
