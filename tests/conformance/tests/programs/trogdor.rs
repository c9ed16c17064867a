//! Trogdor's workloads, each in an agent that runs one task to its end and tells how it went.

use std::time::Duration;

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, everything};
use dohle_tests_clients::target::free_port;
use dohle_tests_conformance::programs::{Program, Stage};
use serde_json::{Value, json};

use super::{LIMIT, SETTINGS};

const RECORDS: u64 = 20_000;
const KILLS: u32 = 2;
/// What the broker lives between two kills.
const LIFE: Duration = Duration::from_millis(1200);
/// Beyond the minute that the consumer's workload sleeps before it looks whether it is done.
const CONSUME_LIMIT: Duration = Duration::from_secs(150);

/// Writes at a rate to some topics while others lie idle.
#[test]
fn produce_bench() {
    let Some(mut stage) = Stage::of("trogdor produce-bench", &SETTINGS) else { return };
    let agent = produce(&stage, "bench[0-1]", 5_000);
    killed_under(&mut stage, &agent);
    let status = status(agent);
    let mut checks = Checks::of("trogdor produce-bench");
    checks.equal(status["totalSent"].as_u64(), Some(RECORDS), format!("records sent: {status}"));
    let written: u64 = ["bench0", "bench1"].map(|topic| end(&stage, topic, 2)).iter().sum();
    checks.equal(written, RECORDS, "records in the logs");
    checks.finish(2);
    stage.passed();
}

/// Every record written is waited for by a consumer in the same process.
#[test]
fn round_trip() {
    let Some(mut stage) = Stage::of("trogdor round-trip", &SETTINGS) else { return };
    let agent = task(
        &stage,
        json!({
            "class": "org.apache.kafka.trogdor.workload.RoundTripWorkloadSpec",
            "durationMs": 120_000, "clientNode": "node0", "bootstrapServers": stage.target.bootstrap(),
            "targetMessagesPerSec": 5_000, "maxMessages": RECORDS,
            "producerConf": {"max.block.ms": "60000", "request.timeout.ms": "30000"},
            "valueGenerator": {"type": "sequential", "size": 200},
            "activeTopics": {"trip[0-1]": {"numPartitions": 2, "replicationFactor": 1}}
        }),
    );
    killed_under(&mut stage, &agent);
    let status = status(agent);
    let mut checks = Checks::of("trogdor round-trip");
    checks.equal(status["totalUniqueSent"].as_u64(), Some(RECORDS), "records sent");
    checks.equal(status["totalReceived"].as_u64(), Some(RECORDS), "records that came back");
    checks.finish(2);
    stage.passed();
}

/// Two agents at once: one reads as a group, the other gives each of its threads all partitions. Part of the long run: the
/// workload sleeps for a minute before it looks whether it is done.
#[test]
fn consume_bench() {
    if !everything() {
        return println!("*** trogdor consume-bench RUNS IN THE LONG RUN ONLY (DOHLE_TEST_FULL=1)");
    }
    let Some(stage) = Stage::of("trogdor consume-bench", &SETTINGS) else { return };
    status(produce(&stage, "bench[0-1]", 20_000));
    let consume = |threads: u32, group: &str, topics: Value| {
        task(
            &stage,
            json!({
                "class": "org.apache.kafka.trogdor.workload.ConsumeBenchSpec",
                "durationMs": 140_000, "consumerNode": "node0", "bootstrapServers": stage.target.bootstrap(),
                "targetMessagesPerSec": 20_000, "maxMessages": RECORDS, "threadsPerWorker": threads,
                "consumerGroup": group, "activeTopics": topics
            }),
        )
    };
    let agents = [
        consume(1, "readers", json!(["bench[0-1]"])),
        consume(2, "", json!(["bench0:[0-1]", "bench1:[0-1]"])),
    ];
    let mut checks = Checks::of("trogdor consume-bench");
    for (agent, threads) in agents.into_iter().zip([1, 2]) {
        let status = status_within(agent, CONSUME_LIMIT);
        let received: Vec<Option<u64>> = status
            .as_object()
            .into_iter()
            .flat_map(|consumers| consumers.values())
            .map(|consumer| consumer["totalMessagesReceived"].as_u64())
            .collect();
        checks.equal(
            received,
            vec![Some(RECORDS); threads],
            format!("records that each consumer got: {status}"),
        );
    }
    checks.finish(2);
    stage.passed();
}

/// Connects, asks for metadata and goes, as often as it can be asked to.
#[test]
fn connection_stress() {
    let Some(stage) = Stage::of("trogdor connection-stress", &SETTINGS) else { return };
    let stress = |action: &str| {
        task(
            &stage,
            json!({
                "class": "org.apache.kafka.trogdor.workload.ConnectionStressSpec",
                "durationMs": 3_000, "clientNode": "node0", "bootstrapServers": stage.target.bootstrap(),
                "targetConnectionsPerSec": 200, "numThreads": 2, "action": action
            }),
        )
    };
    let mut checks = Checks::of("trogdor connection-stress");
    for action in ["CONNECT", "FETCH_METADATA"] {
        let status = status(stress(action));
        checks.equal(
            status["totalFailedConnections"].as_u64(),
            Some(0),
            format!("{action} that failed: {status}"),
        );
        let made = status["totalConnections"].as_u64();
        checks.that(made.is_some_and(|n| n > 0), format!("{action} that were made: {status}"));
    }
    checks.finish(4);
    stage.passed();
}

fn produce(stage: &Stage, topics: &str, per_second: u32) -> Program {
    task(
        stage,
        json!({
            "class": "org.apache.kafka.trogdor.workload.ProduceBenchSpec",
            "durationMs": 120_000, "producerNode": "node0", "bootstrapServers": stage.target.bootstrap(),
            "targetMessagesPerSec": per_second, "maxMessages": RECORDS,
            "producerConf": {"max.block.ms": "60000"},
            "activeTopics": {topics: {"numPartitions": 2, "replicationFactor": 1}},
            "inactiveTopics": {"idle[0-2]": {"numPartitions": 2, "replicationFactor": 1}}
        }),
    )
}

/// An agent that runs one task and ends with it.
fn task(stage: &Stage, spec: Value) -> Program {
    let port = free_port();
    let nodes = json!({"node0": {"hostname": "localhost", "trogdor.agent.port": port}});
    let platform = json!({"platform": "org.apache.kafka.trogdor.basic.BasicPlatform", "nodes": nodes});
    let config = stage.file(&format!("agent-{port}.json"), &platform.to_string());
    let spec = stage.file(&format!("task-{port}.json"), &spec.to_string());
    let arguments =
        format!("--agent.config {} --node-name node0 --exec {}", config.display(), spec.display());
    stage.program("org.apache.kafka.trogdor.agent.Agent", &arguments)
}

/// Kills the broker again and again while the agent works.
fn killed_under(stage: &mut Stage, agent: &Program) {
    let began = std::time::Instant::now();
    while !agent.said().contains("Waiting for completion") {
        assert!(began.elapsed() < LIMIT, "the agent does not begin:\n{}", agent.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..KILLS {
        std::thread::sleep(LIFE);
        stage.target.kill();
        stage.target.restart();
    }
}

fn status(agent: Program) -> Value {
    status_within(agent, LIMIT)
}

/// What the task told at its end. The agent has said all when it begins to shut down; how it goes on is not waited for: two hooks of
/// its process stop one REST server, and now and then neither comes to an end.
fn status_within(agent: Program, limit: Duration) -> Value {
    let said = agent.says("Running agent shutdown hook", limit);
    let told =
        said.split_once("Task succeeded with status ").unwrap_or_else(|| panic!("no success:\n{said}")).1;
    let mut values = serde_json::Deserializer::from_str(told).into_iter();
    values.next().and_then(Result::ok).unwrap_or_else(|| panic!("no status:\n{said}"))
}

/// The sum of a topic's end offsets.
fn end(stage: &Stage, topic: &str, partitions: u32) -> u64 {
    let mut reader = Client::Java.start(&stage.target.bootstrap(), stage.target.folder());
    let reply = reader.ask(&format!("ends topic={topic} partitions={partitions}"));
    reply["ends"].as_array().into_iter().flatten().filter_map(Value::as_u64).sum()
}
