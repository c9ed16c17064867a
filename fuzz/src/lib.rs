//! Hostile bytes for everything that reads bytes.
//!
//! A target is a plain function over bytes that must neither panic, nor take long, nor allocate more than its budget. The engine
//! starts from samples that the target would take, damages them the way an attacker or a bad disk would, and watches. It needs no
//! instrumentation, so it runs on stable Rust; what it lacks in guidance it makes up for by knowing the formats.
//!
//! Every input follows from a seed and a number, and so can be made again: `--seed S --only N`.

pub mod chance;
pub mod engine;
pub mod memory;
pub mod mutate;
pub mod targets;

pub use targets::{TARGETS, Target};
