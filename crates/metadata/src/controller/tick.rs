//! What the active controller does unasked: fence who is silent, give leadership back, look after partitions without a leader.

use dohle_types::{Offset, TimestampMs};
use dohle_wire::messages::AbortTransactionRecord;
use dohle_wire::{MetadataRecord, Text};

use super::batch::Batch;
use super::partition_change::Election;
use super::turn::Turn;
use super::{Controller, ControllerSettings, RequestContext, bootstrap_records};
use crate::chance::Chance;

/// How many elections one tick makes: a cluster that has many to make makes them in many ticks, and answers in between.
pub const MAX_ELECTIONS_PER_TICK: usize = 1000;

/// What a tick comes to.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Each with its version. They need not be one batch.
    pub records: Vec<(MetadataRecord, i16)>,
    /// When to tick again; in the past when there is more to do at once.
    pub next: TimestampMs,
}

/// When the periodic duties are due.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    balance: TimestampMs,
    unclean: TimestampMs,
}

const NEVER: TimestampMs = TimestampMs(i64::MAX);

impl Default for Schedule {
    fn default() -> Self {
        Self { balance: NEVER, unclean: NEVER }
    }
}

impl Schedule {
    pub fn starting(settings: &ControllerSettings, now: TimestampMs) -> Self {
        Self {
            balance: settings.balance_interval_ms.map_or(NEVER, |interval| after(now, interval)),
            unclean: after(now, settings.unclean_interval_ms),
        }
    }
}

impl Controller {
    /// What a controller appends before anything else when it becomes active: the beginning of a cluster when the log is
    /// empty (`checkpoint` holds the records of the bootstrap checkpoint), and the end of what a former one left half done.
    pub fn activation_records(&self, checkpoint: &[(MetadataRecord, i16)]) -> Vec<(MetadataRecord, i16)> {
        let mut records = Vec::new();
        if self.image.in_transaction() {
            let reason = Some(Text::from_static("Controller failover"));
            records.push((AbortTransactionRecord { reason, ..Default::default() }.into(), 0));
        }
        if self.image.stable().features.metadata_version().is_none() {
            records.extend(bootstrap_records(&self.settings, checkpoint));
        }
        records
    }

    /// Does what is due at `now`. The records are to be replayed before the next tick or request, like any others.
    pub fn tick(&mut self, now: TimestampMs, next_offset: Offset, chance: u64) -> Tick {
        if self.image.features.metadata_version().is_none() {
            return Tick { records: Vec::new(), next: NEVER };
        }
        let timeout = self.settings.session_timeout_ms;
        let context = RequestContext::default();
        let schedule = &mut self.schedule;
        let mut turn = Turn {
            settings: &self.settings,
            context: &context,
            sessions: &mut self.sessions,
            registrations: &self.registrations,
            version: 0,
            now,
            next_offset,
            chance: Chance::new(chance),
            kraft_version: self.kraft_version,
            kraft_upgrade: None,
            batch: Batch::new(self.image.clone(), next_offset, usize::MAX),
        };
        turn.fence_silent_brokers();
        if now >= schedule.balance {
            let more = turn.balance_leaders();
            let interval = self.settings.balance_interval_ms.expect("due only if it has an interval");
            schedule.balance = if more { now } else { after(now, interval) };
        }
        if now >= schedule.unclean {
            let more = turn.elect_unclean_leaders();
            schedule.unclean = if more { now } else { after(now, self.settings.unclean_interval_ms) };
        }
        let records = turn.batch.into_records();
        let expiry = self.sessions.next_expiry(timeout).unwrap_or(NEVER);
        let next = expiry.min(self.schedule.balance).min(self.schedule.unclean);
        Tick { records, next }
    }
}

impl Turn<'_> {
    fn fence_silent_brokers(&mut self) {
        while let Some((id, epoch)) = self.sessions.expired(self.now, self.settings.session_timeout_ms) {
            self.sessions.end(id);
            let broker = self.image().brokers.get(id);
            if broker.is_some_and(|broker| broker.epoch == epoch && !broker.fenced) {
                self.fence(id, epoch).expect("nothing bounds these records");
            }
        }
    }

    /// Gives leadership back to preferred replicas that can take it. Says whether there may be more to do.
    fn balance_leaders(&mut self) -> bool {
        let mut away = Vec::new();
        for topic in self.image().topics.iter() {
            for (index, partition) in topic.partitions.iter() {
                if partition.leader != partition.preferred_leader() {
                    away.push((topic.id, index));
                }
            }
        }
        let mut made = 0;
        for (topic, index) in away {
            if made >= MAX_ELECTIONS_PER_TICK {
                return true;
            }
            let changed = self.change_partition(topic, index, |change| change.election = Election::Preferred);
            made += usize::from(changed.expect("nothing bounds these records"));
        }
        false
    }

    /// Elects leaders at the price of data where topics allow it. Says whether there may be more to do.
    fn elect_unclean_leaders(&mut self) -> bool {
        let mut leaderless = Vec::new();
        for topic in self.image().topics.iter() {
            let without: Vec<_> =
                topic.partitions.iter().filter(|(_, partition)| !partition.has_leader()).collect();
            if !without.is_empty() && self.unclean_election_enabled(&topic.name) {
                leaderless.extend(without.into_iter().map(|(index, _)| (topic.name.clone(), index)));
            }
        }
        let mut made = 0;
        for (topic, index) in leaderless {
            if made >= MAX_ELECTIONS_PER_TICK {
                return true;
            }
            made += usize::from(self.elect_leader(&topic, index, Election::Unclean).is_ok());
        }
        false
    }
}

fn after(now: TimestampMs, interval_ms: i64) -> TimestampMs {
    TimestampMs(now.get().saturating_add(interval_ms.max(1)))
}
