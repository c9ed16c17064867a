//! Groups go over from Kafka with `__consumer_offsets` and back, and what each wrote there Kafka's own formatters read.
//!
//! With `DOHLE_TEST_TARGET=kafka` Kafka takes all turns: so the tests are proved.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use dohle_tests_clients::advertised::Advertised;
use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, everything};
use dohle_tests_clients::content::Contents;
use dohle_tests_clients::groups::member::Protocol::{Classic, Consumer};
use dohle_tests_clients::groups::scene::{Cast, SETTINGS, Scene, TOPIC};
use dohle_tests_clients::normal::Normal;
use dohle_tests_clients::tools::Tools;
use dohle_tests_upgrade::folder::files;
use dohle_tests_upgrade::history::History;
use dohle_tests_upgrade::inspect::{accepts, formatted};
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use serde_json::{Value, json};

/// The least that can be set.
const EXPIRY: [(&str, &str); 2] =
    [("offsets.retention.minutes", "1"), ("offsets.retention.check.interval.ms", "1000")];
/// An offset of a group without members is forgotten after a minute: long for a run that is not a full one.
const EXPIRED: Duration = Duration::from_secs(65);
const IN_THE_END: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// Members of both protocols live through all turns; one comes or goes in each; offsets expire, and a transaction that holds one stays open.
#[test]
fn groups_go_over_and_back() {
    let casts = vec![
        Cast::of(Client::Java, Classic, "cooperative-sticky"),
        Cast::of(Client::Java, Consumer, "uniform"),
        Cast::of(Client::Librdkafka, Classic, "range"),
        Cast::of(Client::FranzGo, Consumer, "range"),
    ];
    let settings: Vec<_> = SETTINGS.into_iter().chain(EXPIRY).collect();
    let mut node = Node::new(Quorum::InTheLog, &settings);
    node.format_by_kafka();
    node.start(Program::Kafka);
    let mut scene = Scene::on("groups go over and back", casts, &node.bootstrap(), node.folder());
    scene.run_load();
    scene.join_all("a", 1);
    scene.join_all("b", 2);
    scene.settle(2);
    let begun = Instant::now();
    let place = format!("topic={TOPIC} partition=0");
    scene.observer().alter("expiring", &format!("{place} offset=1"));
    scene.observer().alter("promised", &format!("{place} offset=1"));
    scene.observer().promise("promised", &format!("{place} offset=9"));
    let mut guest = false;
    for (program, end) in turns() {
        node.end(end);
        node.start(program);
        guest = !guest;
        if guest {
            scene.join_all("a", 3);
        } else {
            scene.leave_all(3);
        }
        scene.settle(if guest { 3 } else { 2 });
        let shown = scene.observer().committed("promised");
        let what = format!("an offset whose successor is not decided, on {program:?}");
        scene.checks.equal(shown, json!({ format!("{TOPIC}/0"): 1 }), what);
        println!("{program:?} after {end:?}: all groups settled");
    }
    // Only Kafka knows of transactions' ends; it is the last.
    scene.observer().keep();
    let kept = json!({ format!("{TOPIC}/0"): 9 });
    let shown = shown_in_the_end(&mut scene, "promised", &kept);
    scene.checks.equal(shown, kept, "an offset that a transaction held over all turns");
    let mut owed = turns().len() + 1 + 2 * 4 + 4 + 1;
    if everything() {
        std::thread::sleep(EXPIRED.saturating_sub(begun.elapsed()));
        let left = shown_in_the_end(&mut scene, "expiring", &json!({}));
        scene.checks.equal(left, json!({}), "an offset that expired");
        owed += 1;
    }
    scene.rest_load();
    scene.drain();
    scene.judge("turns", false);
    scene.committed_is_the_end("after the turns");
    scene.curtain();
    node.end(End::Clean);
    let mut tools = Tools::start(node.folder());
    let logs: Vec<_> = files(&node.log_dir(), "log").into_iter().filter(|f| is_of_offsets(f)).collect();
    let dumped = accepts(&mut tools, "--offsets-decoder --deep-iteration", &logs);
    // A commit, a classic group, the members of a group of the new protocol and what each has.
    for kind in [1, 2, 5, 8] {
        let key = format!("key: {{\"type\":\"{kind}\",");
        scene.checks.that(dumped.contains(&key), format!("Kafka's dump decodes records of type {kind}"));
    }
    // All read one topic. A program that hashed it in its own way would begin a new epoch at every turn.
    let hashes = values_of("metadataHash", &dumped);
    scene.checks.equal(hashes.len(), 1, format!("the same topic has one hash: {hashes:?}"));
    scene.checks.finish(owed);
}

/// The committed offsets of a group, as soon as they are what is wanted.
fn shown_in_the_end(scene: &mut Scene, group: &str, wanted: &Value) -> Value {
    let until = Instant::now() + IN_THE_END;
    loop {
        let shown = scene.observer().committed(group);
        if shown == *wanted || Instant::now() > until {
            return shown;
        }
        std::thread::sleep(POLL);
    }
}

fn is_of_offsets(path: &Path) -> bool {
    path.display().to_string().contains("/__consumer_offsets-")
}

/// The values that a number has in a dump, but for 0, which a group has before anybody is in it.
fn values_of(name: &str, dumped: &str) -> BTreeSet<i64> {
    let mark = format!("\"{name}\":");
    let number = |text: &str| {
        let end = text.find([',', '}']).expect("a number ends");
        text[..end].parse().expect("a number")
    };
    dumped.split(&mark).skip(1).map(number).filter(|n| *n != 0).collect()
}

/// How the program before ends, and who comes after it. Kafka is the first and the last.
fn turns() -> Vec<(Program, End)> {
    let ours = Program::ours();
    let mut turns = vec![(ours, End::Killed), (Program::Kafka, End::Killed)];
    if everything() {
        turns.extend([(ours, End::Clean), (Program::Kafka, End::Clean)]);
        turns.extend(turns.clone());
    }
    turns
}

/// What differs from run to run, and from broker to broker: ids that are drawn, times, a record's place in its batch, and the
/// offset of the metadata log at which a pattern was resolved.
const DRAWN: [&str; 7] = [
    r#"("topics":\[[^\]]*\],"version":)\d+ => ${1}{offset}"#,
    r"\bsequence: -?\d+ => sequence: {n}",
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12} => {uuid}",
    r#"("?(?:[a-zA-Z]*[tT]imestamp|CreateTime|LogAppendTime|position|baseOffset|size|crc)"?: ?)-?\d+ => ${1}{n}"#,
    r#"("(?:memberId|topicId|producerId)":)"[A-Za-z0-9_-]{22}" => ${1}"{uuid}""#,
    r#"("(?:metadataHash|hash)":)-?\d+ => ${1}{n}"#,
    r"\b(topicId|producerId)=?:? ?[A-Za-z0-9_-]{22}\b => ${1}={uuid}",
];
const FORMATTERS: [&str; 2] = ["OffsetsMessageFormatter", "GroupMetadataMessageFormatter"];
const TRANSACTIONS: [&str; 3] = ["AddOffsetsToTxn(25) v0", "EndTxn(26) v0", "TxnOffsetCommit(28) v0"];
const READ: &str = "read-me";
const OTHER: &str = "other";

/// One history on Kafka and on the program under test; Kafka's formatters and its dump print the same of both.
#[test]
fn kafkas_formatters_read_the_same_history() {
    let mut checks = Checks::of("formatters");
    let (transactions, ours) = printed(Program::ours(), true);
    let (_, kafka) = printed(Program::Kafka, transactions);
    for ((what, ours), (_, kafka)) in ours.iter().zip(&kafka) {
        checks.that(kafka.len() > 10, format!("{what} prints something: {kafka:#?}"));
        for (ours, kafka) in ours.iter().zip(kafka) {
            assert_eq!(ours, kafka, "{what}, ours before Kafka's");
        }
        checks.equal(ours.len(), kafka.len(), format!("lines of {what}"));
    }
    checks.finish(2 * (FORMATTERS.len() + 1));
}

/// What Kafka's tools print of the history that a program has written, and whether a transaction was part of it.
fn printed(program: Program, transactions: bool) -> (bool, Vec<(&'static str, Vec<String>)>) {
    let settings = [
        ("offsets.topic.num.partitions", "1"),
        ("transaction.state.log.num.partitions", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.consumer.assignment.interval.ms", "0"),
        ("log.cleaner.enable", "false"),
    ];
    let mut node = Node::new(Quorum::InTheLog, &settings);
    node.format_by_kafka();
    node.start(program);
    let mut tools = Tools::start(node.folder());
    let mut client = Client::FranzGo.start(&node.bootstrap(), node.folder());
    let contents = Contents { seed: 3, partitions: 1, count: 40, header_nulls: true };
    client.ask(&format!("create topic={READ} partitions=1 replicas=1 config=retention.ms:-1"));
    client.ask(&format!("create topic={OTHER} partitions=2 replicas=1"));
    client.ask(&format!("produce topic={READ} idempotent=true {}", contents.arguments()));
    let missing = Advertised::by(&node.bootstrap()).lacks(&TRANSACTIONS);
    let transactions = transactions && missing.is_none();
    let mut history = History::on(&node.bootstrap(), node.folder());
    history.play(READ, OTHER);
    if transactions {
        history.play_a_transaction(OTHER);
    }
    if let Some(need) = missing {
        eprintln!("*** formatters: NO TRANSACTION COMMITS AN OFFSET: {program:?} lacks {need}");
    }
    let normal = Normal::of(Vec::new(), &DRAWN.map(str::to_owned));
    let mut all: Vec<(&'static str, Vec<String>)> = FORMATTERS
        .into_iter()
        .map(|f| (f, normal.lines(&formatted(&mut tools, &node.bootstrap(), f), &[])))
        .collect();
    node.end(End::Clean);
    let logs: Vec<_> = files(&node.log_dir(), "log").into_iter().filter(|f| is_of_offsets(f)).collect();
    let dumped = accepts(&mut tools, "--offsets-decoder --deep-iteration", &logs);
    // How records are put together in batches is the broker's own affair.
    let records: Vec<&str> = dumped.lines().filter(|l| l.starts_with("| ")).collect();
    all.push(("the dump with --offsets-decoder", normal.lines(&records.join("\n"), &[])));
    (transactions, all)
}
