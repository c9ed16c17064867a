//! Incremental fetch sessions (KIP-227): a consumer names its partitions once and then only says what changed; the answers hold only
//! what changed too.
//!
//! Sessions are kept by the core of the connection that made them. A client that comes back with its session on another connection may
//! land on another core; it is told FETCH_SESSION_ID_NOT_FOUND, as after a restart of the broker, and starts a new session.
//!
//! Bounds: the core's share of `max.incremental.fetch.session.cache.slots`; a session that was used within [`EVICTION_AGE`] is only
//! pushed out by a larger one.

use std::collections::HashMap;
use std::time::Duration;

use dohle_env::Tick;
use dohle_types::{ErrorCode, HighWatermark, LogStartOffset, Offset, PartitionIndex, TopicId};
use dohle_wire::Text;

/// A session unused for this long gives way to any other (`MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const EVICTION_AGE: Duration = Duration::from_secs(120);

const NO_SESSION: i32 = 0;
const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;

/// One partition as a fetch request names it: by id from version 13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionName {
    pub topic: TopicName,
    pub partition: PartitionIndex,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicName {
    Id(TopicId),
    Name(Text),
}

/// What is wanted of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub offset: Offset,
    pub log_start: LogStartOffset,
    pub max_bytes: i32,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
}

/// What the last answer told of a partition; a new answer that would tell the same is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    high_watermark: HighWatermark,
    log_start: LogStartOffset,
}

impl Told {
    const NOTHING: Self =
        Self { high_watermark: HighWatermark(Offset::NONE), log_start: LogStartOffset(Offset::NONE) };
}

struct Session {
    epoch: i32,
    uses_ids: bool,
    last_used: Tick,
    /// In the order in which they are to be answered: those that got data last come last.
    partitions: Vec<(PartitionName, Wanted, Told)>,
}

/// How a request is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The session's id in the answer; 0 for none.
    pub session_id: i32,
    pub partitions: Vec<(PartitionName, Wanted)>,
    /// Whether partitions without news are left out of the answer.
    pub incremental: bool,
}

/// What an answer tells of one partition, as far as the session has to know.
pub struct Answered {
    pub has_records: bool,
    pub has_error: bool,
    /// A diverging epoch or a preferred replica.
    pub has_notice: bool,
    pub high_watermark: HighWatermark,
    pub log_start: LogStartOffset,
}

/// How many partitions the sessions of one core keep in all. Slots alone bound nothing: a request has room for millions of names.
/// A client that gets no session, or loses its own, goes on with full fetches.
const PARTITIONS_MAX: usize = 500_000;

/// The sessions of one core.
pub struct FetchSessions {
    slots: usize,
    sessions: HashMap<i32, Session>,
    /// The partitions of all sessions.
    held: usize,
}

impl FetchSessions {
    pub fn new(slots: usize) -> Self {
        Self { slots, sessions: HashMap::new(), held: 0 }
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Decides how to answer a request of version 7 or later (`FetchManager.newContext`).
    ///
    /// `chance` is a random number for the id of a new session.
    pub fn plan(
        &mut self,
        now: Tick,
        chance: u32,
        (session_id, epoch): (i32, i32),
        uses_ids: bool,
        named: Vec<(PartitionName, Wanted)>,
        forgotten: &[PartitionName],
    ) -> Result<Plan, ErrorCode> {
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.remove(session_id);
            let session_id =
                if epoch == FINAL_EPOCH { NO_SESSION } else { self.create(now, chance, uses_ids, &named) };
            return Ok(Plan { session_id, partitions: named, incremental: false });
        }
        let session = self.sessions.get_mut(&session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.uses_ids != uses_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        let before = session.partitions.len();
        session.update(named, forgotten);
        self.held = self.held - before + session.partitions.len();
        if self.held > PARTITIONS_MAX {
            self.remove(session_id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        session.epoch = next_epoch(session.epoch);
        session.last_used = now;
        if session.partitions.is_empty() {
            self.remove(session_id);
            return Ok(Plan { session_id: NO_SESSION, partitions: Vec::new(), incremental: false });
        }
        let partitions = session.partitions.iter().map(|(name, wanted, _)| (name.clone(), *wanted)).collect();
        Ok(Plan { session_id, partitions, incremental: true })
    }

    /// Notes what the answer tells; gives back for each partition, in the plan's order, whether the answer has to name it.
    pub fn answer(&mut self, plan: &Plan, answered: &[Answered]) -> Vec<bool> {
        let Some(session) = self.sessions.get_mut(&plan.session_id) else {
            return vec![true; answered.len()];
        };
        let mut named = Vec::with_capacity(answered.len());
        let mut served = Vec::new();
        // The session may have been replaced meanwhile; what is told is noted only where the order still agrees.
        for (at, (answered, (name, _))) in answered.iter().zip(&plan.partitions).enumerate() {
            let Some((_, _, told)) = session.partitions.get_mut(at).filter(|(held, _, _)| held == name)
            else {
                named.push(true);
                continue;
            };
            let news = Told { high_watermark: answered.high_watermark, log_start: answered.log_start };
            let changed = *told != news;
            *told = if answered.has_error { Told::NOTHING } else { news };
            let must = answered.has_records || answered.has_error || answered.has_notice || changed;
            named.push(must || !plan.incremental);
            if answered.has_records {
                served.push(at);
            }
        }
        session.move_to_end(&served);
        named
    }

    fn create(&mut self, now: Tick, chance: u32, uses_ids: bool, named: &[(PartitionName, Wanted)]) -> i32 {
        let is_full = self.sessions.len() >= self.slots || self.held + named.len() > PARTITIONS_MAX;
        if is_full && !self.make_room(now, named.len()) {
            return NO_SESSION;
        }
        // One session that gave way may have held too little.
        if self.held + named.len() > PARTITIONS_MAX {
            return NO_SESSION;
        }
        self.held += named.len();
        let mut id = i32::try_from(chance & 0x7fff_ffff).expect("31 bits").max(1);
        while self.sessions.contains_key(&id) {
            id = if id == i32::MAX { 1 } else { id + 1 };
        }
        let partitions =
            named.iter().map(|(name, wanted)| (name.to_kept(), *wanted, Told::NOTHING)).collect();
        self.sessions
            .insert(id, Session { epoch: next_epoch(INITIAL_EPOCH), uses_ids, last_used: now, partitions });
        id
    }

    fn remove(&mut self, id: i32) -> bool {
        let removed = self.sessions.remove(&id);
        self.held -= removed.as_ref().map_or(0, |session| session.partitions.len());
        removed.is_some()
    }

    /// Evicts the session that was unused longest, if it is old enough, or the smallest one, if the new one is larger.
    fn make_room(&mut self, now: Tick, size: usize) -> bool {
        let oldest = self.sessions.iter().min_by_key(|(_, session)| session.last_used);
        let oldest =
            oldest.filter(|(_, session)| now.since(session.last_used) > EVICTION_AGE).map(|(&id, _)| id);
        let victim = oldest.or_else(|| {
            let smallest = self.sessions.iter().min_by_key(|(_, session)| session.partitions.len());
            smallest.filter(|(_, session)| session.partitions.len() < size).map(|(&id, _)| id)
        });
        victim.is_some_and(|id| self.remove(id))
    }
}

impl Session {
    fn update(&mut self, named: Vec<(PartitionName, Wanted)>, forgotten: &[PartitionName]) {
        if !named.is_empty() {
            let places: HashMap<PartitionName, usize> =
                self.partitions.iter().enumerate().map(|(at, (name, _, _))| (name.clone(), at)).collect();
            for (name, wanted) in named {
                match places.get(&name) {
                    Some(&at) => self.partitions[at].1 = wanted,
                    None => self.partitions.push((name.to_kept(), wanted, Told::NOTHING)),
                }
            }
        }
        if !forgotten.is_empty() {
            self.partitions.retain(|(name, _, _)| !forgotten.contains(name));
        }
    }

    /// Partitions that got data go to the end, so that all get their turn when answers are full.
    fn move_to_end(&mut self, served: &[usize]) {
        if served.is_empty() || served.len() == self.partitions.len() {
            return;
        }
        let mut at = 0;
        let mut moved = Vec::with_capacity(served.len());
        self.partitions.retain(|entry| {
            let is_served = served.binary_search(&at).is_ok();
            at += 1;
            if is_served {
                moved.push(entry.clone());
            }
            !is_served
        });
        self.partitions.append(&mut moved);
    }
}

impl PartitionName {
    /// The same name in memory of its own: a session outlives the request that named the partition.
    fn to_kept(&self) -> Self {
        let topic = match &self.topic {
            TopicName::Id(id) => TopicName::Id(*id),
            TopicName::Name(name) => TopicName::Name(Text::from(name.as_str())),
        };
        Self { topic, partition: self.partition }
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(n: i32) -> PartitionName {
        PartitionName { topic: TopicName::Name(Text::from("t")), partition: PartitionIndex(n) }
    }

    fn wanted(offset: i64) -> Wanted {
        Wanted {
            offset: Offset(offset),
            log_start: LogStartOffset(Offset::NONE),
            max_bytes: 100,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
        }
    }

    fn quiet(hw: i64) -> Answered {
        Answered {
            has_records: false,
            has_error: false,
            has_notice: false,
            high_watermark: HighWatermark(Offset(hw)),
            log_start: LogStartOffset(Offset(0)),
        }
    }

    fn full(sessions: &mut FetchSessions, now: Tick, partitions: i32) -> Plan {
        let named = (0..partitions).map(|n| (partition(n), wanted(0))).collect();
        sessions.plan(now, 7, (0, 0), false, named, &[]).unwrap()
    }

    #[test]
    fn an_incremental_answer_names_only_news() {
        let mut sessions = FetchSessions::new(2);
        let plan = full(&mut sessions, Tick(0), 2);
        assert_eq!((plan.session_id, plan.incremental), (7, false));
        assert_eq!(sessions.answer(&plan, &[quiet(5), quiet(5)]), [true, true]);

        let plan = sessions.plan(Tick(1), 0, (7, 1), false, vec![], &[]).unwrap();
        assert!(plan.incremental);
        let with_records = Answered { has_records: true, ..quiet(9) };
        assert_eq!(sessions.answer(&plan, &[with_records, quiet(5)]), [true, false]);

        // The partition that got records comes last now.
        let plan = sessions.plan(Tick(2), 0, (7, 2), false, vec![], &[]).unwrap();
        assert_eq!(plan.partitions[0].0, partition(1));
        let failed = Answered { has_error: true, ..quiet(-1) };
        assert_eq!(sessions.answer(&plan, &[failed, quiet(9)]), [true, false]);
        let plan = sessions.plan(Tick(3), 0, (7, 3), false, vec![], &[]).unwrap();
        assert_eq!(
            sessions.answer(&plan, &[quiet(5), quiet(9)]),
            [true, false],
            "told again once the error is gone"
        );
    }

    #[test]
    fn sessions_are_fenced_by_epoch_and_id() {
        let mut sessions = FetchSessions::new(2);
        full(&mut sessions, Tick(0), 1);
        let mut ask = |id, epoch, ids| sessions.plan(Tick(1), 0, (id, epoch), ids, vec![], &[]);
        assert_eq!(ask(8, 1, false), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(ask(7, 2, false), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(ask(7, 1, true), Err(ErrorCode::FetchSessionTopicIdError));
        assert!(ask(7, 1, false).is_ok());
        assert_eq!(ask(7, FINAL_EPOCH, false).unwrap().session_id, NO_SESSION);
        assert_eq!(ask(7, 2, false), Err(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn forgetting_everything_ends_the_session() {
        let mut sessions = FetchSessions::new(2);
        full(&mut sessions, Tick(0), 1);
        let plan = sessions.plan(Tick(1), 0, (7, 1), false, vec![], &[partition(0)]).unwrap();
        assert_eq!(plan, Plan { session_id: 0, partitions: vec![], incremental: false });
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn sessions_keep_a_bounded_number_of_partitions() {
        let mut sessions = FetchSessions::new(1000);
        let most = i32::try_from(PARTITIONS_MAX).unwrap();
        let large = full(&mut sessions, Tick(0), most - 1);
        assert_ne!(large.session_id, NO_SESSION);
        assert_eq!(full(&mut sessions, Tick(0), 2).session_id, NO_SESSION);
        let small = full(&mut sessions, Tick(0), 1);
        assert_ne!(small.session_id, NO_SESSION);
        // One partition more does not fit into either.
        let named = vec![(partition(most), wanted(0))];
        let grown = sessions.plan(Tick(1), 0, (small.session_id, 1), false, named, &[]);
        assert_eq!(grown, Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!((sessions.len(), sessions.held), (1, PARTITIONS_MAX - 1));
    }

    #[test]
    fn only_old_or_smaller_sessions_give_way() {
        let mut sessions = FetchSessions::new(1);
        full(&mut sessions, Tick(0), 2);
        assert_eq!(full(&mut sessions, Tick(1), 2).session_id, NO_SESSION);
        assert_ne!(full(&mut sessions, Tick(1), 3).session_id, NO_SESSION);
        let later = Tick(0).plus(EVICTION_AGE * 2);
        assert_ne!(full(&mut sessions, later, 1).session_id, NO_SESSION);
        assert_eq!(sessions.len(), 1);
    }
}
