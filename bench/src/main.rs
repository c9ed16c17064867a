//! The lab: a replay client that drives any Kafka broker, and the runner that measures Dohle and Apache Kafka side by side.
//!
//! Owns the load (pre-encoded batches, real frames), the check of everything it reads, and the report. It never links the
//! broker: it speaks to it over a socket as everybody does, and reads its costs from `/proc`. How to measure, and what makes
//! figures lie, is told in `docs/performance.md`.

mod client;
mod pair;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use client::{Load, ReadBack};

/// What a command of this tool returns: the reason, where it is shown to a person.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug, Parser)]
#[command(name = "dohle-bench", about = "drives and measures Kafka brokers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Produces pre-encoded batches, as fast as answers come or at a fixed rate; prints JSON.
    Produce(Load),
    /// Reads a topic from its start to its present end and checks checksums, offsets and content; prints JSON.
    Consume(ReadBack),
    /// Produces at a fixed rate and reads at the tail; latencies from the moment a batch was due; prints JSON.
    EndToEnd(Load),
    /// Starts brokers in alternation, each on one core and the client on the other, and compares what they cost.
    Pair(Box<pair::Options>),
    /// Grows one quantity after the other and fails when a cost grows faster than it may.
    Grow(pair::grow::Options),
    /// What the machine takes for the least that a broker has to do: an answer, a flush.
    Floor(pair::floor::Options),
    /// Kafka's own load tools and librdkafka against both brokers.
    Standard(pair::standard::Options),
    /// Makes the documents from the samples that `pair --json` has gathered.
    Report(pair::document::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Produce(load) => client::produce(&load).map(|report| print_json(&report.to_json())),
        Command::Consume(read) => client::consume(&read).map(|report| print_json(&report.to_json())),
        Command::EndToEnd(load) => client::end_to_end(&load).map(|report| print_json(&report.to_json())),
        Command::Pair(options) => pair::run(&options),
        Command::Grow(options) => pair::grow::run(&options),
        Command::Floor(options) => pair::floor::run(&options),
        Command::Standard(options) => pair::standard::run(&options),
        Command::Report(options) => pair::document::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dohle-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_json(value: &serde_json::Value) {
    println!("{value:#}");
}
