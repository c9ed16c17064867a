//! The classic protocol: groups of one member that share connections, and one large group with a connection per member.

use std::time::Duration;

use bytes::Bytes;
use dohle_types::ErrorCode;
use dohle_wire::messages::join_group_request::JoinGroupRequestProtocol;
use dohle_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use dohle_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
};
use dohle_wire::{ApiKey, Text};

use super::{PATIENCE, checked, is};
use crate::Outcome;
use crate::client::clock::Moment;
use crate::client::connection::{Connection, Frame};

const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";
const REBALANCE_TIMEOUT_MS: i32 = 300_000;

fn join(group: &str, member: &str, session: Duration, subscription: &Bytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol {
        name: PROTOCOL.into(),
        metadata: subscription.clone(),
        ..Default::default()
    };
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: i32::try_from(session.as_millis()).unwrap_or(i32::MAX),
        rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
        member_id: member.into(),
        protocol_type: PROTOCOL_TYPE.into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

fn sync(
    group: &str,
    joined: &JoinGroupResponse,
    assignments: Vec<SyncGroupRequestAssignment>,
) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some(PROTOCOL_TYPE.into()),
        protocol_name: Some(PROTOCOL.into()),
        assignments,
        ..Default::default()
    }
}

/// A consumer's subscription to one topic, and its assignment of one partition, in the words of their embedded protocol.
fn subscription(topic: &str) -> Bytes {
    let mut out = vec![0, 0, 0, 0, 0, 1]; // version 0, one topic
    put_text(&mut out, topic);
    out.extend((-1i32).to_be_bytes()); // no user data
    out.into()
}

fn assignment(topic: &str, partitions: &[i32]) -> Bytes {
    let mut out = vec![0, 0, 0, 0, 0, 1];
    put_text(&mut out, topic);
    out.extend((partitions.len() as i32).to_be_bytes());
    partitions.iter().for_each(|p| out.extend(p.to_be_bytes()));
    out.extend((-1i32).to_be_bytes());
    out.into()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

/// The only member of a group.
#[derive(Clone, Debug)]
pub struct Alone {
    pub group: String,
    pub id: String,
    pub generation: i32,
}

impl Alone {
    /// Joins an empty group and is its leader.
    pub fn join(connection: &mut Connection, group: &str, topic: &str, session: Duration) -> Outcome<Self> {
        let subscribed = subscription(topic);
        let asked = connection.call(&join(group, "", session, &subscribed))?;
        let joined = if is(asked.error_code, ErrorCode::MemberIdRequired) {
            connection.call(&join(group, &asked.member_id, session, &subscribed))?
        } else {
            asked
        };
        checked("JoinGroup", joined.error_code)?;
        let given = SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: assignment(topic, &[0]),
            ..Default::default()
        };
        checked("SyncGroup", connection.call(&sync(group, &joined, vec![given]))?.error_code)?;
        Ok(Self {
            group: group.to_owned(),
            id: joined.member_id.to_string(),
            generation: joined.generation_id,
        })
    }

    pub fn heartbeat(&self, version: i16) -> Outcome<Frame> {
        Frame::new(&heartbeat(&self.group, self.generation, &self.id.as_str().into()), version)
    }
}

fn heartbeat(group: &str, generation: i32, member: &Text) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.clone(),
        ..Default::default()
    }
}

pub fn check_heartbeat(response: &HeartbeatResponse) -> Outcome<()> {
    checked("Heartbeat", response.error_code)
}

/// One large group: a connection for each member.
#[derive(Debug)]
pub struct Hall {
    group: String,
    topic: String,
    partitions: i32,
    session: Duration,
    members: Vec<Seat>,
}

#[derive(Debug)]
struct Seat {
    connection: Connection,
    id: Text,
    generation: i32,
}

impl Hall {
    pub fn new(group: &str, topic: &str, partitions: i32) -> Self {
        const SESSION: Duration = Duration::from_secs(300);
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            partitions,
            session: SESSION,
            members: Vec::new(),
        }
    }

    /// Opens connections; nobody joins yet.
    pub fn open(&mut self, address: &str, members: usize) -> Outcome<()> {
        for _ in 0..members {
            let connection = Connection::open(address)?;
            self.members.push(Seat { connection, id: String::new().into(), generation: -1 });
        }
        Ok(())
    }

    /// All join at once; how long it takes until each has its assignment.
    pub fn form(&mut self) -> Outcome<Duration> {
        let start = Moment::now();
        let everybody: Vec<usize> = (0..self.members.len()).collect();
        self.get_ids(&everybody)?;
        self.rebalance()?;
        Ok(start.elapsed())
    }

    /// The last seat joins; how long it takes until all have assignments again. In between nobody may read.
    pub fn one_more(&mut self, address: &str) -> Outcome<Duration> {
        self.open(address, 1)?;
        let last = self.members.len() - 1;
        let start = Moment::now();
        self.get_ids(&[last])?;
        let version = self.members[last].connection.versions.of(ApiKey::JoinGroup)?;
        self.send_join(last, version)?;
        self.learn(last, start)?;
        for seat in 0..last {
            self.send_join(seat, version)?;
        }
        self.share(version)?;
        Ok(start.elapsed())
    }

    /// The others beat until they are told that a rebalance has begun.
    fn learn(&mut self, others: usize, start: Moment) -> Outcome<()> {
        let version = self.members[0].connection.versions.of(ApiKey::Heartbeat)?;
        let mut unaware: Vec<usize> = (0..others).collect();
        while !unaware.is_empty() {
            for &seat in &unaware {
                let Seat { connection, id, generation } = &mut self.members[seat];
                let beat = heartbeat(&self.group, *generation, id);
                connection.sender.send(&mut Frame::new(&beat, version)?)?;
            }
            let mut still = Vec::new();
            for &seat in &unaware {
                let answer = self.members[seat].connection.receiver.receive::<HeartbeatRequest>(version)?;
                match ErrorCode::from_code(answer.error_code) {
                    Some(ErrorCode::RebalanceInProgress) => {}
                    Some(ErrorCode::None) if start.elapsed() < PATIENCE => still.push(seat),
                    _ => checked("Heartbeat", answer.error_code)?,
                }
            }
            unaware = still;
        }
        Ok(())
    }

    fn get_ids(&mut self, seats: &[usize]) -> Outcome<()> {
        let version = self.members[0].connection.versions.of(ApiKey::JoinGroup)?;
        for &seat in seats {
            self.send_join(seat, version)?;
        }
        for &seat in seats {
            let seat = &mut self.members[seat];
            let answer = seat.connection.receiver.receive::<JoinGroupRequest>(version)?;
            if !is(answer.error_code, ErrorCode::MemberIdRequired) {
                return Err(format!("JoinGroup without an id: {}", answer.error_code).into());
            }
            seat.id = answer.member_id;
        }
        Ok(())
    }

    fn send_join(&mut self, seat: usize, version: i16) -> Outcome<()> {
        let subscribed = subscription(&self.topic);
        let seat = &mut self.members[seat];
        let request = join(&self.group, &seat.id, self.session, &subscribed);
        seat.connection.sender.send(&mut Frame::new(&request, version)?)
    }

    fn rebalance(&mut self) -> Outcome<()> {
        let version = self.members[0].connection.versions.of(ApiKey::JoinGroup)?;
        for seat in 0..self.members.len() {
            self.send_join(seat, version)?;
        }
        self.share(version)
    }

    /// Takes the answers to all joins; the leader deals out the partitions; all take theirs.
    fn share(&mut self, join_version: i16) -> Outcome<()> {
        let version = self.members[0].connection.versions.of(ApiKey::SyncGroup)?;
        let mut joined = Vec::with_capacity(self.members.len());
        for seat in &mut self.members {
            let answer = seat.connection.receiver.receive::<JoinGroupRequest>(join_version)?;
            checked("JoinGroup", answer.error_code)?;
            seat.generation = answer.generation_id;
            joined.push(answer);
        }
        let leader = joined.iter().find(|j| j.leader == j.member_id).ok_or("nobody leads")?;
        if joined.iter().any(|j| j.generation_id != leader.generation_id)
            || leader.members.len() != self.members.len()
        {
            return Err("the members did not join one generation".into());
        }
        let count = leader.members.len();
        let deal = |(index, member): (
            usize,
            &dohle_wire::messages::join_group_response::JoinGroupResponseMember,
        )| {
            let mine: Vec<i32> = (0..self.partitions).filter(|p| *p as usize % count == index).collect();
            SyncGroupRequestAssignment {
                member_id: member.member_id.clone(),
                assignment: assignment(&self.topic, &mine),
                ..Default::default()
            }
        };
        let mut dealt: Vec<_> = leader.members.iter().enumerate().map(deal).collect();
        for (seat, joined) in self.members.iter_mut().zip(&joined) {
            let leads = joined.leader == joined.member_id;
            let given = if leads { std::mem::take(&mut dealt) } else { Vec::new() };
            let request = sync(&self.group, joined, given);
            seat.connection.sender.send(&mut Frame::new(&request, version)?)?;
        }
        for seat in &mut self.members {
            let answer = seat.connection.receiver.receive::<SyncGroupRequest>(version)?;
            checked("SyncGroup", answer.error_code)?;
        }
        Ok(())
    }
}
