//! Offsets that nobody needs any more, and groups of which nothing else is left.
//!
//! | group | an offset's time runs from |
//! |---|---|
//! | nobody ever joined | its commit |
//! | classic, empty | the moment when the last member left; where that is not known, its commit |
//! | classic, stable consumers | its commit, if the topic is not subscribed to |
//! | classic otherwise | never |
//! | consumer | its commit, if the topic is not subscribed to |

use dohle_wire::Text;

use super::store::Committed;
use crate::frame::Moment;
use crate::groups::{Effects, Group, GroupCoordinator, GroupRecord, Timer, delete};

pub(in crate::groups) fn loaded(c: &GroupCoordinator, moment: Moment, effects: &mut Effects) {
    let at = moment.after(c.settings.offsets_retention_check_interval_ms);
    effects.set_timer(Timer::OffsetExpiry, at);
}

pub(in crate::groups) fn expire(c: &mut GroupCoordinator, moment: Moment, effects: &mut Effects) {
    // Half of it is as good: what a crash leaves is taken back at the next look.
    effects.divisible();
    let mut expired = 0;
    for (id, group) in &c.groups {
        let mut records = Vec::new();
        let all = expire_group(c, id, group, moment, &mut records);
        expired += records.len() as u64;
        if all && group.is_empty() {
            delete::group_tombstones(id, group, &mut records);
            delete::stop_timers(id, group, effects);
        }
        effects.records(records);
    }
    c.tally.offset_expirations += expired;
    loaded(c, moment, effects);
}

/// Takes back what has expired. Whether that was all, and nothing is pending.
fn expire_group(
    c: &GroupCoordinator,
    id: &Text,
    group: &Group,
    moment: Moment,
    records: &mut Vec<GroupRecord>,
) -> bool {
    let mut all = !c.offsets.has_open_transactions(id);
    let Some(basis) = Basis::of(group) else { return all && c.offsets.topics(id).next().is_none() };
    for (topic, partitions) in c.offsets.topics(id) {
        let is_subscribed = group.is_subscribed_to_topic(topic);
        for (partition, committed) in partitions {
            let is_due = basis.is_expired(committed, moment, c.settings.offsets_retention_ms);
            if !is_subscribed && is_due && !c.offsets.is_pending(id, topic, *partition) {
                records.push(super::tombstone(id.clone(), topic.clone(), *partition));
            } else {
                all = false;
            }
        }
    }
    all
}

/// From when an offset's time runs.
enum Basis {
    Commit,
    Since(i64),
}

impl Basis {
    fn of(group: &Group) -> Option<Self> {
        match group {
            Group::Consumer(_) => Some(Self::Commit),
            Group::Classic(group) if group.protocol_type().is_none() => Some(Self::Commit),
            Group::Classic(group) if group.is_empty() => {
                Some(group.since_ms().map_or(Self::Commit, Self::Since))
            }
            Group::Classic(group) if group.is_stable() && group.subscribed().is_some() => Some(Self::Commit),
            Group::Classic(_) => None,
        }
    }

    fn is_expired(&self, committed: &Committed, moment: Moment, retention_ms: i64) -> bool {
        let now_ms = moment.wall.get();
        if committed.expires_ms != -1 {
            return now_ms >= committed.expires_ms;
        }
        let from_ms = match self {
            Self::Commit => committed.timestamp_ms,
            Self::Since(since_ms) => *since_ms,
        };
        now_ms.saturating_sub(from_ms) >= retention_ms
    }
}
