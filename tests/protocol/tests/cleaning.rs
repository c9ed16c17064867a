//! The cleaner of a running broker: `log.cleaner.threads` logs at a time, one rate for all of them, and a log that it cannot compact.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Given, Target, free_port};
use dohle_tests_protocol::configs::{self, Resource};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::door::get;
use dohle_tests_protocol::numbered;
use dohle_wire::messages::create_topics_request::CreatableTopicConfig;

const PATIENCE: Duration = Duration::from_secs(60);
/// What bytes and the cleaner's work are counted in: the smallest segment there is.
const SEGMENT: usize = 1 << 20;
/// Two segments that are closed, and a part of one that is not.
const BATCHES: i64 = 10;
const KEYS: u32 = 8;
const VALUE: usize = SEGMENT / 4 / KEYS as usize - 64;
/// Closed segments are read once for their keys and once for their records.
const CLEANED: f64 = 2.0 * 2.0 * SEGMENT as f64;
const RATE: f64 = 4.0 * SEGMENT as f64;

/// A topic with closed segments that is not compacted yet.
fn fill(client: &mut Connection, topic: &str) {
    let of = |(name, value): (&str, String)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.as_str().into()),
        ..Default::default()
    };
    let segment = ("segment.bytes", SEGMENT.to_string());
    let configs =
        [("retention.ms", "-1".to_owned()), segment, ("min.cleanable.dirty.ratio", "0.01".to_owned())];
    numbered::create_with(client, topic, 1, configs.map(of).to_vec());
    for batch in 0..BATCHES {
        numbered::produce_keyed(client, topic, batch * i64::from(KEYS), KEYS, VALUE);
    }
}

fn compact(client: &mut Connection, topics: &[&str]) {
    for topic in topics {
        configs::set(client, Resource::Topic, topic, "cleanup.policy", "compact");
    }
}

/// Whether the cleaner's checkpoint tells of the topic.
fn is_compacted(folder: &Path, topic: &str) -> bool {
    let text = std::fs::read_to_string(folder.join("cleaner-offset-checkpoint")).unwrap_or_default();
    text.lines().any(|line| line.starts_with(&format!("{topic} 0 ")))
}

/// Whether a segment of the topic is being rewritten.
fn is_under_way(folder: &Path, topic: &str) -> bool {
    let entries = std::fs::read_dir(folder.join(format!("{topic}-0"))).expect("the partition's folder");
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.any(|name| name.ends_with(".log.cleaned"))
}

/// Waits until the topics are compacted. Gives how many were at the same time, at most.
fn watch(folder: &Path, topics: &[&str]) -> usize {
    let (began, mut most) = (Instant::now(), 0);
    while !topics.iter().all(|topic| is_compacted(folder, topic)) {
        assert!(began.elapsed() < PATIENCE, "not all are compacted");
        most = most.max(topics.iter().filter(|topic| is_under_way(folder, topic)).count());
        std::thread::sleep(Duration::from_millis(5));
    }
    most
}

/// How many records are left.
fn records(client: &mut Connection, topic: &str) -> usize {
    let (mut next, mut count) = (0, 0);
    while next < BATCHES * i64::from(KEYS) {
        let (error, numbers) = numbered::fetch(client, topic, 0, next);
        assert_eq!(error, 0);
        count += numbers.len();
        next = numbers.last().expect("the last record stays") + 1;
    }
    count
}

/// How many partitions are told of as those that cannot be compacted.
fn uncleanable(metrics: &str) -> Option<f64> {
    let text = get(metrics, "/metrics");
    let name = "kafka_log_logcleanermanager_uncleanable_partitions_count";
    let mut lines = text.lines().filter(|line| line.starts_with(name));
    lines.next()?.rsplit(' ').next()?.parse().ok()
}

#[test]
fn as_many_at_a_time_as_there_are_threads_and_no_faster_than_they_may() {
    let rate = RATE.to_string();
    let settings = [("log.cleaner.backoff.ms", "100"), ("log.cleaner.io.max.bytes.per.second", &*rate)];
    let target = Target::with(Given::ByFlags, &settings);
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = Connection::open(at);
    let all = ["one-by-one-a", "one-by-one-b", "together-a", "together-b"];
    all.iter().for_each(|topic| fill(&mut client, topic));
    for (threads, topics) in [(1, &all[..2]), (2, &all[2..])] {
        configs::set(&mut client, Resource::Broker, "", "log.cleaner.threads", &threads.to_string());
        let began = Instant::now();
        compact(&mut client, topics);
        let most = watch(&target.log_dir(), topics);
        let took = began.elapsed();
        assert_eq!(most, threads, "logs at a time");
        let least = Duration::from_secs_f64(0.9 * topics.len() as f64 * CLEANED / RATE);
        assert!(took >= least, "{threads} threads took {took:?}, and may not be done before {least:?}");
    }
    for topic in all {
        let closed = 2 * SEGMENT / (SEGMENT / 4);
        let left = records(&mut client, topic);
        let active = (BATCHES as usize - closed) * KEYS as usize;
        assert!(
            left < BATCHES as usize * KEYS as usize && left >= active,
            "{topic}: {left} records are left"
        );
    }
}

#[test]
fn a_log_that_cannot_be_compacted_is_told_of_once_and_serves_on() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let settings = [("log.cleaner.backoff.ms", "100"), ("dohle.metrics.listener", &*metrics)];
    let mut target = Target::with(Given::ByFlags, &settings);
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = Connection::open(at);
    ["broken", "sound"].iter().for_each(|topic| fill(&mut client, topic));
    target.stop();
    let segment = target.log_dir().join("broken-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).expect("the first segment");
    bytes[SEGMENT / 8] ^= 1;
    std::fs::write(&segment, bytes).expect("it is damaged");
    target.restart();
    let mut client = Connection::open(at);
    assert_eq!(uncleanable(&metrics), Some(0.0));
    compact(&mut client, &["broken", "sound"]);
    let began = Instant::now();
    while !is_compacted(&target.log_dir(), "sound") || uncleanable(&metrics) != Some(1.0) {
        assert!(began.elapsed() < PATIENCE, "{:?} are told of", uncleanable(&metrics));
        std::thread::sleep(Duration::from_millis(20));
    }
    // It grows, has another segment to compact, and is left alone.
    for batch in BATCHES..2 * BATCHES {
        numbered::produce_keyed(&mut client, "broken", batch * i64::from(KEYS), KEYS, VALUE);
    }
    std::thread::sleep(Duration::from_secs(1));
    assert!(!is_compacted(&target.log_dir(), "broken"));
    let log = std::fs::read_to_string(target.folder().join("broker.log")).expect("what the broker says");
    let said = log.lines().filter(|line| line.contains("a log cannot be compacted"));
    assert_eq!(said.count(), 1, "{log}");
    let last = 2 * BATCHES * i64::from(KEYS) - 1;
    let (error, numbers) = numbered::fetch(&mut client, "broken", 0, last);
    assert_eq!((error, numbers.last()), (0, Some(&last)));
}
