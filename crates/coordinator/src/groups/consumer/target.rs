//! Who is to have what: computed when the group's epoch has moved on, not more often than the assignment interval allows.
//!
//! A small group's target is computed within the event; a large one's on another thread, from a copy of what the group was then. Its
//! result counts for the members that are still there, if no newer target came first; a group that has moved on meanwhile computes
//! again with the next heartbeat.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;

use super::background::Kind;
use super::denied::Denied;
use super::draft::Draft;
use super::group::ConsumerGroup;
use super::member::Member;
use super::outlook::Outlook;
use super::{Work, records};
use crate::frame::Moment;
use crate::groups::assignors::{Assigned, Assignor, AssignorError, GroupSpec, Member as Spec};
use crate::groups::{Effects, Group, GroupCoordinator};
use crate::topics::Topics;

/// Members and partitions of a target that is computed within the event, together.
pub const INLINE_WORK: usize = 4096;

/// A target to be computed.
pub struct Computation {
    pub group_id: Text,
    pub token: u64,
    epoch: i32,
    timestamp: i64,
    assignor: Assignor,
    spec: GroupSpec,
    topics: Topics,
    /// Members and partitions, together.
    work: usize,
}

/// A target that was computed, for the members in the order of the specification.
pub struct Computed {
    pub group_id: Text,
    pub token: u64,
    epoch: i32,
    timestamp: i64,
    members: Vec<Spec>,
    targets: Result<Vec<Arc<Assigned>>, AssignorError>,
}

/// The target that a member is to follow.
pub struct Target {
    pub epoch: i32,
    pub of_member: Arc<Assigned>,
}

/// The group as it will be after a request of one of its members.
pub struct Next<'a> {
    pub group_id: &'a Text,
    pub group: &'a ConsumerGroup,
    pub epoch: i32,
    /// The member as it was (new ones as nothing) and as it will be.
    pub old: &'a Member,
    pub member: &'a Member,
    /// Where it is known already.
    pub outlook: Option<Outlook>,
}

impl Computation {
    pub fn run(self) -> Computed {
        let targets = self.assignor.assign(&self.spec, &self.topics);
        Computed {
            group_id: self.group_id,
            token: self.token,
            epoch: self.epoch,
            timestamp: self.timestamp,
            members: self.spec.members,
            targets,
        }
    }
}

/// The target that the member follows now: a new one if it is time, the last one otherwise.
pub fn update(
    coordinator: &GroupCoordinator,
    moment: Moment,
    next: Next<'_>,
    draft: &mut Draft,
) -> Result<Target, Denied> {
    let Next { group_id, group, epoch, member, .. } = next;
    let last = || Target { epoch: group.assignment_epoch, of_member: group.target_of(member) };
    if group.assignment_epoch >= epoch
        || !is_due(coordinator, group_id, group, moment)
        || coordinator.background.is_running(Kind::Assign, group_id, moment)
    {
        return Ok(last());
    }
    let computation = specify(coordinator, moment, next)?;
    if computation.work > INLINE_WORK {
        draft.start(Work::Assign(computation));
        return Ok(last());
    }
    let computed = computation.run();
    let targets = computed.targets.map_err(|error| failed(epoch, &error))?;
    let mut of_member = Arc::default();
    for (spec, target) in computed.members.iter().zip(targets) {
        if group.targets.get(&spec.id) != Some(&target) {
            draft.records.push(records::target(group_id, &spec.id, &target));
        }
        if spec.id == member.id {
            of_member = target;
        }
    }
    draft.records.push(records::target_epoch(group_id, epoch, computed.timestamp));
    Ok(Target { epoch, of_member })
}

/// A clock that went back does not hold a group up.
fn is_due(coordinator: &GroupCoordinator, group_id: &Text, group: &ConsumerGroup, moment: Moment) -> bool {
    let (last, now) = (group.assignment_timestamp, moment.wall.get());
    last == 0 || now < last || now - last >= i64::from(coordinator.assignment_interval_ms(group_id))
}

fn failed(epoch: i32, error: &AssignorError) -> Denied {
    let message = format!("Failed to compute a new target assignment for epoch {epoch}: {error:?}");
    Denied::new(ErrorCode::UnknownServerError, message)
}

fn specify(coordinator: &GroupCoordinator, moment: Moment, next: Next<'_>) -> Result<Computation, Denied> {
    let Next { group_id, group, epoch, old, member, outlook } = next;
    let outlook = outlook.unwrap_or_else(|| {
        let mut outlook = Outlook::of(group);
        outlook.update(group, old, member);
        outlook
    });
    let preferred = group.preferred_assignor(Some((old, member)));
    let assignors = &coordinator.settings.consumer.assignors;
    let assignor = preferred.as_ref().or(assignors.first()).and_then(|name| Assignor::by_name(name));
    let assignor = assignor
        .ok_or_else(|| Denied::new(ErrorCode::UnknownServerError, "There is no server-side assignor."))?;
    // A static member that comes back under another id takes the place of the one before.
    let replaced = member.instance.as_ref().and_then(|instance| group.statics.get(instance));
    let replaced = replaced.filter(|id| **id != member.id);
    let mut members: BTreeMap<&Text, &Member> = group.members.iter().collect();
    if let Some(replaced) = replaced {
        members.remove(replaced);
    }
    members.insert(&member.id, member);
    let partitions = outlook.topics().filter_map(|name| coordinator.topics.by_name(name));
    let partitions: usize = partitions.map(|topic| usize::try_from(topic.partitions).unwrap_or(0)).sum();
    let mut lists = TopicLists { topics: &coordinator.topics, known: BTreeMap::new() };
    let work = members.len() + partitions;
    let mut specs = Vec::with_capacity(members.len());
    for member in members.into_values() {
        specs.push(Spec {
            id: member.id.clone(),
            instance_id: member.instance.clone(),
            topics: lists.of(member, group.matched(member)),
            target: group.target_of(member),
        });
    }
    Ok(Computation {
        group_id: group_id.clone(),
        token: moment.chance,
        epoch,
        timestamp: moment.wall.get(),
        work,
        assignor,
        spec: GroupSpec { subscriptions: outlook.subscriptions(), members: specs },
        topics: coordinator.topics.clone(),
    })
}

/// One list of topic ids for all members that want the same.
struct TopicLists<'a> {
    topics: &'a Topics,
    known: BTreeMap<Names<'a>, Arc<[TopicId]>>,
}

/// The topics that a member names, and those that its pattern matches.
type Names<'a> = (&'a BTreeSet<Text>, Option<&'a BTreeSet<Text>>);

impl<'a> TopicLists<'a> {
    fn of(&mut self, member: &'a Member, matched: Option<&'a BTreeSet<Text>>) -> Arc<[TopicId]> {
        let topics = self.topics;
        let list = self.known.entry((&member.topics, matched)).or_insert_with(|| {
            let names = member.topics.iter().chain(matched.into_iter().flatten());
            let ids: BTreeSet<TopicId> =
                names.filter_map(|name| topics.by_name(name)).map(|topic| topic.id).collect();
            ids.into_iter().collect()
        });
        list.clone()
    }
}

/// A target comes back from another thread.
pub fn computed(coordinator: &mut GroupCoordinator, computed: Computed, effects: &mut Effects) {
    let group_id = &computed.group_id;
    if !coordinator.background.end(Kind::Assign, group_id, computed.token) {
        return;
    }
    let (Some(Group::Consumer(group)), Ok(targets)) = (coordinator.groups.get(group_id), computed.targets)
    else {
        return;
    };
    if computed.epoch <= group.assignment_epoch || computed.epoch > group.epoch {
        return;
    }
    // Half of a target is as good as none: the epoch, which comes last, says that it is whole.
    effects.divisible();
    for (spec, target) in computed.members.iter().zip(targets) {
        let successor = spec.instance_id.as_ref().and_then(|instance| group.statics.get(instance));
        let Some(member_id) = group.members.get_key_value(&spec.id).map(|(id, _)| id).or(successor) else {
            continue;
        };
        if group.targets.get(member_id) != Some(&target) {
            effects.record(records::target(group_id, member_id, &target));
        }
    }
    effects.record(records::target_epoch(group_id, computed.epoch, computed.timestamp));
}
