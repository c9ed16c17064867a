//! Programs that hold members of groups: one process each, as many members as it is asked for, each on a thread of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, jvm};
use crate::install;
use crate::process::{Conversation, Process};

/// A member that leaves commits first, and a broker may be away meanwhile.
const STEP_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Classic,
    /// KIP-848, `group.protocol=consumer`.
    Consumer,
}

/// What a member reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    Topic(&'static str),
    Pattern(&'static str),
}

/// How a member takes part in its group.
#[derive(Debug, Clone)]
pub struct Part {
    pub group: String,
    pub protocol: Protocol,
    pub assignor: &'static str,
    pub reads: Reads,
    /// Static membership.
    pub instance: Option<String>,
    pub session: Duration,
}

impl Part {
    fn arguments(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Classic => "classic",
            Protocol::Consumer => "consumer",
        };
        let reads = match &self.reads {
            Reads::Topic(topic) => format!("topic={topic}"),
            Reads::Pattern(pattern) => format!("pattern={pattern}"),
        };
        let instance = self.instance.as_ref().map_or(String::new(), |i| format!(" instance={i}"));
        let (group, assignor, session) = (&self.group, self.assignor, self.session.as_millis());
        format!(
            "group={group} protocol={protocol} assignor={assignor} {reads} session_ms={session}{instance}"
        )
    }
}

/// A process with members in it.
#[derive(Debug)]
pub struct Host {
    pub client: Client,
    conversation: Conversation,
}

impl Host {
    pub fn start(client: Client, bootstrap: &str, folder: &Path) -> Host {
        let sources = install::sources();
        let mut command = match client {
            Client::Java => java(&install::jars("kafka")),
            Client::OldJava(release) => java(&install::client_jars(release.version())),
            Client::Librdkafka => python(&sources.join("python/librdkafka_member.py")),
            Client::KafkaPython => python(&sources.join("python/pure_member.py")),
            Client::FranzGo => Command::new(install::franz_go()),
            Client::KafkaJs => {
                let mut node = Command::new("node");
                node.env("NODE_PATH", install::node_modules()).arg(sources.join("node/member.js"));
                node
            }
        };
        command.args([bootstrap, "members"]);
        let log = folder.join(format!("{}-members.log", client.name()));
        let name = format!("members of {}", client.name());
        Host { client, conversation: Process::converse(&name, &mut command, &log) }
    }

    /// Waits until the program takes orders.
    pub fn is_up(&mut self) {
        self.ask("hello");
    }

    /// A member begins; it writes down what happens to it in `ledger`.
    pub fn join(&mut self, member: &str, part: &Part, ledger: &Path) {
        self.ask(&format!("join member={member} {} ledger={}", part.arguments(), ledger.display()));
    }

    /// A member leaves as it should: when this returns it has.
    pub fn leave(&mut self, member: &str) {
        self.ask(&leaving(member));
    }

    /// As [`leave`](Host::leave), but it is not waited for.
    pub fn begin_to_leave(&mut self, member: &str) {
        self.conversation.tell(&leaving(member));
    }

    /// Waits until the member that was the first to begin has left.
    pub fn has_left(&mut self, member: &str) {
        let line = self.conversation.answer(&leaving(member), STEP_LIMIT);
        assert!(line.contains("true"), "{}: {member} could not leave: {line}", self.client.name());
    }

    /// The offsets that a group has committed, by place. Only Java and franz-go can tell.
    pub fn committed(&mut self, group: &str) -> Value {
        self.ask(&format!("committed group={group}"))["offsets"].clone()
    }

    /// What the broker says of a group: type, state, members. Only Java can tell.
    pub fn group(&mut self, group: &str) -> Value {
        self.ask(&format!("group group={group}"))
    }

    /// Commits an offset of a group by hand: `topic=... partition=... offset=...`. Only Java can.
    pub fn alter(&mut self, group: &str, offset: &str) {
        self.ask(&format!("alter group={group} {offset}"));
    }

    /// Deletes a committed offset: `topic=... partition=...`. Only Java can.
    pub fn forget(&mut self, group: &str, place: &str) {
        self.ask(&format!("forget group={group} {place}"));
    }

    /// Deletes a group. Only Java can.
    pub fn remove(&mut self, group: &str) {
        self.ask(&format!("remove group={group}"));
    }

    /// As [`alter`](Host::alter), in a transaction that stays open until it is [kept](Host::keep).
    pub fn promise(&mut self, group: &str, offset: &str) {
        self.ask(&format!("promise group={group} {offset}"));
    }

    pub fn keep(&mut self) {
        self.ask("keep");
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.conversation.process.kill();
    }

    /// SIGSTOP: no thread of the process does anything any more.
    pub fn stop(&self) {
        self.conversation.process.stop();
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.conversation.process.go_on();
    }

    #[track_caller]
    fn ask(&mut self, command: &str) -> Value {
        let line = self.conversation.ask(command, STEP_LIMIT);
        let reply: Value = serde_json::from_str(&line)
            .unwrap_or_else(|e| panic!("{}: '{line}' is not JSON: {e}", self.client.name()));
        assert!(reply["ok"] == true, "{}: '{command}' failed: {reply:#}", self.client.name());
        reply
    }
}

fn leaving(member: &str) -> String {
    format!("leave member={member}")
}

/// Where a member writes down what happens to it.
pub fn ledger_path(folder: &Path, member: &str) -> PathBuf {
    folder.join(format!("{member}.ledger"))
}

fn java(jars: &Path) -> Command {
    let mut command = jvm("-Xmx256m");
    command.args(["-cp", &install::classes(&["groups"], jars), "Host"]);
    command
}

fn python(program: &Path) -> Command {
    let mut command = Command::new(install::python());
    command.arg("-B").arg(program);
    command
}
