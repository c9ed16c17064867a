//! `cargo run -p dohle-fuzz -- [--seconds N] [--seed S] [--only NUMBER] [--input FILE] [TARGET]...`

// A tool beside the platform: it reads and writes files and asks for the time itself.
#![allow(clippy::disallowed_methods)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dohle_fuzz::engine::{self, Fault};
use dohle_fuzz::{TARGETS, Target, targets};

const USAGE: &str = "usage: dohle-fuzz [--seconds N] [--seed S] [--only NUMBER] [--input FILE] [TARGET]...\n\
    Without a target, all of them share the seconds (60). --only and --input run a single input of one target.";

struct Order {
    seconds: u64,
    seed: u64,
    only: Option<u64>,
    input: Option<PathBuf>,
    targets: Vec<&'static Target>,
}

fn main() -> ExitCode {
    let order = match parse(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // The engine tells of panics itself, with what it takes to see them again.
    std::panic::set_hook(Box::new(|_| {}));
    match perform(&order) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Order, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut order =
        Order { seconds: 60, seed: now.as_nanos() as u64, only: None, input: None, targets: Vec::new() };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is not a number"));
        match arg.as_str() {
            "--seconds" => order.seconds = number(value()?)?,
            "--seed" => order.seed = number(value()?)?,
            "--only" => order.only = Some(number(value()?)?),
            "--input" => order.input = Some(value()?.into()),
            name => order.targets.push(targets::find(name).ok_or_else(|| {
                let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                format!("there is no target {name}; there are: {}", names.join(", "))
            })?),
        }
    }
    if (order.only.is_some() || order.input.is_some()) && order.targets.len() != 1 {
        return Err("a single input needs a single target".to_owned());
    }
    if order.targets.is_empty() {
        order.targets.extend(TARGETS);
    }
    Ok(order)
}

/// False if any target failed.
fn perform(order: &Order) -> bool {
    if let Some(path) = &order.input {
        let target = order.targets[0];
        return match std::fs::read(path) {
            Ok(bytes) => report(target, &bytes, engine::try_one(target, &bytes)),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                false
            }
        };
    }
    if let Some(number) = order.only {
        let target = order.targets[0];
        let bytes = engine::input(target, order.seed, number);
        return report(target, &bytes, engine::try_one(target, &bytes));
    }
    println!("seed {}", order.seed);
    let share = Duration::from_secs(order.seconds) / order.targets.len() as u32;
    let mut good = true;
    for target in &order.targets {
        match engine::run(target, order.seed, 0, share) {
            Ok(count) => println!("{:<20} {count} inputs", target.name),
            Err((number, fault)) => {
                good = false;
                let bytes = engine::input(target, order.seed, number);
                report(target, &bytes, Err(fault));
                println!(
                    "again: cargo run -p dohle-fuzz -- --seed {} --only {number} {}",
                    order.seed, target.name
                );
            }
        }
    }
    good
}

fn report(target: &Target, bytes: &[u8], outcome: Result<(), Fault>) -> bool {
    const SHOWN: usize = 256;
    match outcome {
        Ok(()) => println!("{}: good", target.name),
        Err(fault) => {
            println!("{}: {fault}", target.name);
            let hex: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
            println!("input of {} bytes: {hex}{}", bytes.len(), if bytes.len() > SHOWN { "..." } else { "" });
            return false;
        }
    }
    true
}
