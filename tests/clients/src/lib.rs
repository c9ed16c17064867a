//! The harness of the suites that speak to a broker through other people's programs.
//!
//! Owns: starting and killing the broker under test ([`target`]), installing and driving the clients ([`install`],
//! [`client`], [`tools`]), the records they exchange ([`content`]), what members of groups go through ([`groups`]) and the golden
//! answers ([`script`], [`normal`]).
//! Never: speaks to a broker through the platform's own crates; every byte that is judged here was made or read by a
//! program that is not ours.
//!
//! Invariants
//! - *No orphans*: a process ends with the value that owns it, with a panic, and with the death of the test itself ([`process`]).
//! - *No silence*: a suite says how many checks it owes; fewer (a skipped part) is a failure ([`checks`]).
//! - *No waiting without end*: every step has a time limit.
//!
//! `docs/clients.md` tells how to run it and what each client must answer.
#![allow(clippy::disallowed_methods)] // around the platform, not in it: real processes, files and clocks are the point

pub mod advertised;
pub mod checks;
pub mod client;
pub mod content;
pub mod groups;
pub mod install;
pub mod normal;
pub mod process;
pub mod results;
pub mod script;
pub mod target;
pub mod tools;
