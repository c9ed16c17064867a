//! A member of the classic protocol. Eager ones give up everything before they join again, and their leader assigns ranges.
//! Cooperative ones keep what they have, their leader leaves partitions where they are and gives those that move to nobody until
//! their owners have given them up, with which these join again ([`cooperative`]).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dohle_coordinator::groups::{Ask, Response};
use dohle_types::{ErrorCode, TopicId};
use dohle_wire::messages as m;
use dohle_wire::messages::{
    consumer_protocol_assignment as assignment, consumer_protocol_subscription as subscription,
    join_group_request as join, leave_group_request as leaving, sync_group_request as syncing,
};
use dohle_wire::{Message, Reader, Text, Writer};

use super::cooperative::{self, Place, Wish};
use super::ledger;
use super::member::{
    Answer, BACKOFF_MS, Hands, Member, Protocol, REQUEST_TIMEOUT_MS, Slot, error, is_passing,
};

const JOIN_VERSION: i16 = 9;
const SYNC_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const LEAVE_VERSION: i16 = 5;
/// The first version that has room for what is owned, and the first that has room for the generation that gave it.
const EMBEDDED_VERSION: i16 = 1;
const EMBEDDED_VERSION_WITH_GENERATION: i16 = 3;
const HEARTBEAT_INTERVAL_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub cooperates: bool,
}

#[derive(Debug)]
pub struct Client {
    settings: Settings,
    stage: Stage,
    next_beat_ms: u64,
    not_before_ms: u64,
    /// The topics when it assigned; only a leader has them.
    assigned_for: Option<Vec<(TopicId, i32)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Out,
    Joining,
    Syncing,
    Stable,
    Leaving,
    Gone,
}

impl Client {
    pub fn new(settings: Settings) -> Self {
        Self { settings, stage: Stage::Out, next_beat_ms: 0, not_before_ms: 0, assigned_for: None }
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Whether it has asked to join, and not been answered.
    pub fn is_joining(&self) -> bool {
        matches!(self.stage, Stage::Joining)
    }

    pub fn is_stable(&self) -> bool {
        self.stage == Stage::Stable
    }

    pub fn unanswered(&mut self) {
        self.stage = match self.stage {
            Stage::Leaving | Stage::Gone => Stage::Gone,
            Stage::Out | Stage::Joining | Stage::Syncing | Stage::Stable => Stage::Out,
        };
    }
}

fn client(member: &mut Member) -> &mut Client {
    match &mut member.protocol {
        Protocol::Classic(client) => client,
        Protocol::Consumer(_) => unreachable!("only members of the classic protocol come here"),
    }
}

/// Gives up what it has and joins again, as soon as it may.
fn out(member: &mut Member, not_before_ms: u64) {
    member.give_up();
    again(member, not_before_ms);
}

/// Joins again, as soon as it may, and keeps what it has if it is one of those that do.
fn again(member: &mut Member, not_before_ms: u64) {
    if !client(member).settings.cooperates {
        member.give_up();
    }
    let client = client(member);
    client.stage = Stage::Out;
    client.not_before_ms = not_before_ms;
    client.assigned_for = None;
    member.slots[Slot::Main as usize] = None;
    member.slots[Slot::Beat as usize] = None;
}

pub fn leave(member: &mut Member, hands: &mut Hands<'_>) {
    let (id, group) = (member.id.clone(), member.group.clone());
    out(member, hands.now_ms);
    client(member).stage = if id.is_empty() { Stage::Gone } else { Stage::Leaving };
    if id.is_empty() {
        return;
    }
    let identity = leaving::MemberIdentity {
        member_id: id,
        group_instance_id: member.instance.clone(),
        ..Default::default()
    };
    let request = m::LeaveGroupRequest { group_id: group, members: vec![identity], ..Default::default() };
    let slot = &mut member.slots[Slot::Main as usize];
    hands.send(slot, LEAVE_VERSION, Ask::LeaveGroup(request), REQUEST_TIMEOUT_MS);
}

pub fn act(member: &mut Member, hands: &mut Hands<'_>) {
    let now = hands.now_ms;
    let topics = hands.catalog.picture();
    let idle = member.slots[Slot::Main as usize].is_none();
    let Protocol::Classic(state_now) = &member.protocol else { return };
    let (stage, due) = (state_now.stage, state_now.next_beat_ms <= now);
    match stage {
        Stage::Out if idle && state_now.not_before_ms <= now => join(member, hands),
        Stage::Stable if state_now.assigned_for.as_ref().is_some_and(|before| *before != topics) => {
            hands.marks.hit("a leader sees that topics have changed");
            again(member, now);
        }
        Stage::Stable | Stage::Syncing if due && member.slots[Slot::Beat as usize].is_none() => {
            heartbeat(member, hands);
        }
        _ => {}
    }
    if stage == Stage::Stable && hands.chance.happens(150) {
        ledger::commit(member, hands);
    } else if stage == Stage::Stable && hands.chance.happens(60) {
        ledger::fetch(member, false, hands);
    }
}

fn join(member: &mut Member, hands: &mut Hands<'_>) {
    let settings = client(member).settings;
    let subscription = subscription(member, hands);
    let (name, version) = if settings.cooperates {
        ("cooperative-sticky", EMBEDDED_VERSION_WITH_GENERATION)
    } else {
        ("range", EMBEDDED_VERSION)
    };
    let protocol = join::JoinGroupRequestProtocol {
        name: Text::from_static(name),
        metadata: embedded(&subscription, version),
        ..Default::default()
    };
    let request = m::JoinGroupRequest {
        group_id: member.group.clone(),
        session_timeout_ms: settings.session_timeout_ms,
        rebalance_timeout_ms: settings.rebalance_timeout_ms,
        member_id: member.id.clone(),
        group_instance_id: member.instance.clone(),
        protocol_type: Text::from_static("consumer"),
        protocols: vec![protocol],
        ..Default::default()
    };
    client(member).stage = Stage::Joining;
    let patience = settings.rebalance_timeout_ms as u64 + 5_000;
    hands.send(&mut member.slots[Slot::Main as usize], JOIN_VERSION, Ask::JoinGroup(request), patience);
}

/// What it reads, what it has, and since when.
fn subscription(member: &Member, hands: &Hands<'_>) -> m::ConsumerProtocolSubscription {
    let topics = member.topics.iter().map(|topic| hands.catalog.name(*topic).clone()).collect();
    let mut owned: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
    for (id, partition) in &member.owned {
        let topic = hands.catalog.by_id(*id).expect("it was once");
        owned.entry(topic).or_default().push(*partition);
    }
    let owned = owned.into_iter().map(|(topic, partitions)| subscription::TopicPartition {
        topic: hands.catalog.name(topic).clone(),
        partitions,
    });
    let generation_id = if member.owned.is_empty() { -1 } else { member.given_at };
    let owned_partitions = owned.collect();
    m::ConsumerProtocolSubscription { topics, owned_partitions, generation_id, ..Default::default() }
}

fn heartbeat(member: &mut Member, hands: &mut Hands<'_>) {
    let request = m::HeartbeatRequest {
        group_id: member.group.clone(),
        generation_id: member.epoch,
        member_id: member.id.clone(),
        group_instance_id: member.instance.clone(),
        ..Default::default()
    };
    client(member).next_beat_ms = hands.now_ms + HEARTBEAT_INTERVAL_MS;
    let slot = &mut member.slots[Slot::Beat as usize];
    hands.send(slot, HEARTBEAT_VERSION, Ask::Heartbeat(request), REQUEST_TIMEOUT_MS);
}

pub fn answered(member: &mut Member, answer: Answer, hands: &mut Hands<'_>) {
    if client(member).stage == Stage::Leaving {
        client(member).stage = Stage::Gone;
        return;
    }
    match answer {
        Ok(Response::JoinGroup(response)) => match error(response.error_code) {
            ErrorCode::None => joined(member, response, hands),
            ErrorCode::MemberIdRequired => {
                hands.marks.hit("a member is given an id first");
                member.id = response.member_id;
                again(member, hands.now_ms);
            }
            code => refused(member, code, hands),
        },
        Ok(Response::SyncGroup(response)) => match error(response.error_code) {
            ErrorCode::None => synced(member, &response, hands),
            code => refused(member, code, hands),
        },
        Ok(Response::Heartbeat(response)) => match error(response.error_code) {
            ErrorCode::None => {}
            // While it waits for its assignment it has joined already.
            ErrorCode::RebalanceInProgress if client(member).stage != Stage::Stable => {}
            code => refused(member, code, hands),
        },
        Ok(other) => panic!("{other:?} is no answer to a member of the classic protocol"),
        Err(code) => refused(member, code, hands),
    }
}

fn refused(member: &mut Member, code: ErrorCode, hands: &mut Hands<'_>) {
    let is_stable = client(member).stage == Stage::Stable;
    let keeps = client(member).settings.cooperates && !member.owned.is_empty();
    match code {
        ErrorCode::RebalanceInProgress => {
            hands.marks.sometimes("a member is told of a rebalance", is_stable);
            if is_stable {
                hands.marks.sometimes("a cooperative member keeps partitions through a rebalance", keeps);
                again(member, hands.now_ms);
            } else {
                // What the generation gave that it has joined it will never know: others may count on its having heard.
                out(member, hands.now_ms);
            }
        }
        ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId => {
            hands.marks.sometimes("a member is fenced and owns partitions", !member.owned.is_empty());
            hands.marks.sometimes("a cooperative member loses what it has", keeps);
            if code == ErrorCode::UnknownMemberId {
                member.id = Text::new();
            }
            out(member, hands.now_ms);
        }
        ErrorCode::FencedInstanceId => {
            hands.marks.hit("a static member is replaced");
            member.die();
        }
        // A heartbeat that failed leaves the member where it is.
        code if is_passing(code) && is_stable => {}
        code if is_passing(code) => {
            let heartbeat_only = member.slots[Slot::Main as usize].is_some();
            if !heartbeat_only {
                again(member, hands.now_ms + BACKOFF_MS);
            }
        }
        code => panic!("a member of the classic protocol does not expect {code:?}"),
    }
}

fn joined(member: &mut Member, response: m::JoinGroupResponse, hands: &mut Hands<'_>) {
    member.id = response.member_id;
    member.epoch = response.generation_id;
    let leads = response.leader == member.id;
    hands.marks.sometimes("a leader is told to leave the assignment as it is", response.skip_assignment);
    let assigns = leads && !response.skip_assignment;
    // For how many partitions an assignment was made that stays as it is, nobody remembers: the leader asks for a new one.
    let assigned_for = leads.then(|| if assigns { hands.catalog.picture() } else { Vec::new() });
    let cooperates = client(member).settings.cooperates;
    let assignments = if assigns { assign(&response.members, cooperates, hands) } else { Vec::new() };
    let request = m::SyncGroupRequest {
        group_id: member.group.clone(),
        generation_id: member.epoch,
        member_id: member.id.clone(),
        group_instance_id: member.instance.clone(),
        protocol_type: response.protocol_type,
        protocol_name: response.protocol_name,
        assignments,
        ..Default::default()
    };
    let client = client(member);
    client.stage = Stage::Syncing;
    client.next_beat_ms = hands.now_ms + HEARTBEAT_INTERVAL_MS;
    client.assigned_for = assigned_for;
    let patience = client.settings.rebalance_timeout_ms as u64 + 5_000;
    hands.send(&mut member.slots[Slot::Main as usize], SYNC_VERSION, Ask::SyncGroup(request), patience);
}

fn synced(member: &mut Member, response: &m::SyncGroupResponse, hands: &mut Hands<'_>) {
    let assignment: m::ConsumerProtocolAssignment = unembedded(&response.assignment);
    let mut given = BTreeSet::new();
    for topic in assignment.assigned_partitions {
        // What was deleted since cannot be read.
        if let Some(number) = hands.catalog.by_name(&topic.topic) {
            let id = hands.catalog.id(number);
            given.extend(topic.partitions.iter().map(|partition| (id, *partition)));
        }
    }
    let gives_up = !member.owned.is_subset(&given);
    member.owned = given;
    member.given_at = member.epoch;
    // What it has is what the group gave it, whatever went on without it before.
    member.void = false;
    client(member).stage = Stage::Stable;
    if gives_up {
        hands.marks.hit("a cooperative member gives up partitions and joins again");
        again(member, hands.now_ms);
    }
}

/// What each member gets, by the assignor that all of them speak.
fn assign(
    members: &[m::join_group_response::JoinGroupResponseMember],
    cooperates: bool,
    hands: &mut Hands<'_>,
) -> Vec<syncing::SyncGroupRequestAssignment> {
    let wishes: BTreeMap<Text, Wish> =
        members.iter().map(|member| (member.member_id.clone(), wish(&member.metadata, hands))).collect();
    let partitions: Vec<i32> =
        hands.catalog.picture().into_iter().map(|(_, partitions)| partitions).collect();
    let dealt = if cooperates {
        let dealt = cooperative::assign(&wishes, &partitions);
        hands.marks.sometimes("a cooperative member waits for a partition of another", dealt.withheld > 0);
        dealt.given
    } else {
        ranges(&wishes, &partitions)
    };
    let version = if cooperates { EMBEDDED_VERSION_WITH_GENERATION } else { EMBEDDED_VERSION };
    let assignment = |(id, given): (Text, BTreeSet<Place>)| {
        let mut topics: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
        given.into_iter().for_each(|(topic, partition)| topics.entry(topic).or_default().push(partition));
        let assigned_partitions = topics.into_iter().map(|(topic, partitions)| assignment::TopicPartition {
            topic: hands.catalog.name(topic).clone(),
            partitions,
        });
        let assigned_partitions = assigned_partitions.collect();
        let assignment = m::ConsumerProtocolAssignment { assigned_partitions, ..Default::default() };
        syncing::SyncGroupRequestAssignment {
            member_id: id,
            assignment: embedded(&assignment, version),
            ..Default::default()
        }
    };
    dealt.into_iter().map(assignment).collect()
}

/// What the leader reads out of a member's subscription.
fn wish(metadata: &Bytes, hands: &Hands<'_>) -> Wish {
    let subscription: m::ConsumerProtocolSubscription = unembedded(metadata);
    let number = |topic: &Text| hands.catalog.by_name(topic);
    let owned = subscription.owned_partitions.iter().filter_map(|owned| Some((number(&owned.topic)?, owned)));
    Wish {
        topics: subscription.topics.iter().filter_map(number).collect(),
        owned: owned.flat_map(|(topic, owned)| owned.partitions.iter().map(move |p| (topic, *p))).collect(),
        generation: subscription.generation_id,
    }
}

/// Every subscriber of a topic gets a run of its partitions.
fn ranges(wishes: &BTreeMap<Text, Wish>, partitions: &[i32]) -> BTreeMap<Text, BTreeSet<Place>> {
    let mut given: BTreeMap<Text, BTreeSet<Place>> =
        wishes.keys().map(|id| (id.clone(), BTreeSet::new())).collect();
    for (topic, &partitions) in partitions.iter().enumerate() {
        let subscribers: Vec<&Text> =
            wishes.iter().filter(|(_, wish)| wish.topics.contains(&topic)).map(|(id, _)| id).collect();
        let count = subscribers.len() as i32;
        for (place, subscriber) in (0..).zip(subscribers) {
            let run = (partitions * place / count)..(partitions * (place + 1) / count);
            let given = given.get_mut(subscriber).expect("a subscriber is a member");
            given.extend(run.map(|partition| (topic, partition)));
        }
    }
    given
}

/// A message with its version before it, as consumers put it into the bytes that the coordinator passes on.
fn embedded(message: &impl Message, version: i16) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version).expect("it can be written");
    writer.into_bytes()
}

fn unembedded<M: Message>(bytes: &Bytes) -> M {
    if bytes.is_empty() {
        return M::default();
    }
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16().expect("it starts with its version");
    M::decode(&mut reader, version).expect("it can be read")
}
