//! `--smoke`: every scenario, tiny, against Dohle only. The figures mean nothing; that all works is what is tested.

use std::time::Duration;

use super::contestant::Contestant;
use super::scenario::Scenario;
use super::{Lab, Options, measure, scenario, table};
use crate::Outcome;
use crate::client::Moment;

/// The whole of it has to end within this.
const MOST: Duration = Duration::from_secs(100);
/// Cells of the matrix, which differ in numbers only, that are tried.
const CELLS: [&str; 3] =
    ["matrix-100b-lz4-p1-c50-keyed", "matrix-64k-snappy-p12-c1-sticky", "matrix-1k-none-p1000-c1-keyed"];

/// Runs and counts; the last line is `N passed, N failed`.
pub fn run(options: &Options) -> Outcome<()> {
    let tiny = Options {
        volume_gb: 0.02,
        memory_gb: 0.02,
        warm_gb: 0.005,
        warm_seconds: 0.0,
        rate_seconds: 0.4,
        scan_gb: 0.02,
        idle_seconds: 1,
        crowd: 50,
        group_members: 20,
        groups: 50,
        group_seconds: 1,
        offsets: 2_000,
        ..options.clone()
    };
    let lab = Lab::open(&tiny)?;
    let start = Moment::now();
    let (mut passed, mut failed) = (0, 0);
    let cells = CELLS.iter().map(|cell| scenario::named(cell).map(|found| found[0].clone()));
    let all: Vec<Scenario> = table::scenarios().into_iter().map(Ok).chain(cells).collect::<Outcome<_>>()?;
    for scenario in &all {
        // Loads differ in nothing but numbers between the kinds of durability; one scenario tries both.
        let kinds = if scenario.shares_a_broker() && scenario.name != "durability" { 1 } else { usize::MAX };
        for contestant in lab.contestants(scenario).into_iter().take(kinds) {
            match tried(&lab, scenario, contestant) {
                Ok(figures) => {
                    passed += 1;
                    println!("{:<32} {contestant:<18} ok, {figures} figures", scenario.name);
                }
                Err(error) => {
                    failed += 1;
                    println!("{:<32} {contestant:<18} FAILED: {error}", scenario.name);
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

/// One scenario; how many figures it gave.
fn tried(lab: &Lab, scenario: &Scenario, contestant: Contestant) -> Outcome<usize> {
    let metrics = measure(lab, scenario, contestant, &mut None)?;
    lab.take_details();
    if let Some((name, value)) = metrics.iter().find(|(_, value)| !value.is_finite()) {
        return Err(format!("{name} is {value}").into());
    }
    Ok(metrics.len())
}
