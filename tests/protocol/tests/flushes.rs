//! `flush.messages` and `flush.ms` of a topic that `dohle.durability=replicated` leaves to the page cache: how far its log is flushed stands in
//! `recovery-point-offset-checkpoint`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Given, Target};
use dohle_tests_protocol::configs::{self, Resource};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;
use dohle_wire::messages::create_topics_request::CreatableTopicConfig;

/// Long enough for a flush and the checkpoint of it, which is written every second.
const PATIENCE: Duration = Duration::from_secs(30);
/// No partition rests by then, which would have it flushed.
const NOT_SOONER: Duration = Duration::from_secs(4);
const MANY: i32 = 50;

fn create(client: &mut Connection, topic: &str, configs: &[(&str, &str)]) {
    create_many(client, topic, 1, configs);
}

fn create_many(client: &mut Connection, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
    let of = |&(name, value): &(&str, &str)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    // The records are old, and what retention closes is flushed.
    let kept = [("dohle.durability", "replicated"), ("retention.ms", "-1")];
    numbered::create_with(client, topic, partitions, kept.iter().chain(configs).map(of).collect());
}

/// How far the log is flushed, as its directory tells.
fn flushed(target: &Target, topic: &str, partition: i32) -> i64 {
    let path = target.log_dir().join("recovery-point-offset-checkpoint");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{topic} {partition} ")));
    line.map_or(0, |offset| offset.parse().expect("an offset"))
}

fn wait_for(target: &Target, topic: &str, partition: i32, offset: i64) {
    let until = Instant::now() + PATIENCE;
    while flushed(target, topic, partition) < offset {
        let reached = flushed(target, topic, partition);
        assert!(Instant::now() < until, "{topic}-{partition} is flushed up to {reached} only");
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
    wait_for(&target, "timed", 0, 2);
    std::thread::sleep(NOT_SOONER);
    assert_eq!((flushed(&target, "many", 0), flushed(&target, "neither", 0)), (0, 0));
    for topic in ["many", "timed", "neither"] {
        assert_eq!(numbered::produce(&mut client, topic, 0, 2, 100), Some((0, 2)));
    }
    wait_for(&target, "many", 0, 3);
    wait_for(&target, "timed", 0, 3);
    assert_eq!(flushed(&target, "neither", 0), 0);
}

/// What comes while a flush is under way is not forgotten by it, however the two meet.
#[test]
fn what_comes_during_a_flush_is_flushed_too() {
    const STEP: Duration = Duration::from_micros(100);
    let target = Target::with(Given::ByFlags, &[]);
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = Connection::open(at);
    create_many(&mut client, "meeting", MANY, &[("flush.ms", "1")]);
    for partition in 0..MANY {
        assert_eq!(numbered::produce(&mut client, "meeting", partition, 0, 100), Some((0, 0)));
        std::thread::sleep(STEP * partition.unsigned_abs());
        assert_eq!(numbered::produce(&mut client, "meeting", partition, 1, 100), Some((0, 1)));
    }
    (0..MANY).for_each(|partition| wait_for(&target, "meeting", partition, 2));
}

/// Records that wait, for nothing or for a day, follow when their topic is told to flush in less.
#[test]
fn what_waits_follows_new_settings() {
    let target = Target::with(Given::ByFlags, &[]);
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = Connection::open(at);
    for (topic, configs) in [("unset", &[][..]), ("long", &[("flush.ms", "86400000")])] {
        create(&mut client, topic, configs);
        assert_eq!(numbered::produce(&mut client, topic, 0, 0, 100), Some((0, 0)));
    }
    std::thread::sleep(NOT_SOONER);
    for topic in ["unset", "long"] {
        assert_eq!(flushed(&target, topic, 0), 0);
        configs::set(&mut client, Resource::Topic, topic, "flush.ms", "50");
        wait_for(&target, topic, 0, 1);
    }
}
