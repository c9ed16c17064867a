//! Many seeds of one scenario, on all cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::groups;
use crate::marks::Marks;

/// What one run has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub trace: u64,
    pub events: u64,
    pub marks: Marks,
}

/// A world that can be run from a seed. It panics where an invariant is broken.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// From the seed; the flag asks for the story.
    pub run: fn(u64, bool) -> Report,
    pub marks: &'static [&'static str],
}

pub const SCENARIOS: &[Scenario] = &[groups::SCENARIO];

/// What a campaign has come to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub seeds: u64,
    pub events: u64,
    pub marks: Marks,
    /// Seeds that broke an invariant, and how; in their order.
    pub failures: Vec<(u64, String)>,
}

/// A campaign ends when it has found as many.
const MOST_FAILURES: usize = 10;

/// Runs the seeds from `first` on.
pub fn run(scenario: Scenario, first: u64, seeds: u64, threads: usize) -> Outcome {
    let next = AtomicU64::new(0);
    let outcome = Mutex::new(Outcome::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| worker(scenario, first, seeds, &next, &outcome));
        }
    });
    let mut outcome = outcome.into_inner().expect("no worker holds it");
    outcome.failures.sort();
    outcome
}

fn worker(scenario: Scenario, first: u64, seeds: u64, next: &AtomicU64, outcome: &Mutex<Outcome>) {
    let mut own = Outcome::default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= seeds {
            break;
        }
        match one(scenario, first + number) {
            Ok(report) => {
                own.seeds += 1;
                own.events += report.events;
                own.marks.add(&report.marks);
            }
            Err(what) => {
                own.seeds += 1;
                own.failures.push((first + number, what));
                if own.failures.len() >= MOST_FAILURES {
                    next.store(seeds, Ordering::Relaxed);
                }
            }
        }
    }
    let mut all = outcome.lock().expect("no worker panics with it");
    all.seeds += own.seeds;
    all.events += own.events;
    all.marks.add(&own.marks);
    all.failures.append(&mut own.failures);
}

/// One run; a broken invariant is told in its words.
pub fn one(scenario: Scenario, seed: u64) -> Result<Report, String> {
    catch_unwind(AssertUnwindSafe(|| (scenario.run)(seed, false))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}
