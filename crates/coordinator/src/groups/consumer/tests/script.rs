//! Scripts: commands, a line of dashes, and what they print. `UPDATE_SCRIPTS=1` writes down what is printed now.
//!
//! ```text
//!   settings interval=0 max-size=2 classic-max-size=2 session=45000 policy=upgrade retention=MS check=MS
//!   topic NAME PARTITIONS [racks=r1,r2]          delete NAME            wait MS       jobs      restart      compact
//!   join MEMBER topics=a,b regex=.. instance=.. rack=.. assignor=.. timeout=MS version=0|1 as=NAME
//!   beat MEMBER [EPOCH] has=a:0,1;b:2 topics=..    leave MEMBER           away MEMBER instance=..
//!   classic-join MEMBER topics=.. has=.. instance=.. protocols=range,sticky version=..
//!   classic-sync MEMBER [GENERATION]             classic-beat MEMBER [GENERATION]     classic-leave MEMBER ...
//!   commit MEMBER EPOCH TOPIC:PARTITION          describe               state
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dohle_wire::messages as m;
use dohle_wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use dohle_wire::{Message, Text, Writer};

use super::print;
use super::rig::Rig;
use crate::frame::ReplyTo;
use crate::groups::{Ask, GroupRecord, MigrationPolicy, Response, Settings};

const GROUP: &str = "g";

#[test]
fn scripts_print_what_they_say() {
    let mut scripts = scripts();
    scripts.sort();
    assert!(scripts.len() > 5, "the scripts are found");
    let mut wrong = Vec::new();
    for path in scripts {
        let text = read(&path);
        let now = run(&text, &path.display().to_string());
        if now != text {
            if std::env::var_os("UPDATE_SCRIPTS").is_some() {
                write(&path, &now);
            } else {
                wrong.push(difference(&path, &text, &now));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/groups/consumer/tests/scripts")
}

#[allow(clippy::disallowed_methods)]
fn scripts() -> Vec<PathBuf> {
    std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[allow(clippy::disallowed_methods)]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[allow(clippy::disallowed_methods)]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn difference(path: &Path, text: &str, now: &str) -> String {
    let at = text.lines().zip(now.lines()).position(|(a, b)| a != b).unwrap_or(0);
    let line = |text: &str| text.lines().nth(at).unwrap_or("<end>").to_owned();
    format!("{}:{}\n  expected: {}\n  printed:  {}", path.display(), at + 1, line(text), line(now))
}

/// The script with what it prints now.
fn run(text: &str, name: &str) -> String {
    let mut script = Script::new(Settings::default());
    let mut out = String::new();
    for block in text.trim_end().split("\n\n") {
        let commands: Vec<&str> = block.lines().take_while(|line| *line != "----").collect();
        out += &commands.join("\n");
        out += "\n";
        let is_comment = commands.iter().all(|line| line.starts_with('#'));
        if !is_comment {
            out += "----\n";
            for command in commands.into_iter().filter(|line| !line.starts_with('#')) {
                out += &script.command(command, name);
            }
        }
        out += "\n";
    }
    out.trim_end().to_owned() + "\n"
}

struct Script {
    rig: Rig,
    /// The names that scripts have for members whose ids the coordinator made.
    aliases: BTreeMap<String, Text>,
    /// The epoch or generation that each member was told last.
    epochs: BTreeMap<String, i32>,
    waiting: BTreeMap<ReplyTo, String>,
}

/// The words of a command: some by place, some by name.
struct Words<'a> {
    placed: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(command: &'a str) -> Self {
        let (mut placed, mut named) = (Vec::new(), BTreeMap::new());
        for word in command.split_whitespace().skip(1) {
            match word.split_once('=') {
                Some((name, value)) => drop(named.insert(name, value)),
                None => placed.push(word),
            }
        }
        Self { placed, named }
    }

    fn text(&self, name: &str) -> Option<Text> {
        self.named.get(name).map(|value| Text::from(*value))
    }

    fn number(&self, name: &str, default: i32) -> i32 {
        self.named.get(name).map_or(default, |value| value.parse().unwrap())
    }

    fn list(&self, name: &str) -> Option<Vec<Text>> {
        let list = |value: &&str| value.split(',').filter(|name| !name.is_empty()).map(Text::from).collect();
        self.named.get(name).map(list)
    }

    /// `a:0,1;b:2`
    fn partitions(&self, name: &str) -> Option<Vec<(&'a str, Vec<i32>)>> {
        let of = |topic: &'a str| {
            let (name, at) = topic.split_once(':').unwrap();
            (name, at.split(',').map(|at| at.parse().unwrap()).collect())
        };
        self.named.get(name).map(|value| value.split(';').filter(|topic| !topic.is_empty()).map(of).collect())
    }
}

impl Script {
    fn new(settings: Settings) -> Self {
        Self {
            rig: Rig::new(settings),
            aliases: BTreeMap::new(),
            epochs: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    fn command(&mut self, command: &str, name: &str) -> String {
        let words = Words::of(command);
        let verb = command.split_whitespace().next().unwrap();
        let named = words.placed.first().copied().unwrap_or("");
        let member = &self.aliases.get(named).map_or_else(|| named.to_owned(), Text::to_string);
        let records = match verb {
            "settings" => return self.settings(&words),
            "topic" => {
                let racks = words.list("racks").unwrap_or_default();
                let partitions = words.placed[1].parse().unwrap();
                self.rig.put_topic(member, partitions, racks.into_iter().map(|rack| vec![rack]).collect())
            }
            "delete" => self.rig.delete_topic(member),
            "wait" => self.rig.wait(member.parse().unwrap()),
            "jobs" => self.rig.run_jobs(),
            "restart" => {
                self.rig.restart();
                return String::new();
            }
            "compact" => {
                self.rig.compact();
                assert_eq!(
                    self.rig.living(),
                    self.rig.replayed(),
                    "a compacted log replays to the same state"
                );
                return String::new();
            }
            "state" => return self.state(),
            _ => {
                let (version, ask) = self.ask(verb, member, &words, name);
                let to = self.rig.send(version, words.named.get("client").unwrap_or(&"c"), ask);
                let alias = *words.named.get("as").unwrap_or(&named);
                self.waiting.insert(to, alias.to_owned());
                self.rig.drain()
            }
        };
        self.told(&records)
    }

    /// What was answered, to whoever, and what was recorded.
    fn told(&mut self, records: &[GroupRecord]) -> String {
        let mut lines = Vec::new();
        for (to, answer) in self.rig.answers() {
            let alias = self.waiting.remove(&to).expect("asked once");
            let answer = answer.expect("no bare errors");
            self.learn(&alias, &answer);
            lines.push(print::response(&answer, &self.rig.topics));
        }
        lines.extend(records.iter().map(|record| format!("  {}", print::record(record, &self.rig.topics))));
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        self.aliases.iter().fold(text, |text, (alias, id)| text.replace(id.as_str(), alias))
    }

    /// The member's id, if the coordinator made it, and its epoch.
    fn learn(&mut self, alias: &str, answer: &Response) {
        let (id, epoch) = match answer {
            Response::JoinGroup(joined) => (&joined.member_id, joined.generation_id),
            Response::ConsumerGroupHeartbeat(m::ConsumerGroupHeartbeatResponse {
                member_id: Some(id),
                member_epoch,
                ..
            }) => (id, *member_epoch),
            _ => return,
        };
        if !id.is_empty() && *id != *alias {
            self.aliases.insert(alias.to_owned(), id.clone());
        }
        self.epochs.insert(alias.to_owned(), epoch);
    }

    fn state(&self) -> String {
        let counts = self.rig.group(GROUP).map_or_else(|| self.rig.state(GROUP).to_owned(), print::group);
        format!("{} {counts}\n", self.rig.kind(GROUP))
    }

    fn settings(&mut self, words: &Words<'_>) -> String {
        let max_size = usize::try_from(words.number("classic-max-size", i32::MAX)).unwrap();
        let mut settings = Settings { max_size, ..Settings::default() };
        settings.offsets_retention_ms =
            words.named.get("retention").map_or(settings.offsets_retention_ms, |ms| ms.parse().unwrap());
        settings.offsets_retention_check_interval_ms = words
            .named
            .get("check")
            .map_or(settings.offsets_retention_check_interval_ms, |ms| ms.parse().unwrap());
        let consumer = &mut settings.consumer;
        consumer.assignment_interval_ms = words.number("interval", 0);
        consumer.max_size = usize::try_from(words.number("max-size", i32::MAX)).unwrap();
        consumer.session_timeout_ms = words.number("session", consumer.session_timeout_ms);
        consumer.migration = match words.named.get("policy").copied().unwrap_or("bidirectional") {
            "disabled" => MigrationPolicy::Disabled,
            "upgrade" => MigrationPolicy::Upgrade,
            "downgrade" => MigrationPolicy::Downgrade,
            _ => MigrationPolicy::Bidirectional,
        };
        *self = Self::new(settings);
        String::new()
    }

    fn ask(&mut self, verb: &str, member: &str, words: &Words<'_>, name: &str) -> (i16, Ask) {
        let version = |default| i16::try_from(words.number("version", default)).unwrap();
        match verb {
            "join" | "beat" | "leave" | "away" => (version(1), self.heartbeat(verb, member, words)),
            "describe" => {
                (version(1), Ask::ConsumerGroupDescribe(vec![words.text("group").unwrap_or(GROUP.into())]))
            }
            "classic-join" => (version(9), Ask::JoinGroup(self.classic_join(member, words))),
            "classic-sync" => (version(5), Ask::SyncGroup(self.classic_sync(member, words))),
            "classic-beat" => (version(4), Ask::Heartbeat(self.classic_beat(member, words))),
            "classic-leave" => (version(5), Ask::LeaveGroup(self.classic_leave(words))),
            "commit" => (version(9), Ask::OffsetCommit(self.commit(member, words))),
            other => panic!("{name}: no command {other}"),
        }
    }

    fn heartbeat(&mut self, verb: &str, member: &str, words: &Words<'_>) -> Ask {
        let joins = verb == "join";
        let epoch = match verb {
            "join" => 0,
            "leave" => -1,
            "away" => -2,
            _ => self.epoch(words),
        };
        let has = words.partitions("has").or(joins.then(Vec::new));
        let of = |(name, partitions): (&str, Vec<i32>)| TopicPartitions {
            topic_id: self.rig.topics.by_name(name).unwrap().id,
            partitions,
            ..Default::default()
        };
        Ask::ConsumerGroupHeartbeat(m::ConsumerGroupHeartbeatRequest {
            group_id: words.text("group").unwrap_or(GROUP.into()),
            member_id: if member == "new" { Text::new() } else { member.into() },
            member_epoch: words.number("epoch", epoch),
            instance_id: words.text("instance"),
            rack_id: words.text("rack"),
            rebalance_timeout_ms: words.number("timeout", if joins { 5000 } else { -1 }),
            subscribed_topic_names: words.list("topics"),
            subscribed_topic_regex: words.text("regex"),
            server_assignor: words.text("assignor"),
            topic_partitions: has.map(|has| has.into_iter().map(of).collect()),
            ..Default::default()
        })
    }

    /// The one that is given, or the one that the member was told last.
    fn epoch(&self, words: &Words<'_>) -> i32 {
        let told = words.placed.first().and_then(|alias| self.epochs.get(*alias)).copied();
        words.placed.get(1).map_or(told.unwrap_or(0), |epoch| epoch.parse().unwrap())
    }

    fn classic_join(&self, member: &str, words: &Words<'_>) -> m::JoinGroupRequest {
        let metadata = match words.text("metadata") {
            Some(broken) => broken.into_bytes(),
            None => subscription(words),
        };
        let names = words.list("protocols").unwrap_or_else(|| vec!["range".into()]);
        let protocols = names.into_iter().map(|name| m::join_group_request::JoinGroupRequestProtocol {
            name,
            metadata: metadata.clone(),
            ..Default::default()
        });
        m::JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: words.number("session", 45_000),
            rebalance_timeout_ms: words.number("timeout", 5000),
            member_id: if member == "new" { Text::new() } else { member.into() },
            group_instance_id: words.text("instance"),
            protocol_type: words.text("type").unwrap_or("consumer".into()),
            protocols: protocols.collect(),
            ..Default::default()
        }
    }

    /// With `given`, the leader assigns: `given=a/foo:0,1;b/foo:2`.
    fn classic_sync(&mut self, member: &str, words: &Words<'_>) -> m::SyncGroupRequest {
        let of = |of: &str| {
            let (member, topic) = of.split_once('/').unwrap();
            let (topic, at) = topic.split_once(':').unwrap();
            let assigned = m::consumer_protocol_assignment::TopicPartition {
                topic: topic.into(),
                partitions: at.split(',').map(|at| at.parse().unwrap()).collect(),
            };
            m::sync_group_request::SyncGroupRequestAssignment {
                member_id: self.aliases.get(member).cloned().unwrap_or(member.into()),
                assignment: assignment(vec![assigned], words.text("data").map(Text::into_bytes)),
                ..Default::default()
            }
        };
        let given = words.named.get("given").map(|given| given.split(';').map(of).collect());
        m::SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: self.epoch(words),
            member_id: member.into(),
            group_instance_id: words.text("instance"),
            protocol_type: Some(words.text("type").unwrap_or("consumer".into())),
            protocol_name: Some(words.text("protocol").unwrap_or("range".into())),
            assignments: given.unwrap_or_default(),
            ..Default::default()
        }
    }

    fn classic_beat(&self, member: &str, words: &Words<'_>) -> m::HeartbeatRequest {
        m::HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: self.epoch(words),
            member_id: member.into(),
            group_instance_id: words.text("instance"),
            ..Default::default()
        }
    }

    fn classic_leave(&self, words: &Words<'_>) -> m::LeaveGroupRequest {
        let of = |member: &&str| {
            let (member_id, instance) = member.split_once('@').map_or((*member, None), |(m, i)| (m, Some(i)));
            m::leave_group_request::MemberIdentity {
                member_id: self.aliases.get(member_id).cloned().unwrap_or(member_id.into()),
                group_instance_id: instance.map(Text::from),
                ..Default::default()
            }
        };
        m::LeaveGroupRequest {
            group_id: GROUP.into(),
            members: words.placed.iter().map(of).collect(),
            ..Default::default()
        }
    }

    fn commit(&self, member: &str, words: &Words<'_>) -> m::OffsetCommitRequest {
        let (name, partition) = words.placed[2].split_once(':').unwrap();
        let partition = m::offset_commit_request::OffsetCommitRequestPartition {
            partition_index: partition.parse().unwrap(),
            committed_offset: 7,
            ..Default::default()
        };
        let topic = m::offset_commit_request::OffsetCommitRequestTopic {
            name: name.into(),
            topic_id: self.rig.topics.by_name(name).unwrap().id,
            partitions: vec![partition],
            ..Default::default()
        };
        m::OffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: words.placed[1].parse().unwrap(),
            member_id: if member == "nobody" { Text::new() } else { member.into() },
            topics: vec![topic],
            ..Default::default()
        }
    }
}

/// What a consumer of the classic protocol says when it joins.
fn subscription(words: &Words<'_>) -> Bytes {
    let owned = words.partitions("has").unwrap_or_default().into_iter();
    let owned = owned.map(|(topic, partitions)| m::consumer_protocol_subscription::TopicPartition {
        topic: topic.into(),
        partitions,
    });
    let subscription = m::ConsumerProtocolSubscription {
        topics: words.list("topics").unwrap_or_default(),
        owned_partitions: owned.collect(),
        rack_id: words.text("rack"),
        ..Default::default()
    };
    versioned(&subscription)
}

pub fn assignment(
    assigned_partitions: Vec<m::consumer_protocol_assignment::TopicPartition>,
    user_data: Option<Bytes>,
) -> Bytes {
    versioned(&m::ConsumerProtocolAssignment { assigned_partitions, user_data })
}

pub fn versioned<M: Message>(message: &M) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(M::MAX_VERSION);
    message.encode(&mut writer, M::MAX_VERSION).unwrap();
    writer.into_bytes()
}
