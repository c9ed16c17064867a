//! What no load describes: whole nodes that start, rest, are killed, and are read cold.

#![allow(clippy::disallowed_methods)]

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Lab;
use super::broker::Broker;
use super::contestant::Contestant;
use super::loads::{self, Life, at_rest, costed};
use super::machine;
use super::process::Reading;
use super::scenario::{Metrics, STANDARD, Shape};
use crate::Outcome;
use crate::client::{self, Load};

/// What a broker may need to come to rest after its start, on one core.
const SETTLE: Duration = Duration::from_secs(5);

/// One record of a hundred bytes.
fn one(life: &mut Life) -> Load {
    Load { partitions: 1, record_size: 100, batch_size: 0, bytes: 1, ..life.load(&STANDARD, 0.0) }
}

pub fn start(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    let mut life = Life::begin(lab, contestant, &[])?;
    let listening = life.broker.started.elapsed();
    let one = one(&mut life);
    life.broker.explained(client::produce(&one))?;
    let acknowledged = life.broker.started.elapsed();
    Ok(vec![("start_ms", millis(acknowledged)), ("listening_ms", millis(listening))])
}

pub fn idle(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    let window = Duration::from_secs(lab.options.idle_seconds);
    let broker = Broker::ready(lab, contestant)?;
    thread::sleep(if lab.options.smoke { window } else { SETTLE });
    let (cpu_percent, reading, switches) = at_rest(&broker.process, window)?;
    Ok(vec![("rss_mib", reading.rss_mib()), ("cpu_percent", cpu_percent), ("switches_per_s", switches)])
}

pub fn memory(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    let mut life = Life::begin(lab, contestant, &[])?;
    let load = life.load(&STANDARD, lab.options.memory_gb);
    life.broker.explained(client::produce(&load))?;
    life.broker.explained(client::consume(&loads::back(&load)))?;
    let reading = life.broker.process.read()?;
    Ok(vec![("rss_mib", reading.rss_mib()), ("peak_mib", reading.peak_mib())])
}

pub fn binary(lab: &Lab, _: Contestant) -> Outcome<Metrics> {
    let bytes = std::fs::metadata(&lab.dohle)?.len();
    Ok(vec![("binary_mib", bytes as f64 / 1024.0 / 1024.0)])
}

/// What those see who start a broker, use it for seconds, and stop it.
pub fn cold(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const FIRST: f64 = 10.0;
    let first = FIRST.min(lab.options.rate_seconds);
    lab.machine.settle(8_000_000_000_u64.min((first * 1e9) as u64));
    let mut life = Life::begin(lab, contestant, &[])?;
    let load = Load { bytes: u64::MAX, seconds: Some(first), ..life.load(&STANDARD, 0.0) };
    let (produced, cost) = life.broker.explained(costed(&life.broker.process, || client::produce(&load)))?;
    let start = life.broker.process.read()?.cpu_seconds_since(&Reading::default()) - cost.broker_s;
    lab.detail("thread_s", json!(cost.threads));
    Ok(vec![
        ("produce_cpu_s_per_gb", cost.broker_s / (produced.bytes as f64 / 1e9)),
        ("produce_mb_per_s", produced.mb_per_s()),
        ("ack_p50_ms", produced.acknowledged.ms(0.5)),
        ("ack_p99_ms", produced.acknowledged.ms(0.99)),
        ("start_cpu_s", start),
    ])
}

pub fn killed(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    let mut life = Life::begin(lab, contestant, &[])?;
    let load = life.load(&STANDARD, lab.options.volume_gb);
    life.broker.explained(client::produce(&load))?;
    life.broker.kill()?;
    life.broker.again()?;
    drop(life.broker.connect()?);
    let listening = life.broker.started.elapsed();
    let more = Load { bytes: 1, batch_size: 0, ..load.clone() };
    life.broker.explained(client::produce(&more))?;
    let acknowledged = life.broker.started.elapsed();
    let cpu = life.broker.process.read()?.cpu_seconds_since(&Reading::default());
    // The page cache survives the process: every record is still there, and proved.
    let read = life.broker.explained(client::consume(&loads::back(&load)))?;
    if read.bytes != load.requests() * load.bytes_per_request() + 1024 {
        return Err(format!("{} bytes were read after the restart", read.bytes).into());
    }
    Ok(vec![
        ("first_ack_ms", millis(acknowledged)),
        ("listening_ms", millis(listening)),
        ("cpu_s", cpu),
        ("rss_mib", life.broker.process.read()?.rss_mib()),
    ])
}

/// The tail alone, then beside a reader of what is not in memory.
pub fn cold_scan(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const RATE: u64 = 50_000_000;
    let seconds = lab.options.rate_seconds;
    let mut life = Life::begin(lab, contestant, &[])?;
    let old = life.load(&STANDARD, lab.options.scan_gb);
    life.broker.explained(client::produce(&old))?;
    let paced = Shape { rate: Some(RATE), ..STANDARD };
    let gigabytes = RATE as f64 * seconds / 1e9;
    let warm = life.load(&paced, gigabytes / 4.0);
    life.broker.explained(client::end_to_end(&warm))?;
    let alone = life.load(&paced, gigabytes);
    lab.machine.settle(2 * alone.bytes);
    let alone = life.broker.explained(client::end_to_end(&alone))?;
    life.broker.forget_files()?;
    let beside = life.load(&paced, gigabytes);
    // What was forgotten soon belongs to the host.
    lab.machine.settle(old.bytes + 2 * beside.bytes);
    let broker = &life.broker;
    let (report, scanned) = thread::scope(|scope| {
        let scan = scope.spawn(|| {
            // One core is all that the client has: what the scan does with it is not to count as the broker's delay.
            machine::last_of_all();
            client::consume(&loads::back(&old))
        });
        let report = client::end_to_end(&beside);
        (report, scan.join().expect("the scan panicked"))
    });
    let (report, scanned) = (broker.explained(report)?, broker.explained(scanned)?);
    lab.detail("stalls", report.stalls.to_json());
    Ok(vec![
        ("alone_ack_p99_ms", alone.acknowledged.ms(0.99)),
        ("ack_p99_ms", report.acknowledged.ms(0.99)),
        ("ack_to_alone", report.acknowledged.ms(0.99) / alone.acknowledged.ms(0.99)),
        ("alone_e2e_p99_ms", alone.end_to_end.ms(0.99)),
        ("e2e_p99_ms", report.end_to_end.ms(0.99)),
        ("e2e_p99.99_ms", report.end_to_end.ms(0.9999)),
        ("longest_stall_ms", report.stalls.longest_ms()),
        ("scan_mb_per_s", scanned.mb_per_s()),
        ("rss_mib", broker.process.read()?.rss_mib()),
    ])
}

/// What has changed after hours, with retention at work all the time.
pub fn hour(lab: &Lab, contestant: Contestant) -> Outcome<Metrics> {
    const TENTHS: usize = 10;
    const RATE: u64 = 100_000_000;
    const SETTINGS: &[(&str, &str)] = &[("log.retention.check.interval.ms", "5000")];
    const TOPIC: &[&str] =
        &["segment.bytes=67108864", "retention.bytes=268435456", "file.delete.delay.ms=1000"];
    let seconds = if lab.options.smoke { 0.5 } else { lab.options.hours * 360.0 };
    let mut life = Life::begin(lab, contestant, SETTINGS)?;
    let load = life.load(&Shape { rate: Some(RATE), topic_config: TOPIC, ..STANDARD }, 0.0);
    let load = Load { bytes: (RATE as f64 * seconds) as u64, ..load };
    let tenths = if lab.options.smoke { 2 } else { TENTHS };
    let mut parts = Vec::new();
    for _ in 0..tenths {
        let part = costed(&life.broker.process, || client::end_to_end(&load));
        let (report, cost) = life.broker.explained(part)?;
        let rss = life.broker.process.read()?.rss_mib();
        lab.detail("stalls", report.stalls.to_json());
        let cpu = 1e6 * cost.broker_s / report.records as f64;
        parts.push((report.end_to_end.ms(0.99), report.end_to_end.ms(0.9999), cpu, rss));
    }
    lab.detail("tenths_p99_p99.99_cpu_rss", json!(parts));
    let (first, last) = (parts[0], parts[parts.len() - 1]);
    Ok(vec![
        ("first_e2e_p99_ms", first.0),
        ("last_e2e_p99_ms", last.0),
        ("first_e2e_p99.99_ms", first.1),
        ("last_e2e_p99.99_ms", last.1),
        ("first_cpu_us_per_record", first.2),
        ("last_cpu_us_per_record", last.2),
        ("first_rss_mib", first.3),
        ("last_rss_mib", last.3),
    ])
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
