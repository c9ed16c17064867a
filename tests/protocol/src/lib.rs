//! Asks Dohle what Apache Kafka was asked, request by request, and compares the answers field by field.
//!
//! A script ([`run::Run`], under `tests/parity/`) is a list of requests with names. What Apache Kafka 4.3.1 answers is kept under
//! `golden/`, normalised ([`answer`]) and written again by
//! `DOHLE_BLESS=1 DOHLE_TEST_TARGET=kafka cargo test -p dohle-tests-protocol --test parity`; where Dohle means to
//! differ is said in [`differences`], with the reason. Every other difference fails.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

pub mod answer;
pub mod configs;
pub mod connection;
pub mod differences;
pub mod door;
pub mod golden;
pub mod numbered;
pub mod offsets;
pub mod run;
