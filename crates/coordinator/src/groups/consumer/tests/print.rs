//! Records, responses and groups in the short words of the scripts.

use std::fmt::Write as _;

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::messages as m;
use dohle_wire::{ConsumerOffsetsKey as Key, ConsumerOffsetsValue as Value, Text};

use crate::groups::consumer::{ConsumerGroup, MemberState};
use crate::groups::migration;
use crate::groups::{GroupRecord, Response};
use crate::topics::Topics;

pub fn code(code: i16) -> &'static str {
    ErrorCode::from_code(code).map_or("?", ErrorCode::name)
}

pub fn record(record: &GroupRecord, topics: &Topics) -> String {
    let value = record.value.as_ref().map(|(value, _)| value);
    match (&record.key, value) {
        (Key::ConsumerGroupMemberMetadata(key), None) => format!("- member {}", key.member_id),
        (Key::ConsumerGroupMemberMetadata(key), Some(Value::ConsumerGroupMemberMetadata(value))) => {
            format!("+ member {}{}", key.member_id, wishes(value))
        }
        (Key::ConsumerGroupMetadata(_), None) => "- group".to_owned(),
        (Key::ConsumerGroupMetadata(_), Some(Value::ConsumerGroupMetadata(value))) => {
            format!(
                "+ group epoch={}{}",
                value.epoch,
                if value.metadata_hash == 0 { " no-topics" } else { "" }
            )
        }
        (Key::ConsumerGroupPartitionMetadata(_), value) => {
            format!("{} partition-metadata", if value.is_some() { '+' } else { '-' })
        }
        (Key::ConsumerGroupTargetAssignmentMember(key), None) => format!("- target {}", key.member_id),
        (
            Key::ConsumerGroupTargetAssignmentMember(key),
            Some(Value::ConsumerGroupTargetAssignmentMember(value)),
        ) => {
            let of = value.topic_partitions.iter().map(|of| (of.topic_id, of.partitions.iter().copied()));
            format!("+ target {}{}", key.member_id, partitions(of, topics))
        }
        (Key::ConsumerGroupTargetAssignmentMetadata(_), None) => "- target".to_owned(),
        (
            Key::ConsumerGroupTargetAssignmentMetadata(_),
            Some(Value::ConsumerGroupTargetAssignmentMetadata(value)),
        ) => format!("+ target epoch={}", value.assignment_epoch),
        (Key::ConsumerGroupCurrentMemberAssignment(key), None) => format!("- current {}", key.member_id),
        (
            Key::ConsumerGroupCurrentMemberAssignment(key),
            Some(Value::ConsumerGroupCurrentMemberAssignment(value)),
        ) => format!("+ current {} {}", key.member_id, current(value, topics)),
        (Key::ConsumerGroupRegularExpression(key), None) => format!("- regex {}", key.regular_expression),
        (Key::ConsumerGroupRegularExpression(key), Some(Value::ConsumerGroupRegularExpression(value))) => {
            format!("+ regex {} [{}]", key.regular_expression, joined(&value.topics))
        }
        (Key::GroupMetadata(_), None) => "- classic".to_owned(),
        (Key::GroupMetadata(_), Some(Value::GroupMetadata(value))) => classic(value),
        (key, _) => format!("? {key:?}"),
    }
}

fn wishes(value: &m::ConsumerGroupMemberMetadataValue) -> String {
    let mut out = format!(" topics=[{}]", joined(&value.subscribed_topic_names));
    let texts = [
        ("regex", value.subscribed_topic_regex.as_ref().filter(|regex| !regex.is_empty())),
        ("instance", value.instance_id.as_ref()),
        ("rack", value.rack_id.as_ref()),
        ("assignor", value.server_assignor.as_ref()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            let _ = write!(out, " {name}={text}");
        }
    }
    if let Some(classic) = &value.classic_member_metadata {
        let names: Vec<&str> = classic.supported_protocols.iter().map(|protocol| &*protocol.name).collect();
        let _ = write!(out, " classic=[{}]", names.join(","));
    }
    out
}

fn current(value: &m::ConsumerGroupCurrentMemberAssignmentValue, topics: &Topics) -> String {
    let of = |list: &[m::consumer_group_current_member_assignment_value::TopicPartitions]| {
        let mut out = String::new();
        for topic in list {
            let epochs = topic.assignment_epochs.clone().unwrap_or_default();
            let at: Vec<String> =
                topic.partitions.iter().zip(epochs).map(|(at, epoch)| format!("{at}@{epoch}")).collect();
            let _ = write!(out, " {}:{}", name(topic.topic_id, topics), at.join(","));
        }
        out
    };
    let mut out = format!(
        "{}<-{} {:?}{}",
        value.member_epoch,
        value.previous_member_epoch,
        MemberState::from_code(value.state),
        of(&value.assigned_partitions)
    );
    if !value.partitions_pending_revocation.is_empty() {
        let _ = write!(out, " revoking{}", of(&value.partitions_pending_revocation));
    }
    out
}

fn classic(value: &m::GroupMetadataValue) -> String {
    let mut out = format!(
        "+ classic generation={} protocol={}",
        value.generation,
        value.protocol.as_deref().unwrap_or("-")
    );
    for member in &value.members {
        let _ = write!(out, " {}({})", member.member_id, given(&member.assignment));
    }
    out
}

/// An assignment of the classic protocol.
pub fn given(assignment: &bytes::Bytes) -> String {
    let assignment = migration::protocol::assignment(assignment).unwrap();
    let of = |of: &m::consumer_protocol_assignment::TopicPartition| {
        format!("{}:{}", of.topic, numbers(of.partitions.iter().copied()))
    };
    assignment.assigned_partitions.iter().map(of).collect::<Vec<_>>().join(" ")
}

pub fn response(response: &Response, topics: &Topics) -> String {
    match response {
        Response::ConsumerGroupHeartbeat(response) if response.error_code != 0 => {
            format!("{}: {}", code(response.error_code), response.error_message.as_deref().unwrap_or(""))
        }
        Response::ConsumerGroupHeartbeat(response) => {
            let id = response.member_id.as_deref().unwrap_or("");
            let assigned = response.assignment.as_ref().map_or(String::new(), |assignment| {
                let of = assignment.topic_partitions.iter();
                let of = of.map(|of| (of.topic_id, of.partitions.iter().copied()));
                format!(" assigned={}", partitions(of, topics).trim_start())
            });
            format!("{id} epoch={}{assigned}", response.member_epoch)
        }
        Response::JoinGroup(response) => format!(
            "{} {} generation={} protocol={} leader={}",
            code(response.error_code),
            response.member_id,
            response.generation_id,
            response.protocol_name.as_deref().unwrap_or("-"),
            if response.leader == response.member_id { "yes" } else { "no" }
        ),
        Response::SyncGroup(response) if response.error_code == 0 => {
            format!("NONE {}", given(&response.assignment)).trim_end().to_owned()
        }
        Response::SyncGroup(response) => code(response.error_code).to_owned(),
        Response::Heartbeat(response) => code(response.error_code).to_owned(),
        Response::LeaveGroup(response) => {
            let of = |of: &m::leave_group_response::MemberResponse| {
                format!("{} {}", of.member_id, code(of.error_code))
            };
            let members: Vec<String> = response.members.iter().map(of).collect();
            format!("{} {}", code(response.error_code), members.join(", ")).trim_end().to_owned()
        }
        Response::OffsetCommit(response) => {
            let codes = response.topics.iter().flat_map(|topic| &topic.partitions);
            codes.map(|partition| code(partition.error_code)).collect::<Vec<_>>().join(",")
        }
        Response::ConsumerGroupDescribe(groups) => described(groups, topics),
        other => format!("{other:?}"),
    }
}

fn described(groups: &[m::consumer_group_describe_response::DescribedGroup], _: &Topics) -> String {
    let of = |assignment: &m::consumer_group_describe_response::Assignment| {
        let of = assignment.topic_partitions.iter();
        of.map(|of| format!("{}:{}", of.topic_name, numbers(of.partitions.iter().copied())))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut out = String::new();
    for group in groups {
        if group.error_code != 0 {
            let _ =
                write!(out, "{}: {}", code(group.error_code), group.error_message.as_deref().unwrap_or(""));
            continue;
        }
        let _ = write!(
            out,
            "{} {} epoch={} target={} assignor={}",
            group.group_id, group.group_state, group.group_epoch, group.assignment_epoch, group.assignor_name
        );
        for member in &group.members {
            let _ = write!(
                out,
                "\n{} epoch={} type={} has=[{}] target=[{}] topics=[{}] regex={}",
                member.member_id,
                member.member_epoch,
                member.member_type,
                of(&member.assignment),
                of(&member.target_assignment),
                joined(&member.subscribed_topic_names),
                member.subscribed_topic_regex.as_deref().unwrap_or("-")
            );
        }
    }
    out
}

/// What a script sees of a group's counts.
pub fn group(group: &ConsumerGroup) -> String {
    format!("{} members={} classic={}", group.state_name(), group.members.len(), group.classic_members())
}

fn partitions<I: Iterator<Item = i32>>(
    topics_of: impl Iterator<Item = (TopicId, I)>,
    topics: &Topics,
) -> String {
    topics_of.map(|(topic, at)| format!(" {}:{}", name(topic, topics), numbers(at))).collect()
}

fn name(topic: TopicId, topics: &Topics) -> String {
    topics.by_id(topic).map_or_else(|| "deleted".to_owned(), |topic| topic.name.to_string())
}

fn numbers(numbers: impl Iterator<Item = i32>) -> String {
    numbers.map(|at| at.to_string()).collect::<Vec<_>>().join(",")
}

fn joined(names: &[Text]) -> String {
    names.iter().map(Text::as_str).collect::<Vec<_>>().join(",")
}
