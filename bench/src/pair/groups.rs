//! How groups are measured: heartbeats, commits, one large group, many idle ones, and what it takes to load their offsets.

#![allow(clippy::disallowed_methods)]

use std::ops::RangeInclusive;
use std::time::Duration;

use dohle_wire::ApiKey;
use dohle_wire::messages::{ConsumerGroupHeartbeatRequest, HeartbeatRequest, OffsetCommitRequest};

use super::Lab;
use super::broker::Broker;
use super::contestant::Contestant;
use super::loads::costed;
use super::measure::millis;
use super::scenario::Metrics;
use crate::Outcome;
use crate::client::groups::{
    Alone, Cohort, Hall, Lane, at_rate, check_commit, check_consumer_heartbeat, check_heartbeat, closed,
    commit_all, commit_frame, fetched, wait_for_coordinator,
};
use crate::client::{Connection, Frame, LoadReport, Topic};

/// Kafka answers one request of a connection after the other, so that a rate needs many of them.
const LANES: usize = 64;
/// Members that never beat by themselves must not time out.
const SESSION: Duration = Duration::from_secs(1800);
/// A group of one needs no delay to wait for others.
pub const AT_ONCE: (&str, &str) = ("group.initial.rebalance.delay.ms", "0");
/// A group that begins waits so long for the next member, again and again while members come: twice at least when a thousand do. That wait
/// is nobody's work, so it is as short as it can be without missing a member of Kafka's.
const SOON: (&str, &str) = ("group.initial.rebalance.delay.ms", "40");
/// The same for members of the newer protocol, whose sessions the broker sets.
const PATIENT: [(&str, &str); 2] =
    [("group.consumer.max.session.timeout.ms", "1800000"), ("group.consumer.session.timeout.ms", "1800000")];
/// Every change is assigned at once instead of once a second, so that what is measured is work.
const UNDELAYED: (&str, &str) = ("group.consumer.assignment.interval.ms", "0");
/// Whose offsets are loaded.
const GROUP: &str = "loaded";
/// What was loaded must not have been compacted before.
pub const ONE_SEGMENT: (&str, &str) = ("offsets.topic.segment.bytes", "1000000000");

/// One heartbeat in three seconds of each of 10,000 members, in groups of one (classic) and in groups of a hundred (consumer).
pub fn heartbeats(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const MEMBERS_PER_SECOND: f64 = 1.0 / 3.0;
    const GROUP: usize = 100;
    let mut broker = Broker::with(lab, contestant, &[AT_ONCE, UNDELAYED, PATIENT[0], PATIENT[1]])?;
    let mut admin = broker.connect()?;
    let (members, seconds) = (lab.options.groups, lab.options.group_seconds);
    let rate = members as f64 * MEMBERS_PER_SECOND;
    let total = ((rate * seconds as f64) as u64).max(1);
    let topic = broker.explained(Topic::create(&mut admin, "read", GROUP as i32, &[]))?;

    let alone = broker.explained(alone(&mut admin, members, &topic))?;
    let beat = |_, member: &Alone, version| member.heartbeat(version);
    let mut lanes = broker.explained(spread(&broker, &alone, ApiKey::Heartbeat, beat))?;
    broker.explained(at_rate::<HeartbeatRequest>(&mut lanes, rate, total, check_heartbeat))?;
    let classic = broker.explained(costed(&broker.process, || {
        at_rate::<HeartbeatRequest>(&mut lanes, rate, total, check_heartbeat)
    }))?;
    let busy = broker
        .explained(costed(&broker.process, || closed::<HeartbeatRequest>(&mut lanes, 2, check_heartbeat)))?;

    let mut lanes = broker.explained(self::lanes(&broker))?;
    for index in 0..members.div_ceil(GROUP) {
        let mut cohort = Cohort::new(&broker.address, 1, &format!("cohort-{index}"), &topic)?;
        broker.explained(wait_for_coordinator(&mut admin, &format!("cohort-{index}")))?;
        cohort.add(GROUP.min(members));
        broker.explained(cohort.settle())?;
        let lane = &mut lanes[index % LANES];
        lane.frames.extend(cohort.frames(lane.connection.versions.of(ApiKey::ConsumerGroupHeartbeat)?)?);
    }
    lanes.retain(|lane| !lane.frames.is_empty());
    broker.explained(at_rate::<ConsumerGroupHeartbeatRequest>(
        &mut lanes,
        rate,
        total,
        check_consumer_heartbeat,
    ))?;
    let consumer = broker.explained(costed(&broker.process, || {
        at_rate::<ConsumerGroupHeartbeatRequest>(&mut lanes, rate, total, check_consumer_heartbeat)
    }))?;
    let per_request =
        |(report, cost): &(LoadReport, super::loads::Cost)| 1e6 * cost.broker_s / report.requests as f64;
    Ok(vec![
        ("cpu_us_per_heartbeat", per_request(&classic)),
        ("heartbeat_p99_ms", classic.0.acknowledged.ms(0.99)),
        ("consumer_cpu_us_per_heartbeat", per_request(&consumer)),
        ("consumer_heartbeat_p99_ms", consumer.0.acknowledged.ms(0.99)),
        ("busy_cpu_us_per_heartbeat", per_request(&busy)),
        ("busy_heartbeats_per_s", busy.0.requests_per_s()),
    ])
}

/// 10,000 commits a second of one partition each, by the members of a thousand groups.
pub fn commits(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const PER_SECOND: f64 = 10_000.0;
    let mut broker = Broker::with(lab, contestant, &[AT_ONCE])?;
    let mut admin = broker.connect()?;
    let rate = if lab.options.smoke { PER_SECOND / 100.0 } else { PER_SECOND };
    let total = ((rate * lab.options.group_seconds as f64) as u64).max(1);
    let topic = broker.explained(Topic::create(&mut admin, "read", 12, &[]))?;
    let alone = broker.explained(alone(&mut admin, lab.options.groups / 10, &topic))?;
    let commit = |index: usize, member: &Alone, version| {
        commit_frame(member, &topic, version, (index % 12) as i32, index as i64)
    };
    let mut lanes = broker.explained(spread(&broker, &alone, ApiKey::OffsetCommit, commit))?;
    broker.explained(at_rate::<OffsetCommitRequest>(&mut lanes, rate, total, check_commit))?;
    let (report, cost) = broker.explained(costed(&broker.process, || {
        at_rate::<OffsetCommitRequest>(&mut lanes, rate, total, check_commit)
    }))?;
    Ok(vec![
        ("commit_p50_ms", report.acknowledged.ms(0.5)),
        ("commit_p99_ms", report.acknowledged.ms(0.99)),
        ("commit_p99.9_ms", report.acknowledged.ms(0.999)),
        ("cpu_us_per_commit", 1e6 * cost.broker_s / report.requests as f64),
        ("commits_per_s", report.requests_per_s()),
    ])
}

/// A group of a thousand over a thousand partitions: all join, one leaves, one more joins.
pub fn forming(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const CONNECTIONS: usize = 16;
    let mut broker = Broker::with(lab, contestant, &[SOON, UNDELAYED, PATIENT[0], PATIENT[1]])?;
    let mut admin = broker.connect()?;
    let members = lab.options.group_members;
    let topic = broker.explained(Topic::create(&mut admin, "read", members as i32, &[]))?;
    warm(lab, &broker, &mut admin, &topic)?;

    broker.explained(wait_for_coordinator(&mut admin, "hall"))?;
    let mut hall = Hall::new("hall", "read", topic.partitions);
    broker.explained(hall.open(&broker.address, members))?;
    let (classic, classic_cost) = broker.explained(costed(&broker.process, || hall.form()))?;
    let (stop, stop_cost) = broker.explained(costed(&broker.process, || hall.one_more(&broker.address)))?;
    drop(hall);

    broker.explained(wait_for_coordinator(&mut admin, "cohort"))?;
    let mut cohort = Cohort::new(&broker.address, CONNECTIONS, "cohort", &topic)?;
    cohort.add(members);
    let (formed, formed_cost) = broker.explained(costed(&broker.process, || cohort.settle()))?;
    broker.explained(cohort.take_one_away())?;
    broker.explained(cohort.settle())?;
    cohort.add(1);
    let (more, more_cost) = broker.explained(costed(&broker.process, || cohort.settle()))?;
    Ok(vec![
        ("classic_form_ms", millis(classic)),
        ("classic_form_cpu_ms", 1e3 * classic_cost.broker_s),
        ("classic_one_more_ms", millis(stop)),
        ("classic_one_more_cpu_ms", 1e3 * stop_cost.broker_s),
        ("form_ms", millis(formed.took)),
        ("form_cpu_ms", 1e3 * formed_cost.broker_s),
        ("form_heartbeats", formed.heartbeats as f64),
        ("one_more_ms", millis(more.took)),
        ("one_more_cpu_us_per_heartbeat", 1e6 * more_cost.broker_s / more.heartbeats as f64),
        ("one_more_partitions_moved", more.moved as f64),
    ])
}

/// A tenth of the members forms groups of its own a few times, so that a compiler has seen what comes.
fn warm(lab: &Lab, broker: &Broker, admin: &mut Connection, topic: &Topic) -> Outcome<()> {
    const TIMES: usize = 5;
    if lab.options.smoke {
        return Ok(());
    }
    let members = lab.options.group_members / 10;
    for turn in 0..TIMES {
        broker.explained(wait_for_coordinator(admin, &format!("warm-{turn}")))?;
        let mut hall = Hall::new(&format!("warm-{turn}"), "read", topic.partitions);
        broker.explained(hall.open(&broker.address, members).and_then(|()| hall.form()))?;
        broker.explained(wait_for_coordinator(admin, &format!("warm-cohort-{turn}")))?;
        let mut cohort = Cohort::new(&broker.address, 4, &format!("warm-cohort-{turn}"), topic)?;
        cohort.add(members);
        broker.explained(cohort.settle())?;
    }
    Ok(())
}

/// 10,000 groups of one member each with one committed offset, left alone.
pub fn idle_groups(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const SETTLE: Duration = Duration::from_secs(5);
    let groups = lab.options.groups;
    let mut broker = Broker::with(lab, contestant, &[AT_ONCE])?;
    let mut admin = broker.connect()?;
    let topic = broker.explained(Topic::create(&mut admin, "read", 12, &[]))?;
    broker.explained(wait_for_coordinator(&mut admin, "group-0"))?;
    let before = broker.process.read()?;
    let members = broker.explained(alone(&mut admin, groups, &topic))?;
    let version = admin.versions.of(ApiKey::OffsetCommit)?;
    for member in &members {
        admin.sender.send(&mut commit_frame(member, &topic, version, 0, 1)?)?;
        broker.explained(check_commit(&admin.receiver.receive::<OffsetCommitRequest>(version)?))?;
    }
    std::thread::sleep(if lab.options.smoke { Duration::from_secs(1) } else { SETTLE });
    let after = broker.process.read()?;
    let window = Duration::from_secs(lab.options.idle_seconds);
    std::thread::sleep(window);
    let later = broker.process.read()?;
    Ok(vec![
        ("rss_mib", later.rss_mib()),
        ("kib_per_group", 1024.0 * (after.rss_mib() - before.rss_mib()) / groups as f64),
        ("cpu_percent", 100.0 * later.cpu_seconds_since(&after) / window.as_secs_f64()),
    ])
}

/// Stopped with a million committed offsets in the log, and started again: what they add to the time until a group's are told.
pub fn loading(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const PARTITIONS: i32 = 1_000;
    let mut broker = Broker::with(lab, contestant, &[AT_ONCE, ONE_SEGMENT])?;
    let mut admin = broker.connect()?;
    let partitions = if lab.options.smoke { 10 } else { PARTITIONS };
    let topic = broker.explained(Topic::create(&mut admin, "read", partitions, &[]))?;
    commit(&mut broker, &topic, 1..=1)?;
    let (few, _) = restarted(&mut broker, &topic, 1)?;
    let rounds = (lab.options.offsets / partitions as u64).max(2);
    commit(&mut broker, &topic, 2..=rounds as i64)?;
    let (many, cpu) = restarted(&mut broker, &topic, rounds as i64)?;
    let records = ((rounds - 1) * partitions as u64) as f64;
    Ok(vec![
        ("restart_ms", millis(few)),
        ("restart_with_offsets_ms", millis(many)),
        ("us_per_offset", 1e3 * (millis(many) - millis(few)).max(0.0) / records),
        ("restart_with_offsets_cpu_s", cpu),
    ])
}

/// Commits these offsets for every partition of the topic, one after the other.
pub fn commit(broker: &mut Broker, topic: &Topic, offsets: RangeInclusive<i64>) -> Outcome<()> {
    let mut connection = broker.connect()?;
    broker.explained(wait_for_coordinator(&mut connection, GROUP))?;
    for offset in offsets {
        broker.explained(commit_all(&mut connection, GROUP, topic, offset))?;
    }
    Ok(())
}

/// From exec to the offsets of the group, which must all be `wanted`; and the CPU it took.
pub fn restarted(broker: &mut Broker, topic: &Topic, wanted: i64) -> Outcome<(Duration, f64)> {
    broker.restart()?;
    let mut connection = broker.connect()?;
    let offsets = broker.explained(fetched(&mut connection, GROUP, topic))?;
    let took = broker.started.elapsed();
    if offsets.iter().any(|offset| *offset != wanted) {
        return Err(format!("committed offsets are {offsets:?}, not {wanted}").into());
    }
    Ok((took, broker.process.read()?.cpu_seconds_since(&super::process::Reading::default())))
}

fn lanes(broker: &Broker) -> Outcome<Vec<Lane>> {
    let lane = |_| Ok(Lane { connection: Connection::open(&broker.address)?, frames: Vec::new() });
    (0..LANES).map(lane).collect()
}

/// Lanes that members share; each says what `frame` makes of its place, itself and the version.
pub fn spread(
    broker: &Broker,
    members: &[Alone],
    key: ApiKey,
    frame: impl Fn(usize, &Alone, i16) -> Outcome<Frame>,
) -> Outcome<Vec<Lane>> {
    let mut lanes = lanes(broker)?;
    for (index, member) in members.iter().enumerate() {
        let lane = &mut lanes[index % LANES];
        let version = lane.connection.versions.of(key)?;
        lane.frames.push(frame(index, member, version)?);
    }
    lanes.retain(|lane| !lane.frames.is_empty());
    Ok(lanes)
}

/// Groups of one member each, named `group-0`, `group-1`, ...
pub fn alone(admin: &mut Connection, groups: usize, topic: &Topic) -> Outcome<Vec<Alone>> {
    /// Groups to ask for until every partition of the topic of offsets has surely been one's coordinator.
    const SEVERAL: usize = 500;
    let one = |index: usize| {
        let group = format!("group-{index}");
        if index < SEVERAL {
            wait_for_coordinator(admin, &group)?;
        }
        Alone::join(admin, &group, &topic.name, SESSION)
    };
    (0..groups).map(one).collect()
}
