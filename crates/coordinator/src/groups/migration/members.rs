//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup of members of the classic protocol in a consumer group.

use std::borrow::Cow;

use bytes::Bytes;
use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;
use dohle_wire::messages as m;
use dohle_wire::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
use dohle_wire::messages::leave_group_request::MemberIdentity;
use dohle_wire::messages::leave_group_response::MemberResponse;

use super::downgrade::{downgrade, downgrades_with};
use super::{CONSUMER_PROTOCOL, protocol};
use crate::groups::assignors::Assigned;
use crate::groups::classic;
use crate::groups::consumer::{
    self, Bump, ConsumerGroup, Denied, Draft, Leaving, Member, MemberState, Newcomer, Target, Timer,
    TimerKind, View, Wish,
};
use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, MigrationPolicy, Response};

/// From this version on, a member is given its id before it joins.
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;

/// JoinGroup to a consumer group that has members.
pub(in crate::groups) fn classic_join(
    coordinator: &mut GroupCoordinator,
    call: &Call,
    request: m::JoinGroupRequest,
    effects: &mut Effects,
) {
    let mut draft = Draft::new(effects);
    let Some(Group::Consumer(group)) = coordinator.groups.get(&request.group_id) else { return };
    let group_id = coordinator.stored_id(&request.group_id);
    let view = View { coordinator, moment: call.moment, group_id: &group_id, group };
    let response = match (Join { view, call, request: &request }).decide(&mut draft) {
        Ok(response) => {
            draft.settle(coordinator, call.moment, effects);
            response
        }
        Err(denied) => {
            m::JoinGroupResponse { error_code: denied.code.code(), protocol_name: None, ..Default::default() }
        }
    };
    classic::answer_join(classic::Waiting { to: call.to, version: call.version }, response, effects);
}

struct Join<'a> {
    view: View<'a>,
    call: &'a Call,
    request: &'a m::JoinGroupRequest,
}

impl Join<'_> {
    fn decide(&self, draft: &mut Draft) -> Result<m::JoinGroupResponse, Denied> {
        let (view, request) = (self.view, self.request);
        let View { coordinator, group_id, group, .. } = view;
        if coordinator.settings.consumer.migration == MigrationPolicy::Disabled {
            let message = format!(
                "Cannot join the consumer group {group_id} with the classic protocol because the group migration is disabled."
            );
            return Err(inconsistent(message));
        }
        let is_unknown = request.member_id.is_empty();
        let member_id = match is_unknown {
            true => consumer::random_id(self.call.moment.chance),
            false => request.member_id.clone(),
        };
        consumer::refuse_if_full(coordinator, group, &member_id)?;
        if !self.is_supported() {
            return Err(inconsistent(format!("Member {member_id}'s protocols are not supported.")));
        }
        if is_unknown && request.group_instance_id.is_none() && self.call.version >= MEMBER_ID_REQUIRED_SINCE
        {
            return Ok(m::JoinGroupResponse {
                member_id,
                error_code: ErrorCode::MemberIdRequired.code(),
                protocol_name: None,
                ..Default::default()
            });
        }
        let newcomer =
            |may_join| Newcomer { group_id, member_id: &member_id, epoch: None, owned: Some(&[]), may_join };
        let member = match &request.group_instance_id {
            None => newcomer(true).dynamic(group)?,
            Some(instance) => newcomer(is_unknown).stand_in(group, instance, draft)?,
        };
        self.join(&member, draft)
    }

    /// The protocol type is ours, and all members of the classic protocol know one of the protocols.
    fn is_supported(&self) -> bool {
        let group = self.view.group;
        let mut names = self.request.protocols.iter().map(|protocol| &protocol.name);
        self.request.protocol_type == *CONSUMER_PROTOCOL
            && names.any(|name| group.classic_supporters(name) == group.classic_members())
    }

    fn join(&self, member: &Member, draft: &mut Draft) -> Result<m::JoinGroupResponse, Denied> {
        let request = self.request;
        let View { coordinator, group_id, group, moment } = self.view;
        let first = request.protocols.first().map(|protocol| &protocol.metadata);
        let subscription = first.map(protocol::subscription);
        let subscription = subscription.and_then(Result::ok).ok_or_else(|| {
            let message = "Malformed embedded consumer protocol in subscription deserialization.";
            Denied::new(ErrorCode::UnknownServerError, message)
        })?;
        let classic = self.classic_metadata();
        let wished = Wish {
            client: &self.call.client,
            instance: request.group_instance_id.as_ref(),
            rack: subscription.rack_id.as_ref().filter(|rack| !rack.is_empty()),
            rebalance_timeout_ms: (request.rebalance_timeout_ms != -1)
                .then_some(request.rebalance_timeout_ms),
            assignor: None,
            topics: Some(&subscription.topics),
            regex: Some(&Text::new()),
            classic: Some(&classic),
        };
        let wished = wished.granted(member);
        let owned = self.owned(&subscription);
        let (mut progress, outlook) = self.view.advance_epoch(member, &wished, Bump::Classic, draft)?;
        let replaced = request.group_instance_id.as_ref().and_then(|instance| group.static_member(instance));
        let replaced = replaced
            .filter(|replaced| consumer_only(replaced) && downgrades_with(coordinator, group, replaced));
        if let Some(replaced) = replaced {
            let rebalance = group.assignment_epoch < progress.epoch;
            let mut now = wished;
            if !rebalance {
                let of_member = group.target_of(&now);
                progress.target = Some(Target { epoch: group.assignment_epoch, of_member });
                now = Cow::Owned(self.view.reconcile(&now, &progress, Some(&owned), draft)?.into_owned());
            }
            let staying = group.members.iter().filter(|(id, _)| **id != replaced.id);
            let staying = staying.chain([(&replaced.id, &*now)]).collect();
            if downgrade(coordinator, moment, group_id, group, staying, rebalance, draft) {
                return Ok(self.joined(&now));
            }
            progress.target = None;
            return self.stay(member, &now, progress, outlook, &owned, draft);
        }
        self.stay(member, &wished, progress, outlook, &owned, draft)
    }

    /// Joins the group that remains a consumer group.
    fn stay(
        &self,
        member: &Member,
        wished: &Member,
        mut progress: consumer::Progress,
        outlook: Option<consumer::Outlook>,
        owned: &[(TopicId, Vec<i32>)],
        draft: &mut Draft,
    ) -> Result<m::JoinGroupResponse, Denied> {
        let View { coordinator, group_id, group, moment } = self.view;
        let epoch = progress.epoch;
        let next = consumer::Next { group_id, group, epoch, old: member, member: wished, outlook };
        progress.target = Some(consumer::update_target(coordinator, moment, next, draft)?);
        let now = self.view.reconcile(wished, &progress, Some(owned), draft)?;
        draft.cancel_timer(Timer::new(TimerKind::Join, group_id, &now.id));
        draft.set_timer(Timer::session(group_id, &now.id), self.request.session_timeout_ms);
        draft.set_timer(Timer::new(TimerKind::Sync, group_id, &now.id), self.request.rebalance_timeout_ms);
        Ok(self.joined(&now))
    }

    fn joined(&self, member: &Member) -> m::JoinGroupResponse {
        m::JoinGroupResponse {
            member_id: member.id.clone(),
            generation_id: member.epoch,
            protocol_type: Some(Text::from_static(CONSUMER_PROTOCOL)),
            protocol_name: member.classic_protocol().map(|protocol| protocol.name.clone()),
            ..Default::default()
        }
    }

    fn classic_metadata(&self) -> ClassicMemberMetadata {
        let supported = self.request.protocols.iter().map(|protocol| ClassicProtocol {
            name: protocol.name.clone(),
            metadata: protocol.metadata.clone(),
            ..Default::default()
        });
        ClassicMemberMetadata {
            session_timeout_ms: self.request.session_timeout_ms,
            supported_protocols: supported.collect(),
            ..Default::default()
        }
    }

    fn owned(&self, subscription: &m::ConsumerProtocolSubscription) -> Vec<(TopicId, Vec<i32>)> {
        let topics = &self.view.coordinator.topics;
        let owned = subscription.owned_partitions.iter();
        owned.filter_map(|of| Some((topics.by_name(&of.topic)?.id, of.partitions.clone()))).collect()
    }
}

fn consumer_only(member: &Member) -> bool {
    !member.is_classic()
}

fn inconsistent(message: String) -> Denied {
    Denied::new(ErrorCode::InconsistentGroupProtocol, message)
}

/// SyncGroup to a consumer group that has members.
pub(in crate::groups) fn classic_sync(
    coordinator: &mut GroupCoordinator,
    call: &Call,
    request: m::SyncGroupRequest,
    effects: &mut Effects,
) {
    let Some(Group::Consumer(group)) = coordinator.groups.get(&request.group_id) else { return };
    let group_id = coordinator.stored_id(&request.group_id);
    let mut draft = Draft::new(effects);
    let synced = speaker(
        group,
        &group_id,
        &request.member_id,
        request.group_instance_id.as_ref(),
        request.generation_id,
    )
    .and_then(|member| {
        validate_protocol(member, &request)?;
        if group.assignment_epoch > member.epoch && member.state != MemberState::UnrevokedPartitions {
            ask_to_join(group, &group_id, member, &mut draft);
            return Err(Denied::new(ErrorCode::RebalanceInProgress, "A new rebalance is triggered."));
        }
        let assignment = assignment_of(coordinator, member)?;
        let session_ms = member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
        draft.cancel_timer(Timer::new(TimerKind::Sync, &group_id, &member.id));
        draft.set_timer(Timer::session(&group_id, &member.id), session_ms);
        Ok(assignment)
    });
    draft.settle(coordinator, call.moment, effects);
    let response = match synced {
        Ok(assignment) => m::SyncGroupResponse {
            protocol_type: request.protocol_type,
            protocol_name: request.protocol_name,
            assignment,
            ..Default::default()
        },
        Err(denied) => m::SyncGroupResponse { error_code: denied.code.code(), ..Default::default() },
    };
    effects.reply(call.to, Response::SyncGroup(response));
}

/// Heartbeat to a consumer group.
pub(in crate::groups) fn classic_heartbeat(
    coordinator: &mut GroupCoordinator,
    call: &Call,
    request: m::HeartbeatRequest,
    effects: &mut Effects,
) {
    let Some(Group::Consumer(group)) = coordinator.groups.get(&request.group_id) else { return };
    let group_id = coordinator.stored_id(&request.group_id);
    let mut draft = Draft::new(effects);
    let beat = speaker(
        group,
        &group_id,
        &request.member_id,
        request.group_instance_id.as_ref(),
        request.generation_id,
    )
    .map(|member| {
        let session_ms = member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
        draft.set_timer(Timer::session(&group_id, &member.id), session_ms);
        let has_to_join = member.epoch < group.assignment_epoch
            || match member.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !group.waits_for_others(member),
                MemberState::Stable | MemberState::Unknown => false,
            };
        if !has_to_join {
            return ErrorCode::None;
        }
        ask_to_join(group, &group_id, member, &mut draft);
        ErrorCode::RebalanceInProgress
    });
    draft.settle(coordinator, call.moment, effects);
    let code = beat.unwrap_or_else(|denied| denied.code);
    let response = m::HeartbeatResponse { error_code: code.code(), ..Default::default() };
    effects.reply(call.to, Response::Heartbeat(response));
}

/// LeaveGroup to a consumer group.
pub(in crate::groups) fn classic_leave(
    coordinator: &mut GroupCoordinator,
    call: &Call,
    request: m::LeaveGroupRequest,
    effects: &mut Effects,
) {
    let Some(Group::Consumer(group)) = coordinator.groups.get(&request.group_id) else { return };
    let group_id = coordinator.stored_id(&request.group_id);
    let found: Vec<_> = request.members.iter().map(|identity| leaver(group, &group_id, identity)).collect();
    let leaving: Leaving<'_> = found.iter().filter_map(|found| found.as_ref().ok().copied()).collect();
    let mut draft = Draft::new(effects);
    consumer::fence(coordinator, call.moment, &group_id, group, &leaving, &mut draft);
    let answers = request.members.iter().zip(&found).map(|(identity, found)| MemberResponse {
        member_id: identity.member_id.clone(),
        group_instance_id: identity.group_instance_id.clone(),
        error_code: found.as_ref().err().map_or(ErrorCode::None, |denied| denied.code).code(),
        ..Default::default()
    });
    let response = m::LeaveGroupResponse { members: answers.collect(), ..Default::default() };
    draft.settle(coordinator, call.moment, effects);
    classic::answer_leave(call, response, effects);
}

fn leaver<'g>(
    group: &'g ConsumerGroup,
    group_id: &str,
    identity: &MemberIdentity,
) -> Result<&'g Member, Denied> {
    let Some(instance) = &identity.group_instance_id else {
        return group.member(group_id, &identity.member_id);
    };
    let member = group.static_member(instance).ok_or_else(|| consumer::unknown_instance(instance))?;
    if !identity.member_id.is_empty() {
        consumer::refuse_fenced(member, &identity.member_id, instance)?;
    }
    Ok(member)
}

/// The member of the classic protocol that a request comes from, in its generation.
fn speaker<'g>(
    group: &'g ConsumerGroup,
    group_id: &str,
    member_id: &Text,
    instance: Option<&Text>,
    generation: i32,
) -> Result<&'g Member, Denied> {
    let member = match instance {
        None => group.member(group_id, member_id)?,
        Some(instance) => {
            let member = group.static_member(instance);
            let member = member.ok_or_else(|| consumer::unknown_instance(instance))?;
            consumer::refuse_fenced(member, member_id, instance)?;
            member
        }
    };
    if !member.is_classic() {
        let message = format!("Member {member_id} does not use the classic protocol.");
        return Err(Denied::new(ErrorCode::UnknownMemberId, message));
    }
    if member.epoch != generation {
        let message = format!(
            "The request generation id {generation} is not equal to the member epoch {} of member {member_id}.",
            member.epoch
        );
        return Err(Denied::new(ErrorCode::IllegalGeneration, message));
    }
    Ok(member)
}

/// What the request names must be what the join was answered with.
fn validate_protocol(member: &Member, request: &m::SyncGroupRequest) -> Result<(), Denied> {
    let other_type = request.protocol_type.as_ref().is_some_and(|name| *name != *CONSUMER_PROTOCOL);
    let joined_with = member.classic_protocol().map(|protocol| &protocol.name);
    let other_name = request.protocol_name.is_some() && request.protocol_name.as_ref() != joined_with;
    if other_type || other_name {
        return Err(inconsistent(format!("Member {} joined with another protocol.", member.id)));
    }
    Ok(())
}

/// The member has its rebalance time-out to join again; one that was told so before is not given longer.
fn ask_to_join(group: &ConsumerGroup, group_id: &Text, member: &Member, draft: &mut Draft) {
    if !group.passing.told_to_join.contains(&member.id) {
        draft.set_timer(Timer::new(TimerKind::Join, group_id, &member.id), member.rebalance_timeout_ms);
    }
}

fn assignment_of(coordinator: &GroupCoordinator, member: &Member) -> Result<Bytes, Denied> {
    let assigned: Assigned = member
        .assigned
        .iter()
        .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
        .collect();
    let metadata = member.classic_protocol().map(|protocol| protocol.metadata.clone()).unwrap_or_default();
    protocol::write_assignment(&assigned, &metadata, &coordinator.topics).map_err(|error| {
        Denied::new(ErrorCode::UnknownServerError, format!("Malformed embedded consumer protocol: {error}"))
    })
}
