//! Simulations of the pure cores (layer A of the plan): a whole world in one thread, from one number.
//!
//! [`kernel`] owns time, chance and the order of events, [`network`] what becomes of messages, [`log`] what becomes of records,
//! [`marks`] what a campaign must have seen. A room such as [`groups`] builds its world of these: the core under test in a simulated
//! process, its clients as actors, and a checker that knows nothing but what it sees. [`campaign`] runs many seeds.
//!
//! Invariants, by name:
//! - `OneSeedOneHistory`: a seed gives the same trace every time, on every machine; nothing here reads a clock or an address.
//! - `EveryMarkHit`: a campaign that did not reach every interesting state has failed.

pub mod campaign;
pub mod groups;
pub mod kernel;
pub mod log;
pub mod marks;
pub mod network;
