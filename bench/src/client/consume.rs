//! Reading from the start to the end, and proving what is read.

#![allow(clippy::disallowed_methods)]

use std::thread;

use dohle_records::{Batch, BatchError, parse_batches};
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
            each_batch(partition, &mut cursors, |batch| {
                report.bytes += proof.check(batch)?;
                report.batches += 1;
                report.records += u64::try_from(batch.header.record_count)?;
                Ok(())
            })
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

/// The first batch of a partition from an offset on, which has to be there. Gives the offset that comes after it.
pub fn fetch_one(connection: &mut Connection, topic: &Topic, partition: i32, offset: i64) -> Outcome<i64> {
    let version = connection.versions.of(ApiKey::Fetch)?;
    let mut cursors = [Cursor { partition, next: offset, end: i64::MAX }];
    let response = connection.call(&fetch(topic, version, &cursors, 1, 1))?;
    for_partitions(&response, |partition| each_batch(partition, &mut cursors, |_| Ok(())))?;
    if cursors[0].next == offset {
        Err(format!("nothing is at {offset}").into())
    } else {
        Ok(cursors[0].next)
    }
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

/// Hands on every batch of a partition that was asked for, and moves its cursor behind them: no offset is missing or comes twice.
pub fn each_batch(
    partition: &PartitionData,
    cursors: &mut [Cursor],
    mut look: impl FnMut(&Batch) -> Outcome<()>,
) -> Outcome<()> {
    let cursor = cursors.iter_mut().find(|cursor| cursor.partition == partition.partition_index);
    let cursor = cursor.ok_or("a partition that was not asked for")?;
    let Some(records) = &partition.records else { return Ok(()) };
    for batch in parse_batches(records.clone().into_bytes()) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(BatchError::Incomplete { .. }) => break, // cut short by the limit
            Err(error) => return Err(error.into()),
        };
        let at = |error| format!("partition {}, batch at {}: {error}", cursor.partition, cursor.next);
        if batch.header.base_offset.get() != cursor.next {
            let came = batch.header.base_offset;
            return Err(at(format!("offset {came} came").into()).into());
        }
        look(&batch).map_err(at)?;
        cursor.next = batch.header.next_offset().get();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dohle_records::Compression;
    use dohle_types::{Offset, TimestampMs};
    use dohle_wire::RecordBytes;

    use super::super::content::Recipe;
    use super::*;

    /// Batches of three records at these offsets, as a fetch brings them.
    fn fetched(offsets: &[i64]) -> PartitionData {
        let recipe = Recipe { codec: Compression::None, records: 3, size: 100, keys: 0 };
        let bytes = offsets.iter().flat_map(|&offset| {
            let mut batch = recipe.batch(7, 0, TimestampMs(1));
            batch.header.base_offset = Offset(offset);
            batch.segments().concat()
        });
        let records = Some(RecordBytes::from(vec![Bytes::from_iter(bytes)]));
        PartitionData { partition_index: 5, records, ..Default::default() }
    }

    /// How many batches come before the end or a fault, and where the cursor is then.
    fn seen(partition: &PartitionData) -> (usize, i64, Option<String>) {
        let mut cursors = [4, 5].map(|partition| Cursor { partition, next: 10, end: i64::MAX });
        let mut count = 0;
        let outcome = each_batch(partition, &mut cursors, |batch| {
            batch.check_crc()?;
            count += 1;
            Ok(())
        });
        assert_eq!(cursors[0].next, 10);
        (count, cursors[1].next, outcome.err().map(|error| error.to_string()))
    }

    #[test]
    fn gaps_repeats_and_damage_are_found() {
        assert_eq!(seen(&fetched(&[10, 13, 16])), (3, 19, None));
        let fault = |at, came| Some(format!("partition 5, batch at {at}: offset {came} came"));
        assert_eq!(seen(&fetched(&[10, 16])), (1, 13, fault(13, 16)));
        assert_eq!(seen(&fetched(&[10, 10])), (1, 13, fault(13, 10)));
        let mut damaged = fetched(&[10, 13]).records.unwrap().into_bytes().to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let whole = Bytes::from(damaged.clone());
        let partition = |bytes| PartitionData {
            partition_index: 5,
            records: Some(RecordBytes::from(vec![bytes])),
            ..Default::default()
        };
        let (count, next, fault) = seen(&partition(whole));
        assert_eq!((count, next), (1, 13));
        assert!(fault.is_some_and(|fault| fault.starts_with("partition 5, batch at 13: ")));
        damaged.pop();
        assert_eq!(seen(&partition(Bytes::from(damaged))), (1, 13, None), "cut short");
    }
}
