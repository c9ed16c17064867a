//! `standard`: the load tools that others use, against both brokers, for those who trust them more than this client. Kafka's own
//! performance classes from its published jars, and librdkafka by its Python binding.
//!
//! They measure themselves more than the broker: on the client's core each of them spends several times what a broker does.

#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::contestant::{Contestant, DOHLE, KAFKA};
use super::loads::{Life, costed};
use super::report::rounded;
use super::{Lab, kafka, lab};
use crate::Outcome;
use crate::client::Topic;

/// librdkafka has a load program of its own that no distribution packages; this one does the same through its Python binding.
const LIBRDKAFKA: &str = include_str!("../../standard/librdkafka.py");
const BINDING: &str = "confluent-kafka==2.16.1";

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Records of 1 KiB that each tool sends and reads.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// Records sent one by one for latency.
    #[arg(long, default_value_t = 10_000)]
    single: u64,
    /// How often, brokers in turn.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// The binary to measure; without it, the one beside this program.
    #[arg(long)]
    dohle: Option<PathBuf>,
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Runs every tool and prints a table of what it said last, and what the broker spent meanwhile.
pub fn run(options: &Options) -> Outcome<()> {
    let lab = Lab::open(&lab::Options {
        dohle: options.dohle.clone(),
        folder: options.folder.clone(),
        ..lab::Options::default()
    })?;
    let python = binding()?;
    let mut rows = Vec::new();
    let mut order = [KAFKA, DOHLE];
    for _ in 0..options.rounds.max(1) {
        for contestant in order {
            rows.extend(tools(&lab, options, &python, contestant)?);
        }
        order.reverse();
    }
    println!("\n| tool | broker | it said | broker CPU s |\n|---|---|---|---|");
    rows.sort();
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// One life of a broker: every tool once to warm up, with a fifth of the records, and once for the table.
fn tools(lab: &Lab, options: &Options, python: &Path, contestant: Contestant) -> Outcome<Vec<String>> {
    let mut life = Life::begin(lab, contestant, &[])?;
    let mut admin = life.broker.connect()?;
    for topic in ["java", "rdkafka", "single"] {
        let made = Topic::create(&mut admin, topic, 12, &[]);
        life.broker.explained(made)?;
    }
    let address = life.broker.address.clone();
    let jars = kafka::jars()?;
    let mut rows = Vec::new();
    for (part, kept) in [(5, false), (1, true)] {
        let (records, single) = (options.records / part, options.single / part);
        for (name, mut command) in [
            ("kafka-producer-perf-test", producer(&jars, &address, records)),
            ("kafka-consumer-perf-test", consumer(&jars, &address, records)),
            ("kafka-e2e-latency", end_to_end(&jars, &address, single)),
            ("librdkafka, confluent-kafka", rdkafka(python, &address, records)),
        ] {
            let said = life.broker.explained(costed(&life.broker.process, || said(name, &mut command)));
            let (said, cost) = said?;
            println!("  {contestant}, {name}: {said}");
            if kept {
                rows.push(format!("| {name} | {contestant} | {said} | {} |", rounded(cost.broker_s)));
            }
        }
    }
    Ok(rows)
}

fn java(jars: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx512M", "-cp", &format!("{}/*", jars.display())]).arg(class);
    command
}

fn producer(jars: &Path, address: &str, records: u64) -> Command {
    let mut command = java(jars, "org.apache.kafka.tools.ProducerPerformance");
    command.args(["--topic", "java", "--num-records", &records.to_string(), "--record-size", "1024"]);
    command.args(["--throughput", "-1", "--producer-props", "acks=all", "batch.size=65536", "linger.ms=5"]);
    command.arg(format!("bootstrap.servers={address}"));
    command
}

fn consumer(jars: &Path, address: &str, records: u64) -> Command {
    let mut command = java(jars, "org.apache.kafka.tools.ConsumerPerformance");
    command.args(["--topic", "java", "--bootstrap-server", address, "--hide-header"]);
    command.args(["--messages", &records.to_string(), "--timeout", "60000"]);
    command
}

fn end_to_end(jars: &Path, address: &str, records: u64) -> Command {
    let mut command = java(jars, "org.apache.kafka.tools.EndToEndLatency");
    command.args([
        "--bootstrap-server",
        address,
        "--topic",
        "single",
        "--num-records",
        &records.max(1).to_string(),
    ]);
    command.args(["--producer-acks", "all", "--record-size", "1024"]);
    command
}

fn rdkafka(python: &Path, address: &str, records: u64) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", LIBRDKAFKA, address, "rdkafka", &records.to_string(), "1024"]);
    command
}

/// What a tool said last.
fn said(name: &str, command: &mut Command) -> Outcome<String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot start {name}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} ended with {}: {}", output.status, error.trim()).into());
    }
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    Ok(last.ok_or_else(|| format!("{name} said nothing"))?.trim().replace('|', "/"))
}

/// A Python with librdkafka's binding, made once.
fn binding() -> Outcome<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set")?);
    let folder = home.join(".cache/dohle").join(format!("bench-{}", BINDING.replace("==", "-")));
    let python = folder.join("bin/python3");
    if python.exists() {
        return Ok(python);
    }
    println!("fetching {BINDING} (once)");
    let part = folder.with_extension("part");
    let part_python = part.join("bin/python3");
    let make = Command::new("python3").args(["-m", "venv"]).arg(&part).status();
    let made = make.is_ok_and(|status| status.success());
    let fill = Command::new(&part_python).args(["-m", "pip", "install", "--quiet", BINDING]).status();
    if !made || !fill.is_ok_and(|status| status.success()) {
        return Err(format!("{BINDING} could not be installed").into());
    }
    // The binding is found from where the interpreter lies, so the folder may move.
    std::fs::rename(&part, &folder)?;
    Ok(python)
}
