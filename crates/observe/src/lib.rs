//! What a node tells about itself: log lines, metrics, health.
//!
//! Owns the set-up of logging ([`logging`]), the registry of metrics under the names of stock Kafka dashboards ([`names`],
//! [`Metrics`]), the health of the node ([`Health`]) and the HTTP door that shows the latter two ([`http`]). It never decides
//! anything, and nothing here runs on the data path: parts of the node count for themselves and are read when somebody asks.
//!
//! Invariants:
//! - `NothingWhileIdle`: no timer, no thread and no task runs between two requests.
//! - `BoundedDoor`: the HTTP door holds at most [`http::MAX_CONNECTIONS`] connections, none longer than
//!   [`http::CONNECTION_LIFE`].

mod health;
pub mod http;
mod latency;
pub mod logging;
mod metrics;
pub mod names;
mod process;

pub use health::{Health, Status};
pub use latency::Latencies;
pub use metrics::{Counter, Gauge, Metrics, Report};
