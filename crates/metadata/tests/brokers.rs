//! Brokers that come, go, stay silent, lose directories: what they are told, and what follows for partitions.

mod common;

use common::{Cluster, directory_of, registration};
use dohle_metadata::{Controller, Few, Image, LeaderRecovery, MetadataVersion, PartitionState, directory};
use dohle_types::{ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, TimestampMs, Uuid};
use dohle_wire::messages::*;
use dohle_wire::{AnyResponse, MetadataRecord};

const PROPERTIES: &str = "process.roles=broker,controller\nnode.id=0\nlisteners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
    controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:9093\nlog.dirs=/nowhere\n";

/// A cluster whose topics have no eligible leader replicas, with `brokers` brokers; gives their epochs.
fn plain(brokers: i32) -> (Cluster, Vec<i64>) {
    start(MetadataVersion::from_level(25).expect("4.0"), brokers)
}

fn start(version: MetadataVersion, brokers: i32) -> (Cluster, Vec<i64>) {
    let mut cluster = Cluster::at(version, PROPERTIES, |_| {});
    let epochs = (1..=brokers).map(|id| cluster.start_broker(id, id as u128, None)).collect();
    (cluster, epochs)
}

fn create(cluster: &mut Cluster, replicas: &[i32], configs: &[(&str, &str)]) {
    let assignment = create_topics_request::CreatableReplicaAssignment {
        broker_ids: replicas.to_vec(),
        ..Default::default()
    };
    let topic = create_topics_request::CreatableTopic {
        name: "t".into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![assignment],
        configs: configs
            .iter()
            .map(|(name, value)| create_topics_request::CreatableTopicConfig {
                name: (*name).into(),
                value: Some((*value).into()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let AnyResponse::CreateTopics(response) =
        cluster.ask(CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7)
    else {
        panic!("another answer")
    };
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
}

fn partition(cluster: &Cluster) -> PartitionState {
    let topic = cluster.image().topics.by_name("t").expect("created");
    topic.partitions.get(PartitionIndex(0)).expect("created").clone()
}

fn ids(ids: &[i32]) -> Few<NodeId> {
    ids.iter().map(|&id| NodeId(id)).collect()
}

#[test]
fn registrations_that_are_refused() {
    let (mut cluster, _) = plain(1);
    let mut code = |change: &dyn Fn(&mut BrokerRegistrationRequest)| {
        let mut request = registration(2, 22, None);
        change(&mut request);
        match cluster.ask(request, 4) {
            AnyResponse::BrokerRegistration(response) => {
                ErrorCode::from_code(response.error_code).expect("known")
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code(&|r| r.cluster_id = "another".into()), ErrorCode::InconsistentClusterId);
    assert_eq!(code(&|r| r.is_migrating_zk_broker = true), ErrorCode::BrokerIdNotRegistered);
    assert_eq!(code(&|r| r.log_dirs.clear()), ErrorCode::InvalidRegistration);
    assert_eq!(code(&|r| r.log_dirs = vec![directory::UNASSIGNED]), ErrorCode::InvalidRegistration);
    assert_eq!(code(&|r| r.log_dirs = vec![directory_of(2); 2]), ErrorCode::InvalidRegistration);
    assert_eq!(code(&|r| r.log_dirs = vec![directory_of(1)]), ErrorCode::InvalidRegistration);
    assert_eq!(code(&|r| r.features.clear()), ErrorCode::InvalidRegistration);
    assert_eq!(code(&|r| r.features.retain(|f| &*f.name != "group.version")), ErrorCode::UnsupportedVersion);
    assert_eq!(
        code(&|r| r.features.iter_mut().for_each(|f| f.max_supported_version = f.min_supported_version)),
        ErrorCode::UnsupportedVersion
    );
    assert_eq!(code(&|r| r.broker_id = 1), ErrorCode::DuplicateBrokerRegistration);
    assert_eq!(code(&|_| ()), ErrorCode::None);
}

#[test]
fn the_same_incarnation_keeps_its_epoch_and_its_state() {
    let (mut cluster, epochs) = plain(1);
    let again = cluster.register(1, 1, Some("rack"));
    assert_eq!((again.error_code, again.broker_epoch), (0, epochs[0]));
    let broker = cluster.image().brokers.get(NodeId(1)).expect("registered");
    assert!(!broker.fenced && broker.rack.as_deref() == Some("rack"));
}

#[test]
fn a_former_incarnation_is_not_heard() {
    let (mut cluster, epochs) = plain(1);
    assert_eq!(cluster.heartbeat(1, epochs[0] - 1, |_| {}).error_code, ErrorCode::StaleBrokerEpoch.code());
    assert_eq!(cluster.heartbeat(7, 0, |_| {}).error_code, ErrorCode::StaleBrokerEpoch.code());
}

#[test]
fn a_broker_is_unfenced_when_it_has_read_of_itself() {
    let (mut cluster, _) = plain(0);
    let epoch = cluster.register(1, 1, None).broker_epoch;
    let behind = cluster.heartbeat(1, epoch, |request| request.current_metadata_offset = epoch - 1);
    assert!(behind.is_fenced && !behind.is_caught_up);
    let unwilling = cluster.heartbeat(1, epoch, |request| request.want_fence = true);
    assert!(unwilling.is_fenced && unwilling.is_caught_up);
    assert!(!cluster.heartbeat(1, epoch, |_| {}).is_fenced);
}

#[test]
fn a_silent_broker_is_fenced_and_its_partitions_move() {
    let (mut cluster, epochs) = plain(2);
    create(&mut cluster, &[1, 2], &[]);
    cluster.now = TimestampMs(cluster.now.get() + 6000);
    cluster.heartbeat(2, epochs[1], |_| {});
    cluster.tick();
    assert_eq!(partition(&cluster).leader, NodeId(1));
    cluster.now = TimestampMs(cluster.now.get() + 3001);
    cluster.tick();
    assert!(cluster.image().brokers.get(NodeId(1)).expect("registered").fenced);
    let after = partition(&cluster);
    assert_eq!((after.leader, after.isr, after.leader_epoch.get()), (NodeId(2), ids(&[2]), 1));
}

#[test]
fn leadership_goes_back_to_the_preferred_replica() {
    let (mut cluster, epochs) = plain(2);
    create(&mut cluster, &[1, 2], &[]);
    cluster.heartbeat(1, epochs[0], |request| request.want_fence = true);
    cluster.heartbeat(1, epochs[0], |_| {});
    assert_eq!(partition(&cluster).leader, NodeId(2));
    let state = partition(&cluster);
    let topic_id = cluster.image().topics.by_name("t").expect("created").id;
    let member = |id: usize| alter_partition_request::BrokerState {
        broker_id: id as i32,
        broker_epoch: epochs[id - 1],
        ..Default::default()
    };
    let data = alter_partition_request::PartitionData {
        leader_epoch: state.leader_epoch.get(),
        partition_epoch: state.partition_epoch,
        new_isr_with_epochs: vec![member(2), member(1)],
        ..Default::default()
    };
    let topics =
        vec![alter_partition_request::TopicData { topic_id, partitions: vec![data], ..Default::default() }];
    cluster.ask(
        AlterPartitionRequest { broker_id: 2, broker_epoch: epochs[1], topics, ..Default::default() },
        3,
    );
    assert_eq!(partition(&cluster).isr, ids(&[2, 1]));
    for _ in 0..40 {
        cluster.now = TimestampMs(cluster.now.get() + 8000);
        cluster.heartbeat(1, epochs[0], |_| {});
        cluster.heartbeat(2, epochs[1], |_| {});
        cluster.tick();
    }
    assert_eq!(partition(&cluster).leader, NodeId(1));
}

#[test]
fn a_replica_of_a_former_incarnation_cannot_join_the_isr() {
    let (mut cluster, epochs) = plain(2);
    create(&mut cluster, &[1, 2], &[]);
    let state = partition(&cluster);
    let topic_id = cluster.image().topics.by_name("t").expect("created").id;
    let mut propose = |second: i64, leader_epoch: i32, partition_epoch: i32| {
        let member = |id, epoch| alter_partition_request::BrokerState {
            broker_id: id,
            broker_epoch: epoch,
            ..Default::default()
        };
        let data = alter_partition_request::PartitionData {
            leader_epoch,
            partition_epoch,
            new_isr_with_epochs: vec![member(1, epochs[0]), member(2, second)],
            ..Default::default()
        };
        let topic =
            alter_partition_request::TopicData { topic_id, partitions: vec![data], ..Default::default() };
        let request = AlterPartitionRequest {
            broker_id: 1,
            broker_epoch: epochs[0],
            topics: vec![topic],
            ..Default::default()
        };
        match cluster.ask(request, 3) {
            AnyResponse::AlterPartition(response) => response.topics[0].partitions[0].error_code,
            other => panic!("{other:?}"),
        }
    };
    let (leader_epoch, partition_epoch) = (state.leader_epoch.get(), state.partition_epoch);
    assert_eq!(propose(epochs[1] - 1, leader_epoch, partition_epoch), ErrorCode::IneligibleReplica.code());
    assert_eq!(propose(epochs[1], leader_epoch + 1, partition_epoch), ErrorCode::NotController.code());
    assert_eq!(propose(epochs[1], leader_epoch - 1, partition_epoch), ErrorCode::FencedLeaderEpoch.code());
    assert_eq!(propose(epochs[1], leader_epoch, partition_epoch - 1), ErrorCode::InvalidUpdateVersion.code());
    assert_eq!(propose(epochs[1], leader_epoch, partition_epoch), ErrorCode::None.code());
}

#[test]
fn a_broker_that_stops_gives_its_leaderships_away_first() {
    let (mut cluster, epochs) = plain(2);
    create(&mut cluster, &[1, 2], &[]);
    let stopping = cluster.heartbeat(1, epochs[0], |request| request.want_shut_down = true);
    assert!(!stopping.should_shut_down && !stopping.is_fenced);
    assert_eq!((partition(&cluster).leader, partition(&cluster).isr), (NodeId(2), ids(&[2])));
    // The other broker has not read that it leads now.
    let waiting = cluster.heartbeat(1, epochs[0], |request| request.want_shut_down = true);
    assert!(!waiting.should_shut_down);
    cluster.heartbeat(2, epochs[1], |_| {});
    let done = cluster.heartbeat(1, epochs[0], |request| request.want_shut_down = true);
    assert!(done.should_shut_down && done.is_fenced);
}

#[test]
fn a_lone_broker_may_stop_although_nobody_can_take_over() {
    let (mut cluster, epochs) = plain(1);
    create(&mut cluster, &[1], &[]);
    cluster.heartbeat(1, epochs[0], |request| request.want_shut_down = true);
    let done = cluster.heartbeat(1, epochs[0], |request| request.want_shut_down = true);
    assert!(done.should_shut_down);
    assert_eq!((partition(&cluster).leader, partition(&cluster).isr), (NodeId::NONE, ids(&[1])));
    let epoch = cluster.start_broker(1, 100, None);
    assert!(epoch > epochs[0]);
    assert_eq!(
        (partition(&cluster).leader, partition(&cluster).leader_recovery),
        (NodeId(1), LeaderRecovery::Recovered)
    );
}

#[test]
fn a_directory_that_fails_takes_its_leaderships_with_it() {
    let (mut cluster, epochs) = plain(2);
    create(&mut cluster, &[1, 2], &[]);
    cluster.heartbeat(1, epochs[0], |request| request.offline_log_dirs = vec![directory_of(1)]);
    assert_eq!((partition(&cluster).leader, partition(&cluster).isr), (NodeId(2), ids(&[2])));
}

#[test]
fn a_directory_that_comes_back_is_led_again_under_the_same_epoch() {
    for version in [MetadataVersion::from_level(25).expect("4.0"), MetadataVersion::LATEST_PRODUCTION] {
        let (mut cluster, epochs) = start(version, 1);
        create(&mut cluster, &[1], &[]);
        let lost = partition(&cluster).directory_of(NodeId(1)).expect("its only directory");
        let other = Uuid::from_u128(2_000_000);
        let register = |cluster: &mut Cluster, log_dirs| match cluster
            .ask(BrokerRegistrationRequest { log_dirs, ..registration(1, 1, None) }, 4)
        {
            AnyResponse::BrokerRegistration(response) => {
                assert_eq!((response.error_code, response.broker_epoch), (0, epochs[0]));
            }
            answer => panic!("{answer:?}"),
        };
        register(&mut cluster, vec![lost, other]);
        cluster.heartbeat(1, epochs[0], |request| {
            request.offline_log_dirs = vec![lost];
            request.cordoned_log_dirs = Some(vec![other]);
        });
        let before = partition(&cluster);
        // Where replicas are remembered that left the ISR, it is one of those.
        assert!(
            before.leader == NodeId::NONE && [&before.isr, &before.elr].contains(&&ids(&[1])),
            "{before:?}"
        );
        // Another directory than the one that was lost says nothing of it.
        register(&mut cluster, vec![other]);
        assert_eq!(partition(&cluster).leader, NodeId::NONE);
        let records = cluster.log.len();
        register(&mut cluster, vec![lost, other]);
        let after = partition(&cluster);
        assert_eq!(after.isr, ids(&[1]));
        assert_eq!(
            (after.leader, after.leader_epoch),
            (NodeId(1), LeaderEpoch(before.leader_epoch.get() + 1))
        );
        assert_eq!(after.leader_recovery, LeaderRecovery::Recovered);
        let broker = cluster.image().brokers.get(NodeId(1)).expect("registered");
        assert!(!broker.fenced && broker.log_dirs.len() == 2);
        let cordons = version.cordoned_log_dirs_supported();
        assert_eq!(broker.cordoned_log_dirs, cordons.then(|| vec![other]));
        assert_eq!(cluster.log.len() - records, 2, "a registration and a leader");
    }
}

#[test]
fn directories_that_are_assigned_are_remembered() {
    let (mut cluster, epochs) = plain(1);
    create(&mut cluster, &[1], &[]);
    let topic_id = cluster.image().topics.by_name("t").expect("created").id;
    let mut assign = |epoch, id, partition_index| {
        use assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
        let partitions = vec![PartitionData { partition_index, ..Default::default() }];
        let topics = vec![TopicData { topic_id, partitions, ..Default::default() }];
        let directories = vec![DirectoryData { id, topics, ..Default::default() }];
        let request = AssignReplicasToDirsRequest {
            broker_id: 1,
            broker_epoch: epoch,
            directories,
            ..Default::default()
        };
        match cluster.ask(request, 0) {
            AnyResponse::AssignReplicasToDirs(response) => match &response.directories[..] {
                [] => response.error_code,
                [directory, ..] => directory.topics[0].partitions[0].error_code,
            },
            other => panic!("{other:?}"),
        }
    };
    let elsewhere = Uuid::from_u128(777_777);
    assert_eq!(assign(epochs[0] + 1, directory_of(1), 0), ErrorCode::StaleBrokerEpoch.code());
    assert_eq!(assign(epochs[0], directory_of(1), 9), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(assign(epochs[0], elsewhere, 0), ErrorCode::None.code());
    // A directory that the broker did not register is one that failed.
    let after = partition(&cluster);
    assert_eq!((after.leader, &*after.directories), (NodeId::NONE, &[elsewhere][..]));
}

#[test]
fn eligible_replicas_survive_a_clean_stop_and_not_a_crash() {
    for (clean, eligible) in [(true, true), (false, false)] {
        let (mut cluster, epochs) = start(MetadataVersion::LATEST_PRODUCTION, 2);
        create(&mut cluster, &[1, 2], &[("min.insync.replicas", "2")]);
        cluster.heartbeat(2, epochs[1], |request| request.want_fence = true);
        assert_eq!((partition(&cluster).isr, partition(&cluster).elr), (ids(&[1]), ids(&[2])));
        cluster.now = TimestampMs(cluster.now.get() + 20_000);
        cluster.heartbeat(1, epochs[0], |_| {});
        let mut again = registration(2, 200, None);
        again.previous_broker_epoch = if clean { epochs[1] } else { -1 };
        cluster.ask(again, 4);
        assert_eq!(partition(&cluster).elr, if eligible { ids(&[2]) } else { ids(&[]) });
    }
}

#[test]
fn a_changed_min_isr_ends_eligibility() {
    let (mut cluster, epochs) = start(MetadataVersion::LATEST_PRODUCTION, 2);
    create(&mut cluster, &[1, 2], &[("min.insync.replicas", "2")]);
    cluster.heartbeat(2, epochs[1], |request| request.want_fence = true);
    assert_eq!(partition(&cluster).elr, ids(&[2]));
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config =
        AlterableConfig { name: "min.insync.replicas".into(), value: Some("1".into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configs: vec![config],
        ..Default::default()
    };
    cluster.ask(IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() }, 1);
    assert_eq!(partition(&cluster).elr, ids(&[]));
}

#[test]
fn an_unclean_election_happens_where_it_is_allowed() {
    let (mut cluster, epochs) = plain(2);
    create(&mut cluster, &[1, 2], &[("unclean.leader.election.enable", "true")]);
    cluster.heartbeat(2, epochs[1], |request| request.want_fence = true);
    cluster.heartbeat(1, epochs[0], |request| request.want_fence = true);
    assert_eq!((partition(&cluster).leader, partition(&cluster).isr), (NodeId::NONE, ids(&[1])));
    cluster.heartbeat(2, epochs[1], |_| {});
    let after = partition(&cluster);
    assert_eq!(
        (after.leader, after.isr, after.leader_recovery),
        (NodeId(2), ids(&[2]), LeaderRecovery::Recovering)
    );
}

#[test]
fn producer_ids_come_in_blocks() {
    let (mut cluster, epochs) = plain(1);
    for expected in [0, 1000, 2000] {
        let request =
            AllocateProducerIdsRequest { broker_id: 1, broker_epoch: epochs[0], ..Default::default() };
        let AnyResponse::AllocateProducerIds(response) = cluster.ask(request, 0) else {
            panic!("another answer")
        };
        assert_eq!((response.producer_id_start, response.producer_id_len), (expected, 1000));
    }
    let stale = AllocateProducerIdsRequest { broker_id: 1, broker_epoch: 0, ..Default::default() };
    let AnyResponse::AllocateProducerIds(response) = cluster.ask(stale, 0) else { panic!("another answer") };
    assert_eq!(response.error_code, ErrorCode::StaleBrokerEpoch.code());
}

#[test]
fn a_node_that_restarts_registers_at_once_where_another_has_to_wait() {
    let (mut cluster, _) = plain(0);
    cluster.start_broker(0, 1, None);
    cluster.start_broker(1, 2, None);
    cluster.controller.activate(cluster.now);
    let image = cluster.image().clone();
    cluster.now = TimestampMs(cluster.now.get() + 9001);
    cluster.tick();
    assert!(cluster.image().brokers.iter().all(|broker| broker.fenced), "who does not come back is fenced");

    cluster.controller.reset_to(image);
    cluster.controller.activate(cluster.now);
    assert_eq!(cluster.register(0, 10, None).error_code, 0);
    assert_eq!(cluster.register(1, 20, None).error_code, ErrorCode::DuplicateBrokerRegistration.code());
}

#[test]
fn what_was_not_committed_can_be_taken_back() {
    let (mut cluster, _) = plain(1);
    let before = cluster.image().clone();
    create(&mut cluster, &[1], &[]);
    assert_ne!(cluster.image(), &before);
    cluster.controller.reset_to(before.clone());
    assert_eq!(cluster.image(), &before);
}

#[test]
fn a_bootstrap_that_was_cut_short_begins_again() {
    let cluster = Cluster::at(MetadataVersion::LATEST_PRODUCTION, PROPERTIES, |_| {});
    let mut controller = Controller::new(cluster.controller.settings().clone());
    for ((record, _), offset) in cluster.log.iter().take(3).zip(0..) {
        controller.replay(record, Offset(offset)).expect("in order");
    }
    assert!(controller.image().in_transaction() && controller.image().stable() == &Image::default());
    let records =
        controller.activation_records(&dohle_metadata::format_records(MetadataVersion::LATEST_PRODUCTION));
    assert!(matches!(records[0].0, MetadataRecord::AbortTransaction(_)));
    for ((record, _), offset) in records.iter().zip(3..) {
        controller.replay(record, Offset(offset)).expect("in order");
    }
    assert!(!controller.image().in_transaction());
    assert_eq!(controller.image().features, cluster.image().features);
    assert!(controller.activation_records(&[]).is_empty());
}

#[test]
fn records_that_do_not_fit_are_refused_and_change_nothing() {
    let (cluster, epochs) = plain(1);
    let mut image = cluster.image().clone();
    let before = image.clone();
    let records: Vec<MetadataRecord> = vec![
        TopicRecord { name: "a".into(), topic_id: Uuid::from_u128(500), ..Default::default() }.into(),
        PartitionRecord { topic_id: Uuid::from_u128(9999), ..Default::default() }.into(),
        PartitionChangeRecord { topic_id: Uuid::from_u128(500), partition_id: 3, ..Default::default() }
            .into(),
        RemoveTopicRecord { topic_id: Uuid::from_u128(9999), ..Default::default() }.into(),
        ClearElrRecord { topic_name: "nowhere".into(), ..Default::default() }.into(),
        UnregisterBrokerRecord { broker_id: 1, broker_epoch: epochs[0] + 1, ..Default::default() }.into(),
        FenceBrokerRecord { id: 8, epoch: 1, ..Default::default() }.into(),
        BrokerRegistrationChangeRecord {
            broker_id: 1,
            broker_epoch: epochs[0],
            fenced: 5,
            ..Default::default()
        }
        .into(),
        FeatureLevelRecord { name: "metadata.version".into(), feature_level: 99, ..Default::default() }
            .into(),
        FeatureLevelRecord { name: "group.version".into(), feature_level: 99, ..Default::default() }.into(),
        EndTransactionRecord::default().into(),
        AbortTransactionRecord::default().into(),
    ];
    let next = before.offset.next();
    for record in &records[1..] {
        let refused = image.replay(record, next).expect_err("it does not fit");
        assert_eq!(refused.offset, next);
        assert_eq!(image, before, "{record:?}");
    }
    image.replay(&records[0], next).expect("a new topic");
    image.replay(&records[0], next.next()).expect_err("the same topic again");
}
