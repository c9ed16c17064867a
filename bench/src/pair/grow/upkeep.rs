//! What is done in the background all the time: retention while a load goes on and on, and compaction.

#![allow(clippy::disallowed_methods)]

use std::thread;
use std::time::Duration;

use super::super::contestant::DOHLE;
use super::super::loads::{Cost, Life, costed};
use super::super::scenario::{STANDARD, Shape};
use super::super::{Lab, background};
use super::part;
use crate::Outcome;
use crate::client::{self, Load, LoadReport};

/// Seconds of a load after which it is looked again.
const PIECE_S: u64 = 2;

/// The last piece of n seconds at 40 MB/s. Another piece before them is not counted: then segments of one partition end and go all the
/// time, as they do ever after.
fn aged(lab: &Lab, n: u64) -> Outcome<(Life, LoadReport, Cost)> {
    const RATE: u64 = 40_000_000;
    let mut life = Life::begin(lab, DOHLE, background::OFTEN)?;
    let shape = Shape { partitions: 1, rate: Some(RATE), topic_config: background::SHORT, ..STANDARD };
    let load = life.load(&shape, 0.0);
    let piece = Load { bytes: (RATE as f64 * PIECE_S as f64 * part(lab)) as u64, ..load };
    for _ in 0..n / PIECE_S {
        life.broker.explained(client::end_to_end(&piece))?;
    }
    let last = costed(&life.broker.process, || client::end_to_end(&piece));
    let (report, cost) = life.broker.explained(last)?;
    Ok((life, report, cost))
}

/// MiB.
pub fn aged_memory(lab: &Lab, n: u64) -> Outcome<f64> {
    Ok(aged(lab, n)?.0.broker.process.read()?.rss_mib())
}

/// Microseconds of CPU a record.
pub fn aged_cpu(lab: &Lab, n: u64) -> Outcome<f64> {
    let (_, report, cost) = aged(lab, n)?;
    Ok(1e6 * cost.broker_s / report.records as f64)
}

pub fn aged_latency(lab: &Lab, n: u64) -> Outcome<f64> {
    Ok(aged(lab, n)?.1.end_to_end.ms(0.99))
}

const SEGMENT: u64 = 4 << 20;

/// MiB at most while ten thousand keys are compacted.
pub fn compaction(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = Life::begin(lab, DOHLE, background::OFTEN)?;
    let load = background::keyed(&mut life, n as f64 / 1e3, 10_000);
    background::compact(lab, &mut life, &load, SEGMENT)?;
    Ok(life.broker.process.read()?.peak_mib())
}

/// MiB at most while n keys are compacted, with a map that has room for about 300,000.
pub fn compaction_keys(lab: &Lab, n: u64) -> Outcome<f64> {
    const SMALL_MAP: (&str, &str) = ("log.cleaner.dedupe.buffer.size", "8388608");
    /// As many as the largest of the quick sizes has keys. In a smoke run there are several segments still.
    const RECORDS: u64 = 1_000_000;
    const FEW_RECORDS: u64 = 150_000;
    const VALUE: u64 = 100;
    let mut life = Life::begin(lab, DOHLE, &[background::OFTEN, &[SMALL_MAP]].concat())?;
    let records = if lab.options.smoke { FEW_RECORDS } else { RECORDS };
    let bytes = records.max(n) * VALUE;
    let load = Load { record_size: VALUE as usize, bytes, ..background::keyed(&mut life, 0.0, n) };
    background::compact(lab, &mut life, &load, SEGMENT)?;
    Ok(life.broker.process.read()?.peak_mib())
}

/// Acknowledgements at 20 MB/s while a log of n MB is compacted.
pub fn compaction_ack(lab: &Lab, n: u64) -> Outcome<f64> {
    const RATE: u64 = 20_000_000;
    const LOOK: Duration = Duration::from_millis(500);
    const MOST_LOOKS: usize = 40;
    let seconds = if lab.options.smoke { 2 } else { 4 };
    let mut life = Life::begin(lab, DOHLE, background::OFTEN)?;
    let keyed = background::keyed(&mut life, n as f64 / 1e3, 10_000);
    let mut dirty = background::Dirty::filled(&mut life, &keyed, SEGMENT)?;
    let paced = Shape { rate: Some(RATE), ..STANDARD };
    let load = life.load(&paced, (RATE * seconds) as f64 / 1e9);
    let beside = dirty.release().and_then(|()| client::produce(&load));
    let report = life.broker.explained(beside)?;
    // A figure beside nothing would not count.
    for _ in 0..MOST_LOOKS {
        if life.broker.explained(dirty.has_shrunk())? {
            return Ok(report.acknowledged.ms(0.99));
        }
        thread::sleep(LOOK);
    }
    Err("nothing was compacted".into())
}
