//! Logs that move between two directories of a broker, one after the other and without end, while something else is measured.

#![allow(clippy::disallowed_methods)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dohle_wire::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use dohle_wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use dohle_wire::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest};

use crate::Outcome;
use crate::client::{self, Connection, Load, Moment, Topic};

/// What a broker is started with that is to have two.
pub const TWO_DIRECTORIES: &[(&str, &str)] = &[("log.dirs", "{folder}/data,{folder}/second")];

/// How often it is looked whether a log has arrived.
const LOOK: Duration = Duration::from_millis(50);
/// Longer than any move here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Does the work while partitions of the loaded topic move; and how many have arrived, at least one.
pub fn beside<T: Send>(load: &Load, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, u64)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mover = scope.spawn(|| moves(load, &over));
        let done = work();
        over.store(true, Ordering::Relaxed);
        let moved = mover.join().expect("the mover panicked")?;
        Ok((done?, moved))
    })
}

fn moves(load: &Load, over: &AtomicBool) -> Outcome<u64> {
    let mut connection = Connection::open(&load.broker)?;
    let topic = Topic::found(&mut connection, &load.topic)?.ok_or("the topic to move is not there")?;
    let mut moved = 0;
    for partition in (0..topic.partitions).cycle() {
        if moved > 0 && over.load(Ordering::Relaxed) {
            break;
        }
        let places = places(&mut connection, &topic, partition)?;
        let away = places.iter().find(|place| !place.holds).ok_or("there is no second directory")?;
        ask(&mut connection, &topic, partition, &away.path)?;
        let start = Moment::now();
        while !arrived(&mut connection, &topic, partition, &away.path)? {
            if start.elapsed() > PATIENCE {
                return Err(format!("partition {partition} did not arrive in {}", away.path).into());
            }
            thread::sleep(LOOK);
        }
        moved += 1;
    }
    Ok(moved)
}

/// A log directory.
struct Place {
    path: String,
    /// Whether the partition's log is in it.
    holds: bool,
    /// Whether its copy is.
    comes: bool,
}

fn places(connection: &mut Connection, topic: &Topic, partition: i32) -> Outcome<Vec<Place>> {
    let asked = DescribableLogDirTopic {
        topic: topic.name.clone(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = DescribeLogDirsRequest { topics: Some(vec![asked]), ..Default::default() };
    let response = connection.call(&request)?;
    let place = |dir: dohle_wire::messages::describe_log_dirs_response::DescribeLogDirsResult| {
        let partitions = || dir.topics.iter().flat_map(|topic| &topic.partitions);
        Place {
            path: dir.log_dir.to_string(),
            holds: partitions().any(|partition| !partition.is_future_key),
            comes: partitions().any(|partition| partition.is_future_key),
        }
    };
    Ok(response.results.into_iter().map(place).collect())
}

fn arrived(connection: &mut Connection, topic: &Topic, partition: i32, path: &str) -> Outcome<bool> {
    let places = places(connection, topic, partition)?;
    Ok(places.iter().all(|place| !place.comes && place.holds == (place.path == path)))
}

fn ask(connection: &mut Connection, topic: &Topic, partition: i32, path: &str) -> Outcome<()> {
    let topics = vec![AlterReplicaLogDirTopic {
        name: topic.name.clone(),
        partitions: vec![partition],
        ..Default::default()
    }];
    let dirs = vec![AlterReplicaLogDir { path: path.into(), topics, ..Default::default() }];
    let response = connection.call(&AlterReplicaLogDirsRequest { dirs, ..Default::default() })?;
    let partitions = response.results.iter().flat_map(|topic| &topic.partitions);
    match partitions.map(|partition| partition.error_code).find(|&code| code != 0) {
        Some(code) => Err(client::name_of(code).into()),
        None => Ok(()),
    }
}
