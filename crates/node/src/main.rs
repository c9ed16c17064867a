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
//! The allocator is the system's: an idle node holds 1.5 MiB of memory with it and 13.6 MiB with mimalloc, whose arenas are made of
//! huge pages unless the environment forbids it.

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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Command::Start(options) => start::run(options),
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
