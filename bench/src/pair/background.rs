//! Work in the background: what a producer notices of it, and what compaction itself costs.

#![allow(clippy::disallowed_methods)]

use std::thread;
use std::time::Duration;

use dohle_types::TimestampMs;
use dohle_wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use dohle_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use dohle_wire::messages::{DescribeLogDirsRequest, IncrementalAlterConfigsRequest, ProduceRequest};
use dohle_wire::{ApiKey, RecordBytes};

use super::contestant::Contestant;
use super::loads::{Life, costed};
use super::scenario::{Metrics, STANDARD, Shape};
use super::{Lab, moving};
use crate::Outcome;
use crate::client::{self, Connection, Load, Moment, Topic};

const MB: u64 = 1_000_000;
/// Background work that is due is done at once.
pub const OFTEN: &[(&str, &str)] =
    &[("log.retention.check.interval.ms", "1000"), ("log.cleaner.backoff.ms", "1000")];
/// Old segments go while new ones come.
pub const SHORT: &[&str] =
    &["segment.bytes=16777216", "retention.bytes=67108864", "file.delete.delay.ms=1000"];
/// Segments end all the time, and all stay.
const ROLLING: &[&str] = &["segment.bytes=4194304"];
pub const COMPACTED: &[&str] =
    &["cleanup.policy=compact", "segment.bytes=16777216", "min.cleanable.dirty.ratio=0.01"];

/// Acknowledgements at 100 MB/s: undisturbed, while segments roll, while they are deleted, while they are compacted, undisturbed again, and
/// while other logs move between two directories; in one life of the broker.
pub fn disturbed(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const PACED: Shape = Shape { rate: Some(100 * MB), ..STANDARD };
    let mut life = Life::begin(lab, contestant, &[OFTEN, moving::TWO_DIRECTORIES].concat())?;
    let gigabytes = 100e6 * lab.options.rate_seconds / 1e9;
    let mut p99 = |shape: Shape, part: f64| -> Outcome<(f64, f64)> {
        let load = life.load(&shape, gigabytes * part);
        lab.machine.settle(load.bytes);
        let report = life.broker.explained(client::produce(&load))?;
        Ok((report.acknowledged.ms(0.99), report.acknowledged.ms(0.9999)))
    };
    // A broker that compiles while it runs needs this; the figures of it are not used.
    p99(PACED, 1.0)?;
    let before = p99(PACED, 1.0)?;
    let rolls = p99(Shape { topic_config: ROLLING, ..PACED }, 1.0)?;
    let retention = p99(Shape { topic_config: SHORT, ..PACED }, 1.0)?;
    let cleaner = p99(Shape { topic_config: COMPACTED, keys: 10_000, ..PACED }, 1.0)?;
    let after = p99(PACED, 1.0)?;
    let paced = life.load(&PACED, gigabytes);
    let idle = life.load(&STANDARD, gigabytes / 2.0);
    life.broker.explained(client::produce(&idle))?;
    lab.machine.settle(2 * paced.bytes);
    let (moves, moved) = life.broker.explained(moving::beside(&idle, || client::produce(&paced)))?;
    let moves = (moves.acknowledged.ms(0.99), moves.acknowledged.ms(0.9999));
    let alone = f64::midpoint(before.0, after.0);
    let worst = rolls.0.max(retention.0).max(cleaner.0).max(moves.0);
    Ok(vec![
        ("alone_ack_p99_ms", alone),
        ("rolls_ack_p99_ms", rolls.0),
        ("retention_ack_p99_ms", retention.0),
        ("cleaner_ack_p99_ms", cleaner.0),
        ("moves_ack_p99_ms", moves.0),
        ("worst_to_alone", worst / alone),
        ("alone_ack_p99.99_ms", before.1.max(after.1)),
        ("rolls_ack_p99.99_ms", rolls.1),
        ("retention_ack_p99.99_ms", retention.1),
        ("cleaner_ack_p99.99_ms", cleaner.1),
        ("moves_ack_p99.99_ms", moves.1),
        ("moved", moved as f64),
    ])
}

/// Compacts --volume-gb of records with ten million keys, by the broker's defaults but for how soon it begins.
pub fn compacting(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    let (keys, segment) = if lab.options.smoke { (1_000, 1 << 20) } else { (10_000_000, 64 << 20) };
    let mut life = Life::begin(lab, contestant, OFTEN)?;
    let load = keyed(&mut life, lab.options.volume_gb, keys);
    let done = compact(lab, &mut life, &load, segment)?;
    let reading = life.broker.process.read()?;
    Ok(vec![
        ("cpu_s_per_gb", done.cpu_s / (done.filled as f64 / 1e9)),
        ("seconds", done.took.as_secs_f64()),
        ("left_percent", 100.0 * done.size as f64 / done.before as f64),
        ("rss_mib", reading.rss_mib()),
        ("peak_mib", reading.peak_mib()),
    ])
}

/// What compacting a log once came to.
pub struct Compacted {
    /// Bytes of values.
    filled: u64,
    before: i64,
    size: i64,
    cpu_s: f64,
    took: Duration,
}

/// Records with so many keys, for a log that is to be compacted.
pub fn keyed(life: &mut Life, gigabytes: f64, keys: u64) -> Load {
    Load { keys, batch_size: 256 << 10, ..life.load(&STANDARD, gigabytes) }
}

/// A log of one partition that nobody has compacted yet.
pub struct Dirty {
    connection: Connection,
    topic: Topic,
    /// Bytes of values.
    filled: u64,
    /// Bytes of the log.
    size: i64,
}

impl Dirty {
    pub fn filled(life: &mut Life, load: &Load, segment: u64) -> Outcome<Self> {
        let config = [format!("segment.bytes={segment}"), "min.cleanable.dirty.ratio=0.01".to_owned()];
        let mut connection = life.broker.connect()?;
        let topic = life.broker.explained(Topic::create(&mut connection, "compacted", 1, &config))?;
        let filled = life.broker.explained(fill(&mut connection, &topic, load))?;
        let size = size(&mut connection, &topic)?;
        Ok(Self { connection, topic, filled, size })
    }

    /// From now on it may be compacted.
    pub fn release(&mut self) -> Outcome<()> {
        set(&mut self.connection, &self.topic, "cleanup.policy", "compact")
    }

    pub fn has_shrunk(&mut self) -> Outcome<bool> {
        Ok(size(&mut self.connection, &self.topic)? < self.size)
    }
}

/// Fills a log, has it compacted, and waits until that is done.
pub fn compact(lab: &Lab, life: &mut Life, load: &Load, segment: u64) -> Outcome<Compacted> {
    let mut dirty = Dirty::filled(life, load, segment)?;
    let start = Moment::now();
    let (shrunk, cost) = life.broker.explained(costed(&life.broker.process, || {
        dirty.release()?;
        until_it_rests(lab, &mut dirty.connection, &dirty.topic, dirty.size, start)
    }))?;
    let Dirty { filled, size: before, .. } = dirty;
    Ok(Compacted { filled, before, size: shrunk.size, cpu_s: cost.broker_s, took: shrunk.took })
}

/// Writes the load, no two batches alike, and gives how many bytes of values.
fn fill(connection: &mut Connection, topic: &Topic, load: &Load) -> Outcome<u64> {
    let version = connection.versions.of(ApiKey::Produce)?;
    let (recipe, now) = (load.recipe(), TimestampMs(client::unix_millis()));
    for seed in 0..load.requests() {
        let batch = recipe.batch(u32::try_from(seed)?, 0, now);
        let records = RecordBytes::from(batch.segments().to_vec());
        let request: ProduceRequest = client::request(topic, version, -1, vec![(0, records)]);
        client::check(&connection.call(&request)?)?;
    }
    Ok(load.requests() * load.bytes_per_request())
}

struct Shrunk {
    size: i64,
    /// From the beginning to when it last became smaller.
    took: Duration,
}

/// Waits until the log has become smaller, and then no smaller for a while.
fn until_it_rests(
    lab: &Lab,
    connection: &mut Connection,
    topic: &Topic,
    before: i64,
    start: Moment,
) -> Outcome<Shrunk> {
    let patience = Duration::from_secs(if lab.options.smoke { 20 } else { 600 });
    const LOOK: Duration = Duration::from_millis(200);
    // Longer than a pass that only finds out what is there.
    let rest = Duration::from_secs(if lab.options.smoke { 1 } else { 15 });
    let mut shrunk = Shrunk { size: before, took: Duration::ZERO };
    loop {
        thread::sleep(LOOK);
        let now = size(connection, topic)?;
        if now < shrunk.size {
            shrunk = Shrunk { size: now, took: start.elapsed() };
        }
        let waited = start.elapsed().saturating_sub(shrunk.took);
        if shrunk.size < before && waited >= rest {
            return Ok(shrunk);
        }
        if waited > patience {
            return Err("nothing was compacted".into());
        }
    }
}

/// The bytes of the topic's log.
pub fn size(connection: &mut Connection, topic: &Topic) -> Outcome<i64> {
    let asked = DescribableLogDirTopic {
        topic: topic.name.clone(),
        partitions: (0..topic.partitions).collect(),
        ..Default::default()
    };
    let request = DescribeLogDirsRequest { topics: Some(vec![asked]), ..Default::default() };
    let response = connection.call(&request)?;
    let partitions = response.results.iter().flat_map(|dir| &dir.topics).flat_map(|topic| &topic.partitions);
    Ok(partitions.map(|partition| partition.partition_size).sum())
}

/// Sets one setting of a topic.
pub fn set(connection: &mut Connection, topic: &Topic, name: &str, value: &str) -> Outcome<()> {
    const TOPIC: i8 = 2;
    let config = AlterableConfig { name: name.into(), value: Some(value.into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.name.clone(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = connection.call(&request)?;
    let refused = response.responses.iter().find(|resource| resource.error_code != 0);
    refused.map_or(Ok(()), |resource| Err(client::name_of(resource.error_code).into()))
}
