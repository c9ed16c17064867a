//! Kafka's system-test programs, with the broker killed under those that write: what they say of themselves is the verdict.
//!
//! One test per program and way of running it; `kafka-programs/deny.tsv` says which are not asked yet.
#![allow(clippy::disallowed_methods)] // kills real processes at real times

mod trogdor;
mod verifiable;

use std::time::Duration;

use dohle_tests_clients::checks::Checks;
use dohle_tests_conformance::programs::Stage;

/// Few internal partitions, so that starting is quick, and no waiting for members.
pub const SETTINGS: [(&str, &str); 3] = [
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "3"),
    ("transaction.state.log.num.partitions", "3"),
];
const LIMIT: Duration = Duration::from_secs(120);

/// Kafka's check of its compaction: what is read after it is the last value of each key.
#[test]
fn log_compaction() {
    let Some(stage) = Stage::of("log-compaction", &[("log.cleaner.backoff.ms", "200")]) else { return };
    let arguments = "--bootstrap-server {broker} --messages 20000 --topics 2 --duplicates 5 --percent-deletes 10 --sleep 8";
    let said =
        stage.program("org.apache.kafka.tools.LogCompactionTester", arguments).succeeds(LIMIT * 2).said();
    let mut checks = Checks::of("log-compaction");
    checks.that(
        said.contains("Data verification is completed"),
        format!("it says that the data is right:\n{said}"),
    );
    checks.finish(1);
    stage.passed();
}
