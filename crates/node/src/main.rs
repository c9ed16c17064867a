//! The program `dohle`: reads what it is told, builds a node of it, runs it, and takes it down in reverse.
//!
//! | file | what |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`settings`] | file, environment and flags to one checked configuration |
//! | [`start`] | `dohle start`: the order in which a node is built and taken down |
//! | [`folders`] | log directories: opened, locked, formatted on first start |
//! | [`clock`] | whether the time can be right |
//! | [`unserved`] | what a configuration may ask for that this version does not do |
//! | [`signals`] | SIGTERM and Ctrl-C |
//! | [`metrics`] | the numbers of the node's parts under their names |
//! | [`banner`] | the first lines a person sees |
//! | [`storage`] | `dohle storage`, as Kafka's `kafka-storage.sh` |
//! | [`exit`] | how it ends: one sentence and a number for each reason |
//!
//! It owns the process: its arguments, signals, standard streams and exit code. It never serves a request itself.
//!
//! The allocator is jemalloc: after a peak it gives memory back where the system's keeps it in holes, so that 100,000 partitions hold
//! less than half as much. How it is set stands in `.cargo/config.toml`, and the figures in `docs/adr/2026-11-28-many-partitions.md`.

mod banner;
mod cli;
mod clock;
mod exit;
mod folders;
mod metrics;
mod settings;
mod signals;
mod start;
mod storage;
mod unserved;

use std::process::ExitCode;

use clap::Parser;

use cli::{Arguments, Command};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Command::Start(options) => {
            give_memory_back();
            start::run(options)
        }
        Command::Storage(command) => storage::run(command),
        Command::Config(options) => settings::show(&options),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.exit_code()
        }
    }
}

/// Has a thread of the allocator give memory back a second after it was freed: without it that happens while something is allocated, and
/// a node that has become idle would keep what its start, or a peak, has used. It sleeps while there is nothing to give back.
fn give_memory_back() {
    // Where there is no such thread (musl) the node does without.
    _ = tikv_jemalloc_ctl::background_thread::write(true);
}
