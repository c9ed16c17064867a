//! DeleteGroups.

use std::collections::BTreeSet;

use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages as m;
use m::delete_groups_response::DeletableGroupResult;

use super::request::Call;
use super::{Effects, Group, GroupCoordinator, GroupRecord, Response, classic, offsets};

pub(super) fn groups(c: &GroupCoordinator, call: &Call, ids: Vec<Text>, effects: &mut Effects) {
    // A crash that leaves a part of them leaves a group with fewer offsets, which can be deleted again.
    effects.divisible();
    let mut results = Vec::with_capacity(ids.len());
    let mut seen = BTreeSet::new();
    // A group that is named twice is answered once.
    for id in ids.into_iter().filter(|id| seen.insert(id.clone())) {
        let code = match c.groups.get(&id) {
            None => ErrorCode::GroupIdNotFound,
            Some(group) if !group.is_empty() => ErrorCode::NonEmptyGroup,
            Some(group) => {
                let mut records = Vec::new();
                offsets::tombstones(c, &id, &mut records);
                group_tombstones(&id, group, &mut records);
                stop_timers(&id, group, effects);
                effects.records(records);
                ErrorCode::None
            }
        };
        results.push(DeletableGroupResult { group_id: id, error_code: code.code(), ..Default::default() });
    }
    effects.reply(call.to, Response::DeleteGroups(results));
}

/// The records that end a group without members. Its offsets have their own.
pub(super) fn group_tombstones(id: &Text, group: &Group, records: &mut Vec<GroupRecord>) {
    match group {
        Group::Classic(_) => records.push(classic::tombstone(id)),
        Group::Consumer(group) => group.tombstones(id, records),
    }
}

/// Ids that were given out and not used yet are forgotten with the group.
pub(super) fn stop_timers(id: &Text, group: &Group, effects: &mut Effects) {
    if let Group::Classic(group) = group {
        classic::forget_pending(id, group, effects);
    }
}
