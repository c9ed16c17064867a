//! Very many of something small: partitions, connections.

#![allow(clippy::disallowed_methods)]

use std::thread;
use std::time::Duration;

use super::Lab;
use super::contestant::Contestant;
use super::loads::{Life, at_rest};
use super::measure::millis;
use super::scenario::{Amount, Metrics, STANDARD, Shape};
use crate::Outcome;
use crate::client::{self, Connection, Load, Moment, Topic};

/// CreateTopics makes all partitions of a topic in one piece, which controllers limit.
const PER_TOPIC: usize = 1_000;
/// A producer sends what it has for all partitions of a broker in one request, as far as `max.request.size` goes. A fifth of a topic, so
/// that five requests on their way have all of it.
const PER_REQUEST: usize = 200;
const SETTLE: Duration = Duration::from_secs(5);

pub fn ten_thousand_partitions(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    partitions(lab, contestant, lab.options.crowd)
}

pub fn hundred_thousand_partitions(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    partitions(lab, contestant, 10 * lab.options.crowd)
}

fn partitions(lab: &Lab, contestant: Contestant, count: usize) -> Outcome<Metrics> {
    let mut life = Life::begin(lab, contestant, &[])?;
    let mut admin = life.broker.connect()?;
    let before = life.broker.process.read()?;
    let start = Moment::now();
    create(&mut life, &mut admin, count)?;
    let created = start.elapsed();
    let start = Moment::now();
    one_record_each(&mut life, count)?;
    let one_each = start.elapsed();
    thread::sleep(if lab.options.smoke { Duration::ZERO } else { SETTLE });
    let window = Duration::from_secs(lab.options.idle_seconds);
    let (cpu_percent, reading, _) = at_rest(&life.broker.process, window)?;
    life.broker.restart()?;
    let one = Load { record_size: 100, batch_size: 0, bytes: 1, ..life.load(&STANDARD, 0.0) };
    let one = Load { topic: "crowd-0".to_owned(), partitions: count.min(PER_TOPIC) as i32, ..one };
    drop(life.broker.connect()?);
    life.broker.explained(client::produce(&one))?;
    let restarted = life.broker.started.elapsed();
    thread::sleep(if lab.options.smoke { Duration::ZERO } else { SETTLE });
    Ok(vec![
        ("create_ms", millis(created)),
        ("one_record_each_ms", millis(one_each)),
        ("rss_mib", reading.rss_mib()),
        ("kib_per_partition", 1024.0 * (reading.rss_mib() - before.rss_mib()) / count as f64),
        ("cpu_percent", cpu_percent),
        ("restart_to_first_ack_ms", millis(restarted)),
        ("rss_after_restart_mib", life.broker.process.read()?.rss_mib()),
    ])
}

/// Makes so many partitions, in topics of a thousand.
pub fn create(life: &mut Life, admin: &mut Connection, count: usize) -> Outcome<()> {
    let per_topic = count.min(PER_TOPIC);
    for index in 0..count / per_topic {
        let topic = Topic::create(admin, &format!("crowd-{index}"), per_topic as i32, &[]);
        life.broker.explained(topic)?;
    }
    Ok(())
}

/// A record of a hundred bytes in each partition of the crowd.
pub fn one_record_each(life: &mut Life, count: usize) -> Outcome<()> {
    let per_topic = count.min(PER_TOPIC);
    // The partitions of a topic are divided evenly.
    let per_request = (1..=PER_REQUEST).rev().find(|count| per_topic.is_multiple_of(*count)).unwrap_or(1);
    for index in 0..count / per_topic {
        let each = Load {
            record_size: 100,
            batch_size: 0,
            batches_per_request: per_request,
            bytes: 100 * per_topic as u64,
            ..life.load(&STANDARD, 0.0)
        };
        let each = Load { topic: format!("crowd-{index}"), partitions: per_topic as i32, ..each };
        life.broker.explained(client::produce(&each))?;
    }
    Ok(())
}

/// Connections of a load that goes on beside silent ones.
pub const BUSY: Shape =
    Shape { connections: 10, record_size: 100, batch_size: 0, pipeline: 1, amount: Amount::Time, ..STANDARD };

pub fn idle_connections(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    let seconds = (lab.options.rate_seconds / 3.0).min(5.0);
    let mut life = Life::begin(lab, contestant, &[])?;
    let busy = |life: &mut Life| {
        let load = Load { seconds: Some(seconds), bytes: u64::MAX, ..life.load(&BUSY, 0.0) };
        life.broker.explained(client::produce(&load)).map(|report| report.acknowledged.ms(0.99))
    };
    busy(&mut life)?;
    let alone = busy(&mut life)?;
    let before = life.broker.process.read()?;
    let start = Moment::now();
    let open = |_| Connection::open(&life.broker.address).map(Connection::into_silence);
    let silent = (0..lab.options.crowd).map(open).collect::<Outcome<Vec<_>>>();
    let silent = life.broker.explained(silent)?;
    let opened = start.elapsed();
    thread::sleep(if lab.options.smoke { Duration::ZERO } else { SETTLE });
    let window = Duration::from_secs(lab.options.idle_seconds);
    let (cpu_percent, reading, _) = at_rest(&life.broker.process, window)?;
    let beside = busy(&mut life)?;
    drop(silent);
    Ok(vec![
        ("open_ms", millis(opened)),
        ("rss_mib", reading.rss_mib()),
        ("kib_per_connection", 1024.0 * (reading.rss_mib() - before.rss_mib()) / lab.options.crowd as f64),
        ("cpu_percent", cpu_percent),
        ("alone_ack_p99_ms", alone),
        ("ack_p99_ms", beside),
    ])
}
