//! What one member more costs in a large group: as much as there are members, and never members times partitions.
//!
//! Counted is what leaves the coordinator until the group has settled: records, their bytes, and members and partitions named in
//! answers. A group of twice the size may have twice of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dohle_coordinator::frame::{Job, Moment, ReplyTo, Shard};
use dohle_coordinator::groups::{Ask, Client, GroupCoordinator, Request, Response, Settings};
use dohle_coordinator::topics::{Topic, Topics};
use dohle_types::{TimestampMs, TopicId, Uuid};
use dohle_wire::Text;
use dohle_wire::messages as m;
use m::consumer_group_heartbeat_request::TopicPartitions;
use m::join_group_request::JoinGroupRequestProtocol;
use m::sync_group_request::SyncGroupRequestAssignment;

const SMALL: usize = 400;
/// Twice the members, and a tenth for what does not divide evenly.
const MOST: f64 = 2.2;
const TOPIC: TopicId = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);

/// What left the coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Work {
    records: usize,
    bytes: usize,
    answers: usize,
    /// Members and partitions that answers name.
    named: usize,
}

impl Work {
    #[track_caller]
    fn assert_twice_at_most(self, small: Self, least: usize) {
        println!("{small:?}, then {self:?}");
        let counts = [
            ("records", small.records, self.records),
            ("bytes", small.bytes, self.bytes),
            ("answers", small.answers, self.answers),
            ("named", small.named, self.named),
        ];
        for (what, small, large) in counts {
            assert!(large as f64 <= MOST * small.max(8) as f64, "{what}: {small}, then {large}");
        }
        assert!(small.answers >= least, "everybody was asked");
    }
}

struct Group {
    shard: Shard<GroupCoordinator>,
    tick_ms: u64,
    work: Work,
}

impl Group {
    fn new(partitions: usize) -> Self {
        let mut topics = Topics::default();
        let partitions = i32::try_from(partitions).unwrap();
        topics.insert(Topic { id: TOPIC, name: Text::from("t"), partitions, racks: Vec::new() });
        let coordinator = GroupCoordinator::new(Arc::new(Settings::default()), topics, BTreeMap::new());
        let mut shard = Shard::new(coordinator, 1_048_588);
        shard.loaded(moment(0));
        Self { shard, tick_ms: 0, work: Work::default() }
    }

    /// Asks, and takes what there is to be told. Jobs are run at once.
    fn ask(&mut self, to: usize, ask: Ask) -> Vec<(usize, Response)> {
        let client = Client { id: Text::from("c"), host: Text::from("/127.0.0.1") };
        let version = if matches!(ask, Ask::ConsumerGroupHeartbeat(_)) { 1 } else { 3 };
        self.tick_ms += 1;
        let to = ReplyTo(u64::try_from(to).unwrap());
        self.shard.handle(moment(self.tick_ms), to, Request { client, version, ask });
        self.told()
    }

    /// Lets time pass until somebody is told something.
    fn wait(&mut self) -> Vec<(usize, Response)> {
        loop {
            let told = self.told();
            if !told.is_empty() {
                return told;
            }
            self.tick_ms = self.shard.next_due().expect("a timer");
            self.shard.advance(moment(self.tick_ms));
        }
    }

    fn told(&mut self) -> Vec<(usize, Response)> {
        let mut told = Vec::new();
        loop {
            for job in self.shard.take_jobs() {
                let event = job.run();
                self.shard.notice(moment(self.tick_ms), event);
            }
            let batch = self.shard.take_batch();
            let ready = self.shard.take_ready();
            if batch.is_none() && ready.is_empty() {
                return told;
            }
            let mut replies = ready;
            if let Some(batch) = batch {
                self.work.records += batch.records.len();
                self.work.bytes += batch.records.iter().map(|record| record.size()).sum::<usize>();
                replies.extend(batch.replies);
            }
            for (to, answer) in replies {
                let answer = answer.expect("an answer");
                self.work.answers += 1;
                self.work.named += named(&answer);
                told.push((usize::try_from(to.0).unwrap(), answer));
            }
        }
    }

    fn take_work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }
}

fn named(answer: &Response) -> usize {
    match answer {
        Response::JoinGroup(joined) => joined.members.len(),
        Response::ConsumerGroupHeartbeat(told) => {
            let topics = told.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
            topics.map(|topic| topic.partitions.len()).sum()
        }
        _ => 0,
    }
}

fn moment(tick_ms: u64) -> Moment {
    let wall = TimestampMs(1_000_000 + i64::try_from(tick_ms).unwrap());
    Moment { wall, tick_ms, chance: tick_ms.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
}

/// A consumer of the new protocol, as far as the group sees it.
#[derive(Default)]
struct Member {
    id: Text,
    epoch: i32,
    owned: Vec<i32>,
    /// It owns something else than it has told.
    tells: bool,
}

/// Everybody beats until nothing changes any more; how many rounds that took.
fn settle(group: &mut Group, members: &mut [Member]) -> usize {
    for round in 1..20 {
        // Within every session, and beyond the interval between two assignments.
        group.tick_ms += 3000;
        group.shard.advance(moment(group.tick_ms));
        let mut changed = false;
        for (number, member) in members.iter_mut().enumerate() {
            changed |= beat(group, number, member);
        }
        if !changed {
            return round;
        }
    }
    panic!("the group does not settle");
}

/// Whether anything is new to the member.
fn beat(group: &mut Group, number: usize, member: &mut Member) -> bool {
    let joins = member.epoch == 0;
    let owned = TopicPartitions { topic_id: TOPIC, partitions: member.owned.clone(), ..Default::default() };
    let tells = std::mem::take(&mut member.tells) || joins;
    let heartbeat = m::ConsumerGroupHeartbeatRequest {
        group_id: Text::from("g"),
        member_id: member.id.clone(),
        member_epoch: member.epoch,
        rebalance_timeout_ms: if joins { 60_000 } else { -1 },
        subscribed_topic_names: joins.then(|| vec![Text::from("t")]),
        topic_partitions: tells.then(|| if member.owned.is_empty() { vec![] } else { vec![owned] }),
        ..Default::default()
    };
    let told = group.ask(number, Ask::ConsumerGroupHeartbeat(heartbeat));
    let [(to, Response::ConsumerGroupHeartbeat(told))] = &told[..] else { panic!("one answer: {told:?}") };
    assert_eq!((*to, told.error_code), (number, 0), "{told:?}");
    let epoch = std::mem::replace(&mut member.epoch, told.member_epoch);
    let assigned = told.assignment.as_ref().map(|assignment| {
        let topics = assignment.topic_partitions.iter();
        topics.flat_map(|topic| topic.partitions.clone()).collect::<Vec<_>>()
    });
    let moved = assigned.is_some_and(|assigned| {
        let differs = assigned != member.owned;
        member.owned = assigned;
        member.tells |= differs;
        differs
    });
    epoch != member.epoch || moved
}

fn one_consumer_more(size: usize) -> Work {
    let partitions = 2 * size;
    let mut group = Group::new(partitions);
    let member =
        |number: usize| Member { id: Text::from(format!("member-{number:08}")), ..Default::default() };
    let mut members: Vec<Member> = (0..size).map(member).collect();
    settle(&mut group, &mut members);
    let owned: usize = members.iter().map(|member| member.owned.len()).sum();
    assert_eq!(owned, partitions, "all is owned before");
    group.take_work();
    members.push(member(size));
    settle(&mut group, &mut members);
    let owned: usize = members.iter().map(|member| member.owned.len()).sum();
    assert_eq!(owned, partitions, "and after");
    group.take_work()
}

#[test]
fn one_consumer_more_costs_a_line_each() {
    let (small, large) = (one_consumer_more(SMALL), one_consumer_more(2 * SMALL));
    large.assert_twice_at_most(small, SMALL);
    // It is given one, which somebody else gives up; nobody else is told of anything.
    assert!(small.named <= 8 && large.named <= 8, "{} and {} partitions", small.named, large.named);
}

fn one_classic_member_more(size: usize) -> Work {
    let mut group = Group::new(size);
    let join = |member_id: Text| {
        let metadata = Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]);
        let protocol = JoinGroupRequestProtocol { name: Text::from("range"), metadata, ..Default::default() };
        Ask::JoinGroup(m::JoinGroupRequest {
            group_id: Text::from("g"),
            session_timeout_ms: 1_800_000,
            rebalance_timeout_ms: 60_000,
            member_id,
            protocol_type: Text::from("consumer"),
            protocols: vec![protocol],
            ..Default::default()
        })
    };
    for number in 0..size {
        assert!(group.ask(number, join(Text::new())).is_empty());
    }
    let ids = round(&mut group, size, Vec::new());
    group.take_work();
    let mut told = group.ask(size, join(Text::new()));
    for (number, id) in ids.into_iter().enumerate() {
        told.extend(group.ask(number, join(id)));
    }
    let joined = round(&mut group, size + 1, told);
    assert_eq!(joined.len(), size + 1);
    group.take_work()
}

/// All are told that they have joined, and are given what the leader says. The members in the order of their numbers.
fn round(group: &mut Group, size: usize, mut told: Vec<(usize, Response)>) -> Vec<Text> {
    let mut joined: BTreeMap<usize, m::JoinGroupResponse> = BTreeMap::new();
    while joined.len() < size {
        if told.is_empty() {
            told = group.wait();
        }
        for (to, answer) in told.drain(..) {
            let Response::JoinGroup(answer) = answer else { panic!("{answer:?}") };
            joined.insert(to, answer);
        }
    }
    let ids: Vec<Text> = joined.values().map(|answer| answer.member_id.clone()).collect();
    let leader = joined.iter().find(|(_, answer)| answer.leader == answer.member_id).expect("a leader");
    let assignment = |id: &Text| SyncGroupRequestAssignment {
        member_id: id.clone(),
        assignment: Bytes::from_static(&[7; 20]),
        ..Default::default()
    };
    let sync = |id: &Text, assignments| {
        Ask::SyncGroup(m::SyncGroupRequest {
            group_id: Text::from("g"),
            generation_id: leader.1.generation_id,
            member_id: id.clone(),
            assignments,
            ..Default::default()
        })
    };
    let mut answers = 0;
    for (number, id) in ids.iter().enumerate().filter(|(_, id)| **id != leader.1.member_id) {
        answers += group.ask(number, sync(id, Vec::new())).len();
    }
    let of_all = ids.iter().map(assignment).collect();
    answers += group.ask(*leader.0, sync(&leader.1.member_id, of_all)).len();
    assert_eq!(answers, size);
    ids
}

#[test]
fn one_classic_member_more_costs_a_line_each() {
    let (small, large) = (one_classic_member_more(SMALL), one_classic_member_more(2 * SMALL));
    large.assert_twice_at_most(small, 2 * SMALL);
    assert_eq!(
        (small.named, large.named),
        (SMALL + 1, 2 * SMALL + 1),
        "only the leader is told of the others"
    );
}
