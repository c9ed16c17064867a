//! `pair`: brokers in alternation, one alive at a time, on one core, with the client on the other; what they cost, side by side.
//!
//! Owns the order of the runs, the readings, and the report. Invariants: *one alive at a time*, *same load, same folder's file
//! system, fresh folder*, *ABBA* (the order turns round every round), *same durability compared* (every row says which it is),
//! *raw pairs are kept* (the JSON has every sample, also those thrown away for noise, marked).

mod broker;
mod groups;
mod kafka;
mod machine;
mod measure;
mod process;
mod report;
mod scenario;
mod smoke;

use std::path::PathBuf;

use clap::Args;

use crate::Outcome;
use broker::Contestant;
use machine::Machine;
use report::Report;
use scenario::{SCENARIOS, Scenario};

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Which scenarios; without it, those whose figures are promised. `list` prints all.
    #[arg(long)]
    pub scenario: Vec<String>,
    /// How often each broker is measured per scenario.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Gigabytes of values per measured run.
    #[arg(long, default_value_t = 4.0)]
    pub volume_gb: f64,
    /// Gigabytes in and out before memory is read.
    #[arg(long, default_value_t = 5.0)]
    pub memory_gb: f64,
    /// Gigabytes before a measured run, for the broker to warm up.
    #[arg(long, default_value_t = 3.0)]
    pub warm_gb: f64,
    /// Seconds at rest that idle CPU is read over.
    #[arg(long, default_value_t = 10)]
    pub idle_seconds: u64,
    /// Members of a large group, and partitions of the topic that it reads.
    #[arg(long, default_value_t = 1_000)]
    pub group_members: usize,
    /// Groups of one member.
    #[arg(long, default_value_t = 10_000)]
    pub groups: usize,
    /// Seconds of heartbeats and of commits at a fixed rate; as many again before them to warm up.
    #[arg(long, default_value_t = 15)]
    pub group_seconds: u64,
    /// Committed offsets that a coordinator has to load.
    #[arg(long, default_value_t = 1_000_000)]
    pub offsets: u64,
    /// Every scenario, tiny, against Dohle only; the figures mean nothing, but everything must work.
    #[arg(long)]
    pub smoke: bool,
    /// Leave Apache Kafka out.
    #[arg(long)]
    pub without_kafka: bool,
    /// Leave Dohle out.
    #[arg(long)]
    pub without_dohle: bool,
    /// The binary to measure; without it, the one beside this program.
    #[arg(long)]
    pub dohle: Option<PathBuf>,
    /// Where brokers keep their data; a folder on the disk that is to be measured.
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// Write everything here as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write the tables into this document, between its markers.
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// Do not set the machine to cubic while measuring (it needs to be root, and is put back at the end).
    #[arg(long)]
    pub keep_congestion_control: bool,
}

/// What every measurement needs.
#[derive(Debug)]
pub struct Lab {
    pub options: Options,
    pub machine: Machine,
    pub dohle: PathBuf,
    pub kafka: Option<kafka::Libraries>,
}

impl Lab {
    fn open(options: &Options) -> Outcome<Self> {
        let machine = Machine::prepare(options)?;
        let dohle = options.dohle.clone().map_or_else(broker::beside_us, Ok)?;
        if !options.without_dohle && !dohle.exists() {
            return Err(
                format!("{} is not there: cargo build --release -p dohle-node", dohle.display()).into()
            );
        }
        let kafka =
            if options.without_kafka || options.smoke { None } else { Some(kafka::Libraries::find()?) };
        Ok(Self { options: options.clone(), machine, dohle, kafka })
    }

    /// Whether this contestant takes part.
    fn takes_part(&self, contestant: Contestant) -> bool {
        match contestant {
            Contestant::Kafka(_) => self.kafka.is_some(),
            Contestant::Dohle(_) => !self.options.without_dohle,
        }
    }
}

/// Runs the chosen scenarios and prints the report.
pub fn run(options: &Options) -> Outcome<()> {
    if options.scenario.iter().any(|name| name == "list") {
        SCENARIOS.iter().for_each(|scenario| println!("{:<12} {}", scenario.name, scenario.about));
        return Ok(());
    }
    if options.smoke {
        return smoke::run(options);
    }
    let chosen = chosen(options)?;
    let lab = Lab::open(options)?;
    let mut report = Report::new(&lab);
    let mut failed = Vec::new();
    for scenario in chosen {
        println!("\n{}: {}", scenario.name, scenario.about);
        match measured(&lab, scenario) {
            Ok(samples) => report.add(scenario, samples),
            Err(error) => {
                println!("  FAILED: {error}");
                failed.push(scenario.name);
            }
        }
    }
    report.write(options)?;
    if failed.is_empty() { Ok(()) } else { Err(format!("not measured: {}", failed.join(", ")).into()) }
}

fn chosen(options: &Options) -> Outcome<Vec<&'static Scenario>> {
    if options.scenario.is_empty() {
        return Ok(SCENARIOS.iter().filter(|scenario| scenario.promised).collect());
    }
    let named = |name: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| format!("there is no scenario {name}; --scenario list prints all").into())
    };
    options.scenario.iter().map(named).collect()
}

/// One reading of one contestant.
#[derive(Clone, Debug)]
pub struct Sample {
    pub contestant: Contestant,
    pub round: usize,
    pub metrics: scenario::Metrics,
    pub noise: machine::Noise,
}

/// Every contestant `rounds` times, in an order that turns round.
fn measured(lab: &Lab, scenario: &Scenario) -> Outcome<Vec<Sample>> {
    let mut order: Vec<Contestant> =
        scenario.contestants.iter().copied().filter(|contestant| lab.takes_part(*contestant)).collect();
    let rounds = if scenario.deterministic { 1 } else { lab.options.rounds.max(1) };
    let mut samples = Vec::new();
    for round in 0..rounds {
        for &contestant in &order {
            let watch = lab.machine.watch();
            let metrics = (scenario.measure)(lab, contestant)
                .map_err(|error| format!("{}, {contestant}: {error}", scenario.name))?;
            let noise = watch.noise();
            let shown = metrics.iter().map(|(name, value)| format!("{name} {}", report::rounded(*value)));
            println!("  {contestant}: {}{noise}", shown.collect::<Vec<_>>().join(", "));
            samples.push(Sample { contestant, round, metrics, noise });
        }
        order.reverse();
    }
    Ok(samples)
}
