//! Kafka's own tools print against the broker under test what they print against Apache Kafka.
//!
//! Each script of `golden/` runs on a fresh broker that is given Kafka's quick-start file. With `DOHLE_BLESS=1` and Kafka as
//! the target the answers are written anew; otherwise they are compared, all cases first, then one failure with all differences.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::path::Path;
use std::time::Duration;

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, Session};
use dohle_tests_clients::install;
use dohle_tests_clients::normal::Normal;
use dohle_tests_clients::results::{self, Figures};
use dohle_tests_clients::script::{Answer, Case, Script};
use dohle_tests_clients::target::{Given, Kind, Target};
use dohle_tests_clients::tools::Tools;

/// Kafka's broker follows its metadata log a moment after the controller has answered; a person's next command comes later.
const KAFKA_SETTLES: Duration = Duration::from_millis(150);
/// Of Kafka and its tools.
const VERSION: &str = "4.3.1";
/// Groups gather at once and beat often, the topic of their offsets is small, and old records stay: those of the contents rule are
/// from 2023, and Kafka looks for what has outlived its retention half a minute after its start.
const SETTINGS: [(&str, &str); 5] = [
    ("log.retention.ms", "-1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.consumer.min.heartbeat.interval.ms", "300"),
    ("group.consumer.heartbeat.interval.ms", "300"),
    ("offsets.topic.num.partitions", "3"),
];

#[test]
fn topics() {
    script("topics", 59);
}

#[test]
fn configs() {
    script("configs", 58);
}

#[test]
fn records() {
    script("records", 46);
}

#[test]
fn cluster() {
    script("cluster", 22);
}

/// Commands that fail before they ask a broker, of every tool.
#[test]
fn mistakes() {
    script("mistakes", 48);
}

#[test]
fn performance() {
    script("performance", 6);
}

#[test]
fn performance_in_groups() {
    prepared("performance-in-groups", 8, &[]);
}

#[test]
fn verifiable_consumer() {
    prepared("verifiable-consumer", 12, &[]);
}

#[test]
fn client_metrics() {
    script("client-metrics", 20);
}

#[test]
fn groups() {
    prepared("groups", 83, &[]);
}

#[test]
fn groups_of_the_consumer_protocol() {
    prepared("groups-consumer", 42, &[]);
}

#[test]
fn group_offsets() {
    prepared("group-offsets", 75, &[]);
}

#[test]
fn group_configs() {
    prepared("group-configs", 22, &[]);
}

#[test]
fn share_groups() {
    prepared("groups-share", 21, &["ShareGroupHeartbeat(76) v1"]);
}

#[test]
fn streams_groups() {
    prepared("groups-streams", 10, &["StreamsGroupHeartbeat(88) v0"]);
}

#[test]
fn replicas() {
    prepared("replicas", 16, &["ElectLeaders(43) v2", "AlterPartitionReassignments(45) v0"]);
}

#[test]
fn security() {
    prepared("security", 20, &["DescribeAcls(29) v2", "DescribeDelegationToken(41) v2"]);
}

#[test]
fn transactions() {
    prepared("transactions", 9, &["ListTransactions(66) v0", "DescribeProducers(61) v0"]);
}

/// Every tool of Kafka's `bin` is in the table, and the scripts that the table names do run it.
#[test]
fn every_tool_has_its_place() {
    const TOOLS: usize = 43;
    let golden = install::sources().join("golden");
    let read =
        |name: &str| std::fs::read_to_string(golden.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut checks = Checks::of("every tool");
    for row in read("tools.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [tool, class, place] = columns[..] else { panic!("'{row}' is no row") };
        let runs = |script: &str| read(&format!("{script}.txt")).contains(&format!("$ {class}"));
        let placed = place.contains("tests/") || class == "-" || place.split(", ").all(runs);
        checks.that(placed && !place.is_empty(), format!("{tool}: {place} does not run it"));
    }
    checks.finish(TOOLS);
}

/// The APIs that a broker has to advertise; a script alone would be content with none.
#[test]
fn advertised() {
    let target = Target::start();
    let mut tools = Tools::start(target.folder());
    let words = Case::words(&format!("BrokerApiVersionsCommand --bootstrap-server {}", target.bootstrap()));
    let printed = tools.run(&words, "");
    let mut checks = Checks::of("advertised");
    checks.equal(printed.exit, 0, "the exit code");
    for api in ADVERTISED {
        let line = printed.out.lines().find(|l| l.trim().starts_with(&format!("{api}(")));
        checks.that(line.is_some_and(|l| l.contains("usable")), format!("{api} is advertised: {line:?}"));
    }
    checks.finish(1 + ADVERTISED.len());
}

/// Grows with the platform. The telemetry APIs are not here: Kafka advertises them only when a reporter that takes telemetry is
/// configured.
const ADVERTISED: [&str; 33] = [
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "DescribeGroups",
    "ListGroups",
    "ApiVersions",
    "CreateTopics",
    "DeleteTopics",
    "DeleteRecords",
    "InitProducerId",
    "OffsetForLeaderEpoch",
    "DescribeConfigs",
    "AlterConfigs",
    "DescribeLogDirs",
    "CreatePartitions",
    "DeleteGroups",
    "IncrementalAlterConfigs",
    "OffsetDelete",
    "DescribeQuorum",
    "UpdateFeatures",
    "DescribeCluster",
    "ConsumerGroupHeartbeat",
    "ConsumerGroupDescribe",
    "ListConfigResources",
    "DescribeTopicPartitions",
];

fn script(name: &str, owed: usize) {
    compared(name, owed, &Target::with(Given::ByFile, &[]));
}

/// On a broker that is set for groups. `needs` are the APIs without which a script would only show that they are missing.
fn prepared(name: &str, owed: usize, needs: &[&str]) {
    let target = Target::with(Given::ByFile, &SETTINGS);
    if let Some(need) = target.lacks(needs) {
        println!("*** tools: THE SCRIPT {name} IS NOT RUN against this broker: it does not advertise {need}");
        let figures = Figures { denied: [(format!("waits for {need}"), owed)].into(), ..Figures::default() };
        return results::record("tools", name, VERSION, target.kind, &figures);
    }
    compared(name, owed, &target);
}

fn compared(name: &str, owed: usize, target: &Target) {
    let mut client = Client::Java.start(&target.bootstrap(), target.folder());
    let mut tools = Tools::start(target.folder());
    let script = Script::read(&install::sources().join("golden").join(format!("{name}.txt")));
    let normal = names(target);
    let mut checks = Checks::of(name);
    let answers: Vec<Answer> =
        script.cases.iter().map(|case| answer(case, &mut tools, &mut client, &normal, target)).collect();
    if std::env::var_os("DOHLE_BLESS").is_some() {
        assert_eq!(target.kind, Kind::Kafka, "only Apache Kafka's answers are written down");
        script.bless(&answers);
        println!("{name}: {} answers written", answers.len());
        return checks.finish(0);
    }
    let mut differences = Vec::new();
    for (case, answer) in script.cases.iter().zip(&answers) {
        checks.that(true, "compared");
        differences.extend(case.difference(answer));
    }
    let (passed, failed) = (answers.len() - differences.len(), differences.len());
    results::record("tools", name, VERSION, target.kind, &Figures { passed, failed, ..Figures::default() });
    let (differing, all) = (differences.len(), differences.join("\n"));
    assert!(
        differences.is_empty(),
        "{name}: {differing} of {} answers differ from Kafka's\n\n{all}",
        answers.len()
    );
    checks.finish(owed);
}

fn answer(case: &Case, tools: &mut Tools, client: &mut Session, normal: &Normal, target: &Target) -> Answer {
    for command in &case.before {
        client.ask(command);
    }
    for (file, _) in &case.files {
        let lines: Vec<&str> =
            case.files.iter().filter(|(f, _)| f == file).map(|(_, text)| text.as_str()).collect();
        std::fs::write(files(target.folder()).join(file), lines.join("\n")).expect("a file of a script");
    }
    if target.kind == Kind::Kafka {
        std::thread::sleep(KAFKA_SETTLES);
    }
    let printed = tools.run(&Case::words(&normal.expand(&case.command)), &case.stdin);
    let lines = |text: &str| normal.lines(text, &case.rules);
    Answer { exit: printed.exit, out: lines(&printed.out), err: lines(&printed.err) }
}

fn files(folder: &Path) -> std::path::PathBuf {
    let files = folder.join("files");
    std::fs::create_dir_all(&files).expect("a folder for a script's files");
    files
}

/// What this run calls the things that have a name of their own in the scripts.
fn names(target: &Target) -> Normal {
    let pairs = [
        (target.bootstrap(), "{broker}"),
        (target.controller(), "{controller}"),
        (target.meta("cluster.id"), "{cluster}"),
        (target.meta("directory.id"), "{directory}"),
        (target.log_dir().display().to_string(), "{logdir}"),
        (files(target.folder()).display().to_string(), "{tmp}"),
    ];
    let port =
        |address: String, name| format!(r"\b{}\b => {name}", address.rsplit(':').next().unwrap_or_default());
    let ports = [port(target.bootstrap(), "{port}"), port(target.controller(), "{controller-port}")];
    Normal::of(pairs.map(|(real, name)| (real, name.to_owned())).into(), &ports)
}
