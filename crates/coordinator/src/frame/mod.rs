//! The contract of a coordinator, and the bookkeeping that is the same for all of them.
//!
//! A coordinator is sharded by the partitions of its topic. A [`Shard`] owns the coordinator's state for one partition, its timers,
//! and the records and replies that wait for the next append. It knows neither groups nor transactions.

mod effects;
mod shard;
mod timers;

use std::fmt::Debug;

use bytes::Bytes;
use dohle_types::{ErrorCode, Offset, ProducerId, TimestampMs};

pub use effects::Effects;
pub use shard::{Batch, Shard, size_in_log};
pub use timers::Timers;

/// When something happens, and the chance it may draw on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, for what is stored. It may jump, also backwards.
    pub wall: TimestampMs,
    /// Monotonic milliseconds, for deadlines and intervals. Never stored.
    pub tick_ms: u64,
    /// A seed nobody can guess, another one for each event.
    pub chance: u64,
}

impl Moment {
    /// The monotonic time `after_ms` from now. Negative durations are none.
    pub fn after(&self, after_ms: i64) -> u64 {
        self.tick_ms.saturating_add(u64::try_from(after_ms).unwrap_or(0))
    }
}

/// Who waits for a reply: a number of the shell's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyTo(pub u64);

/// One coordinator's decisions for one partition of its topic.
pub trait Coordinator: Sized {
    /// What a client asks.
    type Request;
    /// What it is told.
    type Response;
    /// What happens beside requests: metadata changes, finished jobs.
    type Event;
    /// What is remembered.
    type Record: Record;
    /// The name of a timer. Setting one that runs moves it.
    type Timer: Ord + Clone + Debug;
    /// Work that is too long for the loop.
    type Job: Job<Event = Self::Event>;

    /// Answers a request, now or with the effects of a later event.
    ///
    /// It changes what must be remembered through records only; they have been replayed when this coordinator is called next.
    fn handle(&mut self, moment: Moment, to: ReplyTo, request: Self::Request, effects: &mut Effects<Self>);

    /// Takes note of something that nobody waits for.
    fn notice(&mut self, moment: Moment, event: Self::Event, effects: &mut Effects<Self>);

    /// A timer has run out. It is no longer set.
    fn expired(&mut self, moment: Moment, timer: Self::Timer, effects: &mut Effects<Self>);

    /// Applies a record: the only writer of what must be remembered, for new records and for those read back at loading alike.
    fn replay(&mut self, replayed: Replayed<Self::Record>);

    /// A transaction that wrote records has ended, as its marker in the log says.
    fn end_transaction(&mut self, producer: ProducerId, committed: bool);

    /// The end of the log is reached; requests come from now on. Timers of what was found are set here.
    fn loaded(&mut self, moment: Moment, effects: &mut Effects<Self>);
}

/// A record being replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed<R> {
    pub record: R,
    /// Its place in the log; `Offset::NONE` for one that is only about to be appended.
    pub offset: Offset,
    /// The transaction that it is part of: it counts once that has committed.
    pub transaction: Option<ProducerId>,
}

/// A record of a coordinator's topic, typed.
pub trait Record: Sized {
    fn encode(&self) -> EncodedRecord;

    /// Reads a record back. `Ok(None)` is one of a kind that this software does not know and may pass over.
    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, String>;
}

/// A record's bytes; no value is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

impl EncodedRecord {
    pub fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// Work that a coordinator hands out: done on another thread, its result comes back as an event.
pub trait Job: Send + 'static {
    type Event;
    fn run(self) -> Self::Event;
}

/// What becomes of a request: a response, or why there is none. The shell makes the API's own answer of the code.
pub type Answer<C> = Result<<C as Coordinator>::Response, ErrorCode>;
