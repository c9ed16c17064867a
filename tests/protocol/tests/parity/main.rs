//! What Dohle answers, beside what Apache Kafka 4.3.1 answered to the same requests in the same order on the same fresh state.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

mod admin;
mod classic;
mod cluster;
mod configs;
mod consume;
mod consumer_groups;
mod groups;
mod offsets;
mod produce;
mod sessions;
mod versions;

use dohle_tests_protocol::differences::{DIFFERENCES, OF_GROUPS};
use dohle_tests_protocol::run::Run;

/// The number of answers that are compared. It changes with the scripts only.
const CASES: usize = 3356;
/// As [`CASES`], of groups.
const GROUP_CASES: usize = 2203;

/// As Kafka's defaults, but that a group forms at once, is small enough to be full, and is assigned at once.
const GROUP_SETTINGS: &[(&str, &str)] = &[
    ("offsets.topic.num.partitions", "4"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.max.size", "3"),
    ("group.consumer.max.size", "3"),
    ("group.consumer.assignment.interval.ms", "0"),
];

#[test]
fn answers_are_kafkas() {
    let mut run = Run::start(&[("num.partitions", "2"), ("log.retention.ms", "-1")], DIFFERENCES);
    versions::script(&mut run);
    cluster::script(&mut run);
    produce::script(&mut run);
    consume::script(&mut run);
    admin::script(&mut run);
    configs::script(&mut run);
    let cases = run.cases;
    run.finish();
    assert_eq!(cases, CASES, "the number of cases that ran");
}

#[test]
fn answers_about_groups_are_kafkas() {
    let mut run = Run::start(GROUP_SETTINGS, OF_GROUPS);
    groups::before_the_topic(&mut run);
    groups::coordinators(&mut run);
    classic::script(&mut run);
    offsets::script(&mut run);
    consumer_groups::script(&mut run);
    groups::script(&mut run);
    let cases = run.cases;
    run.finish();
    assert_eq!(cases, GROUP_CASES, "the number of cases that ran");
}
