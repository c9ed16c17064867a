//! `dohle-sim`: runs simulations from the command line; `cargo xtask sim` starts it.

#![allow(clippy::disallowed_methods)]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use dohle_tests_sim::campaign::{self, Outcome, SCENARIOS, Scenario};

#[derive(Parser)]
#[command(about = "Runs seeds of a simulated world and checks its invariants")]
struct Arguments {
    #[arg(long, default_value = "groups")]
    scenario: String,
    /// The first seed; alone, the only one
    #[arg(long)]
    seed: Option<u64>,
    /// How many
    #[arg(long)]
    seeds: Option<u64>,
    /// Print what happens; for one seed
    #[arg(long)]
    tell: bool,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

const DEFAULT_SEEDS: u64 = 100_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(scenario) = SCENARIOS.iter().find(|scenario| scenario.name == arguments.scenario) else {
        eprintln!("error: there is no scenario {}", arguments.scenario);
        return ExitCode::FAILURE;
    };
    let seeds = arguments.seeds.unwrap_or(if arguments.seed.is_some() { 1 } else { DEFAULT_SEEDS });
    if seeds == 1 {
        let seed = arguments.seed.unwrap_or_default();
        // Not caught: the panic tells where.
        let report = (scenario.run)(seed, arguments.tell);
        println!("seed {seed}: {} events, trace {:016x}", report.events, report.trace);
        println!("1 passed, 0 failed");
        return ExitCode::SUCCESS;
    }
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let outcome = campaign::run(*scenario, arguments.seed.unwrap_or_default(), seeds, arguments.threads);
    tell(*scenario, &outcome, start.elapsed().as_secs_f64())
}

fn tell(scenario: Scenario, outcome: &Outcome, seconds: f64) -> ExitCode {
    outcome.marks.iter().for_each(|(mark, count)| println!("{count:>12}  {mark}"));
    let missing = outcome.marks.missing(scenario.marks);
    missing.iter().for_each(|mark| println!("       never  {mark}"));
    for (seed, what) in &outcome.failures {
        println!("seed {seed} failed: {what}");
        println!("  again: cargo xtask sim --scenario {} --seed {seed}", scenario.name);
    }
    let rate = outcome.seeds as f64 / seconds;
    println!("{} seeds, {} events, {seconds:.1} s, {rate:.0} seeds/s", outcome.seeds, outcome.events);
    let failed = outcome.failures.len() + missing.len();
    println!("{} passed, {failed} failed", outcome.seeds as usize - outcome.failures.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
