//! Answers and records as a script's lines.

use bytes::Bytes;
use dohle_types::ErrorCode;
use dohle_wire::messages as m;
use dohle_wire::{ConsumerOffsetsKey as Key, ConsumerOffsetsValue as Value, Message, Reader, Writer};

use super::Stage;
use crate::groups::{GroupRecord, Response};

pub(super) fn response(stage: &mut Stage, response: &Response, version: i16) -> String {
    match response {
        Response::JoinGroup(of) => join(stage, &arrived(of, version)),
        Response::SyncGroup(of) => {
            let of = arrived(of, version);
            if of.error_code != 0 {
                return format!("SyncGroup {}", code(of.error_code));
            }
            let kind = of.protocol_type.as_deref().unwrap_or_default();
            let protocol = of.protocol_name.as_deref().unwrap_or_default();
            format!("SyncGroup {kind}/{protocol} {}", bytes(&of.assignment))
        }
        Response::Heartbeat(of) => format!("Heartbeat {}", code(arrived(of, version).error_code)),
        Response::LeaveGroup(of) => {
            let of = arrived(of, version);
            let member = |member: &m::leave_group_response::MemberResponse| {
                let name = stage.name_of(&member.member_id);
                let instance = member.group_instance_id.as_deref().unwrap_or_default();
                format!(" {name}@{instance}={}", code(member.error_code))
            };
            let members: String = of.members.iter().map(member).collect();
            format!("LeaveGroup {}{members}", code(of.error_code))
        }
        Response::OffsetCommit(of) => {
            // Versions from 10 on do not name the topics, the scripts do.
            arrived(of, version);
            let topics = of.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|partition| {
                    let at = format!("{}:{}", topic.name, partition.partition_index);
                    format!(" {at}={}", code(partition.error_code))
                })
            });
            format!("OffsetCommit{}", topics.collect::<String>())
        }
        Response::OffsetFetch(of) => fetch(of),
        Response::OffsetDelete(of) => {
            let of = arrived(of, version);
            let topics = of.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|partition| {
                    format!(" {}:{}={}", topic.name, partition.partition_index, code(partition.error_code))
                })
            });
            format!("OffsetDelete {}{}", code(of.error_code), topics.collect::<String>())
        }
        Response::DeleteGroups(of) => {
            let groups = of.iter().map(|group| format!(" {}={}", group.group_id, code(group.error_code)));
            format!("DeleteGroups{}", groups.collect::<String>())
        }
        Response::ListGroups(of) => {
            let of = arrived(of, version);
            let groups = of.groups.iter().map(|group| {
                let (state, kind) = (&group.group_state, &group.group_type);
                format!(" {}[{}]={state}/{kind}", group.group_id, group.protocol_type)
            });
            format!("ListGroups{}", groups.collect::<String>())
        }
        Response::DescribeGroups(of) => {
            let groups = of.iter().map(|group| described(stage, group));
            format!("DescribeGroups{}", in_order(groups).concat())
        }
        other => format!("{other:?}"),
    }
}

/// The response as it arrives in the version that it was asked for.
fn arrived<M: Message>(message: &M, version: i16) -> M {
    let mut w = Writer::new();
    let written = message.encode(&mut w, version);
    assert!(written.is_ok(), "{written:?} at version {version}: {message:?}");
    M::decode(&mut Reader::new(w.into_bytes()), version).expect("what was written can be read")
}

fn join(stage: &mut Stage, of: &m::JoinGroupResponse) -> String {
    let member_id = stage.name_of(&of.member_id);
    if of.error_code != 0 {
        let leader = if of.leader.is_empty() { "" } else { " and a leader" };
        return format!("JoinGroup {} member={member_id}{leader}", code(of.error_code));
    }
    let members = of.members.iter().map(|member| {
        let instance = member.group_instance_id.as_ref().map(|id| format!("@{id}")).unwrap_or_default();
        format!("{}{instance}{}", stage.name_of(&member.member_id), bytes(&member.metadata))
    });
    let members = in_order(members).join(" ");
    let protocol = format!(
        "{}/{}",
        of.protocol_type.as_deref().unwrap_or_default(),
        of.protocol_name.as_deref().unwrap_or_default()
    );
    let skip = if of.skip_assignment { " skip" } else { "" };
    let leader = stage.name_of(&of.leader);
    format!(
        "JoinGroup gen={} {protocol} leader={leader} member={member_id} [{members}]{skip}",
        of.generation_id
    )
}

fn fetch(of: &m::offset_fetch_response::OffsetFetchResponseGroup) -> String {
    let topics = of.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let at = format!("{}:{}", topic.name, partition.partition_index);
            if partition.error_code != 0 {
                return format!(" {at}={}", code(partition.error_code));
            }
            let metadata = partition.metadata.as_deref().filter(|text| !text.is_empty());
            let metadata = metadata.map(|text| format!("({text})")).unwrap_or_default();
            let epoch = partition.committed_leader_epoch;
            let epoch = if epoch == -1 { String::new() } else { format!("/{epoch}") };
            format!(" {at}@{}{epoch}{metadata}", partition.committed_offset)
        })
    });
    format!("OffsetFetch {}{}", code(of.error_code), in_order(topics).concat())
}

fn described(stage: &mut Stage, group: &m::describe_groups_response::DescribedGroup) -> String {
    let error = if group.error_code == 0 { "" } else { code(group.error_code) };
    let message = group.error_message.as_deref().unwrap_or_default();
    let members = group.members.iter().map(|member| {
        let instance = member.group_instance_id.as_ref().map(|id| format!("@{id}")).unwrap_or_default();
        let name = stage.name_of(&member.member_id);
        let (metadata, assignment) = (bytes(&member.member_metadata), bytes(&member.member_assignment));
        format!("{name}{instance} {}{} {metadata} {assignment}", member.client_id, member.client_host)
    });
    let members = in_order(members).join(", ");
    let kind = format!("{}/{}", group.protocol_type, group.protocol_data);
    format!(" {} {} {kind} [{members}]{error}{message}", group.group_id, group.group_state)
}

pub(super) fn record(stage: &mut Stage, record: &GroupRecord) -> String {
    match (&record.key, &record.value) {
        (Key::GroupMetadata(key), None) => format!("- GroupMetadata {}", key.group),
        (Key::OffsetCommit(key), None) => {
            format!("- OffsetCommit {} {}:{}", key.group, key.topic, key.partition)
        }
        (Key::GroupMetadata(key), Some((Value::GroupMetadata(value), version))) => {
            let members = value.members.iter().map(|member| {
                let instance = member.group_instance_id.as_ref().map(|id| format!("@{id}"));
                let (metadata, assignment) = (bytes(&member.subscription), bytes(&member.assignment));
                let timeouts = format!("{}/{}", member.session_timeout, member.rebalance_timeout);
                let name = stage.name_of(&member.member_id);
                format!("{name}{} {timeouts} {metadata} {assignment}", instance.unwrap_or_default())
            });
            let members = in_order(members).join(", ");
            let protocol = format!("{}/{}", value.protocol_type, value.protocol.as_deref().unwrap_or("null"));
            let leader = value.leader.as_deref().map_or("null".to_owned(), |id| stage.name_of(id));
            let since = value.current_state_timestamp;
            format!(
                "+ GroupMetadata {} v{version} gen={} {protocol} leader={leader} since={since} [{members}]",
                key.group, value.generation
            )
        }
        (Key::OffsetCommit(key), Some((Value::OffsetCommit(value), version))) => {
            let topic =
                if value.topic_id.is_zero() { String::new() } else { format!("#{:?}", value.topic_id.0[15]) };
            let at = format!("{} {}{topic}:{}", key.group, key.topic, key.partition);
            let expires = if value.expire_timestamp == -1 {
                String::new()
            } else {
                format!(" expires={}", value.expire_timestamp)
            };
            let epoch =
                if value.leader_epoch == -1 { String::new() } else { format!("/{}", value.leader_epoch) };
            let metadata =
                if value.metadata.is_empty() { String::new() } else { format!("({})", value.metadata) };
            format!(
                "+ OffsetCommit v{version} {at}@{}{epoch}{metadata} at={}{expires}",
                value.offset, value.commit_timestamp
            )
        }
        other => format!("{other:?}"),
    }
}

/// Members by name, since their ids are chance, and partitions in order, which Kafka does not keep.
fn in_order(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

fn code(code: i16) -> &'static str {
    ErrorCode::from_code(code).expect("a known code").name()
}

/// A subscription as `(topics)`, other bytes as `"text"`.
fn bytes(bytes: &Bytes) -> String {
    match topics(bytes) {
        Some(topics) => format!("({})", topics.join(",")),
        None => format!("{:?}", String::from_utf8_lossy(bytes)),
    }
}

fn topics(bytes: &Bytes) -> Option<Vec<String>> {
    let mut reader = Reader::new(bytes.clone());
    reader.i16().ok()?;
    let count = reader.i32().ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(reader.string(false).ok()?.to_string());
    }
    reader.nullable_bytes(false).ok()?;
    reader.finish().ok()?;
    Some(topics)
}
