//! A generated workload on a compacted log, a plain record of all that was appended, and what has to hold of what is left of it.
//!
//! The disk of every second one is slow (`slow.rs`): a compaction is under way for many steps then.

mod checks;
mod compacting;
mod going_back;
mod relocation;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dohle_env::Rng;
use dohle_env::disk::{Fault, SimDisk};
use dohle_log::checkpoint::{self, Offsets};
use dohle_log::{AbortedTransaction, ColdRead, Durable, Log, ProducerInfo, Read, Recovery};
use dohle_records::control::EndTransaction;
use dohle_records::{Batch, BatchBuilder, BatchHeader, Compression, Record};
use dohle_types::*;

use self::compacting::Compacting;
use super::moving::Moves;
use super::slow::{Acts, Owner, Pending};
use super::*;

/// Steps of one workload.
const STEPS: usize = 60;
const KEYS: u64 = 7;

/// What was appended at one offset.
#[derive(Clone, Debug)]
struct Written {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: TimestampMs,
    producer: ProducerId,
    transactional: bool,
}

pub struct Compacted {
    pub world: World,
    random: u64,
    pub log: Option<Log>,
    records: BTreeMap<Offset, Written>,
    /// The headers of all batches, and of markers whether they commit.
    headers: Vec<(BatchHeader, Option<bool>)>,
    pub acknowledged: Offset,
    /// The start that was acknowledged to whoever deleted records.
    start: Offset,
    epoch: LeaderEpoch,
    now: i64,
    tag: u64,
    /// Epoch, next sequence, and whether a transaction is open.
    producers: BTreeMap<i64, (i16, i32, bool)>,
    /// Reads that were handed out and not run yet, with what they have to give.
    reads: Vec<(ColdRead, Offset)>,
    pending: Pending,
    compacting: Option<Compacting>,
    /// What was committed when a compaction last looked: of what lies below it may have removed records.
    compacted_below: Offset,
    /// Where the log was last cut below that. What is known of producers is not all that they had written below: some was removed
    /// because of what has been cut off since.
    cut_at: Option<Offset>,
    pub cuts: u64,
    /// How many of the cuts went into what had been compacted.
    pub deep_cuts: u64,
    pub moves: u64,
    pub compactions: u64,
    /// How many compactions a cut or a stop has ended.
    pub cancelled: u64,
    /// How many records the compactions have removed.
    pub removed: u64,
}

impl Compacted {
    pub fn new(seed: u64, disk: SimDisk) -> Self {
        let mut world = World::on(disk);
        // Mostly what is in the files is looked at.
        if !seed.is_multiple_of(5) {
            world.context.tail = TailBudget::new(0);
        }
        world.settings.cleanup_compact = true;
        world.settings.cleanup_delete = seed.is_multiple_of(4);
        world.settings.retention_bytes = seed.is_multiple_of(4).then_some(8000);
        world.settings.segment_bytes = 1200;
        world.settings.index_interval_bytes = 200;
        world.settings.file_delete_delay_ms = 50;
        world.settings.delete_retention_ms = 60;
        Self {
            world,
            random: seed,
            log: None,
            records: BTreeMap::new(),
            headers: Vec::new(),
            acknowledged: Offset::ZERO,
            start: Offset::ZERO,
            epoch: LeaderEpoch(0),
            now: 1000,
            tag: 0,
            producers: BTreeMap::new(),
            reads: Vec::new(),
            pending: Pending::default(),
            compacting: None,
            compacted_below: Offset::ZERO,
            cut_at: None,
            cuts: 0,
            deep_cuts: 0,
            moves: 0,
            compactions: 0,
            cancelled: 0,
            removed: 0,
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
        self.reads.clear();
        self.compacting = None;
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

    pub fn step(&mut self) -> Step {
        self.now += 10;
        if self.pending.is_slow {
            match self.chance(8) {
                0 => {}
                1..=3 => self.go_on()?,
                4 | 5 => _ = self.advance()?,
                _ => self.advance_to_swap()?,
            }
        }
        match self.chance(36) {
            0..=16 => self.append(),
            17..=20 => self.flush(),
            21 | 22 => self.maintain(),
            23..=27 => self.compact(),
            28 => self.checkpoint(),
            29 | 30 => self.close_and_open(),
            31 => self.truncate(),
            32 => self.delete_records(),
            33 => self.relocate(),
            // Where it would do the most harm.
            34 if self.log().is_swapping() => self.truncate(),
            _ => self.ask(),
        }
    }

    pub fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("the log is open")
    }

    fn append(&mut self) -> Step {
        let batch = self.make_batch();
        let (at, epoch, now) = (self.log().end_offset(), self.epoch, ms(self.now));
        let mut header = batch.header;
        (header.base_offset, header.leader_epoch) = (at, epoch);
        let marker = header.is_control().then(|| self.tag.is_multiple_of(2));
        self.headers.push((header, marker));
        if marker.is_some() {
            self.log().append_as_coordinator(vec![batch], epoch, 1, now)?;
            return Ok(());
        }
        for record in batch.records(1 << 20) {
            let Record { offset, timestamp, key, value, .. } = record?;
            let written = Written {
                key: key.expect("every record has one").to_vec(),
                value: value.map(|value| value.to_vec()),
                timestamp,
                producer: header.producer_id,
                transactional: header.is_transactional(),
            };
            self.records.insert(Offset(at.get() + offset.get()), written);
        }
        self.log().append_as_leader(vec![batch], epoch, now)?;
        Ok(())
    }

    fn make_batch(&mut self) -> Batch {
        self.tag += 1;
        let id = 1 + self.chance(5) as i64;
        let (epoch, sequence, open) = *self.producers.entry(id).or_default();
        if open && self.chance(2) == 0 {
            self.producers.insert(id, (epoch, sequence, false));
            let marker = EndTransaction { committed: self.tag.is_multiple_of(2), coordinator_epoch: 0 };
            let (id, epoch) = (ProducerId(id), ProducerEpoch(epoch));
            return marker.to_batch(id, epoch, ms(self.now), Offset::ZERO, LeaderEpoch(0));
        }
        // What was packed with LZ4 takes long to unpack where nothing is optimized.
        let codec = match self.chance(12) {
            0 => Compression::Lz4,
            1..=4 => Compression::Snappy,
            _ => Compression::None,
        };
        let mut builder = BatchBuilder::new(codec);
        let count = 1 + self.chance(5) as i32;
        if id > 1 {
            builder = builder.producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence));
            builder = builder.transactional(id > 3);
            self.producers.insert(id, (epoch, sequence + count, id > 3));
        }
        for record in 0..count {
            let key = format!("k{}", self.chance(KEYS));
            let filler = "x".repeat(self.chance(120) as usize);
            let value = format!("value {}/{record} {filler}", self.tag);
            let value = (self.chance(5) > 0).then_some(value.as_bytes());
            builder.append(ms(self.now + i64::from(record)), Some(key.as_bytes()), value, &[]);
        }
        builder.build(Offset::ZERO, LeaderEpoch(0))
    }

    fn maintain(&mut self) -> Step {
        let (now, high_watermark) = (ms(self.now), self.acknowledged);
        let maintenance = self.log().maintain(now, HighWatermark(high_watermark))?;
        match maintenance.cleanup {
            Some(cleanup) => self.clean_up(cleanup),
            None => Ok(()),
        }
    }

    /// Hands out a read that is run later, whatever happens in between.
    fn ask(&mut self) -> Step {
        let (start, end) = (self.log().start_offset(), self.acknowledged);
        if end <= start {
            return Ok(());
        }
        let from = Offset(start.get() + self.chance((end.get() - start.get()) as u64) as i64);
        self.world.disk.set_cold(true);
        let read = self.log().read(from, end, 400, true);
        self.world.disk.set_cold(false);
        if let Read::Cold(read) = read? {
            self.reads.push((read, from));
        }
        Ok(())
    }

    /// Runs the reads that were handed out: each gives records that were written at their offsets.
    fn answer(&mut self) -> Step {
        for (read, from) in std::mem::take(&mut self.reads) {
            let slice = read.run(&mut dohle_log::greedy).into_slice()?;
            for batch in parse_batches(joined(&slice)) {
                let batch = batch?;
                batch.check_crc()?;
                assert!(batch.header.last_offset() >= from, "a read at {from} gave {:?}", batch.header);
                self.check_batch(&batch).expect("what was read before it was compacted");
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Step {
        let (recovery_point, start) = (self.log().recovery_point(), self.log().start_offset());
        self.store_in(self.world.root(), recovery_point, start)
    }

    fn store_in(&self, root: &str, recovery_point: Offset, start: Offset) -> Step {
        self.write(root, "recovery-point-offset-checkpoint", recovery_point)?;
        self.write(root, "log-start-offset-checkpoint", start)
    }

    fn write(&self, root: &str, name: &str, offset: Offset) -> Step {
        let of = Offsets::from([("orders", PartitionIndex(0), offset)]);
        Ok(checkpoint::write(&self.world.disk, &Path::new(root).join(name), &of)?)
    }

    fn close_and_open(&mut self) -> Step {
        // Nobody waits for files to go before the process ends.
        if self.chance(2) == 0 {
            self.end_cleanup()?;
        }
        // Nor for a compaction, but sometimes it has just ended.
        while self.chance(8) > 0 && self.advance()? {}
        self.end_flush()?;
        let closed = self.close()?;
        self.store_in(self.world.root(), closed.recovery_point, closed.log_start)?;
        self.open(true)
    }

    fn close(&mut self) -> Result<Closed, Box<dyn std::error::Error>> {
        self.answer()?;
        self.log().cancel_compaction();
        self.cancelled += u64::from(self.compacting.take().is_some());
        self.forget_all();
        let closed = self.log.take().expect("the log is open").close()?;
        self.acknowledged = closed.recovery_point;
        Ok(closed)
    }

    /// A checkpoint that a crash has torn is a failure like another: they are replaced in one step.
    fn recovery(&self, clean: bool) -> Result<Recovery, LogError> {
        let read = |name: &str| {
            let path = Path::new(self.world.root()).join(name);
            Ok(checkpoint::read(&self.world.disk, &path)?.values().next())
        };
        let recovery_point = read("recovery-point-offset-checkpoint")?.unwrap_or(Offset::NONE);
        let log_start = read("log-start-offset-checkpoint")?.unwrap_or(Offset::ZERO);
        Ok(Recovery { clean, recovery_point, log_start })
    }

    /// The log as a crash has left it, opened.
    fn reopened(&self) -> Result<Log, LogError> {
        self.world.open(self.recovery(false)?)
    }

    pub fn open(&mut self, clean: bool) -> Step {
        let recovery = self.recovery(clean)?;
        self.log = Some(self.world.open(recovery)?);
        Ok(())
    }
}

impl Acts for Compacted {
    fn act(&mut self) {
        let acted = match self.next_act(60) {
            None => return,
            Some(0..=34) => self.append(),
            Some(35) => self.truncate(),
            Some(36) if self.log().is_swapping() => self.truncate(),
            Some(37) => self.delete_records(),
            Some(38..=40) => self.checkpoint(),
            Some(41..=43) => self.ask(),
            Some(44..=48) => self.maintain(),
            Some(49..=53) => self.go_on(),
            Some(_) => {
                self.begin_flush();
                Ok(())
            }
        };
        self.pending.failed = acted.err().map(|problem| problem.to_string());
    }
}

impl Owner for Compacted {
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
    }
}
