//! The data path of a broker, from a client's bytes to the log and back.
//!
//! | | station | file | in → out |
//! |---|---|---|---|
//! | 1 | listener | [`listener`] | socket → connection, if there is room for one more |
//! | 2 | connection | [`connection`], [`frames`], [`budget`] | bytes → frames; responses → bytes, in order |
//! | 3 | session | [`session`] | who is at the other end |
//! | 4 | request | [`request`] | frame → header and context; the body is read by the API's own type |
//! | 5 | dispatch | [`dispatch`] | key and version → one entry of the table of APIs |
//! | 6 | api | [`api`] | request → response, one file each |
//! | 7 | partition | [`core`], [`slots`], [`partition`] | a batch or a read, on the one core that owns the partition |
//! | 8 | log | `dohle_log` | bytes on disk; says when they are stored |
//! | 9 | replication | [`partition`] | stored → high watermark; one replica today |
//! | 10 | waiters | [`waiters`], [`flusher`] | high watermark → acknowledgements and parked fetches |
//! | 11 | response | [`request`], [`outgoing`] | message → segments → socket; the request's memory is given back |
//!
//! [`coordinator`] stands beside the stations 6 to 10: what it decides is appended and acknowledged as a client's batches are.
//!
//! One thread a core runs all of it; [`core::Core`] is what a thread owns. Nothing here blocks: files are opened, flushed and read
//! cold on other threads. [`lifecycle`] keeps the broker registered with the controller, [`upkeep`] does the chores, [`retention`] lets go, [`cleaner`]
//! compacts, [`recovering`] recovers after a crash what nobody came for, [`assignments`] tells the controller in which directory a
//! partition lies, [`log_dir_failure`] takes a log directory out of service whose disk fails,
//! and [`log_dir_return`] back into it.

mod acknowledged;
pub mod api;
mod assignments;
mod auto_topics;
mod background;
pub mod budget;
mod checkpoints;
pub mod cleaner;
mod cold_reads;
mod config_change;
pub mod connection;
pub mod coordinator;
pub mod core;
pub mod dispatch;
mod doorkeeper;
mod fetch_session;
pub mod flusher;
pub mod frames;
pub mod lifecycle;
pub mod listener;
pub mod log_dir_failure;
mod log_dir_return;
pub mod log_dirs;
pub mod metrics;
pub mod moves;
mod open_files;
mod outgoing;
pub mod partition;
mod places;
mod producer_ids;
pub mod reading;
pub mod recovering;
mod refused;
pub mod request;
pub mod resting;
pub mod retention;
pub mod session;
mod settings;
pub mod slots;
mod start;
mod upkeep;
pub mod waiters;

pub use log_dir_failure::Fatal;
pub use log_dirs::Found;
pub use start::{BrokerHandle, BrokerOptions, StartError, start};
