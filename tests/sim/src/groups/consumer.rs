//! A member of the consumer protocol (KIP-848): one kind of heartbeat, which tells what it has and brings what it is to have.

use std::collections::BTreeSet;

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages as m;
use dohle_wire::messages::{
    consumer_group_heartbeat_request as request, consumer_group_heartbeat_response as response,
};

use super::ledger;
use super::member::{
    Answer, BACKOFF_MS, Hands, Member, Protocol, REQUEST_TIMEOUT_MS, Slot, error, is_passing,
};
use super::truth::Spot;

const VERSION: i16 = 1;
const LEAVE: i32 = -1;
const LEAVE_FOR_NOW: i32 = -2;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub rebalance_timeout_ms: i32,
    /// The longest that giving up partitions takes.
    pub revocation_ms: u64,
    pub assignor: Option<&'static str>,
    /// Subscribes to whatever matches, instead of to names.
    pub pattern: Option<&'static str>,
}

#[derive(Debug)]
pub struct Client {
    settings: Settings,
    stage: Stage,
    next_beat_ms: u64,
    /// What it is to have, as the last assignment said.
    target: Option<BTreeSet<Spot>>,
    /// It is giving up what its target does not have, and is done then.
    revoked_at_ms: Option<u64>,
    /// What the coordinator was last told that it has, in a heartbeat that was answered.
    told: Option<BTreeSet<Spot>>,
    /// What the heartbeat under way tells.
    telling: Option<BTreeSet<Spot>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Out,
    In,
    Leaving,
    /// Has left, and stays so.
    Gone,
}

impl Client {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            stage: Stage::Out,
            next_beat_ms: 0,
            target: None,
            revoked_at_ms: None,
            told: None,
            telling: None,
        }
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    pub fn is_settled(&self) -> bool {
        self.stage == Stage::In && self.revoked_at_ms.is_none()
    }

    /// Whether the coordinator has the heartbeat is not known: the next one tells all.
    pub fn unanswered(&mut self) {
        self.told = None;
        self.telling = None;
        self.next_beat_ms = 0;
        if self.stage == Stage::Leaving {
            self.stage = Stage::Gone;
        }
    }

    fn fenced(&mut self) {
        *self = Self::new(self.settings);
    }
}

pub fn leave(member: &mut Member, hands: &mut Hands<'_>) {
    let stays_known = member.instance.is_some();
    let (id, group, instance) = (member.id.clone(), member.group.clone(), member.instance.clone());
    member.give_up();
    let Protocol::Consumer(client) = &mut member.protocol else { return };
    if client.stage != Stage::In {
        client.stage = Stage::Gone;
        return;
    }
    client.stage = Stage::Leaving;
    let heartbeat = m::ConsumerGroupHeartbeatRequest {
        group_id: group,
        member_id: id,
        member_epoch: if stays_known { LEAVE_FOR_NOW } else { LEAVE },
        instance_id: instance,
        ..Default::default()
    };
    let slot = &mut member.slots[Slot::Main as usize];
    hands.send(slot, VERSION, Ask::ConsumerGroupHeartbeat(heartbeat), REQUEST_TIMEOUT_MS);
}

pub fn act(member: &mut Member, hands: &mut Hands<'_>) {
    let Protocol::Consumer(client) = &mut member.protocol else { return };
    if client.revoked_at_ms.is_some_and(|at| at <= hands.now_ms) {
        client.revoked_at_ms = None;
        let target = client.target.clone().unwrap_or_default();
        member.owned = &member.owned & &target;
        take(member);
    }
    let Protocol::Consumer(client) = &mut member.protocol else { return };
    if member.slots[Slot::Main as usize].is_some() {
        return;
    }
    let changed = client.stage == Stage::In && client.told.as_ref() != Some(&member.owned);
    let must = matches!(client.stage, Stage::Out | Stage::In) && client.next_beat_ms <= hands.now_ms;
    if must || changed && client.revoked_at_ms.is_none() && client.told.is_some() {
        beat(member, hands);
    }
    let Protocol::Consumer(client) = &member.protocol else { return };
    if client.stage == Stage::In && hands.chance.happens(150) {
        ledger::commit(member, hands);
    } else if client.stage == Stage::In && hands.chance.happens(60) {
        let as_member = hands.chance.happens(700);
        ledger::fetch(member, as_member, hands);
    }
}

fn beat(member: &mut Member, hands: &mut Hands<'_>) {
    let Protocol::Consumer(client) = &mut member.protocol else { return };
    let joins = client.stage == Stage::Out;
    if joins && member.id.is_empty() {
        member.id = Text::from(format!("c{}-{}", member.place, member.life));
    }
    let full = joins || client.told.is_none();
    let tells = full || client.told.as_ref() != Some(&member.owned);
    let spots = if joins { BTreeSet::new() } else { member.owned.clone() };
    client.telling = tells.then(|| spots.clone());
    let names = member.topics.iter().map(|topic| hands.catalog.name(*topic).clone());
    let heartbeat = m::ConsumerGroupHeartbeatRequest {
        group_id: member.group.clone(),
        member_id: member.id.clone(),
        member_epoch: if joins { 0 } else { member.epoch },
        instance_id: member.instance.clone().filter(|_| full),
        rebalance_timeout_ms: if full { client.settings.rebalance_timeout_ms } else { -1 },
        subscribed_topic_names: full.then(|| names.filter(|_| client.settings.pattern.is_none()).collect()),
        subscribed_topic_regex: client.settings.pattern.filter(|_| full).map(Text::from_static),
        server_assignor: client.settings.assignor.filter(|_| full).map(Text::from_static),
        topic_partitions: tells.then(|| by_topic(&spots)),
        ..Default::default()
    };
    let slot = &mut member.slots[Slot::Main as usize];
    hands.send(slot, VERSION, Ask::ConsumerGroupHeartbeat(heartbeat), REQUEST_TIMEOUT_MS);
}

fn by_topic(spots: &BTreeSet<Spot>) -> Vec<request::TopicPartitions> {
    let mut topics: Vec<request::TopicPartitions> = Vec::new();
    for (topic_id, partition) in spots {
        match topics.last_mut() {
            Some(last) if last.topic_id == *topic_id => last.partitions.push(*partition),
            _ => topics.push(request::TopicPartitions {
                topic_id: *topic_id,
                partitions: vec![*partition],
                ..Default::default()
            }),
        }
    }
    topics
}

pub fn answered(member: &mut Member, answer: Answer, hands: &mut Hands<'_>) {
    let response = match answer {
        Ok(Response::ConsumerGroupHeartbeat(response)) => response,
        Ok(other) => panic!("{other:?} answers a heartbeat"),
        Err(code) => {
            let error_code = code.code();
            m::ConsumerGroupHeartbeatResponse { error_code, ..Default::default() }
        }
    };
    let Protocol::Consumer(client) = &mut member.protocol else { return };
    if client.stage == Stage::Leaving {
        client.stage = Stage::Gone;
        return;
    }
    match error(response.error_code) {
        ErrorCode::None => accepted(member, &response, hands),
        code @ (ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch | ErrorCode::GroupIdNotFound) => {
            let lost = code == ErrorCode::GroupIdNotFound;
            hands.marks.sometimes("a member finds that its group has become a classic one", lost);
            hands.marks.sometimes("a member is fenced and owns partitions", !member.owned.is_empty());
            client.fenced();
            member.epoch = 0;
            member.give_up();
        }
        ErrorCode::UnreleasedInstanceId => {
            hands.marks.hit("an instance id is not released yet");
            client.unanswered();
            client.next_beat_ms = hands.now_ms + 10 * BACKOFF_MS;
        }
        ErrorCode::FencedInstanceId => {
            hands.marks.hit("a static member is replaced");
            member.die();
        }
        code if is_passing(code) => {
            client.unanswered();
            client.next_beat_ms = hands.now_ms + BACKOFF_MS;
        }
        code => panic!(
            "a member of the consumer protocol does not expect {code:?} ({:?})",
            response.error_message
        ),
    }
}

fn accepted(member: &mut Member, response: &m::ConsumerGroupHeartbeatResponse, hands: &mut Hands<'_>) {
    let Protocol::Consumer(client) = &mut member.protocol else { return };
    let goes_on = client.stage == Stage::In;
    assert!(
        !goes_on || response.member_epoch >= member.epoch,
        "EpochsNeverGoBack: {} is told {} after {}",
        member.id,
        response.member_epoch,
        member.epoch
    );
    if let Some(told) = client.telling.take() {
        client.told = Some(told);
    }
    client.stage = Stage::In;
    member.epoch = response.member_epoch;
    client.next_beat_ms = hands.now_ms + u64::try_from(response.heartbeat_interval_ms).expect("an interval");
    let Some(assignment) = &response.assignment else { return };
    client.target = Some(spots(assignment));
    let unwanted = member.owned.difference(client.target.as_ref().expect("it was just set")).next().is_some();
    if unwanted {
        hands.marks.hit("a member gives up partitions");
        let takes = hands.chance.below(client.settings.revocation_ms + 1);
        client.revoked_at_ms.get_or_insert(hands.now_ms + takes);
    } else {
        client.revoked_at_ms = None;
        take(member);
    }
}

fn spots(assignment: &response::Assignment) -> BTreeSet<Spot> {
    let topics = assignment.topic_partitions.iter();
    topics.flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, *partition))).collect()
}

/// Takes what the target has: the coordinator names only what is free.
fn take(member: &mut Member) {
    let Protocol::Consumer(client) = &member.protocol else { return };
    member.owned.extend(client.target.iter().flatten());
}
