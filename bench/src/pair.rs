//! `pair`: brokers in alternation, one alive at a time, on one core, with the client on the other; what they cost, side by side.
//!
//! Owns the order of the runs, the readings, and the report. Invariants: *one alive at a time*, *same load, same folder's file
//! system, fresh folder*, *ABBA* (the order turns round every round), *same durability compared* (every row says which it is),
//! *raw pairs are kept* (the JSON has every sample, also those thrown away for noise, marked).

mod background;
mod broker;
mod broker_file;
mod contestant;
mod crowds;
pub mod document;
mod fit;
pub mod floor;
mod groups;
pub mod grow;
mod kafka;
mod lab;
mod loads;
mod long;
mod machine;
mod measure;
mod moving;
mod process;
mod rdkafka;
mod report;
mod results;
mod scenario;
mod smoke;
pub mod standard;
mod syscalls;
mod table;

pub use lab::{Lab, Options};

use crate::Outcome;
use contestant::Contestant;
use loads::Life;
use results::{Results, Sample};
use scenario::{Measure, Scenario};

/// Runs the chosen scenarios, prints their tables and keeps the samples.
pub fn run(options: &Options) -> Outcome<()> {
    if options.scenario.iter().any(|name| name == "list") {
        return list(options);
    }
    if options.smoke {
        return smoke::run(options);
    }
    let chosen = chosen(options)?;
    let lab = Lab::open(options)?;
    let earlier = options.json.as_deref().filter(|path| path.exists()).map(Results::read).transpose()?;
    let earlier = earlier.unwrap_or_default();
    let mut results = Results { runs: vec![lab.run()], samples: Vec::new() };
    if let Some(path) = &options.json {
        results.append(path)?;
    }
    for together in in_lives(&chosen, options.one_life) {
        for scenario in &together {
            println!("\n{}: {}", scenario.name, scenario.about);
        }
        let turned = earlier.rounds_of(&together[0].name) % 2 == 1;
        results.samples.extend(measured(&lab, &together, turned)?);
        for scenario in &together {
            println!("\n### {}\n\n{}", scenario.name, report::table(scenario, &results.of(&scenario.name)));
        }
    }
    let failed: Vec<&str> =
        results.samples.iter().filter(|s| s.failed.is_some()).map(|s| s.scenario.as_str()).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("not measured: {}", failed.join(", ")).into()) }
}

fn list(options: &Options) -> Outcome<()> {
    for scenario in table::scenarios() {
        let promised = if scenario.promised { "*" } else { " " };
        println!("{promised} {:<16} {}", scenario.name, scenario.about);
    }
    let cells: Vec<Scenario> = table::matrix().collect();
    println!("  {:<16} throughput crossed: {} cells, as {}", "matrix-*", cells.len(), cells[0].name);
    println!("\nWith a star: promised, and run when nothing is named. `name*` means all that begin so.");
    for file in broker_file::BrokerFile::all(&options.broker)? {
        println!("Broker {}: {}", file.name, file.about);
    }
    Ok(())
}

fn chosen(options: &Options) -> Outcome<Vec<&'static Scenario>> {
    if options.scenario.is_empty() {
        return Ok(scenario::all().iter().filter(|scenario| scenario.promised).collect());
    }
    let mut chosen = Vec::new();
    for name in &options.scenario {
        chosen.extend(scenario::named(name)?);
    }
    Ok(chosen)
}

/// What is measured in one life of each broker: each scenario by itself or, when asked for, neighbours that can share.
fn in_lives(chosen: &[&'static Scenario], one_life: bool) -> Vec<Vec<&'static Scenario>> {
    let mut lives: Vec<Vec<&Scenario>> = Vec::new();
    for &scenario in chosen {
        let shares = |last: &Vec<&Scenario>| {
            one_life
                && last[0].shares_a_broker()
                && scenario.shares_a_broker()
                && last[0].contestants == scenario.contestants
        };
        match lives.last_mut() {
            Some(last) if shares(last) => last.push(scenario),
            _ => lives.push(vec![scenario]),
        }
    }
    lives
}

/// Every contestant `rounds` times, in an order that turns round; it begins `turned` where earlier pieces left off so.
fn measured(lab: &Lab, together: &[&Scenario], turned: bool) -> Outcome<Vec<Sample>> {
    let mut order = lab.contestants(together[0]);
    if turned {
        order.reverse();
    }
    let rounds = if together[0].deterministic { 1 } else { lab.options.rounds.max(1) };
    let mut samples = Vec::new();
    for round in 0..rounds {
        for &contestant in &order {
            let mut life = None;
            for scenario in together {
                let sample = sample(lab, scenario, contestant, round, &mut life);
                if let Some(path) = &lab.options.json {
                    // At once: a run that is cut short keeps what it has.
                    Results { runs: Vec::new(), samples: vec![sample.clone()] }.append(path)?;
                }
                samples.push(sample);
            }
        }
        order.reverse();
    }
    if samples.is_empty() {
        return Err(format!("nobody takes part in {}", together[0].name).into());
    }
    Ok(samples)
}

fn sample(
    lab: &Lab,
    scenario: &Scenario,
    contestant: Contestant,
    round: usize,
    life: &mut Option<Life>,
) -> Sample {
    let watch = lab.machine.watch();
    let measured = measure(lab, scenario, contestant, life);
    let mut sample = Sample {
        scenario: scenario.name.to_string(),
        contestant: contestant.to_string(),
        round,
        noise: watch.noise(),
        details: lab.take_details(),
        ..Sample::default()
    };
    match measured {
        Ok(metrics) => {
            sample.metrics = metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        }
        Err(error) => {
            *life = None; // whatever is left of it is no basis for the next scenario
            sample.failed = Some(error.to_string());
        }
    }
    let shown = sample.metrics.iter().map(|(name, value)| format!("{name} {}", report::rounded(*value)));
    let said = sample
        .failed
        .as_ref()
        .map_or_else(|| shown.collect::<Vec<_>>().join(", "), |why| format!("FAILED: {why}"));
    println!("  {} {contestant}: {said}{}", scenario.name, sample.noise);
    sample
}

fn measure(
    lab: &Lab,
    scenario: &Scenario,
    contestant: Contestant,
    life: &mut Option<Life>,
) -> Outcome<scenario::Metrics> {
    match scenario.measure {
        Measure::By(function) => function(lab, contestant),
        Measure::Load(way, shape) => {
            if life.is_none() {
                *life = Some(Life::begin(lab, contestant, shape.settings)?);
            }
            let life = life.as_mut().ok_or("a life has just begun")?;
            loads::measure(lab, life, way, &shape)
        }
    }
}
