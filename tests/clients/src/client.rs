//! The client programs behind one command interface: a line `verb key=value ...` in, one line of JSON out.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::install;
use crate::process::{Conversation, Process};

/// A client library at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Java,
    OldJava(JavaRelease),
    Librdkafka,
    KafkaPython,
    FranzGo,
    KafkaJs,
}

/// The releases of Kafka's Java client that are tested beside the newest; the first is the oldest that Kafka 4.x serves in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JavaRelease {
    R2_1_1,
    R2_8_2,
    R3_3_2,
    R3_9_1,
    R4_0_1,
}

impl JavaRelease {
    pub fn version(self) -> &'static str {
        &self.name()["java-".len()..]
    }

    fn name(self) -> &'static str {
        match self {
            JavaRelease::R2_1_1 => "java-2.1.1",
            JavaRelease::R2_8_2 => "java-2.8.2",
            JavaRelease::R3_3_2 => "java-3.3.2",
            JavaRelease::R3_9_1 => "java-3.9.1",
            JavaRelease::R4_0_1 => "java-4.0.1",
        }
    }
}

/// The longest that one command may take.
const STEP_LIMIT: Duration = Duration::from_secs(120);

/// UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER
const NOT_YET: [i64; 3] = [3, 5, 6];

/// What the slower clients write per codec unless everything is asked for.
const FEWER: u64 = 20_000;
const ALL_RECORDS: u64 = 100_000;

impl Client {
    pub const ALL: [Client; 6] = [
        Client::Java,
        Client::OldJava(JavaRelease::R2_8_2),
        Client::Librdkafka,
        Client::KafkaPython,
        Client::FranzGo,
        Client::KafkaJs,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Client::Java => "java-4.3.1",
            Client::OldJava(release) => release.name(),
            Client::Librdkafka => "librdkafka",
            Client::KafkaPython => "kafka-python",
            Client::FranzGo => "franz-go",
            Client::KafkaJs => "kafkajs",
        }
    }

    /// The codecs that the client has without a native module of its own.
    pub fn codecs(self) -> &'static [&'static str] {
        match self {
            Client::KafkaJs => &["none", "gzip", "snappy"],
            _ => &["none", "gzip", "snappy", "lz4", "zstd"],
        }
    }

    /// Whether the producer accepts a header without a value; the format allows it, not every client does.
    pub fn sends_header_nulls(self) -> bool {
        !matches!(self, Client::KafkaPython | Client::KafkaJs)
    }

    /// Whether `alter` sets one key and keeps the others; AlterConfigs, which alone kafkajs and Java before 2.3 know, replaces all.
    pub fn alters_incrementally(self) -> bool {
        !matches!(self, Client::KafkaJs | Client::OldJava(JavaRelease::R2_1_1))
    }

    pub fn records_per_codec(self) -> u64 {
        match self {
            Client::KafkaPython | Client::KafkaJs if !everything() => FEWER,
            _ => ALL_RECORDS,
        }
    }

    /// Where the Java program's part lies that is not the same for all releases.
    fn alter_folder(self) -> &'static str {
        if self.alters_incrementally() { "alter-incremental" } else { "alter-whole" }
    }

    /// Starts the program against a broker; it logs into `folder`.
    pub fn start(self, bootstrap: &str, folder: &Path) -> Session {
        let sources = install::sources();
        let mut command = match self {
            Client::Java => java(&install::classes(&["src", self.alter_folder()], &install::jars("kafka"))),
            Client::OldJava(release) => {
                let jars = install::client_jars(release.version());
                java(&install::classes(&["src", self.alter_folder()], &jars))
            }
            Client::Librdkafka => python(&sources.join("python/librdkafka.py")),
            Client::KafkaPython => python(&sources.join("python/pure.py")),
            Client::FranzGo => Command::new(install::franz_go()),
            Client::KafkaJs => {
                let mut node = Command::new("node");
                node.env("NODE_PATH", install::node_modules()).arg(sources.join("node/client.js"));
                node
            }
        };
        let log = folder.join(format!("{}.log", self.name()));
        Session { client: self, conversation: Process::converse(self.name(), command.arg(bootstrap), &log) }
    }
}

/// Whether every client writes at full size and every other one reads all of it (`DOHLE_TEST_FULL=1`).
pub fn everything() -> bool {
    std::env::var_os("DOHLE_TEST_FULL").is_some_and(|v| v == "1")
}

/// A JVM that leaves room for its neighbours, up to the main class.
pub fn jvm(heap: &str) -> Command {
    let mut command = Command::new("java");
    command.args([heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"]).arg(
        format!("-Dlog4j2.configurationFile={}", install::sources().join("java/log4j2.properties").display()),
    );
    command
}

fn java(class_path: &str) -> Command {
    let mut command = jvm("-Xmx256m");
    command.args(["-cp", class_path, "Client"]);
    command
}

fn python(program: &Path) -> Command {
    let mut command = Command::new(install::python());
    command.args(["-B"]).arg(program);
    command
}

/// A running client.
#[derive(Debug)]
pub struct Session {
    pub client: Client,
    conversation: Conversation,
}

impl Session {
    /// A command that must succeed.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Value {
        let reply = self.reply(command);
        assert!(reply["ok"] == true, "{}: '{command}' failed: {reply:#}", self.client.name());
        reply
    }

    /// A command that the broker must refuse: the error code it gave.
    #[track_caller]
    pub fn refused(&mut self, command: &str) -> i64 {
        let reply = self.reply(command);
        assert!(reply["ok"] == false, "{}: '{command}' was not refused: {reply:#}", self.client.name());
        let code = reply["code"].as_i64().expect("a refusal has a code");
        assert!(code > -1000, "{}: '{command}' failed by itself: {reply:#}", self.client.name());
        code
    }

    /// A command that may be refused while the broker still makes a topic's partitions.
    #[track_caller]
    pub fn ask_or_wait(&mut self, command: &str) -> Option<Value> {
        let reply = self.reply(command);
        let code = reply["code"].as_i64();
        assert!(
            reply["ok"] == true || code.is_some_and(|c| NOT_YET.contains(&c)),
            "{}: '{command}' failed: {reply:#}",
            self.client.name()
        );
        (reply["ok"] == true).then_some(reply)
    }

    /// A command that may end in any way.
    pub fn outcome(&mut self, command: &str) -> Value {
        self.reply(command)
    }

    fn reply(&mut self, command: &str) -> Value {
        let line = self.conversation.ask(command, STEP_LIMIT);
        serde_json::from_str(&line)
            .unwrap_or_else(|e| panic!("{}: '{line}' is not JSON: {e}", self.client.name()))
    }
}
