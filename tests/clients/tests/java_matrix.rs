//! Every release of Kafka's Java client that is in wide use: administers, writes with all codecs, reads by assignment, seeks,
//! and reads as a group, against the newest client as the other side. Then those that are too old.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::process::Command;
use std::time::Duration;

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, JavaRelease, Session, jvm};
use dohle_tests_clients::content::Contents;
use dohle_tests_clients::install;
use dohle_tests_clients::process::run;
use dohle_tests_clients::results::{self, Figures};
use dohle_tests_clients::target::{Given, Target};
use serde_json::{Value, json};

const SUITE: &str = "java-clients";
/// Old records stay: those of the contents rule are from 2023.
const SETTINGS: [(&str, &str); 4] = [
    ("log.retention.ms", "-1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "3"),
    ("group.consumer.assignors", "uniform,range"),
];
const PARTITIONS: u64 = 3;
const RECORDS: u64 = 3_000;
const TOPIC_ALREADY_EXISTS: i64 = 36;
const ADMIN_CHECKS: usize = 5;
const CODEC_CHECKS: usize = 4;
const PLACE_CHECKS: usize = 3;
const GROUP_CHECKS: usize = 6;

#[test]
fn java_2_1_1() {
    release(Client::OldJava(JavaRelease::R2_1_1), "2.1.1", &["classic"]);
}

#[test]
fn java_2_8_2() {
    release(Client::OldJava(JavaRelease::R2_8_2), "2.8.2", &["classic"]);
}

#[test]
fn java_3_3_2() {
    release(Client::OldJava(JavaRelease::R3_3_2), "3.3.2", &["classic"]);
}

/// Its consumer protocol is a preview, which speaks the heartbeat's version 0.
#[test]
fn java_3_9_1() {
    release(Client::OldJava(JavaRelease::R3_9_1), "3.9.1", &["classic", "consumer"]);
}

#[test]
fn java_4_0_1() {
    release(Client::OldJava(JavaRelease::R4_0_1), "4.0.1", &["classic", "consumer"]);
}

#[test]
fn java_4_3_1() {
    release(Client::Java, "4.3.1", &["classic", "consumer"]);
}

struct Stage {
    tested: Session,
    newest: Session,
    checks: Checks,
}

fn release(client: Client, version: &str, protocols: &[&str]) {
    let target = Target::with(Given::ByFile, &SETTINGS);
    let start = |client: Client| client.start(&target.bootstrap(), target.folder());
    let mut stage =
        Stage { tested: start(client), newest: start(Client::Java), checks: Checks::of(client.name()) };
    administer(&mut stage);
    for (turn, codec) in client.codecs().iter().enumerate() {
        written_and_read(&mut stage, codec, turn);
    }
    places(&mut stage);
    for protocol in protocols {
        as_a_group(&mut stage, protocol);
    }
    let passed =
        ADMIN_CHECKS + CODEC_CHECKS * client.codecs().len() + PLACE_CHECKS + GROUP_CHECKS * protocols.len();
    stage.checks.finish(passed);
    results::record(SUITE, version, version, target.kind, &Figures::all_passed(passed));
}

fn administer(stage: &mut Stage) {
    let Stage { tested, checks, .. } = stage;
    tested.ask("create topic=managed partitions=3 replicas=1 config=retention.ms:3600000");
    let refused = tested.refused("create topic=managed partitions=3 replicas=1");
    checks.equal(refused, TOPIC_ALREADY_EXISTS, "a topic that is there");
    let described = tested.ask("describe topic=managed");
    checks.equal(described["partitions"].as_array().map(Vec::len), Some(3), "partitions");
    checks.equal(&described["configs"]["retention.ms"], &json!("3600000"), "a setting");
    tested.ask("alter topic=managed config=retention.ms:7200000");
    checks.equal(settles(tested, "7200000"), json!("7200000"), "an altered setting");
    tested.ask("delete topic=managed");
    let listed = || tested.ask("list")["topics"].as_array().is_some_and(|t| t.contains(&json!("managed")));
    checks.that(within(listed, |there| !there), "a deleted topic is gone");
}

/// The setting once it is as wanted, or as it was when waiting ended.
fn settles(client: &mut Session, wanted: &str) -> Value {
    let mut got = Value::Null;
    within(
        || {
            got = client.ask("describe topic=managed")["configs"]["retention.ms"].clone();
            got == wanted
        },
        |same| same,
    );
    got
}

/// Asks until the answer is good; whether it became so.
fn within(mut ask: impl FnMut() -> bool, good: impl Fn(bool) -> bool) -> bool {
    const TRIES: u32 = 100;
    (0..TRIES).any(|_| {
        let enough = good(ask());
        if !enough {
            std::thread::sleep(Duration::from_millis(50));
        }
        enough
    })
}

/// A topic whose partitions have leaders: a producer that is not idempotent would else try again, and in another order.
fn create(client: &mut Session, topic: &str) {
    client.ask(&format!("create topic={topic} partitions={PARTITIONS} replicas=1"));
    let ends = format!("ends topic={topic} partitions={PARTITIONS}");
    assert!(within(|| client.ask_or_wait(&ends).is_some(), |there| there), "{topic} does not come");
}

fn contents(seed: u32, count: u64) -> Contents {
    Contents { seed, partitions: PARTITIONS, count, header_nulls: true }
}

/// What the release writes the newest reads, and the other way.
fn written_and_read(stage: &mut Stage, codec: &str, turn: usize) {
    let contents = contents(100 + turn as u32, RECORDS);
    let (acks, idempotent) = [("all", true), ("1", false), ("all", false)][turn % 3];
    let settings = format!("codec={codec} acks={acks} idempotent={idempotent} {}", contents.arguments());
    let Stage { tested, newest, checks } = stage;
    let mut one_way = |writer: &mut Session, reader: &mut Session, topic: String| {
        create(writer, &topic);
        let sent = writer.ask(&format!("produce topic={topic} {settings}"));
        checks.equal(sent["at_offset"].as_u64(), Some(RECORDS), format!("offsets told for {topic}"));
        let read = reader.ask(&format!("consume topic={topic} {}", contents.arguments()));
        checks.equal(
            &read["crc32"],
            &json!(contents.digests()),
            format!("{topic} read by {}", reader.client.name()),
        );
    };
    one_way(tested, newest, format!("{codec}-to-newest"));
    one_way(newest, tested, format!("{codec}-from-newest"));
}

fn places(stage: &mut Stage) {
    let contents = contents(100, RECORDS);
    let Stage { tested, checks, .. } = stage;
    create(tested, "places");
    tested.ask(&format!("produce topic=places {}", contents.arguments()));
    let got = tested.ask("seek topic=places partition=1 offset=500");
    checks.equal(got["timestamp"].as_i64(), Some(contents.timestamp(1, 500)), "the record at an offset");
    let from = contents.timestamp(2, 700);
    let got = tested.ask(&format!("times topic=places partition=2 timestamps={from}"));
    checks.equal(&got["offsets"], &json!([contents.offset_at(2, from)]), "the offset of a time");
    let got = tested.ask(&format!("ends topic=places partitions={PARTITIONS}"));
    checks.equal(&got["ends"], &json!(vec![RECORDS / PARTITIONS; PARTITIONS as usize]), "the ends");
}

/// Reads as a group, goes, comes back and goes on where it was.
fn as_a_group(stage: &mut Stage, protocol: &str) {
    let (first, more) = (contents(200, 600), contents(200, 300));
    let (topic, group) = (format!("for-{protocol}"), format!("of-{protocol}"));
    let Stage { tested, newest, checks } = stage;
    create(tested, &topic);
    let mut read = |checks: &mut Checks, contents: Contents, from: u64| {
        tested.ask(&format!("produce topic={topic} from={from} {}", contents.arguments()));
        let got = tested
            .ask(&format!("group topic={topic} group={group} protocol={protocol} {}", contents.arguments()));
        let firsts: serde_json::Map<String, Value> =
            (0..PARTITIONS).map(|p| (p.to_string(), json!(from / PARTITIONS))).collect();
        checks.equal(&got["firsts"], &Value::Object(firsts), format!("where {group} began at {from}"));
        checks.equal(got["records"].as_u64(), Some(contents.count), format!("records that {group} read"));
    };
    read(checks, first, 0);
    read(checks, more, first.count);
    let committed = newest.ask(&format!("committed group={group}"));
    let end = (first.count + more.count) / PARTITIONS;
    let offsets: serde_json::Map<String, Value> =
        (0..PARTITIONS).map(|p| (format!("{topic}-{p}"), json!(end))).collect();
    checks.equal(&committed["offsets"], &Value::Object(offsets), "the committed offsets");
    let state = newest.ask(&format!("group-state group={group}"));
    checks.equal(&state["state"], &json!("Empty"), "the state of a group whose member has gone");
}

/// Releases below 2.1: what they may still do they do, and what has been removed is refused as Apache Kafka refuses it.
#[test]
fn too_old() {
    const OUTCOMES: [(&str, &str, &str); 3] = [
        ("0.10.2.2", "Ancient", "produce NetworkException\nconsume IllegalStateException\n"),
        (
            "0.11.0.3",
            "AncientAdmin",
            "create ok\nlist ok\nconfigs UnsupportedVersionException\nproduce ok\nconsume ok\n",
        ),
        (
            "1.1.1",
            "AncientAdmin",
            "create TopicExistsException\nlist ok\nconfigs ok\nproduce ok\nconsume ok\n",
        ),
    ];
    let target = Target::with(Given::ByFile, &SETTINGS);
    let mut newest = Client::Java.start(&target.bootstrap(), target.folder());
    newest.ask("create topic=old partitions=1 replicas=1");
    newest.ask("produce topic=old partitions=1 seed=7 count=10 header_nulls=yes");
    let mut checks = Checks::of("too-old");
    for (version, program, outcomes) in OUTCOMES {
        let sources: &[&str] =
            if program == "Ancient" { &["ancient"] } else { &["ancient", "ancient-admin"] };
        let class_path = install::classes(sources, &install::client_jars(version));
        let mut java: Command = jvm("-Xmx128m");
        java.args(["-cp", &class_path, program, &target.bootstrap(), "old"]);
        let said = String::from_utf8(run(&mut java, &[], Duration::from_secs(120))).expect("text");
        checks.equal(said.as_str(), outcomes, format!("what {version} meets"));
    }
    checks.finish(OUTCOMES.len());
    results::record(
        SUITE,
        "below 2.1",
        "0.10.2.2, 0.11.0.3, 1.1.1",
        target.kind,
        &Figures::all_passed(OUTCOMES.len()),
    );
}
