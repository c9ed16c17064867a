//! OffsetFetch: how far groups have read, one group up to version 7, several since.

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use dohle_wire::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use crate::coordinator::errors::told_of_fetch;
use crate::coordinator::groups::{self, Asked};
use crate::request::Context;

/// From this version on an error of the group has a field of its own.
const GROUP_ERROR_SINCE: i16 = 2;
/// From this version on there may be several groups.
const GROUPS_SINCE: i16 = 8;
/// From this version on topics are named by id.
const IDS_SINCE: i16 = 10;

pub async fn handle(context: Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if context.version < GROUPS_SINCE {
        return single(Fetch::start(&context, the_group(request), stable).finish(&context).await);
    }
    // All are under way before the first is waited for.
    let fetches: Vec<_> =
        request.groups.into_iter().map(|group| Fetch::start(&context, group, stable)).collect();
    let mut groups = Vec::with_capacity(fetches.len());
    for fetch in fetches {
        groups.push(fetch.finish(&context).await);
    }
    OffsetFetchResponse { groups, ..Default::default() }
}

/// The fetch of one group's offsets, under way.
struct Fetch {
    group: OffsetFetchRequestGroup,
    /// Topics that do not exist.
    refused: Vec<OffsetFetchResponseTopics>,
    asked: Asked,
}

/// The one group of an older request.
fn the_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        topics.collect()
    });
    OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }
}

/// The answer about one group, in the older form.
fn single(group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    OffsetFetchResponse { topics: topics.collect(), error_code: group.error_code, ..Default::default() }
}

impl Fetch {
    fn start(context: &Context, mut group: OffsetFetchRequestGroup, stable: bool) -> Self {
        let image = context.core.image();
        let mut refused = Vec::new();
        if context.version >= IDS_SINCE
            && let Some(topics) = &mut group.topics
        {
            topics.retain_mut(|topic| match image.topics.by_id(topic.topic_id) {
                Some(found) => {
                    topic.name = found.name.clone();
                    true
                }
                None => {
                    refused.push(refuse(topic, ErrorCode::UnknownTopicId));
                    false
                }
            });
        }
        let ask = Ask::OffsetFetch { group: group.clone(), stable };
        Self { refused, asked: groups::send(context, &group.group_id, ask), group }
    }

    async fn finish(self, context: &Context) -> OffsetFetchResponseGroup {
        let mut response = match self.asked.answer().await {
            Ok(Response::OffsetFetch(response)) => response,
            Ok(other) => unreachable!("a fetch of offsets is answered by one, not by {other:?}"),
            Err(code) => return refuse_group(context, self.group, told_of_fetch(code)),
        };
        if response.error_code != ErrorCode::None.code() {
            if context.version >= GROUP_ERROR_SINCE {
                return response;
            }
            let code = ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
            return refuse_group(context, self.group, code);
        }
        if self.group.topics.is_none() && context.version >= IDS_SINCE {
            let image = context.core.image();
            // A topic that has no id has gone, and cannot be named in the answer.
            response.topics.retain_mut(|topic| {
                if topic.topic_id.is_zero() {
                    topic.topic_id = image.topics.id_of(&topic.name).unwrap_or_default();
                }
                !topic.topic_id.is_zero()
            });
        }
        response.topics.extend(self.refused);
        response
    }
}

fn refuse_group(
    context: &Context,
    group: OffsetFetchRequestGroup,
    code: ErrorCode,
) -> OffsetFetchResponseGroup {
    if context.version >= GROUP_ERROR_SINCE {
        return OffsetFetchResponseGroup {
            group_id: group.group_id,
            error_code: code.code(),
            ..Default::default()
        };
    }
    let topics = group.topics.unwrap_or_default();
    let topics = topics.iter().map(|topic| {
        let mut refused = refuse(topic, code);
        for partition in &mut refused.partitions {
            partition.metadata = Some(Text::new());
        }
        refused
    });
    OffsetFetchResponseGroup { group_id: group.group_id, topics: topics.collect(), ..Default::default() }
}

fn refuse(topic: &OffsetFetchRequestTopics, code: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions = topic.partition_indexes.iter().map(|&partition_index| OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        error_code: code.code(),
        ..Default::default()
    });
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}
