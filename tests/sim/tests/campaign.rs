//! Campaigns small enough for every change.

use dohle_tests_sim::campaign::{self, Outcome, SCENARIOS, Scenario};
use dohle_tests_sim::groups;

const SEEDS: u64 = 2_500;
const CALM_SEEDS: u64 = 200;
const THREADS: usize = 2;

fn run(scenario: Scenario, seeds: u64) -> Outcome {
    let outcome = campaign::run(scenario, 0, seeds, THREADS);
    assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
    outcome
}

#[test]
fn storms_break_nothing_and_reach_every_state() {
    for scenario in SCENARIOS {
        let outcome = run(*scenario, SEEDS);
        assert_eq!(outcome.marks.missing(scenario.marks), Vec::<&str>::new(), "{}", scenario.name);
    }
}

/// Where nothing goes wrong, nobody is put out of a group and nothing has to be asked twice.
#[test]
fn calm_is_calm() {
    let calm = Scenario { name: "groups in calm", run: groups::calm, marks: &[] };
    let outcome = run(calm, CALM_SEEDS);
    let trouble = [
        "a group goes on without a member that owns partitions",
        "a member is fenced and owns partitions",
        "a request is not answered",
        "an answer is lost",
    ];
    assert_eq!(outcome.marks.missing(&trouble), trouble);
    assert!(outcome.marks.count("an acknowledged commit is fetched") > CALM_SEEDS);
}

#[test]
fn one_seed_gives_one_history() {
    for scenario in SCENARIOS {
        let traces: Vec<u64> = (0..20).map(|seed| (scenario.run)(seed, false).trace).collect();
        let again: Vec<u64> = (0..20).map(|seed| (scenario.run)(seed, false).trace).collect();
        assert_eq!(traces, again);
        assert!(traces.windows(2).all(|two| two[0] != two[1]), "seeds give different histories");
    }
}
