//! A generated workload on a simulated disk, a plain twin of what the log has to hold, and the invariants by name.
//!
//! The driver does what a broker has to do: it acknowledges by [`Durable`] only, and stores the checkpoints when the log says so.

mod relocation;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dohle_env::Disk;
use dohle_env::disk::{Fault, SimDisk};
use dohle_log::checkpoint::{self, Offsets};
use dohle_log::{Durable, Log, ProducerInfo, Recovery};
use dohle_records::control::EndTransaction;
use dohle_records::{Batch, BatchHeader};
use dohle_types::*;

use super::*;

/// Steps of one workload.
pub const STEPS: usize = 60;

/// The part of a batch that tells it from all others.
pub fn identity(batch: &Batch) -> (Offset, Offset, u32) {
    (batch.header.base_offset, batch.header.last_offset(), batch.header.crc)
}

pub struct Workload {
    pub world: World,
    random: u64,
    pub log: Option<Log>,
    /// Every batch that may be in the log, by base offset. Truncation takes out what it cut.
    appended: BTreeMap<Offset, Vec<(Offset, u32)>>,
    /// The batches of the history as it is, with what they say about producers.
    pub history: Vec<(BatchHeader, Option<bool>)>,
    /// What a truncation had cut off when its process died: it was not done, and a crash may undo it.
    half_cut: Vec<(BatchHeader, Option<bool>)>,
    pub acknowledged: Offset,
    /// Every start the log has had or was about to get.
    starts: BTreeSet<Offset>,
    /// The start that was acknowledged to whoever deleted records.
    start: Offset,
    epoch: LeaderEpoch,
    now: i64,
    tag: u64,
    sequences: BTreeMap<i64, (i16, i32, bool)>,
    /// Everything is being thrown away: any of it may be left, or nothing.
    resetting: bool,
}

/// What a log holds: its batches, its producers, its start and end.
pub type Found = (Vec<Batch>, Vec<ProducerInfo>, (Offset, Offset));
pub type Step = Result<(), Box<dyn std::error::Error>>;

impl Workload {
    pub fn new(seed: u64, disk: SimDisk) -> Self {
        let mut world = World::on(disk);
        world.settings.segment_bytes = 1500;
        world.settings.index_interval_bytes = 200;
        world.settings.file_delete_delay_ms = 50;
        world.settings.retention_bytes = if seed.is_multiple_of(3) { Some(5000) } else { None };
        Self {
            world,
            random: seed,
            log: None,
            appended: BTreeMap::new(),
            history: Vec::new(),
            half_cut: Vec::new(),
            acknowledged: Offset::ZERO,
            starts: BTreeSet::from([Offset::ZERO]),
            start: Offset::ZERO,
            epoch: LeaderEpoch(0),
            now: 1000,
            tag: 0,
            sequences: BTreeMap::new(),
            resetting: false,
        }
    }

    pub fn chance(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// Runs the workload until it ends or something fails. Whether it came to its end.
    pub fn run(&mut self) -> bool {
        self.open(false).is_ok() && (0..STEPS).all(|_| self.step().is_ok() && !self.world.disk.has_crashed())
    }

    /// Starts again on what is there, as a broker does, and goes on for some steps.
    pub fn restart(&mut self, steps: u64) -> Result<(), String> {
        self.try_restart(steps).map_err(|error| format!("after the restart: {error}"))
    }

    fn try_restart(&mut self, steps: u64) -> Step {
        // As `LogDir::open` and `LogDir::take_clean_shutdown` do with a directory that is taken over.
        let disk = &self.world.context.disk;
        let _stored = disk.sync_dir(Path::new("/"))?;
        for root in ROOTS.map(Path::new) {
            if disk.metadata(root)?.is_some() {
                let _stored = disk.sync_dir(root)?;
            }
        }
        self.open(false)?;
        self.take_over();
        // What was read is stored before anybody is given the log.
        self.flush()?;
        self.checkpoint()?;
        (0..steps).try_for_each(|_| self.step())
    }

    /// The history is what the log has of it; the rest was never acknowledged.
    fn take_over(&mut self) {
        let log = self.log.as_mut().expect("the log is open");
        let (start, end) = (log.start_offset(), log.end_offset());
        let found: BTreeSet<_> = read_all(log).iter().map(identity).collect();
        assert!(end >= self.acknowledged, "AcknowledgedSurvives a process that dies");
        let is_there = |header: &BatchHeader| {
            header.last_offset() < start
                || found.contains(&(header.base_offset, header.last_offset(), header.crc))
        };
        (self.history, self.half_cut) =
            std::mem::take(&mut self.history).into_iter().partition(|(header, _)| is_there(header));
        self.note_start();
        self.learn_sequences();
    }

    /// What producers may send next is what the log remembers of them.
    fn learn_sequences(&mut self) {
        self.sequences.clear();
        for info in self.log().producers().collect::<Vec<_>>() {
            let open = info.transaction_start != Offset::NONE;
            self.sequences
                .insert(info.producer_id.get(), (info.epoch.get(), info.last_sequence.get() + 1, open));
        }
    }

    pub fn step(&mut self) -> Step {
        self.now += 10;
        match self.chance(21) {
            0..=8 => self.append(),
            9..=11 => self.flush(),
            12 | 13 => self.maintain(),
            14 => self.truncate(),
            15 => self.delete_records(),
            16 => self.checkpoint(),
            17 => self.close_and_open(),
            18 => self.new_leader(),
            19 => self.relocate(),
            _ => self.flush_while_appending(),
        }
    }

    pub fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("the log is open")
    }

    fn append(&mut self) -> Step {
        let count = 1 + self.chance(2);
        let batches: Vec<Batch> = (0..count).map(|_| self.make_batch()).collect();
        let ends: Vec<Option<bool>> =
            batches.iter().map(|batch| batch.header.is_control().then_some(true)).collect();
        let (epoch, now) = (self.epoch, ms(self.now));
        let mut at = self.log().end_offset();
        for (batch, marker) in batches.iter().zip(ends) {
            let mut header = batch.header;
            (header.base_offset, header.leader_epoch) = (at, epoch);
            self.appended.entry(at).or_default().push((header.last_offset(), header.crc));
            self.history.push((header, marker));
            at = header.next_offset();
        }
        if batches.iter().any(|batch| batch.header.is_control()) {
            self.log().append_as_coordinator(batches, epoch, 1, now)?;
        } else {
            self.log().append_as_leader(batches, epoch, now)?;
        }
        Ok(())
    }

    fn make_batch(&mut self) -> Batch {
        self.tag += 1;
        let records = 1 + self.chance(8) as usize;
        if self.chance(3) == 0 {
            return batch(self.tag, records, self.now);
        }
        let id = 1 + self.chance(4) as i64;
        let bump = self.chance(10) == 0;
        let (epoch, sequence, open) = self.sequences.entry(id).or_default();
        if *open {
            // Every second batch of a transaction is its end.
            *open = false;
            let marker = EndTransaction { committed: self.tag.is_multiple_of(2), coordinator_epoch: 0 };
            return marker.to_batch(
                ProducerId(id),
                ProducerEpoch(*epoch),
                ms(self.now),
                Offset::ZERO,
                LeaderEpoch(0),
            );
        }
        if bump {
            (*epoch, *sequence) = (*epoch + 1, 0);
        }
        let first = *sequence;
        *sequence += records as i32;
        if id > 2 {
            *open = true;
            transactional_batch(self.tag, records, self.now, id, *epoch, first)
        } else {
            producer_batch(self.tag, records, self.now, id, *epoch, first)
        }
    }

    fn acknowledge(&mut self, durable: Durable) {
        self.acknowledged = self.acknowledged.max(durable.up_to());
        // Nothing else that was ever written there may be found any more.
        for (header, _) in self.history.iter().filter(|(header, _)| header.last_offset() < self.acknowledged)
        {
            self.appended.insert(header.base_offset, vec![(header.last_offset(), header.crc)]);
        }
    }

    fn flush(&mut self) -> Step {
        let durable = self.log().flush()?;
        self.acknowledge(durable);
        Ok(())
    }

    fn flush_while_appending(&mut self) -> Step {
        let Some(flush) = self.log().start_flush() else { return Ok(()) };
        self.append()?;
        let result = run_alone_or_not(flush, self.chance(2) == 0);
        self.append()?;
        let durable = self.log().finish_flush(result)?;
        self.acknowledge(durable);
        Ok(())
    }

    fn maintain(&mut self) -> Step {
        let (now, high_watermark) = (ms(self.now), self.acknowledged);
        let maintenance = self.log().maintain(now, HighWatermark(high_watermark))?;
        self.note_start();
        if let Some(cleanup) = maintenance.cleanup {
            let result = cleanup.run(&mut || true);
            self.log().finish_cleanup(result, now)?;
        }
        Ok(())
    }

    fn note_start(&mut self) {
        let start = self.log().start_offset();
        self.starts.insert(start);
    }

    fn truncate(&mut self) -> Step {
        let (end, now) = (self.log().end_offset(), ms(self.now));
        let start = self.log().start_offset();
        if self.chance(6) == 0 {
            return self.reset();
        }
        if end <= start {
            return Ok(());
        }
        let to = Offset(end.get() - self.chance((end.get() - start.get()) as u64) as i64 / 3);
        // The batch that holds the offset goes as a whole.
        let cut = self.history.iter().map(|(header, _)| header).find(|header| header.last_offset() >= to);
        let cut = cut.map_or(end, |header| header.base_offset);
        // If the log starts inside of it, nothing is left, and the start stays where it is.
        let emptied = cut <= start;
        let cut = cut.max(start);
        self.acknowledged = self.acknowledged.min(cut);
        self.log().truncate_to(to, now)?;
        assert_eq!(self.log().end_offset(), cut.min(end));
        self.appended.retain(|base, _| *base < cut);
        self.history.retain(|(header, _)| header.base_offset < cut && !emptied);
        // Mostly a new leader has asked for it, but not always is something new said.
        if self.chance(4) > 0 {
            self.epoch = self.epoch.get().checked_add(1).map(LeaderEpoch).expect("few epochs");
        }
        self.learn_sequences();
        self.checkpoint()
    }

    /// Starts over at an offset, as a replica does whose leader has nothing of what it has.
    fn reset(&mut self) -> Step {
        let end = self.log().end_offset();
        let to = Offset(end.get() + self.chance(20) as i64);
        self.starts.insert(to);
        // A folder that no flush has seen yet may go as a whole.
        let is_stored = self.acknowledged > Offset::ZERO;
        (self.acknowledged, self.start, self.resetting) = (Offset::ZERO, Offset::ZERO, true);
        self.log().reset_to(to)?;
        self.resetting = false;
        self.appended.clear();
        self.history.clear();
        self.sequences.clear();
        if is_stored {
            (self.acknowledged, self.start) = (to, to);
        }
        self.checkpoint()
    }

    fn delete_records(&mut self) -> Step {
        let (start, high_watermark) = (self.log().start_offset(), self.acknowledged);
        if high_watermark <= start {
            return Ok(());
        }
        let before =
            Offset(start.get() + self.chance((high_watermark.get() - start.get()) as u64 / 2 + 1) as i64);
        let start = self.log().delete_records_before(before, HighWatermark(high_watermark))?;
        self.note_start();
        self.checkpoint()?;
        self.start = start;
        Ok(())
    }

    fn new_leader(&mut self) -> Step {
        self.epoch = LeaderEpoch(self.epoch.get() + 1);
        let epoch = self.epoch;
        self.log().assign_epoch(epoch);
        Ok(())
    }

    fn checkpoint(&mut self) -> Step {
        let (recovery_point, start) = (self.log().recovery_point(), self.log().start_offset());
        self.store(recovery_point, start)
    }

    fn store(&self, recovery_point: Offset, start: Offset) -> Step {
        self.store_in(self.world.root(), recovery_point, start)
    }

    fn store_in(&self, root: &str, recovery_point: Offset, start: Offset) -> Step {
        let of = |offset| Offsets::from([("orders", PartitionIndex(0), offset)]);
        let (disk, root) = (&self.world.disk, Path::new(root));
        checkpoint::write(disk, &root.join("recovery-point-offset-checkpoint"), &of(recovery_point))?;
        checkpoint::write(disk, &root.join("log-start-offset-checkpoint"), &of(start))?;
        Ok(())
    }

    fn close_and_open(&mut self) -> Step {
        let log = self.log.take().expect("the log is open");
        let closed = close_alone_or_not(log, self.chance(2) == 0)?;
        self.acknowledged = closed.recovery_point;
        self.store(closed.recovery_point, closed.log_start)?;
        self.open(true)?;
        let batches = read_all(self.log());
        epochs_are_those_of(self.log(), &batches).expect("the epochs of a log that was closed");
        Ok(())
    }

    /// A checkpoint that a crash has torn is a failure like another: they are replaced in one step.
    fn recovery(&self, clean: bool) -> Result<Recovery, LogError> {
        let disk: &dyn Disk = &self.world.disk;
        let read = |name: &str| {
            let offsets = checkpoint::read(disk, &Path::new(self.world.root()).join(name))?;
            Ok(offsets.values().next())
        };
        let recovery_point = read("recovery-point-offset-checkpoint")?.unwrap_or(Offset::NONE);
        let log_start = read("log-start-offset-checkpoint")?.unwrap_or(Offset::ZERO);
        Ok(Recovery { clean, recovery_point, log_start })
    }

    /// The log as a crash has left it, opened.
    pub fn reopened(&self) -> Result<Log, LogError> {
        self.world.open(self.recovery(false)?)
    }

    pub fn open(&mut self, clean: bool) -> Step {
        let recovery = self.recovery(clean)?;
        self.log = Some(self.world.open(recovery)?);
        Ok(())
    }

    /// Opens what a crash has left and holds it against what had been acknowledged. The first invariant that does not hold.
    pub fn check(&mut self) -> Result<(), String> {
        self.log = None;
        let (batches, producers, bounds) = self.reopen()?;
        let (start, end) = bounds;
        let acknowledged = self.acknowledged;
        fail_unless(end >= acknowledged, "AcknowledgedSurvives", || {
            format!("ends at {end}, {acknowledged} was acknowledged")
        })?;
        fail_unless(start >= self.start, "AcknowledgedSurvives", || {
            format!("deleted records before {} are back", self.start)
        })?;
        fail_unless(self.starts.contains(&start), "OffsetsContiguous", || {
            format!("starts at {start}, {:?} are known", self.starts)
        })?;
        let mut next = batches.first().map_or(end, |batch| batch.header.base_offset);
        fail_unless(next <= start.max(next) && next <= start.max(end), "OffsetsContiguous", || {
            format!("starts with {next}, not {start}")
        })?;
        for batch in &batches {
            let (base, last, crc) = identity(batch);
            fail_unless(base == next, "OffsetsContiguous", || format!("{base} follows {next}"))?;
            let known = self.appended.get(&base).is_some_and(|known| known.contains(&(last, crc)));
            fail_unless(known, "OneValuePerOffset", || {
                format!("what is at {base} was never appended there")
            })?;
            next = last.next();
        }
        fail_unless(next == end, "OffsetsContiguous", || format!("batches end at {next}, the log at {end}"))?;
        self.bring_back(&batches);
        let expected = self.replay(end);
        // Of a segment that was being thrown away the snapshot may be gone and the batches be left.
        fail_unless(producers == expected || self.resetting, "ProducersRebuilt", || {
            format!("{producers:?} instead of {expected:?}")
        })?;
        // Once more, killed before anything was flushed.
        self.world.disk.kill();
        let again = self.reopen()?;
        let same = again.0.iter().map(identity).eq(batches.iter().map(identity)) && again.2 == bounds;
        fail_unless(same, "RecoveryIdempotent", || format!("{:?} after {bounds:?}", again.2))
    }

    /// What was half cut off and is here again is of the history.
    fn bring_back(&mut self, found: &[Batch]) {
        let found: BTreeSet<_> = found.iter().map(identity).collect();
        let end = self.history.last().map_or(Offset::ZERO, |(header, _)| header.next_offset());
        self.half_cut.retain(|(header, _)| {
            let identity = (header.base_offset, header.last_offset(), header.crc);
            header.base_offset >= end && found.contains(&identity)
        });
        self.history.append(&mut self.half_cut);
    }

    /// Crashes once more, in the middle of recovering, and checks then.
    pub fn check_crashed_twice(&mut self, seed: u64) -> Result<(), String> {
        let before = self.world.disk.fork();
        let operations = {
            let _log = self.reopened().map_err(|error| error.to_string())?;
            self.world.disk.operations()
        };
        if operations > 0 {
            let disk = before.fork();
            disk.fail_at(seed % operations, Fault::Crash);
            self.world = self.world.in_another_life(disk.clone());
            let _crashed = self.reopened();
            disk.crash(seed);
            self.check()?;
        }
        self.world = self.world.in_another_life(before);
        self.check()
    }

    pub fn reopen(&self) -> Result<Found, String> {
        let mut log = self.reopened().map_err(|error| format!("opening: {error}"))?;
        let batches = read_all(&mut log);
        epochs_are_those_of(&log, &batches)?;
        Ok((batches, log.producers().collect(), (log.start_offset(), log.end_offset())))
    }

    /// What producers are after `[0, end)` of the history, by the plainest of means.
    pub fn replay(&self, end: Offset) -> Vec<ProducerInfo> {
        let mut states: BTreeMap<ProducerId, ProducerInfo> = BTreeMap::new();
        for (header, marker) in
            self.history.iter().filter(|(header, _)| header.base_offset < end && header.has_producer())
        {
            let state = states.entry(header.producer_id).or_insert(ProducerInfo {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                last_sequence: Sequence::NONE,
                last_timestamp: TimestampMs::NONE,
                coordinator_epoch: -1,
                transaction_start: Offset::NONE,
            });
            (state.epoch, state.last_timestamp) = (header.producer_epoch, header.max_timestamp);
            if marker.is_some() {
                (state.transaction_start, state.coordinator_epoch) = (Offset::NONE, 0);
            } else {
                state.last_sequence = header.last_sequence();
                if header.is_transactional() && state.transaction_start == Offset::NONE {
                    state.transaction_start = header.base_offset;
                }
            }
        }
        states.into_values().collect()
    }
}

/// `EpochsRebuilt`: the log knows of each batch which leader epoch wrote it.
fn epochs_are_those_of(log: &Log, batches: &[Batch]) -> Result<(), String> {
    for batch in batches {
        let at = batch.header.base_offset.max(log.start_offset());
        let known = log.epoch_of(at);
        fail_unless(known == Some(batch.header.leader_epoch), "EpochsRebuilt", || {
            format!("{known:?} wrote {at}, whose batch says {}", batch.header.leader_epoch)
        })?;
    }
    Ok(())
}

fn fail_unless(holds: bool, invariant: &str, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{invariant}: {}", what())) }
}
