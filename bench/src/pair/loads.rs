//! How a load is measured: a broker that is warm, the load's shape, and readings before and after.

#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use serde_json::json;

use super::Lab;
use super::broker::Broker;
use super::contestant::Contestant;
use super::machine::Cpu;
use super::process::{Process, Reading};
use super::scenario::{Amount, Metrics, Shape, Way};
use super::syscalls;
use crate::Outcome;
use crate::client::{self, Load, LoadReport, Moment, ReadBack, Stalls};

/// A broker and how far it has come: warm-up is for the first load of a life, later ones need little of it.
#[derive(Debug)]
pub struct Life {
    pub broker: Broker,
    compiles: bool,
    topics: usize,
    warm: bool,
}

impl Life {
    pub fn begin(lab: &Lab, contestant: Contestant, settings: &[(&str, &str)]) -> Outcome<Self> {
        let mut broker = Broker::with(lab, contestant, settings)?;
        drop(broker.connect()?);
        let compiles = lab.file(contestant)?.compiles_while_it_runs;
        Ok(Self { broker, compiles, topics: 0, warm: false })
    }

    /// The shape as a load on a topic of its own.
    pub fn load(&mut self, shape: &Shape, gigabytes: f64) -> Load {
        self.topics += 1;
        Load {
            broker: self.broker.address.clone(),
            topic: format!("load-{}", self.topics),
            partitions: shape.partitions,
            connections: shape.connections,
            record_size: shape.record_size,
            batch_size: shape.batch_size,
            batches_per_request: shape.batches_per_request,
            pipeline: shape.pipeline,
            acks: shape.acks,
            codec: shape.codec,
            bytes: (gigabytes * 1e9) as u64,
            rate: shape.rate,
            seconds: None,
            keys: shape.keys,
            readers: shape.readers,
            topic_config: shape.topic_config.iter().map(|&setting| setting.to_owned()).collect(),
        }
    }

    /// As [`load`](Self::load), as much as the options say.
    fn whole(&mut self, lab: &Lab, shape: &Shape) -> Load {
        let seconds = lab.options.rate_seconds;
        match (shape.amount, shape.rate) {
            (Amount::Volume(part), _) => self.load(shape, lab.options.volume_gb * part),
            (Amount::Time, Some(rate)) => self.load(shape, rate as f64 * seconds / 1e9),
            (Amount::Time, None) => Load { seconds: Some(seconds), bytes: u64::MAX, ..self.load(shape, 0.0) },
        }
    }

    /// Loads of the shape, as fast as they go, until both `--warm-gb` and, where a compiler is at work, `--warm-seconds` are over.
    /// Small requests never make gigabytes: for them the seconds count. A warm broker gets a sixth of it for the new shape.
    fn warm_up(&mut self, lab: &Lab, way: Way, shape: &Shape) -> Outcome<()> {
        /// A broker that does not compile has nothing to warm but its topics.
        const WITHOUT_COMPILER: f64 = 2.0;
        let part = if self.warm { 1.0 / 6.0 } else { 1.0 };
        let most = if self.compiles { lab.options.warm_seconds } else { WITHOUT_COMPILER };
        let seconds = part * most.min(lab.options.warm_seconds);
        let wanted = match shape.amount {
            Amount::Volume(_) => part * lab.options.warm_gb * 1e9,
            Amount::Time => 0.0,
        };
        let fast = Shape { rate: None, topic_config: &[], ..*shape };
        let (start, mut sent) = (Moment::now(), 0.0);
        while start.elapsed().as_secs_f64() < seconds || sent < wanted {
            let gigabytes = (lab.options.warm_gb * part / 3.0).max(0.001);
            let load = Load { seconds: Some(seconds.clamp(0.5, 10.0)), ..self.load(&fast, gigabytes) };
            sent += self.broker.explained(client::produce(&load))?.bytes as f64;
            if way != Way::Produce {
                self.broker.explained(client::consume(&back(&load)))?;
            }
        }
        if shape.rate.is_some() {
            // What follows is calm: a broker that has just been chased may still be busy with what it left behind.
            let load = self.load(shape, shape.rate.unwrap_or(0) as f64 * seconds.min(5.0) / 1e9);
            self.broker.explained(client::end_to_end(&Load { readers: 1, ..load }))?;
        }
        self.warm = true;
        Ok(())
    }
}

pub fn back(load: &Load) -> ReadBack {
    ReadBack {
        broker: load.broker.clone(),
        topic: load.topic.clone(),
        connections: load.connections,
        max_bytes: 50 << 20,
        partition_max_bytes: 1 << 20,
    }
}

/// Warms up and measures.
pub fn measure(lab: &Lab, life: &mut Life, way: Way, shape: &Shape) -> Outcome<Metrics> {
    life.warm_up(lab, way, shape)?;
    let load = life.whole(lab, shape);
    lab.machine.settle((dirtied(lab, &load) * 1.3) as u64);
    let mut metrics = match way {
        Way::InAndOut => in_and_out(lab, &life.broker, &load)?,
        Way::Produce => produce(lab, &life.broker, &load)?,
        Way::EndToEnd => end_to_end(lab, &life.broker, &load)?,
    };
    if way != Way::EndToEnd {
        let again = life.whole(lab, shape);
        let few = Load { bytes: again.bytes / 16, seconds: again.seconds.map(|s| s / 8.0), ..again };
        let counted = syscalls::of(&life.broker.process, || client::produce(&few));
        if let (report, Some(count)) = life.broker.explained(counted)? {
            metrics.push(("syscalls_per_request", count / report.requests as f64));
        }
    }
    metrics.push(("rss_mib", life.broker.process.read()?.rss_mib()));
    Ok(metrics)
}

/// How many bytes a load makes the kernel keep, about.
fn dirtied(lab: &Lab, load: &Load) -> f64 {
    const MOST: f64 = 8e9;
    /// Small requests do not make more than this in a second.
    const SMALL: f64 = 100e6;
    let bytes = if load.seconds.is_some() { lab.options.rate_seconds * SMALL } else { load.bytes as f64 };
    bytes.min(MOST)
}

fn in_and_out(lab: &Lab, broker: &Broker, load: &Load) -> Outcome<Metrics> {
    let (produced, produce) = broker.explained(costed(&broker.process, || client::produce(load)))?;
    let (consumed, consume) = broker.explained(costed(&broker.process, || client::consume(&back(load))))?;
    if consumed.records != produced.records || consumed.bytes != produced.bytes {
        return Err(format!("{} records were sent and {} read", produced.records, consumed.records).into());
    }
    lab.detail("produce_thread_s", json!(produce.threads));
    lab.detail("consume_thread_s", json!(consume.threads));
    let gigabytes = produced.bytes as f64 / 1e9;
    Ok(vec![
        ("cpu_s_per_gb", (produce.broker_s + consume.broker_s) / gigabytes),
        ("produce_cpu_s_per_gb", produce.broker_s / gigabytes),
        ("consume_cpu_s_per_gb", consume.broker_s / gigabytes),
        ("machine_cpu_s_per_gb", (produce.beside_client_s + consume.beside_client_s) / gigabytes),
        ("produce_mb_per_s", produced.mb_per_s()),
        ("consume_mb_per_s", consumed.mb_per_s()),
        ("ack_p50_ms", produced.acknowledged.ms(0.5)),
        ("ack_p99_ms", produced.acknowledged.ms(0.99)),
        ("switches_per_request", produce.switches / produced.requests as f64),
    ])
}

fn produce(lab: &Lab, broker: &Broker, load: &Load) -> Outcome<Metrics> {
    let (produced, cost) = broker.explained(costed(&broker.process, || client::produce(load)))?;
    lab.detail("thread_s", json!(cost.threads));
    let requests = produced.requests as f64;
    Ok(vec![
        ("produce_mb_per_s", produced.mb_per_s()),
        ("requests_per_s", produced.requests_per_s()),
        ("ack_p50_ms", produced.acknowledged.ms(0.5)),
        ("ack_p99_ms", produced.acknowledged.ms(0.99)),
        ("ack_p99.9_ms", produced.acknowledged.ms(0.999)),
        ("cpu_s_per_gb", cost.broker_s / (produced.bytes as f64 / 1e9)),
        ("cpu_us_per_request", 1e6 * cost.broker_s / requests),
        ("switches_per_request", cost.switches / requests),
    ])
}

fn end_to_end(lab: &Lab, broker: &Broker, load: &Load) -> Outcome<Metrics> {
    let (report, cost) = broker.explained(costed(&broker.process, || client::end_to_end(load)))?;
    lab.detail("thread_s", json!(cost.threads));
    lab.detail("stalls", report.stalls.to_json());
    Ok(at_the_tail(&report, &cost, load.readers))
}

/// What an end-to-end run tells.
pub fn at_the_tail(report: &LoadReport, cost: &Cost, readers: usize) -> Metrics {
    let out = report.bytes as f64 / 1e9 * readers.max(1) as f64;
    const { assert!(Stalls::LATE.as_millis() == 10, "the name of a figure says so") };
    vec![
        ("e2e_p50_ms", report.end_to_end.ms(0.5)),
        ("e2e_p99_ms", report.end_to_end.ms(0.99)),
        ("e2e_p99.9_ms", report.end_to_end.ms(0.999)),
        ("e2e_p99.99_ms", report.end_to_end.ms(0.9999)),
        ("ack_p50_ms", report.acknowledged.ms(0.5)),
        ("ack_p99_ms", report.acknowledged.ms(0.99)),
        ("stalls_over_10_ms", report.stalls.count() as f64),
        ("longest_stall_ms", report.stalls.longest_ms()),
        ("cpu_us_per_record", 1e6 * cost.broker_s / report.records as f64),
        ("cpu_s_per_gb_out", cost.broker_s / out),
    ]
}

/// What a piece of work cost the broker and the machine.
#[derive(Clone, Debug)]
pub struct Cost {
    pub broker_s: f64,
    /// The whole machine's work less this client's: the kernel's write-back is nobody's otherwise.
    pub beside_client_s: f64,
    pub switches: f64,
    /// The broker's CPU seconds by its threads' names.
    pub threads: std::collections::BTreeMap<String, f64>,
}

pub fn costed<T>(process: &Process, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Cost)> {
    let us = Process::new(std::process::id());
    let (broker, client, machine) = (process.read()?, us.read()?, Cpu::read());
    let done = work()?;
    let (broker_after, client_after, machine_after) = (process.read()?, us.read()?, Cpu::read());
    let client_s = client_after.cpu_seconds_since(&client);
    let cost = Cost {
        broker_s: broker_after.cpu_seconds_since(&broker),
        beside_client_s: (machine_after.since(&machine).busy_seconds() - client_s).max(0.0),
        switches: broker_after.switches.saturating_sub(broker.switches) as f64,
        threads: broker_after.threads_since(&broker),
    };
    Ok((done, cost))
}

/// CPU of a process in percent of a core over a time in which nobody asks it for anything.
pub fn at_rest(process: &Process, window: Duration) -> Outcome<(f64, Reading, f64)> {
    let before = process.read()?;
    std::thread::sleep(window);
    let after = process.read()?;
    let seconds = window.as_secs_f64();
    let switches = after.switches.saturating_sub(before.switches) as f64 / seconds;
    Ok((100.0 * after.cpu_seconds_since(&before) / seconds, after, switches))
}
