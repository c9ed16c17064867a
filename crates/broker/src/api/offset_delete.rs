//! OffsetDelete: forgets offsets of a group that does not read the topic any more.

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::{ErrorCode, PartitionIndex};
use dohle_wire::messages::offset_delete_request::{OffsetDeleteRequest, OffsetDeleteRequestTopic};
use dohle_wire::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

pub async fn handle(context: Context, mut request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let image = context.core.image();
    let mut refused: Vec<OffsetDeleteResponseTopic> = Vec::new();
    for mut topic in std::mem::take(&mut request.topics) {
        let found = image.topics.by_name(&topic.name);
        let exists = |index| found.is_some_and(|found| found.partitions.get(PartitionIndex(index)).is_some());
        let (known, unknown): (Vec<_>, Vec<_>) = std::mem::take(&mut topic.partitions)
            .into_iter()
            .partition(|partition| exists(partition.partition_index));
        let unknown = unknown.into_iter().map(|partition| OffsetDeleteResponsePartition {
            partition_index: partition.partition_index,
            error_code: ErrorCode::UnknownTopicOrPartition.code(),
        });
        let unknown: Vec<_> = unknown.collect();
        if !unknown.is_empty() || found.is_none() {
            let partitions = unknown;
            add(&mut refused, OffsetDeleteResponseTopic { name: topic.name.clone(), partitions });
        }
        if !known.is_empty() {
            request.topics.push(OffsetDeleteRequestTopic { partitions: known, ..topic });
        }
    }
    if request.group_id.is_empty() {
        return refuse(ErrorCode::InvalidGroupId);
    }
    let group = request.group_id.clone();
    let mut response = match groups::ask(&context, &group, Ask::OffsetDelete(request)).await {
        Ok(Response::OffsetDelete(response)) => response,
        Ok(other) => unreachable!("a deletion of offsets is answered by one, not by {other:?}"),
        Err(code) => return refuse(told(code)),
    };
    if response.error_code == ErrorCode::None.code() && !refused.is_empty() {
        let deleted = std::mem::replace(&mut response.topics, refused);
        deleted.into_iter().for_each(|topic| add(&mut response.topics, topic));
    }
    response
}

/// Partitions of one topic go under one heading.
fn add(topics: &mut Vec<OffsetDeleteResponseTopic>, topic: OffsetDeleteResponseTopic) {
    match topics.iter_mut().find(|held| held.name == topic.name) {
        Some(held) => held.partitions.extend(topic.partitions),
        None => topics.push(topic),
    }
}

fn refuse(code: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: code.code(), ..Default::default() }
}
