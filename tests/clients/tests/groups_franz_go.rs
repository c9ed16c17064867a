//! franz-go's own test of groups, unmodified: chains of groups that read from one topic and write to the next, whose members
//! come and go, with every balancer, in both protocols, static and not. It fails when a record is read twice, late or not at all.
//!
//! Here at its full length, in the long run; the short chains are among the tests of `tests/conformance/tests/franz_go.rs`.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::process::Command;
use std::time::Duration;

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::everything;
use dohle_tests_clients::install;
use dohle_tests_clients::process::run;
use dohle_tests_clients::target::Target;

/// What franz-go itself takes when it is not told.
const RECORDS: &str = "500000";
const LIMIT: Duration = Duration::from_secs(900);

#[test]
fn chains_of_groups() {
    if !everything() {
        return println!("*** franz-go's long chains RUN IN THE LONG RUN ONLY (DOHLE_TEST_FULL=1)");
    }
    let target = Target::start();
    let mut go = Command::new("go");
    go.current_dir(install::sources().join("go"))
        .args(["test", "-mod=readonly", "-count=1", "-timeout=15m", "-v", "-run", "^TestGroupETL$"])
        .arg("github.com/twmb/franz-go/pkg/kgo")
        .env("KGO_SEEDS", target.bootstrap())
        .env("KGO_TEST_RF", "1")
        .env("KGO_TEST_RECORDS", RECORDS);
    let printed = String::from_utf8(run(&mut go, b"", LIMIT)).expect("go prints text");
    let mut checks = Checks::of("franz-go's chains of groups");
    for kind in [
        "range",
        "cooperative-sticky",
        "range/848",
        "sticky/848",
        "cooperative-sticky/static",
        "sticky/848/static",
    ] {
        let passed = format!("--- PASS: TestGroupETL/{kind} ");
        checks.that(printed.contains(&passed), format!("{kind} was run and passed:\n{printed}"));
    }
    checks.finish(6);
}
