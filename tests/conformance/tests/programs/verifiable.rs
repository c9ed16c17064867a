//! `VerifiableProducer` and `VerifiableConsumer`: each prints an event for what it sent, read, was assigned and committed.

use std::collections::BTreeMap;

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, everything};
use dohle_tests_conformance::programs::{Stage, named};
use serde_json::Value;

use super::{LIMIT, SETTINGS};

const PRODUCER: &str = "org.apache.kafka.tools.VerifiableProducer";
const CONSUMER: &str = "org.apache.kafka.tools.VerifiableConsumer";
const TOPIC: &str = "verified";
const PARTITIONS: usize = 3;
const RECORDS: usize = 20_000;
const KILLS: usize = 3;

/// With retries, as people run producers: a broker that is killed costs time and nothing else.
#[test]
fn producer_with_retries() {
    let Some(stage) = Stage::of("verifiable-producer retries", &SETTINGS) else { return };
    let retries = stage.file("retries.properties", "retries=2147483647\nenable.idempotence=true\n");
    let (mut checks, stage, events) =
        killed_under(stage, &format!("--acks -1 --command-config {}", retries.display()));
    let totals = named(&events, "tool_data").next().expect("a summary");
    checks.equal(totals["sent"].as_u64(), Some(RECORDS as u64), "records sent");
    checks.equal(totals["acked"].as_u64(), Some(RECORDS as u64), "records acknowledged");
    checks.equal(named(&events, "producer_send_error").count(), 0, "records that failed");
    let read = compared(&mut checks, &stage, &events);
    checks.equal(read, RECORDS, "records in the log: none lost, none twice");
    checks.finish(6);
    stage.passed();
}

/// Without, which is the program's own choice: a record that was under way may fail, and an acknowledged one is there.
#[test]
fn producer_without_retries() {
    let Some(stage) = Stage::of("verifiable-producer", &SETTINGS) else { return };
    let (mut checks, stage, events) = killed_under(stage, "--acks 1");
    let totals = named(&events, "tool_data").next().expect("a summary");
    let acknowledged = named(&events, "producer_send_success").count();
    let failed = named(&events, "producer_send_error").count();
    checks.equal(totals["sent"].as_u64(), Some((acknowledged + failed) as u64), "records sent");
    checks.equal(totals["acked"].as_u64(), Some(acknowledged as u64), "records acknowledged");
    let read = compared(&mut checks, &stage, &events);
    checks.that(
        read >= acknowledged && acknowledged > RECORDS / 2,
        format!("{read} in the log, {acknowledged} told"),
    );
    checks.finish(5);
    stage.passed();
}

/// Runs a producer while the broker is killed and started again; its events, and the checks so far.
fn killed_under(mut stage: Stage, arguments: &str) -> (Checks, Stage, Vec<Value>) {
    create_topic(&stage, PARTITIONS);
    let arguments = format!(
        "--bootstrap-server {{broker}} --topic {TOPIC} --max-messages {RECORDS} --throughput 5000 {arguments}"
    );
    let mut producer = stage.program(PRODUCER, &arguments);
    for kill in 1..=KILLS {
        let enough = RECORDS * kill / (KILLS + 2);
        producer.until("enough acknowledgements", LIMIT, |events| {
            named(events, "producer_send_success").count() >= enough
        });
        stage.target.kill();
        stage.target.restart();
    }
    let events = producer.succeeds(LIMIT).events();
    let mut checks = Checks::of("verifiable-producer");
    checks.equal(named(&events, "shutdown_complete").count(), 1, "an orderly end");
    (checks, stage, events)
}

/// What another client reads against what was acknowledged: one check; the answer is the number of records read.
fn compared(checks: &mut Checks, stage: &Stage, events: &[Value]) -> usize {
    let dump = stage.target.folder().join("verified.dump");
    let mut reader = Client::Java.start(&stage.target.bootstrap(), stage.target.folder());
    reader.ask(&format!("dump topic={TOPIC} partitions={PARTITIONS} file={}", dump.display()));
    let text = std::fs::read_to_string(&dump).expect("the dump");
    let stands: BTreeMap<(u64, u64), &str> = text
        .lines()
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut number = || words.next().and_then(|w| w.parse().ok()).expect("a number");
            ((number(), number()), words.next().expect("a value"))
        })
        .collect();
    let misplaced = named(events, "producer_send_success").find(|event| {
        let number = |field: &str| event[field].as_u64().expect("a number");
        stands.get(&(number("partition"), number("offset"))).copied() != event["value"].as_str()
    });
    checks.equal(misplaced, None, "the first acknowledged record that is not where it was acknowledged");
    stands.len()
}

fn create_topic(stage: &Stage, partitions: usize) {
    let mut admin = Client::Java.start(&stage.target.bootstrap(), stage.target.folder());
    admin.ask(&format!("create topic={TOPIC} partitions={partitions} replicas=1"));
}

#[test]
fn group_of_the_classic_protocol() {
    let Some(stage) = Stage::of("verifiable-consumer classic", &SETTINGS) else { return };
    let settings = stage.file("classic.properties", "heartbeat.interval.ms=300\n");
    group(
        stage,
        &format!("--group-protocol classic --session-timeout 10000 --command-config {}", settings.display()),
    );
}

#[test]
fn group_of_the_consumer_protocol() {
    let heartbeats = [
        ("group.consumer.min.heartbeat.interval.ms", "300"),
        ("group.consumer.heartbeat.interval.ms", "300"),
    ];
    let settings: Vec<_> = SETTINGS.into_iter().chain(heartbeats).collect();
    let Some(stage) = Stage::of("verifiable-consumer consumer", &settings) else { return };
    group(stage, "--group-protocol consumer");
}

const GROUP_PARTITIONS: usize = 4;
const GROUP_RECORDS: u64 = 12_000;

/// Two members share a topic that is being written; the broker is killed, then one of them leaves. Together they read every
/// record, and commit what they read.
fn group(mut stage: Stage, arguments: &str) {
    create_topic(&stage, GROUP_PARTITIONS);
    let records = if everything() { GROUP_RECORDS * 5 } else { GROUP_RECORDS };
    let member = |stage: &Stage| {
        let arguments =
            format!("--bootstrap-server {{broker}} --topic {TOPIC} --group-id together {arguments}");
        stage.program(CONSUMER, &arguments)
    };
    let mut first = member(&stage);
    first.until("all partitions", LIMIT, |events| assigned(events) == GROUP_PARTITIONS);
    let retries = stage.file("retries.properties", "retries=2147483647\nenable.idempotence=true\n");
    let arguments = format!(
        "--topic {TOPIC} --max-messages {records} --throughput 1500 --command-config {}",
        retries.display()
    );
    let producer = stage.program(PRODUCER, &format!("--bootstrap-server {{broker}} {arguments}"));
    let mut second = member(&stage);
    second.until("half of the partitions", LIMIT, |events| assigned(events) == GROUP_PARTITIONS / 2);
    second.until("a commit of the second member", LIMIT, |events| commits(events) > 0);
    stage.target.kill();
    stage.target.restart();
    let before = commits(&second.events());
    second.until("a commit after the restart", LIMIT, |events| commits(events) > before);
    let first = first.stop(LIMIT);
    let of_first = first.events();
    let produced = producer.succeeds(LIMIT).events();
    let mut checks = Checks::of("verifiable-consumer");
    checks.equal(named(&produced, "producer_send_success").count() as u64, records, "records acknowledged");
    second.until("everything read", LIMIT, |events| covered(&[&of_first, events]) == records);
    second.until("all partitions for the one that stays", LIMIT, |events| owned(events) == GROUP_PARTITIONS);
    let second = second.stop(LIMIT);
    for (name, member) in [("first", &first), ("second", &second)] {
        let events = member.events();
        checks.equal(
            named(&events, "shutdown_complete").count(),
            1,
            format!("the {name} member ends in order"),
        );
        checks.that(commits(&events) > 0, format!("the {name} member committed"));
    }
    let committed = ends_committed(&[&of_first, &second.events()]);
    checks.equal(committed, records, "the sum of the last offsets committed");
    checks.finish(6);
    stage.passed();
}

/// How many partitions the latest assignment that the member told of gave it.
fn assigned(events: &[Value]) -> usize {
    let latest = named(events, "partitions_assigned").last();
    latest.and_then(|e| e["partitions"].as_array()).map_or(0, Vec::len)
}

/// How many partitions the member has, by what was assigned and revoked, whole or in steps.
fn owned(events: &[Value]) -> usize {
    let mut owned = std::collections::BTreeSet::new();
    for event in events {
        let partitions =
            event["partitions"].as_array().into_iter().flatten().map(|p| p["partition"].as_u64());
        match event["name"].as_str() {
            Some("partitions_assigned") => owned.extend(partitions),
            Some("partitions_revoked") => partitions.for_each(|p| {
                owned.remove(&p);
            }),
            _ => {}
        }
    }
    owned.len()
}

fn commits(events: &[Value]) -> usize {
    let good = |event: &&Value| {
        event["success"] == true && event["offsets"].as_array().is_some_and(|offsets| !offsets.is_empty())
    };
    named(events, "offsets_committed").filter(good).count()
}

/// How many records of the topic the members have read without a gap from the first on; rereading is no fault.
fn covered(members: &[&[Value]]) -> u64 {
    let mut reads: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for event in members.iter().flat_map(|events| named(events, "records_consumed")) {
        for part in event["partitions"].as_array().into_iter().flatten() {
            let number = |field: &str| part[field].as_u64().expect("a number");
            reads.entry(number("partition")).or_default().push((number("minOffset"), number("maxOffset")));
        }
    }
    let without_gap = |mut reads: Vec<(u64, u64)>| {
        reads.sort_unstable();
        reads.into_iter().fold(0, |next, (from, to)| if from <= next { next.max(to + 1) } else { next })
    };
    reads.into_values().map(without_gap).sum()
}

/// The sum of the last offsets that the members committed in each partition.
fn ends_committed(members: &[&[Value]]) -> u64 {
    let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
    let all = members.iter().flat_map(|events| named(events, "offsets_committed"));
    for event in all.filter(|event| event["success"] == true) {
        for part in event["offsets"].as_array().into_iter().flatten() {
            let number = |field: &str| part[field].as_u64().expect("a number");
            let end = ends.entry(number("partition")).or_default();
            *end = number("offset").max(*end);
        }
    }
    ends.values().sum()
}

const COPIER: &str = "org.apache.kafka.tools.TransactionalMessageCopier";
const COPIED: &str = "copied";
const COPIED_RECORDS: u64 = 5_000;

/// Copies a partition in transactions, some of them aborted; the broker is killed. Whoever reads what is committed reads the
/// original: each record once, in its order.
#[test]
fn transactional_copier() {
    let Some(mut stage) = Stage::of("transactional-message-copier", &SETTINGS) else { return };
    create_topic(&stage, 1);
    let mut admin = Client::Java.start(&stage.target.bootstrap(), stage.target.folder());
    admin.ask(&format!("create topic={COPIED} partitions=1 replicas=1"));
    let arguments = format!("--bootstrap-server {{broker}} --topic {TOPIC} --max-messages {COPIED_RECORDS}");
    stage.program(PRODUCER, &arguments).succeeds(LIMIT);
    let arguments = format!(
        "--broker-list {{broker}} --input-topic {TOPIC} --input-partition 0 --output-topic {COPIED} \
         --consumer-group copier --transaction-size 100 --transactional-id copier --enable-random-aborts"
    );
    let mut copier = stage.program(COPIER, &arguments);
    let copied =
        |events: &[Value]| events.iter().filter_map(|e| e["totalProcessed"].as_u64()).max().unwrap_or(0);
    copier.until("a part of the copy", LIMIT, |events| copied(events) > COPIED_RECORDS / 5);
    stage.target.kill();
    stage.target.restart();
    let events = copier.succeeds(LIMIT * 2).events();
    let mut checks = Checks::of("transactional-message-copier");
    let last = events.iter().rfind(|e| !e["remaining"].is_null()).expect("the copier tells how far it is");
    checks.equal(last["remaining"].as_u64(), Some(0), "records that remain");
    let committed = stage.file("committed.properties", "isolation.level=read_committed\n");
    let arguments = format!(
        "--bootstrap-server {{broker}} --topic {COPIED} --group-id reader --max-messages {COPIED_RECORDS} --verbose \
         --command-config {}",
        committed.display()
    );
    let read = stage.program(CONSUMER, &arguments).succeeds(LIMIT).events();
    let values: Vec<&str> = named(&read, "record_data").filter_map(|e| e["value"].as_str()).collect();
    let wanted: Vec<String> = (0..COPIED_RECORDS).map(|n| n.to_string()).collect();
    checks.that(values == wanted, format!("{} committed records are the original", values.len()));
    checks.finish(2);
    stage.passed();
}
