//! A classic group as its record says it, both ways.

use bytes::Bytes;
use dohle_wire::Text;
use dohle_wire::messages as m;
use m::group_metadata_value::MemberMetadata;

use super::group::{ClassicGroup, Phase};
use super::member::{Member, Protocol, kept_name};
use crate::groups::GroupRecord;
use crate::groups::request::Client;

/// The version of the value that Kafka 4.3 writes.
const VALUE_VERSION: i16 = 3;

impl ClassicGroup {
    /// What a record says, living.
    pub(super) fn from_stored(stored: m::GroupMetadataValue) -> Self {
        let mut group = Self::default();
        group.since_ms = (stored.current_state_timestamp != -1).then_some(stored.current_state_timestamp);
        group.generation = stored.generation;
        group.protocol_type = (!stored.protocol_type.is_empty()).then(|| stored.protocol_type.clone());
        group.protocol = stored.protocol.clone();
        group.leader = stored.leader.clone();
        for member in &stored.members {
            group.add(member_of(&stored, member), &stored.protocol_type);
        }
        if !stored.members.is_empty() {
            group.phase = Phase::Stable { unsynced: Default::default() };
        }
        group.read_subscriptions();
        group.remember(stored);
        group
    }

    /// The record of the group with the assignments that `assignment` gives.
    pub(in crate::groups) fn record(&self, id: &Text, assignment: impl Fn(&Member) -> Bytes) -> GroupRecord {
        let subscription = |member: &Member| {
            let protocol = self.protocol.as_ref()?;
            member.metadata(protocol).cloned()
        };
        let members = self.members().map(|member| MemberMetadata {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: subscription(member).expect("members know the protocol that was elected"),
            assignment: assignment(member),
            ..Default::default()
        });
        let value = m::GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.since_ms.unwrap_or(-1),
            members: members.collect(),
            ..Default::default()
        };
        GroupRecord::put_at(m::GroupMetadataKey { group: id.clone() }, value, VALUE_VERSION)
    }

    /// The record of a group that has only just been asked for.
    pub(super) fn first_record(&self, id: &Text) -> GroupRecord {
        let value = m::GroupMetadataValue {
            protocol: None,
            leader: None,
            current_state_timestamp: self.since_ms.unwrap_or(-1),
            ..Default::default()
        };
        GroupRecord::put_at(m::GroupMetadataKey { group: id.clone() }, value, VALUE_VERSION)
    }
}

/// The record that ends a group.
pub(in crate::groups) fn tombstone(id: &Text) -> GroupRecord {
    GroupRecord::tombstone(m::GroupMetadataKey { group: id.clone() })
}

fn member_of(group: &m::GroupMetadataValue, stored: &MemberMetadata) -> Member {
    let session_timeout_ms = stored.session_timeout;
    let rebalance_timeout_ms = match stored.rebalance_timeout {
        -1 => session_timeout_ms,
        timeout => timeout,
    };
    // Only what was said under the elected protocol is kept in a record.
    let protocol =
        Protocol { name: group.protocol.clone().unwrap_or_default(), metadata: stored.subscription.clone() };
    let mut member = Member::new(
        stored.member_id.clone(),
        stored.group_instance_id.clone(),
        Client { id: stored.client_id.clone(), host: stored.client_host.clone() },
        (rebalance_timeout_ms, session_timeout_ms),
        vec![protocol],
    );
    member.assignment = stored.assignment.clone();
    member
}

/// A copy in buffers of its own: what is read back from the log lies in a block of the log.
pub(super) fn detached(value: m::GroupMetadataValue) -> m::GroupMetadataValue {
    let text = |text: &Option<Text>| text.as_ref().map(Text::detached);
    let members = value.members.iter().map(|member| MemberMetadata {
        member_id: member.member_id.detached(),
        group_instance_id: text(&member.group_instance_id),
        client_id: member.client_id.detached(),
        client_host: member.client_host.detached(),
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
        ..member.clone()
    });
    m::GroupMetadataValue {
        protocol_type: kept_name(&value.protocol_type),
        protocol: value.protocol.as_ref().map(kept_name),
        leader: text(&value.leader),
        members: members.collect(),
        ..value
    }
}
