//! Connections: that are silent, that come all at once, that produce, that wait, that read.

#![allow(clippy::disallowed_methods)]

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use dohle_wire::messages::FetchRequest;

use super::super::Lab;
use super::super::contestant::DOHLE;
use super::super::crowds::BUSY;
use super::super::loads::{self, Cost, Life, at_rest, costed};
use super::super::measure::millis;
use super::super::scenario::{STANDARD, Shape};
use super::{begun, kib_more, part};
use crate::Outcome;
use crate::client::{self, Connection, Load, LoadReport, Moment, Topic, end_of_log};

/// What was freed is given back by then, and the work of connecting is over.
const CALM: Duration = Duration::from_secs(1);

fn silent(life: &Life, n: u64) -> Outcome<Vec<TcpStream>> {
    let open = |_| Connection::open(&life.broker.address).map(Connection::into_silence);
    life.broker.explained((0..n).map(open).collect())
}

pub fn memory(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = begun(lab, DOHLE)?;
    drop(life.broker.connect()?);
    kib_more(&mut life, |life| {
        let silent = silent(life, n)?;
        thread::sleep(CALM);
        Ok(silent)
    })
}

/// Milliseconds of CPU a second.
pub fn idle_cpu(lab: &Lab, n: u64) -> Outcome<f64> {
    let life = begun(lab, DOHLE)?;
    let silent = silent(&life, n)?;
    thread::sleep(CALM);
    let (percent, ..) =
        at_rest(&life.broker.process, Duration::from_secs(if lab.options.smoke { 1 } else { 4 }))?;
    drop(silent);
    Ok(10.0 * percent)
}

pub fn ack(lab: &Lab, n: u64) -> Outcome<f64> {
    const SECONDS: f64 = 3.0;
    let mut life = begun(lab, DOHLE)?;
    let silent = silent(&life, n)?;
    let busy = |life: &mut Life, seconds: f64| {
        let seconds = Some((seconds * part(lab)).max(0.1));
        let load = Load { seconds, bytes: u64::MAX, ..life.load(&BUSY, 0.0) };
        life.broker.explained(client::produce(&load))
    };
    busy(&mut life, SECONDS / 3.0)?;
    let report = busy(&mut life, SECONDS)?;
    drop(silent);
    Ok(report.acknowledged.ms(0.99))
}

pub fn storm(lab: &Lab, n: u64) -> Outcome<f64> {
    let life = begun(lab, DOHLE)?;
    let count = usize::try_from(n)?;
    // All were there before, and go at once.
    drop(life.broker.explained(Connection::storm(&life.broker.address, count))?);
    let start = Moment::now();
    let back = life.broker.explained(Connection::storm(&life.broker.address, count))?;
    let took = start.elapsed();
    drop(back);
    Ok(millis(took))
}

/// A rate of 20 MB/s from n producers together.
fn producing(lab: &Lab, n: u64) -> Outcome<(LoadReport, Cost)> {
    const RATE: u64 = 20_000_000;
    const SECONDS: f64 = 5.0;
    let mut life = begun(lab, DOHLE)?;
    let shape = Shape { connections: n as usize, rate: Some(RATE), batch_size: 16 << 10, ..STANDARD };
    let load = life.load(&shape, RATE as f64 / 1e9 * SECONDS * part(lab));
    life.broker.explained(costed(&life.broker.process, || client::produce(&load)))
}

/// Microseconds of CPU a record.
pub fn producers(lab: &Lab, n: u64) -> Outcome<f64> {
    let (report, cost) = producing(lab, n)?;
    Ok(1e6 * cost.broker_s / report.records as f64)
}

pub fn producers_ack(lab: &Lab, n: u64) -> Outcome<f64> {
    Ok(producing(lab, n)?.0.acknowledged.ms(0.99))
}

pub fn parked_fetches(lab: &Lab, n: u64) -> Outcome<f64> {
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
    let seconds = Some((1.5 * part(lab)).max(0.1));
    let load = Load { seconds, bytes: u64::MAX, ..life.load(&small, 0.0) };
    let (report, cost) = life.broker.explained(costed(&life.broker.process, || client::produce(&load)))?;
    drop(parked);
    Ok(1e6 * cost.broker_s / report.requests as f64)
}

pub fn fan_out(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = begun(lab, DOHLE)?;
    let shape = Shape { partitions: 1, readers: n as usize, rate: Some(40_000_000), ..STANDARD };
    let load = life.load(&shape, 0.12 * part(lab));
    let (report, cost) = life.broker.explained(costed(&life.broker.process, || client::end_to_end(&load)))?;
    let metrics = loads::at_the_tail(&report, &cost, load.readers);
    let out = metrics.iter().find(|(name, _)| *name == "cpu_s_per_gb_out").ok_or("no cost of going out")?;
    let (idle, ..) = at_rest(&life.broker.process, Duration::from_millis(200))?;
    if idle > 50.0 {
        return Err(format!("the broker still uses {idle:.0} % of a core afterwards").into());
    }
    Ok(out.1)
}
