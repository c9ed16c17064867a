//! An incremental fetch session (KIP-227): partitions are named once, and then only what changes.

use dohle_wire::ApiKey;
use dohle_wire::messages::FetchRequest;

use super::connection::Connection;
use super::consume::{Cursor, each_batch, fetch, for_partitions};
use super::topic::Topic;
use crate::Outcome;

const MAX_BYTES: i32 = 1 << 20;
/// So little that a partition gives one batch at a time.
const PARTITION_MAX_BYTES: i32 = 1;

/// A session of one busy partition, the first of its topic, and all partitions of an idle topic.
#[derive(Debug)]
pub struct FetchSession {
    connection: Connection,
    busy: Topic,
    id: i32,
    epoch: i32,
}

impl FetchSession {
    /// Names all partitions, from their beginnings on. The busy one has something already.
    pub fn begin(address: &str, busy: &Topic, idle: &Topic) -> Outcome<Self> {
        let mut connection = Connection::open(address)?;
        let version = connection.versions.of(ApiKey::Fetch)?;
        let cursors = |partitions: i32| -> Vec<Cursor> {
            (0..partitions).map(|partition| Cursor { partition, next: 0, end: i64::MAX }).collect()
        };
        let mut all = fetch(busy, version, &cursors(1), MAX_BYTES, PARTITION_MAX_BYTES);
        let idle = fetch(idle, version, &cursors(idle.partitions), MAX_BYTES, PARTITION_MAX_BYTES);
        all.topics.extend(idle.topics);
        let response = connection.call(&FetchRequest { session_id: 0, session_epoch: 0, ..all })?;
        for_partitions(&response, |_| Ok(()))?;
        if response.session_id == 0 {
            return Err("the broker makes no fetch session".into());
        }
        Ok(Self { connection, busy: busy.clone(), id: response.session_id, epoch: 1 })
    }

    /// The next batch of the busy partition, which is there. Gives the offset that comes after it. That an idle partition is told of, of
    /// which there is nothing new, is an error.
    pub fn next(&mut self, offset: i64) -> Outcome<i64> {
        let mut cursors = [Cursor { partition: 0, next: offset, end: i64::MAX }];
        let version = self.connection.versions.of(ApiKey::Fetch)?;
        let one = fetch(&self.busy, version, &cursors, MAX_BYTES, PARTITION_MAX_BYTES);
        let request = FetchRequest { session_id: self.id, session_epoch: self.epoch, ..one };
        let response = self.connection.call(&request)?;
        self.epoch += 1;
        if response.responses.iter().map(|topic| topic.partitions.len()).sum::<usize>() != 1 {
            return Err("the answer is not about one partition".into());
        }
        for_partitions(&response, |partition| each_batch(partition, &mut cursors, |_| Ok(())))?;
        Ok(cursors[0].next)
    }
}
