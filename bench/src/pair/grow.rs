//! `grow`: what costs do when one thing grows. Each row of the table grows a quantity, fits `cost = a * n^e` and fails when the
//! exponent is wrong beyond its error: one noisy figure moves the fit little and its error a lot.
//!
//! The quick sizes take seconds each and find what is quadratic; `--weekly` takes the sizes that users have.

#![allow(clippy::disallowed_methods)]

use std::thread;
use std::time::Duration;

use clap::Args;
use dohle_records::{BatchBuilder, Compression};
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use dohle_wire::messages::FetchRequest;
use dohle_wire::{ApiKey, RecordBytes};

use super::contestant::{Contestant, DOHLE, DOHLE_SYNCED};
use super::fit::Fit;
use super::loads::{self, Life, at_rest, costed};
use super::long::Long;
use super::measure::millis;
use super::report::rounded;
use super::scenario::{STANDARD, Shape};
use super::{Lab, background, lab};
use crate::Outcome;
use crate::client::groups::{Alone, Cohort, wait_for_coordinator};
use crate::client::{self, Connection, Load, Moment, Topic, end_of_log};

/// 1.3 times over the hundredfold.
const FLAT: f64 = 0.057;
/// Lengths in MB.
const SHORT_LOGS: &[u64] = &[100, 1_000, 10_000];
const LONG_LOGS: &[u64] = &[1_000, 10_000, 100_000];

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Which rows; all without it. `list` explains them.
    #[arg(long)]
    row: Vec<String>,
    /// The sizes that users have, instead of those that take seconds.
    #[arg(long)]
    weekly: bool,
    /// How often each size is measured.
    #[arg(long, default_value_t = 2)]
    times: usize,
    /// The binary to measure; without it, the one beside this program.
    #[arg(long)]
    dohle: Option<std::path::PathBuf>,
    /// Where the broker keeps its data.
    #[arg(long)]
    folder: Option<std::path::PathBuf>,
}

struct Row {
    name: &'static str,
    about: &'static str,
    quick: &'static [u64],
    weekly: &'static [u64],
    /// The largest exponent that is right.
    exponent: f64,
    cost: fn(&Lab, u64) -> Outcome<f64>,
}

const TABLE: &[Row] = &[
    Row {
        name: "partitions-idle",
        about: "CPU per GB of one busy partition beside n idle ones",
        quick: &[10, 100, 1_000],
        weekly: &[10, 100, 1_000, 10_000],
        exponent: 0.05,
        cost: partitions_idle,
    },
    Row {
        name: "partitions-active",
        about: "CPU per GB of the same volume over n partitions",
        quick: &[1, 10, 100],
        weekly: &[1, 10, 100, 1_000, 10_000],
        exponent: 0.15,
        cost: partitions_active,
    },
    Row {
        name: "connections",
        about: "memory of n connections that say nothing",
        quick: &[250, 1_000, 4_000],
        weekly: &[1_000, 4_000, 16_000],
        exponent: 1.1,
        cost: connections,
    },
    Row {
        name: "producers",
        about: "CPU per record of 20 MB/s from n producers",
        quick: &[1, 4, 16],
        weekly: &[4, 50, 500],
        exponent: 0.15,
        cost: producers,
    },
    Row {
        name: "log-size",
        about: "start to the first acknowledgement after SIGKILL, with n MB in the log",
        quick: &[50, 200, 800],
        weekly: &[1_000, 4_000, 16_000],
        exponent: 0.3,
        cost: log_size,
    },
    Row {
        name: "length-start",
        about: "start to the first acknowledgement after a clean stop, with n MB in one log, nearly all of it holes",
        quick: SHORT_LOGS,
        weekly: LONG_LOGS,
        exponent: FLAT,
        cost: length_start,
    },
    Row {
        name: "length-lookup",
        about: "microseconds to find an offset by its time, median, in such a log",
        quick: SHORT_LOGS,
        weekly: LONG_LOGS,
        exponent: FLAT,
        cost: length_lookup,
    },
    Row {
        name: "length-memory",
        about: "memory after looking all over such a log",
        quick: SHORT_LOGS,
        weekly: LONG_LOGS,
        exponent: FLAT,
        cost: length_memory,
    },
    Row {
        name: "segments",
        about: "start to the first acknowledgement after a clean stop, with n segments in the log",
        quick: &[20, 80, 320],
        weekly: &[100, 1_000, 10_000],
        exponent: 0.5,
        cost: segments,
    },
    Row {
        name: "groups",
        about: "memory of n groups of one member",
        quick: &[300, 1_000, 3_000],
        weekly: &[1_000, 10_000, 100_000],
        exponent: 1.1,
        cost: groups,
    },
    Row {
        name: "group-size",
        about: "CPU of forming one consumer group of n members over 200 partitions",
        quick: &[50, 100, 200],
        weekly: &[100, 300, 1_000],
        exponent: 1.25,
        cost: group_size,
    },
    Row {
        name: "parked-fetches",
        about: "CPU per request of one partition while n fetches of another are parked",
        quick: &[10, 100, 1_000],
        weekly: &[10, 100, 1_000, 10_000],
        exponent: 0.1,
        cost: parked_fetches,
    },
    Row {
        name: "fan-out",
        about: "CPU per GB that goes out to n readers of one partition",
        quick: &[1, 4, 16],
        weekly: &[1, 10, 50],
        exponent: 0.1,
        cost: fan_out,
    },
    Row {
        name: "producer-ids",
        about: "memory of n idempotent producers that have written to one partition",
        quick: &[3_000, 10_000, 30_000],
        weekly: &[10_000, 30_000, 100_000],
        exponent: 1.1,
        cost: producer_ids,
    },
    Row {
        name: "compaction",
        about: "largest memory while a log of n MB is compacted, ten thousand keys",
        quick: &[50, 150, 450],
        weekly: &[1_000, 3_000, 10_000],
        exponent: 0.1,
        cost: compaction,
    },
    Row {
        name: "record-size",
        about: "CPU per GB in batches of 64 KiB of records of n bytes; records are walked where they are not compressed",
        quick: &[1_024, 8_192, 61_440],
        weekly: &[100, 1_024, 8_192, 61_440],
        exponent: 0.1,
        cost: record_size,
    },
];

/// Grows every chosen row.
pub fn run(options: &Options) -> Outcome<()> {
    if options.row.iter().any(|name| name == "list") {
        TABLE.iter().for_each(|row| println!("{:<18} {} (at most n^{})", row.name, row.about, row.exponent));
        return Ok(());
    }
    let lab = Lab::open(&lab::Options {
        without_kafka: true,
        dohle: options.dohle.clone(),
        folder: options.folder.clone(),
        ..lab::Options::default()
    })?;
    let known = |name: &String| TABLE.iter().any(|row| row.name == name);
    if let Some(strange) = options.row.iter().find(|name| !known(name)) {
        return Err(format!("there is no row {strange}; --row list prints all").into());
    }
    let chosen = |row: &&Row| options.row.is_empty() || options.row.iter().any(|name| name == row.name);
    let (mut passed, mut failed) = (0, 0);
    for row in TABLE.iter().filter(chosen) {
        let sizes = if options.weekly { row.weekly } else { row.quick };
        println!("\n{}: {}", row.name, row.about);
        let judged = grown(&lab, row, sizes, options.times.max(1));
        let (verdict, good) = match judged {
            Ok(fit) => (
                format!("cost grows as {fit}; at most n^{} is right", row.exponent),
                fit.within(row.exponent),
            ),
            Err(error) => (error.to_string(), false),
        };
        println!("  {}: {verdict}", if good { "ok" } else { "FAILED" });
        if good { passed += 1 } else { failed += 1 }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err("something grows too fast".into()) }
}

fn grown(lab: &Lab, row: &Row, sizes: &[u64], times: usize) -> Outcome<Fit> {
    let mut points = Vec::new();
    for time in 0..times {
        // Up and down, so that a machine that gets slower does not look like growth.
        let order: Vec<u64> =
            if time % 2 == 0 { sizes.to_vec() } else { sizes.iter().rev().copied().collect() };
        for n in order {
            let cost = (row.cost)(lab, n).map_err(|error| format!("n = {n}: {error}"))?;
            println!("  n = {n:<8} {}", rounded(cost));
            points.push((n as f64, cost));
        }
    }
    Fit::of(&points).ok_or_else(|| "no cost could be measured".into())
}

fn begun(lab: &Lab, contestant: Contestant) -> Outcome<Life> {
    Life::begin(lab, contestant, &[])
}

/// CPU seconds per GB of a load, after a smaller one of the same kind.
fn per_gb(life: &mut Life, shape: &Shape, gigabytes: f64) -> Outcome<f64> {
    let warm = life.load(shape, gigabytes / 4.0);
    life.broker.explained(client::produce(&warm))?;
    let load = life.load(shape, gigabytes);
    let (report, cost) = life.broker.explained(costed(&life.broker.process, || client::produce(&load)))?;
    Ok(cost.broker_s / (report.bytes as f64 / 1e9))
}

fn partitions_idle(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = begun(lab, DOHLE)?;
    let mut admin = life.broker.connect()?;
    for index in 0..n.div_ceil(1_000) {
        let topic = Topic::create(&mut admin, &format!("idle-{index}"), n.min(1_000) as i32, &[]);
        life.broker.explained(topic)?;
    }
    per_gb(&mut life, &Shape { partitions: 1, ..STANDARD }, 1.0)
}

fn partitions_active(lab: &Lab, n: u64) -> Outcome<f64> {
    per_gb(&mut begun(lab, DOHLE)?, &Shape { partitions: n as i32, batch_size: 16 << 10, ..STANDARD }, 0.5)
}

fn connections(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = begun(lab, DOHLE)?;
    drop(life.broker.connect()?);
    let before = life.broker.process.read()?;
    let open = |_| Connection::open(&life.broker.address).map(Connection::into_silence);
    let silent = (0..n).map(open).collect::<Outcome<Vec<_>>>()?;
    thread::sleep(Duration::from_secs(1));
    let after = life.broker.process.read()?;
    drop(silent);
    Ok(after.rss_mib() - before.rss_mib())
}

fn producers(lab: &Lab, n: u64) -> Outcome<f64> {
    const RATE: u64 = 20_000_000;
    let mut life = begun(lab, DOHLE)?;
    let shape = Shape { connections: n as usize, rate: Some(RATE), batch_size: 16 << 10, ..STANDARD };
    let load = life.load(&shape, 0.1);
    let (report, cost) = life.broker.explained(costed(&life.broker.process, || client::produce(&load)))?;
    Ok(1e6 * cost.broker_s / report.records as f64)
}

fn first_ack(life: &mut Life, load: &Load) -> Outcome<f64> {
    drop(life.broker.connect()?);
    let one = Load { bytes: 1, batch_size: 0, record_size: 100, ..load.clone() };
    life.broker.explained(client::produce(&one))?;
    Ok(millis(life.broker.started.elapsed()))
}

fn log_size(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = begun(lab, DOHLE_SYNCED)?;
    let load = life.load(&STANDARD, n as f64 / 1e3);
    life.broker.explained(client::produce(&load))?;
    life.broker.kill()?;
    life.broker.again()?;
    first_ack(&mut life, &load)
}

fn length_start(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut long = Long::begin(lab, DOHLE_SYNCED, n)?;
    long.life.broker.restart()?;
    first_ack(&mut long.life, &long.one)
}

/// How often an offset is looked up, all over the log.
const LOOKUPS: u64 = 500;

/// Looks offsets up by their times, and how long each took.
fn look_up(long: &mut Long) -> Outcome<Vec<Duration>> {
    let mut connection = long.life.broker.connect()?;
    let mut look = |index: u64| {
        // A step that has nothing to do with the segments' size.
        let offset = index * 7_919 % long.batches;
        let start = Moment::now();
        let found = long.topic.offsets(&mut connection, long.written_at(offset)?)?;
        let took = start.elapsed();
        let right = found.as_deref() == Some(&[i64::try_from(offset)?]);
        if right { Ok(took) } else { Err(format!("{found:?} was found where {offset} is").into()) }
    };
    let found: Outcome<Vec<Duration>> = (0..LOOKUPS).map(&mut look).collect();
    long.life.broker.explained(found)
}

fn length_lookup(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut long = Long::begin(lab, DOHLE_SYNCED, n)?;
    look_up(&mut long)?;
    let mut took = look_up(&mut long)?;
    took.sort_unstable();
    Ok(1e3 * millis(took[took.len() / 2]))
}

fn length_memory(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut long = Long::begin(lab, DOHLE_SYNCED, n)?;
    look_up(&mut long)?;
    Ok(long.life.broker.process.read()?.rss_mib())
}

fn segments(lab: &Lab, n: u64) -> Outcome<f64> {
    const SEGMENT: u64 = 1 << 20;
    let mut life = begun(lab, DOHLE)?;
    let small = Shape { partitions: 1, topic_config: &["segment.bytes=1048576"], ..STANDARD };
    let load = life.load(&small, (n * SEGMENT) as f64 / 1e9);
    life.broker.explained(client::produce(&load))?;
    life.broker.restart()?;
    first_ack(&mut life, &load)
}

fn groups(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = Life::begin(lab, DOHLE_SYNCED, &[("group.initial.rebalance.delay.ms", "0")])?;
    let mut admin = life.broker.connect()?;
    let topic = Topic::create(&mut admin, "read", 1, &[])?;
    for index in 0..500 {
        wait_for_coordinator(&mut admin, &format!("group-{index}"))?;
    }
    let before = life.broker.process.read()?;
    let session = Duration::from_secs(1800);
    let members =
        (0..n).map(|index| Alone::join(&mut admin, &format!("group-{index}"), &topic.name, session));
    let members = life.broker.explained(members.collect::<Outcome<Vec<_>>>())?;
    let after = life.broker.process.read()?;
    drop(members);
    Ok(after.rss_mib() - before.rss_mib())
}

fn group_size(lab: &Lab, n: u64) -> Outcome<f64> {
    let settings = [("group.consumer.assignment.interval.ms", "0")];
    let mut life = Life::begin(lab, DOHLE_SYNCED, &settings)?;
    let mut admin = life.broker.connect()?;
    let topic = life.broker.explained(Topic::create(&mut admin, "read", 200, &[]))?;
    life.broker.explained(wait_for_coordinator(&mut admin, "cohort"))?;
    let mut cohort = Cohort::new(&life.broker.address, 8, "cohort", &topic)?;
    cohort.add(n as usize);
    let (_, cost) = life.broker.explained(costed(&life.broker.process, || cohort.settle()))?;
    Ok(1e3 * cost.broker_s)
}

fn parked_fetches(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = begun(lab, DOHLE)?;
    let mut admin = life.broker.connect()?;
    let quiet = life.broker.explained(Topic::create(&mut admin, "quiet", 1, &[]))?;
    let mut parked = Vec::new();
    for _ in 0..n {
        let mut connection = Connection::open(&life.broker.address)?;
        let request = FetchRequest { max_wait_ms: 600_000, ..end_of_log(&quiet, &connection)? };
        connection.leave(&request)?;
        parked.push(connection);
    }
    let small = Shape { partitions: 1, record_size: 100, batch_size: 0, ..STANDARD };
    let load = Load { seconds: Some(1.5), bytes: u64::MAX, ..life.load(&small, 0.0) };
    let (report, cost) = life.broker.explained(costed(&life.broker.process, || client::produce(&load)))?;
    drop(parked);
    Ok(1e6 * cost.broker_s / report.requests as f64)
}

fn fan_out(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = begun(lab, DOHLE)?;
    let shape = Shape { partitions: 1, readers: n as usize, rate: Some(40_000_000), ..STANDARD };
    let load = life.load(&shape, 0.12);
    let (report, cost) = life.broker.explained(costed(&life.broker.process, || client::end_to_end(&load)))?;
    let metrics = loads::at_the_tail(&report, &cost, load.readers);
    let out = metrics.iter().find(|(name, _)| *name == "cpu_s_per_gb_out").ok_or("no cost of going out")?;
    let (idle, ..) = at_rest(&life.broker.process, Duration::from_millis(200))?;
    if idle > 50.0 {
        return Err(format!("the broker still uses {idle:.0} % of a core afterwards").into());
    }
    Ok(out.1)
}

fn producer_ids(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = begun(lab, DOHLE)?;
    let mut connection = life.broker.connect()?;
    let topic = life.broker.explained(Topic::create(&mut connection, "written", 1, &[]))?;
    let version = connection.versions.of(ApiKey::Produce)?;
    let before = life.broker.process.read()?;
    for id in 0..n {
        let id = ProducerId(i64::try_from(id)?);
        let mut builder = BatchBuilder::new(Compression::None).producer(id, ProducerEpoch(0), Sequence(0));
        builder.append(TimestampMs(client::unix_millis()), None, Some(b"value"), &[]);
        let records = RecordBytes::from(builder.build(Offset::ZERO, LeaderEpoch::NONE).segments().to_vec());
        let request = client::request(&topic, version, -1, vec![(0, records)]);
        client::check(&connection.call(&request)?)?;
    }
    let after = life.broker.process.read()?;
    Ok(after.rss_mib() - before.rss_mib())
}

fn compaction(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = Life::begin(lab, DOHLE, background::OFTEN)?;
    background::compact(lab, &mut life, n as f64 / 1e3, 10_000, 4 << 20)?;
    Ok(life.broker.process.read()?.peak_mib())
}

fn record_size(lab: &Lab, n: u64) -> Outcome<f64> {
    per_gb(&mut begun(lab, DOHLE)?, &Shape { record_size: n as usize, ..STANDARD }, 1.0)
}
