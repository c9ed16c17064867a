//! What groups are told while the disk that keeps them takes its time.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::time::{Duration, Instant};

use dohle_env::disk::{Asked, SimDisk};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;
use dohle_tests_protocol::offsets::Committer;
use dohle_tests_within::{Node, Tap};
use dohle_types::ErrorCode;

const KEPT_IN: &str = "__consumer_offsets-0";
const COMMIT_TIMEOUT_MS: u64 = 400;
const IN_TIME: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

fn start(disk: &SimDisk, tap: &Tap) -> (Node, Committer) {
    let timeout = COMMIT_TIMEOUT_MS.to_string();
    let settings = [("offsets.topic.num.partitions", "1"), ("offsets.commit.timeout.ms", timeout.as_str())];
    let node = Node::start(disk, &settings, tap);
    let client = Committer(Connection::open(node.address));
    (node, client)
}

/// `offsets.commit.timeout.ms`: who commits is told in time, others are answered, and what was appended is there when it is stored.
#[test]
fn a_commit_that_is_not_stored_in_time_is_answered_and_not_lost() {
    let (disk, tap) = (SimDisk::new(1), Tap::default());
    let (node, mut client) = start(&disk, &tap);
    numbered::create(&mut client.0, "t", 1);
    client.commit_at_last("g", 7);
    tap.shut(Asked::Flush, KEPT_IN);
    let asked = Instant::now();
    assert_eq!(client.commit("g", 8), ErrorCode::CoordinatorNotAvailable);
    assert!(asked.elapsed() >= Duration::from_millis(COMMIT_TIMEOUT_MS), "{:?}", asked.elapsed());
    assert!(tap.waiting() > 0, "the flush is held back");
    let asked = Instant::now();
    assert_eq!(client.committed("g"), Err(ErrorCode::NotCoordinator), "what it would say is not stored yet");
    assert!(asked.elapsed() >= Duration::from_millis(COMMIT_TIMEOUT_MS), "{:?}", asked.elapsed());
    assert_eq!(numbered::produce(&mut client.0, "t", 0, 0, 100), Some((0, 0)), "others are served");
    tap.open();
    let until = Instant::now() + IN_TIME;
    while client.committed("g") != Ok(8) {
        assert!(Instant::now() < until, "it was appended, and is stored now");
        std::thread::sleep(POLL);
    }
    assert_eq!(client.commit("g", 9), ErrorCode::None);
    assert!(node.stop());
}

/// While a partition of groups is being read, its groups are told so, and others are served.
#[test]
fn a_coordinator_that_loads_says_so() {
    let (disk, tap) = (SimDisk::new(1), Tap::default());
    let (node, mut client) = start(&disk, &tap);
    numbered::create(&mut client.0, "t", 1);
    client.commit_at_last("g", 7);
    assert!(node.stop());
    tap.shut(Asked::Read, KEPT_IN);
    let (node, mut client) = start(&disk, &tap);
    let until = Instant::now() + IN_TIME;
    while tap.waiting() == 0 {
        assert!(Instant::now() < until, "nobody reads it");
        std::thread::sleep(POLL);
    }
    assert_eq!(client.commit("g", 8), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(client.committed("g"), Err(ErrorCode::CoordinatorLoadInProgress));
    assert_eq!(numbered::produce(&mut client.0, "t", 0, 0, 100), Some((0, 0)), "others are served");
    tap.open();
    let told = client.commit_at_last("h", 1);
    assert!(told.iter().all(|code| *code == ErrorCode::CoordinatorLoadInProgress), "{told:?}");
    assert_eq!((client.committed("g"), client.committed("h")), (Ok(7), Ok(1)));
    assert!(node.stop());
}
