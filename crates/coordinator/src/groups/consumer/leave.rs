//! Members that go: on their own, for a while, or because they were not heard of.

use std::collections::BTreeSet;

use dohle_wire::Text;
use dohle_wire::messages as m;

use super::denied::Denied;
use super::draft::Draft;
use super::group::ConsumerGroup;
use super::heartbeat::{metadata_hash, not_a_consumer_group, refuse_fenced, unknown_instance};
use super::member::{AWAY, Epochs, Member, MemberState};
use super::outlook::Outlook;
use super::{Timer, TimerKind, records};
use crate::frame::Moment;
use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, migration};

/// ConsumerGroupHeartbeat of a member that leaves.
pub fn leave(
    coordinator: &GroupCoordinator,
    call: &Call,
    request: &m::ConsumerGroupHeartbeatRequest,
    draft: &mut Draft,
) -> Result<m::ConsumerGroupHeartbeatResponse, Denied> {
    let group_id = &coordinator.stored_id(&request.group_id);
    let group = match coordinator.groups.get(group_id) {
        Some(Group::Consumer(group)) => group,
        Some(Group::Classic(_)) => return Err(not_a_consumer_group(group_id)),
        None => return Err(Denied::no_group(format!("Group {group_id} not found."))),
    };
    let member = match &request.instance_id {
        None => group.member(group_id, &request.member_id)?,
        Some(instance) => {
            let member = group.static_member(instance).ok_or_else(|| unknown_instance(instance))?;
            refuse_fenced(member, &request.member_id, instance)?;
            member
        }
    };
    if request.instance_id.is_some() && request.member_epoch == AWAY {
        draft.records.push(records::current(group_id, &away(member)));
    } else {
        fence(coordinator, call.moment, group_id, group, &[member].into_iter().collect(), draft);
    }
    Ok(m::ConsumerGroupHeartbeatResponse {
        member_id: Some(request.member_id.clone()),
        member_epoch: request.member_epoch,
        ..Default::default()
    })
}

/// A static member that may come back: what it is to have stays its own, as of no epoch.
fn away(member: &Member) -> Member {
    let mut away = member.clone();
    away.epoch = AWAY;
    away.revoking = Epochs::new();
    for epoch in away.assigned.values_mut().flat_map(|partitions| partitions.values_mut()) {
        *epoch = 0;
    }
    away
}

/// Members by their ids, without doubles.
pub struct Leaving<'a>(Vec<&'a Member>);

impl<'a> FromIterator<&'a Member> for Leaving<'a> {
    fn from_iter<I: IntoIterator<Item = &'a Member>>(members: I) -> Self {
        let mut seen = BTreeSet::new();
        Self(members.into_iter().filter(|member| seen.insert(&member.id)).collect())
    }
}

impl<'a> Leaving<'a> {
    pub fn iter(&self) -> impl Iterator<Item = &'a Member> {
        self.0.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn contains(&self, member_id: &str) -> bool {
        self.0.iter().any(|member| member.id == *member_id)
    }
}

/// Takes members out of the group. If that leaves members of the classic protocol only, it becomes a classic group.
pub fn fence(
    coordinator: &GroupCoordinator,
    moment: Moment,
    group_id: &Text,
    group: &ConsumerGroup,
    leaving: &Leaving<'_>,
    draft: &mut Draft,
) {
    if leaving.len() == 0 {
        return;
    }
    for member in leaving.iter() {
        for kind in TimerKind::ALL {
            draft.cancel_timer(Timer::new(kind, group_id, &member.id));
        }
    }
    if migration::downgrades_without(coordinator, group, leaving)
        && migration::downgrade_without(coordinator, moment, group_id, group, leaving, draft)
    {
        return;
    }
    let mut outlook = Outlook::of(group);
    for member in leaving.iter() {
        records::remove_member(group_id, &member.id, &mut draft.records);
        outlook.remove(group, member);
    }
    let patterns: BTreeSet<&Text> = leaving.iter().filter_map(Member::pattern).collect();
    let gone = patterns.into_iter().filter(|pattern| outlook.is_gone(pattern));
    draft.records.extend(gone.map(|pattern| records::regex_tombstone(group_id, pattern)));
    if !cfg!(dohle_bug = "left-unnoticed") {
        draft.records.push(records::epoch(group_id, group.epoch + 1, metadata_hash(coordinator, &outlook)));
    }
}

/// A member's time has run out.
pub(in crate::groups) fn expired(
    coordinator: &mut GroupCoordinator,
    moment: Moment,
    timer: &Timer,
    effects: &mut Effects,
) {
    if timer.kind == TimerKind::Join
        && let Some(Group::Consumer(group)) = coordinator.groups.get_mut(&timer.group)
    {
        group.passing.told_to_join.remove(&timer.member);
    }
    let Some(Group::Consumer(group)) = coordinator.groups.get(&timer.group) else { return };
    let Some(member) = group.members.get(&timer.member) else { return };
    let revokes = member.state == MemberState::UnrevokedPartitions && member.epoch != AWAY;
    if timer.kind == TimerKind::Revocation && (!revokes || member.is_classic()) {
        return;
    }
    let mut draft = Draft::new(effects);
    let leaving = [member].into_iter().collect();
    fence(coordinator, moment, &timer.group, group, &leaving, &mut draft);
    draft.settle(coordinator, moment, effects);
}
