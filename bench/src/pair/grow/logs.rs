//! One log: its length, and how many segments it has.

#![allow(clippy::disallowed_methods)]

use std::thread;
use std::time::Duration;

use super::super::contestant::{DOHLE, DOHLE_SYNCED};
use super::super::loads::{Life, at_rest, costed};
use super::super::long::Long;
use super::super::measure::millis;
use super::super::scenario::{STANDARD, Shape};
use super::super::{Lab, background};
use super::{begun, count, median_us};
use crate::Outcome;
use crate::client::{self, Connection, Load, Topic, fetch_one};

/// A step that has nothing to do with the segments' size: `index * STEP` modulo a length is all over that length.
const STEP: u64 = 7_919;
/// How often something is looked for.
const LOOKUPS: u64 = 500;

/// Milliseconds from the start to the first acknowledgement.
fn first_ack(life: &mut Life, load: &Load) -> Outcome<f64> {
    drop(life.broker.connect()?);
    let one = Load { bytes: 1, batch_size: 0, record_size: 100, ..load.clone() };
    life.broker.explained(client::produce(&one))?;
    Ok(millis(life.broker.started.elapsed()))
}

/// After a kill the segment that was written to is looked through, and what was written after the last checkpoint is proved: both are
/// the same for every length.
pub fn killed(lab: &Lab, n: u64) -> Outcome<f64> {
    const TAIL: u64 = 20_000_000;
    /// One is written every second.
    const CHECKPOINT: Duration = Duration::from_millis(1_500);
    let mut life = begun(lab, DOHLE_SYNCED)?;
    let shape = Shape { partitions: 1, topic_config: &["segment.bytes=16777216"], ..STANDARD };
    let load = life.load(&shape, n as f64 / 1e3);
    life.broker.explained(client::produce(&load))?;
    thread::sleep(CHECKPOINT);
    let tail = Load { bytes: TAIL, ..load.clone() };
    life.broker.explained(client::produce(&tail))?;
    life.broker.kill()?;
    life.broker.again()?;
    first_ack(&mut life, &load)
}

pub fn start(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut long = Long::begin(lab, DOHLE_SYNCED, n)?;
    long.life.broker.restart()?;
    first_ack(&mut long.life, &long.one)
}

/// Looks offsets up by their times all over a long log; the median in microseconds.
fn look_up(lab: &Lab, long: &Long, connection: &mut Connection) -> Outcome<f64> {
    median_us(&long.life, count(lab, LOOKUPS), |index| {
        let offset = index * STEP % long.batches;
        let found = long.topic.offsets(connection, long.written_at(offset)?)?;
        let right = found.as_deref() == Some(&[i64::try_from(offset)?]);
        if right { Ok(()) } else { Err(format!("{found:?} was found where {offset} is").into()) }
    })
}

pub fn lookup(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut long = Long::begin(lab, DOHLE_SYNCED, n)?;
    let mut connection = long.life.broker.connect()?;
    look_up(lab, &long, &mut connection)?;
    look_up(lab, &long, &mut connection)
}

pub fn memory(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut long = Long::begin(lab, DOHLE_SYNCED, n)?;
    let mut connection = long.life.broker.connect()?;
    look_up(lab, &long, &mut connection)?;
    Ok(long.life.broker.process.read()?.rss_mib())
}

pub fn fetch(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut long = Long::begin(lab, DOHLE_SYNCED, n)?;
    let mut connection = long.life.broker.connect()?;
    let mut read = |index: u64| {
        let offset = i64::try_from(index * STEP % long.batches)?;
        fetch_one(&mut connection, &long.topic, 0, offset).map(drop)
    };
    median_us(&long.life, count(lab, LOOKUPS), &mut read)?;
    median_us(&long.life, count(lab, LOOKUPS), &mut read)
}

/// The smallest that a segment may be, in bytes.
const SEGMENT: u64 = 1 << 20;
const SEGMENTED: Shape = Shape {
    partitions: 1,
    batch_size: 16 << 10,
    topic_config: &["segment.bytes=1048576", "file.delete.delay.ms=500"],
    ..STANDARD
};

/// A broker with a log of n segments, and the load that made it.
fn segmented(lab: &Lab, n: u64, settings: &[(&str, &str)]) -> Outcome<(Life, Load)> {
    let mut life = Life::begin(lab, DOHLE, settings)?;
    let load = life.load(&SEGMENTED, (n * SEGMENT) as f64 / 1e9);
    life.broker.explained(client::produce(&load))?;
    Ok((life, load))
}

pub fn open_segments(lab: &Lab, n: u64) -> Outcome<f64> {
    let (mut life, load) = segmented(lab, n, &[])?;
    life.broker.restart()?;
    first_ack(&mut life, &load)
}

pub fn fetch_from_segments(lab: &Lab, n: u64) -> Outcome<f64> {
    let (mut life, load) = segmented(lab, n, &[])?;
    let mut connection = life.broker.connect()?;
    let topic = life.broker.explained(Topic::create(&mut connection, &load.topic, 1, &[]))?;
    let (batches, records) = (load.requests(), load.records_per_batch() as u64);
    let mut read = |index: u64| {
        let offset = i64::try_from(index * STEP % batches * records)?;
        fetch_one(&mut connection, &topic, 0, offset).map(drop)
    };
    median_us(&life, count(lab, LOOKUPS), &mut read)?;
    median_us(&life, count(lab, LOOKUPS), &mut read)
}

/// Retention looks a hundred times a second, and nothing is due; microseconds of CPU a look.
pub fn retention_look(lab: &Lab, n: u64) -> Outcome<f64> {
    const PER_SECOND: f64 = 100.0;
    const ALWAYS: &[(&str, &str)] = &[("log.retention.check.interval.ms", "10")];
    let (life, _) = segmented(lab, n, ALWAYS)?;
    thread::sleep(Duration::from_secs(1)); // what was written last is flushed by then
    let window = Duration::from_secs(if lab.options.smoke { 1 } else { 4 });
    let (percent, ..) = at_rest(&life.broker.process, window)?;
    Ok(1e4 * percent / PER_SECOND)
}

/// Milliseconds of CPU to delete the sixteen oldest of n segments.
pub fn retention(lab: &Lab, n: u64) -> Outcome<f64> {
    const DELETED: u64 = 16;
    const LOOKS: &[(&str, &str)] = &[("log.retention.check.interval.ms", "500")];
    let (mut life, load) = segmented(lab, n, LOOKS)?;
    let mut connection = life.broker.connect()?;
    let topic = life.broker.explained(Topic::create(&mut connection, &load.topic, 1, &[]))?;
    thread::sleep(Duration::from_secs(1)); // what was written last is flushed by then
    let before = life.broker.explained(background::size(&mut connection, &topic))?;
    let kept = u64::try_from(before)?.saturating_sub(DELETED * SEGMENT);
    let ((), cost) = life.broker.explained(costed(&life.broker.process, || {
        background::set(&mut connection, &topic, "retention.bytes", &kept.to_string())?;
        // A look, the delay of half a second before files go, and some more.
        thread::sleep(Duration::from_secs(3));
        Ok(())
    }))?;
    let after = life.broker.explained(background::size(&mut connection, &topic))?;
    // The oldest goes while what is left is not less than is to be kept.
    let gone = u64::try_from(before - after)? / SEGMENT;
    if gone + 1 < DELETED || gone > DELETED {
        return Err(format!("{gone} MiB were deleted instead of {DELETED}").into());
    }
    Ok(1e3 * cost.broker_s)
}
