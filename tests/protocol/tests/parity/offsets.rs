//! OffsetCommit, OffsetFetch and OffsetDelete.

use dohle_tests_protocol::connection::all_versions;
use dohle_tests_protocol::run::Run;
use dohle_types::{TopicId, Uuid};
use dohle_wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use dohle_wire::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use dohle_wire::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use dohle_wire::{ApiKey, Text};

use crate::{classic, consumer_groups};

/// Partitions of a topic, by name and id.
type OfTopic<'a> = (&'a str, TopicId, &'a [i32]);
/// Partitions of a topic, by name.
type OfName<'a> = (&'a str, &'a [i32]);

/// From this version on a fetch may name several groups.
const GROUPS_SINCE: i16 = 8;

/// A topic as requests name it: by its name, or, in the newest versions, by its id.
#[derive(Clone)]
struct Named {
    name: &'static str,
    id: TopicId,
}

pub fn script(run: &mut Run) {
    let one = Named { name: "o-one", id: run.topic("o-one", 2, &[]) };
    let other = Named { name: "o-other", id: run.topic("o-other", 1, &[]) };
    let unknown = Named { name: "o-none", id: Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def1) };
    run.names.id(unknown.id, "o-none");
    committed(run, &one, &other, &unknown);
    run.end("offset_commit");
    fenced(run, &one);
    run.end("offset_commit_fenced");
    fetched(run, &one, &other, &unknown);
    run.end("offset_fetch");
    deleted(run);
    run.end("offset_delete");
}

fn partition(index: i32, offset: i64, metadata: Option<&str>) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: offset,
        committed_metadata: metadata.map(Into::into),
        ..Default::default()
    }
}

fn topic(named: &Named, partitions: Vec<OffsetCommitRequestPartition>) -> OffsetCommitRequestTopic {
    OffsetCommitRequestTopic { name: named.name.into(), topic_id: named.id, partitions, ..Default::default() }
}

fn committing(group: &str, topics: Vec<OffsetCommitRequestTopic>) -> OffsetCommitRequest {
    OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() }
}

/// Commits an offset that another script needs.
pub fn commit(run: &mut Run, group: &str, name: &'static str, index: i32, offset: i64) {
    let topics =
        vec![topic(&Named { name, id: Uuid::ZERO }, vec![partition(index, offset, Some("for later"))])];
    let response = run.connection().ask(&committing(group, topics), 9).expect("an answer");
    assert_eq!(response.topics[0].partitions[0].error_code, 0, "{response:?}");
}

/// A fetch as the version says it; no topics asks for all, where the version can.
pub fn fetching(version: i16, group: &str, topics: Option<&[(&str, TopicId, &[i32])]>) -> OffsetFetchRequest {
    if version < GROUPS_SINCE {
        let topics = topics.or((version < 2).then_some(&[])).map(|topics| {
            let topics = topics.iter().map(|(name, _, indexes)| OffsetFetchRequestTopic {
                name: (*name).into(),
                partition_indexes: indexes.to_vec(),
                ..Default::default()
            });
            topics.collect()
        });
        return OffsetFetchRequest { group_id: group.into(), topics, ..Default::default() };
    }
    let groups = vec![fetching_one(group, topics)];
    OffsetFetchRequest { groups, ..Default::default() }
}

fn fetching_one(group: &str, topics: Option<&[(&str, TopicId, &[i32])]>) -> OffsetFetchRequestGroup {
    let topics = topics.map(|topics| {
        let topics = topics.iter().map(|(name, topic_id, indexes)| OffsetFetchRequestTopics {
            name: (*name).into(),
            topic_id: *topic_id,
            partition_indexes: indexes.to_vec(),
            ..Default::default()
        });
        topics.collect()
    });
    OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() }
}

/// Commits of simple consumers, that are members of no group.
fn committed(run: &mut Run, one: &Named, other: &Named, unknown: &Named) {
    let just = |partition| vec![topic(one, vec![partition])];
    let metadata = |length| Some("x".repeat(length));
    run.ask_in_all("one", &committing("o-simple", just(partition(0, 7, Some("said")))));
    run.ask_in_all("no topics", &committing("o-simple", vec![]));
    run.ask_in_all("no partitions", &committing("o-simple", vec![topic(one, vec![])]));
    run.ask_in_all("no group", &committing("", just(partition(0, 7, None))));
    run.ask_in_all("no group, no topics", &committing("", vec![]));
    run.ask_in_all("a group of a blank", &committing(" ", just(partition(0, 7, None))));
    for offset in [0, -1, -2, i64::MIN, i64::MAX] {
        run.ask_in_all(
            &format!("offset {offset}"),
            &committing("o-offsets", just(partition(1, offset, None))),
        );
    }
    for index in [1, 2, -1, i32::MAX, i32::MIN] {
        run.ask_in_all(
            &format!("partition {index}"),
            &committing("o-simple", just(partition(index, 3, None))),
        );
    }
    for length in [0, 4096, 4097, 30_000] {
        let text = metadata(length);
        let request = committing("o-metadata", just(partition(0, 3, text.as_deref())));
        run.ask_in_all(&format!("metadata of {length}"), &request);
    }
    run.ask_in_all(
        "metadata of two bytes a letter",
        &committing("o-metadata", just(partition(0, 3, Some(&"ä".repeat(3000))))),
    );
    run.ask_in_all(
        "an unknown topic",
        &committing("o-simple", vec![topic(unknown, vec![partition(0, 1, None)])]),
    );
    run.ask_in_all(
        "an unknown topic, no group",
        &committing("", vec![topic(unknown, vec![partition(0, 1, None)])]),
    );
    run.ask_in_all(
        "no name and no id",
        &committing(
            "o-simple",
            vec![topic(&Named { name: "", id: Uuid::ZERO }, vec![partition(0, 1, None)])],
        ),
    );
    let long = metadata(5000);
    let mixed = vec![
        topic(unknown, vec![partition(0, 1, None)]),
        topic(one, vec![partition(0, 1, None), partition(1, 2, long.as_deref()), partition(9, 3, None)]),
        topic(other, vec![partition(0, 4, None)]),
    ];
    run.ask_in_all("good and bad", &committing("o-mixed", mixed));
    run.ask_in_all(
        "a partition twice",
        &committing("o-twice", vec![topic(one, vec![partition(0, 1, None), partition(0, 2, None)])]),
    );
    run.ask_in_all(
        "a topic twice",
        &committing(
            "o-twice",
            vec![topic(one, vec![partition(0, 3, None)]), topic(one, vec![partition(1, 4, None)])],
        ),
    );
    for (name, generation, member) in [
        ("a generation", 1, ""),
        ("a member", -1, "m"),
        ("both", 3, "m"),
        ("a generation of 0", 0, ""),
        ("of -2", -2, ""),
    ] {
        let request = OffsetCommitRequest {
            generation_id_or_member_epoch: generation,
            member_id: member.into(),
            ..committing("o-nobody", just(partition(0, 7, None)))
        };
        run.ask_in_all(&format!("unknown group, {name}"), &request);
        let known = OffsetCommitRequest { group_id: "o-simple".into(), ..request };
        run.ask_in_all(&format!("empty group, {name}"), &known);
    }
    let instance = OffsetCommitRequest {
        group_instance_id: Some("i".into()),
        ..committing("o-simple", just(partition(0, 7, None)))
    };
    run.ask_in_all("an instance", &instance);
    for retention in [0, 1000, -2] {
        let request = OffsetCommitRequest {
            retention_time_ms: retention,
            ..committing("o-retention", just(partition(0, 7, None)))
        };
        for version in 2..=4 {
            run.ask(&format!("kept for {retention}"), version, &request);
        }
    }
    let mut epoch = partition(0, 9, Some("epoch"));
    epoch.committed_leader_epoch = 3;
    run.ask_in_all("an epoch", &committing("o-epoch", just(epoch)));
}

/// Commits to groups that have members.
fn fenced(run: &mut Run, one: &Named) {
    let of = |group: &str, generation: i32, member: &str, instance: Option<&str>| OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
        ..committing(group, vec![topic(one, vec![partition(0, 11, None)])])
    };
    let request = dohle_wire::messages::join_group_request::JoinGroupRequest {
        group_instance_id: Some("i".into()),
        ..classic::joining("o-classic", "")
    };
    let joined = classic::stable(run, "o-classic", request);
    let (member, now) = (joined.member_id.as_str(), joined.generation_id);
    consumer_groups::member(run, "o-consumer", "m", &["o-one"]);
    let epoch = consumer_groups::epoch(run, "o-consumer", "m");
    for version in all_versions(ApiKey::OffsetCommit) {
        for (group, member, now) in [("o-classic", member, now), ("o-consumer", "m", epoch)] {
            let mut ask = |name: &str, generation: i32, member: &str, instance: Option<&str>| {
                run.ask(&format!("{group}, {name}"), version, &of(group, generation, member, instance));
            };
            ask("its member", now, member, None);
            ask("before", now - 1, member, None);
            ask("to come", now + 1, member, None);
            ask("no generation", -1, member, None);
            ask("nobody", -1, "", None);
            ask("nobody, this generation", now, "", None);
            ask("unknown member", now, "other", None);
            ask("unknown member, no generation", -1, "other", None);
            ask("its instance", now, member, Some("i"));
            ask("another's instance", now, "other", Some("i"));
            ask("an unknown instance", now, member, Some("j"));
        }
    }
}

fn fetched(run: &mut Run, one: &Named, other: &Named, unknown: &Named) {
    commit(run, "o-fetch", "o-one", 0, 17);
    commit(run, "o-fetch", "o-other", 0, 19);
    let (a, b, c) = (one, other, unknown);
    for version in all_versions(ApiKey::OffsetFetch) {
        let cases: &[(&str, &str, Option<&[OfTopic<'_>]>)] = &[
            ("all", "o-fetch", None),
            ("no topics", "o-fetch", Some(&[])),
            ("one", "o-fetch", Some(&[(a.name, a.id, &[0])])),
            ("two topics", "o-fetch", Some(&[(a.name, a.id, &[0, 1]), (b.name, b.id, &[0])])),
            ("no partitions", "o-fetch", Some(&[(a.name, a.id, &[])])),
            ("wrong partitions", "o-fetch", Some(&[(a.name, a.id, &[2, -1, i32::MAX])])),
            ("a partition twice", "o-fetch", Some(&[(a.name, a.id, &[0, 0])])),
            ("a topic twice", "o-fetch", Some(&[(a.name, a.id, &[0]), (a.name, a.id, &[1])])),
            ("an unknown topic", "o-fetch", Some(&[(c.name, c.id, &[0])])),
            ("known and unknown", "o-fetch", Some(&[(c.name, c.id, &[0]), (a.name, a.id, &[0])])),
            ("no name and no id", "o-fetch", Some(&[("", Uuid::ZERO, &[0])])),
            ("unknown group, all", "o-nowhere", None),
            ("unknown group", "o-nowhere", Some(&[(a.name, a.id, &[0])])),
            ("no group, all", "", None),
            ("no group", "", Some(&[(a.name, a.id, &[0])])),
            ("metadata", "o-metadata", None),
            ("epoch", "o-epoch", None),
            ("twice", "o-twice", None),
            ("offsets", "o-offsets", None),
            ("retention", "o-retention", None),
            ("classic", "o-classic", None),
            ("consumer", "o-consumer", None),
        ];
        for (name, group, topics) in cases {
            run.ask(name, version, &fetching(version, group, *topics));
            if version >= 7 {
                let stable = OffsetFetchRequest { require_stable: true, ..fetching(version, group, *topics) };
                run.ask(&format!("{name}, stable"), version, &stable);
            }
        }
    }
    for version in GROUPS_SINCE..=10 {
        let groups = |groups| OffsetFetchRequest { groups, ..Default::default() };
        run.ask("no groups", version, &groups(vec![]));
        let three =
            vec![fetching_one("o-fetch", None), fetching_one("o-nowhere", None), fetching_one("", None)];
        run.ask("three groups", version, &groups(three));
        let twice = vec![fetching_one("o-fetch", None), fetching_one("o-fetch", Some(&[]))];
        run.ask("a group twice", version, &groups(twice));
        for (group, epoch) in [
            ("o-classic", 1),
            ("o-consumer", consumer_groups::epoch(run, "o-consumer", "m")),
            ("o-nowhere", 1),
            ("o-fetch", 1),
        ] {
            for (name, member, epoch) in [
                ("the epoch", Some("m"), epoch),
                ("before", Some("m"), epoch - 1),
                ("to come", Some("m"), epoch + 1),
                ("no epoch", Some("m"), -1),
                ("unknown member", Some("other"), epoch),
                ("nobody", Some(""), epoch),
                ("null", None, epoch),
            ] {
                let member_id = member.map(Text::from);
                let group_request = OffsetFetchRequestGroup {
                    member_id,
                    member_epoch: epoch,
                    ..fetching_one(group, Some(&[(a.name, a.id, &[0])]))
                };
                run.ask(&format!("{group}, {name}"), version, &groups(vec![group_request]));
            }
        }
    }
}

fn deleted(run: &mut Run) {
    let of = |group: &str, topics: &[(&str, &[i32])]| {
        let topics = topics.iter().map(|(name, indexes)| OffsetDeleteRequestTopic {
            name: (*name).into(),
            partitions: indexes
                .iter()
                .map(|&partition_index| OffsetDeleteRequestPartition { partition_index })
                .collect(),
        });
        OffsetDeleteRequest { group_id: group.into(), topics: topics.collect() }
    };
    let cases: &[(&str, &str, &[OfName<'_>])] = &[
        ("no group", "", &[("o-one", &[0])]),
        ("no group, no topics", "", &[]),
        ("unknown group", "o-nowhere", &[("o-one", &[0])]),
        ("unknown group and topic", "o-nowhere", &[("o-none", &[0])]),
        ("unknown group, no topics", "o-nowhere", &[]),
        ("no topics", "o-fetch", &[]),
        ("no partitions", "o-fetch", &[("o-one", &[])]),
        ("no partitions of an unknown topic", "o-fetch", &[("o-none", &[])]),
        ("unknown topic", "o-fetch", &[("o-none", &[0])]),
        ("no name", "o-fetch", &[("", &[0])]),
        ("wrong partitions", "o-fetch", &[("o-one", &[7, -1])]),
        ("not committed", "o-fetch", &[("o-one", &[1])]),
        ("subscribed, classic", "o-classic", &[("c-one", &[0])]),
        ("not subscribed, classic", "o-classic", &[("o-one", &[0])]),
        ("subscribed and not, classic", "o-classic", &[("c-one", &[0]), ("o-other", &[0]), ("o-none", &[0])]),
        ("subscribed, consumer", "o-consumer", &[("o-one", &[0])]),
        ("not subscribed, consumer", "o-consumer", &[("o-other", &[0])]),
        ("known and unknown", "o-fetch", &[("o-one", &[0, 5]), ("o-none", &[0]), ("o-other", &[0])]),
        ("gone", "o-fetch", &[("o-one", &[0])]),
        ("twice", "o-twice", &[("o-one", &[0, 0]), ("o-one", &[1])]),
    ];
    for (name, group, topics) in cases {
        run.ask(name, 0, &of(group, topics));
    }
    run.ask("what is left", 8, &fetching(8, "o-fetch", None));
    run.ask("what is left of what was named twice", 8, &fetching(8, "o-twice", None));
}
