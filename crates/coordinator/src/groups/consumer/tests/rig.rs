//! A coordinator with a log in memory, a clock that is moved by hand, and a second coordinator that checks `OneWriter`.

use std::collections::BTreeMap;
use std::sync::Arc;

use dohle_types::{Offset, TimestampMs, TopicId};
use dohle_wire::Text;

use crate::frame::{Answer, EncodedRecord, Job, Moment, Record, ReplyTo, Shard};
use crate::groups::consumer::{ConsumerGroup, Work};
use crate::groups::{Ask, Client, Event, Group, GroupCoordinator, GroupRecord, Request, Settings};
use crate::topics::{Changes, Racks, Topic, Topics};

pub struct Rig {
    pub settings: Arc<Settings>,
    pub topics: Topics,
    pub tick_ms: u64,
    chance: u64,
    next_reply: u64,
    shard: Shard<GroupCoordinator>,
    witness: GroupCoordinator,
    pub log: Vec<EncodedRecord>,
    pub jobs: Vec<Work>,
    answers: BTreeMap<ReplyTo, Answer<GroupCoordinator>>,
    next_topic: u128,
}

/// The wall clock at the beginning.
const EPOCH_MS: i64 = 1_700_000_000_000;

impl Rig {
    pub fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        Self {
            topics: Topics::default(),
            tick_ms: 0,
            chance: 1,
            next_reply: 0,
            shard: shard(&settings, &Topics::default()),
            witness: coordinator(&settings, &Topics::default()),
            log: Vec::new(),
            jobs: Vec::new(),
            answers: BTreeMap::new(),
            next_topic: 0,
            settings,
        }
    }

    pub fn moment(&mut self) -> Moment {
        self.chance += 1;
        let wall = TimestampMs(EPOCH_MS + i64::try_from(self.tick_ms).unwrap());
        Moment { wall, tick_ms: self.tick_ms, chance: self.chance }
    }

    pub fn send(&mut self, version: i16, client: &str, ask: Ask) -> ReplyTo {
        self.next_reply += 1;
        let to = ReplyTo(self.next_reply);
        let client = Client { id: client.into(), host: "/127.0.0.1".into() };
        let moment = self.moment();
        self.shard.handle(moment, to, Request { client, version, ask });
        to
    }

    /// Lets time pass, timer by timer.
    pub fn wait(&mut self, ms: u64) -> Vec<GroupRecord> {
        let until = self.tick_ms + ms;
        let mut records = Vec::new();
        while let Some(due) = self.shard.next_due().filter(|due| *due <= until) {
            self.tick_ms = due.max(self.tick_ms);
            let moment = self.moment();
            self.shard.advance(moment);
            records.extend(self.drain());
        }
        self.tick_ms = until;
        records
    }

    pub fn run_jobs(&mut self) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for job in std::mem::take(&mut self.jobs) {
            records.extend(self.notice(job.run()));
        }
        records
    }

    pub fn notice(&mut self, event: Event) -> Vec<GroupRecord> {
        let moment = self.moment();
        self.shard.notice(moment, event);
        self.drain()
    }

    pub fn put_topic(&mut self, name: &str, partitions: i32, racks: Vec<Racks>) -> Vec<GroupRecord> {
        let known = self.topics.by_name(name).map(|topic| topic.id);
        let id = known.unwrap_or_else(|| {
            self.next_topic += 1;
            TopicId::from_u128(0x4000 + self.next_topic)
        });
        self.topics.insert(Topic { id, name: name.into(), partitions, racks });
        let changes = Changes { changed: vec![name.into()], deleted: Vec::new() };
        self.notice(Event::Topics(self.topics.clone(), Arc::new(changes)))
    }

    pub fn delete_topic(&mut self, name: &str) -> Vec<GroupRecord> {
        let id = self.topics.by_name(name).unwrap().id;
        self.topics.remove(id);
        let changes = Changes { changed: Vec::new(), deleted: vec![(name.into(), id)] };
        self.notice(Event::Topics(self.topics.clone(), Arc::new(changes)))
    }

    /// The coordinator dies and another one loads the log.
    pub fn restart(&mut self) {
        self.shard = shard(&self.settings, &self.topics);
        self.jobs.clear();
        for (at, record) in self.log.iter().enumerate() {
            let record = GroupRecord::decode(record.key.clone(), record.value.clone()).unwrap().unwrap();
            self.shard.replay(record, Offset(i64::try_from(at).unwrap()), None);
        }
        let moment = self.moment();
        self.shard.loaded(moment);
        self.drain();
    }

    /// The log keeps the last record of each key, and no tombstone.
    pub fn compact(&mut self) {
        let last: BTreeMap<_, usize> =
            self.log.iter().enumerate().map(|(at, record)| (record.key.clone(), at)).collect();
        let mut at = 0;
        self.log.retain(|record| {
            at += 1;
            record.value.is_some() && last[&record.key] == at - 1
        });
    }

    pub fn group(&self, id: &str) -> Option<&ConsumerGroup> {
        match self.shard.coordinator().groups.get(id)? {
            Group::Consumer(group) => Some(group),
            Group::Classic(_) => None,
        }
    }

    pub fn kind(&self, id: &str) -> &'static str {
        self.shard.coordinator().groups.get(id).map_or("none", Group::type_name)
    }

    pub fn state(&self, id: &str) -> &'static str {
        self.shard.coordinator().groups.get(id).map_or("none", Group::state_name)
    }

    /// All that was answered and not looked at yet.
    pub fn answers(&mut self) -> BTreeMap<ReplyTo, Answer<GroupCoordinator>> {
        std::mem::take(&mut self.answers)
    }

    /// Stores what was decided, releases what waited for it, and holds the state against a replay.
    pub fn drain(&mut self) -> Vec<GroupRecord> {
        self.jobs.append(&mut self.shard.take_jobs());
        self.answers.extend(self.shard.take_ready());
        let mut records = Vec::new();
        while let Some(batch) = self.shard.take_batch() {
            self.answers.extend(batch.replies);
            for record in batch.records {
                let decoded = GroupRecord::decode(record.key.clone(), record.value.clone()).unwrap().unwrap();
                {
                    let offset = Offset(i64::try_from(self.log.len()).unwrap());
                    let replayed =
                        crate::frame::Replayed { record: decoded.clone(), offset, transaction: None };
                    crate::frame::Coordinator::replay(&mut self.witness, replayed);
                }
                self.log.push(record);
                records.push(decoded);
            }
        }
        assert_eq!(
            consumer_groups(self.shard.coordinator()),
            consumer_groups(&self.witness),
            "`OneWriter`: a replay of the log gives the state"
        );
        self.assert_kept_is_counted();
        records
    }

    /// `KeptIsCounted`: a group that was put together anew from its parts keeps as much, and the coordinator the sum of all.
    fn assert_kept_is_counted(&self) {
        let coordinator = self.shard.coordinator();
        let mut sum = 0;
        for group in coordinator.groups.values() {
            sum += group.kept_bytes();
            match group {
                Group::Classic(group) => group.assert_counts_agree(),
                Group::Consumer(group) => {
                    assert_eq!(group.kept_bytes(), group.counted_anew(), "KeptIsCounted")
                }
            }
        }
        assert_eq!(coordinator.kept_bytes(), sum, "KeptIsCounted, the sum");
    }

    /// A third coordinator, of the log as it is.
    pub fn replayed(&self) -> BTreeMap<Text, ConsumerGroup> {
        let mut coordinator = coordinator(&self.settings, &self.topics);
        for record in &self.log {
            let record = GroupRecord::decode(record.key.clone(), record.value.clone()).unwrap().unwrap();
            let replayed = crate::frame::Replayed { record, offset: Offset::NONE, transaction: None };
            crate::frame::Coordinator::replay(&mut coordinator, replayed);
        }
        consumer_groups(&coordinator).into_iter().map(|(id, group)| (id.clone(), group.clone())).collect()
    }

    pub fn living(&self) -> BTreeMap<Text, ConsumerGroup> {
        let groups = consumer_groups(self.shard.coordinator());
        groups.into_iter().map(|(id, group)| (id.clone(), group.clone())).collect()
    }
}

fn consumer_groups(coordinator: &GroupCoordinator) -> BTreeMap<&Text, &ConsumerGroup> {
    let groups = coordinator.groups.iter();
    groups
        .filter_map(|(id, group)| match group {
            Group::Consumer(group) => Some((id, &**group)),
            Group::Classic(_) => None,
        })
        .collect()
}

/// Kafka's default of `max.message.bytes`.
const MAX_BATCH_BYTES: usize = 1_048_588;

fn shard(settings: &Arc<Settings>, topics: &Topics) -> Shard<GroupCoordinator> {
    Shard::new(coordinator(settings, topics), MAX_BATCH_BYTES)
}

fn coordinator(settings: &Arc<Settings>, topics: &Topics) -> GroupCoordinator {
    GroupCoordinator::new(settings.clone(), topics.clone(), BTreeMap::new())
}
