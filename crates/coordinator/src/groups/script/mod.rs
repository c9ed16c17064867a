//! Tests of groups as scripts: what is asked, and below it what is answered and recorded. They lie in `scripts/`.
//!
//! ```text
//! == the title of a case, which starts with an empty coordinator
//! > join g v=3
//! > tick 3000
//! r1 JoinGroup gen=1 consumer/range leader=M1 member=M1 [M1(t)]
//! > stop
//! ```
//!
//! A line with `>` asks, those below it are what came of it; `+` is a record, `-` a tombstone, `rN` the answer to the Nth question.
//! Members are called M1, M2, … in the order in which their ids are given out. `DOHLE_SCRIPTS=write` writes what comes instead of
//! comparing it; the change is then read by a human.
//!
//! After every step holds, whatever the script asks:
//! - `ReplayEqualsState`: a coordinator that replays all records remembers the same; also when the log has been compacted.
//! - `SettledIsStored`, `CountsAgree`: see [`super::classic`].
//! - `NobodyForgotten`: a question is answered, or a member waits in its name.

#![allow(clippy::disallowed_methods)]

mod ask;
mod check;
pub(super) mod kafka;
mod print;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use dohle_types::{Offset, ProducerId, TimestampMs};

use super::{Event, GroupCoordinator, GroupRecord, Settings};
use crate::frame::{Moment, Record, ReplyTo, Shard};
use crate::topics::{Changes, Topics};

/// What the log holds.
#[derive(Clone)]
pub(super) enum Entry {
    Record(Box<GroupRecord>, Option<ProducerId>),
    End(ProducerId, bool),
}

/// A coordinator, its log, and who has asked what.
pub(super) struct Stage {
    settings: Settings,
    /// `max.message.bytes` of the topic of offsets.
    max_batch_bytes: usize,
    shard: Shard<GroupCoordinator>,
    topics: Topics,
    log: Vec<Entry>,
    moment: Moment,
    asked: u64,
    /// The questions that are not answered, with the versions in which they were asked.
    open: BTreeMap<ReplyTo, i16>,
    members: Vec<String>,
}

impl Stage {
    pub fn new() -> Self {
        let settings = Settings { initial_rebalance_delay_ms: 3000, ..Settings::default() };
        let moment = Moment { wall: TimestampMs(1_000_000), tick_ms: 5000, chance: 1 };
        let mut stage = Self {
            shard: shard(&settings, &Topics::default(), MAX_BATCH_BYTES),
            settings,
            max_batch_bytes: MAX_BATCH_BYTES,
            topics: Topics::default(),
            log: Vec::new(),
            moment,
            asked: 0,
            open: BTreeMap::new(),
            members: Vec::new(),
        };
        stage.shard.loaded(moment);
        stage
    }

    /// Does what a line says, and tells what came of it.
    pub fn step(&mut self, line: &str) -> String {
        let words = ask::Words::of(line);
        self.moment.chance += 1;
        match words.command() {
            "tick" => self.tick(words.number(0)),
            "clock" => self.moment.wall = TimestampMs(self.moment.wall.get() + words.number(0)),
            "set" => {
                ask::configure(&mut self.settings, &mut self.max_batch_bytes, &words);
                self.load();
            }
            "reload" => self.load(),
            "deleted" => {
                let deleted = vec![(words.text(0), ask::topic_id(&words.word(1)))];
                let changes = Changes { changed: Vec::new(), deleted };
                self.shard.notice(self.moment, Event::Topics(self.topics.clone(), Arc::new(changes)));
            }
            "write" => self.write(&words),
            "end" => {
                let (producer, committed) = (ProducerId(words.number(0)), words.word(1) == "commit");
                self.shard.end_transaction(producer, committed);
                self.log.push(Entry::End(producer, committed));
            }
            _ => {
                self.asked += 1;
                let to = ReplyTo(self.asked);
                let request = ask::request(self, &words);
                self.open.insert(to, request.version);
                self.shard.handle(self.moment, to, request);
            }
        }
        self.name_members();
        let told = self.told();
        check::all(self);
        told
    }

    /// How many ids have been given out.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Nobody waits.
    pub fn is_answered(&self) -> bool {
        self.open.is_empty()
    }

    fn coordinator(&self) -> &GroupCoordinator {
        self.shard.coordinator()
    }

    /// Time passes, and timers go off when they are due.
    fn tick(&mut self, ms: i64) {
        let end = self.moment.after(ms);
        while let Some(due) = self.shard.next_due().filter(|due| *due <= end) {
            self.pass_until(due.max(self.moment.tick_ms));
            self.moment.chance += 1;
            self.shard.advance(self.moment);
        }
        self.pass_until(end);
    }

    fn pass_until(&mut self, tick_ms: u64) {
        let passed = i64::try_from(tick_ms - self.moment.tick_ms).expect("a script is short");
        self.moment.wall = TimestampMs(self.moment.wall.get() + passed);
        self.moment.tick_ms = tick_ms;
    }

    /// The coordinator dies, and another one takes the partition over. Whoever waits is not answered by it.
    fn load(&mut self) {
        self.open.clear();
        self.shard = shard(&self.settings, &self.topics, self.max_batch_bytes);
        for (offset, entry) in self.log.iter().enumerate() {
            replay(&mut self.shard, offset, entry);
        }
        self.shard.loaded(self.moment);
    }

    /// An offset that a transaction carries, or one from before leader epochs.
    fn write(&mut self, words: &ask::Words) {
        let record = ask::offset_record(words, self.moment.wall.get());
        let producer = words.get("pid").map(|pid| ProducerId(pid.parse().expect("a producer id")));
        let entry = Entry::Record(Box::new(record), producer);
        replay(&mut self.shard, self.log.len(), &entry);
        self.log.push(entry);
    }

    /// What is released, as text.
    fn told(&mut self) -> String {
        let mut out = String::new();
        let mut replies = Vec::new();
        while let Some(batch) = self.shard.take_batch() {
            for record in batch.records {
                let record = GroupRecord::decode(record.key, record.value)
                    .expect("a record that can be read")
                    .expect("a record of a known type");
                writeln!(out, "{}", print::record(self, &record)).expect("text");
                self.log.push(Entry::Record(Box::new(record), None));
            }
            replies.extend(batch.replies);
        }
        replies.extend(self.shard.take_ready());
        replies.sort_by_key(|(to, _)| *to);
        for (to, answer) in replies {
            let version = self.open.remove(&to).expect("an answer to an open question");
            let text = match answer {
                Ok(response) => print::response(self, &response, version),
                Err(code) => format!("refused with {}", code.name()),
            };
            writeln!(out, "r{} {text}", to.0).expect("text");
        }
        out
    }

    /// Members that wait have names before they know their ids.
    fn name_members(&mut self) {
        let mut ids = Vec::new();
        for group in self.coordinator().groups.values() {
            if let super::Group::Classic(group) = group {
                ids.extend(group.members().map(|member| member.id.clone()));
                ids.extend(group.pending().cloned());
            }
        }
        for id in ids {
            self.name_of(&id);
        }
    }

    /// What the script calls a member; a new id gets the next name.
    fn name_of(&mut self, id: &str) -> String {
        // Ids that the coordinator gives out end with a UUID; others are called what they are.
        let is_given = id.len() > 36 && id.as_bytes()[id.len() - 37] == b'-';
        if !is_given {
            return id.to_owned();
        }
        let at = self.members.iter().position(|known| known == id).unwrap_or_else(|| {
            self.members.push(id.to_owned());
            self.members.len() - 1
        });
        format!("M{}", at + 1)
    }

    /// The id of the member that the script calls so.
    fn id_of(&self, name: &str) -> String {
        let number = name.strip_prefix('M').and_then(|number| number.parse::<usize>().ok());
        match number {
            Some(number) => self.members.get(number - 1).cloned().unwrap_or_else(|| name.to_owned()),
            None => name.to_owned(),
        }
    }
}

/// Kafka's default of `max.message.bytes`.
const MAX_BATCH_BYTES: usize = 1_048_588;

fn shard(settings: &Settings, topics: &Topics, max_batch_bytes: usize) -> Shard<GroupCoordinator> {
    let coordinator = GroupCoordinator::new(Arc::new(settings.clone()), topics.clone(), BTreeMap::new());
    Shard::new(coordinator, max_batch_bytes)
}

pub(super) fn replay(shard: &mut Shard<GroupCoordinator>, offset: usize, entry: &Entry) {
    match entry {
        Entry::End(producer, committed) => shard.end_transaction(*producer, *committed),
        Entry::Record(record, producer) => {
            // Through bytes, as from a log.
            let encoded = record.encode();
            let record = GroupRecord::decode(encoded.key, encoded.value).expect("readable").expect("known");
            shard.replay(record, Offset(i64::try_from(offset).expect("a script is short")), *producer);
        }
    }
}

/// Runs a file of cases.
pub(super) fn run(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
    let script = std::fs::read_to_string(&path).expect("the script");
    let mut played = String::new();
    let mut stage = Stage::new();
    for line in script.lines() {
        let is_outcome = line.starts_with(['+', '-', 'r']) && !line.starts_with("==");
        if is_outcome {
            continue;
        }
        writeln!(played, "{line}").expect("text");
        if line.starts_with("==") {
            stage = Stage::new();
        } else if let Some(command) = line.strip_prefix("> ") {
            played.push_str(&stage.step(command));
        }
    }
    if std::env::var("DOHLE_SCRIPTS").as_deref() == Ok("write") {
        return std::fs::write(&path, played).expect("the script can be written");
    }
    let differs = script.lines().zip(played.lines()).position(|(wanted, came)| wanted != came);
    if let Some(at) = differs {
        let (wanted, came) = (script.lines().nth(at), played.lines().nth(at));
        panic!("{name}:{}\n  wanted {wanted:?}\n  came   {came:?}", at + 1);
    }
    assert_eq!(script.lines().count(), played.lines().count(), "{name}: lines are missing at the end");
}

/// A consumer's subscription in its first version.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).expect("few topics").to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).expect("a short name").to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    Bytes::from(bytes)
}
