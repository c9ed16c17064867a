//! What a shell does, with a log that is a vector.

use std::collections::{BTreeMap, VecDeque};

use dohle_coordinator::frame::{Answer, EncodedRecord, Job, Record, ReplyTo, Shard};
use dohle_types::{ErrorCode, Offset};

use crate::at;
use crate::counters::{Ask, Counters, Doubling};

type Told = Answer<Counters>;

pub struct Shell {
    now: u64,
    shard: Shard<Counters>,
    /// The log, and up to where it is stored.
    log: Vec<EncodedRecord>,
    stored: usize,
    next_reply: u64,
    waiting: Vec<ReplyTo>,
    /// Replies, and the end of the log that they wait for.
    unreleased: VecDeque<(usize, Vec<(ReplyTo, Told)>)>,
    answers: BTreeMap<ReplyTo, Told>,
    /// The order in which answers were given.
    pub told: Vec<ReplyTo>,
    jobs: Vec<Doubling>,
}

impl Shell {
    pub fn new() -> Self {
        Self {
            now: 0,
            shard: Shard::new(Counters::default(), 10_000),
            log: Vec::new(),
            stored: 0,
            next_reply: 0,
            waiting: Vec::new(),
            unreleased: VecDeque::new(),
            answers: BTreeMap::new(),
            told: Vec::new(),
            jobs: Vec::new(),
        }
    }

    pub fn ask(&mut self, ask: Ask) -> ReplyTo {
        let to = ReplyTo(self.next_reply);
        self.next_reply += 1;
        self.waiting.push(to);
        self.shard.handle(at(self.now), to, ask);
        self.settle();
        to
    }

    pub fn answer(&self, to: ReplyTo) -> Option<Told> {
        self.answers.get(&to).copied()
    }

    /// Who has no answer yet.
    pub fn unanswered(&self) -> usize {
        self.waiting.len() + self.unreleased.iter().map(|(_, replies)| replies.len()).sum::<usize>()
    }

    pub fn value(&self, name: &str) -> i64 {
        self.shard.coordinator().value(name)
    }

    pub fn remembered(&self) -> BTreeMap<String, i64> {
        self.shard.coordinator().remembered().clone()
    }

    pub fn next_due(&self) -> Option<u64> {
        self.shard.next_due()
    }

    pub fn advance(&mut self, ms: u64) {
        self.now += ms;
        self.shard.advance(at(self.now));
        self.settle();
    }

    pub fn run_jobs(&mut self) -> usize {
        let jobs = std::mem::take(&mut self.jobs);
        let count = jobs.len();
        for job in jobs {
            self.shard.notice(at(self.now), job.run());
            self.settle();
        }
        count
    }

    /// Appends what was decided; it is not stored yet.
    pub fn append(&mut self) {
        let Some(batch) = self.shard.take_batch() else { return };
        self.log.extend(batch.records);
        self.waiting.retain(|waiting| !batch.replies.iter().any(|(to, _)| to == waiting));
        self.unreleased.push_back((self.log.len(), batch.replies));
        self.release();
    }

    /// The disk has caught up.
    pub fn store(&mut self) {
        self.stored = self.log.len();
        self.release();
    }

    /// The log does not take the append: whoever waits for this shard is told, and another is loaded.
    pub fn refuse_append(&mut self, code: ErrorCode) {
        _ = self.shard.take_batch();
        for to in std::mem::take(&mut self.waiting) {
            self.tell(to, Err(code));
        }
        self.store();
        self.load();
    }

    /// The process dies and comes back: what was appended and not stored may or may not be there.
    pub fn crash(&mut self, keeps: usize) {
        self.log.truncate(self.stored + keeps.min(self.log.len() - self.stored));
        self.stored = self.log.len();
        self.waiting.clear();
        self.unreleased.clear();
        self.load();
    }

    pub fn reload(&mut self) {
        self.refuse_append(ErrorCode::NotCoordinator);
    }

    fn load(&mut self) {
        self.jobs.clear();
        self.shard = replayed(&self.log);
        self.shard.loaded(at(self.now));
        self.settle();
    }

    /// What a shard remembers that is loaded from the log as it is, appended or stored.
    pub fn in_log(&self) -> BTreeMap<String, i64> {
        replayed(&self.log).coordinator().remembered().clone()
    }

    fn settle(&mut self) {
        for (to, answer) in self.shard.take_ready() {
            self.waiting.retain(|waiting| *waiting != to);
            self.tell(to, answer);
        }
        self.jobs.extend(self.shard.take_jobs());
    }

    fn release(&mut self) {
        while let Some((end, _)) = self.unreleased.front()
            && *end <= self.stored
        {
            let (_, replies) = self.unreleased.pop_front().expect("the front was just looked at");
            replies.into_iter().for_each(|(to, answer)| self.tell(to, answer));
        }
    }

    fn tell(&mut self, to: ReplyTo, answer: Told) {
        assert!(self.answers.insert(to, answer).is_none(), "nobody is answered twice");
        self.told.push(to);
    }
}

fn replayed(log: &[EncodedRecord]) -> Shard<Counters> {
    let mut shard = Shard::new(Counters::default(), 10_000);
    for (offset, record) in log.iter().enumerate() {
        let record = Record::decode(record.key.clone(), record.value.clone()).expect("written by itself");
        shard.replay(record.expect("of a known kind"), Offset(offset as i64), None);
    }
    shard
}
