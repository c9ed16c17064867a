//! OffsetFetch, one group at a time.

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;
use dohle_wire::messages as m;
use m::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use m::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};

use super::store::Committed;
use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, Response};
use crate::small_map::SmallMap;

/// From this version on, an error is told once for the group; before, with every partition.
const GROUP_ERROR_SINCE: i16 = 2;

pub(in crate::groups) fn fetch(
    c: &GroupCoordinator,
    call: &Call,
    request: OffsetFetchRequestGroup,
    stable: bool,
    effects: &mut Effects,
) {
    let view = View { c, group: &request.group_id, stable };
    let found = match c.groups.get(&request.group_id) {
        None => Ok(false),
        Some(Group::Classic(_)) => Ok(true),
        Some(Group::Consumer(group)) => {
            group.validate_offset_fetch(request.member_id.as_deref(), request.member_epoch).map(|()| true)
        }
    };
    let response = match (found, &request.topics) {
        (Err(code), _) => refusal(&request, code, call.version),
        (Ok(false), None) => view.answer(Vec::new()),
        (Ok(true), None) => view.answer(view.all()),
        (Ok(_), Some(topics)) => view.answer(topics.iter().map(|topic| view.topic(topic)).collect()),
    };
    effects.reply(call.to, Response::OffsetFetch(response));
}

/// What one request sees of a group's offsets.
struct View<'a> {
    c: &'a GroupCoordinator,
    group: &'a Text,
    /// Offsets that a transaction may still change are not told.
    stable: bool,
}

impl View<'_> {
    fn all(&self) -> Vec<OffsetFetchResponseTopics> {
        let topics = self.c.offsets.topics(self.group);
        topics.map(|(topic, partitions)| self.whole_topic(topic, partitions)).collect()
    }

    fn whole_topic(&self, topic: &Text, partitions: &SmallMap<i32, Committed>) -> OffsetFetchResponseTopics {
        let partitions = partitions
            .iter()
            .map(|(partition, committed)| self.partition(topic, *partition, Some(committed)));
        OffsetFetchResponseTopics {
            name: topic.clone(),
            partitions: partitions.collect(),
            ..Default::default()
        }
    }

    fn topic(&self, topic: &OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
        let partitions = topic.partition_indexes.iter().map(|partition| {
            let committed = self.c.offsets.get(self.group, &topic.name, *partition);
            let committed = committed.filter(|committed| is_same_topic(committed.topic_id, topic.topic_id));
            self.partition(&topic.name, *partition, committed)
        });
        OffsetFetchResponseTopics {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
            ..Default::default()
        }
    }

    fn partition(
        &self,
        topic: &Text,
        partition_index: i32,
        committed: Option<&Committed>,
    ) -> OffsetFetchResponsePartitions {
        if self.stable && self.c.offsets.is_pending(self.group, topic, partition_index) {
            return nothing(partition_index, ErrorCode::UnstableOffsetCommit);
        }
        let Some(committed) = committed else { return nothing(partition_index, ErrorCode::None) };
        OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(committed.metadata.as_deref().map(Text::from).unwrap_or_default()),
            ..Default::default()
        }
    }

    fn answer(&self, topics: Vec<OffsetFetchResponseTopics>) -> OffsetFetchResponseGroup {
        OffsetFetchResponseGroup { group_id: self.group.clone(), topics, ..Default::default() }
    }
}

/// The offset may be of an older topic with the same name; where an id is missing, the name decides.
fn is_same_topic(committed: TopicId, asked: TopicId) -> bool {
    committed.is_zero() || asked.is_zero() || committed == asked
}

fn nothing(partition_index: i32, code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Text::new()),
        error_code: code.code(),
        ..Default::default()
    }
}

fn refusal(request: &OffsetFetchRequestGroup, code: ErrorCode, version: i16) -> OffsetFetchResponseGroup {
    let group = OffsetFetchResponseGroup { group_id: request.group_id.clone(), ..Default::default() };
    if version >= GROUP_ERROR_SINCE {
        return OffsetFetchResponseGroup { error_code: code.code(), ..group };
    }
    let topics = request.topics.iter().flatten().map(|topic| OffsetFetchResponseTopics {
        name: topic.name.clone(),
        partitions: topic.partition_indexes.iter().map(|partition| nothing(*partition, code)).collect(),
        ..Default::default()
    });
    OffsetFetchResponseGroup { topics: topics.collect(), ..group }
}
