//! What the log remembers of the producers that wrote to it: sequences, epochs, open transactions.
//!
//! The rules are those of Kafka 4.3 (`ProducerStateManager`, `ProducerAppendInfo`). The state is the replay of the log's batch
//! headers: a leader checks a batch first ([`Update::check`]) and applies it once written, recovery only applies.
//!
//! A producer is forgotten when neither the timestamps of its records nor its appends to this log are younger than
//! `producer.id.expiration.ms`. Kafka looks at the timestamps alone, and so forgets who is writing old records right now; what is stored
//! is the same, and after a restart the timestamps are all there is.
//!
//! Bound: 200 bytes for each producer, five batches included; how many there are is for `producer.id.expiration.ms` to say.
//!
//! Invariant `ProducersRebuilt`: the state after replaying the log from a snapshot is the state that appending left. A snapshot
//! holds only the last of the five batches; the others are recalled from the log before it (`replay.rs` says how far).

use std::collections::BTreeMap;

use dohle_records::BatchHeader;
use dohle_records::control::EndTransaction;
use dohle_types::{HighWatermark, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::error::AppendError;
use crate::index::AbortedTransaction;

/// How many batches of a producer can still be told from new ones when they come again.
pub const REMEMBERED_BATCHES: usize = 5;

/// A batch that was appended, as far as recognising it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RememberedBatch {
    pub last_offset: Offset,
    pub timestamp: TimestampMs,
    pub last_sequence: Sequence,
    pub offset_delta: i32,
}

impl RememberedBatch {
    // A snapshot may hold any numbers; none of them may stop a broker.

    pub fn first_offset(&self) -> Offset {
        Offset(self.last_offset.get().saturating_sub(i64::from(self.offset_delta)))
    }

    fn first_sequence(&self) -> Sequence {
        let first = i64::from(self.last_sequence.get()) - i64::from(self.offset_delta);
        // Wrapped from i32::MAX to 0 inside the batch.
        let wrapped = if first < 0 && self.last_sequence.get() >= 0 { first + (1 << 31) } else { first };
        Sequence(i32::try_from(wrapped).unwrap_or(Sequence::NONE.get()))
    }
}

/// All producers by id. Boxed: nodes of the map are half empty when ids come in order, as they do.
pub(crate) type States = BTreeMap<ProducerId, Box<ProducerState>>;

/// When this process appended something, in seconds since 1970; 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen(u32);

impl Seen {
    fn at(now: TimestampMs) -> Self {
        Self(u32::try_from(now.get() / 1000).unwrap_or_default())
    }

    fn millis(self) -> i64 {
        i64::from(self.0) * 1000
    }
}

/// One producer.
#[derive(Clone, Debug)]
pub(crate) struct ProducerState {
    pub epoch: ProducerEpoch,
    pub coordinator_epoch: i32,
    pub last_timestamp: TimestampMs,
    /// The first offset of its open transaction, or `NONE`.
    pub transaction_start: Offset,
    batches: [RememberedBatch; REMEMBERED_BATCHES],
    remembered: u8,
    /// Not part of the state: a replay does not know it.
    seen: Seen,
}

const _: () =
    assert!(size_of::<ProducerState>() <= 152, "with its place in the map it has to stay within 200 bytes");

impl PartialEq for ProducerState {
    fn eq(&self, other: &Self) -> bool {
        let key = |state: &Self| {
            (
                state.epoch,
                state.coordinator_epoch,
                state.last_timestamp,
                state.transaction_start,
                state.remembered,
            )
        };
        key(self) == key(other) && self.batches == other.batches
    }
}

impl Eq for ProducerState {}

impl ProducerState {
    pub const fn new(
        epoch: ProducerEpoch,
        coordinator_epoch: i32,
        last_timestamp: TimestampMs,
        transaction_start: Offset,
    ) -> Self {
        const NO_BATCH: RememberedBatch = RememberedBatch {
            last_offset: Offset::NONE,
            timestamp: TimestampMs::NONE,
            last_sequence: Sequence::NONE,
            offset_delta: 0,
        };
        let batches = [NO_BATCH; REMEMBERED_BATCHES];
        Self {
            epoch,
            coordinator_epoch,
            last_timestamp,
            transaction_start,
            batches,
            remembered: 0,
            seen: Seen(0),
        }
    }

    /// A producer that has not written anything.
    const UNSEEN: Self = Self::new(ProducerEpoch::NONE, -1, TimestampMs::NONE, Offset::NONE);

    fn batches(&self) -> &[RememberedBatch] {
        &self.batches[..usize::from(self.remembered)]
    }

    pub fn last_batch(&self) -> Option<&RememberedBatch> {
        self.batches().last()
    }

    pub fn last_sequence(&self) -> Sequence {
        self.last_batch().map_or(Sequence::NONE, |batch| batch.last_sequence)
    }

    pub fn remember(&mut self, batch: RememberedBatch) {
        if usize::from(self.remembered) == REMEMBERED_BATCHES {
            self.batches.rotate_left(1);
            self.remembered -= 1;
        }
        self.batches[usize::from(self.remembered)] = batch;
        self.remembered += 1;
    }

    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.remembered = 0;
        }
    }

    fn duplicate_of(&self, header: &BatchHeader) -> Option<&RememberedBatch> {
        let same = |batch: &&RememberedBatch| {
            batch.first_sequence() == header.base_sequence && batch.last_sequence == header.last_sequence()
        };
        (self.epoch == header.producer_epoch).then(|| self.batches().iter().find(same)).flatten()
    }

    /// When it last wrote, by its records or by this process's clock.
    fn last_active(&self) -> i64 {
        self.last_timestamp.get().max(self.seen.millis())
    }

    fn is_expired(&self, now: TimestampMs, expiration_ms: i64) -> bool {
        self.transaction_start == Offset::NONE
            && now.get().saturating_sub(self.last_active()) >= expiration_ms
    }
}

/// Who appends, which decides what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Client,
    /// A coordinator on this broker; markers follow the rules of this version of `transaction.version`.
    Coordinator {
        transaction_version: i16,
    },
    /// A leader that has checked it, or the log itself on recovery.
    Replication,
}

/// All producers of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    states: States,
    /// First offsets of open transactions.
    open: BTreeMap<Offset, ProducerId>,
    /// First offset and marker of transactions that are decided, until the marker is below the high watermark.
    decided: BTreeMap<Offset, Offset>,
}

impl Producers {
    /// The state a snapshot describes.
    pub fn of(states: States) -> Self {
        let open = states.iter().filter(|(_, state)| state.transaction_start != Offset::NONE);
        let open = open.map(|(id, state)| (state.transaction_start, *id)).collect();
        Self { states, open, decided: BTreeMap::new() }
    }

    pub fn states(&self) -> &States {
        &self.states
    }

    /// Takes over the remembered batches of `recent`, replayed from the end of the log, for each producer whose last batch agrees.
    pub fn recall(&mut self, recent: &Self) {
        for (id, state) in &mut self.states {
            let Some(replayed) = recent.states.get(id) else { continue };
            let agrees = replayed.epoch == state.epoch
                && replayed.last_batch().is_some_and(|last| {
                    state.last_batch().is_some_and(|kept| kept.last_offset == last.last_offset)
                });
            if agrees {
                (state.batches, state.remembered) = (replayed.batches, replayed.remembered);
            }
        }
    }

    /// The batch that was appended before, should this one be it.
    pub fn duplicate_of(&self, header: &BatchHeader) -> Option<&RememberedBatch> {
        self.states.get(&header.producer_id)?.duplicate_of(header)
    }

    /// What lies below this is decided, and its markers are below the high watermark.
    pub fn first_unstable(&self, high_watermark: HighWatermark) -> Option<Offset> {
        let decided =
            self.decided.iter().find(|(_, marker)| **marker >= high_watermark.get()).map(|(first, _)| *first);
        let open = self.open.keys().next().copied();
        [decided, open].into_iter().flatten().min()
    }

    /// Forgets decided transactions whose markers everyone has.
    pub fn on_high_watermark(&mut self, high_watermark: HighWatermark) {
        self.decided.retain(|_, marker| *marker >= high_watermark.get());
    }

    /// The transactions that are decided by a marker below `end` which not everyone may have yet. A snapshot does not tell of them.
    pub fn decided_before(&self, end: Offset) -> Decided {
        let stays = self.decided.iter().filter(|(_, marker)| **marker < end);
        Decided(stays.map(|(first, marker)| (*first, *marker)).collect())
    }

    /// Takes back what was known before the log was cut.
    pub fn remember_decided(&mut self, decided: Decided) {
        self.decided.extend(decided.0);
    }

    pub fn expire(&mut self, now: TimestampMs, expiration_ms: i64) {
        self.states.retain(|_, state| !state.is_expired(now, expiration_ms));
    }

    /// When the next producer may be forgotten.
    pub fn next_expiry(&self, expiration_ms: i64) -> Option<TimestampMs> {
        let idle = self.states.values().filter(|state| state.transaction_start == Offset::NONE);
        idle.map(|state| TimestampMs(state.last_active().saturating_add(expiration_ms))).min()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes over what an append has done.
    pub fn apply(&mut self, update: Update) -> Vec<AbortedTransaction> {
        for (id, mut state) in update.states {
            if update.seen != Seen::default() {
                state.seen = update.seen;
            }
            match self.states.get_mut(&id) {
                Some(known) => **known = state,
                None => _ = self.states.insert(id, Box::new(state)),
            }
        }
        self.open.extend(update.opened);
        update.completed.into_iter().filter_map(|completed| self.complete(&completed)).collect()
    }

    /// Replays one batch of the log. `marker` is what its control record says, if it is a control batch.
    pub fn replay(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTransaction>,
    ) -> Option<AbortedTransaction> {
        let mut update = Update::default();
        update.check(self, header, marker, Origin::Replication).expect("Origin::Replication refuses nothing");
        self.apply(update).pop()
    }

    fn complete(&mut self, completed: &Completed) -> Option<AbortedTransaction> {
        let others = self.open.iter().find(|(_, id)| **id != completed.producer_id);
        let last_stable_offset = others.map_or(completed.marker.next(), |(first, _)| *first);
        self.open.remove(&completed.first_offset);
        self.decided.insert(completed.first_offset, completed.marker);
        completed.aborted.then_some(AbortedTransaction {
            producer_id: completed.producer_id,
            first_offset: completed.first_offset,
            last_offset: completed.marker,
            last_stable_offset,
        })
    }
}

/// See [`Producers::decided_before`].
pub(crate) struct Decided(BTreeMap<Offset, Offset>);

#[derive(Debug)]
struct Completed {
    producer_id: ProducerId,
    first_offset: Offset,
    marker: Offset,
    aborted: bool,
}

/// What an append is going to do to the producers; nothing is done before it is written.
#[derive(Debug, Default)]
pub(crate) struct Update {
    states: Vec<(ProducerId, ProducerState)>,
    opened: Vec<(Offset, ProducerId)>,
    completed: Vec<Completed>,
    seen: Seen,
}

impl Update {
    /// Of an append that happens now; a replay says no time.
    pub fn at(now: TimestampMs) -> Self {
        Self { seen: Seen::at(now), ..Self::default() }
    }

    /// Checks a batch, whose offsets are assigned, against the producers as they are after the batches checked before.
    pub fn check(
        &mut self,
        producers: &Producers,
        header: &BatchHeader,
        marker: Option<EndTransaction>,
        origin: Origin,
    ) -> Result<(), AppendError> {
        if !header.has_producer() {
            return Ok(());
        }
        let id = header.producer_id;
        let current = producers.states.get(&id);
        let at = self.states.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
            self.states.push((id, current.map_or(ProducerState::UNSEEN, |current| (**current).clone())));
            self.states.len() - 1
        });
        let state = &mut self.states[at].1;
        if !header.is_control() {
            check_epoch(state, header, 0, origin)?;
            if origin == Origin::Client {
                check_sequence(state, current.map_or(ProducerEpoch::NONE, |current| current.epoch), header)?;
            }
            return self.note_data(at, header, origin);
        }
        // A control batch without records: compaction has removed the whole transaction.
        let Some(marker) = marker else { return Ok(()) };
        let version =
            if let Origin::Coordinator { transaction_version } = origin { transaction_version } else { 0 };
        check_epoch(state, header, version, origin)?;
        if state.coordinator_epoch > marker.coordinator_epoch && origin != Origin::Replication {
            return Err(AppendError::CoordinatorFenced(format!(
                "the marker for producer {id} at offset {} comes from coordinator epoch {}, and {} has written before",
                header.base_offset, marker.coordinator_epoch, state.coordinator_epoch
            )));
        }
        let first_offset = std::mem::replace(&mut state.transaction_start, Offset::NONE);
        state.enter_epoch(header.producer_epoch);
        state.coordinator_epoch = marker.coordinator_epoch;
        state.last_timestamp = header.max_timestamp;
        if first_offset != Offset::NONE {
            let aborted = !marker.committed;
            self.completed.push(Completed {
                producer_id: id,
                first_offset,
                marker: header.base_offset,
                aborted,
            });
        }
        Ok(())
    }

    fn note_data(&mut self, at: usize, header: &BatchHeader, origin: Origin) -> Result<(), AppendError> {
        let (id, state) = &mut self.states[at];
        let breaks_in = state.transaction_start != Offset::NONE && !header.is_transactional();
        if breaks_in && origin != Origin::Replication {
            return Err(AppendError::InvalidTransactionState(format!(
                "producer {id} has an open transaction, and its batch at offset {} is not part of one",
                header.base_offset
            )));
        }
        state.enter_epoch(header.producer_epoch);
        state.remember(RememberedBatch {
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
            last_sequence: header.last_sequence(),
            offset_delta: header.last_offset_delta,
        });
        state.last_timestamp = header.max_timestamp;
        if state.transaction_start == Offset::NONE && header.is_transactional() {
            state.transaction_start = header.base_offset;
            self.opened.push((header.base_offset, *id));
        }
        Ok(())
    }
}

fn check_epoch(
    state: &ProducerState,
    header: &BatchHeader,
    transaction_version: i16,
    origin: Origin,
) -> Result<(), AppendError> {
    // From transaction.version 2 on the coordinator bumps the epoch before it writes the marker.
    let strict = transaction_version >= 2;
    let stale =
        if strict { header.producer_epoch <= state.epoch } else { header.producer_epoch < state.epoch };
    let repeated_marker =
        strict && header.producer_epoch == state.epoch && state.transaction_start == Offset::NONE;
    if !stale || repeated_marker || origin == Origin::Replication {
        return Ok(());
    }
    Err(AppendError::InvalidProducerEpoch(format!(
        "producer {} at offset {} has epoch {}, and {} was seen before",
        header.producer_id, header.base_offset, header.producer_epoch, state.epoch
    )))
}

/// `logged_epoch` is the producer's epoch before this append: without one (all it wrote is gone) any sequence may start.
fn check_sequence(
    state: &ProducerState,
    logged_epoch: ProducerEpoch,
    header: &BatchHeader,
) -> Result<(), AppendError> {
    let first = header.base_sequence.get();
    let refused = if header.producer_epoch != state.epoch {
        first != 0 && state.epoch != ProducerEpoch::NONE
    } else {
        let last = state.last_sequence().get();
        let follows = i64::from(first) == i64::from(last) + 1 || (first == 0 && last == i32::MAX);
        logged_epoch != ProducerEpoch::NONE && !follows
    };
    if !refused {
        return Ok(());
    }
    Err(AppendError::OutOfOrderSequence(format!(
        "producer {} with epoch {} sent sequence {first} at offset {}, after epoch {} with sequence {}",
        header.producer_id,
        header.producer_epoch,
        header.base_offset,
        state.epoch,
        state.last_sequence()
    )))
}
