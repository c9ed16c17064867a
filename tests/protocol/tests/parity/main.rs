//! What Dohle answers, beside what Apache Kafka 4.3.1 answered to the same requests in the same order on the same fresh state.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

mod admin;
mod cluster;
mod configs;
mod consume;
mod produce;
mod sessions;
mod versions;

use dohle_tests_protocol::run::Run;

/// The number of answers that are compared. It changes with the scripts only.
const CASES: usize = 3309;

#[test]
fn answers_are_kafkas() {
    let mut run = Run::start();
    versions::script(&mut run);
    cluster::script(&mut run);
    produce::script(&mut run);
    consume::script(&mut run);
    admin::script(&mut run);
    configs::script(&mut run);
    let cases = run.cases;
    run.finish();
    assert_eq!(cases, CASES, "the number of cases that ran");
}
