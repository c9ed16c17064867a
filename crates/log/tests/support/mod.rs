//! What the tests of the log share: batches, a world with a simulated disk, and reading everything back.

#![allow(dead_code, clippy::disallowed_methods)]

pub mod compacted;
pub mod moving;
pub mod slow;
pub mod workload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dohle_config::TopicSettings;
use dohle_env::Rng;
use dohle_env::disk::SimDisk;
use dohle_log::{
    Closed, Flush, FlushError, Flushed, FolderFlushes, Log, LogContext, LogError, Read, ReadBuffers,
    Recovery, Slice, TailBudget, Verifying,
};
use dohle_records::{Batch, BatchBuilder, Compression, parse_batches};
use dohle_types::*;

use slow::Slow;

pub const TOPIC: Uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
pub const DAY_MS: i64 = 86_400_000;

/// What a step of a workload gives: an error ends the process.
pub type Step = Result<(), Box<dyn std::error::Error>>;

pub fn ms(millis: i64) -> TimestampMs {
    TimestampMs(millis)
}

pub fn folder() -> PathBuf {
    PathBuf::from("/data/orders-0")
}

/// A batch of `records` records whose values tell batches apart.
pub fn batch(tag: u64, records: usize, timestamp: i64) -> Batch {
    fill(BatchBuilder::new(Compression::None), tag, records, timestamp)
}

pub fn producer_batch(tag: u64, records: usize, timestamp: i64, id: i64, epoch: i16, sequence: i32) -> Batch {
    let builder = BatchBuilder::new(Compression::None);
    fill(builder.producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence)), tag, records, timestamp)
}

pub fn transactional_batch(
    tag: u64,
    records: usize,
    timestamp: i64,
    id: i64,
    epoch: i16,
    sequence: i32,
) -> Batch {
    let builder = BatchBuilder::new(Compression::None).transactional(true);
    fill(builder.producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence)), tag, records, timestamp)
}

fn fill(mut builder: BatchBuilder, tag: u64, records: usize, timestamp: i64) -> Batch {
    for record in 0..records {
        let value = format!("value {tag}/{record}");
        builder.append(ms(timestamp + record as i64), Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build(Offset::ZERO, LeaderEpoch(0))
}

pub struct World {
    pub disk: SimDisk,
    pub context: LogContext,
    pub settings: TopicSettings,
    /// The log directory that the cluster's metadata names.
    pub assigned: &'static str,
    pub slow: Slow,
}

/// The log directories; most tests need the first one only.
pub const ROOTS: [&str; 2] = ["/data", "/other"];

impl World {
    pub fn new(seed: u64) -> Self {
        Self::on(SimDisk::new(seed))
    }

    pub fn on(disk: SimDisk) -> Self {
        let context = LogContext {
            disk: Arc::new(disk.clone()),
            rng: Rng::seeded(1),
            tail: TailBudget::new(1 << 20),
            buffers: ReadBuffers::default(),
            producer_id_expiration_ms: DAY_MS,
            verifying: Verifying::default(),
            folders: FolderFlushes::default(),
        };
        let settings = TopicSettings { segment_jitter_ms: 0, ..TopicSettings::default() };
        Self { disk, context, settings, assigned: ROOTS[0], slow: Slow::default() }
    }

    /// From now on the disk takes its time.
    pub fn slow_down(&mut self) {
        self.context.disk = self.slow.disk(self.disk.clone());
    }

    /// The same log after a restart on this disk.
    pub fn in_another_life(&self, disk: SimDisk) -> Self {
        Self { settings: self.settings.clone(), assigned: self.assigned, ..Self::on(disk) }
    }

    /// The log directory that holds the log; of two the one that the metadata names.
    pub fn root(&self) -> &'static str {
        let holds = |root: &&&str| exists(self, &Path::new(**root).join("orders-0"));
        match ROOTS.iter().filter(holds).collect::<Vec<_>>()[..] {
            [root] => root,
            _ => self.assigned,
        }
    }

    pub fn other_root(&self) -> &'static str {
        if self.root() == ROOTS[0] { ROOTS[1] } else { ROOTS[0] }
    }

    pub fn open(&self, recovery: Recovery) -> Result<Log, LogError> {
        let root = self.root();
        if let Err(source) = self.make_root(root) {
            return Err(LogError::Io { action: "making", path: PathBuf::from(root), source });
        }
        let folder = Path::new(root).join("orders-0");
        Log::open(&self.context, folder, TOPIC, Arc::new(self.settings.clone()), recovery, ms(1000))
    }

    /// A log directory, as formatting it leaves it.
    pub fn make_root(&self, root: &str) -> std::io::Result<()> {
        let disk = &self.context.disk;
        if disk.metadata(Path::new(root))?.is_none() {
            disk.create_dir_all(Path::new(root))?;
            let _stored = disk.sync_dir(Path::new("/"))?;
        }
        Ok(())
    }

    pub fn files(&self) -> Vec<String> {
        let entries = self.context.disk.list(&folder()).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }
}

/// Runs a read to its end, wherever the bytes are.
pub fn read(log: &mut Log, from: Offset, up_to: Offset, max_bytes: usize) -> Slice {
    match log.read(from, up_to, max_bytes, true).unwrap() {
        Read::Ready(slice) => slice,
        Read::Cold(cold) => {
            let done = cold.run(&mut dohle_log::greedy);
            log.finish_read(done).unwrap()
        }
    }
}

pub fn joined(slice: &Slice) -> Bytes {
    let mut bytes = BytesMut::new();
    for chunk in &slice.chunks {
        bytes.extend_from_slice(chunk);
    }
    assert_eq!(bytes.len(), slice.bytes);
    bytes.freeze()
}

/// Everything from the start of the log to its end, batch by batch, with its checksums checked.
pub fn read_all(log: &mut Log) -> Vec<Batch> {
    let (mut batches, mut at) = (Vec::new(), log.start_offset());
    while at < log.end_offset() {
        let slice = read(log, at, log.end_offset(), 1000);
        if slice.is_empty() && log.settings().cleanup_compact {
            // Cut where compaction had left a gap.
            break;
        }
        assert!(slice.end > at, "a read at {at} of a log that ends at {} goes on", log.end_offset());
        for batch in parse_batches(joined(&slice)) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            batches.push(batch);
        }
        at = slice.end;
    }
    batches
}

pub fn exists(world: &World, path: &Path) -> bool {
    world.context.disk.metadata(path).unwrap().is_some()
}

/// What an invariant says of what was found, by its name.
pub fn fail_unless(holds: bool, invariant: &str, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{invariant}: {}", what())) }
}

/// A flush by itself, or by way of the file system's.
pub fn run_alone_or_not(flush: Flush, alone: bool) -> Result<Flushed, FlushError> {
    if alone { flush.run() } else { Flush::run_together(vec![flush]).pop().expect("one for each") }
}

pub fn close_alone_or_not(log: Log, alone: bool) -> Result<Closed, LogError> {
    if alone { log.close() } else { Log::close_together(vec![log]).pop().expect("one for each") }
}
