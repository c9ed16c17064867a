//! Counters by name: added to, read, waited for, doubled by a job, forgotten after a while.

use std::collections::BTreeMap;

use bytes::Bytes;
use dohle_coordinator::frame::{Coordinator, Effects, EncodedRecord, Job, Moment, Record, Replayed, ReplyTo};
use dohle_types::{ErrorCode, Offset, ProducerId, TimestampMs};

/// How long somebody waits for a counter.
pub const PATIENCE_MS: u64 = 100;
/// How long a counter lives that nobody adds to.
pub const LIFETIME_MS: u64 = 1000;

#[derive(Clone, Debug)]
pub enum Ask {
    Add(&'static str, i64),
    AddBoth(&'static str, &'static str, i64),
    /// Answered when what was decided before is stored.
    Read(&'static str),
    /// Answered at once.
    Peek(&'static str),
    WaitFor(&'static str, i64),
    Double(&'static str),
    Clear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    Value(i64),
}

/// A counter's value; `None` forgets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub name: String,
    pub value: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    Patience(ReplyTo),
    Lifetime(String),
}

/// Twice a number, on another thread.
pub struct Doubling {
    name: &'static str,
    value: i64,
    to: ReplyTo,
}

pub struct Doubled {
    name: &'static str,
    value: i64,
    to: ReplyTo,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What is remembered.
    values: BTreeMap<String, i64>,
    pending: BTreeMap<i64, Vec<Put>>,
    /// What is not: who waits.
    waiting: Vec<(ReplyTo, &'static str, i64)>,
}

impl Counters {
    pub fn value(&self, name: &str) -> i64 {
        self.values.get(name).copied().unwrap_or(0)
    }

    pub fn remembered(&self) -> &BTreeMap<String, i64> {
        &self.values
    }

    fn add(&mut self, moment: Moment, name: &'static str, n: i64, effects: &mut Effects<Self>) -> i64 {
        let value = self.value(name) + n;
        effects.record(Put { name: name.to_owned(), value: Some(value) });
        effects.set_timer(Timer::Lifetime(name.to_owned()), moment.tick_ms + LIFETIME_MS);
        let (met, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|&(_, of, at_least)| of == name && value >= at_least);
        self.waiting = waiting;
        let met: Vec<(ReplyTo, &str, i64)> = met;
        for (to, _, _) in met {
            effects.cancel_timer(Timer::Patience(to));
            effects.reply(to, Tell::Value(value));
        }
        value
    }
}

impl Coordinator for Counters {
    type Request = Ask;
    type Response = Tell;
    type Event = Doubled;
    type Record = Put;
    type Timer = Timer;
    type Job = Doubling;

    fn handle(&mut self, moment: Moment, to: ReplyTo, request: Ask, effects: &mut Effects<Self>) {
        match request {
            Ask::Add(name, n) => {
                let value = self.add(moment, name, n, effects);
                effects.reply(to, Tell::Value(value));
            }
            Ask::AddBoth(one, other, n) => {
                self.add(moment, one, n, effects);
                let value = self.add(moment, other, n, effects);
                effects.reply(to, Tell::Value(value));
            }
            Ask::Read(name) => effects.reply(to, Tell::Value(self.value(name))),
            Ask::Peek(name) => effects.reply_at_once(to, Tell::Value(self.value(name))),
            Ask::WaitFor(name, at_least) if self.value(name) >= at_least => {
                effects.reply(to, Tell::Value(self.value(name)));
            }
            Ask::WaitFor(name, at_least) => {
                self.waiting.push((to, name, at_least));
                effects.set_timer(Timer::Patience(to), moment.after(PATIENCE_MS as i64));
            }
            Ask::Double(name) => effects.start(Doubling { name, value: self.value(name), to }),
            Ask::Clear => {
                effects.divisible();
                for name in self.values.keys() {
                    effects.record(Put { name: name.clone(), value: None });
                    effects.cancel_timer(Timer::Lifetime(name.clone()));
                }
                effects.reply(to, Tell::Value(0));
            }
        }
    }

    fn notice(&mut self, moment: Moment, doubled: Doubled, effects: &mut Effects<Self>) {
        let Doubled { name, value, to } = doubled;
        let more = value - self.value(name);
        let value = self.add(moment, name, more, effects);
        effects.reply(to, Tell::Value(value));
    }

    fn expired(&mut self, _: Moment, timer: Timer, effects: &mut Effects<Self>) {
        match timer {
            Timer::Patience(to) => {
                self.waiting.retain(|(waiting, _, _)| *waiting != to);
                effects.refuse(to, ErrorCode::RequestTimedOut);
            }
            Timer::Lifetime(name) => effects.record(Put { name, value: None }),
        }
    }

    fn replay(&mut self, replayed: Replayed<Put>) {
        let Replayed { record, transaction, .. } = replayed;
        match (transaction, record) {
            (Some(producer), record) => self.pending.entry(producer.get()).or_default().push(record),
            (None, Put { name, value: Some(value) }) => _ = self.values.insert(name, value),
            (None, Put { name, value: None }) => _ = self.values.remove(&name),
        }
    }

    fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        let records = self.pending.remove(&producer.get()).unwrap_or_default();
        for record in records.into_iter().filter(|_| committed) {
            self.replay(Replayed { record, offset: Offset::NONE, transaction: None });
        }
    }

    fn loaded(&mut self, moment: Moment, effects: &mut Effects<Self>) {
        // The test's wall clock and its ticks go together: a value lives until the next full lifetime is over.
        let TimestampMs(wall) = moment.wall;
        let left = LIFETIME_MS - (wall as u64 % LIFETIME_MS);
        for name in self.values.keys() {
            effects.set_timer(Timer::Lifetime(name.clone()), moment.tick_ms + left);
        }
    }
}

impl Job for Doubling {
    type Event = Doubled;

    fn run(self) -> Doubled {
        Doubled { name: self.name, value: self.value * 2, to: self.to }
    }
}

impl Record for Put {
    fn encode(&self) -> EncodedRecord {
        let mut key = vec![0];
        key.extend_from_slice(self.name.as_bytes());
        let value = self.value.map(|value| Bytes::copy_from_slice(&value.to_be_bytes()));
        EncodedRecord { key: key.into(), value }
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, String> {
        let Some((0, name)) = key.split_first() else { return Ok(None) };
        let name = String::from_utf8(name.to_vec()).map_err(|error| error.to_string())?;
        let number = |bytes: Bytes| bytes.as_ref().try_into().map(i64::from_be_bytes);
        let value = value.map(number).transpose().map_err(|_| "a value is eight bytes".to_owned())?;
        Ok(Some(Self { name, value }))
    }
}
