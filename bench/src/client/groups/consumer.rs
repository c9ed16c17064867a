//! The newer protocol (KIP-848): members that only beat, so that a thousand of them share a few connections.

use std::collections::BTreeSet;
use std::time::Duration;

use dohle_types::ErrorCode;
use dohle_wire::ApiKey;
use dohle_wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use dohle_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::{PATIENCE, checked};
use crate::Outcome;
use crate::client::clock::{Moment, pause};
use crate::client::connection::{Connection, Frame};
use crate::client::topic::{Topic, name_of};

const REBALANCE_TIMEOUT_MS: i32 = 300_000;
/// Between rounds of heartbeats in which nothing happened.
const QUIET: Duration = Duration::from_millis(2);
/// A group that is whole is believed to stay so when nothing has happened for so long.
const SETTLED: Duration = Duration::from_millis(150);
const JOINING: i32 = 0;
const LEAVING: i32 = -1;

/// A group of members that read one topic.
#[derive(Debug)]
pub struct Cohort {
    group: String,
    topic: Topic,
    connections: Vec<Connection>,
    members: Vec<Member>,
    /// Members made so far, for ids that were never used.
    made: u64,
}

#[derive(Clone, Debug)]
struct Member {
    id: String,
    epoch: i32,
    owned: BTreeSet<i32>,
    /// What is owned has changed, and the coordinator has not been told.
    untold: bool,
}

/// How a group came to rest.
#[derive(Clone, Copy, Debug)]
pub struct Settling {
    /// To the last change that any member was told of.
    pub took: Duration,
    pub heartbeats: u64,
    /// Partitions that were taken from a member that stayed.
    pub moved: usize,
}

impl Cohort {
    pub fn new(address: &str, connections: usize, group: &str, topic: &Topic) -> Outcome<Self> {
        let connections = (0..connections).map(|_| Connection::open(address)).collect::<Outcome<_>>()?;
        Ok(Self { group: group.to_owned(), topic: topic.clone(), connections, members: Vec::new(), made: 0 })
    }

    /// Members that are not yet known to the coordinator.
    pub fn add(&mut self, members: usize) {
        for _ in 0..members {
            self.made += 1;
            let id = format!("{}-{:08}", self.group, self.made);
            self.members.push(Member { id, epoch: JOINING, owned: BTreeSet::new(), untold: true });
        }
    }

    /// The first member leaves.
    pub fn take_one_away(&mut self) -> Outcome<()> {
        let member = self.members.remove(0);
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.as_str().into(),
            member_id: member.id.as_str().into(),
            member_epoch: LEAVING,
            ..Default::default()
        };
        let connection = self.connections.first_mut().ok_or("no connections")?;
        checked("ConsumerGroupHeartbeat", connection.call(&request)?.error_code)
    }

    /// All beat again and again until every partition has one owner and nobody is told anything new.
    pub fn settle(&mut self) -> Outcome<Settling> {
        let start = Moment::now();
        let mut last_change = start;
        let (mut heartbeats, mut moved) = (0, 0);
        loop {
            heartbeats += self.members.len() as u64;
            let (changed, taken) = self.round()?;
            moved += taken;
            if changed {
                last_change = Moment::now();
            } else if self.is_whole() && last_change.elapsed() > SETTLED {
                return Ok(Settling { took: last_change.since(start), heartbeats, moved });
            } else {
                pause(QUIET);
            }
            if start.elapsed() > PATIENCE {
                let epochs: BTreeSet<i32> = self.members.iter().map(|m| m.epoch).collect();
                return Err(format!("{} does not settle; epochs {epochs:?}", self.group).into());
            }
        }
    }

    /// One heartbeat of each member, all on their way at once. Whether anything changed, and how many partitions were taken.
    fn round(&mut self) -> Outcome<(bool, usize)> {
        let Self { group, topic, connections, members, .. } = self;
        let count = connections.len();
        let version =
            connections.first().ok_or("no connections")?.versions.of(ApiKey::ConsumerGroupHeartbeat)?;
        for (index, member) in members.iter_mut().enumerate() {
            let mut frame = member.beat(group, topic, version)?;
            connections[index % count].sender.send(&mut frame)?;
        }
        let (mut changed, mut taken) = (false, 0);
        for (index, member) in members.iter_mut().enumerate() {
            let answer =
                connections[index % count].receiver.receive::<ConsumerGroupHeartbeatRequest>(version)?;
            let (is_new, lost) = member.hear(&answer)?;
            changed |= is_new;
            taken += lost;
        }
        Ok((changed, taken))
    }

    fn is_whole(&self) -> bool {
        let owned: Vec<i32> = self.members.iter().flat_map(|m| m.owned.iter().copied()).collect();
        let distinct: BTreeSet<i32> = owned.iter().copied().collect();
        let one_epoch = self.members.windows(2).all(|pair| pair[0].epoch == pair[1].epoch);
        one_epoch && owned.len() == distinct.len() && i32::try_from(owned.len()) == Ok(self.topic.partitions)
    }

    /// A heartbeat of each member, with nothing new in it, for each connection that is given.
    pub fn frames(&self, version: i16) -> Outcome<Vec<Frame>> {
        let quiet = |member: &Member| Frame::new(&member.quiet(&self.group), version);
        self.members.iter().map(quiet).collect()
    }
}

impl Member {
    fn quiet(&self, group: &str) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: group.into(),
            member_id: self.id.as_str().into(),
            member_epoch: self.epoch,
            ..Default::default()
        }
    }

    fn beat(&mut self, group: &str, topic: &Topic, version: i16) -> Outcome<Frame> {
        let mut request = self.quiet(group);
        if self.epoch == JOINING {
            request.rebalance_timeout_ms = REBALANCE_TIMEOUT_MS;
            request.subscribed_topic_names = Some(vec![topic.name.clone()]);
        }
        if std::mem::take(&mut self.untold) {
            let owned = TopicPartitions {
                topic_id: topic.id,
                partitions: self.owned.iter().copied().collect(),
                ..Default::default()
            };
            request.topic_partitions = Some(if self.owned.is_empty() { Vec::new() } else { vec![owned] });
        }
        Frame::new(&request, version)
    }

    /// Whether the answer told anything new, and how many partitions it took.
    fn hear(&mut self, answer: &ConsumerGroupHeartbeatResponse) -> Outcome<(bool, usize)> {
        if answer.error_code != 0 {
            let message = answer.error_message.as_deref().unwrap_or_default();
            return Err(format!("ConsumerGroupHeartbeat: {} {message}", name_of(answer.error_code)).into());
        }
        let mut changed = self.epoch != answer.member_epoch;
        let mut taken = 0;
        self.epoch = answer.member_epoch;
        if let Some(assignment) = &answer.assignment {
            let now: BTreeSet<i32> =
                assignment.topic_partitions.iter().flat_map(|t| t.partitions.iter().copied()).collect();
            if now != self.owned {
                taken = self.owned.difference(&now).count();
                self.owned = now;
                self.untold = true;
                changed = true;
            }
        }
        Ok((changed, taken))
    }
}

pub fn check_heartbeat(response: &ConsumerGroupHeartbeatResponse) -> Outcome<()> {
    match ErrorCode::from_code(response.error_code) {
        Some(ErrorCode::None) => Ok(()),
        _ => checked("ConsumerGroupHeartbeat", response.error_code),
    }
}
