//! `standard`: the load tools that others use, against both brokers, for those who trust them more than this client. Kafka's own
//! performance classes from its published jars, and librdkafka's `rdkafka_performance`.
//!
//! They measure themselves more than the broker: on the client's core each of them spends several times what a broker does.

#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use super::contestant::{Contestant, DOHLE, KAFKA};
use super::loads::{Life, costed};
use super::report::rounded;
use super::{Lab, kafka, lab, rdkafka};
use crate::Outcome;
use crate::client::{Latencies, Topic};

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
    let rdkafka = rdkafka::performance()?;
    let mut rows = Vec::new();
    let mut order = [KAFKA, DOHLE];
    for _ in 0..options.rounds.max(1) {
        for contestant in order {
            rows.extend(tools(&lab, options, &rdkafka, contestant)?);
        }
        order.reverse();
    }
    println!("\n| tool | broker | it said | broker CPU s |\n|---|---|---|---|");
    rows.sort();
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// One life of a broker: every tool once to warm up, with a fifth of the records, and once for the table.
fn tools(lab: &Lab, options: &Options, rdkafka: &Path, contestant: Contestant) -> Outcome<Vec<String>> {
    let mut life = Life::begin(lab, contestant, &[])?;
    let mut admin = life.broker.connect()?;
    for topic in ["java", "rdkafka", "single", "paced"] {
        let made = Topic::create(&mut admin, topic, 12, &[]);
        life.broker.explained(made)?;
    }
    let address = life.broker.address.clone();
    let (jars, latencies) = (kafka::jars()?, lab.machine.folder.join("latencies"));
    let mut rows = Vec::new();
    for (part, kept) in [(5, false), (1, true)] {
        let (records, single) = (options.records / part, options.single / part);
        for (name, mut command, figures) in [
            ("kafka-producer-perf-test", producer(&jars, &address, records), Figures::LastLine),
            ("kafka-consumer-perf-test", consumer(&jars, &address, records), Figures::LastLine),
            ("kafka-e2e-latency", end_to_end(&jars, &address, single), Figures::LastLine),
            ("rdkafka_performance -P", rdkafka_producer(rdkafka, &address, records), Figures::Rate),
            ("rdkafka_performance -G", rdkafka_consumer(rdkafka, &address, records), Figures::Rate),
            (
                "rdkafka_performance -P -l",
                rdkafka_latency(rdkafka, &address, single, &latencies),
                Figures::Each(&latencies),
            ),
        ] {
            let said = costed(&life.broker.process, || said(name, &mut command, figures));
            let (said, cost) = life.broker.explained(said)?;
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

fn rdkafka(program: &Path, address: &str, topic: &str, count: u64) -> Command {
    let mut command = Command::new(program);
    // A summary at the end, none in between.
    command.args(["-b", address, "-t", topic, "-c", &count.max(1).to_string(), "-q", "-i", "600000"]);
    command
}

fn rdkafka_producer(program: &Path, address: &str, records: u64) -> Command {
    let mut command = rdkafka(program, address, "rdkafka", records);
    command.args(["-P", "-s", "1024", "-a", "-1", "-X", "batch.size=65536", "-X", "linger.ms=5"]);
    command.args(["-X", "queue.buffering.max.kbytes=262144"]);
    command
}

/// A group of its own reads what is there from the beginning.
fn rdkafka_consumer(program: &Path, address: &str, records: u64) -> Command {
    let mut command = rdkafka(program, address, "rdkafka", records);
    command.args(["-G", &format!("bench-{records}"), "-o", "beginning"]);
    command
}

/// A thousand records a second, each sent at once: from the call to the acknowledgement.
fn rdkafka_latency(program: &Path, address: &str, records: u64, latencies: &Path) -> Command {
    let mut command = rdkafka(program, address, "paced", records);
    command.args(["-P", "-l", "-s", "1024", "-a", "-1", "-r", "1000", "-X", "linger.ms=0", "-A"]);
    command.arg(latencies);
    command
}

/// Where a tool tells its figures.
#[derive(Clone, Copy)]
enum Figures<'a> {
    /// In the last line it writes.
    LastLine,
    /// In the last line that has a rate.
    Rate,
    /// In a file, the microseconds of each record on a line of its own.
    Each(&'a Path),
}

/// What a tool said.
fn said(name: &str, command: &mut Command, figures: Figures<'_>) -> Outcome<String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot start {name}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} ended with {}: {}", output.status, error.trim()).into());
    }
    let last = match figures {
        Figures::LastLine => text.lines().rfind(|line| !line.trim().is_empty()),
        Figures::Rate => text.lines().rfind(|line| line.contains("msgs/s")),
        Figures::Each(file) => return percentiles(&std::fs::read_to_string(file)?),
    };
    let last = last.ok_or_else(|| format!("{name} said nothing"))?;
    Ok(last.trim_start_matches("% ").trim().replace('|', "/"))
}

/// Half, nearly all and the longest of latencies in microseconds.
fn percentiles(lines: &str) -> Outcome<String> {
    let mut latencies = Latencies::default();
    for line in lines.lines() {
        latencies.record(Duration::from_micros(line.trim().parse()?), 1);
    }
    if latencies.is_empty() {
        return Err("no latencies".into());
    }
    let [half, most, all] = [0.5, 0.99, 1.0].map(|part| rounded(latencies.ms(part)));
    Ok(format!("p50 {half} ms, p99 {most} ms, longest {all} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_of_a_file_become_percentiles() {
        assert_eq!(percentiles("1000\n2000\n3000\n").unwrap(), "p50 2.00 ms, p99 3.00 ms, longest 3.00 ms");
        assert!(percentiles("").is_err() && percentiles("soon\n").is_err());
    }
}
