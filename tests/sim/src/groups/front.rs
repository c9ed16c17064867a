//! What the broker sees to before a coordinator is asked: topics by name and by id.

use dohle_coordinator::groups::{Ask, Request, Response};
use dohle_types::ErrorCode;
use dohle_wire::messages as m;
use dohle_wire::messages::{offset_commit_request as commit, offset_commit_response as committed};

use super::catalog::Catalog;

/// Versions that name topics by id.
const COMMIT_IDS_SINCE: i16 = 10;

/// Fills in what a request leaves out. What asks of nothing that exists is answered here.
pub fn resolve(catalog: &Catalog, request: &mut Request) -> Option<Response> {
    match &mut request.ask {
        Ask::OffsetCommit(commit) => {
            let uses_ids = request.version >= COMMIT_IDS_SINCE;
            let unknown = commit.topics.iter_mut().find_map(|topic| find(catalog, uses_ids, topic).err());
            unknown.map(|code| refusal(&commit.topics, code))
        }
        Ask::OffsetFetch { group, .. } => {
            let mut topics = group.topics.iter_mut().flatten();
            let known = topics.all(|topic| match catalog.by_name(&topic.name) {
                Some(found) => {
                    topic.topic_id = catalog.id(found);
                    true
                }
                None => false,
            });
            (!known).then(|| Response::OffsetFetch(Default::default()))
        }
        _ => None,
    }
}

fn find(
    catalog: &Catalog,
    uses_ids: bool,
    topic: &mut commit::OffsetCommitRequestTopic,
) -> Result<(), ErrorCode> {
    let found = if uses_ids { catalog.living(topic.topic_id) } else { catalog.by_name(&topic.name) };
    let unknown = if uses_ids { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let found = found.ok_or(unknown)?;
    if topic.partitions.iter().any(|partition| partition.partition_index >= catalog.partitions(found)) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    (topic.name, topic.topic_id) = (catalog.name(found).clone(), catalog.id(found));
    Ok(())
}

fn refusal(topics: &[commit::OffsetCommitRequestTopic], code: ErrorCode) -> Response {
    let refused = |topic: &commit::OffsetCommitRequestTopic| committed::OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| committed::OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.code(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let topics = topics.iter().map(refused).collect();
    Response::OffsetCommit(m::OffsetCommitResponse { topics, ..Default::default() })
}
