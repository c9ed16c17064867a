//! A node that may have fewer files open than it has partitions: a record in each of them at once, a clean stop, and all are there again.
//! What is flushed or closed together is not to have more files open than the process may.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Target, dohle_binary};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;
use dohle_types::ErrorCode;
use rustix::process::{Resource, Rlimit, setrlimit};

/// What many machines allow, and twice as many partitions.
const FILES: u64 = 1024;
const TOPICS: [&str; 2] = ["few-files-a", "few-files-b"];
const PARTITIONS: i32 = 1000;
const PER_REQUEST: i32 = 200;
/// How long a new partition may have no leader.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn more_partitions_than_files() {
    // What builds it may open what it wants.
    dohle_binary();
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum: Some(FILES) })
        .expect("a lower limit");
    let mut target = Target::start();
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = Connection::open(at);
    for topic in TOPICS {
        numbered::create(&mut client, topic, PARTITIONS);
    }
    // One request after the other: what waits for its flush has its file open too, and is beside what may be open.
    for topic in TOPICS {
        (0..PARTITIONS).step_by(PER_REQUEST as usize).for_each(|first| one_each(&mut client, topic, first));
    }
    target.stop();
    assert!(target.log_dir().join(".kafka_cleanshutdown").is_file(), "the stop was not clean");
    target.restart();
    let mut client = Connection::open(at);
    for topic in TOPICS {
        for partition in (0..PARTITIONS).step_by(7) {
            assert_eq!(
                numbered::fetch(&mut client, topic, partition, 0),
                (0, vec![0]),
                "{topic}-{partition}"
            );
        }
    }
}

/// A record in each partition from `first` on, as soon as it has a leader.
fn one_each(client: &mut Connection, topic: &str, first: i32) {
    let until = Instant::now() + PATIENCE;
    let mut left: Vec<i32> = (first..first + PER_REQUEST).collect();
    while !left.is_empty() {
        let answers = numbered::produce_to(client, topic, &left, 0, 8).expect("an answer");
        let mut answers = answers.into_iter();
        left.retain(|partition| {
            let (code, offset) = answers.next().expect("one for each");
            match ErrorCode::from_code(code) {
                Some(ErrorCode::None) => assert_eq!(offset, 0, "{topic}-{partition}"),
                Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::NotLeaderOrFollower) => return true,
                other => panic!("{topic}-{partition}: {other:?}"),
            }
            false
        });
        assert!(Instant::now() < until, "{topic}: {} partitions have no leader", left.len());
    }
}
