//! What every measurement needs: the options, the machine, the brokers and where they are.

#![allow(clippy::disallowed_methods)]

use std::cell::RefCell;
use std::path::PathBuf;

use clap::{Args, Parser};
use serde_json::{Map, Value};

use super::broker_file::BrokerFile;
use super::contestant::{Contestant, DOHLE, Durability, KAFKA};
use super::machine::Machine;
use super::results::Run;
use super::scenario::Scenario;
use super::{broker, kafka};
use crate::Outcome;

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Which scenarios; without it, those whose figures are promised. `list` explains all, `matrix-1k*` means several.
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
    /// Seconds before a measured run, at least, for a broker that compiles while it runs.
    #[arg(long, default_value_t = 60.0)]
    pub warm_seconds: f64,
    /// Seconds of a load at a fixed rate, or of small requests.
    #[arg(long, default_value_t = 30.0)]
    pub rate_seconds: f64,
    /// Hours of the scenario that looks for drift.
    #[arg(long, default_value_t = 1.0)]
    pub hours: f64,
    /// Gigabytes that a reader scans beside the tail; three times the memory to be sure.
    #[arg(long, default_value_t = 16.0)]
    pub scan_gb: f64,
    /// Seconds at rest that idle CPU is read over.
    #[arg(long, default_value_t = 10)]
    pub idle_seconds: u64,
    /// Partitions, or connections, in scenarios with ten thousand of them; the one with ten times as many follows it.
    #[arg(long, default_value_t = 10_000)]
    pub crowd: usize,
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
    /// Loads that stand next to each other are measured in one life of each broker per round: warm-up is paid once.
    #[arg(long)]
    pub one_life: bool,
    /// Every scenario, tiny, against Dohle only; the figures mean nothing, but everything must work.
    #[arg(long)]
    pub smoke: bool,
    /// Leave Apache Kafka out.
    #[arg(long)]
    pub without_kafka: bool,
    /// Leave Dohle out.
    #[arg(long)]
    pub without_dohle: bool,
    /// One more broker, described as those in bench/brokers are.
    #[arg(long)]
    pub broker: Vec<PathBuf>,
    /// The binary to measure; without it, the one beside this program.
    #[arg(long)]
    pub dohle: Option<PathBuf>,
    /// Where brokers keep their data; a folder on the disk that is to be measured.
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// Append every sample to this file, one JSON object a line; `dohle-bench report` reads it.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Do not set the machine to cubic while measuring (it needs to be root, and is put back at the end).
    #[arg(long)]
    pub keep_congestion_control: bool,
}

impl Default for Options {
    fn default() -> Self {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            options: Options,
        }
        Alone::parse_from(["pair"]).options
    }
}

#[derive(Debug)]
pub struct Lab {
    pub options: Options,
    pub machine: Machine,
    pub dohle: PathBuf,
    pub kafka: Option<PathBuf>,
    brokers: Vec<BrokerFile>,
    /// What is told about the sample that is being taken.
    details: RefCell<Map<String, Value>>,
}

impl Lab {
    pub fn open(options: &Options) -> Outcome<Self> {
        let machine = Machine::prepare(options)?;
        let dohle = options.dohle.clone().map_or_else(broker::beside_us, Ok)?;
        if !options.without_dohle && !dohle.exists() {
            return Err(
                format!("{} is not there: cargo build --release -p dohle-node", dohle.display()).into()
            );
        }
        let mut brokers = BrokerFile::all(&options.broker)?;
        brokers.retain(|file| !(file.name == KAFKA.broker && (options.without_kafka || options.smoke)));
        brokers.retain(|file| !(file.name == DOHLE.broker && options.without_dohle));
        let kafka = if brokers.iter().any(BrokerFile::needs_kafka) { Some(kafka::jars()?) } else { None };
        let options = options.clone();
        Ok(Self { options, machine, dohle, kafka, brokers, details: RefCell::default() })
    }

    pub fn file(&self, contestant: Contestant) -> Outcome<&BrokerFile> {
        let found = self.brokers.iter().find(|file| file.name == contestant.broker);
        found.ok_or_else(|| format!("{} does not take part", contestant.broker).into())
    }

    /// Who takes part in a scenario: those it names, and every further broker in as many kinds of durability as it offers.
    pub fn contestants(&self, scenario: &Scenario) -> Vec<Contestant> {
        let mut all: Vec<Contestant> = scenario.contestants.to_vec();
        let compared = |durability| scenario.contestants.iter().any(|c| c.durability == durability);
        for file in self.brokers.iter().filter(|file| ![KAFKA.broker, DOHLE.broker].contains(&&*file.name)) {
            // A handful of names, which live as long as the program does.
            let broker: &'static str = String::leak(file.name.clone());
            let kinds = Durability::ALL.into_iter().filter(|durability| compared(*durability));
            all.extend(kinds.map(|durability| Contestant { broker, durability }));
        }
        all.retain(|contestant| self.file(*contestant).is_ok_and(|file| file.offers(contestant.durability)));
        all
    }

    /// Keeps something with the sample that is being taken.
    pub fn detail(&self, name: &str, value: Value) {
        self.details.borrow_mut().insert(name.to_owned(), value);
    }

    pub fn take_details(&self) -> Map<String, Value> {
        self.details.take()
    }

    /// What this run is made on and how.
    pub fn run(&self) -> Run {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let command = without_places(words.iter().map(String::as_str));
        Run {
            machine: self.machine.describe(),
            command,
            brokers: self.brokers.iter().map(|file| (file.name.clone(), self.version(file))).collect(),
            day: crate::client::today(),
        }
    }

    fn version(&self, file: &BrokerFile) -> String {
        if file.name != DOHLE.broker {
            return file.version.clone();
        }
        let said = std::process::Command::new(&self.dohle).arg("--version").output();
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        said.unwrap_or_default().trim_start_matches("dohle ").to_owned()
    }
}

/// A command without the places of one machine, which are nobody else's.
fn without_places<'a>(words: impl Iterator<Item = &'a str>) -> String {
    const PLACES: [&str; 4] = ["--json", "--dohle", "--folder", "--broker"];
    let mut kept: Vec<&str> = Vec::new();
    let mut place = false;
    for word in words {
        if !place && !PLACES.contains(&word) {
            kept.push(word);
        }
        place = PLACES.contains(&word);
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_machine_are_left_out_of_commands() {
        let words = ["pair", "--dohle", "/x/y", "--rounds", "3", "--json", "z", "--smoke"];
        assert_eq!(without_places(words.into_iter()), "pair --rounds 3 --smoke");
    }
}
