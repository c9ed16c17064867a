//! A generated workload on a compacted log, a plain record of all that was appended, and what has to hold of what is left of it.

mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dohle_env::Rng;
use dohle_env::disk::{Fault, SimDisk};
use dohle_log::checkpoint::{self, Offsets};
use dohle_log::{
    AbortedTransaction, ColdRead, Compaction, Durable, KeyMap, Log, ProducerInfo, Read, Recovery,
};
use dohle_records::control::EndTransaction;
use dohle_records::{Batch, BatchBuilder, BatchHeader, Compression, Record};
use dohle_types::*;

use super::*;

/// Steps of one workload.
const STEPS: usize = 60;
const KEYS: u64 = 7;
/// A map with less room than there are keys, and one with more than enough.
const MAP_BYTES: [usize; 2] = [120, 4800];

pub type Step = Result<(), Box<dyn std::error::Error>>;

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
    start: Offset,
    epoch: LeaderEpoch,
    now: i64,
    tag: u64,
    /// Epoch, next sequence, and whether a transaction is open.
    producers: BTreeMap<i64, (i16, i32, bool)>,
    /// Reads that were handed out and not run yet, with what they have to give.
    reads: Vec<(ColdRead, Offset)>,
    pub compactions: u64,
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
        world.settings.segment_bytes = 1500;
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
            compactions: 0,
            removed: 0,
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

    pub fn step(&mut self) -> Step {
        self.now += 10;
        match self.chance(20) {
            0..=9 => self.append(),
            10..=12 => self.flush(),
            13 => self.maintain(),
            14..=16 => self.compact(),
            17 => self.checkpoint(),
            18 => self.close_and_open(),
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
        if open && self.chance(3) == 0 {
            self.producers.insert(id, (epoch, sequence, false));
            let marker = EndTransaction { committed: self.tag.is_multiple_of(2), coordinator_epoch: 0 };
            let (id, epoch) = (ProducerId(id), ProducerEpoch(epoch));
            return marker.to_batch(id, epoch, ms(self.now), Offset::ZERO, LeaderEpoch(0));
        }
        let codec = [Compression::None, Compression::None, Compression::Lz4, Compression::Snappy]
            [self.chance(4) as usize];
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

    fn acknowledge(&mut self, durable: Durable) {
        self.acknowledged = self.acknowledged.max(durable.up_to());
    }

    fn flush(&mut self) -> Step {
        let durable = self.log().flush()?;
        self.acknowledge(durable);
        Ok(())
    }

    fn maintain(&mut self) -> Step {
        let (now, high_watermark) = (ms(self.now), self.acknowledged);
        let maintenance = self.log().maintain(now, HighWatermark(high_watermark))?;
        if let Some(cleanup) = maintenance.cleanup {
            let result = cleanup.run(&mut || true);
            self.log().finish_cleanup(result, now)?;
        }
        self.start = self.log().start_offset();
        Ok(())
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

    fn compacted(&self) -> Option<Offset> {
        let path = Path::new("/data/cleaner-offset-checkpoint");
        checkpoint::read(&self.world.disk, path).unwrap().values().next()
    }

    fn compact(&mut self) -> Step {
        let (now, high_watermark, compacted) = (ms(self.now), self.acknowledged, self.compacted());
        let found = self.log().examine(compacted, HighWatermark(high_watermark)).run(now)?;
        if found.cleanable_bytes == 0 {
            return Ok(());
        }
        let (from, to) = (found.first_dirty, found.first_uncleanable);
        let Some(mut compaction) = self.log().start_compaction(from, to, now) else { return Ok(()) };
        self.checkpoint()?;
        let budget = MAP_BYTES[self.chance(2) as usize];
        let mut map = KeyMap::new(budget, 0.9, &Rng::seeded(self.tag));
        let end = compaction.map(&mut map, &mut |_| {})?;
        assert!(end > from && end <= to, "{from} to {to} was asked for, {end} was reached");
        self.append()?;
        self.swap_all(&mut compaction, &map)?;
        let counts = compaction.counts().records;
        self.removed += counts.read - counts.kept;
        self.compactions += 1;
        drop(compaction);
        let of = Offsets::from([("orders", PartitionIndex(0), end)]);
        checkpoint::write(&self.world.disk, Path::new("/data/cleaner-offset-checkpoint"), &of)?;
        Ok(())
    }

    fn swap_all(&mut self, compaction: &mut Compaction, map: &KeyMap) -> Step {
        while let Some(group) = compaction.next_group(map, &mut |_| {})? {
            assert!(self.log().swap_in(group).is_ok(), "nothing has touched the old segments");
            if self.chance(2) == 0 {
                self.append()?;
                self.flush()?;
            }
            let now = ms(self.now);
            let swap = match self.log().start_swap() {
                Some(swap) => swap,
                None => {
                    assert!(!self.reads.is_empty(), "only reads hold names");
                    self.answer()?;
                    self.log().start_swap().expect("nobody reads any more")
                }
            };
            if self.chance(3) == 0 {
                self.ask()?;
            }
            let swapped = swap.run();
            self.log().finish_swap(swapped, now)?;
            self.answer()?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Step {
        let (recovery_point, start) = (self.log().recovery_point(), self.log().start_offset());
        self.store(recovery_point, start)
    }

    fn store(&self, recovery_point: Offset, start: Offset) -> Step {
        let of = |offset| Offsets::from([("orders", PartitionIndex(0), offset)]);
        let disk = &self.world.disk;
        checkpoint::write(disk, Path::new("/data/recovery-point-offset-checkpoint"), &of(recovery_point))?;
        checkpoint::write(disk, Path::new("/data/log-start-offset-checkpoint"), &of(start))?;
        Ok(())
    }

    fn close_and_open(&mut self) -> Step {
        self.answer()?;
        let closed = self.log.take().expect("the log is open").close()?;
        self.acknowledged = closed.recovery_point;
        self.store(closed.recovery_point, closed.log_start)?;
        self.open(true)
    }

    /// A checkpoint that a crash has torn is a failure like another: they are replaced in one step.
    fn recovery(&self, clean: bool) -> Result<Recovery, LogError> {
        let read = |name: &str| {
            let offsets = checkpoint::read(&self.world.disk, &Path::new("/data").join(name))?;
            Ok(offsets.values().next().unwrap_or(Offset::ZERO))
        };
        let recovery_point = read("recovery-point-offset-checkpoint")?;
        Ok(Recovery { clean, recovery_point, log_start: read("log-start-offset-checkpoint")? })
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
