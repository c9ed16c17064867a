//! What must hold after every step of a script.

use std::collections::{BTreeMap, BTreeSet};

use crate::frame::ReplyTo;
use crate::groups::classic::ClassicGroup;
use crate::groups::{Group, GroupCoordinator};

use super::{Entry, Stage, replay, shard};

pub(super) fn all(stage: &Stage) {
    replay_equals_state(stage);
    nobody_is_forgotten(stage);
    for (id, group) in &stage.coordinator().groups {
        if let Group::Classic(group) = group {
            settled_is_stored(id, group);
            group.assert_counts_agree();
        }
    }
    let kept = stage.coordinator().groups.values().map(Group::kept_bytes).sum::<usize>();
    assert_eq!(stage.coordinator().kept_bytes(), kept, "KeptIsCounted, the sum");
}

fn replay_equals_state(stage: &Stage) {
    let state = remembered(stage.coordinator());
    let replayed = |entries: &[Entry]| {
        let mut shard = shard(&stage.settings, &stage.topics, stage.max_batch_bytes);
        for (offset, entry) in entries.iter().enumerate() {
            replay(&mut shard, offset, entry);
        }
        remembered(shard.coordinator())
    };
    assert_eq!(state, replayed(&stage.log), "ReplayEqualsState");
    let compacted = compacted(&stage.log);
    if let Some(compacted) = compacted {
        assert_eq!(state, replayed(&compacted), "ReplayEqualsState, compacted");
    }
}

/// Only the last record of every key. With transactions in it, the log is left as it is.
fn compacted(log: &[Entry]) -> Option<Vec<Entry>> {
    let mut last = BTreeMap::new();
    for (offset, entry) in log.iter().enumerate() {
        let Entry::Record(record, None) = entry else { return None };
        last.insert(format!("{:?}", record.key), offset);
    }
    let kept: BTreeSet<usize> = last.into_values().collect();
    Some(kept.into_iter().map(|offset| log[offset].clone()).collect())
}

/// Hard state as text. A group that only its offsets make is told by them.
fn remembered(c: &GroupCoordinator) -> String {
    let groups = c.groups.iter().filter_map(|(id, group)| match group {
        Group::Classic(group) => group.stored().map(|stored| format!("{id}: {stored:?}\n")),
        Group::Consumer(group) => Some(format!("{id}: {group:?}\n")),
    });
    groups.collect::<String>() + &c.offsets.remembered()
}

/// `SettledIsStored`
fn settled_is_stored(id: &str, group: &ClassicGroup) {
    let Some(stored) = group.stored() else { return };
    if !group.is_stable() && !group.is_empty() {
        return;
    }
    let fresh = ClassicGroup::restored(stored.clone());
    let (lives, says) = (group.settled_view(), fresh.settled_view());
    assert_eq!(lives, says, "SettledIsStored, group {id}");
}

fn nobody_is_forgotten(stage: &Stage) {
    let mut waiting: BTreeSet<ReplyTo> = BTreeSet::new();
    for group in stage.coordinator().groups.values() {
        if let Group::Classic(group) = group {
            waiting.extend(group.waiting());
        }
    }
    let open: BTreeSet<ReplyTo> = stage.open.keys().copied().collect();
    assert_eq!(open, waiting, "NobodyForgotten: open questions against those that members wait for");
}
