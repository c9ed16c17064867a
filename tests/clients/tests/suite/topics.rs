//! Creates, lists, describes, alters, grows, purges and deletes topics, well and badly.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Stage;

/// Kafka's error codes, by the names in its protocol.
mod code {
    pub const OFFSET_OUT_OF_RANGE: i64 = 1;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i64 = 3;
    pub const INVALID_TOPIC_EXCEPTION: i64 = 17;
    pub const TOPIC_ALREADY_EXISTS: i64 = 36;
    pub const INVALID_PARTITIONS: i64 = 37;
    pub const INVALID_REPLICATION_FACTOR: i64 = 38;
    pub const INVALID_CONFIG: i64 = 40;
}

const TOPIC: &str = "managed";
/// How long a change may take until every client sees it; brokers follow their metadata log, clients have caches.
const SEEN_LIMIT: Duration = Duration::from_secs(15);
const SEEN_POLL: Duration = Duration::from_millis(50);

pub fn all(stage: &mut Stage) {
    for part in [create, describe, alter, grow, purge, delete, auto_create, cluster] {
        part(stage);
    }
}

/// One refusal with its error code.
fn refused(stage: &mut Stage, command: &str, wanted: i64) {
    let got = stage.writer().refused(command);
    stage.checks.equal(got, wanted, command);
}

/// Reads until what was read is what is wanted: one check.
fn seen(stage: &mut Stage, wanted: Value, what: &str, read: impl Fn(&mut Stage) -> Value) {
    let until = Instant::now() + SEEN_LIMIT;
    let mut got = read(stage);
    while got != wanted && Instant::now() < until {
        std::thread::sleep(SEEN_POLL);
        got = read(stage);
    }
    stage.checks.equal(got, wanted, what);
}

fn listed(stage: &mut Stage, topic: &str) -> Value {
    let reply = stage.writer().ask("list");
    reply["topics"].as_array().is_some_and(|t| t.contains(&json!(topic))).into()
}

fn config(stage: &mut Stage, key: &str, wanted: &str, what: &str) {
    seen(stage, json!(wanted), &format!("{key} {what}"), |stage| {
        stage.writer().ask(&format!("describe topic={TOPIC}"))["configs"][key].clone()
    });
}

fn create(stage: &mut Stage) {
    let wanted = format!(
        "create topic={TOPIC} partitions=3 replicas=1 config=retention.ms:3600000,cleanup.policy:compact"
    );
    stage.writer().ask(&wanted);
    seen(stage, json!(true), "a created topic is listed", |stage| listed(stage, TOPIC));
    refused(stage, &wanted, code::TOPIC_ALREADY_EXISTS);
    refused(stage, "create topic=bad/name partitions=1 replicas=1", code::INVALID_TOPIC_EXCEPTION);
    refused(stage, "create topic=nobody partitions=1 replicas=3", code::INVALID_REPLICATION_FACTOR);
    refused(stage, "create topic=nobody partitions=0 replicas=1", code::INVALID_PARTITIONS);
    refused(
        stage,
        "create topic=nobody partitions=1 replicas=1 config=retention.ms:soon",
        code::INVALID_CONFIG,
    );
    refused(stage, "create topic=nobody partitions=1 replicas=1 config=no.such.key:1", code::INVALID_CONFIG);
}

fn describe(stage: &mut Stage) {
    let node: i64 = stage.target.meta("node.id").parse().expect("node.id is a number");
    let reply = stage.writer().ask(&format!("describe topic={TOPIC}"));
    let partition = |p: i64| json!({"partition": p, "leader": node, "replicas": [node], "isr": [node]});
    stage.checks.equal(
        &reply["partitions"],
        &json!([partition(0), partition(1), partition(2)]),
        "the partitions",
    );
    for (key, value) in
        [("retention.ms", "3600000"), ("cleanup.policy", "compact"), ("segment.bytes", "1073741824")]
    {
        stage.checks.equal(&reply["configs"][key], &json!(value), key);
    }
    refused(stage, "describe topic=nobody", code::UNKNOWN_TOPIC_OR_PARTITION);
}

fn alter(stage: &mut Stage) {
    stage.writer().ask(&format!("alter topic={TOPIC} config=retention.ms:7200000,cleanup.policy:delete"));
    config(stage, "retention.ms", "7200000", "after alter");
    config(stage, "cleanup.policy", "delete", "after alter");
    stage.writer().ask(&format!("alter topic={TOPIC} config=segment.bytes:2097152"));
    let kept = if stage.writer.alters_incrementally() { "7200000" } else { "604800000" };
    config(stage, "segment.bytes", "2097152", "after alter");
    config(stage, "retention.ms", kept, "after another key was altered");
    refused(stage, &format!("alter topic={TOPIC} config=segment.bytes:small"), code::INVALID_CONFIG);
    refused(stage, &format!("alter topic={TOPIC} config=cleanup.policy:burn"), code::INVALID_CONFIG);
    config(stage, "segment.bytes", "2097152", "after refused changes");
    stage.writer().ask(&format!("reset topic={TOPIC} config=segment.bytes:"));
    config(stage, "segment.bytes", "1073741824", "after its reset");
}

fn grow(stage: &mut Stage) {
    stage.writer().ask(&format!("grow topic={TOPIC} partitions=5"));
    seen(stage, json!(5), "partitions after growing", |stage| {
        let reply = stage.writer().ask(&format!("describe topic={TOPIC}"));
        reply["partitions"].as_array().map(Vec::len).into()
    });
    refused(stage, &format!("grow topic={TOPIC} partitions=2"), code::INVALID_PARTITIONS);
    refused(stage, &format!("grow topic={TOPIC} partitions=5"), code::INVALID_PARTITIONS);
    refused(stage, "grow topic=nobody partitions=5", code::UNKNOWN_TOPIC_OR_PARTITION);
}

fn purge(stage: &mut Stage) {
    let contents = stage.contents(600, 300);
    stage.writer().ask(&format!("produce topic={TOPIC} {}", contents.arguments()));
    let reply = stage.writer().ask(&format!("purge topic={TOPIC} partition=0 offset=10"));
    stage.checks.equal(reply["low_watermark"].as_i64(), Some(10), "the low watermark after a purge");
    let reply = stage.writer().ask(&format!("ends topic={TOPIC} partitions=3"));
    stage.checks.equal(&reply["starts"], &json!([10, 0, 0]), "beginning offsets after a purge");
    stage.checks.equal(&reply["ends"], &json!([100, 100, 100]), "end offsets after a purge");
    refused(stage, &format!("seek topic={TOPIC} partition=0 offset=5"), code::OFFSET_OUT_OF_RANGE);
    refused(stage, &format!("purge topic={TOPIC} partition=0 offset=101"), code::OFFSET_OUT_OF_RANGE);
}

fn delete(stage: &mut Stage) {
    stage.writer().ask(&format!("delete topic={TOPIC}"));
    seen(stage, json!(false), "a deleted topic is listed", |stage| listed(stage, TOPIC));
    refused(stage, &format!("delete topic={TOPIC}"), code::UNKNOWN_TOPIC_OR_PARTITION);
}

/// Writing to a topic that nobody created makes it, with `num.partitions`.
fn auto_create(stage: &mut Stage) {
    let sent = stage.writer().ask("big topic=made-by-writing partition=0 bytes=10");
    stage.checks.equal(sent["offset"].as_i64(), Some(0), "the first record of a topic made by writing");
    seen(stage, json!(true), "a topic made by writing is listed", |stage| listed(stage, "made-by-writing"));
    let reply = stage.writer().ask("describe topic=made-by-writing");
    stage.checks.equal(
        reply["partitions"].as_array().map(Vec::len),
        Some(1),
        "partitions of a topic made by writing",
    );
}

fn cluster(stage: &mut Stage) {
    let (cluster, bootstrap) = (stage.target.meta("cluster.id"), stage.target.bootstrap());
    let reply = stage.writer().ask("cluster");
    stage.checks.equal(&reply["cluster"], &json!(cluster), "the cluster id");
    stage.checks.equal(&reply["nodes"], &json!([bootstrap]), "the brokers");
}
