//! Reading from the start to the end, and proving what is read.

#![allow(clippy::disallowed_methods)]

use std::thread;

use dohle_records::{BatchError, parse_batches};
use dohle_wire::ApiKey;
use dohle_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use dohle_wire::messages::fetch_response::PartitionData;
use dohle_wire::messages::{FetchRequest, FetchResponse};

use super::clock::Moment;
use super::connection::Connection;
use super::content::Proof;
use super::load::ReadBack;
use super::report::ReadReport;
use super::topic::{Topic, name_of};
use crate::Outcome;

const MAX_WAIT_MS: i32 = 500;
/// A full fetch outside of any session.
const NO_SESSION: (i32, i32) = (0, -1);

/// Where a reader is in a partition, and where it stops.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    pub partition: i32,
    pub next: i64,
    pub end: i64,
}

/// Reads everything that is there now.
pub fn consume(read: &ReadBack) -> Outcome<ReadReport> {
    let mut first = Connection::open(&read.broker)?;
    let topic =
        Topic::found(&mut first, &read.topic)?.ok_or_else(|| format!("there is no topic {}", read.topic))?;
    let ends = topic.ends(&mut first)?;
    let cursors =
        (0..topic.partitions).zip(ends).map(|(partition, (next, end))| Cursor { partition, next, end });
    let cursors: Vec<Cursor> = cursors.filter(|cursor| cursor.next < cursor.end).collect();
    let count = read.connections.clamp(1, cursors.len().max(1));
    let start = Moment::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|index| {
                let mine: Vec<Cursor> = cursors.iter().copied().skip(index).step_by(count).collect();
                let topic = &topic;
                scope.spawn(move || reader(read, topic, mine))
            })
            .collect();
        let mut sum = ReadReport::default();
        for thread in threads {
            sum.add(&thread.join().expect("a reader panicked")?);
        }
        sum.took = start.elapsed();
        Ok(sum)
    })
}

fn reader(read: &ReadBack, topic: &Topic, mut cursors: Vec<Cursor>) -> Outcome<ReadReport> {
    let mut connection = Connection::open(&read.broker)?;
    let version = connection.versions.of(ApiKey::Fetch)?;
    let mut report = ReadReport::default();
    let mut proof = Proof::default();
    while !cursors.is_empty() {
        let request = fetch(topic, version, &cursors, read.max_bytes, read.partition_max_bytes);
        let response = connection.call(&request)?;
        report.requests += 1;
        for_partitions(&response, |partition| {
            let cursor = cursors.iter_mut().find(|cursor| cursor.partition == partition.partition_index);
            let cursor = cursor.ok_or("a partition that was not asked for")?;
            take(partition, cursor, &mut proof, &mut report)
        })?;
        cursors.retain(|cursor| cursor.next < cursor.end);
        // The partition served last comes first next time, so that none starves behind the limit.
        let served = cursors.len().min(1);
        cursors.rotate_left(served);
    }
    Ok(report)
}

/// A full fetch of all these partitions.
pub fn fetch(
    topic: &Topic,
    version: i16,
    cursors: &[Cursor],
    max_bytes: i32,
    partition_max_bytes: i32,
) -> FetchRequest {
    /// The first version that knows topics by their ids.
    const BY_ID: i16 = 13;
    let partition = |cursor: &Cursor| FetchPartition {
        partition: cursor.partition,
        fetch_offset: cursor.next,
        partition_max_bytes,
        ..Default::default()
    };
    let mut asked = FetchTopic { partitions: cursors.iter().map(partition).collect(), ..Default::default() };
    if version >= BY_ID {
        asked.topic_id = topic.id;
    } else {
        asked.topic = topic.name.clone();
    }
    let (session_id, session_epoch) = NO_SESSION;
    FetchRequest {
        max_wait_ms: MAX_WAIT_MS,
        min_bytes: 1,
        max_bytes,
        session_id,
        session_epoch,
        topics: vec![asked],
        ..Default::default()
    }
}

/// A fetch from the beginning of an empty topic's first partition, which waits.
pub fn end_of_log(topic: &Topic, connection: &Connection) -> Outcome<FetchRequest> {
    let version = connection.versions.of(ApiKey::Fetch)?;
    Ok(fetch(topic, version, &[Cursor { partition: 0, next: 0, end: i64::MAX }], 1 << 20, 1 << 20))
}

/// Hands every partition of a response on; an error code anywhere is an error.
pub fn for_partitions(
    response: &FetchResponse,
    mut look: impl FnMut(&PartitionData) -> Outcome<()>,
) -> Outcome<()> {
    if response.error_code != 0 {
        return Err(format!("Fetch: {}", name_of(response.error_code)).into());
    }
    for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
        if partition.error_code != 0 {
            let name = name_of(partition.error_code);
            return Err(format!("Fetch of partition {}: {name}", partition.partition_index).into());
        }
        look(partition)?;
    }
    Ok(())
}

/// Proves the batches of one partition and moves its cursor behind them.
fn take(
    partition: &PartitionData,
    cursor: &mut Cursor,
    proof: &mut Proof,
    report: &mut ReadReport,
) -> Outcome<()> {
    let Some(records) = &partition.records else { return Ok(()) };
    for batch in parse_batches(records.clone().into_bytes()) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(BatchError::Incomplete { .. }) => break, // cut short by the limit
            Err(error) => return Err(error.into()),
        };
        let header = &batch.header;
        if header.base_offset.get() != cursor.next {
            let (came, due) = (header.base_offset, cursor.next);
            return Err(
                format!("partition {}: offset {came} came where {due} was due", cursor.partition).into()
            );
        }
        let at = |error| format!("partition {}, batch at {}: {error}", cursor.partition, cursor.next);
        report.bytes += proof.check(&batch).map_err(at)?;
        report.batches += 1;
        report.records += u64::try_from(header.record_count)?;
        cursor.next = header.next_offset().get();
    }
    Ok(())
}
