//! Sending: closed loop (a new request when one is answered) or fixed rate (a request when it is due, whatever happens).

#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use dohle_types::TimestampMs;
use dohle_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use dohle_wire::messages::{MetadataRequest, ProduceRequest, ProduceResponse};
use dohle_wire::{ApiKey, RecordBytes};

use super::clock::{Moment, unix_millis};
use super::connection::{Connection, Frame, Receiver, Sender};
use super::load::Load;
use super::report::LoadReport;
use super::topic::{Topic, name_of};
use crate::Outcome;

/// Memory for prepared frames, over all partitions.
const PREPARED: usize = 64 << 20;
/// How many different frames each group of partitions gets at most.
const VARIANTS: usize = 4;
const TIMEOUT_MS: i32 = 30_000;

/// Sends the load and waits for the last answer.
pub fn produce(load: &Load) -> Outcome<LoadReport> {
    if load.acks == 0 && load.rate.is_some() {
        return Err("at a fixed rate acks has to be 1 or -1: without answers there is no latency".into());
    }
    if !(load.partitions as usize).is_multiple_of(load.batches_per_request.max(1)) {
        return Err("the partitions have to be a multiple of the batches per request".into());
    }
    let mut connections = Vec::with_capacity(load.connections);
    for _ in 0..load.connections.max(1) {
        connections.push(Connection::open(&load.broker)?);
    }
    let topic = Topic::create(&mut connections[0], &load.topic, load.partitions, &load.topic_config)?;
    let version = connections[0].versions.of(ApiKey::Produce)?;
    let groups = prepared(load, &topic, version)?;
    let left = AtomicU64::new(load.requests());
    let start = Moment::now();
    thread::scope(|scope| {
        let count = connections.len();
        let threads: Vec<_> = connections
            .into_iter()
            .enumerate()
            .map(|(index, connection)| {
                let mine = share(&groups, index, count);
                let left = &left;
                scope.spawn(move || match load.rate {
                    None => closed(load, connection, version, mine, left, start),
                    Some(rate) => at_rate(load, connection, version, mine, left, rate / count as u64, start),
                })
            })
            .collect();
        let mut sum = LoadReport::default();
        for thread in threads {
            sum.add(&thread.join().expect("a sender panicked")?);
        }
        sum.took = start.elapsed();
        Ok(sum)
    })
}

/// The request that carries one batch for each of these partitions.
pub fn request(topic: &Topic, version: i16, acks: i16, batches: Vec<(i32, RecordBytes)>) -> ProduceRequest {
    /// The first version that knows topics by their ids.
    const BY_ID: i16 = 13;
    let partition_data = batches.into_iter().map(|(index, records)| PartitionProduceData {
        index,
        records: Some(records),
        ..Default::default()
    });
    let mut data = TopicProduceData { partition_data: partition_data.collect(), ..Default::default() };
    if version >= BY_ID {
        data.topic_id = topic.id;
    } else {
        data.name = topic.name.clone();
    }
    ProduceRequest { acks, timeout_ms: TIMEOUT_MS, topic_data: vec![data], ..Default::default() }
}

/// The frames of each group of partitions that share requests.
fn prepared(load: &Load, topic: &Topic, version: i16) -> Outcome<Vec<Vec<Frame>>> {
    let partitions: Vec<i32> = (0..topic.partitions).collect();
    let bytes = partitions.len() * load.records_per_batch() * load.record_size;
    let variants = (PREPARED / bytes.max(1)).clamp(1, VARIANTS);
    let now = TimestampMs(unix_millis());
    let group = |members: &[i32]| {
        let frame = |variant: usize| {
            let batches = members.iter().map(|&partition| {
                let seed = partition as u32 * VARIANTS as u32 + variant as u32;
                let batch = load.recipe().batch(seed, 0, now);
                (partition, RecordBytes::from(batch.segments().to_vec()))
            });
            Frame::new(&request(topic, version, load.acks, batches.collect()), version)
        };
        (0..variants).map(frame).collect::<Outcome<Vec<_>>>()
    };
    partitions.chunks(load.batches_per_request.max(1)).map(group).collect()
}

/// The frames of connection `index` of `count`, in the order they are sent, round and round.
fn share(groups: &[Vec<Frame>], index: usize, count: usize) -> Vec<Frame> {
    let mine = |group: &usize| {
        if groups.len() >= count { group % count == index } else { *group == index % groups.len() }
    };
    let variants = groups[0].len();
    let in_order =
        (0..variants).flat_map(|variant| (0..groups.len()).filter(mine).map(move |group| (group, variant)));
    in_order.map(|(group, variant)| groups[group][variant].clone()).collect()
}

/// Takes one request from what is left for all connections.
fn take(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn closed(
    load: &Load,
    mut connection: Connection,
    version: i16,
    mut frames: Vec<Frame>,
    left: &AtomicU64,
    start: Moment,
) -> Outcome<LoadReport> {
    let mut report = LoadReport::default();
    let mut waiting: VecDeque<Moment> = VecDeque::with_capacity(load.pipeline);
    let mut next = 0;
    let most = load.seconds.map(Duration::from_secs_f64);
    let go_on = || most.is_none_or(|most| start.elapsed() < most);
    loop {
        while waiting.len() < load.pipeline.max(1) && go_on() && take(left) {
            waiting.push_back(Moment::now());
            connection.sender.send(&mut frames[next])?;
            next = (next + 1) % frames.len();
            if load.acks == 0 {
                waiting.clear();
                connection.receiver.skip();
                count(load, &mut report);
            }
        }
        let Some(sent) = waiting.pop_front() else { break };
        check(&connection.receiver.receive::<ProduceRequest>(version)?)?;
        report.acknowledged.record(sent.elapsed(), 1);
        count(load, &mut report);
    }
    if load.acks == 0 {
        // Requests of a connection are answered in order: when this one is, the others were taken.
        connection.call(&MetadataRequest { topics: Some(Vec::new()), ..Default::default() })?;
    }
    Ok(report)
}

fn count(load: &Load, report: &mut LoadReport) {
    report.requests += 1;
    report.records += (load.records_per_batch() * load.batches_per_request) as u64;
    report.bytes += load.bytes_per_request();
}

fn at_rate(
    load: &Load,
    connection: Connection,
    version: i16,
    frames: Vec<Frame>,
    left: &AtomicU64,
    rate: u64,
    start: Moment,
) -> Outcome<LoadReport> {
    let interval = Duration::from_secs_f64(load.bytes_per_request() as f64 / rate.max(1) as f64);
    let mut next = 0;
    let frame = move |_due: Moment| {
        let frame = frames[next].clone();
        next = (next + 1) % frames.len();
        Ok(frame)
    };
    paced(load, connection.sender, connection.receiver, version, left, interval, start, frame)
}

/// Sends what `frame` makes whenever it is due, while another thread takes the answers.
#[allow(clippy::too_many_arguments)]
pub fn paced(
    load: &Load,
    mut sender: Sender,
    mut receiver: Receiver,
    version: i16,
    left: &AtomicU64,
    interval: Duration,
    start: Moment,
    mut frame: impl FnMut(Moment) -> Outcome<Frame>,
) -> Outcome<LoadReport> {
    let (sent, due_of_answer) = mpsc::channel::<Moment>();
    thread::scope(|scope| {
        let answers = scope.spawn(move || {
            let mut report = LoadReport::default();
            for due in due_of_answer {
                check(&receiver.receive::<ProduceRequest>(version)?)?;
                report.acknowledged.record(due.elapsed(), 1);
                count(load, &mut report);
            }
            Outcome::Ok(report)
        });
        let mut due = start;
        while take(left) {
            let mut made = frame(due)?;
            due.wait();
            sender.send(&mut made)?;
            if sent.send(due).is_err() {
                break; // the answers have failed and will say why
            }
            due = due.plus(interval);
        }
        drop(sent);
        answers.join().expect("the receiver panicked")
    })
}

/// Every partition took its batch.
pub fn check(response: &ProduceResponse) -> Outcome<()> {
    for partition in response.responses.iter().flat_map(|topic| &topic.partition_responses) {
        if partition.error_code != 0 {
            let message = partition.error_message.as_deref().unwrap_or_default();
            let name = name_of(partition.error_code);
            return Err(format!("partition {}: {name} {message}", partition.index).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_the_groups() {
        let frame = |n: i16| Frame::new(&MetadataRequest::default(), n).unwrap();
        let groups: Vec<Vec<Frame>> = (0..5).map(|_| vec![frame(1), frame(2)]).collect();
        let shares: Vec<usize> = (0..2).map(|index| share(&groups, index, 2).len()).collect();
        assert_eq!(shares, [6, 4]);
        assert!((0..9).all(|index| share(&groups, index, 9).len() == 2));
    }

    #[test]
    fn requests_are_taken_until_none_is_left() {
        let left = AtomicU64::new(2);
        assert_eq!([take(&left), take(&left), take(&left), take(&left)], [true, true, false, false]);
    }
}
