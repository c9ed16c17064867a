//! Kafka's check of a client against a broker, which gives itself ten seconds for all of it and so runs beside nothing else.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::time::Duration;

use dohle_tests_clients::checks::Checks;
use dohle_tests_conformance::programs::Stage;

const LIMIT: Duration = Duration::from_secs(60);

/// Kafka's check that a client of a version works with a broker: features, topics, records.
#[test]
fn client_compatibility() {
    let Some(stage) = Stage::of("client-compatibility", &[]) else { return };
    let acls = stage.advertises("DescribeAcls(29) v0");
    let mut arguments = "--bootstrap-server {broker} --topic compatible --num-cluster-nodes 1".to_owned();
    arguments += &format!(" --expect-record-too-large-exception false --describe-acls-supported {acls}");
    for feature in
        ["offsets-for-times", "cluster-id", "create-topics", "describe-configs", "idempotent-producer"]
    {
        arguments += &format!(" --{feature}-supported true");
    }
    let said =
        stage.program("org.apache.kafka.tools.ClientCompatibilityTest", &arguments).succeeds(LIMIT).said();
    let mut checks = Checks::of("client-compatibility");
    checks.that(said.lines().any(|l| l == "SUCCESS."), format!("it says success:\n{said}"));
    checks.finish(1);
    stage.passed();
}
