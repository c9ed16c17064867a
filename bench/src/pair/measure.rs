//! How each scenario is measured: a broker in a fresh folder, a load, and the readings before and after.

#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use super::Lab;
use super::broker::{Broker, Contestant};
use super::machine::Cpu;
use super::process::Process;
use super::scenario::Metrics;
use crate::Outcome;
use crate::client::{self, Codec, Load, ReadBack};

/// The load that the promised figures are about.
fn standard(broker: &Broker, topic: &str, gigabytes: f64) -> Load {
    Load {
        broker: broker.address.clone(),
        topic: topic.to_owned(),
        partitions: 12,
        connections: 1,
        record_size: 1024,
        batch_size: 64 << 10,
        batches_per_request: 1,
        pipeline: 5,
        acks: -1,
        codec: Codec::None,
        bytes: (gigabytes * 1e9) as u64,
        rate: None,
        topic_config: Vec::new(),
    }
}

fn back(load: &Load) -> ReadBack {
    ReadBack {
        broker: load.broker.clone(),
        topic: load.topic.clone(),
        connections: load.connections,
        max_bytes: 50 << 20,
        partition_max_bytes: 1 << 20,
    }
}

pub fn start(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    let mut broker = Broker::start(lab, contestant)?;
    drop(broker.connect()?);
    let listening = broker.started.elapsed();
    let one =
        Load { partitions: 1, record_size: 100, batch_size: 0, bytes: 1, ..standard(&broker, "first", 0.0) };
    broker.explained(client::produce(&one))?;
    let acknowledged = broker.started.elapsed();
    Ok(vec![("start_ms", millis(acknowledged)), ("listening_ms", millis(listening))])
}

pub fn idle(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    /// What a broker may need to come to rest after its start, on one core.
    const SETTLE: Duration = Duration::from_secs(5);
    let window = Duration::from_secs(lab.options.idle_seconds);
    let broker = Broker::ready(lab, contestant)?;
    std::thread::sleep(if lab.options.smoke { window } else { SETTLE });
    let before = broker.process.read()?;
    std::thread::sleep(window);
    let after = broker.process.read()?;
    Ok(vec![
        ("rss_mib", after.rss_mib()),
        ("cpu_percent", 100.0 * after.cpu_seconds_since(&before) / window.as_secs_f64()),
        ("switches_per_s", (after.switches - before.switches) as f64 / window.as_secs_f64()),
    ])
}

pub fn throughput(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    in_and_out(lab, contestant, |load| load)
}

pub fn zstd(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    in_and_out(lab, contestant, |load| Load { codec: Codec::Zstd, ..load })
}

pub fn gzip(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    in_and_out(lab, contestant, |load| Load { codec: Codec::Gzip, ..load })
}

pub fn together(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    in_and_out(lab, contestant, |load| Load { batches_per_request: 12, ..load })
}

pub fn batches_16k(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    in_and_out(lab, contestant, |load| Load { batch_size: 16 << 10, ..load })
}

/// Produces, then consumes from the start, in the given variation of the standard load.
fn in_and_out(lab: &Lab, contestant: Contestant, vary: fn(Load) -> Load) -> Outcome<Metrics> {
    let gigabytes = lab.options.volume_gb;
    let broker = Broker::ready(lab, contestant)?;
    let warm = vary(standard(&broker, "warm", lab.options.warm_gb));
    broker.explained(client::produce(&warm))?;
    broker.explained(client::consume(&back(&warm)))?;
    lab.machine.heat_memory((gigabytes * 1.3e9) as u64);
    let load = vary(standard(&broker, "load", gigabytes));

    let (produced, produce) = broker.explained(costed(&broker.process, || client::produce(&load)))?;
    let (consumed, consume) = broker.explained(costed(&broker.process, || client::consume(&back(&load))))?;
    if consumed.records != produced.records || consumed.bytes != produced.bytes {
        return Err(format!("{} records were sent and {} read", produced.records, consumed.records).into());
    }
    let gigabytes = produced.bytes as f64 / 1e9;
    let per_request = produced.requests as f64;
    Ok(vec![
        ("cpu_s_per_gb", (produce.broker_s + consume.broker_s) / gigabytes),
        ("produce_cpu_s_per_gb", produce.broker_s / gigabytes),
        ("consume_cpu_s_per_gb", consume.broker_s / gigabytes),
        ("machine_cpu_s_per_gb", (produce.beside_client_s + consume.beside_client_s) / gigabytes),
        ("produce_mb_per_s", produced.mb_per_s()),
        ("consume_mb_per_s", consumed.mb_per_s()),
        ("ack_p50_ms", produced.acknowledged.ms(0.5)),
        ("ack_p99_ms", produced.acknowledged.ms(0.99)),
        ("switches_per_request", produce.switches / per_request),
        ("rss_mib", broker.process.read()?.rss_mib()),
    ])
}

pub fn memory(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    let broker = Broker::ready(lab, contestant)?;
    let load = standard(&broker, "load", lab.options.memory_gb);
    broker.explained(client::produce(&load))?;
    broker.explained(client::consume(&back(&load)))?;
    let reading = broker.process.read()?;
    Ok(vec![("rss_mib", reading.rss_mib()), ("peak_mib", reading.peak_mib())])
}

pub fn durability(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    let broker = Broker::ready(lab, contestant)?;
    // A volume that the slow side gets through, too.
    let gigabytes = lab.options.volume_gb / 4.0;
    broker
        .explained(client::produce(&Load { connections: 4, ..standard(&broker, "warm", gigabytes / 2.0) }))?;
    lab.machine.heat_memory((gigabytes * 1.3e9) as u64);
    let load = Load { connections: 4, ..standard(&broker, "load", gigabytes) };
    let (produced, cost) = broker.explained(costed(&broker.process, || client::produce(&load)))?;
    Ok(vec![
        ("produce_mb_per_s", produced.mb_per_s()),
        ("ack_p50_ms", produced.acknowledged.ms(0.5)),
        ("ack_p99_ms", produced.acknowledged.ms(0.99)),
        ("cpu_s_per_gb", cost.broker_s / (produced.bytes as f64 / 1e9)),
    ])
}

pub fn binary(lab: &Lab, _: Contestant) -> Outcome<Metrics> {
    let bytes = std::fs::metadata(&lab.dohle)?.len();
    Ok(vec![("binary_mib", bytes as f64 / 1024.0 / 1024.0)])
}

pub fn requests(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    /// Requests per gigabyte of volume asked for.
    const PER_GIGABYTE: f64 = 100_000.0;
    let broker = Broker::ready(lab, contestant)?;
    let small = |topic: &str, count: f64| Load {
        connections: 16,
        pipeline: 1,
        acks: 1,
        record_size: 100,
        batch_size: 0,
        bytes: (count * 100.0) as u64,
        ..standard(&broker, topic, 0.0)
    };
    broker.explained(client::produce(&small("warm", lab.options.warm_gb * PER_GIGABYTE)))?;
    let load = small("load", lab.options.volume_gb * PER_GIGABYTE);
    let (produced, cost) = broker.explained(costed(&broker.process, || client::produce(&load)))?;
    Ok(vec![
        ("requests_per_s", produced.requests_per_s()),
        ("cpu_us_per_request", 1e6 * cost.broker_s / produced.requests as f64),
        ("ack_p50_ms", produced.acknowledged.ms(0.5)),
        ("ack_p99_ms", produced.acknowledged.ms(0.99)),
        ("switches_per_request", cost.switches / produced.requests as f64),
    ])
}

pub fn latency(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const RATE: u64 = 100_000_000;
    let broker = Broker::ready(lab, contestant)?;
    let paced = |topic: &str, gigabytes| Load { rate: Some(RATE), ..standard(&broker, topic, gigabytes) };
    broker.explained(client::end_to_end(&paced("warm", lab.options.warm_gb)))?;
    lab.machine.heat_memory((lab.options.volume_gb * 1.3e9) as u64);
    let load = paced("load", lab.options.volume_gb);
    let (report, cost) = broker.explained(costed(&broker.process, || client::end_to_end(&load)))?;
    Ok(vec![
        ("e2e_p50_ms", report.end_to_end.ms(0.5)),
        ("e2e_p99_ms", report.end_to_end.ms(0.99)),
        ("e2e_p99.9_ms", report.end_to_end.ms(0.999)),
        ("e2e_p99.99_ms", report.end_to_end.ms(0.9999)),
        ("ack_p99_ms", report.acknowledged.ms(0.99)),
        ("cpu_us_per_record", 1e6 * cost.broker_s / report.records as f64),
    ])
}

pub fn rate(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const RATE: u64 = 20_000_000;
    /// What 5 ms of the rate fill.
    const BATCH: usize = 100_000;
    let broker = Broker::ready(lab, contestant)?;
    // Paced loads take their time: a tenth of the volume is enough.
    let paced = |topic: &str, gigabytes: f64| Load {
        rate: Some(RATE),
        batch_size: BATCH,
        ..standard(&broker, topic, gigabytes / 10.0)
    };
    broker.explained(client::produce(&standard(&broker, "warm", lab.options.warm_gb)))?;
    let load = paced("load", lab.options.volume_gb);
    let (report, cost) = broker.explained(costed(&broker.process, || client::end_to_end(&load)))?;
    Ok(vec![
        ("cpu_us_per_record", 1e6 * cost.broker_s / report.records as f64),
        ("e2e_p50_ms", report.end_to_end.ms(0.5)),
        ("e2e_p99_ms", report.end_to_end.ms(0.99)),
    ])
}

/// What a piece of work cost the broker and the machine.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub broker_s: f64,
    /// The whole machine's work less this client's: the kernel's write-back is nobody's otherwise.
    beside_client_s: f64,
    switches: f64,
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
    };
    Ok((done, cost))
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
