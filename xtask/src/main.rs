//! The developer's tools: `cargo xtask <command>`. Each command is a module; this file is their table of contents.
//!
//! Owns nothing but the command line. A command gets the repository's root, prints what it does, and ends with a line that says
//! how much passed and failed.

mod assignors;
mod bytes;
mod ci;
mod clients;
mod config;
mod conformance;
mod deny;
mod instructions;
mod jars;
mod mistakes;
mod power;
mod schemas;
mod sim;
mod test;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Checks and chores around the platform")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything a change has to pass
    Ci,
    /// All tests, by suite
    Test {
        /// Leave a suite out; may be given several times
        #[arg(long)]
        without: Vec<String>,
    },
    /// The rules of the house that no compiler knows
    Tidy {
        /// Lower the numbers of the ratchet to what is there now
        #[arg(long)]
        tighten: bool,
    },
    /// Licences, banned crates, sources, and a reason for every dependency
    Deny,
    /// The protocol's tables against the definitions inside Kafka's jars, field by field
    Schemas,
    /// The tables of configuration keys, and what follows from them, against Kafka's own classes
    Config {
        /// Rewrite the golden files and the reference page
        #[arg(long)]
        bless: bool,
    },
    /// The protocol's bytes against Kafka's own classes, both ways
    Bytes {
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Random values per message and version
        #[arg(long, default_value_t = 25)]
        values: u32,
    },
    /// The assignments that tests expect, against Kafka's own assignors
    Assignors {
        /// Make the file of random cases anew
        #[arg(long)]
        bless: bool,
        #[arg(long, default_value_t = 1500)]
        cases: u32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Instructions of the data path, counted by callgrind, against the stored figures
    Instructions {
        /// Store what has changed; needs a reason
        #[arg(long, requires = "reason")]
        bless: bool,
        /// Why a figure is another one now
        #[arg(long, requires = "bless")]
        reason: Option<String>,
    },
    /// Other people's clients and tools against a broker
    Clients {
        #[arg(long, value_enum, default_value = "dohle")]
        target: clients::Target,
        /// Write Apache Kafka's answers to the golden scripts
        #[arg(long)]
        bless: bool,
        /// The long run of the suites of strangers; write their figures and docs/conformance.md
        #[arg(long, conflicts_with = "bless")]
        results: bool,
    },
    /// Simulated worlds from seeds; their invariants must hold
    Sim {
        #[arg(long, default_value = "groups")]
        scenario: String,
        /// The first seed; alone, the only one
        #[arg(long)]
        seed: Option<u64>,
        /// How many; 100,000 if nothing is said
        #[arg(long)]
        seeds: Option<u64>,
        /// Print what happens; for one seed
        #[arg(long)]
        tell: bool,
        /// Compile mistakes in, and see that they are found
        #[arg(long)]
        bugs: bool,
    },
    /// Kafka's own JUnit integration tests against a broker, and the page of what strangers' tests say
    Conformance(conformance::Options),
    /// Kill -9 under load, again and again; nothing acknowledged may be lost
    Soak {
        #[arg(long, value_enum, default_value = "dohle")]
        target: clients::Target,
        #[arg(long, default_value_t = 100)]
        cycles: u32,
        #[arg(long)]
        seed: Option<u64>,
    },
    /// The power goes under a broker, again and again; nothing acknowledged may be lost. For root, where there is /dev/fuse
    Power {
        #[arg(long, default_value_t = 200)]
        cuts: u64,
        #[arg(long)]
        seed: Option<u64>,
        /// Compile mistakes in, and see that they are found
        #[arg(long)]
        bugs: bool,
    },
    /// The power goes at every operation of generated workloads of logs
    Crash {
        /// How many operations, of plain logs and of compacted ones each
        #[arg(long, default_value_t = 50_000)]
        points: u64,
        /// Compile mistakes in, and see that they are found
        #[arg(long)]
        bugs: bool,
    },
}

fn main() -> ExitCode {
    if let Some(error) = mistakes::compile_if_asked() {
        eprintln!("error: the compiler cannot be called: {error}");
        return ExitCode::FAILURE;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository");
    let result = match Arguments::parse().command {
        Command::Ci => ci::run(root),
        Command::Test { without } => test::run(root, &without),
        Command::Tidy { tighten } => tidy::run(root, tighten),
        Command::Deny => deny::run(root),
        Command::Schemas => schemas::run(root),
        Command::Config { bless } => config::run(root, bless),
        Command::Bytes { seed, values } => bytes::run(root, seed, values),
        Command::Assignors { bless, cases, seed } => {
            assignors::run(root, bless.then_some(assignors::Bless { cases, seed }))
        }
        Command::Instructions { reason, .. } => instructions::run(root, reason.as_deref()),
        Command::Clients { target, bless, results } => {
            let written = match (bless, results) {
                (true, _) => clients::Written::Golden,
                (_, true) => clients::Written::Results,
                _ => clients::Written::Nothing,
            };
            clients::run(root, target, written)
        }
        Command::Sim { bugs: true, .. } => sim::bugs(root),
        Command::Sim { scenario, seed, seeds, tell, .. } => {
            sim::run(root, &sim::Wish { scenario, seed, seeds, tell })
        }
        Command::Conformance(options) => conformance::run(root, &options),
        Command::Power { bugs: true, .. } => power::cut_bugs(root),
        Command::Power { cuts, seed, .. } => power::cuts(root, cuts, seed),
        Command::Crash { bugs: true, .. } => power::crash_bugs(root),
        Command::Crash { points, .. } => power::points(root, points),
        Command::Soak { target, cycles, seed } => clients::soak(root, target, cycles, seed),
    };
    match result {
        Ok(counts) if counts.failed == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
