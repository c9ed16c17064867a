//! One folder, one `server.properties`, and whichever program runs on it at the moment.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dohle_tests_clients::client::jvm;
use dohle_tests_clients::process::{Process, run};
use dohle_tests_clients::target::{Kind, answers, dohle_binary, free_port, kafka_class_path};
use dohle_tests_clients::tools::Tools;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(10);
/// What a JVM that SIGTERM has ended answers: 128 + 15.
const JVM_TERMINATED: i32 = 143;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Dohle,
    Kafka,
}

impl Program {
    /// The program under test; with Kafka as the target, Kafka takes the place of both and so proves the test.
    pub fn ours() -> Program {
        match Kind::chosen() {
            Kind::Dohle => Program::Dohle,
            Kind::Kafka => Program::Kafka,
        }
    }

    pub fn other(self) -> Program {
        match self {
            Program::Dohle => Program::Kafka,
            Program::Kafka => Program::Dohle,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SIGTERM.
    Clean,
    /// SIGKILL.
    Killed,
}

/// How the folder learns who votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// `controller.quorum.bootstrap.servers`: the voters are in the log (KIP-853).
    InTheLog,
    /// `controller.quorum.voters`: the voters are in the configuration.
    InTheFile,
}

#[derive(Debug)]
pub struct Node {
    quorum: Quorum,
    port: u16,
    controller_port: u16,
    dirs: usize,
    /// Before the folder, so that it is dead when its files go.
    running: Option<(Program, Process)>,
    folder: TempDir,
}

impl Node {
    /// An empty folder with a `server.properties` as Kafka's quick start has it, and `settings` after it.
    pub fn new(quorum: Quorum, settings: &[(&str, &str)]) -> Node {
        Node::with_dirs(quorum, settings, 1)
    }

    /// As [`Node::new`], with so many log directories.
    pub fn with_dirs(quorum: Quorum, settings: &[(&str, &str)], dirs: usize) -> Node {
        let folder = tempfile::Builder::new().prefix("dohle-upgrade-").tempdir().expect("a temporary folder");
        let node =
            Node { quorum, port: free_port(), controller_port: free_port(), dirs, running: None, folder };
        std::fs::write(node.properties_path(), node.properties(settings)).expect("server.properties");
        node
    }

    /// Formats the folder by Kafka's tool; Dohle would format it by itself at its first start.
    pub fn format_by_kafka(&self) {
        let mut tool = jvm("-Xmx128m");
        tool.arg("-cp").arg(kafka_class_path()).args(["kafka.tools.StorageTool", "format"]);
        if self.quorum == Quorum::InTheLog {
            tool.arg("--standalone");
        }
        tool.args(["-t", "q1Sh-9_ISia_zwGINzRvyQ", "-c"]).arg(self.properties_path());
        run(&mut tool, &[], START_LIMIT);
    }

    /// Starts a program on the folder and waits until it answers; how long that took.
    pub fn start(&mut self, program: Program) -> Duration {
        assert!(self.running.is_none(), "the folder is in use");
        let mut command = match program {
            Program::Dohle => self.dohle(),
            Program::Kafka => self.kafka(),
        };
        let began = Instant::now();
        let mut process =
            Process::start(&format!("{program:?}"), &mut command, &self.folder().join("broker.log"));
        while !answers(self.port) {
            if let Some(status) = process.ended() {
                panic!("{program:?} ended at its start: {status}\n{}", process.log_tail());
            }
            assert!(began.elapsed() < START_LIMIT, "{program:?} is not ready\n{}", process.log_tail());
            std::thread::sleep(READY_POLL);
        }
        self.running = Some((program, process));
        began.elapsed()
    }

    /// Ends what runs; a clean end must come by itself and say so with its exit code.
    pub fn end(&mut self, end: End) {
        let (program, mut process) = self.running.take().expect("a program runs");
        if end == End::Killed {
            return process.kill();
        }
        let Some(status) = process.terminate(STOP_LIMIT) else {
            panic!("SIGTERM did not end {program:?}\n{}", process.log_tail());
        };
        let wanted = match program {
            Program::Dohle => 0,
            Program::Kafka => JVM_TERMINATED,
        };
        assert!(status.code() == Some(wanted), "{program:?} ended with {status}\n{}", process.log_tail());
    }

    /// What one of Kafka's tools prints that is run against the program, which is `BROKER` in its words. It must end well.
    #[track_caller]
    pub fn tool(&self, tools: &mut Tools, words: &str) -> String {
        let words = words.replace("BROKER", &self.bootstrap());
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let printed = tools.run(&words, "");
        assert_eq!(printed.exit, 0, "{words:?}: {}{}", printed.out, printed.err);
        printed.out
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A folder for logs and files of this test, gone with the node.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that `log.dirs` names.
    pub fn log_dir(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// All folders that `log.dirs` names; the metadata is in the first.
    pub fn log_dirs(&self) -> Vec<PathBuf> {
        let further = (1..self.dirs).map(|number| self.folder().join(format!("data-{number}")));
        [self.log_dir()].into_iter().chain(further).collect()
    }

    fn properties_path(&self) -> PathBuf {
        self.folder().join("server.properties")
    }

    fn kafka(&self) -> Command {
        let mut kafka = jvm("-Xmx512m");
        kafka.arg("-cp").arg(kafka_class_path()).arg("kafka.Kafka").arg(self.properties_path());
        kafka
    }

    fn dohle(&self) -> Command {
        let mut dohle = Command::new(dohle_binary());
        dohle.current_dir(self.folder()).args(["start", "--config"]).arg(self.properties_path());
        // The broker takes settings from `DOHLE_*`; those of this harness are not for it.
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("DOHLE_")) {
            dohle.env_remove(name);
        }
        dohle
    }

    fn properties(&self, settings: &[(&str, &str)]) -> String {
        let dirs: Vec<String> = self.log_dirs().iter().map(|dir| dir.display().to_string()).collect();
        let (broker, controller) = (self.bootstrap(), format!("127.0.0.1:{}", self.controller_port));
        let quorum = match self.quorum {
            Quorum::InTheLog => format!("controller.quorum.bootstrap.servers={controller}"),
            Quorum::InTheFile => format!("controller.quorum.voters=1@{controller}"),
        };
        let mut text = format!(
            "process.roles=broker,controller\nnode.id=1\n{quorum}\n\
             listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\n\
             inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\nshare.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n",
            dirs.join(",")
        );
        for (key, value) in settings {
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let (true, Some((_, process))) = (std::thread::panicking(), &self.running) {
            eprintln!("{}", process.log_tail());
        }
        if std::thread::panicking() && std::env::var_os("DOHLE_TEST_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("the folder is kept: {}", self.folder().display());
        }
    }
}
