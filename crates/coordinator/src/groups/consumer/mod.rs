//! The consumer protocol (KIP-848): members say what they want and the coordinator assigns.
//!
//! ```text
//!   heartbeat ──► who is it? ──► what does it want? ──► group epoch ──► target ──► the member's next step ──► answer
//!                 (member)       (patterns)             (group)         (target)   (reconcile)
//! ```
//!
//! Three epochs follow each other: the group's goes up when members, subscriptions or topics change; the target's reaches it when the
//! assignment is computed; each member's reaches the target's when the member has given up what it must. What topics do is noticed by
//! the groups that subscribe to them ([`background::Background`]) and looked at with the next heartbeat.
//!
//! Members of the classic protocol may live in a consumer group; [`super::migration`] speaks with them.

mod background;
mod denied;
mod describe;
mod draft;
mod group;
mod heartbeat;
mod leave;
mod member;
mod outlook;
mod patterns;
mod reconcile;
pub(super) mod records;
mod regex;
mod replay;
mod target;

#[cfg(test)]
mod tests;

use dohle_wire::Text;

pub use background::{Done, Work};
pub use group::ConsumerGroup;
pub use heartbeat::malformed_heartbeat;

pub(super) use background::{Background, random_id, run};
pub(super) use denied::Denied;
pub(super) use describe::describe;
pub(super) use draft::Draft;
pub(super) use group::Watched;
pub(super) use heartbeat::{
    Bump, Newcomer, Progress, View, heartbeat, metadata_hash, refuse_fenced, refuse_if_full, unknown_instance,
};
pub(super) use leave::{Leaving, expired, fence};
pub(super) use member::{Epochs, Member, MemberState, Wish};
pub(super) use outlook::Outlook;
pub(super) use replay::replay;
pub(super) use target::{Next, Target, update as update_target};

pub(super) use super::migration::{classic_heartbeat, classic_join, classic_leave, classic_sync};

use super::{Effects, Group, GroupCoordinator};
use crate::frame::Moment;
use crate::topics::{Changes, Topics};
use member::AWAY;

/// A deadline of one member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    pub(super) group: Text,
    pub(super) member: Text,
    pub(super) kind: TimerKind,
}

/// What a member must do before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKind {
    /// Be heard of.
    Session,
    /// Give up partitions.
    Revocation,
    /// Join again, told so by a heartbeat of the classic protocol.
    Join,
    /// Fetch its assignment after joining in the classic protocol.
    Sync,
}

impl TimerKind {
    pub const ALL: [Self; 4] = [Self::Session, Self::Revocation, Self::Join, Self::Sync];
}

impl Timer {
    pub(super) fn new(kind: TimerKind, group_id: &Text, member_id: &Text) -> Self {
        Self { group: group_id.clone(), member: member_id.clone(), kind }
    }

    pub(super) fn session(group_id: &Text, member_id: &Text) -> Self {
        Self::new(TimerKind::Session, group_id, member_id)
    }

    pub(super) fn revocation(group_id: &Text, member_id: &Text) -> Self {
        Self::new(TimerKind::Revocation, group_id, member_id)
    }
}

impl GroupCoordinator {
    /// The id as the coordinator keeps it: one from a request holds the whole request in memory.
    pub(super) fn stored_id(&self, group_id: &Text) -> Text {
        self.groups.get_key_value(group_id).map_or_else(|| group_id.detached(), |(id, _)| id.clone())
    }

    fn session_timeout_ms(&self, group_id: &str) -> i32 {
        let own = self.overrides.get(group_id).and_then(|own| own.consumer_session_timeout_ms);
        own.unwrap_or(self.settings.consumer.session_timeout_ms)
    }

    fn heartbeat_interval_ms(&self, group_id: &str) -> i32 {
        let own = self.overrides.get(group_id).and_then(|own| own.consumer_heartbeat_interval_ms);
        own.unwrap_or(self.settings.consumer.heartbeat_interval_ms)
    }

    fn assignment_interval_ms(&self, group_id: &str) -> i32 {
        let own = self.overrides.get(group_id).and_then(|own| own.consumer_assignment_interval_ms);
        own.unwrap_or(self.settings.consumer.assignment_interval_ms)
    }
}

/// Groups that subscribe to topics that have changed look at them with their next heartbeat. `before` is what was known until now.
pub(super) fn topics_changed(c: &mut GroupCoordinator, before: &Topics, changes: &Changes) {
    let id_of = |topics: &Topics, name: &str| topics.by_name(name).map(|topic| topic.id);
    let is_new = |name: &&Text| id_of(before, name) != id_of(&c.topics, name);
    c.background.created += u64::from(changes.changed.iter().any(|name| is_new(&name)));
    let names = changes.changed.iter().chain(changes.deleted.iter().map(|(name, _)| name));
    for group_id in names.flat_map(|name| c.background.subscribers(name)) {
        if let Some(Group::Consumer(group)) = c.groups.get_mut(group_id) {
            group.passing.checked_at = None;
        }
    }
}

/// Work that was handed out is done.
pub(super) fn done(c: &mut GroupCoordinator, done: Done, effects: &mut Effects) {
    match done {
        Done::Assigned(computed) => target::computed(c, computed, effects),
        Done::Resolved(matches) => patterns::resolved(c, matches, effects),
    }
}

/// Everyone has a full session to be heard of, and a full rebalance to give up what it must.
pub(super) fn loaded(c: &mut GroupCoordinator, moment: Moment, effects: &mut Effects) {
    for (group_id, group) in &c.groups {
        let Group::Consumer(group) = group else { continue };
        let session = moment.after(c.session_timeout_ms(group_id).into());
        for member in group.members.values() {
            effects.set_timer(Timer::session(group_id, &member.id).into(), session);
            if member.state == MemberState::UnrevokedPartitions && member.epoch != AWAY {
                let timer = Timer::revocation(group_id, &member.id);
                effects.set_timer(timer.into(), moment.after(member.rebalance_timeout_ms.into()));
            }
        }
    }
}

impl From<Timer> for super::Timer {
    fn from(timer: Timer) -> Self {
        Self::Consumer(timer)
    }
}
