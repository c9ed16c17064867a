//! `--smoke`: every scenario, tiny, against Dohle only. The figures mean nothing; that all works is what is tested.

use std::time::Duration;

use super::broker::Contestant;
use super::scenario::SCENARIOS;
use super::{Lab, Options};
use crate::Outcome;
use crate::client::Moment;

/// The whole of it has to end within this.
const MOST: Duration = Duration::from_secs(60);

/// Runs and counts; the last line is `N passed, N failed`.
pub fn run(options: &Options) -> Outcome<()> {
    let tiny = Options {
        volume_gb: 0.03,
        memory_gb: 0.03,
        warm_gb: 0.005,
        idle_seconds: 1,
        group_members: 20,
        groups: 50,
        group_seconds: 1,
        offsets: 2_000,
        ..options.clone()
    };
    let lab = Lab::open(&tiny)?;
    let start = Moment::now();
    let (mut passed, mut failed) = (0, 0);
    for scenario in SCENARIOS {
        for &contestant in scenario.contestants.iter().filter(|c| matches!(c, Contestant::Dohle(_))) {
            let verdict = match (scenario.measure)(&lab, contestant) {
                Ok(metrics) if metrics.iter().all(|(_, value)| value.is_finite()) => Ok(metrics),
                Ok(metrics) => Err(format!("a figure is not a number: {metrics:?}")),
                Err(error) => Err(error.to_string()),
            };
            match verdict {
                Ok(metrics) => {
                    passed += 1;
                    println!("{:<12} {contestant:<18} ok, {} figures", scenario.name, metrics.len());
                }
                Err(error) => {
                    failed += 1;
                    println!("{:<12} {contestant:<18} FAILED: {error}", scenario.name);
                }
            }
        }
    }
    let took = start.elapsed();
    if took > MOST {
        failed += 1;
        println!("took {:.0} s, {} s is the most", took.as_secs_f64(), MOST.as_secs());
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err("the smoke run failed".into()) }
}
