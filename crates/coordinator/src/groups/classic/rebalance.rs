//! The life of a group between its records: it asks its members to join, chooses leader and protocol, and waits for the assignment.

use std::ops::Bound;

use bytes::Bytes;
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages as m;
use m::join_group_response::JoinGroupResponseMember;

use super::Timer as ClassicTimer;
use super::group::{ClassicGroup, FirstDelay, Phase};
use super::member::Waiting;
use crate::frame::Moment;
use crate::groups::{Effects, Group, GroupCoordinator, Response, Settings, Timer};

/// A group in the hand of one event.
pub(super) struct Turn<'a> {
    pub id: &'a Text,
    pub group: &'a mut ClassicGroup,
    pub settings: &'a Settings,
    pub moment: Moment,
    pub effects: &'a mut Effects,
}

impl<'a> Turn<'a> {
    /// The classic group of that name.
    pub fn of(
        c: &'a mut GroupCoordinator,
        id: &str,
        moment: Moment,
        effects: &'a mut Effects,
    ) -> Option<Self> {
        // The id is the map's own: timers keep it, and must not keep the request that it came in.
        let only = (Bound::Included(id), Bound::Included(id));
        match c.groups.range_mut::<str, _>(only).next() {
            Some((id, Group::Classic(group))) => {
                Some(Self { id, group, settings: &c.settings, moment, effects })
            }
            _ => None,
        }
    }

    /// Something has changed: a rebalance begins, or the one that runs may be complete.
    pub fn rebalance(&mut self) {
        if self.group.phase.is_preparing() {
            self.complete_join_if_all_are_there()
        } else {
            self.prepare_rebalance()
        }
    }

    /// Members are asked to join again.
    pub fn prepare_rebalance(&mut self) {
        if self.group.phase.is_completing() {
            self.reset_assignments(ErrorCode::RebalanceInProgress);
        }
        self.cancel(ClassicTimer::Sync(self.id.clone()));
        let first = self.group.is_empty().then(|| self.first_delay());
        if let Some(first) = first {
            self.set(ClassicTimer::Join(self.id.clone()), first.delay_ms);
        }
        self.enter(Phase::PreparingRebalance { first });
        if first.is_none() {
            if self.group.all_have_joined() {
                self.complete_join();
            } else {
                self.set(ClassicTimer::Join(self.id.clone()), self.group.rebalance_timeout_ms());
            }
        }
    }

    /// A group that was empty waits a while for more members.
    fn first_delay(&self) -> FirstDelay {
        let delay_ms = i32::try_from(self.settings.initial_rebalance_delay_ms).unwrap_or(i32::MAX);
        let remaining_ms = self.group.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
        FirstDelay { delay_ms, remaining_ms, member_came: false }
    }

    /// The time to join is up. A group that was empty and has got another member waits a little longer.
    pub fn join_expired(&mut self) {
        let Phase::PreparingRebalance { first } = &mut self.group.phase else { return };
        match first {
            Some(first) if first.member_came && first.remaining_ms != 0 => {
                let delay_ms = i32::try_from(self.settings.initial_rebalance_delay_ms).unwrap_or(i32::MAX);
                let next_ms = delay_ms.min(first.remaining_ms);
                first.remaining_ms = first.remaining_ms.saturating_sub(first.delay_ms).max(0);
                first.delay_ms = next_ms;
                first.member_came = false;
                self.set(ClassicTimer::Join(self.id.clone()), next_ms);
            }
            _ => self.complete_join(),
        }
    }

    pub fn complete_join_if_all_are_there(&mut self) {
        let waits_for_all = matches!(self.group.phase, Phase::PreparingRebalance { first: None });
        if waits_for_all && self.group.all_have_joined() {
            self.complete_join();
        }
    }

    /// The join phase ends: who has not come is out, unless static; the next generation begins.
    pub fn complete_join(&mut self) {
        self.cancel(ClassicTimer::Join(self.id.clone()));
        let absent = |member: &&super::Member| member.awaiting_join.is_none() && member.instance_id.is_none();
        let absent: Vec<Text> = self.group.members().filter(absent).map(|member| member.id.clone()).collect();
        for id in &absent {
            self.remove(id);
        }
        if !self.group.elect_joined_leader() && self.group.size() > 0 {
            // Only static members are left and none has come: their sessions decide.
            self.set(ClassicTimer::Join(self.id.clone()), self.group.rebalance_timeout_ms());
            return;
        }
        self.group.generation = self.group.generation.wrapping_add(1);
        self.group.protocol = self.group.elect_protocol();
        self.group.read_subscriptions();
        if self.group.size() == 0 {
            self.enter(Phase::Empty);
            self.effects.record(self.group.record(self.id, |_| Bytes::new()));
            return;
        }
        let members = self.group.ids();
        self.enter(Phase::CompletingRebalance { unsynced: members.iter().cloned().collect() });
        for id in &members {
            if let Some(waiting) = self.group.take_join(id) {
                let response = self.joined(id);
                self.answer_join(waiting, response);
            }
            self.group.set_known(id);
            self.restart_session(id);
        }
        self.set(ClassicTimer::Sync(self.id.clone()), self.group.rebalance_timeout_ms());
    }

    /// The time to sync is up: who has not asked for an assignment is out.
    pub fn sync_expired(&mut self) {
        let unsynced = self.group.phase.unsynced().map(std::mem::take).unwrap_or_default();
        if unsynced.is_empty() {
            return;
        }
        for id in &unsynced {
            self.remove(id);
        }
        self.prepare_rebalance();
    }

    pub fn session_expired(&mut self, id: &Text) {
        if self.group.is_pending(id) {
            self.group.remove(id);
            self.complete_join_after_removal();
        } else if self.group.member(id).is_some_and(|member| !member.is_excused()) {
            self.remove(id);
            if self.group.phase.is_preparing() {
                self.complete_join_after_removal();
            } else {
                self.prepare_rebalance();
            }
        }
    }

    /// Even the first delay of a group ends when those who are left have all joined.
    fn complete_join_after_removal(&mut self) {
        if self.group.phase.is_preparing() && self.group.all_have_joined() {
            self.complete_join();
        }
    }

    /// Takes a member out. It is told, should it wait.
    pub fn remove(&mut self, id: &Text) {
        self.fail_waiting(id, ErrorCode::UnknownMemberId);
        self.group.remove(id);
        self.stop_session(id);
    }

    /// Answers whoever waits in a member's name.
    pub fn fail_waiting(&mut self, id: &str, code: ErrorCode) {
        if let Some(waiting) = self.group.take_join(id) {
            let told_id = if code == ErrorCode::UnknownMemberId { "" } else { id };
            self.refuse_join(waiting, &Text::from(told_id), code);
        }
        if let Some(waiting) = self.group.take_sync(id) {
            self.refuse_sync(waiting, code);
        }
    }

    /// The generation has its assignments: they are recorded, and given to those who wait.
    ///
    /// Nothing is assigned when the record would be larger than the topic takes.
    pub fn assign(&mut self, assignment: impl Fn(&Text) -> Bytes) {
        let record = self.group.record(self.id, |member| assignment(&member.id));
        if !self.effects.fits(&record) {
            self.reset_assignments(ErrorCode::UnknownServerError);
            self.prepare_rebalance();
            return;
        }
        self.effects.record(record);
        let unsynced = self.group.phase.unsynced().map(std::mem::take).unwrap_or_default();
        for id in self.group.ids() {
            self.group.set_assignment(&id, assignment(&id));
            if let Some(waiting) = self.group.take_sync(&id) {
                let response = self.synced(&id);
                self.effects.reply(waiting.to, Response::SyncGroup(response));
                self.restart_session(&id);
            }
        }
        self.enter(Phase::Stable { unsynced });
    }

    fn reset_assignments(&mut self, code: ErrorCode) {
        for id in self.group.ids() {
            self.group.set_assignment(&id, Bytes::new());
            if let Some(waiting) = self.group.take_sync(&id) {
                self.refuse_sync(waiting, code);
                self.restart_session(&id);
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.group.phase = phase;
        self.group.since_ms = Some(self.moment.wall.get());
    }

    /// What a member is told of the generation that it is in.
    pub fn joined(&self, id: &Text) -> m::JoinGroupResponse {
        let members = if self.group.is_leader(id) { self.roster() } else { Vec::new() };
        m::JoinGroupResponse {
            generation_id: self.group.generation,
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol.clone(),
            leader: self.group.leader.clone().unwrap_or_default(),
            member_id: id.clone(),
            members,
            ..Default::default()
        }
    }

    /// What the leader needs to assign.
    pub fn roster(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.group.protocol.clone().unwrap_or_default();
        let members = self.group.members().map(|member| JoinGroupResponseMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(&protocol).cloned().unwrap_or_default(),
            ..Default::default()
        });
        members.collect()
    }

    /// A member's assignment.
    pub fn synced(&self, id: &str) -> m::SyncGroupResponse {
        m::SyncGroupResponse {
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol.clone(),
            assignment: self.group.member(id).map(|member| member.assignment.clone()).unwrap_or_default(),
            ..Default::default()
        }
    }

    pub fn answer_join(&mut self, waiting: Waiting, response: m::JoinGroupResponse) {
        super::join::answer(waiting, response, self.effects);
    }

    pub fn refuse_join(&mut self, waiting: Waiting, member_id: &Text, code: ErrorCode) {
        super::join::answer(waiting, super::join::refusal(member_id, code), self.effects);
    }

    pub fn refuse_sync(&mut self, waiting: Waiting, code: ErrorCode) {
        let response = m::SyncGroupResponse { error_code: code.code(), ..Default::default() };
        self.effects.reply(waiting.to, Response::SyncGroup(response));
    }

    /// The member has been heard of.
    pub fn restart_session(&mut self, id: &str) {
        if let Some(member) = self.group.member(id) {
            let (id, timeout_ms) = (member.id.clone(), member.session_timeout_ms);
            self.set_session(&id, timeout_ms);
        }
    }

    pub fn set_session(&mut self, id: &Text, timeout_ms: i32) {
        self.set(ClassicTimer::Session { group: self.id.clone(), member: id.clone() }, timeout_ms);
    }

    pub fn stop_session(&mut self, id: &Text) {
        self.cancel(ClassicTimer::Session { group: self.id.clone(), member: id.clone() });
    }

    pub fn stop_rebalance_timers(&mut self) {
        self.cancel(ClassicTimer::Join(self.id.clone()));
        self.cancel(ClassicTimer::Sync(self.id.clone()));
    }

    fn set(&mut self, timer: ClassicTimer, after_ms: i32) {
        self.effects.set_timer(Timer::Classic(timer), self.moment.after(after_ms.into()));
    }

    pub fn cancel(&mut self, timer: ClassicTimer) {
        self.effects.cancel_timer(Timer::Classic(timer));
    }
}
