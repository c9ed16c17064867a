//! Tests that others wrote, run unchanged against the broker under test.
//!
//! Owns: which of their tests are not asked yet and why ([`denials`]), and how
//! the tests of a Go package ([`go_tests`]) and Kafka's system-test programs ([`programs`]) are run and listened to.
//! Never: judges by a rule of our own what a suite judges itself; contains a suite's code.
//!
//! Invariants
//! - *Denied means not built*: a denial names the API it waits for and ends by itself on the day the broker advertises it.
//! - *By name, not by number*: every test that passes on Apache Kafka and is not denied has to pass; one that skips itself,
//!   disappears or is new makes the suite red.
//!
//! `docs/strangers.md` tells how to run it.
#![allow(clippy::disallowed_methods)] // around the platform, not in it: real processes, files and clocks are the point

pub mod denials;
pub mod go_tests;
pub mod programs;
