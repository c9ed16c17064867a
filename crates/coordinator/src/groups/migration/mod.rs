//! Groups that go over from one protocol to the other while they run, and members that speak the other one.
//!
//! ```text
//!                 a member of the consumer protocol joins
//!     classic ─────────────────────────────────────────────► consumer, with members of both protocols
//!        ▲                                                       │
//!        └───────────────────────────────────────────────────────┘
//!           the last member of the consumer protocol leaves, or comes back speaking the classic one
//! ```
//!
//! `group.consumer.migration.policy` says which ways are open. Either way is one batch of records: the tombstones of the group as it was,
//! and the group as it is. A member of the classic protocol in a consumer group is led through the reconciliation by its own means:
//! a heartbeat tells it to join again, the join is its heartbeat, and the sync tells what it has.

mod downgrade;
mod members;
pub(super) mod protocol;
mod upgrade;

pub(super) use downgrade::{Downgrade, downgrade_without, downgrades_without};
pub(super) use members::{classic_heartbeat, classic_join, classic_leave, classic_sync};
pub(super) use upgrade::upgrade;

/// The protocol type of consumers that assign among themselves.
const CONSUMER_PROTOCOL: &str = "consumer";
