//! A node that may have fewer files open than it has partitions, and clients: a record in each partition at once, and all are there again
//! after a restart. Neither what waits for its flush, nor what is flushed or closed together, nor a crowd of clients has more open than
//! the process may.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Given, Target, dohle_binary};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;
use dohle_types::ErrorCode;
use dohle_wire::messages::api_versions_request::ApiVersionsRequest;
use dohle_wire::messages::create_topics_request::CreatableTopicConfig;
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
    let mut target = start();
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = Connection::open(at);
    for topic in TOPICS {
        numbered::create(&mut client, topic, PARTITIONS);
    }
    all_at_once(at, &TOPICS, 0);
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

/// Nobody has what is in the page cache flushed, until descriptors are needed for other partitions.
#[test]
fn more_unflushed_partitions_than_files() {
    let mut target = start();
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = Connection::open(at);
    for topic in TOPICS {
        numbered::create_with(&mut client, topic, PARTITIONS, vec![left_to_the_page_cache()]);
    }
    (0..3).for_each(|offset| all_at_once(at, &TOPICS, offset));
    target.kill();
    target.restart();
    let mut client = Connection::open(at);
    for topic in TOPICS {
        for partition in (0..PARTITIONS).step_by(7) {
            let found = numbered::fetch(&mut client, topic, partition, 0);
            assert_eq!(found, (0, vec![0, 1, 2]), "{topic}-{partition}");
        }
    }
}

/// Retention closes the segment of each of them, and makes the next one.
#[test]
fn retention_of_more_partitions_than_files() {
    let mut target = start_with(&[("log.retention.check.interval.ms", "2000")]);
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = patient(at);
    TOPICS.iter().for_each(|topic| numbered::create(&mut client, topic, PARTITIONS));
    all_at_once(at, &TOPICS, 0);
    let until = Instant::now() + 4 * PATIENCE;
    for topic in TOPICS {
        for partition in 0..PARTITIONS {
            while numbered::fetch(&mut client, topic, partition, 0).0 != ErrorCode::OffsetOutOfRange.code() {
                assert!(Instant::now() < until, "{topic}-{partition} still has its record");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    all_at_once(at, &TOPICS, 1);
    target.stop();
}

/// Some that nobody flushes stand before others that can close: those are flushed all the same, and the stop does not wait for ever.
#[test]
fn unflushed_partitions_among_others() {
    const FEW: i32 = 200;
    let mut target = start();
    let mut client = patient(target.bootstrap().parse().expect("an address"));
    numbered::create_with(&mut client, TOPICS[0], FEW, vec![left_to_the_page_cache()]);
    numbered::create(&mut client, TOPICS[1], PARTITIONS);
    one_each(&mut client, TOPICS[0], 0, 0);
    for first in (0..PARTITIONS).step_by(PER_REQUEST as usize) {
        one_each(&mut client, TOPICS[1], first, 0);
    }
    target.stop();
    assert!(target.log_dir().join(".kafka_cleanshutdown").is_file(), "the stop was not clean");
}

/// As many clients as are let in leave enough for the partitions.
#[test]
fn more_clients_than_files() {
    let mut target = start();
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = patient(at);
    let topic = &TOPICS[..1];
    numbered::create(&mut client, topic[0], PARTITIONS);
    all_at_once(at, topic, 0);
    let clients: Vec<_> = (0..FILES).map_while(|_| connected(at)).collect();
    assert!((FILES / 2..FILES * 3 / 4).contains(&(clients.len() as u64)), "{} clients", clients.len());
    for first in (0..PARTITIONS).step_by(PER_REQUEST as usize) {
        one_each(&mut client, topic[0], first, 1);
    }
    assert_eq!(numbered::fetch(&mut client, topic[0], 0, 0), (0, vec![0, 1]));
    drop(clients);
    let until = Instant::now() + PATIENCE;
    while connected(at).is_none() {
        assert!(Instant::now() < until, "nobody is let in after others have gone");
        std::thread::sleep(Duration::from_millis(20));
    }
    target.stop();
}

/// A node that may have [`FILES`] open, and keeps records of whatever age.
fn start() -> Target {
    start_with(&[("log.retention.ms", "-1")])
}

fn start_with(settings: &[(&str, &str)]) -> Target {
    // What builds it may open what it wants.
    dohle_binary();
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum: Some(FILES) })
        .expect("a lower limit");
    Target::with(Given::ByFile, settings)
}

fn left_to_the_page_cache() -> CreatableTopicConfig {
    let value = Some("replicated".into());
    CreatableTopicConfig { name: "dohle.durability".into(), value, ..Default::default() }
}

/// A client that was let in, and answered.
fn connected(at: SocketAddr) -> Option<Connection> {
    let mut client = Connection::try_open(at).ok()?;
    client.ask(&ApiVersionsRequest::default(), 0)?;
    Some(client)
}

/// A client that waits for flushes of a busy machine.
fn patient(at: SocketAddr) -> Connection {
    let client = Connection::open(at);
    client.socket.set_read_timeout(Some(2 * PATIENCE)).expect("a timeout");
    client
}

/// A record in each partition, from many clients.
fn all_at_once(at: SocketAddr, topics: &[&'static str], offset: i64) {
    let requests = topics
        .iter()
        .flat_map(|topic| (0..PARTITIONS).step_by(PER_REQUEST as usize).map(move |first| (*topic, first)));
    let senders: Vec<_> = requests
        .map(|(topic, first)| std::thread::spawn(move || one_each(&mut patient(at), topic, first, offset)))
        .collect();
    senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
}

/// A record in each partition from `first` on, as soon as it has a leader.
fn one_each(client: &mut Connection, topic: &str, first: i32, number: i64) {
    let until = Instant::now() + PATIENCE;
    let mut left: Vec<i32> = (first..first + PER_REQUEST).collect();
    while !left.is_empty() {
        let answers = numbered::produce_to(client, topic, &left, number, 8).expect("an answer");
        let mut answers = answers.into_iter();
        left.retain(|partition| {
            let (code, offset) = answers.next().expect("one for each");
            match ErrorCode::from_code(code) {
                Some(ErrorCode::None) => assert_eq!(offset, number, "{topic}-{partition}"),
                Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::NotLeaderOrFollower) => return true,
                other => panic!("{topic}-{partition}: {other:?}"),
            }
            false
        });
        assert!(Instant::now() < until, "{topic}: {} partitions have no leader", left.len());
    }
}
