//! Makes inputs, runs targets on them, and tells what went wrong.

// The engine measures what it runs, on the machine's own clock.
#![allow(clippy::disallowed_methods)]

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::memory;
use crate::mutate::damage;
use crate::targets::Target;

/// No input takes longer than this, even unoptimized and beside other work.
pub const SLOWEST: Duration = Duration::from_secs(10);

/// What a target did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Panic(String),
    Memory { peak: usize, budget: usize },
    Slow(Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(message) => write!(f, "panicked: {message}"),
            Self::Memory { peak, budget } => write!(f, "held {peak} bytes, with a budget of {budget}"),
            Self::Slow(time) => write!(f, "took {time:?}"),
        }
    }
}

/// The input with this number.
pub fn input(target: &Target, seed: u64, number: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed, number);
    let mut bytes = (target.sample)(&mut chance);
    let other = (target.sample)(&mut chance);
    damage(&mut bytes, &other, &mut chance);
    bytes
}

/// Runs a target on one input.
pub fn try_one(target: &Target, bytes: &[u8]) -> Result<(), Fault> {
    let started = Instant::now();
    let (outcome, peak) =
        memory::peak_of(|| catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).map_err(message_of));
    let time = started.elapsed();
    let budget = target.memory_slack + target.memory_factor * bytes.len();
    match outcome {
        Err(message) => Err(Fault::Panic(message)),
        Ok(()) if peak > budget => Err(Fault::Memory { peak, budget }),
        Ok(()) if time > SLOWEST => Err(Fault::Slow(time)),
        Ok(()) => Ok(()),
    }
}

fn message_of(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or("without words").to_owned(),
    }
}

/// Runs a target on inputs from number `first` on, until `time` is over. Says how many, or the number of the one that failed.
pub fn run(target: &Target, seed: u64, first: u64, time: Duration) -> Result<u64, (u64, Fault)> {
    let started = Instant::now();
    let mut number = first;
    while started.elapsed() < time {
        try_one(target, &input(target, seed, number)).map_err(|fault| (number, fault))?;
        number += 1;
    }
    Ok(number - first)
}
