//! ConsumerGroupHeartbeat of a member that joins or stays.
//!
//! The steps, each of which may refuse before anything is recorded: who is it, what does it want now, does the group's epoch move,
//! does the target move, does the member move. A heartbeat that changes nothing copies nothing.

use std::borrow::Cow;

use dohle_types::ErrorCode;
use dohle_wire::messages as m;
use dohle_wire::messages::consumer_group_heartbeat_response as response;
use dohle_wire::{Text, messages::consumer_group_heartbeat_request::TopicPartitions};

use super::denied::Denied;
use super::draft::Draft;
use super::group::ConsumerGroup;
use super::member::{AWAY, Epochs, JOINING, LEFT, Member, MemberState, Wish};
use super::outlook::Outlook;
use super::target::{self, Next, Target};
use super::{Timer, background, leave, patterns, reconcile, records};
use crate::frame::Moment;
use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, Response, Settings, migration};
use crate::topics::TopicHash;

/// From this version on, members choose their ids.
const MEMBER_ID_BY_CLIENT: i16 = 1;

pub(in crate::groups) fn heartbeat(
    coordinator: &mut GroupCoordinator,
    call: &Call,
    request: m::ConsumerGroupHeartbeatRequest,
    effects: &mut Effects,
) {
    let mut draft = Draft::new(effects);
    let answer =
        validate(&coordinator.settings, call.version, &request).and_then(|()| match request.member_epoch {
            LEFT | AWAY => leave::leave(coordinator, call, &request, &mut draft),
            _ => stay(coordinator, call, request, &mut draft),
        });
    let response = match answer {
        Ok(response) => {
            draft.settle(coordinator, call.moment, effects);
            response
        }
        Err(denied) => refuse(denied),
    };
    effects.reply(call.to, Response::ConsumerGroupHeartbeat(response));
}

/// The answer to a heartbeat that is wrong whatever the group is, for who does not know the group.
pub fn malformed_heartbeat(
    settings: &Settings,
    version: i16,
    request: &m::ConsumerGroupHeartbeatRequest,
) -> Option<m::ConsumerGroupHeartbeatResponse> {
    validate(settings, version, request).err().map(refuse)
}

fn refuse(denied: Denied) -> m::ConsumerGroupHeartbeatResponse {
    m::ConsumerGroupHeartbeatResponse {
        error_code: denied.code as i16,
        error_message: Some(Text::from(denied.message)),
        ..Default::default()
    }
}

/// What can be told from the request alone.
fn validate(
    settings: &Settings,
    version: i16,
    request: &m::ConsumerGroupHeartbeatRequest,
) -> Result<(), Denied> {
    let invalid = |message: &str| Err(Denied::new(ErrorCode::InvalidRequest, message));
    let blank = |text: &Text| text.chars().all(|c| c <= ' ');
    let epoch = request.member_epoch;
    let needs_id = version >= MEMBER_ID_BY_CLIENT || epoch > JOINING || epoch == LEFT;
    if needs_id && blank(&request.member_id) {
        return invalid("MemberId can't be empty.");
    }
    if blank(&request.group_id) {
        return invalid("GroupId can't be empty.");
    }
    if request.instance_id.as_ref().is_some_and(blank) {
        return invalid("InstanceId can't be empty.");
    }
    if request.rack_id.as_ref().is_some_and(blank) {
        return invalid("RackId can't be empty.");
    }
    if epoch == JOINING {
        if request.rebalance_timeout_ms == -1 {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
    } else if epoch == AWAY && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    } else if epoch < AWAY {
        return invalid("MemberEpoch is invalid.");
    }
    let assignors = &settings.consumer.assignors;
    match &request.server_assignor {
        Some(name) if !assignors.contains(name) => {
            let known: Vec<&str> = assignors.iter().map(Text::as_str).collect();
            let message =
                format!("ServerAssignor {name} is not supported. Supported assignors: {}.", known.join(", "));
            Err(Denied::new(ErrorCode::UnsupportedAssignor, message))
        }
        _ => Ok(()),
    }
}

/// Joins, or stays.
fn stay(
    coordinator: &GroupCoordinator,
    call: &Call,
    request: m::ConsumerGroupHeartbeatRequest,
    draft: &mut Draft,
) -> Result<m::ConsumerGroupHeartbeatResponse, Denied> {
    let group_id = &coordinator.stored_id(&request.group_id);
    let joins = request.member_epoch == JOINING;
    let group = find_group(coordinator, group_id, joins, draft)?;
    let group: &ConsumerGroup = &group;
    refuse_if_full(coordinator, group, &request.member_id)?;
    let member_id = match request.member_id.is_empty() {
        true => background::random_id(call.moment.chance),
        false => request.member_id.clone(),
    };
    let is_full_request = request.rebalance_timeout_ms != -1
        && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
        && request.topic_partitions.is_some();
    let owned = request.topic_partitions.as_deref().map(owned);
    let newcomer = Newcomer {
        group_id,
        member_id: &member_id,
        epoch: Some(request.member_epoch),
        owned: owned.as_deref(),
        may_join: joins,
    };
    let member = match &request.instance_id {
        None => newcomer.dynamic(group)?,
        Some(instance) => newcomer.stand_in(group, instance, draft)?,
    };
    let wish = Wish {
        client: &call.client,
        instance: request.instance_id.as_ref(),
        rack: request.rack_id.as_ref(),
        rebalance_timeout_ms: (request.rebalance_timeout_ms != -1).then_some(request.rebalance_timeout_ms),
        assignor: request.server_assignor.as_ref(),
        topics: request.subscribed_topic_names.as_deref(),
        regex: request.subscribed_topic_regex.as_ref(),
        classic: None,
    };
    let wished = wish.granted(&member);
    let view = View { coordinator, moment: call.moment, group_id, group };
    let progress = view.progress(&member, &wished, Bump::Consumer, draft)?;
    let now = view.reconcile(&wished, &progress, owned.as_deref(), draft)?;

    draft.set_timer(Timer::session(group_id, &now.id), coordinator.session_timeout_ms(group_id));
    let changed = now.assigned != member.assigned;
    Ok(m::ConsumerGroupHeartbeatResponse {
        member_id: Some(now.id.clone()),
        member_epoch: now.epoch,
        heartbeat_interval_ms: coordinator.heartbeat_interval_ms(group_id),
        assignment: (joins || is_full_request || changed).then(|| assignment(&now.assigned)),
        ..Default::default()
    })
}

/// The group, new, or made of a classic one, if the member may join it.
fn find_group<'a>(
    coordinator: &'a GroupCoordinator,
    group_id: &Text,
    may_create: bool,
    draft: &mut Draft,
) -> Result<Cow<'a, ConsumerGroup>, Denied> {
    match coordinator.groups.get(group_id) {
        Some(Group::Consumer(group)) => Ok(Cow::Borrowed(&**group)),
        Some(Group::Classic(classic)) if may_create => {
            migration::upgrade(coordinator, group_id, classic, draft).map(Cow::Owned)
        }
        Some(Group::Classic(_)) => Err(not_a_consumer_group(group_id)),
        None if may_create => Ok(Cow::Owned(ConsumerGroup::new())),
        None => Err(Denied::no_group(format!("Consumer group {group_id} not found."))),
    }
}

pub fn not_a_consumer_group(group_id: &str) -> Denied {
    Denied::no_group(format!("Group {group_id} is not a consumer group."))
}

pub(in crate::groups) fn refuse_if_full(
    coordinator: &GroupCoordinator,
    group: &ConsumerGroup,
    member_id: &str,
) -> Result<(), Denied> {
    let max = coordinator.settings.consumer.max_size;
    if group.members.len() < max || group.members.contains_key(member_id) {
        return Ok(());
    }
    let message = format!("The consumer group has reached its maximum capacity of {max} members.");
    Err(Denied::new(ErrorCode::GroupMaxSizeReached, message))
}

/// What a member says it has.
fn owned(topics: &[TopicPartitions]) -> Vec<(dohle_types::TopicId, Vec<i32>)> {
    topics.iter().map(|topic| (topic.topic_id, topic.partitions.clone())).collect()
}

/// One that is, or will be, a member.
pub(in crate::groups) struct Newcomer<'a> {
    pub group_id: &'a Text,
    pub member_id: &'a Text,
    /// The epoch it names. Members of the classic protocol name none when they join.
    pub epoch: Option<i32>,
    pub owned: Option<&'a reconcile::Owned>,
    pub may_join: bool,
}

impl Newcomer<'_> {
    pub fn dynamic<'g>(&self, group: &'g ConsumerGroup) -> Result<Cow<'g, Member>, Denied> {
        let member = match group.members.get(self.member_id) {
            Some(member) => Cow::Borrowed(member),
            None if self.may_join => Cow::Owned(Member::new(self.member_id.detached())),
            None => return Err(Denied::not_a_member(self.member_id, self.group_id)),
        };
        self.refuse_other_epochs(&member)?;
        Ok(member)
    }

    /// A static member: the one of its instance id, or its successor.
    pub fn stand_in<'g>(
        &self,
        group: &'g ConsumerGroup,
        instance: &Text,
        draft: &mut Draft,
    ) -> Result<Cow<'g, Member>, Denied> {
        let known = group.static_member(instance);
        if !self.may_join {
            let member = known.ok_or_else(|| unknown_instance(instance))?;
            refuse_fenced(member, self.member_id, instance)?;
            self.refuse_other_epochs(member)?;
            return Ok(Cow::Borrowed(member));
        }
        let Some(before) = known else {
            let known_id = group.members.get(self.member_id);
            let new = || Cow::Owned(Member::new(self.member_id.detached()));
            return Ok(known_id.map_or_else(new, Cow::Borrowed));
        };
        if self.epoch.is_some() && !before.is_classic() && before.epoch != AWAY {
            let message = format!(
                "Static member {} with instance id {instance} cannot join the group because the instance id is owned by {} member.",
                self.member_id, before.id
            );
            return Err(Denied::new(ErrorCode::UnreleasedInstanceId, message));
        }
        let mut successor = before.clone();
        successor.id = self.member_id.detached();
        successor.epoch = JOINING;
        successor.previous_epoch = JOINING;
        let target = group.targets.get(&before.id).cloned().unwrap_or_default();
        records::remove_member(self.group_id, &before.id, &mut draft.records);
        draft.records.push(records::member(self.group_id, &successor));
        draft.records.push(records::target(self.group_id, &successor.id, &target));
        draft.records.push(records::current(self.group_id, &successor));
        Ok(Cow::Owned(successor))
    }

    /// The epoch must be the member's; or the one before, from a member that missed the last answer and has nothing it was not given.
    fn refuse_other_epochs(&self, member: &Member) -> Result<(), Denied> {
        let Some(epoch) = self.epoch.filter(|epoch| *epoch != JOINING) else { return Ok(()) };
        let fenced = |how: &str| {
            let message = format!(
                "The consumer group member has a {how} member epoch ({epoch}) than the one known by the group coordinator ({}). The member must abandon all its partitions and rejoin.",
                member.epoch
            );
            Err(Denied::new(ErrorCode::FencedMemberEpoch, message))
        };
        if epoch > member.epoch {
            return fenced("greater");
        }
        let one_behind = epoch == member.previous_epoch
            && self.owned.is_some_and(|owned| has_all(&member.assigned, owned));
        if epoch < member.epoch && !one_behind { fenced("smaller") } else { Ok(()) }
    }
}

fn has_all(assigned: &Epochs, owned: &reconcile::Owned) -> bool {
    owned.iter().all(|(topic, partitions)| {
        assigned.get(topic).is_some_and(|assigned| partitions.iter().all(|at| assigned.contains_key(at)))
    })
}

pub fn unknown_instance(instance: &str) -> Denied {
    Denied::new(ErrorCode::UnknownMemberId, format!("Instance id {instance} is unknown."))
}

pub fn refuse_fenced(member: &Member, member_id: &str, instance: &str) -> Result<(), Denied> {
    if member.id == *member_id {
        return Ok(());
    }
    let message =
        format!("Static member {member_id} with instance id {instance} was fenced by member {}.", member.id);
    Err(Denied::new(ErrorCode::FencedInstanceId, message))
}

/// When the group's epoch goes up for a pattern: members of the consumer protocol wait until it is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::groups) enum Bump {
    Consumer,
    Classic,
}

/// How far a member's wish has brought the group.
pub(in crate::groups) struct Progress {
    pub epoch: i32,
    pub subscription_changed: bool,
    pub target: Option<Target>,
}

/// A group as one of its members finds it.
#[derive(Clone, Copy)]
pub(in crate::groups) struct View<'a> {
    pub coordinator: &'a GroupCoordinator,
    pub moment: Moment,
    pub group_id: &'a Text,
    pub group: &'a ConsumerGroup,
}

impl View<'_> {
    /// From the member's wish to its target.
    fn progress(
        &self,
        member: &Member,
        wished: &Member,
        bump: Bump,
        draft: &mut Draft,
    ) -> Result<Progress, Denied> {
        let (mut progress, outlook) = self.advance_epoch(member, wished, bump, draft)?;
        let next = Next {
            group_id: self.group_id,
            group: self.group,
            epoch: progress.epoch,
            old: member,
            member: wished,
            outlook,
        };
        progress.target = Some(target::update(self.coordinator, self.moment, next, draft)?);
        Ok(progress)
    }

    /// Records the wish and moves the group's epoch if it must move.
    pub fn advance_epoch(
        &self,
        member: &Member,
        wished: &Member,
        bump: Bump,
        draft: &mut Draft,
    ) -> Result<(Progress, Option<Outlook>), Denied> {
        let mut names_changed = false;
        if *wished != *member {
            draft.records.push(records::member(self.group_id, wished));
            names_changed = wished.topics != member.topics;
        }
        let pattern = patterns::update(self, member, wished, draft)?;
        let bumps = names_changed
            || match bump {
                Bump::Consumer => pattern == patterns::Update::ChangedAndResolved,
                Bump::Classic => pattern != patterns::Update::None,
            };
        let checked = self.group.passing.checked_at.is_some_and(|epoch| epoch <= self.group.epoch);
        let mut progress = Progress {
            epoch: self.group.epoch,
            subscription_changed: names_changed || pattern != patterns::Update::None,
            target: None,
        };
        if checked && !bumps {
            return Ok((progress, None));
        }
        let mut outlook = Outlook::of(self.group);
        outlook.update(self.group, member, wished);
        let hash = self.metadata_hash(&outlook);
        if bumps || hash != self.group.metadata_hash {
            progress.epoch += 1;
            draft.rebalances = true;
            draft.records.push(records::epoch(self.group_id, progress.epoch, hash));
        }
        draft.checked = Some((self.group_id.clone(), progress.epoch));
        if self.group.has_partition_metadata {
            draft.records.push(records::partition_metadata_tombstone(self.group_id));
        }
        Ok((progress, Some(outlook)))
    }

    pub fn metadata_hash(&self, outlook: &Outlook) -> i64 {
        metadata_hash(self.coordinator, outlook)
    }

    /// Takes the member's next step, if there is one, and records it.
    pub fn reconcile<'m>(
        &self,
        member: &'m Member,
        progress: &Progress,
        owned: Option<&reconcile::Owned>,
        draft: &mut Draft,
    ) -> Result<Cow<'m, Member>, Denied> {
        let Some(target) = &progress.target else { return Ok(Cow::Borrowed(member)) };
        if !progress.subscription_changed && member.is_reconciled_to(target.epoch) {
            return Ok(Cow::Borrowed(member));
        }
        let goal = reconcile::Goal {
            epoch: target.epoch,
            target: &target.of_member,
            subscribed: reconcile::Subscribed {
                topics: &self.coordinator.topics,
                names: &member.topics,
                matched: self.group.matched(member),
            },
            subscription_changed: progress.subscription_changed,
            is_owned: &|topic, partition| self.group.is_owned(topic, partition),
        };
        let next = reconcile::step(member, &goal, owned)?;
        if *next == *member {
            return Ok(Cow::Borrowed(member));
        }
        draft.records.push(records::current(self.group_id, &next));
        if !next.is_classic() {
            let timer = Timer::revocation(self.group_id, &next.id);
            match next.state {
                MemberState::UnrevokedPartitions => draft.set_timer(timer, next.rebalance_timeout_ms),
                _ => draft.cancel_timer(timer),
            }
        }
        Ok(next)
    }
}

/// The hash of the topics that a group subscribes to and that exist.
pub fn metadata_hash(coordinator: &GroupCoordinator, outlook: &Outlook) -> i64 {
    TopicHash::of_all(outlook.topics().filter_map(|name| coordinator.topics.hash_of(name)))
}

fn assignment(assigned: &Epochs) -> response::Assignment {
    let of =
        |(topic_id, partitions): (&_, &std::collections::BTreeMap<i32, i32>)| response::TopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            ..Default::default()
        };
    response::Assignment { topic_partitions: assigned.iter().map(of).collect(), ..Default::default() }
}
