//! DescribeTopicPartitions: topics page by page, with eligible leader replicas (KIP-966).

use dohle_metadata::{Image, Topic};
use dohle_types::{ErrorCode, PartitionIndex, is_internal_topic, validate_topic_name};
use dohle_wire::Text;
use dohle_wire::messages::describe_topic_partitions_request::{
    Cursor as RequestCursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use dohle_wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

use crate::api::{metadata, operations};
use crate::request::Context;

pub async fn handle(
    context: Context,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = context.core.image();
    let most =
        context.core.config().int("max.request.partition.size.limit").min(request.response_partition_limit);
    let mut left = usize::try_from(most).unwrap_or(0).max(1);
    if let Some(cursor) = &request.cursor
        && !is_valid(cursor, &request.topics)
    {
        return refuse(&request.topics);
    }
    let (from_topic, from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.clone(), cursor.partition_index),
        None => (Text::new(), 0),
    };
    let mut names: Vec<Text> = if request.topics.is_empty() {
        image.topics.iter_from(&from_topic).map(|topic| topic.name.clone()).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.clone()).filter(|name| *name >= from_topic).collect()
    };
    names.sort();
    names.dedup();
    let mut topics = Vec::new();
    let mut next_cursor = None;
    for name in names {
        let start = if name == from_topic { from_partition } else { 0 };
        if left == 0 {
            next_cursor = Some(cursor(name, start));
            break;
        }
        let Some(topic) = image.topics.by_name(&name) else {
            topics.push(unknown(name));
            continue;
        };
        let described = describe(&context, &image, topic, start, left);
        left -= described.partitions.len();
        let next = start + i32::try_from(described.partitions.len()).expect("partitions are numbered by i32");
        topics.push(described);
        if usize::try_from(next).unwrap_or(0) < topic.partitions.len() {
            next_cursor = Some(cursor(name, next));
            break;
        }
    }
    DescribeTopicPartitionsResponse { topics, next_cursor, ..Default::default() }
}

/// A cursor points at a partition, of a topic that is asked for.
fn is_valid(cursor: &RequestCursor, topics: &[TopicRequest]) -> bool {
    let is_asked = topics.is_empty() || topics.iter().any(|topic| topic.name == cursor.topic_name);
    cursor.partition_index >= 0 && is_asked
}

fn refuse(topics: &[TopicRequest]) -> DescribeTopicPartitionsResponse {
    let topics = topics.iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.clone()),
        topic_authorized_operations: operations::NOT_ASKED,
        ..Default::default()
    });
    DescribeTopicPartitionsResponse { topics: topics.collect(), ..Default::default() }
}

fn cursor(topic_name: Text, partition_index: i32) -> Cursor {
    Cursor { topic_name, partition_index, ..Default::default() }
}

fn unknown(name: Text) -> DescribeTopicPartitionsResponseTopic {
    let valid = validate_topic_name(&name).is_ok();
    let code = if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        is_internal: is_internal_topic(&name),
        name: Some(name),
        topic_authorized_operations: operations::ON_TOPIC,
        ..Default::default()
    }
}

fn describe(
    context: &Context,
    image: &Image,
    topic: &Topic,
    start: i32,
    most: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let ids = |nodes: &[dohle_types::NodeId]| -> Vec<i32> { nodes.iter().map(|node| node.get()).collect() };
    let partitions = topic.partitions.iter().filter(|(index, _)| *index >= PartitionIndex(start)).take(most);
    let partitions = partitions.map(|(index, state)| {
        let leader = image.brokers.get(state.leader).filter(|broker| !broker.fenced);
        let code = if leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable };
        DescribeTopicPartitionsResponsePartition {
            error_code: code.code(),
            partition_index: index.get(),
            leader_id: leader.map_or(-1, |leader| leader.id.get()),
            leader_epoch: state.leader_epoch.get(),
            replica_nodes: ids(&state.replicas),
            isr_nodes: ids(&state.isr),
            eligible_leader_replicas: Some(ids(&state.elr)),
            last_known_elr: Some(ids(&state.last_known_elr)),
            offline_replicas: metadata::offline(image, state, &context.peer.session.door.name),
            ..Default::default()
        }
    });
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: operations::ON_TOPIC,
        ..Default::default()
    }
}
