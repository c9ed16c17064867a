//! Members of groups in numbers that no client library would start: requests by hand, many members on few connections.
//!
//! The classic protocol parks a join until all have come, so there each member of a large group has a connection of its own; a
//! group of one member, and every member of the newer protocol, shares one with others.

mod classic;
mod consumer;
mod drive;
mod offsets;

pub use classic::{Alone, Hall, check_heartbeat};
pub use consumer::{Cohort, check_heartbeat as check_consumer_heartbeat};
pub use drive::{Lane, at_rate, closed};
pub use offsets::{check_commit, commit_all, commit_frame, fetched, wait_for_coordinator};

use std::time::Duration;

use dohle_types::ErrorCode;

use super::topic::name_of;
use crate::Outcome;

/// How long a group may take to do what is asked of it.
const PATIENCE: Duration = Duration::from_secs(180);

/// The error of a response, as an error of the run.
fn checked(what: &str, code: i16) -> Outcome<()> {
    if code == 0 { Ok(()) } else { Err(format!("{what}: {}", name_of(code)).into()) }
}

fn is(code: i16, wanted: ErrorCode) -> bool {
    ErrorCode::from_code(code) == Some(wanted)
}
