//! Topics that come into being because somebody asked for them (`auto.create.topics.enable`).
//!
//! Unlike Kafka, which answers that there is no such topic and lets the client ask again, the answer waits for the topic: it takes a
//! millisecond.

use dohle_types::{ErrorCode, is_internal_topic, validate_topic_name};
use dohle_wire::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use dohle_wire::{AnyRequest, AnyResponse, ApiKey, Text};
use tracing::warn;

use crate::api::forward;
use crate::request::Context;

/// How long a client waits for its topics at most, in milliseconds.
const TIMEOUT_MS: i32 = 5000;
/// The most topics that one request brings into being.
const MAX_AT_ONCE: usize = 1000;

/// Makes the topics that are missing and may be made; gives the names that could not be, and why.
pub async fn create(context: &Context, missing: &[Text]) -> Vec<(Text, ErrorCode)> {
    if !context.core.config().boolean("auto.create.topics.enable") {
        return Vec::new();
    }
    let wanted = missing.iter().filter(|name| validate_topic_name(name).is_ok()).take(MAX_AT_ONCE);
    let mut topics: Vec<_> = wanted.map(|name| describe(context, name)).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics.dedup_by(|a, b| a.name == b.name);
    if topics.is_empty() {
        return Vec::new();
    }
    request(context, topics).await
}

/// Makes a coordinator's topic, whether clients may make topics or not. Who asks looks whether it is there.
pub async fn create_internal(context: &Context, name: &str) {
    debug_assert!(is_internal_topic(name));
    for (topic, code) in request(context, vec![describe(context, &Text::from(name))]).await {
        warn!(topic = &*topic, %code, "a coordinator's topic could not be made");
    }
}

/// Gives the topics that could not be made, and why.
async fn request(context: &Context, topics: Vec<CreatableTopic>) -> Vec<(Text, ErrorCode)> {
    let request = CreateTopicsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() };
    let version = ApiKey::CreateTopics.max_version();
    match forward::ask(context, version, AnyRequest::CreateTopics(request)).await {
        Ok(AnyResponse::CreateTopics(response)) => response
            .topics
            .into_iter()
            .filter_map(|topic| match ErrorCode::from_code(topic.error_code) {
                // Somebody else was first: all the better.
                Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => None,
                Some(code @ (ErrorCode::InvalidTopicException | ErrorCode::InvalidReplicationFactor)) => {
                    Some((topic.name, code))
                }
                _ => Some((topic.name, ErrorCode::UnknownTopicOrPartition)),
            })
            .collect(),
        Ok(other) => unreachable!("topics are made by CreateTopics, not by {:?}", other.key()),
        Err(_) => Vec::new(),
    }
}

/// A topic with the broker's defaults; the coordinators' topics with what they need.
fn describe(context: &Context, name: &Text) -> CreatableTopic {
    let config = context.core.config();
    let internal = |partitions: &str, replicas: &str, configs: Vec<(&'static str, String)>| CreatableTopic {
        name: name.clone(),
        num_partitions: config.int(partitions),
        replication_factor: config.short(replicas),
        configs: configs
            .into_iter()
            .map(|(key, value)| CreatableTopicConfig {
                name: Text::from_static(key),
                value: Some(Text::from(value)),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let compacted = ("cleanup.policy", "compact".to_owned());
    match &**name {
        "__consumer_offsets" => internal(
            "offsets.topic.num.partitions",
            "offsets.topic.replication.factor",
            vec![
                compacted,
                ("compression.type", "producer".to_owned()),
                ("segment.bytes", config.int("offsets.topic.segment.bytes").to_string()),
            ],
        ),
        "__transaction_state" => internal(
            "transaction.state.log.num.partitions",
            "transaction.state.log.replication.factor",
            vec![
                compacted,
                ("compression.type", "uncompressed".to_owned()),
                ("min.insync.replicas", config.int("transaction.state.log.min.isr").to_string()),
                ("segment.bytes", config.int("transaction.state.log.segment.bytes").to_string()),
                ("unclean.leader.election.enable", "false".to_owned()),
            ],
        ),
        "__share_group_state" => internal(
            "share.coordinator.state.topic.num.partitions",
            "share.coordinator.state.topic.replication.factor",
            vec![
                ("cleanup.policy", "delete".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("min.insync.replicas", config.int("share.coordinator.state.topic.min.isr").to_string()),
                ("retention.ms", "-1".to_owned()),
                ("segment.bytes", config.int("share.coordinator.state.topic.segment.bytes").to_string()),
            ],
        ),
        _ => {
            debug_assert!(!is_internal_topic(name));
            CreatableTopic {
                name: name.clone(),
                num_partitions: -1,
                replication_factor: -1,
                ..Default::default()
            }
        }
    }
}
