//! `grow`: what costs do when one thing grows. Each row of the table grows a quantity, fits `cost = a * n^e` and fails when the
//! exponent is wrong beyond its error: one noisy figure moves the fit little and its error a lot. What fails is measured once more,
//! and judged by all that was measured.
//!
//! The quick sizes take seconds each and find what is quadratic; `--weekly` takes the sizes that users have; `--smoke` takes one tiny
//! size of each row and judges nothing but that it has a cost.

mod connections;
mod groups;
mod logs;
mod partitions;
mod producer_ids;
mod records;
mod row;
mod table;
mod upkeep;

use clap::Args;

use super::contestant::Contestant;
use super::loads::{Life, costed};
use super::report::rounded;
use super::scenario::Shape;
use super::{Lab, lab};
use crate::Outcome;
use crate::client::{self, Moment};
use row::Row;
use table::TABLE;

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Which rows; all without it. `list` explains them, `partitions*` means several.
    #[arg(long)]
    row: Vec<String>,
    /// The sizes that users have, instead of those that take seconds.
    #[arg(long)]
    weekly: bool,
    /// One tiny size of each row: the figures mean nothing, but everything must work.
    #[arg(long, conflicts_with = "weekly")]
    smoke: bool,
    /// How often each size is measured.
    #[arg(long, default_value_t = 2)]
    times: usize,
    /// The binary to measure; without it, the one beside this program.
    #[arg(long)]
    dohle: Option<std::path::PathBuf>,
    /// Where the broker keeps its data.
    #[arg(long)]
    folder: Option<std::path::PathBuf>,
}

/// Grows every chosen row. The last line is `N passed, N failed`.
pub fn run(options: &Options) -> Outcome<()> {
    if options.row.iter().any(|name| name == "list") {
        TABLE.iter().for_each(|row| println!("{:<24} {}, {}: {}", row.name, row.about, row.unit, row.bound));
        return Ok(());
    }
    let rows = chosen(&options.row)?;
    let lab = Lab::open(&lab::Options {
        without_kafka: true,
        smoke: options.smoke,
        dohle: options.dohle.clone(),
        folder: options.folder.clone(),
        ..lab::Options::default()
    })?;
    let (mut passed, mut failed) = (0, 0);
    for row in rows {
        let good = if options.smoke { works(&lab, row) } else { grows_well(&lab, row, options) };
        if good { passed += 1 } else { failed += 1 }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err("something grows too fast, or could not be measured".into()) }
}

/// The rows that these names mean: one, or all whose names begin with what stands before a star.
fn chosen(names: &[String]) -> Outcome<Vec<&'static Row>> {
    let means = |name: &str, row: &Row| match name.strip_suffix('*') {
        Some(beginning) => row.name.starts_with(beginning),
        None => row.name == name,
    };
    if let Some(strange) = names.iter().find(|name| !TABLE.iter().any(|row| means(name, row))) {
        return Err(format!("there is no row {strange}; --row list prints all").into());
    }
    Ok(TABLE.iter().filter(|row| names.is_empty() || names.iter().any(|name| means(name, row))).collect())
}

/// Whether a row has a cost at its tiny size.
fn works(lab: &Lab, row: &Row) -> bool {
    let start = Moment::now();
    let cost = (row.cost)(lab, row.smoke);
    let (good, said) = match cost {
        Ok(cost) if cost > 0.0 && cost.is_finite() => (true, format!("ok, {} {}", rounded(cost), row.unit)),
        Ok(cost) => (false, format!("FAILED: its cost is {cost}")),
        Err(error) => (false, format!("FAILED: {error}")),
    };
    println!("{:<24} {said} ({:.1} s)", row.name, start.elapsed().as_secs_f64());
    good
}

/// Whether a row grows no faster than it may.
fn grows_well(lab: &Lab, row: &Row, options: &Options) -> bool {
    println!("\n{}: {}, {}", row.name, row.about, row.unit);
    let sizes = if options.weekly { row.weekly } else { row.quick };
    let judged = judged(row, sizes, options.times.max(1), |n| {
        let cost = (row.cost)(lab, n).map_err(|error| format!("n = {n}: {error}"))?;
        println!("  n = {n:<8} {}", rounded(cost));
        Ok(cost)
    });
    let (good, said) = judged.unwrap_or_else(|error| (false, error.to_string()));
    println!("  {}: {said}", if good { "ok" } else { "FAILED" });
    good
}

/// Measures every size so many times, and as often again when what comes of it fails.
fn judged(
    row: &Row,
    sizes: &[u64],
    times: usize,
    mut measure: impl FnMut(u64) -> Outcome<f64>,
) -> Outcome<(bool, String)> {
    let mut points = Vec::new();
    let mut again = |points: &mut Vec<(f64, f64)>| {
        for time in 0..times {
            // Up and down, so that a machine that gets slower does not look like growth.
            let mut order = sizes.to_vec();
            if time % 2 == 1 {
                order.reverse();
            }
            for n in order {
                points.push((n as f64, measure(n)?));
            }
        }
        row.judge(points)
    };
    let (good, said) = again(&mut points)?;
    if good { Ok((good, said)) } else { again(&mut points) }
}

fn begun(lab: &Lab, contestant: Contestant) -> Outcome<Life> {
    Life::begin(lab, contestant, &[])
}

/// As much of what a row does to be measured well as is done now: nearly nothing of it in a smoke run.
fn part(lab: &Lab) -> f64 {
    if lab.options.smoke { 0.02 } else { 1.0 }
}

/// How often something is done whose CPU or latency is read: often enough to be read at all in a smoke run.
fn count(lab: &Lab, often: u64) -> u64 {
    ((often as f64 * part(lab)) as u64).max(20)
}

/// CPU seconds per GB of a load, after a smaller one of the same kind.
fn per_gb(lab: &Lab, life: &mut Life, shape: &Shape, gigabytes: f64) -> Outcome<f64> {
    let gigabytes = gigabytes * part(lab);
    let warm = life.load(shape, gigabytes / 4.0);
    life.broker.explained(client::produce(&warm))?;
    let load = life.load(shape, gigabytes);
    let (report, cost) = life.broker.explained(costed(&life.broker.process, || client::produce(&load)))?;
    Ok(cost.broker_s / (report.bytes as f64 / 1e9))
}

/// Microseconds of the broker's CPU for each of so many pieces of work.
fn us_each(life: &Life, times: u64, mut work: impl FnMut(u64) -> Outcome<()>) -> Outcome<f64> {
    let all = || (0..times).try_for_each(&mut work);
    let ((), cost) = life.broker.explained(costed(&life.broker.process, all))?;
    Ok(1e6 * cost.broker_s / times as f64)
}

/// The median of how long each of so many pieces of work takes, in microseconds.
fn median_us(life: &Life, times: u64, mut work: impl FnMut(u64) -> Outcome<()>) -> Outcome<f64> {
    let mut timed = |index: u64| {
        let start = Moment::now();
        work(index)?;
        Ok(start.elapsed())
    };
    let took: Outcome<Vec<_>> = (0..times).map(&mut timed).collect();
    let mut took = life.broker.explained(took)?;
    took.sort_unstable();
    let median = took.get(took.len() / 2).ok_or("nothing was done")?;
    Ok(1e6 * median.as_secs_f64())
}

/// How much the broker's memory has grown over some work, in KiB.
fn kib_more<T>(life: &mut Life, work: impl FnOnce(&mut Life) -> Outcome<T>) -> Outcome<f64> {
    let before = life.broker.process.read()?;
    // What it gives may be what takes the memory.
    let held = work(life)?;
    let after = life.broker.process.read()?;
    drop(held);
    Ok(1024.0 * (after.rss_mib() - before.rss_mib()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::row::{Bound, LINEAR, row};
    use super::*;

    fn nothing(_: &Lab, _: u64) -> Outcome<f64> {
        Ok(1.0)
    }

    /// Whether a row of this bound passes with these costs, each off by up to `noise` as a seed says; and how often it measured.
    fn passes(bound: Bound, noise: f64, mut seed: u64, cost: fn(f64) -> f64) -> (bool, usize) {
        let mut measured = 0;
        let mut measure = |n: u64| {
            measured += 1;
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let chance = (seed >> 33) as f64 / (1_u64 << 31) as f64;
            Ok(cost(n as f64) * (1.0 + noise * (2.0 * chance - 1.0)))
        };
        let row = row("x", nothing).grows(bound);
        (judged(&row, &[10, 100, 1_000], 2, &mut measure).unwrap().0, measured)
    }

    #[test]
    fn a_square_fails_a_linear_row_whatever_the_noise() {
        for seed in 0..500 {
            assert!(!passes(LINEAR, 0.3, seed, |n| n * n).0, "seed {seed}");
            assert!(!passes(Bound::Within(1.1), 0.3, seed, f64::sqrt).0, "seed {seed}");
        }
    }

    #[test]
    fn noise_over_flat_costs_is_seldom_taken_for_growth() {
        let failed = (0..1_000).filter(|seed| !passes(Bound::Within(1.1), 0.3, *seed, |_| 5.0).0).count();
        assert!(failed < 20, "{failed} of 1000");
        let failed = (0..1_000).filter(|seed| !passes(LINEAR, 0.3, *seed, |n| 5.0 * n).0).count();
        assert!(failed < 10, "{failed} of 1000");
    }

    #[test]
    fn what_fails_is_measured_once_more() {
        assert_eq!(passes(LINEAR, 0.0, 1, |n| n), (true, 6));
        assert_eq!(passes(LINEAR, 0.0, 1, |n| n * n), (false, 12));
    }

    #[test]
    fn rows_have_names_of_their_own_and_sizes_that_grow() {
        let names: HashSet<&str> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for row in TABLE {
            for sizes in [row.quick, row.weekly] {
                assert!(sizes.len() >= 3 && sizes.is_sorted() && row.smoke > 0, "{}", row.name);
            }
        }
        assert_eq!(chosen(&[]).unwrap().len(), TABLE.len());
        assert!(chosen(&["partitions*".to_owned()]).unwrap().len() > 3);
        assert!(chosen(&["nothing".to_owned()]).is_err());
    }
}
