//! Kafka's own tools print against the broker under test what they print against Apache Kafka.
//!
//! Each script of `golden/` runs on a fresh broker that is given Kafka's quick-start file. With `DOHLE_BLESS=1` and Kafka as
//! the target the answers are written anew; otherwise they are compared, all cases first, then one failure with all differences.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::path::Path;
use std::time::Duration;

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::install;
use dohle_tests_clients::normal::Normal;
use dohle_tests_clients::script::{Answer, Case, Script};
use dohle_tests_clients::target::{Given, Kind, Target};
use dohle_tests_clients::tools::Tools;

/// Kafka's broker follows its metadata log a moment after the controller has answered; a person's next command comes later.
const KAFKA_SETTLES: Duration = Duration::from_millis(150);

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
const ADVERTISED: [&str; 20] = [
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
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
    "IncrementalAlterConfigs",
    "DescribeQuorum",
    "UpdateFeatures",
    "DescribeCluster",
    "ListConfigResources",
    "DescribeTopicPartitions",
];

fn script(name: &str, owed: usize) {
    let target = Target::with(Given::ByFile, &[]);
    let mut tools = Tools::start(target.folder());
    let script = Script::read(&install::sources().join("golden").join(format!("{name}.txt")));
    let normal = names(&target);
    let mut checks = Checks::of(name);
    let answers: Vec<Answer> =
        script.cases.iter().map(|case| answer(case, &mut tools, &normal, &target)).collect();
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
    let (differing, all) = (differences.len(), differences.join("\n"));
    assert!(
        differences.is_empty(),
        "{name}: {differing} of {} answers differ from Kafka's\n\n{all}",
        answers.len()
    );
    checks.finish(owed);
}

fn answer(case: &Case, tools: &mut Tools, normal: &Normal, target: &Target) -> Answer {
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
