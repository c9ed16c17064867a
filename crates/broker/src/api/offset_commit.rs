//! OffsetCommit: how far a group has read. Partitions that do not exist are answered here; the rest is the coordinator's.

use dohle_coordinator::groups::{Ask, Response};
use dohle_metadata::Image;
use dohle_types::{ErrorCode, PartitionIndex};
use dohle_wire::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestTopic};
use dohle_wire::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

/// From this version on topics are named by id.
const IDS_SINCE: i16 = 10;

pub async fn handle(context: Context, mut request: OffsetCommitRequest) -> OffsetCommitResponse {
    let image = context.core.image();
    let uses_ids = context.version >= IDS_SINCE;
    let mut refused = OffsetCommitResponse::default();
    let asked = std::mem::take(&mut request.topics);
    for topic in asked {
        if let Some(topic) = resolve(&image, uses_ids, topic, &mut refused) {
            request.topics.push(topic);
        }
    }
    if request.topics.is_empty() {
        return refused;
    }
    let (group, topics) = (request.group_id.clone(), request.topics.clone());
    let committed = match groups::ask(&context, &group, Ask::OffsetCommit(request)).await {
        Ok(Response::OffsetCommit(response)) => response,
        Ok(other) => unreachable!("a commit is answered by one, not by {other:?}"),
        Err(code) => OffsetCommitResponse {
            topics: topics.iter().map(|topic| refuse(topic, told(code))).collect(),
            ..Default::default()
        },
    };
    merge(refused, committed, uses_ids)
}

/// What of a topic exists; what does not is refused.
fn resolve(
    image: &Image,
    uses_ids: bool,
    mut topic: OffsetCommitRequestTopic,
    refused: &mut OffsetCommitResponse,
) -> Option<OffsetCommitRequestTopic> {
    let found = if uses_ids { image.topics.by_id(topic.topic_id) } else { image.topics.by_name(&topic.name) };
    let Some(found) = found else {
        let code = if uses_ids { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        add(refused, refuse(&topic, code), uses_ids);
        return None;
    };
    (topic.name, topic.topic_id) = (found.name.clone(), found.id);
    let exists = |index| found.partitions.get(PartitionIndex(index)).is_some();
    let (known, unknown) = std::mem::take(&mut topic.partitions)
        .into_iter()
        .partition(|partition| exists(partition.partition_index));
    topic.partitions = unknown;
    if !topic.partitions.is_empty() {
        add(refused, refuse(&topic, ErrorCode::UnknownTopicOrPartition), uses_ids);
    }
    topic.partitions = known;
    (!topic.partitions.is_empty()).then_some(topic)
}

fn refuse(topic: &OffsetCommitRequestTopic, code: ErrorCode) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|partition| OffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: code.code(),
        ..Default::default()
    });
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

/// Partitions of one topic go under one heading.
fn add(response: &mut OffsetCommitResponse, topic: OffsetCommitResponseTopic, uses_ids: bool) {
    let same = |held: &&mut OffsetCommitResponseTopic| {
        if uses_ids { held.topic_id == topic.topic_id } else { held.name == topic.name }
    };
    match response.topics.iter_mut().find(same) {
        Some(held) => held.partitions.extend(topic.partitions),
        None => response.topics.push(topic),
    }
}

fn merge(
    refused: OffsetCommitResponse,
    committed: OffsetCommitResponse,
    uses_ids: bool,
) -> OffsetCommitResponse {
    if refused.topics.is_empty() {
        return committed;
    }
    let mut merged = refused;
    for topic in committed.topics {
        add(&mut merged, topic, uses_ids);
    }
    merged
}
