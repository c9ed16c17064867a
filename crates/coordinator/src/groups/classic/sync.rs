//! SyncGroup.

use std::collections::BTreeMap;

use bytes::Bytes;
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages as m;

use super::Timer as ClassicTimer;
use super::group::{ClassicGroup, Phase};
use super::member::Waiting;
use super::rebalance::Turn;
use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, Response, consumer};

/// From this version on, a member must say which protocol it means.
const PROTOCOL_REQUIRED_SINCE: i16 = 5;

pub(in crate::groups) fn sync(
    c: &mut GroupCoordinator,
    call: &Call,
    request: m::SyncGroupRequest,
    effects: &mut Effects,
) {
    if let Err(code) = validate(c, call, &request) {
        let response = m::SyncGroupResponse { error_code: code.code(), ..Default::default() };
        return effects.reply(call.to, Response::SyncGroup(response));
    }
    if let Some(Group::Consumer(_)) = c.groups.get(&request.group_id) {
        return consumer::classic_sync(c, call, request, effects);
    }
    let Some(mut turn) = Turn::of(c, &request.group_id, call.moment, effects) else { return };
    let Some(id) = turn.group.member(&request.member_id).map(|member| member.id.clone()) else { return };
    let was_stable = turn.group.is_stable();
    match turn.group.phase {
        Phase::Empty | Phase::PreparingRebalance { .. } => {
            unreachable!("these were refused")
        }
        Phase::CompletingRebalance { .. } => {
            let waiting = Waiting { to: call.to, version: call.version };
            if let Some(superseded) = turn.group.await_sync(&id, waiting) {
                turn.refuse_sync(superseded, ErrorCode::RebalanceInProgress);
            }
            turn.has_synced(&id);
            if turn.group.is_leader(&id) {
                // One copy for the record and the member, which both outlive the request.
                let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
                let assignments: BTreeMap<&Text, Bytes> =
                    request.assignments.iter().map(|of| (&of.member_id, copy(&of.assignment))).collect();
                turn.assign(|id| assignments.get(id).cloned().unwrap_or_default());
            }
        }
        Phase::Stable { .. } => {
            turn.has_synced(&id);
            let response = turn.synced(&id);
            turn.effects.reply(call.to, Response::SyncGroup(response));
        }
    }
    let completed = turn.group.is_stable() && !was_stable;
    c.tally.classic_rebalances += u64::from(completed);
}

fn validate(c: &GroupCoordinator, call: &Call, request: &m::SyncGroupRequest) -> Result<(), ErrorCode> {
    let unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
    if call.version >= PROTOCOL_REQUIRED_SINCE && unnamed {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    match c.groups.get(&request.group_id) {
        Some(Group::Classic(group)) if !group.is_empty() => validate_classic(group, request),
        Some(Group::Consumer(group)) if !group.is_empty() => Ok(()),
        _ => Err(ErrorCode::UnknownMemberId),
    }
}

fn validate_classic(group: &ClassicGroup, request: &m::SyncGroupRequest) -> Result<(), ErrorCode> {
    group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation_id != group.generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    let differs =
        |told: &Option<Text>, known: &Option<Text>| told.is_some() && known.is_some() && told != known;
    if differs(&request.protocol_type, &group.protocol_type)
        || differs(&request.protocol_name, &group.protocol)
    {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    if group.phase.is_preparing() { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
}

impl Turn<'_> {
    /// The member has asked for its assignment. When all have, nobody is waited for any more.
    fn has_synced(&mut self, id: &str) {
        let Some(unsynced) = self.group.phase.unsynced() else { return };
        if unsynced.remove(id) && unsynced.is_empty() {
            self.cancel(ClassicTimer::Sync(self.id.clone()));
        }
    }
}
