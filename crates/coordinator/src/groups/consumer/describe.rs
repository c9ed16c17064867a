//! ConsumerGroupDescribe.

use std::collections::BTreeMap;

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;
use dohle_wire::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};

use super::group::ConsumerGroup;
use super::member::Member;
use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, Response};
use crate::topics::Topics;

const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

pub(in crate::groups) fn describe(
    coordinator: &mut GroupCoordinator,
    call: &Call,
    groups: Vec<Text>,
    effects: &mut Effects,
) {
    let described = groups.into_iter().map(|group_id| described(coordinator, group_id)).collect();
    effects.reply(call.to, Response::ConsumerGroupDescribe(described));
}

fn described(coordinator: &GroupCoordinator, group_id: Text) -> DescribedGroup {
    let group = match coordinator.groups.get(&group_id) {
        Some(Group::Consumer(group)) => group,
        other => {
            let message = match other {
                None => format!("Group {group_id} not found."),
                Some(_) => format!("Group {group_id} is not a consumer group."),
            };
            return DescribedGroup {
                group_id,
                error_code: ErrorCode::GroupIdNotFound as i16,
                error_message: Some(Text::from(message)),
                ..Default::default()
            };
        }
    };
    let default = || coordinator.settings.consumer.assignors.first().cloned().unwrap_or_default();
    DescribedGroup {
        group_id,
        group_state: Text::from_static(group.state_name()),
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: group.preferred_assignor(None).unwrap_or_else(default),
        members: group.members.values().map(|member| described_member(coordinator, group, member)).collect(),
        ..Default::default()
    }
}

fn described_member(
    coordinator: &GroupCoordinator,
    group: &ConsumerGroup,
    member: &Member,
) -> DescribedMember {
    let mut owned: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for (topic, partitions) in member.assigned.iter().chain(&member.revoking) {
        owned.entry(*topic).or_default().extend(partitions.keys());
    }
    let target = group.targets.get(&member.id).cloned().unwrap_or_default();
    DescribedMember {
        member_id: member.id.clone(),
        instance_id: member.instance.clone(),
        rack_id: member.rack.clone(),
        member_epoch: member.epoch,
        client_id: member.client.id.clone(),
        client_host: member.client.host.clone(),
        subscribed_topic_names: member.topics.iter().cloned().collect(),
        subscribed_topic_regex: member.regex.clone(),
        assignment: assignment(&owned, &coordinator.topics),
        target_assignment: assignment(&target, &coordinator.topics),
        member_type: if member.is_classic() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
        ..Default::default()
    }
}

/// What there still is of an assignment.
fn assignment(partitions: &BTreeMap<TopicId, Vec<i32>>, topics: &Topics) -> Assignment {
    let of = |(topic_id, partitions): (&TopicId, &Vec<i32>)| {
        topics.by_id(*topic_id).map(|topic| TopicPartitions {
            topic_id: *topic_id,
            topic_name: topic.name.clone(),
            partitions: partitions.clone(),
            ..Default::default()
        })
    };
    Assignment { topic_partitions: partitions.iter().filter_map(of).collect(), ..Default::default() }
}
