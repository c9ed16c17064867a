//! Partitions: very many that do nothing beside one that does, and one load over very many.

#![allow(clippy::disallowed_methods)]

use std::thread;
use std::time::Duration;

use super::super::contestant::{DOHLE, DOHLE_SYNCED};
use super::super::loads::Life;
use super::super::scenario::{STANDARD, Shape};
use super::super::{Lab, crowds};
use super::{begun, count, kib_more, part, per_gb, us_each};
use crate::Outcome;
use crate::client::{self, Connection, FetchSession, Load, Topic};

/// A broker with so many partitions that were never written to.
fn crowded(lab: &Lab, n: u64) -> Outcome<(Life, Connection)> {
    let mut life = begun(lab, DOHLE)?;
    let mut admin = life.broker.connect()?;
    crowds::create(&mut life, &mut admin, n as usize)?;
    Ok((life, admin))
}

pub fn busy_one(lab: &Lab, n: u64) -> Outcome<f64> {
    let (mut life, _) = crowded(lab, n)?;
    per_gb(lab, &mut life, &Shape { partitions: 1, ..STANDARD }, 1.0)
}

pub fn memory(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = begun(lab, DOHLE)?;
    let mut admin = life.broker.connect()?;
    kib_more(&mut life, |life| {
        crowds::create(life, &mut admin, n as usize)?;
        thread::sleep(Duration::from_secs(1)); // what was freed is given back by then
        Ok(())
    })
}

/// A broker whose partitions rest soon.
fn restful(lab: &Lab) -> Outcome<Life> {
    Life::begin(lab, DOHLE_SYNCED, &[("dohle.partition.rest.ms", "500")])
}

/// Gives each of n new partitions a record, and waits until all of them rest: until no more files are closed.
fn write_and_rest(life: &mut Life, n: u64) -> Outcome<()> {
    const LOOK: Duration = Duration::from_secs(1);
    const MOST_LOOKS: usize = 120;
    let mut admin = life.broker.connect()?;
    crowds::create(life, &mut admin, n as usize)?;
    crowds::one_record_each(life, n as usize)?;
    thread::sleep(LOOK);
    let mut before = usize::MAX;
    for _ in 0..MOST_LOOKS {
        thread::sleep(LOOK);
        let now = life.broker.process.files()?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
    Err("the partitions do not come to rest".into())
}

pub fn rested_memory(lab: &Lab, n: u64) -> Outcome<f64> {
    kib_more(&mut restful(lab)?, |life| write_and_rest(life, n))
}

pub fn files(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = restful(lab)?;
    write_and_rest(&mut life, n)?;
    Ok(life.broker.process.files()? as f64)
}

pub fn maps(lab: &Lab, n: u64) -> Outcome<f64> {
    let mut life = restful(lab)?;
    write_and_rest(&mut life, n)?;
    Ok(life.broker.process.maps()? as f64)
}

/// One partition has something new for every fetch; the others of the session never have.
pub fn fetch_session(lab: &Lab, n: u64) -> Outcome<f64> {
    const VALUE: u64 = 100;
    let mut life = begun(lab, DOHLE)?;
    let mut admin = life.broker.connect()?;
    let idle = life.broker.explained(Topic::create(&mut admin, "idle", n as i32, &[]))?;
    let fetches = count(lab, 2_000);
    let one_each = Shape { partitions: 1, record_size: VALUE as usize, batch_size: 0, ..STANDARD };
    let load = Load { bytes: VALUE * (fetches + 1), ..life.load(&one_each, 0.0) };
    life.broker.explained(client::produce(&load))?;
    let busy = life.broker.explained(Topic::create(&mut admin, &load.topic, 1, &[]))?;
    let session = FetchSession::begin(&life.broker.address, &busy, &idle);
    let mut session = life.broker.explained(session)?;
    // The answer that made the session had the first batch.
    let mut next = 1;
    us_each(&life, fetches, |_| {
        let before = next;
        next = session.next(before)?;
        if next == before { Err(format!("nothing came at {before}").into()) } else { Ok(()) }
    })
}

/// Clients ask for what they use: one topic of one partition.
pub fn metadata(lab: &Lab, n: u64) -> Outcome<f64> {
    let (life, mut admin) = crowded(lab, n)?;
    life.broker.explained(Topic::create(&mut admin, "asked", 1, &[]))?;
    us_each(&life, count(lab, 2_000), |_| Topic::found(&mut admin, "asked").map(drop))
}

pub fn creation(lab: &Lab, n: u64) -> Outcome<f64> {
    let (life, mut admin) = crowded(lab, n)?;
    us_each(&life, count(lab, 200), |index| {
        Topic::create(&mut admin, &format!("new-{index}"), 1, &[]).map(drop)
    })
}

pub fn active(lab: &Lab, n: u64) -> Outcome<f64> {
    let shape = Shape { partitions: n as i32, batch_size: 16 << 10, ..STANDARD };
    per_gb(lab, &mut begun(lab, DOHLE)?, &shape, 0.5)
}

/// At 4 MB/s in batches of 4 KiB, in turn to all partitions, flushed before they are acknowledged.
pub fn active_ack(lab: &Lab, n: u64) -> Outcome<f64> {
    const RATE: u64 = 4_000_000;
    const SECONDS: f64 = 3.0;
    let shape = Shape { partitions: n as i32, batch_size: 4 << 10, ..STANDARD };
    let mut life = begun(lab, DOHLE_SYNCED)?;
    let each_once = life.load(&shape, 0.0);
    let each_once = Load { bytes: n * each_once.bytes_per_request(), ..each_once };
    life.broker.explained(client::produce(&each_once))?;
    let bytes = (RATE as f64 * SECONDS * part(lab)) as u64;
    let paced = Load { rate: Some(RATE), bytes, ..each_once };
    Ok(life.broker.explained(client::produce(&paced))?.acknowledged.ms(0.99))
}
