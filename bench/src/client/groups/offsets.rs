//! Committed offsets: one at a time by members, many at a time by nobody, and asked for again.

use std::time::Duration;

use dohle_types::ErrorCode;
use dohle_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use dohle_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use dohle_wire::messages::{
    FindCoordinatorRequest, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
};

use super::classic::Alone;
use super::{PATIENCE, checked};
use crate::Outcome;
use crate::client::clock::{Moment, pause};
use crate::client::connection::{Connection, Frame};
use crate::client::topic::{Topic, name_of};

const BETWEEN_TRIES: Duration = Duration::from_millis(1);
/// The first versions that know topics by their ids.
const BY_ID: i16 = 10;

/// Waits until the coordinator of a group answers; the first question makes the topic of offsets.
pub fn wait_for_coordinator(connection: &mut Connection, group: &str) -> Outcome<()> {
    let deadline = Moment::now().plus(PATIENCE);
    let request = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
    loop {
        let response = connection.call(&request)?;
        let found =
            response.coordinators.first().ok_or("FindCoordinator was answered without a coordinator")?;
        let code = if found.error_code == 0 { offsets_error(connection, group)? } else { found.error_code };
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => return Ok(()),
            Some(code) if code.is_retriable() && Moment::now() < deadline => pause(BETWEEN_TRIES),
            _ => return Err(format!("the coordinator of {group}: {}", name_of(code)).into()),
        }
    }
}

/// What the coordinator says when it is asked for all offsets of a group.
fn offsets_error(connection: &mut Connection, group: &str) -> Outcome<i16> {
    let asked = OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() };
    let response = connection.call(&OffsetFetchRequest { groups: vec![asked], ..Default::default() })?;
    Ok(response.groups.first().ok_or("OffsetFetch was answered without the group")?.error_code)
}

/// The committed offset of each partition of a topic, as soon as the coordinator has it.
pub fn fetched(connection: &mut Connection, group: &str, topic: &Topic) -> Outcome<Vec<i64>> {
    wait_for_coordinator(connection, group)?;
    let asked = OffsetFetchRequestTopics {
        name: topic.name.clone(),
        topic_id: topic.id,
        partition_indexes: (0..topic.partitions).collect(),
        ..Default::default()
    };
    let asked =
        OffsetFetchRequestGroup { group_id: group.into(), topics: Some(vec![asked]), ..Default::default() };
    let response = connection.call(&OffsetFetchRequest { groups: vec![asked], ..Default::default() })?;
    let group = response.groups.first().ok_or("OffsetFetch was answered without the group")?;
    checked("OffsetFetch", group.error_code)?;
    let mut offsets = vec![-1; usize::try_from(topic.partitions)?];
    for partition in group.topics.iter().flat_map(|t| &t.partitions) {
        checked("OffsetFetch", partition.error_code)?;
        let place = offsets.get_mut(usize::try_from(partition.partition_index)?);
        *place.ok_or("OffsetFetch was answered for a strange partition")? = partition.committed_offset;
    }
    Ok(offsets)
}

fn commit(topic: &Topic, version: i16, partitions: impl Iterator<Item = (i32, i64)>) -> OffsetCommitRequest {
    let partition = |(partition_index, committed_offset)| OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_metadata: Some(String::new().into()),
        ..Default::default()
    };
    let mut topic_data =
        OffsetCommitRequestTopic { partitions: partitions.map(partition).collect(), ..Default::default() };
    if version >= BY_ID {
        topic_data.topic_id = topic.id;
    } else {
        topic_data.name = topic.name.clone();
    }
    OffsetCommitRequest { topics: vec![topic_data], ..Default::default() }
}

/// A member's commit of one partition.
pub fn commit_frame(
    member: &Alone,
    topic: &Topic,
    version: i16,
    partition: i32,
    offset: i64,
) -> Outcome<Frame> {
    let request = OffsetCommitRequest {
        group_id: member.group.as_str().into(),
        member_id: member.id.as_str().into(),
        generation_id_or_member_epoch: member.generation,
        ..commit(topic, version, std::iter::once((partition, offset)))
    };
    Frame::new(&request, version)
}

/// Commits the same offset for every partition of a topic, for a group that has no members.
pub fn commit_all(connection: &mut Connection, group: &str, topic: &Topic, offset: i64) -> Outcome<()> {
    let version = connection.versions.of(dohle_wire::ApiKey::OffsetCommit)?;
    let request = OffsetCommitRequest {
        group_id: group.into(),
        ..commit(topic, version, (0..topic.partitions).map(|p| (p, offset)))
    };
    check_commit(&connection.call(&request)?)
}

pub fn check_commit(response: &OffsetCommitResponse) -> Outcome<()> {
    response.topics.iter().flat_map(|t| &t.partitions).try_for_each(|p| checked("OffsetCommit", p.error_code))
}
