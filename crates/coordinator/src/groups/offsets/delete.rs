//! OffsetDelete.

use dohle_types::ErrorCode;
use dohle_wire::messages as m;
use m::offset_delete_request::OffsetDeleteRequestTopic;
use m::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};

use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, Response};

pub(in crate::groups) fn delete(
    c: &mut GroupCoordinator,
    call: &Call,
    request: m::OffsetDeleteRequest,
    effects: &mut Effects,
) {
    let response = match find(c, &request) {
        Err(code) => m::OffsetDeleteResponse { error_code: code.code(), ..Default::default() },
        Ok(group) => {
            let topics = request.topics.iter().map(|topic| {
                let is_subscribed = group.is_subscribed_to_topic(&topic.name);
                if !is_subscribed {
                    take_back(c, &request, topic, effects);
                }
                answer(topic, is_subscribed)
            });
            m::OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
        }
    };
    c.tally.offset_deletions += effects.decided().len() as u64;
    effects.reply(call.to, Response::OffsetDelete(response));
}

/// The group, if its offsets may be deleted at all.
fn find<'a>(c: &'a GroupCoordinator, request: &m::OffsetDeleteRequest) -> Result<&'a Group, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let group = c.groups.get(&request.group_id).ok_or(ErrorCode::GroupIdNotFound)?;
    match group {
        // What is not known to be consumers may use offsets in ways of its own.
        Group::Classic(classic) if !classic.is_empty() && !classic.uses_consumer_protocol() => {
            Err(ErrorCode::NonEmptyGroup)
        }
        _ => Ok(group),
    }
}

fn take_back(
    c: &GroupCoordinator,
    request: &m::OffsetDeleteRequest,
    topic: &OffsetDeleteRequestTopic,
    effects: &mut Effects,
) {
    for partition in &topic.partitions {
        let at = (request.group_id.as_str(), topic.name.as_str(), partition.partition_index);
        if c.offsets.get(at.0, at.1, at.2).is_some() || c.offsets.is_pending(at.0, at.1, at.2) {
            effects.record(super::tombstone(request.group_id.clone(), topic.name.clone(), at.2));
        }
    }
}

fn answer(topic: &OffsetDeleteRequestTopic, is_subscribed: bool) -> OffsetDeleteResponseTopic {
    let code = if is_subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
    let partitions = topic.partitions.iter().map(|partition| OffsetDeleteResponsePartition {
        partition_index: partition.partition_index,
        error_code: code.code(),
    });
    OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
}
