//! The patterns of a group: resolved on another thread, all of a group together, when there is a new one, when topics were created,
//! and from time to time; never more often than every ten seconds.

use std::collections::BTreeSet;

use dohle_wire::Text;

use super::background::{Kind, Matches, Patterns};
use super::denied::Denied;
use super::draft::Draft;
use super::group::ConsumerGroup;
use super::heartbeat::{View, metadata_hash};
use super::member::Member;
use super::outlook::Outlook;
use super::regex::{self, Resolved};
use super::{Work, records};
use crate::groups::{Effects, Group, GroupCoordinator};

/// Between two rounds of a group.
pub const MIN_INTERVAL_MS: i64 = 10_000;

/// What a member's wish does to the patterns of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    None,
    /// It has another pattern; what it matches is not known yet.
    Changed,
    ChangedAndResolved,
}

/// Takes note of a member's pattern, and has the group's patterns resolved if that is due.
pub fn update(
    view: &View<'_>,
    member: &Member,
    wished: &Member,
    draft: &mut Draft,
) -> Result<Update, Denied> {
    let group = view.group;
    let mut update = Update::None;
    let mut is_new = false;
    if member.regex != wished.regex {
        update = Update::Changed;
        if let Some(old) = member.pattern()
            && group.subscribed_by_pattern(old) == 1
        {
            draft.records.push(records::regex_tombstone(view.group_id, old));
        }
        match wished.pattern() {
            Some(new) if group.subscribed_by_pattern(new) == 0 => {
                regex::validate(new)?;
                is_new = true;
            }
            Some(new) if group.resolved.contains_key(new) => update = Update::ChangedAndResolved,
            None if member.pattern().is_some() => update = Update::ChangedAndResolved,
            _ => {}
        }
    }
    if is_new || !group.patterns().is_empty() {
        resolve_if_due(view, member, wished, is_new, draft);
    }
    Ok(update)
}

fn resolve_if_due(view: &View<'_>, member: &Member, wished: &Member, is_new: bool, draft: &mut Draft) {
    let View { coordinator, moment, group_id, group } = *view;
    let now = moment.wall.get();
    let last = group.resolved.values().next().map(|resolved| resolved.timestamp);
    let since = last.map_or(i64::MAX, |last| now - last);
    // A clock that went back does not hold a group up.
    if (0..=MIN_INTERVAL_MS).contains(&since)
        || coordinator.background.is_running(Kind::Resolve, group_id, moment)
    {
        return;
    }
    let changes = member.pattern() != wished.pattern();
    let gone = member.pattern().filter(|old| changes && group.subscribed_by_pattern(old) == 1);
    let count = group.patterns().len() + usize::from(is_new) - usize::from(gone.is_some());
    let due = is_new
        || count != group.resolved.len()
        || group.passing.resolved_at != Some(coordinator.background.created)
        || since > coordinator.settings.consumer.regex_refresh_interval_ms;
    if !due || count == 0 {
        return;
    }
    let mut patterns: BTreeSet<Text> = group.patterns().keys().cloned().collect();
    if let Some(gone) = gone {
        patterns.remove(gone);
    }
    patterns.extend(wished.pattern().cloned());
    draft.start(Work::Resolve(Patterns {
        group_id: group_id.clone(),
        token: moment.chance,
        patterns,
        topics: coordinator.topics.clone(),
        timestamp: now,
        created: coordinator.background.created,
    }));
}

/// Matches come back from another thread.
pub fn resolved(coordinator: &mut GroupCoordinator, matches: Matches, effects: &mut Effects) {
    let Matches { group_id, token, matches, version, timestamp, created } = matches;
    if !coordinator.background.end(Kind::Resolve, &group_id, token) {
        return;
    }
    let Some(Group::Consumer(group)) = coordinator.groups.get(&group_id) else { return };
    let mut outlook = Outlook::of(group);
    let mut bumps = false;
    for (pattern, topics) in matches {
        if group.subscribed_by_pattern(&pattern) == 0 {
            continue;
        }
        let before = group.resolved.get(&pattern).map(|resolved| resolved.topics.clone()).unwrap_or_default();
        if *before != topics {
            bumps = true;
            outlook.resolve(&before, &topics);
        }
        let resolved = Resolved { topics: topics.into(), version, timestamp };
        effects.record(records::regex(&group_id, &pattern, &resolved));
    }
    let hash = metadata_hash(coordinator, &outlook);
    let epoch = group.epoch + 1;
    bumps |= hash != group.metadata_hash;
    if bumps {
        effects.record(records::epoch(&group_id, epoch, hash));
        coordinator.tally.consumer_rebalances += 1;
    }
    if let Some(Group::Consumer(group)) = coordinator.groups.get_mut(&group_id) {
        resolved_passing(group, created, bumps.then_some(epoch));
    }
}

fn resolved_passing(group: &mut ConsumerGroup, created: u64, epoch: Option<i32>) {
    group.passing.resolved_at = Some(created);
    if epoch.is_some() {
        group.passing.checked_at = epoch;
    }
}
