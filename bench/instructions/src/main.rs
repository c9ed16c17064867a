//! Drivers whose instructions `cargo xtask instructions` counts: the public functions that a request goes through, one after the
//! other on one thread, without sockets, timers or other threads, so that the same code gives the same count.
//!
//! `dohle-instructions NAME FOLDER` runs one driver [`TURNS`] times; only what happens inside of [`counted`] is counted. Files are real
//! ones below FOLDER: what the kernel does for them is not counted, and a simulated disk would be. What is not in it: the broker's
//! reactor, its sockets, and the lookup of topics in the metadata's image.

#![allow(clippy::disallowed_methods)]

mod groups;
mod records;

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

/// How often a driver's turn is run. `xtask/src/instructions.rs` divides by the same number.
const TURNS: u32 = 64;
/// Turns before, for what is only done once.
const FIRST: u32 = 4;

/// A driver: its name, and what prepares it and gives its turn.
type Driver = (&'static str, fn(&Path) -> Box<dyn FnMut()>);

const DRIVERS: &[Driver] = &[
    ("produce-1k", |folder| records::produce(folder, 1, 1024)),
    ("produce-64x1k", |folder| records::produce(folder, 64, 1024)),
    ("produce-1m", |folder| records::produce(folder, 1, (1 << 20) - 1024)),
    ("produce-64x1k-zstd", records::produce_zstd),
    ("fetch-tail-1m", records::fetch_tail),
    ("heartbeat", |_| groups::heartbeat()),
    ("commit", |_| groups::commit()),
    ("metadata-10k", |_| groups::metadata()),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, folder] = words.as_slice() else {
        DRIVERS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    let Some((_, prepare)) = DRIVERS.iter().find(|(known, _)| known == name) else {
        eprintln!("there is no driver {name}");
        return ExitCode::FAILURE;
    };
    let mut turn = prepare(Path::new(folder));
    for _ in 0..FIRST {
        turn();
    }
    counted(&mut turn);
    println!("{TURNS}");
    ExitCode::SUCCESS
}

/// What callgrind looks for by name: instructions are counted from here to its end.
#[inline(never)]
fn counted(turn: &mut dyn FnMut()) {
    for _ in 0..TURNS {
        turn();
    }
    black_box(());
}
