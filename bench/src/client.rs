//! The replay client: connections, frames and batches prepared before the clock starts, and the loops that send and read them.
//!
//! Invariants: *answers are checked* (every response is decoded, every error code is an error of the run), *reads are proved*
//! (checksum, offsets without gaps, content), *lateness counts* (at a fixed rate, latency runs from the moment a request was due,
//! not from when it could be sent).

mod clock;
mod connection;
mod consume;
mod content;
mod end_to_end;
mod fetch_session;
pub mod groups;
mod load;
mod produce;
mod report;
mod topic;

pub use clock::{Moment, today, unix_millis};
pub use connection::{Connection, Frame};
pub use consume::{consume, end_of_log, fetch_one};
pub use end_to_end::end_to_end;
pub use fetch_session::FetchSession;
pub use load::{Codec, Load, ReadBack};
pub use produce::{check, produce, request};
pub use report::{Latencies, LoadReport, Stalls};
pub use topic::{Topic, name_of};
