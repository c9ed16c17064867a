//! Who works on the broker, and what each of them remembers over all cuts: what it has asked for, and what it was told is done.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use dohle_records::{BatchBuilder, Compression};
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::client::Client;

/// Keys of a compacted topic.
pub const KEYS: u64 = 24;
const MOST_RECORDS: u64 = 6;
const GROUPS: usize = 3;
const TOPICS_AT_A_TIME: usize = 3;

/// Of a record. A producer whose records are older than `producer.id.expiration.ms` is forgotten at the next start.
fn now() -> TimestampMs {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock that is set");
    TimestampMs(since.as_millis() as i64)
}

/// Repeatable chance.
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What a topic is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everything stays.
    Whole,
    /// Its front is deleted by request.
    Purged,
    /// Its front is deleted for its size.
    Bounded,
    /// Only the latest of each key has to stay.
    Compacted,
}

/// A topic of the load: its name, its settings, its codec, and how large its records are at most.
pub struct Topic {
    pub name: &'static str,
    pub kind: Kind,
    pub partitions: i32,
    pub settings: &'static [(&'static str, &'static str)],
    codec: Compression,
    largest: u64,
}

pub const TOPICS: &[Topic] = &[
    Topic {
        name: "whole",
        kind: Kind::Whole,
        partitions: 3,
        settings: &[("retention.ms", "-1"), ("segment.ms", "300")],
        codec: Compression::None,
        largest: 3000,
    },
    Topic {
        name: "packed",
        kind: Kind::Whole,
        partitions: 2,
        settings: &[("retention.ms", "-1"), ("segment.ms", "700")],
        codec: Compression::Lz4,
        largest: 9000,
    },
    Topic {
        name: "purged",
        kind: Kind::Purged,
        partitions: 2,
        settings: &[("retention.ms", "-1"), ("segment.ms", "200")],
        codec: Compression::None,
        largest: 2000,
    },
    Topic {
        name: "bounded",
        kind: Kind::Bounded,
        partitions: 1,
        settings: &[("retention.ms", "-1"), ("retention.bytes", "1500000"), ("segment.bytes", "1048576")],
        codec: Compression::None,
        largest: 60_000,
    },
    Topic {
        name: "table",
        kind: Kind::Compacted,
        partitions: 2,
        settings: &[
            ("cleanup.policy", "compact"),
            ("segment.ms", "200"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ],
        codec: Compression::None,
        largest: 400,
    },
];

/// An idempotent producer of one partition with one batch under way. The number of a record is its offset, for ever.
pub struct Producer {
    pub topic: &'static Topic,
    pub partition: i32,
    /// Numbers below are acknowledged, numbers below `sent` may be stored.
    pub acknowledged: i64,
    pub sent: i64,
    /// Deleting before the one was acknowledged, before the other it was asked for.
    pub deleted: i64,
    pub to_delete: i64,
    /// Up to here the log has been read and found right.
    pub judged: i64,
    chance: Chance,
    id: Option<(i64, i16)>,
    /// The batch under way: it is sent again, the same, until it is acknowledged.
    under_way: Vec<u8>,
}

impl Producer {
    pub fn new(topic: &'static Topic, partition: i32, seed: u64) -> Producer {
        Producer {
            topic,
            partition,
            acknowledged: 0,
            sent: 0,
            deleted: 0,
            to_delete: 0,
            judged: 0,
            chance: Chance(seed),
            id: None,
            under_way: Vec::new(),
        }
    }

    /// Works until the connection is gone. An error when the broker says what cannot be.
    fn work(&mut self, client: &mut Client) -> Result<(), String> {
        let Some(id) = self.id.or_else(|| client.producer_id()) else { return Ok(()) };
        self.id = Some(id);
        loop {
            if self.sent == self.acknowledged {
                self.make_batch(id);
            }
            let told = client.produce(self.topic.name, self.partition, &self.under_way);
            let Some(told) = told else { return Ok(()) };
            if told != self.acknowledged {
                let (wanted, place) = (self.acknowledged, (self.topic.name, self.partition));
                return Err(format!("OnceAndInOrder: {place:?} stores record {wanted} at {told}"));
            }
            self.acknowledged = self.sent;
            if self.topic.kind == Kind::Purged && self.chance.below(12) == 0 {
                let behind = self.chance.below(40) as i64;
                self.to_delete = self.to_delete.max(self.acknowledged - behind);
                let deleted = client.delete_before(self.topic.name, self.partition, self.to_delete);
                let Some(deleted) = deleted else { return Ok(()) };
                self.deleted = deleted;
            }
        }
    }

    fn make_batch(&mut self, (id, epoch): (i64, i16)) {
        let sequence = Sequence(self.sent as i32);
        let mut batch =
            BatchBuilder::new(self.topic.codec).producer(ProducerId(id), ProducerEpoch(epoch), sequence);
        for _ in 0..=self.chance.below(MOST_RECORDS) {
            let size = 8 + self.chance.below(self.topic.largest);
            batch.append(now(), Some(key(self.sent).as_bytes()), Some(&value(self.sent, size)), &[]);
            self.sent += 1;
        }
        self.under_way = batch.build(Offset(0), LeaderEpoch(-1)).to_vec();
    }
}

/// The key of the record with this number.
pub fn key(number: i64) -> String {
    let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    format!("key-{}", mixed % KEYS)
}

/// The number, and bytes that follow from it.
pub fn value(number: i64, size: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((0..size.saturating_sub(8)).map(|at| (at * 7 + number as u64) as u8));
    bytes
}

/// Commits growing offsets for some groups, without members.
#[derive(Default)]
pub struct Commits {
    /// Per group: what was acknowledged last, and what was asked for last.
    pub of: [(i64, i64); GROUPS],
    turn: usize,
}

impl Commits {
    pub fn group(number: usize) -> String {
        format!("group-{number}")
    }

    pub const TOPIC: &str = TOPICS[0].name;

    fn work(&mut self, client: &mut Client) -> Result<(), String> {
        for group in 0..GROUPS {
            if client.find_coordinator(&Commits::group(group)).is_none() {
                return Ok(());
            }
        }
        loop {
            let group = self.turn % GROUPS;
            self.turn += 1;
            let (acknowledged, sent) = &mut self.of[group];
            *sent += 1;
            if client.commit(&Commits::group(group), Commits::TOPIC, *sent).is_none() {
                return Ok(());
            }
            *acknowledged = *sent;
        }
    }
}

/// Creates topics and deletes them.
#[derive(Default)]
pub struct Admin {
    pub there: BTreeSet<String>,
    pub gone: BTreeSet<String>,
    /// Asked for and not answered: it may be or not.
    pub open: Option<String>,
    made: u64,
}

impl Admin {
    pub const PREFIX: &str = "made-";

    fn work(&mut self, client: &mut Client) -> Result<(), String> {
        loop {
            let create = self.there.len() < TOPICS_AT_A_TIME;
            let name = if create {
                self.made += 1;
                format!("{}{}", Admin::PREFIX, self.made)
            } else {
                self.there.pop_first().expect("there are some")
            };
            self.open = Some(name.clone());
            let code = if create { client.create(&name, 2, &[]) } else { client.delete(&name) };
            match code {
                None => return Ok(()),
                Some(0) => {}
                Some(code) => return Err(format!("{name}, created {create}: answered {code}")),
            }
            self.open = None;
            if create {
                self.there.insert(name)
            } else {
                self.gone.insert(name)
            };
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// What a worker did not expect to be answered.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a worker panicked").to_owned()
}

/// All of them.
pub struct Load {
    pub producers: Vec<Producer>,
    pub commits: Commits,
    pub admin: Admin,
}

impl Load {
    pub fn new(seed: u64) -> Load {
        let partitions = TOPICS.iter().flat_map(|topic| (0..topic.partitions).map(move |p| (topic, p)));
        let seeds = (1..).map(|n: u64| seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let producers = partitions.zip(seeds).map(|((topic, p), seed)| Producer::new(topic, p, seed));
        Load { producers: producers.collect(), commits: Commits::default(), admin: Admin::default() }
    }

    /// Creates the topics that are not there yet; false when the connection went.
    pub fn create_topics(address: SocketAddr) -> bool {
        let Some(mut client) = Client::to(address) else { return false };
        let exists = dohle_types::ErrorCode::TopicAlreadyExists.code();
        TOPICS.iter().all(|topic| match client.create(topic.name, topic.partitions, topic.settings) {
            Some(code) if code == 0 || code == exists => true,
            Some(code) => panic!("{}: answered {code}", topic.name),
            None => false,
        })
    }

    /// Lets all work at once, `meanwhile` beside them, until their connections are gone.
    pub fn work(&mut self, address: SocketAddr, meanwhile: impl FnOnce()) -> Result<(), String> {
        let connected = |work: &mut dyn FnMut(&mut Client) -> Result<(), String>| {
            Client::to(address).map_or(Ok(()), |mut client| work(&mut client))
        };
        let (commits, admin) = (&mut self.commits, &mut self.admin);
        std::thread::scope(|scope| {
            let mut workers: Vec<_> = self
                .producers
                .iter_mut()
                .map(|producer| scope.spawn(move || connected(&mut |client| producer.work(client))))
                .collect();
            workers.push(scope.spawn(move || connected(&mut |client| commits.work(client))));
            workers.push(scope.spawn(move || connected(&mut |client| admin.work(client))));
            meanwhile();
            // All are waited for before one of them is heard.
            let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            ended.into_iter().try_for_each(|end| end.unwrap_or_else(|why| Err(said(why.as_ref()))))
        })
    }

    pub fn acknowledged(&self) -> i64 {
        self.producers.iter().map(|producer| producer.acknowledged).sum()
    }
}
