//! Idempotent producers that one partition knows.

#![allow(clippy::disallowed_methods)]

use dohle_records::{BatchBuilder, Compression};
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use dohle_wire::{ApiKey, RecordBytes};

use super::super::Lab;
use super::super::contestant::DOHLE;
use super::super::loads::{Life, costed};
use super::super::scenario::{STANDARD, Shape};
use super::{begun, count, kib_more, part, us_each};
use crate::Outcome;
use crate::client::{self, Connection, Load, Topic};

const TOPIC: &str = "written";

/// One partition, and a connection to write to it.
struct Written {
    connection: Connection,
    topic: Topic,
}

impl Written {
    fn begin(life: &mut Life, config: &[String]) -> Outcome<Self> {
        let mut connection = life.broker.connect()?;
        let topic = life.broker.explained(Topic::create(&mut connection, TOPIC, 1, config))?;
        Ok(Self { connection, topic })
    }

    /// One record of a producer.
    fn append(&mut self, id: u64, sequence: u64) -> Outcome<()> {
        let version = self.connection.versions.of(ApiKey::Produce)?;
        let (id, sequence) = (ProducerId(i64::try_from(id)?), Sequence(i32::try_from(sequence)?));
        let mut builder = BatchBuilder::new(Compression::None).producer(id, ProducerEpoch(0), sequence);
        builder.append(TimestampMs(client::unix_millis()), None, Some(b"value"), &[]);
        let records = RecordBytes::from(builder.build(Offset::ZERO, LeaderEpoch::NONE).segments().to_vec());
        let request = client::request(&self.topic, version, -1, vec![(0, records)]);
        client::check(&self.connection.call(&request)?)
    }

    /// The first record of each of n producers.
    fn introduce(&mut self, n: u64) -> Outcome<()> {
        (0..n).try_for_each(|id| self.append(id, 0))
    }
}

pub fn memory(lab: &Lab, n: u64) -> Outcome<f64> {
    /// The batches themselves are not to be in it.
    const NO_TAIL: (&str, &str) = ("dohle.memory.tail.bytes", "0");
    let mut life = Life::begin(lab, DOHLE, &[NO_TAIL])?;
    let mut written = Written::begin(&mut life, &[])?;
    kib_more(&mut life, |life| life.broker.explained(written.introduce(n)))
}

/// Microseconds of CPU a record of producers that are known, all over the n.
pub fn append(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = begun(lab, DOHLE)?;
    let mut written = Written::begin(&mut life, &[])?;
    life.broker.explained(written.introduce(n))?;
    let speakers = count(lab, 1_000).min(n);
    us_each(&life, count(lab, 4_000), |index| {
        let id = index % speakers * (n / speakers);
        written.append(id, 1 + index / speakers)
    })
}

/// Milliseconds of CPU for each MiB that somebody else writes, where a segment is a MiB: each end of one stores what is known.
pub fn snapshot(lab: &Lab, n: u64) -> Outcome<f64> {
    const MIB: f64 = 1_048_576.0;
    const WRITTEN: f64 = 32.0 * MIB;
    let mut life = begun(lab, DOHLE)?;
    let mut written = Written::begin(&mut life, &["segment.bytes=1048576".to_owned()])?;
    life.broker.explained(written.introduce(n))?;
    let bytes = (WRITTEN * part(lab)).max(2.0 * MIB);
    let load = life.load(&Shape { partitions: 1, ..STANDARD }, bytes / 1e9);
    let load = Load { topic: TOPIC.to_owned(), ..load };
    let (report, cost) = life.broker.explained(costed(&life.broker.process, || client::produce(&load)))?;
    Ok(1e3 * cost.broker_s / (report.bytes as f64 / MIB))
}
