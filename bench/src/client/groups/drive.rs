//! Prepared requests over many connections: at a fixed rate, or each as soon as the one before it is answered.

#![allow(clippy::disallowed_methods)]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use dohle_wire::Request;

use crate::Outcome;
use crate::client::clock::Moment;
use crate::client::connection::{Connection, Frame, Receiver};
use crate::client::report::{Latencies, LoadReport};

/// A connection and what is sent on it, round and round.
#[derive(Debug)]
pub struct Lane {
    pub connection: Connection,
    pub frames: Vec<Frame>,
}

/// Sends `total` requests at `per_second` over all lanes in turn; latencies from the moment each was due.
pub fn at_rate<R: Request>(
    lanes: &mut [Lane],
    per_second: f64,
    total: u64,
    check: fn(&R::Response) -> Outcome<()>,
) -> Outcome<LoadReport> {
    let version = lanes.first().ok_or("no connections")?.connection.versions.of(R::KEY)?;
    let start = Moment::now();
    let latencies = thread::scope(|scope| {
        let mut senders = Vec::new();
        let mut readers = Vec::new();
        for lane in lanes.iter_mut() {
            let (due, dues) = mpsc::channel();
            let Connection { sender, receiver, .. } = &mut lane.connection;
            senders.push((sender, &mut lane.frames, due));
            readers.push(scope.spawn(move || read::<R>(receiver, version, &dues, check)));
        }
        let count = senders.len() as u64;
        for index in 0..total {
            let due = start.plus(Duration::from_secs_f64(index as f64 / per_second));
            due.wait();
            let (sender, frames, dues) = &mut senders[(index % count) as usize];
            let frame = ((index / count) % frames.len() as u64) as usize;
            // A reader that has ended tells why, below.
            if dues.send(due).is_err() {
                break;
            }
            sender.send(&mut frames[frame])?;
        }
        drop(senders);
        let mut sum = Latencies::default();
        for reader in readers {
            sum.add(&reader.join().expect("a reader panicked")?);
        }
        Outcome::Ok(sum)
    })?;
    Ok(LoadReport {
        requests: total,
        took: start.elapsed(),
        acknowledged: latencies,
        ..LoadReport::default()
    })
}

fn read<R: Request>(
    receiver: &mut Receiver,
    version: i16,
    dues: &mpsc::Receiver<Moment>,
    check: fn(&R::Response) -> Outcome<()>,
) -> Outcome<Latencies> {
    let mut latencies = Latencies::default();
    for due in dues {
        check(&receiver.receive::<R>(version)?)?;
        latencies.record(Moment::now().since(due), 1);
    }
    Ok(latencies)
}

/// Sends every frame of every lane `times` times, one request on its way per lane.
pub fn closed<R: Request>(
    lanes: &mut [Lane],
    times: usize,
    check: fn(&R::Response) -> Outcome<()>,
) -> Outcome<LoadReport> {
    let version = lanes.first().ok_or("no connections")?.connection.versions.of(R::KEY)?;
    let start = Moment::now();
    let mut sum = LoadReport::default();
    thread::scope(|scope| {
        let lane = |lane: &mut Lane| {
            let mut latencies = Latencies::default();
            for _ in 0..times {
                for frame in &mut lane.frames {
                    let sent = Moment::now();
                    lane.connection.sender.send(frame)?;
                    check(&lane.connection.receiver.receive::<R>(version)?)?;
                    latencies.record(Moment::now().since(sent), 1);
                }
            }
            Outcome::Ok(latencies)
        };
        let threads: Vec<_> = lanes.iter_mut().map(|l| scope.spawn(move || lane(l))).collect();
        for thread in threads {
            sum.acknowledged.add(&thread.join().expect("a lane panicked")?);
        }
        Outcome::Ok(())
    })?;
    sum.requests = lanes.iter().map(|l| (l.frames.len() * times) as u64).sum();
    sum.took = start.elapsed();
    Ok(sum)
}
