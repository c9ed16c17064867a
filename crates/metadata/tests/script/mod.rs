//! The requests of `golden/answers.txt`, read and asked; `golden/Ask.java` asks Kafka the same.

#![allow(dead_code)]

use std::fmt::Write as _;

use crate::common::Cluster;
use dohle_types::{ErrorCode, Uuid};
use dohle_wire::messages::*;
use dohle_wire::{AnyResponse, Text};

pub const PROPERTIES: &str = include_str!("../golden/server.properties");
/// Asked by a broker's listener.
pub const BY_BROKER: &str = include_str!("../golden/answers.txt");
/// Asked by the controller's own listener.
pub const DIRECT: &str = include_str!("../golden/direct.txt");

/// `script` with the answers of `cluster`.
pub fn run(cluster: &mut Cluster, script: &str) -> String {
    let mut ours = String::new();
    for line in script.lines().filter(|line| !line.starts_with("= ")) {
        writeln!(ours, "{line}").expect("a string");
        if !line.is_empty() && !line.starts_with('#') {
            let mut answers = ask(cluster, line);
            answers.sort();
            for answer in answers {
                writeln!(ours, "= {answer}").expect("a string");
            }
        }
    }
    ours
}

fn word(text: &str) -> Text {
    if text == "%" { Text::default() } else { Text::from(text.replace("%20", " ")) }
}

fn result(what: &str, code: i16, message: &Option<Text>) -> String {
    let code = ErrorCode::from_code(code).expect("a known code").name();
    format!("{what} {code} {}", message.as_deref().unwrap_or("-"))
}

fn options<'a>(words: &[&'a str]) -> Vec<(&'a str, Option<&'a str>)> {
    words
        .iter()
        .map(|word| word.split_once('=').map_or((*word, None), |(key, value)| (key, Some(value))))
        .collect()
}

fn ids(text: &str) -> Vec<i32> {
    text.split(',').filter(|id| !id.is_empty() && *id != "-").map(|id| id.parse().expect("an id")).collect()
}

fn ask(cluster: &mut Cluster, line: &str) -> Vec<String> {
    let (command, rest) = line.split_once(' ').expect("a command and what it is about");
    let (command, option) = command.split_once('/').unwrap_or((command, ""));
    let dry = option == "dry";
    let parts: Vec<Vec<&str>> = rest.split(" | ").map(|part| part.trim().split(' ').collect()).collect();
    match command {
        "create" => create(cluster, &parts, dry),
        "delete" => delete(cluster, &parts),
        "partitions" => partitions(cluster, &parts, dry),
        "alter" => alter(cluster, &parts, dry),
        "legacy" => legacy(cluster, &parts, dry),
        "elect" => elect(cluster, &parts, option.parse().expect("an election type")),
        "reassign" => reassign(cluster, &parts),
        "reassignments" => reassignments(cluster, &parts),
        "features" => features(cluster, &parts, dry),
        "unregister" => unregister(cluster, &parts),
        other => panic!("unknown command {other}"),
    }
}

fn create(cluster: &mut Cluster, parts: &[Vec<&str>], dry: bool) -> Vec<String> {
    use create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    let topics = parts.iter().map(|words| {
        let mut topic = CreatableTopic {
            name: word(words[0]),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        for (key, value) in options(&words[1..]) {
            match (key, value) {
                ("p", Some(value)) => topic.num_partitions = value.parse().expect("a count"),
                ("rf", Some(value)) => topic.replication_factor = value.parse().expect("a count"),
                ("assign", Some(value)) => {
                    topic.assignments.extend(value.split(';').map(|assignment| {
                        let (index, brokers) = assignment.split_once(':').expect("index:brokers");
                        CreatableReplicaAssignment {
                            partition_index: index.parse().expect("an index"),
                            broker_ids: ids(brokers),
                            ..Default::default()
                        }
                    }));
                }
                (name, value) => {
                    let value = value.map(word);
                    topic.configs.push(CreatableTopicConfig {
                        name: word(name),
                        value,
                        ..Default::default()
                    });
                }
            }
        }
        topic
    });
    let request = CreateTopicsRequest { topics: topics.collect(), validate_only: dry, ..Default::default() };
    let AnyResponse::CreateTopics(response) = cluster.ask(request, 7) else { panic!("another answer") };
    let answer = |topic: &create_topics_response::CreatableTopicResult| {
        let mut answer = result(&format!("'{}'", topic.name), topic.error_code, &topic.error_message);
        if topic.error_code == 0 {
            let configs = topic.configs.as_deref().unwrap_or(&[]);
            let (partitions, replicas) = (topic.num_partitions, topic.replication_factor);
            let known = configs.iter().filter(|config| !config.name.starts_with("dohle.")).count();
            write!(answer, " partitions={partitions} replicas={replicas} configs={known}").expect("a string");
            for config in configs.iter().filter(|config| config.config_source != 5) {
                let value = config.value.as_deref().unwrap_or("null");
                write!(answer, " {}={value}/{}", config.name, config.config_source).expect("a string");
            }
        }
        answer
    };
    response.topics.iter().map(answer).collect()
}

fn delete(cluster: &mut Cluster, parts: &[Vec<&str>]) -> Vec<String> {
    let topics = parts.iter().map(|words| {
        let mut state = delete_topics_request::DeleteTopicState::default();
        for (key, value) in options(words) {
            match (key, value) {
                ("name", Some(name)) => state.name = Some(word(name)),
                ("id", Some(id)) => state.topic_id = id.parse::<Uuid>().expect("an id"),
                _ => {}
            }
        }
        state
    });
    let request = DeleteTopicsRequest { topics: topics.collect(), ..Default::default() };
    let AnyResponse::DeleteTopics(response) = cluster.ask(request, 6) else { panic!("another answer") };
    let name = |name: &Option<Text>| format!("'{}'", name.as_deref().unwrap_or("null"));
    response
        .responses
        .iter()
        .map(|topic| result(&name(&topic.name), topic.error_code, &topic.error_message))
        .collect()
}

fn partitions(cluster: &mut Cluster, parts: &[Vec<&str>], dry: bool) -> Vec<String> {
    use create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
    let topics = parts.iter().map(|words| CreatePartitionsTopic {
        name: word(words[0]),
        count: words[1].parse().expect("a count"),
        assignments: options(&words[2..]).first().and_then(|(_, value)| *value).map(|value| {
            let lists = value.split(';');
            lists
                .map(|list| CreatePartitionsAssignment { broker_ids: ids(list), ..Default::default() })
                .collect()
        }),
        ..Default::default()
    });
    let request =
        CreatePartitionsRequest { topics: topics.collect(), validate_only: dry, ..Default::default() };
    let AnyResponse::CreatePartitions(response) = cluster.ask(request, 3) else { panic!("another answer") };
    let answers = response.results.iter();
    answers
        .map(|topic| result(&format!("'{}'", topic.name), topic.error_code, &topic.error_message))
        .collect()
}

fn alter(cluster: &mut Cluster, parts: &[Vec<&str>], dry: bool) -> Vec<String> {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let resources = parts.iter().map(|words| AlterConfigsResource {
        resource_type: words[0].parse().expect("a type"),
        resource_name: word(words[1]),
        configs: words[2..]
            .iter()
            .map(|config| {
                let (operation, pair) = config.split_once(':').expect("operation:pair");
                let (name, value) = options(&[pair])[0];
                AlterableConfig {
                    name: name.into(),
                    config_operation: operation.parse().expect("an operation"),
                    value: value.map(word),
                    ..Default::default()
                }
            })
            .collect(),
        ..Default::default()
    });
    let request = IncrementalAlterConfigsRequest {
        resources: resources.collect(),
        validate_only: dry,
        ..Default::default()
    };
    let AnyResponse::IncrementalAlterConfigs(response) = cluster.ask(request, 1) else {
        panic!("another answer")
    };
    let what = |kind: i8, name: &str| format!("{kind} '{name}'");
    let answers = response.responses.iter();
    answers
        .map(|r| result(&what(r.resource_type, &r.resource_name), r.error_code, &r.error_message))
        .collect()
}

fn legacy(cluster: &mut Cluster, parts: &[Vec<&str>], dry: bool) -> Vec<String> {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let resources = parts.iter().map(|words| AlterConfigsResource {
        resource_type: words[0].parse().expect("a type"),
        resource_name: word(words[1]),
        configs: options(&words[2..])
            .into_iter()
            .map(|(name, value)| AlterableConfig {
                name: name.into(),
                value: value.map(word),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    let request =
        AlterConfigsRequest { resources: resources.collect(), validate_only: dry, ..Default::default() };
    let AnyResponse::AlterConfigs(response) = cluster.ask(request, 2) else { panic!("another answer") };
    let what = |kind: i8, name: &str| format!("{kind} '{name}'");
    let answers = response.responses.iter();
    answers
        .map(|r| result(&what(r.resource_type, &r.resource_name), r.error_code, &r.error_message))
        .collect()
}

fn elect(cluster: &mut Cluster, parts: &[Vec<&str>], election_type: i8) -> Vec<String> {
    let topics = parts.iter().map(|words| elect_leaders_request::TopicPartitions {
        topic: word(words[0]),
        partitions: ids(words[1]),
        ..Default::default()
    });
    let topic_partitions = Some(topics.collect());
    let request = ElectLeadersRequest { election_type, topic_partitions, ..Default::default() };
    let AnyResponse::ElectLeaders(response) = cluster.ask(request, 2) else { panic!("another answer") };
    let mut answers = vec![result("all", response.error_code, &None)];
    for topic in &response.replica_election_results {
        answers.extend(topic.partition_result.iter().map(|partition| {
            result(
                &format!("{}-{}", topic.topic, partition.partition_id),
                partition.error_code,
                &partition.error_message,
            )
        }));
    }
    answers
}

fn reassign(cluster: &mut Cluster, parts: &[Vec<&str>]) -> Vec<String> {
    use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let topics = parts.iter().map(|words| ReassignableTopic {
        name: word(words[0]),
        partitions: vec![ReassignablePartition {
            partition_index: words[1].parse().expect("an index"),
            replicas: (words[2] != "cancel").then(|| ids(words[2])),
            ..Default::default()
        }],
        ..Default::default()
    });
    let mut request = AlterPartitionReassignmentsRequest { topics: topics.collect(), ..Default::default() };
    if let Some(allowed) = parts[0].get(3) {
        request.allow_replication_factor_change = allowed.parse().expect("true or false");
    }
    let AnyResponse::AlterPartitionReassignments(response) = cluster.ask(request, 1) else {
        panic!("another answer")
    };
    let mut answers = vec![result("all", response.error_code, &response.error_message)];
    for topic in &response.responses {
        answers.extend(topic.partitions.iter().map(|partition| {
            let what = format!("{}-{}", topic.name, partition.partition_index);
            result(&what, partition.error_code, &partition.error_message)
        }));
    }
    answers
}

fn reassignments(cluster: &mut Cluster, parts: &[Vec<&str>]) -> Vec<String> {
    use list_partition_reassignments_request::ListPartitionReassignmentsTopics;
    let topics = parts.iter().map(|words| ListPartitionReassignmentsTopics {
        name: word(words[0]),
        partition_indexes: ids(words[1]),
        ..Default::default()
    });
    let request = ListPartitionReassignmentsRequest { topics: Some(topics.collect()), ..Default::default() };
    let AnyResponse::ListPartitionReassignments(response) = cluster.ask(request, 0) else {
        panic!("another answer")
    };
    let mut answers = vec![result("all", response.error_code, &response.error_message)];
    answers.extend(response.topics.iter().map(|topic| format!("{} {}", topic.name, topic.partitions.len())));
    answers
}

fn features(cluster: &mut Cluster, parts: &[Vec<&str>], dry: bool) -> Vec<String> {
    let updates = parts.iter().map(|words| update_features_request::FeatureUpdateKey {
        feature: words[0].into(),
        max_version_level: words[1].parse().expect("a level"),
        upgrade_type: words[2].parse().expect("a type"),
        ..Default::default()
    });
    let request = UpdateFeaturesRequest {
        feature_updates: updates.collect(),
        validate_only: dry,
        ..Default::default()
    };
    let AnyResponse::UpdateFeatures(response) = cluster.ask(request, 2) else { panic!("another answer") };
    vec![result("all", response.error_code, &response.error_message)]
}

fn unregister(cluster: &mut Cluster, parts: &[Vec<&str>]) -> Vec<String> {
    let request =
        UnregisterBrokerRequest { broker_id: parts[0][0].parse().expect("an id"), ..Default::default() };
    let AnyResponse::UnregisterBroker(response) = cluster.ask(request, 0) else { panic!("another answer") };
    vec![result("all", response.error_code, &response.error_message)]
}
