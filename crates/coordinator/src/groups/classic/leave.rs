//! LeaveGroup: members that go, and static members that an administrator removes by their instances.

use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages as m;
use m::leave_group_request::MemberIdentity;
use m::leave_group_response::MemberResponse;

use super::rebalance::Turn;
use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, Response, consumer};

/// From this version on, a request names several members.
const BATCHED_SINCE: i16 = 3;

pub(in crate::groups) fn leave(
    c: &mut GroupCoordinator,
    call: &Call,
    mut request: m::LeaveGroupRequest,
    effects: &mut Effects,
) {
    if call.version < BATCHED_SINCE {
        let member_id = std::mem::take(&mut request.member_id);
        request.members = vec![MemberIdentity { member_id, ..Default::default() }];
    }
    if request.group_id.is_empty() {
        let code = ErrorCode::InvalidGroupId.code();
        return answer(call, m::LeaveGroupResponse { error_code: code, ..Default::default() }, effects);
    }
    if let Some(Group::Consumer(_)) = c.groups.get(&request.group_id) {
        return consumer::classic_leave(c, call, request, effects);
    }
    let mut members = Vec::with_capacity(request.members.len());
    match Turn::of(c, &request.group_id, call.moment, effects) {
        None => members.extend(request.members.iter().map(|of| outcome(of, Err(ErrorCode::UnknownMemberId)))),
        Some(mut turn) => {
            for identity in &request.members {
                let left = turn.leave(identity);
                members.push(outcome(identity, left));
            }
            if members.iter().any(|member| member.error_code == ErrorCode::None.code())
                && !turn.group.is_empty()
            {
                turn.rebalance();
            }
        }
    }
    answer(call, m::LeaveGroupResponse { members, ..Default::default() }, effects);
}

/// Answers in the shape of the request's version: of one member, the error is that of the whole. Also for consumer groups.
pub(in crate::groups) fn answer(call: &Call, mut response: m::LeaveGroupResponse, effects: &mut Effects) {
    if call.version < BATCHED_SINCE {
        let members = std::mem::take(&mut response.members);
        if response.error_code == ErrorCode::None.code() {
            response.error_code = members.first().map_or(ErrorCode::None.code(), |member| member.error_code);
        }
    }
    effects.reply(call.to, Response::LeaveGroup(response));
}

fn outcome(of: &MemberIdentity, left: Result<(), ErrorCode>) -> MemberResponse {
    MemberResponse {
        member_id: of.member_id.clone(),
        group_instance_id: of.group_instance_id.clone(),
        error_code: left.err().unwrap_or(ErrorCode::None).code(),
        ..Default::default()
    }
}

impl Turn<'_> {
    /// One member goes.
    fn leave(&mut self, identity: &MemberIdentity) -> Result<(), ErrorCode> {
        let id: Text = if identity.member_id.is_empty() {
            let instance_id = identity.group_instance_id.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
            self.group.static_member(instance_id).cloned().ok_or(ErrorCode::UnknownMemberId)?
        } else {
            if !self.group.is_pending(&identity.member_id) {
                self.group.validate_member(&identity.member_id, identity.group_instance_id.as_deref())?;
            }
            identity.member_id.clone()
        };
        self.remove(&id);
        Ok(())
    }
}
