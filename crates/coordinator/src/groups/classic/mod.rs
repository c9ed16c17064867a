//! The classic protocol: members join, a leader among them assigns, the coordinator passes the assignment on.
//!
//! ```text
//!                  first member joins                      all have joined, or the time is up
//!        Empty ─────────────────────► PreparingRebalance ────────────────────────────────────► CompletingRebalance
//!          ▲                            ▲      │  ▲  ▲                                            │         │
//!          └──── nobody is left ────────│──────┘  │  └── a member joins, changes, leaves, dies ───┘         │ the leader
//!                                       │         └───────────────────────────────────────┐                 │ has assigned
//!                                       └── a member joins, changes, leaves, dies ────── Stable ◄───────────┘
//! ```
//!
//! Only an empty and a stable group are recorded; what lies between is in memory, and after a restart members simply join again.
//! Answers to joins and syncs wait in the members ([`member::Waiting`]) until the phase ends.

mod group;
mod heartbeat;
mod join;
mod leave;
mod member;
mod rebalance;
mod stored;
mod sync;

#[cfg(test)]
mod tests;

use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages as m;

pub use group::{ClassicGroup, Phase};
pub(super) use heartbeat::heartbeat;
pub(super) use join::{answer as answer_join, join};
pub(super) use leave::{answer as answer_leave, leave};
pub use member::{Member, Protocol, Waiting};
use rebalance::Turn;
pub(super) use stored::tombstone;
pub(super) use sync::sync;

use super::{Effects, Group, GroupCoordinator};
use crate::frame::Moment;

/// A timer of a group or of one of its members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The member has been silent for too long, or never came back with the id that it was given.
    Session { group: Text, member: Text },
    /// The time to join is up, or the delay of a group that was empty.
    Join(Text),
    /// The time to sync is up.
    Sync(Text),
}

pub(super) fn expired(c: &mut GroupCoordinator, moment: Moment, timer: Timer, effects: &mut Effects) {
    match timer {
        Timer::Session { group, member } => {
            if let Some(mut turn) = Turn::of(c, &group, moment, effects) {
                turn.session_expired(&member);
            }
        }
        Timer::Join(group) => {
            if let Some(mut turn) = Turn::of(c, &group, moment, effects) {
                turn.join_expired();
            }
        }
        Timer::Sync(group) => {
            if let Some(mut turn) = Turn::of(c, &group, moment, effects) {
                turn.sync_expired();
            }
        }
    }
}

/// Applies a group's record. One that was read back from the log lies in a block of the log and is copied out of it.
pub(super) fn replay(
    c: &mut GroupCoordinator,
    id: Text,
    value: Option<m::GroupMetadataValue>,
    read_back: bool,
) {
    let Some(value) = value else {
        if matches!(c.groups.get(&id), Some(Group::Classic(_))) {
            c.groups.remove(&id);
        }
        return;
    };
    let value = if read_back { stored::detached(value) } else { value };
    match c.groups.get_mut(&id) {
        Some(Group::Classic(group)) => group.remember(value),
        _ => {
            c.put_group(id.detached(), Group::Classic(Box::new(ClassicGroup::from_stored(value))));
        }
    }
}

/// Brings what the log says to life: members have their full session to be heard of.
pub(super) fn loaded(c: &mut GroupCoordinator, moment: Moment, effects: &mut Effects) {
    let settings = c.settings.clone();
    for (id, group) in &mut c.groups {
        let Group::Classic(group) = group else { continue };
        let Some(stored) = group.stored.take() else { continue };
        **group = ClassicGroup::from_stored(stored);
        group.kept().join(&c.kept);
        let mut turn = Turn { id, group, settings: &settings, moment, effects };
        for member in turn.group.ids() {
            turn.restart_session(&member);
        }
        if turn.group.size() > settings.max_size {
            turn.prepare_rebalance();
        }
    }
}

/// A member that commits is alive, and need not heartbeat as well.
pub(super) fn heard_of_committer(
    c: &mut GroupCoordinator,
    group: &str,
    member: &str,
    moment: Moment,
    effects: &mut Effects,
) {
    let Some(mut turn) = Turn::of(c, group, moment, effects) else { return };
    if turn.group.is_stable() || turn.group.phase.is_preparing() {
        turn.restart_session(member);
    }
}

/// The group goes, and with it the ids that were given out and not used yet.
pub(super) fn forget_pending(id: &Text, group: &ClassicGroup, effects: &mut Effects) {
    for member in group.pending() {
        let timer = Timer::Session { group: id.clone(), member: member.clone() };
        effects.cancel_timer(super::Timer::Classic(timer));
    }
}

/// Everyone who waits is told to come again, because the group is about to speak another protocol.
pub(super) fn dissolve(c: &mut GroupCoordinator, id: &str, moment: Moment, effects: &mut Effects) {
    if let Some(mut turn) = Turn::of(c, id, moment, effects) {
        for member in turn.group.ids() {
            turn.fail_waiting(&member, ErrorCode::RebalanceInProgress);
            turn.stop_session(&member);
        }
        turn.stop_rebalance_timers();
    }
}

/// A consumer group whose members all speak the classic protocol becomes a classic one: it is stable and holds the members' current
/// assignments. The tombstones of the consumer group are already among the effects; a rebalance follows when a member has left.
pub(super) fn downgrade(
    c: &mut GroupCoordinator,
    id: &Text,
    group: ClassicGroup,
    rebalance: bool,
    moment: Moment,
    effects: &mut Effects,
) {
    effects.record(group.record(id, |member| member.assignment.clone()));
    c.put_group(id.clone(), Group::Classic(Box::new(group)));
    let Some(mut turn) = Turn::of(c, id, moment, effects) else { return };
    for member in turn.group.ids() {
        turn.restart_session(&member);
    }
    if rebalance {
        turn.prepare_rebalance();
    }
}

impl ClassicGroup {
    /// A stable group of consumers, for [`downgrade`]: the protocol is elected, the assignments are still to be set.
    pub fn of_consumers(generation: i32, members: Vec<Member>, moment: Moment) -> Self {
        let mut group = Self::new(moment.wall.get());
        group.generation = generation;
        for member in members {
            group.add(member, &Text::from_static("consumer"));
        }
        group.phase = Phase::Stable { unsynced: Default::default() };
        group.protocol = group.elect_protocol();
        group.read_subscriptions();
        group
    }
}
