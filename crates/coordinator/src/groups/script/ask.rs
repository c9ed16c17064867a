//! A script's lines as requests.

use std::collections::BTreeMap;

use bytes::Bytes;
use dohle_types::TopicId;
use dohle_wire::Text;
use dohle_wire::messages as m;
use m::join_group_request::JoinGroupRequestProtocol;
use m::leave_group_request::MemberIdentity;
use m::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use m::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use m::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use m::sync_group_request::SyncGroupRequestAssignment;

use super::Stage;
use crate::groups::{Ask, Client, GroupRecord, Request, Settings};

/// A line: a command, what it is about, and `key=value`.
pub(super) struct Words {
    plain: Vec<String>,
    named: BTreeMap<String, String>,
}

impl Words {
    pub fn of(line: &str) -> Self {
        let (named, plain): (Vec<_>, Vec<_>) = line.split_whitespace().partition(|word| word.contains('='));
        let named = named.into_iter().map(|word| {
            let (key, value) = word.split_once('=').expect("checked");
            (key.to_owned(), value.to_owned())
        });
        Self { plain: plain.into_iter().map(str::to_owned).collect(), named: named.collect() }
    }

    pub fn command(&self) -> &str {
        &self.plain[0]
    }

    /// A word after the command; `""` is none.
    pub fn word(&self, at: usize) -> String {
        let word = self.plain.get(at + 1).cloned().unwrap_or_default();
        if word == "\"\"" { String::new() } else { word }
    }

    pub fn text(&self, at: usize) -> Text {
        Text::from(self.word(at))
    }

    pub fn number(&self, at: usize) -> i64 {
        self.word(at).parse().expect("a number")
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.named.get(key).map(String::as_str)
    }

    fn optional(&self, key: &str) -> Option<Text> {
        self.get(key).map(Text::from)
    }

    fn or(&self, key: &str, default: &str) -> Text {
        Text::from(self.get(key).unwrap_or(default))
    }

    fn int<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        match self.get(key) {
            Some(value) => value.parse().ok().expect("a number"),
            None => default,
        }
    }

    fn rest(&self) -> Vec<Text> {
        (0..self.plain.len() - 1).map(|at| self.text(at)).collect()
    }
}

pub(super) fn configure(settings: &mut Settings, max_batch_bytes: &mut usize, words: &Words) {
    for (key, value) in &words.named {
        let number: i64 = value.parse().expect("a number");
        let size = usize::try_from(number).unwrap_or(usize::MAX);
        match key.as_str() {
            "delay" => settings.initial_rebalance_delay_ms = number,
            "max_size" => settings.max_size = size,
            "max_record" => *max_batch_bytes = size,
            "retention" => settings.offsets_retention_ms = number,
            "check" => settings.offsets_retention_check_interval_ms = number,
            "metadata" => settings.offset_metadata_max_bytes = size,
            other => panic!("no setting {other}"),
        }
    }
}

pub(super) fn topic_id(word: &str) -> TopicId {
    TopicId::from_u128(word.trim_start_matches('#').parse().expect("an id like #1"))
}

pub(super) fn request(stage: &Stage, words: &Words) -> Request {
    let member = |key: &str| Text::from(words.get(key).map(|name| stage.id_of(name)).unwrap_or_default());
    let (ask, newest) = match words.command() {
        "join" => (Ask::JoinGroup(join(words, member("m"))), 9),
        "sync" => (Ask::SyncGroup(sync(stage, words, member("m"))), 5),
        "heartbeat" => {
            let request = m::HeartbeatRequest {
                group_id: words.text(0),
                generation_id: words.int("gen", 1),
                member_id: member("m"),
                group_instance_id: words.optional("i"),
                ..Default::default()
            };
            (Ask::Heartbeat(request), 4)
        }
        "leave" => (Ask::LeaveGroup(leave(stage, words)), 5),
        "commit" => (Ask::OffsetCommit(commit(words, member("m"))), 10),
        "fetch" => {
            let group = OffsetFetchRequestGroup {
                group_id: words.text(0),
                member_id: words.get("m").map(|name| Text::from(stage.id_of(name))),
                topics: words.get("t").map(|topics| partitions(topics, fetch_topic)),
                ..Default::default()
            };
            (Ask::OffsetFetch { group, stable: words.get("stable").is_some() }, 10)
        }
        "forget" => {
            let topics = partitions(words.get("t").expect("topics"), forget_topic);
            let group_id = words.text(0);
            (Ask::OffsetDelete(m::OffsetDeleteRequest { group_id, topics }), 0)
        }
        "delete" => (Ask::DeleteGroups(words.rest()), 2),
        "describe" => (Ask::DescribeGroups(words.rest()), 6),
        "list" => {
            let filter = |key: &str| words.get(key).map(|names| names.split(',').map(Text::from).collect());
            let request = m::ListGroupsRequest {
                states_filter: filter("states").unwrap_or_default(),
                types_filter: filter("types").unwrap_or_default(),
                ..Default::default()
            };
            (Ask::ListGroups(request), 5)
        }
        other => panic!("no command {other}"),
    };
    let client = Client { id: words.or("client", "c"), host: Text::from("/127.0.0.1") };
    Request { client, version: words.int("v", newest), ask }
}

fn join(words: &Words, member_id: Text) -> m::JoinGroupRequest {
    let protocol_type = words.or("type", "consumer");
    let protocols = words.get("p").unwrap_or("range(t)").split(';').filter(|protocol| !protocol.is_empty());
    m::JoinGroupRequest {
        group_id: words.text(0),
        session_timeout_ms: words.int("session", 10_000),
        rebalance_timeout_ms: words.int("rebalance", 60_000),
        member_id,
        group_instance_id: words.optional("i"),
        protocols: protocols.map(|text| protocol(&protocol_type, text)).collect(),
        protocol_type: if *protocol_type == *"none" { Text::new() } else { protocol_type.clone() },
        ..Default::default()
    }
}

/// `range(a,b)` is a subscription to a and b, `range(!x)` just says x.
fn protocol(protocol_type: &str, text: &str) -> JoinGroupRequestProtocol {
    let (name, inside) = text.trim_end_matches(')').split_once('(').unwrap_or((text, ""));
    let metadata = match inside.strip_prefix('!') {
        None if protocol_type == "consumer" => {
            let topics: Vec<&str> = inside.split(',').filter(|topic| !topic.is_empty()).collect();
            super::subscription(&topics)
        }
        raw => Bytes::from(raw.unwrap_or(inside).to_owned()),
    };
    JoinGroupRequestProtocol { name: Text::from(name), metadata, ..Default::default() }
}

fn sync(stage: &Stage, words: &Words, member_id: Text) -> m::SyncGroupRequest {
    let assignments = words.get("a").into_iter().flat_map(|all| all.split(';')).map(|one| {
        let (member, assignment) = one.split_once(':').expect("M1:bytes");
        SyncGroupRequestAssignment {
            member_id: Text::from(stage.id_of(member)),
            assignment: Bytes::from(assignment.to_owned()),
            ..Default::default()
        }
    });
    let named = |key: &str, default: &str| Some(words.or(key, default)).filter(|name| *name != *"null");
    m::SyncGroupRequest {
        group_id: words.text(0),
        generation_id: words.int("gen", 1),
        member_id,
        group_instance_id: words.optional("i"),
        protocol_type: named("type", "consumer"),
        protocol_name: named("p", "range"),
        assignments: assignments.collect(),
        ..Default::default()
    }
}

/// `members=M1,M2@instance,@instance`
fn leave(stage: &Stage, words: &Words) -> m::LeaveGroupRequest {
    let members = words.get("members").into_iter().flat_map(|all| all.split(',')).map(|one| {
        let (member, instance) = one.split_once('@').unwrap_or((one, ""));
        MemberIdentity {
            member_id: Text::from(stage.id_of(member)),
            group_instance_id: Some(Text::from(instance)).filter(|instance| !instance.is_empty()),
            ..Default::default()
        }
    });
    let member_id = words.get("m").map(|name| Text::from(stage.id_of(name))).unwrap_or_default();
    m::LeaveGroupRequest {
        group_id: words.text(0),
        member_id,
        members: members.collect(),
        ..Default::default()
    }
}

/// `t=topic#id:0,1;other:3`, with an id where one is known.
fn partitions<T>(topics: &str, each: impl Fn(Text, TopicId, Vec<&str>) -> T) -> Vec<T> {
    let topic = |text: &str| {
        let (topic, partitions) = text.split_once(':').expect("topic:0,1");
        let (name, id) = topic.split_once('#').unwrap_or((topic, "0"));
        (Text::from(name), topic_id(id), partitions.split(',').map(str::to_owned).collect::<Vec<_>>())
    };
    let all = topics.split(';').map(topic);
    all.map(|(name, id, partitions)| each(name, id, partitions.iter().map(String::as_str).collect()))
        .collect()
}

fn commit(words: &Words, member_id: Text) -> m::OffsetCommitRequest {
    let metadata = words.optional("meta");
    let topics = partitions(words.get("t").expect("topics"), |name, topic_id, partitions| {
        let partitions = partitions.into_iter().map(|text| {
            let (partition, offset) = text.split_once('@').expect("partition@offset");
            OffsetCommitRequestPartition {
                partition_index: partition.parse().expect("a partition"),
                committed_offset: offset.parse().expect("an offset"),
                committed_leader_epoch: words.int("epoch", -1),
                committed_metadata: metadata.clone(),
                ..Default::default()
            }
        });
        OffsetCommitRequestTopic { name, topic_id, partitions: partitions.collect(), ..Default::default() }
    });
    m::OffsetCommitRequest {
        group_id: words.text(0),
        generation_id_or_member_epoch: words.int("gen", -1),
        member_id,
        group_instance_id: words.optional("i"),
        retention_time_ms: words.int("retention", -1),
        topics,
        ..Default::default()
    }
}

fn fetch_topic(name: Text, topic_id: TopicId, partitions: Vec<&str>) -> OffsetFetchRequestTopics {
    let partition_indexes = partitions.into_iter().map(|text| text.parse().expect("a partition")).collect();
    OffsetFetchRequestTopics { name, topic_id, partition_indexes, ..Default::default() }
}

fn forget_topic(name: Text, _: TopicId, partitions: Vec<&str>) -> OffsetDeleteRequestTopic {
    let partitions = partitions
        .into_iter()
        .map(|text| OffsetDeleteRequestPartition { partition_index: text.parse().expect("a partition") });
    OffsetDeleteRequestTopic { name, partitions: partitions.collect() }
}

/// `write g t:0@5 pid=7`, or `write g t:0@5 legacy=1`.
pub(super) fn offset_record(words: &Words, now_ms: i64) -> GroupRecord {
    let place = words.word(1);
    let (at, offset) = place.split_once('@').expect("topic:partition@offset");
    let (topic, partition) = at.split_once(':').expect("topic:partition");
    let (group, topic) = (words.text(0), Text::from(topic));
    let partition = partition.parse().expect("a partition");
    let offset = offset.parse().expect("an offset");
    if words.get("legacy").is_some() {
        let value = m::LegacyOffsetCommitValue { offset, commit_timestamp: now_ms, ..Default::default() };
        return GroupRecord::put(m::LegacyOffsetCommitKey { group, topic, partition }, value);
    }
    let value = m::OffsetCommitValue { offset, commit_timestamp: now_ms, ..Default::default() };
    GroupRecord::put_at(m::OffsetCommitKey { group, topic, partition }, value, 4)
}
