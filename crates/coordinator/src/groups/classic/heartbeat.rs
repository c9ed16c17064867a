//! Heartbeat.

use dohle_types::ErrorCode;
use dohle_wire::messages as m;

use super::rebalance::Turn;
use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, Response, consumer};

pub(in crate::groups) fn heartbeat(
    c: &mut GroupCoordinator,
    call: &Call,
    request: m::HeartbeatRequest,
    effects: &mut Effects,
) {
    if let Some(Group::Consumer(_)) = c.groups.get(&request.group_id) {
        return consumer::classic_heartbeat(c, call, request, effects);
    }
    let code = decide(c, call, &request, effects).err().unwrap_or(ErrorCode::None);
    let response = m::HeartbeatResponse { error_code: code.code(), ..Default::default() };
    effects.reply_at_once(call.to, Response::Heartbeat(response));
}

fn decide(
    c: &mut GroupCoordinator,
    call: &Call,
    request: &m::HeartbeatRequest,
    effects: &mut Effects,
) -> Result<(), ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let mut turn = Turn::of(c, &request.group_id, call.moment, effects).ok_or(ErrorCode::UnknownMemberId)?;
    turn.group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation_id != turn.group.generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    turn.restart_session(&request.member_id);
    if turn.group.phase.is_preparing() { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
}
