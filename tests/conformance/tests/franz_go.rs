//! The tests of franz-go's `kgo` package: every one that passes on Apache Kafka passes here, and those that skip themselves are
//! the same.
//!
//! With Apache Kafka as the target and `DOHLE_BLESS=1` its list, `franz-go/tests.tsv`, is written anew.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dohle_tests_clients::client::everything;
use dohle_tests_clients::install;
use dohle_tests_clients::results::{self, Figures};
use dohle_tests_clients::target::{Given, Kind, Target};
use dohle_tests_conformance::denials::Denials;
use dohle_tests_conformance::go_tests::{self, Outcome, Outcomes};

const LIMIT: Duration = Duration::from_secs(300);
const FULL_LIMIT: Duration = Duration::from_secs(1500);
/// Of each chain of producers, groups and transactions.
const RECORDS: u32 = 20_000;
const FULL_RECORDS: u32 = 500_000;
/// As franz-go's own CI sets Apache Kafka up, and few internal partitions, so that starting is quick.
const SETTINGS: [(&str, &str); 6] = [
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "5"),
    ("transaction.state.log.num.partitions", "5"),
    ("share.coordinator.state.topic.num.partitions", "5"),
    ("group.share.delivery.count.limit", "10"),
    ("group.share.min.record.lock.duration.ms", "1000"),
];
/// How many tests and subtests passed and were skipped on Apache Kafka when the list was last written; the list cannot
/// shrink unnoticed.
const PASSED: usize = 467;
const SKIPPED: usize = 3;

#[test]
fn kgo() {
    let target = Target::with(Given::ByFile, &SETTINGS);
    let denials = Denials::holding(&table("deny.tsv"), &target);
    denials.announce("franz-go");
    let (program, package) = install::kgo_tests();
    let (records, limit) = if everything() { (FULL_RECORDS, FULL_LIMIT) } else { (RECORDS, LIMIT) };
    let settings = [
        ("KGO_SEEDS", target.bootstrap()),
        ("KGO_TEST_RF", "1".to_owned()),
        ("KGO_TEST_RECORDS", records.to_string()),
        ("KGO_LOG_LEVEL", "none".to_owned()),
    ];
    let log = target.folder().join("kgo.log");
    let ran = go_tests::run(&program, &package, &settings, &denials, &log, limit);
    if std::env::var_os("DOHLE_BLESS").is_some() {
        assert_eq!(target.kind, Kind::Kafka, "only Apache Kafka's outcomes are written down");
        let (passed, failed) = (count(&ran.outcomes, Outcome::Passed), count(&ran.outcomes, Outcome::Failed));
        println!("franz-go: {passed} passed, {failed} failed\n{}", failures(&ran));
        assert_eq!(failed, 0, "a test that fails on Apache Kafka proves nothing");
        return go_tests::write(&table("tests.tsv"), &ran.outcomes);
    }
    let wanted = go_tests::read(&table("tests.tsv"));
    assert_eq!((count(&wanted, Outcome::Passed), count(&wanted, Outcome::Skipped)), (PASSED, SKIPPED));
    results::record(
        "franz-go",
        "kgo",
        &version(&package),
        target.kind,
        &figures(&wanted, &denials, &ran.outcomes),
    );
    let differences = go_tests::differences(&wanted, &denials, &ran.outcomes);
    assert!(
        differences.is_empty(),
        "{} differences:\n{}\n\n{}",
        differences.len(),
        differences.join("\n"),
        failures(&ran)
    );
}

fn table(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("franz-go").join(name)
}

fn count(outcomes: &Outcomes, wanted: Outcome) -> usize {
    outcomes.values().filter(|outcome| **outcome == wanted).count()
}

fn figures(wanted: &Outcomes, denials: &Denials, got: &Outcomes) -> Figures {
    let mut denied = BTreeMap::new();
    for reason in wanted.keys().filter_map(|test| denials.reason(test)) {
        *denied.entry(reason.to_owned()).or_default() += 1;
    }
    let passed = count(got, Outcome::Passed);
    Figures { passed, failed: count(got, Outcome::Failed), skipped: count(got, Outcome::Skipped), denied }
}

/// `v1.22.2` of `.../franz-go@v1.22.2/pkg/kgo`.
fn version(package: &Path) -> String {
    let path = package.display().to_string();
    let found = path.split_once("franz-go@v").and_then(|(_, rest)| rest.split('/').next());
    found.unwrap_or_else(|| panic!("no version in {path}")).to_owned()
}

/// What was printed around each failure.
fn failures(ran: &go_tests::Ran) -> String {
    const SHOWN: usize = 200;
    let near =
        |line: &&str| line.contains("--- FAIL") || line.contains("_test.go:") || line.contains("panic:");
    let kept: Vec<&str> =
        ran.text.lines().filter(near).filter(|l| !l.contains("deleting ")).take(SHOWN).collect();
    kept.join("\n")
}
