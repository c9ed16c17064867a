//! From the moment a record was due to its arrival at a reader at the tail, at a fixed rate.

#![allow(clippy::disallowed_methods)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use dohle_types::TimestampMs;
use dohle_wire::{ApiKey, RecordBytes};

use super::clock::{Moment, unix_millis};
use super::connection::{Connection, Frame};
use super::consume::{Cursor, each_batch, fetch, for_partitions};
use super::load::Load;
use super::report::{Latencies, LoadReport, Stalls};
use super::topic::Topic;
use super::{content, produce};
use crate::Outcome;

const FETCH_MAX_BYTES: i32 = 50 << 20;
const PARTITION_MAX_BYTES: i32 = 1 << 20;
/// A record that does not come for so long will not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Produces at `load.rate` (20 MB/s unless given) over one connection per sender; every reader reads everything.
pub fn end_to_end(load: &Load) -> Outcome<LoadReport> {
    const DEFAULT_RATE: u64 = 20_000_000;
    let rate = load.rate.unwrap_or(DEFAULT_RATE);
    let mut admin = Connection::open(&load.broker)?;
    let topic = Topic::create(&mut admin, &load.topic, load.partitions, &load.topic_config)?;
    let ends = topic.ends(&mut admin)?;
    let cursors: Vec<Cursor> =
        (0..).zip(ends).map(|(partition, (_, end))| Cursor { partition, next: end, end: i64::MAX }).collect();
    let start = Moment::now();
    let left = AtomicU64::new(load.requests());
    let expected = load.requests() * (load.records_per_batch() * load.batches_per_request) as u64;
    let failed = AtomicBool::new(false);
    let mut report = thread::scope(|scope| {
        let (topic, failed) = (&topic, &failed);
        let readers: Vec<_> = (0..load.readers.max(1))
            .map(|_| {
                let cursors = cursors.clone();
                scope.spawn(move || arrivals(load, topic, cursors, start, expected, failed))
            })
            .collect();
        let count = load.connections.max(1);
        let senders: Vec<_> = (0..count)
            .map(|index| {
                let left = &left;
                scope.spawn(move || sender(load, topic, (index, count), rate / count as u64, left, start))
            })
            .collect();
        let mut sum = LoadReport::default();
        for sender in senders {
            match sender.join().expect("a sender panicked") {
                Ok(report) => sum.add(&report),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed); // or the reader would wait for what never comes
                    return Err(error);
                }
            }
        }
        for reader in readers {
            let (latencies, stalls) = reader.join().expect("a reader panicked")?;
            sum.end_to_end.add(&latencies);
            sum.stalls.add(&stalls);
        }
        Outcome::Ok(sum)
    })?;
    report.took = start.elapsed();
    Ok(report)
}

fn sender(
    load: &Load,
    topic: &Topic,
    (index, count): (usize, usize),
    rate: u64,
    left: &AtomicU64,
    start: Moment,
) -> Outcome<LoadReport> {
    let connection = Connection::open(&load.broker)?;
    let version = connection.versions.of(ApiKey::Produce)?;
    let interval = Duration::from_secs_f64(load.bytes_per_request() as f64 / rate.max(1) as f64);
    let mut next = index as i32;
    let mut seed = index as u32;
    let frame = |due: Moment| {
        let moment = u64::try_from(due.since(start).as_nanos())?;
        let now = TimestampMs(unix_millis());
        let batches = (0..load.batches_per_request).map(|_| {
            let partition = next % topic.partitions;
            (next, seed) = (next.wrapping_add(1) & i32::MAX, seed.wrapping_add(count as u32));
            let batch = load.recipe().batch(seed, moment, now);
            (partition, RecordBytes::from(batch.segments().to_vec()))
        });
        Frame::new(&produce::request(topic, version, load.acks, batches.collect()), version)
    };
    // Senders take turns within an interval instead of sending all at once.
    let first = start.plus(interval.mul_f64(index as f64 / count as f64));
    produce::paced(load, connection.sender, connection.receiver, version, left, interval, first, frame)
}

/// Reads at the tail until `expected` records have come, or sending has failed.
fn arrivals(
    load: &Load,
    topic: &Topic,
    mut cursors: Vec<Cursor>,
    start: Moment,
    expected: u64,
    failed: &AtomicBool,
) -> Outcome<(Latencies, Stalls)> {
    let mut connection = Connection::open(&load.broker)?;
    let version = connection.versions.of(ApiKey::Fetch)?;
    let mut latencies = Latencies::default();
    let mut stalls = Stalls::default();
    let mut arrived = 0;
    let mut last = Moment::now();
    while arrived < expected && !failed.load(Ordering::Relaxed) {
        let request = fetch(topic, version, &cursors, FETCH_MAX_BYTES, PARTITION_MAX_BYTES);
        let response = connection.call(&request)?;
        let now = Moment::now();
        if now.since(last) > PATIENCE {
            return Err(format!("{arrived} of {expected} records arrived, then nothing for a minute").into());
        }
        for_partitions(&response, |partition| {
            each_batch(partition, &mut cursors, |batch| {
                // As it was sent: the sum is the sender's. Making every value again would hold up those that come next.
                batch.check_crc()?;
                let due = start.plus(Duration::from_nanos(content::moment(batch)?));
                let count = u64::try_from(batch.header.record_count)?;
                latencies.record(now.since(due), count);
                stalls.saw(due.since(start), now.since(start));
                arrived += count;
                last = now;
                Ok(())
            })
        })?;
    }
    Ok((latencies, stalls))
}
