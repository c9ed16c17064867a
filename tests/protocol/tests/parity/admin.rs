//! CreateTopics, CreatePartitions, DeleteTopics, DescribeTopicPartitions, DescribeLogDirs.

use dohle_tests_protocol::connection::all_versions;
use dohle_tests_protocol::run::Run;
use dohle_types::Uuid;
use dohle_wire::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use dohle_wire::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use dohle_wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use dohle_wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use dohle_wire::messages::describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use dohle_wire::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use dohle_wire::{ApiKey, Text};

pub fn script(run: &mut Run) {
    create(run);
    run.end("create_topics");
    partitions(run);
    run.end("create_partitions");
    describe(run);
    run.end("describe_topic_partitions");
    log_dirs(run);
    run.end("describe_log_dirs");
    alter_log_dirs(run);
    run.end("alter_replica_log_dirs");
    delete(run);
    run.end("delete_topics");
}

fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions, replication_factor, ..Default::default() }
}

fn configured(name: &str, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).into(),
        value: value.map(Text::from),
        ..Default::default()
    });
    CreatableTopic { configs: configs.collect(), ..topic(name, 1, 1) }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = assignments.iter().map(|(index, brokers)| CreatableReplicaAssignment {
        partition_index: *index,
        broker_ids: brokers.to_vec(),
        ..Default::default()
    });
    CreatableTopic { assignments: assignments.collect(), ..topic(name, -1, -1) }
}

fn create(run: &mut Run) {
    let cases: Vec<(&str, Vec<CreatableTopic>)> = vec![
        ("valid", vec![topic("c-NN", 2, 1)]),
        ("defaults", vec![topic("c-def-NN", -1, -1)]),
        ("nothing", vec![]),
        ("it is there", vec![topic("c-NN", 2, 1)]),
        ("no name", vec![topic("", 1, 1)]),
        ("a dot", vec![topic(".", 1, 1)]),
        ("two dots", vec![topic("..", 1, 1)]),
        ("a name with a space", vec![topic("a b", 1, 1)]),
        ("a name of other letters", vec![topic("äöü", 1, 1)]),
        ("a long name", vec![topic(&"l".repeat(250), 1, 1)]),
        ("a name that collides", vec![topic("c_x.NN", 1, 1), topic("c.x_NN", 1, 1)]),
        ("a name that collides with one there", vec![topic("m.col", 1, 1), topic("m_dot", 1, 1)]),
        ("no partitions", vec![topic("c-bad", 0, 1)]),
        ("partitions below -1", vec![topic("c-bad", -2, 1)]),
        ("no replicas", vec![topic("c-bad", 1, 0)]),
        ("replicas below -1", vec![topic("c-bad", 1, -2)]),
        ("too many replicas", vec![topic("c-bad", 1, 2)]),
        ("far too many partitions", vec![topic("c-bad", 2_000_000, 1)]),
        ("10,001 partitions", vec![topic("c-bad", 10_001, 1)]),
        ("twice", vec![topic("c-twice", 1, 1), topic("c-twice", 1, 1), topic("c-once-NN", 1, 1)]),
        ("assigned", vec![assigned("c-as-NN", &[(0, &[1]), (1, &[1])])]),
        ("assigned to an unknown broker", vec![assigned("c-bad", &[(0, &[7])])]),
        ("assigned to nobody", vec![assigned("c-bad", &[(0, &[])])]),
        ("assigned twice to one", vec![assigned("c-bad", &[(0, &[1, 1])])]),
        ("assigned with a gap", vec![assigned("c-bad", &[(0, &[1]), (2, &[1])])]),
        ("assigned from 1", vec![assigned("c-bad", &[(1, &[1])])]),
        ("a partition assigned twice", vec![assigned("c-bad", &[(0, &[1]), (0, &[1])])]),
        ("assigned to below zero", vec![assigned("c-bad", &[(0, &[-1])])]),
        ("assigned unevenly", vec![assigned("c-bad", &[(0, &[1]), (1, &[1, 7])])]),
        (
            "assigned and counted",
            vec![CreatableTopic {
                num_partitions: 1,
                replication_factor: 1,
                ..assigned("c-bad", &[(0, &[1])])
            }],
        ),
        (
            "assigned and counted right",
            vec![CreatableTopic { num_partitions: 1, ..assigned("c-bad", &[(0, &[1])]) }],
        ),
        (
            "configured",
            vec![configured(
                "c-conf-NN",
                &[("retention.ms", Some("1000")), ("cleanup.policy", Some("compact"))],
            )],
        ),
        ("an unknown key", vec![configured("c-bad", &[("no.such.key", Some("1"))])]),
        ("a null value", vec![configured("c-bad", &[("retention.ms", None)])]),
        ("a bad number", vec![configured("c-bad", &[("retention.ms", Some("much"))])]),
        ("out of range", vec![configured("c-bad", &[("segment.bytes", Some("-1"))])]),
        ("a bad word", vec![configured("c-bad", &[("cleanup.policy", Some("burn"))])]),
        ("an empty policy", vec![configured("c-bad", &[("cleanup.policy", Some(""))])]),
        ("a bad list", vec![configured("c-bad", &[("leader.replication.throttled.replicas", Some("x"))])]),
        (
            "a key twice",
            vec![configured("c-bad", &[("retention.ms", Some("1")), ("retention.ms", Some("2"))])],
        ),
        ("remote storage", vec![configured("c-bad", &[("remote.storage.enable", Some("true"))])]),
        ("min isr 0", vec![configured("c-bad", &[("min.insync.replicas", Some("0"))])]),
        ("an empty key", vec![configured("c-bad", &[("", Some("0"))])]),
        (
            "local retention above retention",
            vec![configured("c-bad", &[("retention.ms", Some("10")), ("local.retention.ms", Some("20"))])],
        ),
        (
            "spaces around",
            vec![configured("c-sp-NN", &[("retention.ms", Some(" 1000 ")), ("preallocate", Some("TRUE"))])],
        ),
        ("internal", vec![topic("__consumer_offsets", 1, 1)]),
        ("the metadata's", vec![topic("__cluster_metadata", 1, 1)]),
        ("good and bad", vec![topic("c-good-NN", 1, 1), topic("", 1, 1), topic("c-bad", 0, 1)]),
    ];
    for version in all_versions(ApiKey::CreateTopics).into_iter().step_by(2).chain([7]) {
        for validate_only in [true, false] {
            for (name, topics) in &cases {
                if matches!(*name, "internal" | "the metadata's") && !validate_only {
                    continue;
                }
                let mut topics = topics.clone();
                for topic in &mut topics {
                    topic.name = topic.name.replace("NN", &version.to_string()).into();
                }
                let request =
                    CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only, ..Default::default() };
                let word = if validate_only { "validated" } else { "made" };
                run.ask(&format!("{name}, {word}"), version, &request);
            }
        }
    }
    run.ask(
        "no time",
        7,
        &CreateTopicsRequest {
            topics: vec![topic("c-notime", 1, 1)],
            timeout_ms: 0,
            validate_only: true,
            ..Default::default()
        },
    );
}

fn partitions(run: &mut Run) {
    run.topic("cp-one", 2, &[]);
    let more = |name: &str, count: i32, assignments: Option<&[&[i32]]>| CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: assignments.map(|all| {
            all.iter()
                .map(|brokers| CreatePartitionsAssignment {
                    broker_ids: brokers.to_vec(),
                    ..Default::default()
                })
                .collect()
        }),
        ..Default::default()
    };
    let cases = [
        ("nothing", vec![]),
        ("one more", vec![more("cp-one", 3, None)]),
        ("as many", vec![more("cp-one", 2, None)]),
        ("fewer", vec![more("cp-one", 1, None)]),
        ("none", vec![more("cp-one", 0, None)]),
        ("below zero", vec![more("cp-one", -1, None)]),
        ("far too many", vec![more("cp-one", 2_000_000, None)]),
        ("10,001", vec![more("cp-one", 10_003, None)]),
        ("unknown", vec![more("cp-none", 3, None)]),
        ("no name", vec![more("", 3, None)]),
        ("twice", vec![more("cp-one", 3, None), more("cp-one", 4, None)]),
        ("assigned", vec![more("cp-one", 4, Some(&[&[1], &[1]]))]),
        ("assigned too few", vec![more("cp-one", 4, Some(&[&[1]]))]),
        ("assigned too many", vec![more("cp-one", 3, Some(&[&[1], &[1]]))]),
        ("assigned nothing", vec![more("cp-one", 3, Some(&[]))]),
        ("assigned to an unknown broker", vec![more("cp-one", 3, Some(&[&[9]]))]),
        ("assigned to nobody", vec![more("cp-one", 3, Some(&[&[]]))]),
        ("assigned twice to one", vec![more("cp-one", 3, Some(&[&[1, 1]]))]),
        ("assigned unevenly", vec![more("cp-one", 4, Some(&[&[1], &[1, 9]]))]),
        ("good and bad", vec![more("cp-one", 3, None), more("cp-none", 3, None)]),
    ];
    for (name, topics) in &cases {
        run.ask_in_some(
            name,
            &CreatePartitionsRequest {
                topics: topics.clone(),
                timeout_ms: 10_000,
                validate_only: true,
                ..Default::default()
            },
        );
    }
    for (name, topics) in &cases[1..4] {
        run.ask(
            &format!("{name}, done"),
            3,
            &CreatePartitionsRequest { topics: topics.clone(), timeout_ms: 10_000, ..Default::default() },
        );
    }
}

fn describe(run: &mut Run) {
    run.topic("t-a", 5, &[]);
    run.topic("t-b", 2, &[]);
    run.topic("t-c", 1, &[]);
    let request = |topics: &[&str], limit: i32, cursor: Option<(&str, i32)>| DescribeTopicPartitionsRequest {
        topics: topics
            .iter()
            .map(|name| TopicRequest { name: (*name).into(), ..Default::default() })
            .collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(name, index)| Cursor {
            topic_name: name.into(),
            partition_index: index,
            ..Default::default()
        }),
        ..Default::default()
    };
    let all: &[&str] = &["t-c", "t-a", "t-b"];
    let cases = [
        ("all of three", request(all, 2000, None)),
        ("limit 1", request(all, 1, None)),
        ("limit 4", request(all, 4, None)),
        ("limit 5", request(all, 5, None)),
        ("limit 6", request(all, 6, None)),
        ("limit 8", request(all, 8, None)),
        ("limit 0", request(all, 0, None)),
        ("limit below zero", request(all, -1, None)),
        ("limit huge", request(all, i32::MAX, None)),
        ("from a cursor", request(all, 3, Some(("t-a", 2)))),
        ("from the second topic", request(all, 3, Some(("t-b", 0)))),
        ("from beyond the topic", request(all, 3, Some(("t-a", 99)))),
        ("from below zero", request(all, 3, Some(("t-a", -1)))),
        ("from far below zero", request(all, 3, Some(("t-a", -9)))),
        ("from an unknown topic", request(all, 3, Some(("t-aa", 0)))),
        ("from after all", request(all, 3, Some(("zzz", 0)))),
        ("from no name", request(all, 3, Some(("", 0)))),
        ("from the last", request(all, 3, Some(("t-c", 0)))),
        ("unknown", request(&["t-none"], 10, None)),
        ("unknown among others", request(&["t-none", "t-a", "t-aa"], 3, None)),
        ("no name", request(&[""], 10, None)),
        ("bad names", request(&["a b", ".", "t-a"], 10, None)),
        ("twice", request(&["t-a", "t-a"], 10, None)),
        ("a cursor with no topics", request(&[], 2, Some(("t-a", 3)))),
    ];
    for (name, request) in &cases {
        run.ask(name, 0, request);
    }
    run.ask("everything", 0, &request(&[], 2000, None));
    run.ask("everything, limit 3", 0, &request(&[], 3, None));
}

fn log_dirs(run: &mut Run) {
    let request = |topics: &[(&str, &[i32])]| DescribeLogDirsRequest {
        topics: Some(
            topics
                .iter()
                .map(|(topic, partitions)| DescribableLogDirTopic {
                    topic: (*topic).into(),
                    partitions: partitions.to_vec(),
                    ..Default::default()
                })
                .collect(),
        ),
        ..Default::default()
    };
    run.ask_in_all("two", &request(&[("f-one", &[0, 1]), ("t-c", &[0])]));
    run.ask_in_all("unknown", &request(&[("none", &[0]), ("t-c", &[7, -1])]));
    run.ask_in_all("nothing", &request(&[]));
    run.ask_in_all("no partitions", &request(&[("t-c", &[])]));
    run.ask_in_all("twice", &request(&[("t-c", &[0]), ("t-c", &[0])]));
    run.ask_in_all("the metadata", &request(&[("__cluster_metadata", &[0])]));
    run.ask("all", 4, &DescribeLogDirsRequest { topics: None, ..Default::default() });
}

/// Paths, with the partitions of topics that are to lie there.
type Places<'a> = [(&'a str, &'a [(&'a str, &'a [i32])])];

/// What is refused. Where it is taken, there is nothing to see in one directory.
fn alter_log_dirs(run: &mut Run) {
    let request = |dirs: &Places<'_>| AlterReplicaLogDirsRequest {
        dirs: dirs
            .iter()
            .map(|(path, topics)| AlterReplicaLogDir {
                path: (*path).into(),
                topics: topics
                    .iter()
                    .map(|(topic, partitions)| AlterReplicaLogDirTopic {
                        name: (*topic).into(),
                        partitions: partitions.to_vec(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let here = run.target.folder().join("data").display().to_string();
    let long = "x".repeat(214);
    run.ask_in_all("where it lies", &request(&[(&here, &[("t-c", &[0])])]));
    run.ask_in_all("unknown", &request(&[(&here, &[("none", &[0])])]));
    run.ask_in_all("an unknown partition", &request(&[(&here, &[("t-c", &[7, -1])])]));
    run.ask_in_all("no name", &request(&[(&here, &[("", &[0])])]));
    run.ask_in_all("a bad name", &request(&[(&here, &[("a b", &[0])])]));
    run.ask_in_all("a long name", &request(&[(&here, &[(&long, &[0])])]));
    run.ask_in_all("nowhere", &request(&[("/nowhere", &[("t-c", &[0]), ("none", &[0])])]));
    run.ask_in_all("a long name nowhere", &request(&[("/nowhere", &[(&long, &[0])])]));
    run.ask_in_all("no path", &request(&[("", &[("t-c", &[0])])]));
    run.ask_in_all("a path that only means the same", &request(&[(&format!("{here}/"), &[("t-c", &[0])])]));
    run.ask_in_all(
        "here and nowhere",
        &request(&[(&here, &[("t-c", &[0])]), ("/nowhere", &[("t-c", &[0])])]),
    );
    run.ask_in_all(
        "nowhere and here",
        &request(&[("/nowhere", &[("t-c", &[0])]), (&here, &[("t-c", &[0])])]),
    );
    run.ask_in_all("nothing", &request(&[]));
    run.ask_in_all("no topics", &request(&[(&here, &[])]));
    run.ask_in_all("no partitions", &request(&[(&here, &[("t-c", &[])])]));
    run.ask_in_all("the metadata", &request(&[(&here, &[("__cluster_metadata", &[0])])]));
}

fn delete(run: &mut Run) {
    let unknown = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
    for version in all_versions(ApiKey::DeleteTopics) {
        let mut ids = Vec::new();
        for n in 0..4 {
            ids.push(run.topic(&format!("x-{version}-{n}"), 1, &[]));
        }
        let by = |id: Uuid, name: Option<&str>| DeleteTopicState {
            name: name.map(Text::from),
            topic_id: id,
            ..Default::default()
        };
        let mine = |n: i32| format!("x-{version}-{n}");
        let names: Vec<(&str, Vec<String>)> = vec![
            ("nothing", vec![]),
            ("unknown", vec!["x-none".into()]),
            ("no name", vec![String::new()]),
            ("a bad name", vec!["a b".into()]),
            ("twice", vec![mine(0), mine(0)]),
            ("good and bad", vec![mine(0), "x-none".into()]),
            ("again", vec![mine(0)]),
            ("internal", vec!["__consumer_offsets".into()]),
        ];
        for (name, list) in &names {
            let request = DeleteTopicsRequest {
                topic_names: list.iter().map(|n| n.as_str().into()).collect(),
                timeout_ms: 10_000,
                ..Default::default()
            };
            run.ask(name, version, &request);
        }
        if version < 6 {
            continue;
        }
        let states = vec![
            ("nothing", vec![]),
            ("unknown name", vec![by(Uuid::ZERO, Some("x-none"))]),
            ("unknown id", vec![by(unknown, None)]),
            ("neither", vec![by(Uuid::ZERO, None)]),
            ("both", vec![by(ids[1], Some(&mine(1)))]),
            ("both, of two", vec![by(ids[1], Some(&mine(2)))]),
            ("empty name", vec![by(Uuid::ZERO, Some(""))]),
            ("twice by name and id", vec![by(Uuid::ZERO, Some(&mine(1))), by(ids[1], None)]),
            ("twice by id", vec![by(ids[1], None), by(ids[1], None)]),
            ("twice, unknown", vec![by(unknown, None), by(unknown, None)]),
            ("by name", vec![by(Uuid::ZERO, Some(&mine(1)))]),
            ("by id", vec![by(ids[2], None)]),
            ("by id again", vec![by(ids[2], None)]),
            (
                "good and bad",
                vec![
                    by(ids[3], None),
                    by(unknown, None),
                    by(Uuid::ZERO, Some("x-none")),
                    by(Uuid::ZERO, None),
                ],
            ),
            ("the metadata's", vec![by(Uuid::METADATA_TOPIC, None)]),
        ];
        for (name, topics) in states {
            run.ask(
                &format!("states, {name}"),
                version,
                &DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() },
            );
        }
    }
}
