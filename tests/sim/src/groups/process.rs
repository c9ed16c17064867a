//! The coordinator's process: a shard, the log it writes to, and its life. What the shell of the broker does, without the broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use dohle_coordinator::frame::{Answer as Told, Batch, Coordinator, Moment, Record, ReplyTo, Shard};
use dohle_coordinator::groups::{Event, GroupCoordinator, GroupRecord, Request, Settings};
use dohle_types::{Offset, TimestampMs};

use super::catalog::Catalog;
use super::member::Answer;
use crate::log::{Entry, Log};

pub type Work = <GroupCoordinator as Coordinator>::Job;

/// The wall clock when a world begins.
const BEGINNING_MS: i64 = 1_700_000_000_000;

/// Kafka's default of `max.message.bytes`.
const MAX_BATCH_BYTES: usize = 1_048_588;

/// Replies that wait for a batch.
pub type Replies = Vec<(ReplyTo, Answer)>;

pub struct Process {
    settings: Arc<Settings>,
    shard: Option<Shard<GroupCoordinator>>,
    /// Tells a process from the one before it.
    pub life: u32,
    pub is_loading: bool,
    pub log: Log<Replies>,
    /// How far the wall clock is off.
    pub skew_ms: i64,
}

impl Process {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            shard: None,
            life: 0,
            is_loading: false,
            log: Log::default(),
            skew_ms: 0,
        }
    }

    pub fn is_serving(&self) -> bool {
        self.shard.is_some()
    }

    pub fn moment(&self, now_ms: u64, chance: u64) -> Moment {
        let wall = BEGINNING_MS + i64::try_from(now_ms).expect("a world ends early") + self.skew_ms;
        Moment { wall: TimestampMs(wall), tick_ms: now_ms, chance }
    }

    /// The log is read; requests are served from now on.
    pub fn load(&mut self, moment: Moment, catalog: &Catalog) {
        let mut shard = self.replayed(self.log.stored(), catalog);
        shard.loaded(moment);
        self.is_loading = false;
        self.shard = Some(shard);
    }

    /// A coordinator that has read these records.
    pub fn replayed<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a Entry>,
        catalog: &Catalog,
    ) -> Shard<GroupCoordinator> {
        let coordinator = GroupCoordinator::new(self.settings.clone(), catalog.topics(), BTreeMap::new());
        let mut shard = Shard::new(coordinator, MAX_BATCH_BYTES);
        for entry in entries {
            let record = GroupRecord::decode(entry.key.clone(), entry.value.clone());
            let record = record.expect("what was written can be read").expect("its kind is known");
            shard.replay(record, Offset(entry.offset), None);
        }
        shard
    }

    pub fn coordinator(&self) -> Option<&GroupCoordinator> {
        self.shard.as_ref().map(Shard::coordinator)
    }

    pub fn handle(&mut self, moment: Moment, to: ReplyTo, request: Request) {
        self.shard.as_mut().expect("it serves").handle(moment, to, request);
    }

    pub fn notice(&mut self, moment: Moment, event: Event) {
        if let Some(shard) = &mut self.shard {
            shard.notice(moment, event);
        }
    }

    pub fn advance(&mut self, moment: Moment) {
        if let Some(shard) = &mut self.shard {
            shard.advance(moment);
        }
    }

    pub fn next_due_ms(&self) -> Option<u64> {
        self.shard.as_ref()?.next_due()
    }

    pub fn ready(&mut self) -> Replies {
        self.shard.as_mut().map(Shard::take_ready).unwrap_or_default().into_iter().map(plain).collect()
    }

    pub fn jobs(&mut self) -> Vec<Work> {
        self.shard.as_mut().map(Shard::take_jobs).unwrap_or_default()
    }

    /// Appends what has been decided, as one batch or, if it is to be split, a batch for each of its units. Returns what was
    /// appended, and in how many batches.
    pub fn append(&mut self, split: bool) -> Option<(Vec<Entry>, usize)> {
        let Batch { records, units, replies } = self.shard.as_mut()?.take_batch()?;
        let before = (self.log.pending_entries().count(), self.log.pending());
        let mut records = records.into_iter().map(|record| (record.key, record.value));
        let mut start = 0;
        let whole_units = if split { units.len().saturating_sub(1) } else { 0 };
        for end in &units[..whole_units] {
            self.log.append(records.by_ref().take(end - start), Replies::new());
            start = *end;
        }
        self.log.append(records, replies.into_iter().map(plain).collect());
        let appended = self.log.pending_entries().skip(before.0).cloned().collect();
        Some((appended, self.log.pending() - before.1))
    }

    /// The process dies, or the shard is dropped because an append failed. Returns the replies that will never be released.
    pub fn drop_shard(&mut self) -> Vec<ReplyTo> {
        let mut unreleased: Vec<ReplyTo> = Vec::new();
        if let Some(batch) = self.shard.as_mut().and_then(Shard::take_batch) {
            unreleased.extend(batch.replies.into_iter().map(|(to, _)| to));
        }
        self.shard = None;
        self.is_loading = false;
        self.life += 1;
        for replies in self.log.lose_pending() {
            unreleased.extend(replies.into_iter().map(|(to, _)| to));
        }
        unreleased
    }
}

fn plain((to, told): (ReplyTo, Told<GroupCoordinator>)) -> (ReplyTo, Answer) {
    (to, told)
}
