//! A classic group becomes a consumer group: its members stay, with the partitions they have.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dohle_types::TopicId;
use dohle_wire::Text;
use dohle_wire::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};

use super::protocol;
use crate::groups::assignors::Assigned;
use crate::groups::classic::{self, ClassicGroup};
use crate::groups::consumer::{
    ConsumerGroup, Denied, Draft, Epochs, Member, Outlook, Timer, Watched, metadata_hash, records,
};
use crate::groups::{GroupCoordinator, MigrationPolicy};

/// The consumer group that a classic one becomes when a member of the consumer protocol joins it.
pub fn upgrade(
    coordinator: &GroupCoordinator,
    group_id: &Text,
    classic: &ClassicGroup,
    draft: &mut Draft,
) -> Result<ConsumerGroup, Denied> {
    if !classic.is_empty() {
        validate(coordinator, group_id, classic)?;
    }
    draft.dissolve(group_id.clone());
    draft.records.push(classic::tombstone(group_id));
    let mut group = ConsumerGroup::new();
    if classic.is_empty() {
        return Ok(group);
    }
    group.epoch = first_epoch(classic);
    group.assignment_epoch = group.epoch;
    let mut claims = Claims::of(coordinator, classic);
    for member in classic.members() {
        let (mut member, target) = upgraded(coordinator, group_id, classic, member)?;
        claims.grant(&mut member);
        let session_ms = member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
        draft.set_timer(Timer::session(group_id, &member.id), session_ms);
        group.targets.insert(member.id.clone(), Arc::new(target));
        group.put_member(member, &mut Watched::default());
    }
    group.metadata_hash = metadata_hash(coordinator, &Outlook::of(&group));
    record(group_id, &group, draft);
    Ok(group)
}

/// A group whose members are still joining for the first time has the generation 0. A member that was told this as its epoch would
/// ask to join with every heartbeat.
fn first_epoch(classic: &ClassicGroup) -> i32 {
    if cfg!(dohle_bug = "generation-forgotten") { 1 } else { classic.generation().max(1) }
}

fn validate(coordinator: &GroupCoordinator, group_id: &str, classic: &ClassicGroup) -> Result<(), Denied> {
    let consumer = &coordinator.settings.consumer;
    let reason = if !matches!(consumer.migration, MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional) {
        "online upgrade is disabled"
    } else if !classic.uses_consumer_protocol() {
        "the group does not use the consumer embedded protocol"
    } else if classic.size() > consumer.max_size {
        "the group size exceeds the consumer group maximum size"
    } else {
        return Ok(());
    };
    Err(cannot(group_id, &format!(" because {reason}.")))
}

fn cannot(group_id: &str, why: &str) -> Denied {
    Denied::no_group(format!("Cannot upgrade classic group {group_id} to consumer group{why}"))
}

/// A member with what it subscribed to and what its leader gave it.
fn upgraded(
    coordinator: &GroupCoordinator,
    group_id: &str,
    group: &ClassicGroup,
    member: &classic::Member,
) -> Result<(Member, Assigned), Denied> {
    let malformed = |_| cannot(group_id, " because the embedded consumer protocol is malformed.");
    let assignment = protocol::assignment(&member.assignment).map_err(malformed)?;
    if assignment.user_data.as_ref().is_some_and(|data| !data.is_empty()) {
        let why = " because an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade.";
        return Err(cannot(group_id, why));
    }
    let subscription = protocol::subscription(spoken(group, member)).map_err(malformed)?;
    let target = protocol::assigned(&assignment, &coordinator.topics);
    let epoch = first_epoch(group);
    let assigned: Epochs = target
        .iter()
        .map(|(topic, partitions)| (*topic, partitions.iter().map(|at| (*at, epoch)).collect()))
        .collect();
    let upgraded = Member {
        instance: member.instance_id.clone(),
        rack: subscription.rack_id.filter(|rack| !rack.is_empty()),
        client: member.client.clone(),
        topics: Arc::new(subscription.topics.into_iter().collect()),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        classic: Some(ClassicMemberMetadata {
            session_timeout_ms: member.session_timeout_ms,
            supported_protocols: member.protocols.iter().map(supported).collect(),
            ..Default::default()
        }),
        epoch,
        previous_epoch: epoch,
        assigned,
        ..Member::new(member.id.clone())
    };
    Ok((upgraded, target))
}

/// What members said they have when they joined, and no assignment speaks of. Cooperative members keep their partitions while they join
/// again. When a generation ends before all have its assignments, those are gone; and whoever has not heard of one that takes
/// partitions away has them still. Nobody else may have them before they are given up.
///
/// Of two who claim a partition the younger generation is right; what is assigned to somebody is claimed in vain.
struct Claims(BTreeMap<Text, Vec<(TopicId, i32)>>);

impl Claims {
    fn of(coordinator: &GroupCoordinator, group: &ClassicGroup) -> Self {
        let mut taken: BTreeMap<(TopicId, i32), (i32, Option<&Text>)> = BTreeMap::new();
        for member in group.members() {
            let Ok(assignment) = protocol::assignment(&member.assignment) else { continue };
            for (topic, partitions) in protocol::assigned(&assignment, &coordinator.topics) {
                taken.extend(partitions.into_iter().map(|at| ((topic, at), (i32::MAX, None))));
            }
            let Ok(subscription) = protocol::subscription(spoken(group, member)) else { continue };
            for owned in &subscription.owned_partitions {
                let Some(topic) = coordinator.topics.by_name(&owned.topic) else { continue };
                for at in owned.partitions.iter().filter(|at| (0..topic.partitions).contains(*at)) {
                    let claim = (subscription.generation_id, Some(&member.id));
                    let held = taken.entry((topic.id, *at)).or_insert(claim);
                    if held.0 < claim.0 {
                        *held = claim;
                    }
                }
            }
        }
        let mut claims = Self(BTreeMap::new());
        for (place, (_, member)) in taken {
            if let Some(member) = member {
                claims.0.entry(member.clone()).or_default().push(place);
            }
        }
        claims
    }

    /// What the member claims and nobody else has counts as its own.
    fn grant(&mut self, member: &mut Member) {
        let epoch = member.epoch;
        for (topic, at) in self.0.remove(&member.id).unwrap_or_default() {
            member.assigned.entry(topic).or_default().insert(at, epoch);
        }
    }
}

fn supported(protocol: &classic::Protocol) -> ClassicProtocol {
    ClassicProtocol { name: protocol.name.clone(), metadata: protocol.metadata.clone(), ..Default::default() }
}

/// What the member said in the protocol that the group elected; in its own first one while none is elected.
fn spoken<'a>(group: &ClassicGroup, member: &'a classic::Member) -> &'a Bytes {
    static NOTHING: Bytes = Bytes::new();
    let elected = group.protocol().and_then(|protocol| member.metadata(protocol));
    elected.or(member.protocols.first().map(|protocol| &protocol.metadata)).unwrap_or(&NOTHING)
}

fn record(group_id: &Text, group: &ConsumerGroup, draft: &mut Draft) {
    let members = || group.members.values();
    draft.records.extend(members().map(|member| records::member(group_id, member)));
    draft.records.push(records::epoch(group_id, group.epoch, group.metadata_hash));
    let targets = group.targets.iter();
    draft.records.extend(targets.map(|(member_id, target)| records::target(group_id, member_id, target)));
    draft.records.push(records::target_epoch(group_id, group.assignment_epoch, group.assignment_timestamp));
    draft.records.extend(members().map(|member| records::current(group_id, member)));
}
