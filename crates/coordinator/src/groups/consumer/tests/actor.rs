//! A member as chance plays it: what it says next, and what it makes of the answer.

use std::collections::{BTreeMap, BTreeSet};

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;
use dohle_wire::messages as m;

use super::rig::Rig;
use super::script::{assignment, versioned};
use crate::groups::migration::protocol;
use crate::groups::{Ask, Response};

pub const GROUP: &str = "g";

pub type Partitions = BTreeSet<(TopicId, i32)>;

#[derive(Clone, Debug, Default)]
pub struct Actor {
    pub id: Text,
    pub instance: Option<Text>,
    pub classic: bool,
    /// Neither killed nor away.
    pub runs: bool,
    /// Counts its lives; answers to an earlier one are not for it.
    pub life: u64,
    pub epoch: i32,
    pub has: Partitions,
    pub topics: Vec<Text>,
    pub regex: Option<Text>,
    pub step: Step,
    /// Those whom it must assign to, if it leads a classic group, with what they subscribe to.
    pub followers: Vec<(Text, Vec<Text>)>,
}

/// Where a member of the classic protocol stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    #[default]
    Joins,
    Syncs,
    Beats,
    Waits,
}

impl Actor {
    pub fn next(&self, rig: &Rig, full: bool) -> Option<(i16, Ask)> {
        if !self.classic {
            return Some((1, Ask::ConsumerGroupHeartbeat(self.heartbeat(full))));
        }
        match self.step {
            Step::Joins => Some((9, Ask::JoinGroup(self.join()))),
            Step::Syncs => Some((5, Ask::SyncGroup(self.sync(rig)))),
            Step::Waits => None,
            Step::Beats => Some((
                4,
                Ask::Heartbeat(m::HeartbeatRequest {
                    group_id: GROUP.into(),
                    generation_id: self.epoch,
                    member_id: self.id.clone(),
                    group_instance_id: self.instance.clone(),
                    ..Default::default()
                }),
            )),
        }
    }

    pub fn heartbeat(&self, full: bool) -> m::ConsumerGroupHeartbeatRequest {
        let mut has: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for (topic, at) in &self.has {
            has.entry(*topic).or_default().push(*at);
        }
        let of = |(topic_id, partitions)| m::consumer_group_heartbeat_request::TopicPartitions {
            topic_id,
            partitions,
            ..Default::default()
        };
        let joins = self.epoch == 0;
        m::ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: if joins || full { 6000 } else { -1 },
            subscribed_topic_names: Some(self.topics.clone()),
            subscribed_topic_regex: Some(self.regex.clone().unwrap_or_default()),
            topic_partitions: Some(if joins { Vec::new() } else { has.into_iter().map(of).collect() }),
            ..Default::default()
        }
    }

    fn join(&self) -> m::JoinGroupRequest {
        let metadata =
            versioned(&m::ConsumerProtocolSubscription { topics: self.topics.clone(), ..Default::default() });
        let protocol = m::join_group_request::JoinGroupRequestProtocol {
            name: "range".into(),
            metadata,
            ..Default::default()
        };
        m::JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 20_000,
            rebalance_timeout_ms: 6000,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        }
    }

    /// A leader gives each partition to one of those who want it, in turn.
    fn sync(&self, rig: &Rig) -> m::SyncGroupRequest {
        let mut given: BTreeMap<&Text, BTreeMap<Text, Vec<i32>>> = BTreeMap::new();
        for topic in rig.topics.iter() {
            let wants = |(_, topics): &&(Text, Vec<Text>)| topics.contains(&topic.name);
            let members: Vec<&Text> = self.followers.iter().filter(wants).map(|(id, _)| id).collect();
            for (at, member) in (0..topic.partitions).zip(members.iter().cycle()) {
                given.entry(member).or_default().entry(topic.name.clone()).or_default().push(at);
            }
        }
        let of = |(member_id, topics): (&Text, BTreeMap<Text, Vec<i32>>)| {
            let of =
                |(topic, partitions)| m::consumer_protocol_assignment::TopicPartition { topic, partitions };
            m::sync_group_request::SyncGroupRequestAssignment {
                member_id: member_id.clone(),
                assignment: assignment(topics.into_iter().map(of).collect(), None),
                ..Default::default()
            }
        };
        m::SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: self.epoch,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: given.into_iter().map(of).collect(),
            ..Default::default()
        }
    }

    /// Nothing came back.
    pub fn retry(&mut self) {
        if self.classic {
            self.has.clear();
            self.step = Step::Joins;
        }
    }

    /// Out of the group: nothing it had is its own any more.
    fn start_over(&mut self) {
        self.epoch = 0;
        self.has.clear();
        self.step = Step::Joins;
    }

    pub fn told(&mut self, answer: &Response, rig: &Rig) {
        match answer {
            Response::ConsumerGroupHeartbeat(answer) => self.told_epoch(answer),
            Response::JoinGroup(answer) => self.told_generation(answer),
            Response::Heartbeat(answer) => self.told_by_heartbeat(answer.error_code),
            Response::SyncGroup(answer) if answer.error_code != 0 => {
                self.told_by_heartbeat(answer.error_code)
            }
            Response::SyncGroup(answer) => {
                let given = protocol::assignment(&answer.assignment).unwrap();
                let given = protocol::assigned(&given, &rig.topics);
                self.has = given.iter().flat_map(|(topic, at)| at.iter().map(|at| (*topic, *at))).collect();
                self.step = Step::Beats;
            }
            _ => {}
        }
    }

    fn told_epoch(&mut self, answer: &m::ConsumerGroupHeartbeatResponse) {
        match ErrorCode::from_code(answer.error_code).unwrap() {
            ErrorCode::None => {
                self.epoch = answer.member_epoch;
                if let Some(assignment) = &answer.assignment {
                    let topics = assignment.topic_partitions.iter();
                    self.has =
                        topics.flat_map(|of| of.partitions.iter().map(|at| (of.topic_id, *at))).collect();
                }
            }
            ErrorCode::UnreleasedInstanceId => {}
            _ => self.start_over(),
        }
    }

    fn told_generation(&mut self, answer: &m::JoinGroupResponse) {
        match ErrorCode::from_code(answer.error_code).unwrap() {
            ErrorCode::None => {
                self.id = answer.member_id.clone();
                self.epoch = answer.generation_id;
                self.step = Step::Syncs;
                let of = |of: &m::join_group_response::JoinGroupResponseMember| {
                    (of.member_id.clone(), protocol::subscription(&of.metadata).unwrap().topics)
                };
                self.followers = answer.members.iter().map(of).collect();
            }
            ErrorCode::MemberIdRequired => {
                self.id = answer.member_id.clone();
                self.step = Step::Joins;
            }
            ErrorCode::RebalanceInProgress => self.retry(),
            _ => {
                self.id = Text::new();
                self.start_over();
            }
        }
    }

    fn told_by_heartbeat(&mut self, code: i16) {
        match ErrorCode::from_code(code).unwrap() {
            ErrorCode::None => self.step = Step::Beats,
            ErrorCode::RebalanceInProgress => self.retry(),
            _ => {
                self.id = Text::new();
                self.start_over();
            }
        }
    }
}
