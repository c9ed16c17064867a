//! `flush.messages` and `flush.ms` of a topic that `dohle.durability=replicated` leaves to the page cache: how far its log is flushed stands in
//! `recovery-point-offset-checkpoint`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Given, Target};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;
use dohle_wire::messages::create_topics_request::CreatableTopicConfig;

/// Long enough for a flush and the checkpoint of it, which is written every second.
const PATIENCE: Duration = Duration::from_secs(30);
/// No partition rests by then, which would have it flushed.
const NOT_SOONER: Duration = Duration::from_secs(4);

fn create(client: &mut Connection, topic: &str, configs: &[(&str, &str)]) {
    let of = |&(name, value): &(&str, &str)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let replicated = ("dohle.durability", "replicated");
    numbered::create_with(client, topic, 1, [replicated].iter().chain(configs).map(of).collect());
}

/// How far the log is flushed, as its directory tells.
fn flushed(target: &Target, topic: &str) -> i64 {
    let path = target.log_dir().join("recovery-point-offset-checkpoint");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{topic} 0 ")));
    line.map_or(0, |offset| offset.parse().expect("an offset"))
}

fn wait_for(target: &Target, topic: &str, offset: i64) {
    let until = Instant::now() + PATIENCE;
    while flushed(target, topic) < offset {
        assert!(Instant::now() < until, "{topic} is flushed up to {} only", flushed(target, topic));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn so_many_records_or_so_long() {
    let target = Target::with(Given::ByFlags, &[]);
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = Connection::open(at);
    create(&mut client, "many", &[("flush.messages", "3")]);
    create(&mut client, "timed", &[("flush.ms", "300")]);
    create(&mut client, "neither", &[]);
    for number in 0..2 {
        for topic in ["many", "timed", "neither"] {
            assert_eq!(numbered::produce(&mut client, topic, 0, number, 100), Some((0, number)));
        }
    }
    wait_for(&target, "timed", 2);
    std::thread::sleep(NOT_SOONER);
    assert_eq!((flushed(&target, "many"), flushed(&target, "neither")), (0, 0));
    for topic in ["many", "timed", "neither"] {
        assert_eq!(numbered::produce(&mut client, topic, 0, 2, 100), Some((0, 2)));
    }
    wait_for(&target, "many", 3);
    wait_for(&target, "timed", 3);
    assert_eq!(flushed(&target, "neither"), 0);
}
