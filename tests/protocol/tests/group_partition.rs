//! What becomes of groups when something happens to the partition that keeps them.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Given, Target};
use dohle_tests_protocol::configs::{self, Resource};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;
use dohle_tests_protocol::offsets::Committer;
use dohle_types::ErrorCode;
use dohle_wire::messages as m;

const IN_TIME: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const FOLLOWED: Duration = Duration::from_millis(500);
const OFFSETS: &str = "__consumer_offsets";

fn connect(target: &Target) -> Committer {
    Committer(Connection::open(target.bootstrap().parse().expect("an address")))
}

struct Groups {
    target: Target,
    client: Committer,
}

impl Groups {
    fn start(settings: &[(&str, &str)]) -> Self {
        let settings = [&[("offsets.topic.num.partitions", "1")], settings].concat();
        let target = Target::with(Given::ByFile, &settings);
        let mut client = connect(&target);
        numbered::create(&mut client.0, "t", 1);
        Self { target, client }
    }

    fn configure(&mut self, topic: &str, name: &str, value: &str) {
        configs::set(&mut self.client.0, Resource::Topic, topic, name, value);
    }
}

/// Groups go with the partition that keeps them. Who asks is told so, and finds a coordinator that knows nothing of them.
#[test]
fn groups_end_with_the_topic_that_keeps_them() {
    let mut groups = Groups::start(&[]);
    groups.client.commit_at_last("g", 7);
    groups.client.commit_at_last("other", 8);
    let names = vec![OFFSETS.into()];
    let request = m::DeleteTopicsRequest { topic_names: names, timeout_ms: 10_000, ..Default::default() };
    assert_eq!(groups.client.0.ask(&request, 5).expect("an answer").responses[0].error_code, 0);
    let until = Instant::now() + IN_TIME;
    while groups.client.committed("g") != Err(ErrorCode::NotCoordinator) {
        assert!(Instant::now() < until, "the coordinator goes on without its partition");
        std::thread::sleep(POLL);
    }
    assert_eq!(groups.client.commit("g", 9), ErrorCode::NotCoordinator);
    let told = groups.client.commit_at_last("g", 9);
    let passing =
        [ErrorCode::NotCoordinator, ErrorCode::CoordinatorNotAvailable, ErrorCode::CoordinatorLoadInProgress];
    assert!(told.iter().all(|code| passing.contains(code)), "{told:?}");
    assert_eq!((groups.client.committed("g"), groups.client.committed("other")), (Ok(9), Ok(-1)));
}

/// `min.insync.replicas` beyond the number of replicas asks for all of them, no more.
#[test]
fn a_topic_of_one_replica_needs_one() {
    let mut groups = Groups::start(&[]);
    groups.client.commit_at_last("g", 7);
    groups.configure(OFFSETS, "min.insync.replicas", "2");
    groups.configure("t", "min.insync.replicas", "2");
    // The broker follows its metadata a moment later.
    let until = Instant::now() + FOLLOWED;
    for offset in 8.. {
        assert_eq!(groups.client.commit("g", offset), ErrorCode::None);
        let produced = numbered::produce(&mut groups.client.0, "t", 0, offset, 100);
        assert_eq!(produced.map(|(code, _)| code), Some(0));
        if Instant::now() > until {
            break;
        }
    }
}

/// The least `offsets.load.buffer.size`: a coordinator is read back batch by batch.
#[test]
fn the_smallest_buffer_loads_every_group() {
    const GROUPS: i64 = 200;
    let mut groups = Groups::start(&[("offsets.load.buffer.size", "1")]);
    groups.client.commit_at_last("g0", 0);
    for number in 1..GROUPS {
        assert_eq!(groups.client.commit(&format!("g{number}"), number), ErrorCode::None);
    }
    groups.target.kill();
    groups.target.restart();
    groups.client = connect(&groups.target);
    groups.client.commit_at_last("g0", GROUPS);
    for number in 1..GROUPS {
        assert_eq!(groups.client.committed(&format!("g{number}")), Ok(number));
    }
    assert_eq!(groups.client.committed("g0"), Ok(GROUPS));
}
