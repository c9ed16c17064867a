//! JoinGroup.

use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages as m;

use super::group::{ClassicGroup, Phase};
use super::member::{Member, Waiting, kept_name, new_id, protocols_of};
use super::rebalance::Turn;
use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, Response, consumer};

/// How long a join may wait that comes from a member without an id: it cannot heartbeat, and if it is gone nobody notices.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;
/// From this version on, a member is given its id before it joins.
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// From this version on, a leader that came back is told to leave the assignment as it is.
const SKIP_ASSIGNMENT_SINCE: i16 = 9;
/// From this version on, no protocol is null; before, it is empty.
const NULL_PROTOCOL_SINCE: i16 = 7;

pub(in crate::groups) fn join(
    c: &mut GroupCoordinator,
    call: &Call,
    mut request: m::JoinGroupRequest,
    effects: &mut Effects,
) {
    let waiting = Waiting { to: call.to, version: call.version };
    if let Err(code) = validate(c, &request) {
        return answer(waiting, refusal(&request.member_id, code), effects);
    }
    if call.version == 0 {
        request.rebalance_timeout_ms = request.session_timeout_ms;
    }
    let knows_id = !request.member_id.is_empty();
    match c.groups.get(&request.group_id) {
        Some(Group::Classic(_)) => join_classic(c, call, &request, effects),
        Some(Group::Consumer(group)) if !group.is_empty() => {
            consumer::classic_join(c, call, request, effects)
        }
        // A group begins with a member that has no id yet.
        _ if knows_id => answer(waiting, refusal(&request.member_id, ErrorCode::UnknownMemberId), effects),
        before => {
            let id = request.group_id.detached();
            if let Some(Group::Consumer(group)) = before {
                // Nobody is left who speaks the consumer protocol. Only the group's offsets stay.
                let mut tombstones = Vec::new();
                group.tombstones(&id, &mut tombstones);
                effects.records(tombstones);
            }
            let group = ClassicGroup::new(call.moment.wall.get());
            effects.record(group.first_record(&id));
            c.put_group(id, Group::Classic(Box::new(group)));
            join_classic(c, call, &request, effects);
        }
    }
}

fn validate(c: &GroupCoordinator, request: &m::JoinGroupRequest) -> Result<(), ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let allowed = c.settings.min_session_timeout_ms..=c.settings.max_session_timeout_ms;
    if allowed.contains(&request.session_timeout_ms) { Ok(()) } else { Err(ErrorCode::InvalidSessionTimeout) }
}

fn join_classic(c: &mut GroupCoordinator, call: &Call, request: &m::JoinGroupRequest, effects: &mut Effects) {
    let Some(turn) = Turn::of(c, &request.group_id, call.moment, effects) else { return };
    Join { turn, call, request, waiting: Waiting { to: call.to, version: call.version } }.decide();
}

/// One JoinGroup and the group that it is meant for.
struct Join<'a> {
    turn: Turn<'a>,
    call: &'a Call,
    request: &'a m::JoinGroupRequest,
    waiting: Waiting,
}

impl Join<'_> {
    fn decide(&mut self) {
        let request = self.request;
        if !self.has_room() {
            self.turn.remove(&request.member_id);
            return self.refuse("", ErrorCode::GroupMaxSizeReached);
        }
        let names = request.protocols.iter().map(|protocol| &protocol.name);
        if !self.turn.group.supports(&request.protocol_type, names) {
            return self.refuse(&request.member_id, ErrorCode::InconsistentGroupProtocol);
        }
        if request.member_id.is_empty() { self.newcomer() } else { self.known(&request.member_id) }
    }

    /// Those who wait already, or are in, have their place; others while there is one.
    fn has_room(&self) -> bool {
        let group = &self.turn.group;
        let member = group.member(&self.request.member_id);
        let max_size = self.turn.settings.max_size;
        match group.phase {
            Phase::Empty => true,
            // The waiting are counted, so that a group that has become too large sheds the last to rejoin.
            Phase::PreparingRebalance { .. } => {
                member.is_some_and(|member| member.awaiting_join.is_some()) || group.joined() < max_size
            }
            Phase::CompletingRebalance { .. } | Phase::Stable { .. } => {
                member.is_some() || group.size() < max_size
            }
        }
    }

    /// A member without an id.
    fn newcomer(&mut self) {
        let instance_id = self.request.group_instance_id.as_ref();
        let prefix = instance_id.unwrap_or(&self.call.client.id);
        let new_id = new_id(prefix, self.call.moment.chance);
        let before = instance_id.and_then(|instance_id| self.turn.group.static_member(instance_id).cloned());
        if let Some(old_id) = before {
            self.static_member_returns(&old_id, new_id);
        } else if instance_id.is_none() && self.call.version >= MEMBER_ID_REQUIRED_SINCE {
            self.turn.group.add_pending(new_id.clone());
            self.turn.set_session(&new_id, self.request.session_timeout_ms);
            self.refuse(&new_id, ErrorCode::MemberIdRequired);
        } else {
            self.add(new_id);
        }
    }

    /// A member that says who it is.
    fn known(&mut self, id: &Text) {
        let request = self.request;
        let instance_id = request.group_instance_id.as_deref();
        if self.turn.group.is_pending(id) {
            // An id is only given out first to members without an instance.
            return match instance_id {
                Some(_) => self.refuse("", ErrorCode::UnknownServerError),
                None => self.add(id.detached()),
            };
        }
        if let Err(code) = self.turn.group.validate_member(id, instance_id) {
            return self.refuse(id, code);
        }
        let is_leader = self.turn.group.is_leader(id);
        let unchanged = self.turn.group.member(id).is_some_and(|member| {
            let told = member.protocols.iter().map(|protocol| (&protocol.name, &protocol.metadata));
            told.eq(request.protocols.iter().map(|protocol| (&protocol.name, &protocol.metadata)))
        });
        match self.turn.group.phase {
            Phase::Empty => self.refuse(id, ErrorCode::UnknownMemberId),
            // It may have missed the answer.
            Phase::CompletingRebalance { .. } if unchanged => self.answer(id),
            // In a stable group only the leader may want to assign anew for reasons that it alone knows.
            Phase::Stable { .. } if unchanged && !is_leader => self.answer(id),
            _ => {
                self.update(id);
                self.turn.rebalance();
            }
        }
    }

    /// Tells a member of the generation that it is in.
    fn answer(&mut self, id: &Text) {
        let response = self.turn.joined(id);
        self.turn.answer_join(self.waiting, response);
    }

    /// A new member joins.
    fn add(&mut self, id: Text) {
        if let Phase::PreparingRebalance { first: Some(first) } = &mut self.turn.group.phase {
            first.member_came = true;
        }
        let request = self.request;
        let mut member = Member::new(
            id.clone(),
            request.group_instance_id.as_ref().map(Text::detached),
            self.call.client.clone(),
            (request.rebalance_timeout_ms, request.session_timeout_ms),
            protocols_of(&request.protocols),
        );
        member.is_new = true;
        member.awaiting_join = Some(self.waiting);
        self.turn.group.add(member, &kept_name(&request.protocol_type));
        self.turn.set_session(&id, NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.turn.rebalance();
    }

    /// A member tells anew what it wants, and waits.
    fn update(&mut self, id: &Text) {
        let request = self.request;
        self.turn.group.update(id, |member| {
            member.protocols = protocols_of(&request.protocols);
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
        });
        if let Some(superseded) = self.turn.group.await_join(id, self.waiting) {
            self.turn.refuse_join(superseded, id, ErrorCode::RebalanceInProgress);
        }
    }

    /// A static member has lost its id, by a restart for instance, and takes its place again under a new one. In a stable group the
    /// others need not notice.
    fn static_member_returns(&mut self, old_id: &Text, new_id: Text) {
        let old_leader = self.turn.group.leader.clone();
        let Some(old) = self.turn.group.replace_static(old_id, &new_id) else { return };
        if let Some(waiting) = old.awaiting_join {
            self.turn.refuse_join(waiting, old_id, ErrorCode::FencedInstanceId);
        }
        if let Some(waiting) = old.awaiting_sync {
            self.turn.refuse_sync(waiting, ErrorCode::FencedInstanceId);
        }
        self.turn.stop_session(old_id);
        self.turn.restart_session(&new_id);
        self.update(&new_id);
        let group = &mut *self.turn.group;
        if !group.is_stable() || group.protocol != group.elect_protocol() {
            return self.turn.rebalance();
        }
        let record = group.record(self.turn.id, |member| member.assignment.clone());
        let mut response = self.turn.joined(&new_id);
        if !self.turn.effects.fits(&record) {
            response = m::JoinGroupResponse {
                error_code: ErrorCode::UnknownServerError.code(),
                member_id: Text::new(),
                leader: old_leader.unwrap_or_default(),
                members: Vec::new(),
                ..response
            };
            self.undo_return(old, &new_id);
        } else {
            self.turn.effects.record(record);
            self.turn.group.read_subscriptions();
            self.turn.group.take_join(&new_id);
            if self.call.version >= SKIP_ASSIGNMENT_SINCE {
                response.skip_assignment = self.turn.group.is_leader(&new_id);
            } else {
                // Told of the leader that was, it does not assign, and syncs for what it had.
                response.leader = old_leader.unwrap_or_default();
                response.members.clear();
            }
        }
        self.turn.answer_join(self.waiting, response);
    }

    /// The return could not be recorded: the member is again the one that it was.
    fn undo_return(&mut self, old: Box<Member>, new_id: &Text) {
        self.turn.group.replace_static(new_id, &old.id);
        let (id, timeouts) = (old.id.clone(), (old.rebalance_timeout_ms, old.session_timeout_ms));
        self.turn.group.update(&id, |member| {
            member.protocols = old.protocols;
            (member.rebalance_timeout_ms, member.session_timeout_ms) = timeouts;
        });
        self.turn.stop_session(new_id);
        self.turn.restart_session(&id);
    }

    fn refuse(&mut self, member_id: &str, code: ErrorCode) {
        self.turn.refuse_join(self.waiting, &Text::from(member_id), code);
    }
}

pub(super) fn refusal(member_id: &Text, code: ErrorCode) -> m::JoinGroupResponse {
    m::JoinGroupResponse {
        error_code: code.code(),
        protocol_name: None,
        member_id: member_id.clone(),
        ..Default::default()
    }
}

pub(in crate::groups) fn answer(waiting: Waiting, mut response: m::JoinGroupResponse, effects: &mut Effects) {
    if waiting.version < NULL_PROTOCOL_SINCE && response.protocol_name.is_none() {
        response.protocol_name = Some(Text::new());
    }
    effects.reply(waiting.to, Response::JoinGroup(response));
}
