//! Groups: very many small ones, what their coordinators load, and large ones.

use std::time::Duration;

use dohle_wire::ApiKey;
use dohle_wire::messages::{HeartbeatRequest, OffsetCommitRequest};

use super::super::Lab;
use super::super::broker::Broker;
use super::super::contestant::DOHLE_SYNCED;
use super::super::groups::{AT_ONCE, ONE_SEGMENT, alone, commit, restarted, spread};
use super::super::loads::{Life, costed};
use super::super::measure::millis;
use super::{count, kib_more};
use crate::Outcome;
use crate::client::Topic;
use crate::client::groups::{
    Alone, Cohort, at_rate, check_commit, check_heartbeat, closed, commit_frame, wait_for_coordinator,
};

/// How many groups are asked for until every coordinator is surely there.
const EVERY_COORDINATOR: usize = 500;
/// Members that never beat by themselves must not time out.
const SESSION: Duration = Duration::from_secs(1800);

pub fn memory(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = Life::begin(lab, DOHLE_SYNCED, &[AT_ONCE])?;
    let mut admin = life.broker.connect()?;
    let topic = life.broker.explained(Topic::create(&mut admin, "read", 1, &[]))?;
    for index in 0..EVERY_COORDINATOR {
        life.broker.explained(wait_for_coordinator(&mut admin, &format!("group-{index}")))?;
    }
    kib_more(&mut life, |life| {
        let join = |index| Alone::join(&mut admin, &format!("group-{index}"), &topic.name, SESSION);
        life.broker.explained((0..n).map(join).collect::<Outcome<Vec<_>>>())
    })
}

/// A broker with n groups of one member.
fn crowd(lab: &Lab, n: u64) -> Outcome<(Broker, Topic, Vec<Alone>)> {
    let mut broker = Broker::with(lab, DOHLE_SYNCED, &[AT_ONCE])?;
    let mut admin = broker.connect()?;
    let topic = broker.explained(Topic::create(&mut admin, "read", 1, &[]))?;
    let members = broker.explained(alone(&mut admin, usize::try_from(n)?, &topic))?;
    Ok((broker, topic, members))
}

/// Microseconds of CPU a heartbeat, each sent when the one before it on its connection is answered.
pub fn heartbeat(lab: &Lab, n: u64) -> Outcome<f64> {
    let (broker, _, members) = crowd(lab, n)?;
    let beat = |_, member: &Alone, version| member.heartbeat(version);
    let mut lanes = broker.explained(spread(&broker, &members, ApiKey::Heartbeat, beat))?;
    let mut beats = |times| closed::<HeartbeatRequest>(&mut lanes, times, check_heartbeat);
    broker.explained(beats(1))?;
    let times = usize::try_from(count(lab, 12_000).div_ceil(n))?;
    let (report, cost) = broker.explained(costed(&broker.process, || beats(times)))?;
    Ok(1e6 * cost.broker_s / report.requests as f64)
}

/// At a thousand commits a second in all.
pub fn commit_ack(lab: &Lab, n: u64) -> Outcome<f64> {
    const PER_SECOND: f64 = 1_000.0;
    let (broker, topic, members) = crowd(lab, n)?;
    let commit =
        |index: usize, member: &Alone, version| commit_frame(member, &topic, version, 0, index as i64);
    let mut lanes = broker.explained(spread(&broker, &members, ApiKey::OffsetCommit, commit))?;
    let mut commits = |total| at_rate::<OffsetCommitRequest>(&mut lanes, PER_SECOND, total, check_commit);
    broker.explained(commits(count(lab, 1_000)))?;
    Ok(broker.explained(commits(count(lab, 3_000)))?.acknowledged.ms(0.99))
}

/// Microseconds of CPU from the start until the offsets of a group are told that has n commits in its log.
pub fn load(lab: &Lab, n: u64) -> Outcome<f64> {
    const PARTITIONS: u64 = 100;
    let mut broker = Broker::with(lab, DOHLE_SYNCED, &[AT_ONCE, ONE_SEGMENT])?;
    let mut admin = broker.connect()?;
    let topic = broker.explained(Topic::create(&mut admin, "read", PARTITIONS as i32, &[]))?;
    let rounds = i64::try_from(n / PARTITIONS)?;
    commit(&mut broker, &topic, 1..=rounds)?;
    let (_, cpu_s) = restarted(&mut broker, &topic, rounds)?;
    Ok(1e6 * cpu_s)
}

/// A broker with a topic of so many partitions, and members of a group who are yet to join.
fn cohort(lab: &Lab, members: u64, partitions: u64) -> Outcome<(Life, Cohort)> {
    const CONNECTIONS: usize = 8;
    /// Every change is assigned at once instead of once a second, so that what is measured is work.
    const UNDELAYED: (&str, &str) = ("group.consumer.assignment.interval.ms", "0");
    let mut life = Life::begin(lab, DOHLE_SYNCED, &[UNDELAYED])?;
    let mut admin = life.broker.connect()?;
    let topic = life.broker.explained(Topic::create(&mut admin, "read", partitions as i32, &[]))?;
    life.broker.explained(wait_for_coordinator(&mut admin, "cohort"))?;
    let mut cohort = Cohort::new(&life.broker.address, CONNECTIONS, "cohort", &topic)?;
    cohort.add(usize::try_from(members)?);
    Ok((life, cohort))
}

/// Milliseconds of CPU until all members have what is theirs.
fn forming(lab: &Lab, members: u64, partitions: u64) -> Outcome<f64> {
    let (life, mut cohort) = cohort(lab, members, partitions)?;
    let (_, cost) = life.broker.explained(costed(&life.broker.process, || cohort.settle()))?;
    Ok(1e3 * cost.broker_s)
}

pub fn members(lab: &Lab, n: u64) -> Outcome<f64> {
    forming(lab, n, 200)
}

pub fn partitions(lab: &Lab, n: u64) -> Outcome<f64> {
    forming(lab, 20, n)
}

pub fn members_and_partitions(lab: &Lab, n: u64) -> Outcome<f64> {
    forming(lab, n, n)
}

/// Milliseconds until all have what is theirs after one more has joined n members of n partitions: its partitions stand still for at
/// most so long, and no others at all.
pub fn one_more(lab: &Lab, n: u64) -> Outcome<f64> {
    let (life, mut cohort) = cohort(lab, n, n)?;
    life.broker.explained(cohort.settle())?;
    cohort.add(1);
    Ok(millis(life.broker.explained(cohort.settle())?.took))
}
