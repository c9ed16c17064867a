//! Metadata, DescribeCluster, DescribeQuorum, features, producer ids and telemetry.

use dohle_tests_protocol::connection::some_versions;
use dohle_tests_protocol::run::Run;
use dohle_types::Uuid;
use dohle_wire::messages::{
    allocate_producer_ids_request::AllocateProducerIdsRequest,
    describe_cluster_request::DescribeClusterRequest,
    describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData},
    get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest,
    init_producer_id_request::InitProducerIdRequest,
    metadata_request::{MetadataRequest, MetadataRequestTopic},
    push_telemetry_request::PushTelemetryRequest,
    unregister_broker_request::UnregisterBrokerRequest,
    update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest},
};
use dohle_wire::{ApiKey, Text};

pub fn script(run: &mut Run) {
    metadata(run);
    run.end("metadata");
    describe_cluster(run);
    run.end("describe_cluster");
    quorum(run);
    run.end("describe_quorum");
    features(run);
    run.end("update_features");
    producer_ids(run);
    run.end("producer_ids");
    telemetry(run);
    run.end("telemetry");
}

fn named(names: &[&str]) -> Option<Vec<MetadataRequestTopic>> {
    Some(
        names
            .iter()
            .map(|name| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() })
            .collect(),
    )
}

fn metadata(run: &mut Run) {
    run.ask_in_all("nothing is there, all", &MetadataRequest { topics: None, ..Default::default() });
    run.ask_in_all(
        "nothing is there, an empty list",
        &MetadataRequest { topics: Some(vec![]), ..Default::default() },
    );
    let one = run.topic("m-one", 1, &[]);
    run.topic("m-three", 3, &[]);
    let quiet = |topics| MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    run.ask_in_all("all", &quiet(None));
    run.ask_in_all("an empty list", &quiet(Some(vec![])));
    run.ask_in_all("by name", &quiet(named(&["m-one", "m-three"])));
    run.ask_in_all("unknown", &quiet(named(&["m-none"])));
    run.ask_in_all(
        "bad names",
        &quiet(named(&["", ".", "..", "a b", "ä", &"x".repeat(249), &"x".repeat(250)])),
    );
    run.ask_in_all("twice", &quiet(named(&["m-one", "m-one"])));
    run.ask_in_all(
        "internal",
        &quiet(named(&[
            "__consumer_offsets",
            "__transaction_state",
            "__share_group_state",
            "__cluster_metadata",
        ])),
    );
    for operations in [(true, false), (false, true), (true, true)] {
        let request = MetadataRequest {
            include_cluster_authorized_operations: operations.0,
            include_topic_authorized_operations: operations.1,
            ..quiet(named(&["m-one", "m-none"]))
        };
        run.ask_in_all(&format!("operations {operations:?}"), &request);
    }
    for version in [10, 11, 12, 13] {
        let by_id = |topic_id, name: Option<&str>| MetadataRequestTopic {
            topic_id,
            name: name.map(Text::from),
            ..Default::default()
        };
        let unknown = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        run.names.id(unknown, "unknown");
        let cases = [
            ("by id", vec![by_id(one, None)]),
            ("by unknown id", vec![by_id(unknown, None)]),
            ("by both", vec![by_id(one, Some("m-three"))]),
            ("by an unknown id and a name", vec![by_id(unknown, Some("m-one"))]),
            ("by neither", vec![by_id(Uuid::ZERO, None)]),
            ("by id twice", vec![by_id(one, None), by_id(one, None)]),
            ("one by id, one by name", vec![by_id(one, None), by_id(Uuid::ZERO, Some("m-three"))]),
            ("the id of the metadata", vec![by_id(Uuid::METADATA_TOPIC, None)]),
        ];
        for (name, topics) in cases {
            run.ask(name, version, &quiet(Some(topics)));
        }
    }
    let making = |topics| MetadataRequest { topics, ..Default::default() };
    for version in [0, 3, 8, 13] {
        let name = format!("m-made-{version}");
        run.ask("made, at once", version, &making(named(&[&name])));
        run.settled(&name);
        run.ask("made, then", version, &making(named(&[&name])));
        run.ask("made, bad name", version, &making(named(&["a b", "", "."])));
    }
    run.ask("made, two that collide", 13, &making(named(&["m.col", "m_col"])));
    run.topic("m.dot", 1, &[]);
    run.ask("made, one that collides", 13, &making(named(&["m_dot"])));
    run.ask("made, after the collision", 13, &quiet(named(&["m_dot"])));
    run.ask("not allowed", 13, &quiet(named(&["m-quiet"])));
    run.ask("not allowed, again", 13, &quiet(named(&["m-quiet"])));
}

fn describe_cluster(run: &mut Run) {
    for endpoint_type in [1, 2, 0, 3, -1, 127] {
        for (operations, fenced) in [(false, false), (true, true)] {
            let request = DescribeClusterRequest {
                include_cluster_authorized_operations: operations,
                endpoint_type,
                include_fenced_brokers: fenced,
                ..Default::default()
            };
            let name = format!("type {endpoint_type} operations {operations}");
            run.at_broker();
            run.ask_in_all(&name, &request);
            run.ask(
                &format!("{name} not fenced"),
                2,
                &DescribeClusterRequest { include_fenced_brokers: false, ..request.clone() },
            );
            run.at_controller();
            run.ask_in_all(&format!("controller, {name}"), &request);
        }
    }
    run.at_broker();
}

fn quorum(run: &mut Run) {
    let request = |topic: &str, partitions: &[i32]| DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: topic.into(),
            partitions: partitions
                .iter()
                .map(|index| PartitionData { partition_index: *index, ..Default::default() })
                .collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    for controller in [false, true] {
        let at = if controller {
            run.at_controller();
            "controller, "
        } else {
            ""
        };
        run.ask_in_all(&format!("{at}no topic"), &DescribeQuorumRequest::default());
        run.ask_in_all(&format!("{at}another topic"), &request("m-one", &[0]));
        run.ask_in_all(&format!("{at}another partition"), &request("__cluster_metadata", &[1]));
        run.ask_in_all(&format!("{at}two partitions"), &request("__cluster_metadata", &[0, 1]));
        run.ask_in_all(&format!("{at}no partition"), &request("__cluster_metadata", &[]));
        run.ask_in_all(&format!("{at}valid"), &request("__cluster_metadata", &[0]));
    }
    run.at_broker();
}

fn features(run: &mut Run) {
    let update = |feature: &str, level: i16, upgrade_type: i8| FeatureUpdateKey {
        feature: feature.into(),
        max_version_level: level,
        upgrade_type,
        ..Default::default()
    };
    let cases: Vec<(&str, Vec<FeatureUpdateKey>)> = vec![
        ("nothing", vec![]),
        ("an empty name", vec![update("", 1, 1)]),
        ("unknown", vec![update("no.such.feature", 1, 1)]),
        ("unknown, to 0", vec![update("no.such.feature", 0, 1)]),
        ("below zero", vec![update("group.version", -1, 1)]),
        ("too high", vec![update("metadata.version", 1000, 1)]),
        ("metadata.version to 0", vec![update("metadata.version", 0, 2)]),
        ("metadata.version down, as upgrade", vec![update("metadata.version", 24, 1)]),
        ("metadata.version down, safely", vec![update("metadata.version", 24, 2)]),
        ("metadata.version down, unsafely", vec![update("metadata.version", 24, 3)]),
        ("metadata.version far down", vec![update("metadata.version", 6, 2)]),
        ("the same", vec![update("group.version", 1, 1)]),
        ("kraft.version", vec![update("kraft.version", 0, 2)]),
        ("kraft.version up", vec![update("kraft.version", 2, 1)]),
        ("an unknown type", vec![update("group.version", 1, 9)]),
        ("type 0", vec![update("group.version", 1, 0)]),
        ("group.version down as upgrade", vec![update("group.version", 0, 1)]),
        ("twice", vec![update("group.version", 1, 1), update("group.version", 1, 1)]),
        ("one good, one bad", vec![update("group.version", 1, 1), update("no.such.feature", 1, 1)]),
        ("share.version", vec![update("share.version", 1, 1)]),
        ("streams.version too high", vec![update("streams.version", 99, 1)]),
        ("eligible.leader.replicas.version down", vec![update("eligible.leader.replicas.version", 0, 2)]),
        ("transaction.version down", vec![update("transaction.version", 0, 2)]),
    ];
    for (name, feature_updates) in cases {
        let request = UpdateFeaturesRequest {
            timeout_ms: 10_000,
            feature_updates,
            validate_only: true,
            ..Default::default()
        };
        run.ask(name, 1, &request);
        run.ask(name, 2, &request);
    }
    for (level, downgrade) in [(1, false), (0, false), (1000, false), (-5, false), (1000, true)] {
        let update = FeatureUpdateKey {
            feature: "group.version".into(),
            max_version_level: level,
            allow_downgrade: downgrade,
            ..Default::default()
        };
        run.ask(
            &format!("level {level} {downgrade}"),
            0,
            &UpdateFeaturesRequest {
                timeout_ms: 10_000,
                feature_updates: vec![update],
                ..Default::default()
            },
        );
    }
}

fn producer_ids(run: &mut Run) {
    let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
    run.ask_in_all("idempotent", &request);
    run.ask_in_some(
        "a timeout of zero",
        &InitProducerIdRequest { transaction_timeout_ms: 0, ..request.clone() },
    );
    run.ask_in_some(
        "a timeout below zero",
        &InitProducerIdRequest { transaction_timeout_ms: -1, ..request.clone() },
    );
    run.ask_in_some(
        "no transactional id",
        &InitProducerIdRequest { transactional_id: Some("".into()), ..request.clone() },
    );
    for (id, epoch) in [(5, 0), (5, 32_767), (-1, 0), (0, -1), (123_456_789, 3), (-5, -5)] {
        let request = InitProducerIdRequest { producer_id: id, producer_epoch: epoch, ..request.clone() };
        run.ask_in_some(&format!("id {id} epoch {epoch}"), &request);
    }
    run.ask("two phases", 6, &InitProducerIdRequest { enable2_pc: true, ..request.clone() });
    run.ask("prepared kept", 6, &InitProducerIdRequest { keep_prepared_txn: true, ..request.clone() });
    let allocate = |broker_id, broker_epoch| AllocateProducerIdsRequest {
        broker_id,
        broker_epoch,
        ..Default::default()
    };
    run.ask("allocate, at the broker", 0, &allocate(1, 0));
    run.at_controller();
    run.ask("allocate, unknown broker", 0, &allocate(77, 0));
    run.ask("allocate, bad epoch", 0, &allocate(1, 999_999));
    run.ask("allocate, epoch below zero", 0, &allocate(1, -1));
    run.at_broker();
    run.ask(
        "unregister, unknown broker",
        0,
        &UnregisterBrokerRequest { broker_id: 77, ..Default::default() },
    );
    run.ask("unregister, below zero", 0, &UnregisterBrokerRequest { broker_id: -1, ..Default::default() });
}

fn telemetry(run: &mut Run) {
    let ours = Uuid::from_u128(0x1111_5678_9abc_4ef0_9234_5678_9abc_def0);
    let subscribed = run.ask("subscribe", 0, &GetTelemetrySubscriptionsRequest::default());
    run.ask("subscribe, the same connection", 0, &GetTelemetrySubscriptionsRequest::default());
    let given = subscribed.map_or(ours, |response| response.client_instance_id);
    run.ask(
        "subscribe, with an id",
        0,
        &GetTelemetrySubscriptionsRequest { client_instance_id: ours, ..Default::default() },
    );
    run.ask(
        "subscribe, a reserved id",
        0,
        &GetTelemetrySubscriptionsRequest { client_instance_id: Uuid::METADATA_TOPIC, ..Default::default() },
    );
    let push =
        |id, subscription_id, terminating, compression_type, metrics: &'static [u8]| PushTelemetryRequest {
            client_instance_id: id,
            subscription_id,
            terminating,
            compression_type,
            metrics: metrics.into(),
            ..Default::default()
        };
    run.ask("push, no id", 0, &push(Uuid::ZERO, 0, false, 0, b""));
    run.ask("push, reserved id", 0, &push(Uuid::METADATA_TOPIC, 0, false, 0, b""));
    run.ask("push, unknown subscription", 0, &push(given, 12_345, false, 0, b"x"));
    run.ask("push, unknown compression", 0, &push(given, 12_345, false, 9, b"x"));
    run.ask(
        "push, unknown client",
        0,
        &push(Uuid::from_u128(0x2222_5678_9abc_4ef0_9234_5678_9abc_def0), 12_345, false, 0, b"x"),
    );
    run.ask(
        "push, terminating",
        0,
        &push(Uuid::from_u128(0x2322_5678_9abc_4ef0_9234_5678_9abc_def0), 12_345, true, 0, b""),
    );
    assert_eq!(some_versions(ApiKey::PushTelemetry), [0]);
}
