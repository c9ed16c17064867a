//! One node on a real disk: it starts by itself, changes, stops, and is what it was when it starts again.

#![allow(clippy::disallowed_methods)]

mod common;

use std::time::Instant;

use common::{Home, NODE, ask, create_topic, endpoint, set_config, start_broker};
use dohle_controller::format::{FormatRequest, InitialVoters, format};
use dohle_env::thread::block_on;
use dohle_log::dirs::LogDir;
use dohle_metadata::features::Levels;
use dohle_metadata::{MetadataVersion, ResourceType};
use dohle_types::{ErrorCode, Offset, Uuid};
use dohle_wire::messages::describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData};
use dohle_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use dohle_wire::messages::{
    AddRaftVoterRequest, RemoveRaftVoterRequest, UpdateRaftVoterRequest, VoteRequest,
};
use dohle_wire::messages::{add_raft_voter_request, update_raft_voter_request, vote_request};
use dohle_wire::{AnyResponse, Text};

#[test]
fn an_empty_folder_becomes_a_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::real(&folder.path().join("data"));
    block_on(async {
        let begun = Instant::now();
        let controller = home.start().await.expect("started");
        println!("first start: {:?}", begun.elapsed());
        let status = controller.status();
        assert!(status.active);
        assert_eq!((status.leader, status.epoch.get()), (Some(NODE), 1));
        let image = controller.image();
        assert_eq!(image.features.metadata_version(), Some(MetadataVersion::LATEST_PRODUCTION));
        assert_eq!(image.features.level("transaction.version"), 2);
        assert!(image.controllers.contains_key(&NODE));
        let begun = Instant::now();
        set_config(&controller, "log.retention.ms", "1234").await.expect("acknowledged");
        println!("one change: {:?}", begun.elapsed());
        controller.shutdown().await;
        for name in ["meta.properties", "bootstrap.checkpoint", "__cluster_metadata-0/quorum-state"] {
            assert!(home.dir.join(name).is_file(), "{name}");
        }
    });
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::real(folder.path());
    block_on(async {
        let formatted = home.format().expect("formatted");
        let controller = home.start().await.expect("started");
        start_broker(&controller, &formatted.cluster_id, formatted.directory_id).await;
        let created = create_topic(&controller, "alpha", 3).await;
        assert_eq!(created.topics[0].error_code, 0, "{:?}", created.topics[0].error_message);
        let again = create_topic(&controller, "alpha", 3).await;
        assert_eq!(again.topics[0].error_code, ErrorCode::TopicAlreadyExists.code());
        set_config(&controller, "log.retention.ms", "77").await.expect("acknowledged");
        let before = controller.image();
        controller.shutdown().await;

        let controller = home.start().await.expect("started again");
        let after = controller.image();
        assert_eq!(controller.status().epoch.get(), 2);
        assert_eq!(before.topics, after.topics);
        assert_eq!(before.configs, after.configs);
        assert_eq!(before.features, after.features);
        assert_eq!(before.brokers, after.brokers);
        let topic = after.topics.by_name("alpha").expect("it was created");
        assert_eq!(topic.partitions.iter().count(), 3);
        controller.shutdown().await;
    });
}

#[test]
fn requests_that_come_together_share_a_flush_and_see_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::real(folder.path());
    block_on(async {
        let formatted = home.format().expect("formatted");
        let controller = home.start().await.expect("started");
        start_broker(&controller, &formatted.cluster_id, formatted.directory_id).await;
        let begun = Instant::now();
        let mut asked = Vec::new();
        for i in 0..200 {
            let controller = controller.clone();
            // Every name is asked for twice: exactly one of the two gets it.
            let name = format!("topic-{}", i / 2);
            asked.push(dohle_env::task::spawn(async move { create_topic(&controller, &name, 1).await }));
        }
        let mut codes = Vec::new();
        for answer in asked {
            codes.push(answer.await.expect("answered").topics[0].error_code);
        }
        println!("200 creations: {:?}", begun.elapsed());
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 100);
        let exists = ErrorCode::TopicAlreadyExists.code();
        assert_eq!(codes.iter().filter(|code| **code == exists).count(), 100);
        assert_eq!(controller.image().topics.iter().count(), 100);
        controller.shutdown().await;
    });
}

#[test]
fn snapshots_are_taken_and_started_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut home = Home::real(folder.path());
    home.properties = "metadata.log.max.record.bytes.between.snapshots=4000\n".to_owned();
    let snapshots = |home: &Home| {
        let entries = std::fs::read_dir(home.dir.join("__cluster_metadata-0")).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".checkpoint")).collect();
        names.sort();
        names
    };
    block_on(async {
        let controller = home.start().await.expect("started");
        let bootstrap = snapshots(&home);
        assert_eq!(bootstrap, ["00000000000000000000-0000000000.checkpoint"]);
        for i in 0..100 {
            set_config(&controller, "log.retention.ms", &i.to_string()).await.expect("acknowledged");
        }
        let mut taken = bootstrap;
        for _ in 0..100 {
            taken = snapshots(&home);
            if taken.iter().any(|name| !name.starts_with("00000000000000000000-")) {
                break;
            }
            dohle_env::task::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(taken.iter().any(|name| !name.starts_with("00000000000000000000-")), "{taken:?}");
        let before = controller.image();
        controller.shutdown().await;
        let controller = home.start().await.expect("started from the snapshot");
        let after = controller.image();
        assert_eq!((&before.configs, &before.features), (&after.configs, &after.features));
        controller.shutdown().await;

        // A snapshot that is damaged is left aside: the log and an older one still say everything.
        let newest = snapshots(&home).pop().expect("there is one");
        let path = home.dir.join("__cluster_metadata-0").join(newest);
        let mut bytes = std::fs::read(&path).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("writable");
        let controller = home.start().await;
        match controller {
            Ok(controller) => {
                assert_eq!(before.configs, controller.image().configs);
                controller.shutdown().await;
            }
            Err(error) => assert!(error.contains("no snapshot"), "{error}"),
        }
    });
}

#[test]
fn the_quorum_answers_for_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::real(folder.path());
    block_on(async {
        let formatted = home.format().expect("formatted");
        let controller = home.start().await.expect("started");
        let topic: Text = "__cluster_metadata".into();

        let partitions = vec![PartitionData::default()];
        let topics = vec![TopicData { topic_name: topic.clone(), partitions, ..Default::default() }];
        let request = DescribeQuorumRequest { topics, ..Default::default() };
        for version in [0, 1] {
            ask(&controller, version, request.clone()).await.expect("answered");
        }
        let described = ask(&controller, 2, request).await;
        let Ok(AnyResponse::DescribeQuorum(described)) = described else { panic!("{described:?}") };
        let partition = &described.topics[0].partitions[0];
        assert_eq!((partition.leader_id, partition.leader_epoch), (1, 1));
        assert_eq!(partition.high_watermark, controller.status().end.get());
        assert_eq!(partition.current_voters[0].replica_directory_id, formatted.directory_id);
        assert_eq!(described.nodes[0].listeners[0].port, 9093);

        let partition = vote_request::PartitionData {
            replica_epoch: 1,
            replica_id: 2,
            last_offset_epoch: 0,
            ..Default::default()
        };
        let topics = vec![vote_request::TopicData {
            topic_name: topic,
            partitions: vec![partition],
            ..Default::default()
        }];
        let request =
            VoteRequest { cluster_id: Some("other".into()), topics: topics.clone(), ..Default::default() };
        let Ok(AnyResponse::Vote(refused)) = ask(&controller, 2, request).await else { panic!("no vote") };
        assert_eq!(refused.error_code, ErrorCode::InconsistentClusterId.code());
        let request = VoteRequest { topics, ..Default::default() };
        ask(&controller, 0, request.clone()).await.expect("answered");
        let Ok(AnyResponse::Vote(denied)) = ask(&controller, 2, request).await else { panic!("no vote") };
        let answer = &denied.topics[0].partitions[0];
        assert_eq!((answer.error_code, answer.vote_granted, answer.leader_id), (0, false, 1));

        let add = AddRaftVoterRequest {
            cluster_id: None,
            voter_id: 1,
            voter_directory_id: Uuid::from_u128(4711),
            listeners: vec![add_raft_voter_request::Listener {
                name: "CONTROLLER".into(),
                host: "localhost".into(),
                port: 9094,
                ..Default::default()
            }],
            ..Default::default()
        };
        let Ok(AnyResponse::AddRaftVoter(twice)) = ask(&controller, 1, add.clone()).await else {
            panic!("no answer")
        };
        assert_eq!(twice.error_code, ErrorCode::DuplicateVoter.code(), "{:?}", twice.error_message);
        let add = AddRaftVoterRequest { voter_id: 2, ..add };
        let Ok(AnyResponse::AddRaftVoter(unreached)) = ask(&controller, 1, add).await else {
            panic!("no answer")
        };
        assert_eq!(unreached.error_code, ErrorCode::RequestTimedOut.code(), "{:?}", unreached.error_message);

        let remove = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: 1,
            voter_directory_id: formatted.directory_id,
            ..Default::default()
        };
        let Ok(AnyResponse::RemoveRaftVoter(last)) = ask(&controller, 0, remove).await else {
            panic!("no answer")
        };
        assert_eq!(last.error_code, ErrorCode::VoterNotFound.code(), "{:?}", last.error_message);

        let update = UpdateRaftVoterRequest {
            cluster_id: None,
            current_leader_epoch: 1,
            voter_id: 1,
            voter_directory_id: formatted.directory_id,
            listeners: vec![update_raft_voter_request::Listener {
                name: endpoint().name.into(),
                host: "elsewhere".into(),
                port: 9093,
                ..Default::default()
            }],
            kraft_version_feature: update_raft_voter_request::KRaftVersionFeature {
                min_supported_version: 0,
                max_supported_version: 1,
                ..Default::default()
            },
            ..Default::default()
        };
        let Ok(AnyResponse::UpdateRaftVoter(updated)) = ask(&controller, 0, update).await else {
            panic!("no answer")
        };
        assert_eq!((updated.error_code, updated.current_leader.leader_id), (0, 1));
        // The quorum's own records take offsets: what is decided next comes after them.
        set_config(&controller, "log.retention.ms", "5").await.expect("acknowledged");
        controller.shutdown().await;
        home.start().await.expect("started again").shutdown().await;
    });
}

#[test]
fn an_observer_can_fetch_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::real(folder.path());
    block_on(async {
        let controller = home.start().await.expect("started");
        let fetch = |offset: Offset, epoch: i32, wait: i32| FetchRequest {
            replica_state: ReplicaState { replica_id: 7, ..Default::default() },
            max_wait_ms: wait,
            max_bytes: 1 << 20,
            topics: vec![FetchTopic {
                topic_id: Uuid::METADATA_TOPIC,
                partitions: vec![FetchPartition {
                    current_leader_epoch: 1,
                    fetch_offset: offset.get(),
                    last_fetched_epoch: epoch,
                    replica_directory_id: Uuid::from_u128(99_999),
                    high_watermark: i64::MAX,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let Ok(AnyResponse::Fetch(first)) = ask(&controller, 17, fetch(Offset(0), 0, 0)).await else {
            panic!()
        };
        let partition = &first.responses[0].partitions[0];
        let end = controller.status().end;
        assert_eq!((partition.error_code, partition.high_watermark), (0, end.get()));
        assert!(partition.records.as_ref().is_some_and(|records| records.len() > 100));

        ask(&controller, 12, fetch_by_name(end)).await.expect("answered");
        let Ok(AnyResponse::Fetch(forked)) = ask(&controller, 17, fetch(end.plus(5), 1, 0)).await else {
            panic!()
        };
        let partition = &forked.responses[0].partitions[0];
        assert_eq!((partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset), (1, end.get()));

        // A fetch at the end waits for the next change.
        let waiting = controller.clone();
        let request = fetch(end, 1, 10_000);
        let parked = dohle_env::task::spawn(async move { ask(&waiting, 17, request).await });
        dohle_env::task::sleep(std::time::Duration::from_millis(30)).await;
        set_config(&controller, "log.retention.ms", "5").await.expect("acknowledged");
        let Ok(AnyResponse::Fetch(woken)) = parked.await.expect("answered") else { panic!() };
        let records = woken.responses[0].partitions[0].records.clone();
        assert!(records.is_some_and(|records| !records.is_empty()));

        // Somebody follows: the idle leader shows that it is there.
        let quiet = controller.status().end;
        dohle_env::task::sleep(std::time::Duration::from_millis(1200)).await;
        assert!(controller.status().end > quiet, "no NoOpRecord was appended");
        controller.shutdown().await;
    });
}

/// As brokers before 3.1 fetch.
fn fetch_by_name(offset: Offset) -> FetchRequest {
    let partition = FetchPartition {
        current_leader_epoch: 1,
        fetch_offset: offset.get(),
        last_fetched_epoch: 1,
        high_watermark: i64::MAX,
        ..Default::default()
    };
    let topic =
        FetchTopic { topic: "__cluster_metadata".into(), partitions: vec![partition], ..Default::default() };
    FetchRequest { replica_id: 8, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() }
}

#[test]
fn folders_are_formatted_by_kafkas_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::real(folder.path());
    let mut dirs = [LogDir::open(&home.env.disk, &home.dir).expect("a folder")];
    let bad = |request: FormatRequest, dirs: &mut [LogDir; 1]| {
        format(&home.env, &request, dirs, &home.dir).expect_err("refused").to_string()
    };
    let with = |name: &str, level: i16| {
        let mut request = home.request();
        request.features.insert(name.to_owned(), level);
        request
    };
    assert!(bad(with("no.such.feature", 1), &mut dirs).contains("unsupported feature"));
    assert!(bad(with("group.version", 9), &mut dirs).contains("no level 9"));
    assert!(bad(with("kraft.version", 0), &mut dirs).contains("kraft.version"));
    assert!(bad(with("metadata.version", 31), &mut dirs).contains("not yet stable"));
    let old = FormatRequest { release_version: MetadataVersion::from_level(21), ..with("share.version", 0) };
    let formatted = format(&home.env, &old, &mut dirs, &home.dir).expect("formatted");
    assert_eq!(formatted.new, std::slice::from_ref(&home.dir));
    let twice = FormatRequest { ignore_formatted: false, ..home.request() };
    assert!(bad(twice, &mut dirs).contains("already formatted"));
    let other = FormatRequest { cluster_id: Some("another".to_owned()), ..home.request() };
    assert!(bad(other, &mut dirs).contains("belongs to cluster"));
    let joining = FormatRequest { voters: InitialVoters::Join, ..home.request() };
    let found = format(&home.env, &joining, &mut dirs, &home.dir).expect("nothing to do");
    assert_eq!((found.cluster_id, found.new.len()), (formatted.cluster_id, 0));
    drop(dirs);
    block_on(async {
        let controller = home.start().await.expect("started");
        let image = controller.image();
        assert_eq!(image.features.metadata_version().map(MetadataVersion::name), Some("3.9-IV0"));
        assert_eq!(image.features.level("group.version"), 0);
        assert!(image.configs.get(ResourceType::BROKER, "").is_empty());
        controller.shutdown().await;
    });
}

#[test]
fn a_level_for_tests_is_only_for_those_who_ask_for_unstable_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut home = Home::real(folder.path());
    home.properties = "unstable.feature.versions.enable=true\n".to_owned();
    let mut dirs = [LogDir::open(&home.env.disk, &home.dir).expect("a folder")];
    let of = |levels| FormatRequest {
        release_version: Some(MetadataVersion::LATEST_TESTING),
        levels,
        ..home.request()
    };
    let refused = format(&home.env, &of(Levels::Production), &mut dirs, &home.dir).expect_err("refused");
    assert_eq!(refused.to_string(), "metadata.version 4.4-IV0 is not yet stable");
    format(&home.env, &of(Levels::of(&home.config())), &mut dirs, &home.dir).expect("formatted");
    drop(dirs);
    block_on(async {
        let controller = home.start().await.expect("started");
        assert_eq!(controller.image().features.metadata_version(), Some(MetadataVersion::LATEST_TESTING));
        controller.shutdown().await;
    });
}
