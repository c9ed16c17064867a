//! A generated workload on a simulated disk, a plain twin of what the log has to hold, and the invariants by name.
//!
//! The driver does what a broker has to do: it acknowledges by [`Durable`] only, and stores the checkpoints when the log says so.
//! The disk of every second one is slow (`slow.rs`).

mod checks;
mod going_back;
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

use self::checks::epochs_are_those_of;
use super::moving::Moves;
use super::slow::{Acts, Owner, Pending};
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
    /// How often it was cut.
    cuts: u64,
    pending: Pending,
}

/// What a log holds: its batches, its producers, its start and end.
pub type Found = (Vec<Batch>, Vec<ProducerInfo>, (Offset, Offset));

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
            cuts: 0,
            pending: Pending::default(),
        }
        .slow_if(!seed.is_multiple_of(2))
    }

    fn slow_if(mut self, is_slow: bool) -> Self {
        if is_slow {
            self.world.slow_down();
        }
        self.pending.is_slow = is_slow;
        self
    }

    /// The process is no more.
    pub fn stop(&mut self) {
        self.log = None;
        self.forget_all();
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
        self.flush_now()?;
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
        if self.pending.is_slow && self.chance(3) == 0 {
            self.go_on()?;
        }
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
        match maintenance.cleanup {
            Some(cleanup) => self.clean_up(cleanup),
            None => Ok(()),
        }
    }

    fn note_start(&mut self) {
        let start = self.log().start_offset();
        self.starts.insert(start);
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
        // Nobody waits for files to go before the process ends.
        if self.chance(2) == 0 {
            self.end_cleanup()?;
        }
        self.end_flush()?;
        self.forget_all();
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
}

impl Acts for Workload {
    fn act(&mut self) {
        let acted = match self.next_act(12) {
            None => return,
            Some(0..=3) => self.append(),
            Some(4) => self.truncate(),
            Some(5) => self.delete_records(),
            Some(6) => self.checkpoint(),
            Some(7) => self.new_leader(),
            Some(8) => self.maintain(),
            Some(9 | 10) => self.go_on(),
            Some(_) => {
                self.begin_flush();
                Ok(())
            }
        };
        self.pending.failed = acted.err().map(|problem| problem.to_string());
    }
}

impl Owner for Workload {
    fn stand_in() -> Self {
        Self::new(0, SimDisk::new(0))
    }

    fn world(&mut self) -> &mut World {
        &mut self.world
    }

    fn open_log(&mut self) -> &mut Log {
        self.log()
    }

    fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.chance(below)
    }

    fn time(&self) -> TimestampMs {
        ms(self.now)
    }

    fn acknowledge(&mut self, durable: Durable) {
        self.acknowledged = self.acknowledged.max(durable.up_to());
        // Nothing else that was ever written there may be found any more.
        for (header, _) in self.history.iter().filter(|(header, _)| header.last_offset() < self.acknowledged)
        {
            self.appended.insert(header.base_offset, vec![(header.last_offset(), header.crc)]);
        }
    }
}
