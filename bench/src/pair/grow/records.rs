//! The size of records.

use super::super::Lab;
use super::super::contestant::DOHLE;
use super::super::loads::costed;
use super::super::scenario::{STANDARD, Shape};
use super::{begun, part, per_gb};
use crate::Outcome;
use crate::client;

/// Room for a record of a MiB.
const LARGE: &[&str] = &["max.message.bytes=2097152"];

/// Records are walked where they are not compressed.
pub fn batched(lab: &Lab, n: u64) -> Outcome<f64> {
    let shape = Shape { record_size: n as usize, topic_config: LARGE, ..STANDARD };
    per_gb(lab, &mut begun(lab, DOHLE)?, &shape, 0.6)
}

/// Microseconds of CPU a request of one record.
pub fn single(lab: &Lab, n: u64) -> Outcome<f64> {
    const MOST_REQUESTS: u64 = 20_000;
    const MOST_BYTES: u64 = 1_000_000_000;
    let shape =
        Shape { partitions: 1, record_size: n as usize, batch_size: 0, topic_config: LARGE, ..STANDARD };
    let mut life = begun(lab, DOHLE)?;
    let gigabytes = (MOST_REQUESTS * n).min(MOST_BYTES) as f64 * part(lab) / 1e9;
    let warm = life.load(&shape, gigabytes / 4.0);
    life.broker.explained(client::produce(&warm))?;
    let load = life.load(&shape, gigabytes);
    let (report, cost) = life.broker.explained(costed(&life.broker.process, || client::produce(&load)))?;
    Ok(1e6 * cost.broker_s / report.requests as f64)
}
