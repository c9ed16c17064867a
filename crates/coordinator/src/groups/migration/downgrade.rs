//! A consumer group whose members all speak the classic protocol becomes a classic one.

use dohle_wire::Text;

use super::protocol;
use crate::frame::{Moment, Record};
use crate::groups::classic::{self, ClassicGroup};
use crate::groups::consumer::{ConsumerGroup, Draft, Leaving, Member, Timer, TimerKind};
use crate::groups::{GroupCoordinator, MigrationPolicy};

/// At least what the log adds to a record, and to the batch of them all.
const OVERHEAD_BYTES: usize = 64;

/// The classic group that takes the place of a consumer group.
pub struct Downgrade {
    pub group_id: Text,
    pub group: ClassicGroup,
    /// Its members must join again, because what they have is not what they are to have.
    pub rebalance: bool,
}

/// Whether members of the classic protocol only are left when these are gone, and may have a group of their own.
pub fn downgrades_without(
    coordinator: &GroupCoordinator,
    group: &ConsumerGroup,
    leaving: &Leaving<'_>,
) -> bool {
    let classic = group.classic_members() - leaving.iter().filter(|member| member.is_classic()).count();
    let remaining = group.members.len() - leaving.len();
    classic == remaining && remaining > 0 && may_downgrade(coordinator, remaining)
}

/// Whether members of the classic protocol only are left when this one is replaced by one that speaks it.
pub fn downgrades_with(coordinator: &GroupCoordinator, group: &ConsumerGroup, replaced: &Member) -> bool {
    let size = group.members.len();
    group.classic_members() == size - 1 && !replaced.is_classic() && may_downgrade(coordinator, size)
}

fn may_downgrade(coordinator: &GroupCoordinator, size: usize) -> bool {
    let policy = coordinator.settings.consumer.migration;
    matches!(policy, MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional)
        && size <= coordinator.settings.max_size
}

/// Downgrades the group without those that leave. False when its members cannot be a classic group; nothing is drafted then.
pub fn downgrade_without(
    coordinator: &GroupCoordinator,
    moment: Moment,
    group_id: &Text,
    group: &ConsumerGroup,
    leaving: &Leaving<'_>,
    draft: &mut Draft,
) -> bool {
    let staying = group.members.values().filter(|member| !leaving.contains(&member.id));
    let staying = staying.map(|member| (&member.id, member));
    downgrade(coordinator, moment, group_id, group, staying.collect(), true, draft)
}

/// Downgrades the group to these members. With each goes the id under which its target is known.
pub fn downgrade(
    coordinator: &GroupCoordinator,
    moment: Moment,
    group_id: &Text,
    group: &ConsumerGroup,
    staying: Vec<(&Text, &Member)>,
    rebalance: bool,
    draft: &mut Draft,
) -> bool {
    let members = staying.iter().filter_map(|(_, member)| downgraded(member)).collect();
    let mut classic = ClassicGroup::of_consumers(group.epoch, members, moment);
    for (known_as, member) in staying {
        let target = group.targets.get(known_as).cloned().unwrap_or_default();
        let spoken = classic.member(&member.id).zip(classic.protocol());
        let Some(metadata) = spoken.and_then(|(member, protocol)| member.metadata(protocol)) else {
            continue;
        };
        let Ok(assignment) = protocol::write_assignment(&target, metadata, &coordinator.topics) else {
            return false;
        };
        classic.set_assignment(&member.id, assignment);
    }
    let mut tombstones = Vec::new();
    group.tombstones(group_id, &mut tombstones);
    let record = classic.record(group_id, |member| member.assignment.clone());
    let sizes = tombstones.iter().chain([&record]).map(|record| record.encode().size() + OVERHEAD_BYTES);
    if sizes.sum::<usize>() > draft.max_batch_bytes {
        return false;
    }
    for member in group.members.values() {
        for kind in TimerKind::ALL {
            draft.cancel_timer(Timer::new(kind, group_id, &member.id));
        }
    }
    // What would have been recorded of the consumer group ends with it.
    draft.records = tombstones;
    draft.downgrade(Downgrade { group_id: group_id.clone(), group: classic, rebalance });
    true
}

fn downgraded(member: &Member) -> Option<classic::Member> {
    let spoken = member.classic.as_ref()?;
    let protocols = spoken.supported_protocols.iter().map(|protocol| classic::Protocol {
        name: protocol.name.clone(),
        metadata: protocol.metadata.clone(),
    });
    Some(classic::Member::new(
        member.id.clone(),
        member.instance.clone(),
        member.client.clone(),
        (member.rebalance_timeout_ms, spoken.session_timeout_ms),
        protocols.collect(),
    ))
}
