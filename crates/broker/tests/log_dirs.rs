//! What a log directory remembers of a topic that is gone, when another one of its name comes: nothing, wherever the power goes.

#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dohle_broker::log_dirs::{LogDirs, Mark};
use dohle_env::disk::{Fault, SimDisk};
use dohle_env::{Clock, Disk, Env, Rng};
use dohle_log::dirs::LogDir;
use dohle_log::names::FolderState;
use dohle_log::{Log, LogContext, LogError, ReadBuffers, TailBudget};
use dohle_records::{Batch, BatchBuilder, Compression};
use dohle_types::{
    DirectoryId, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId, TopicPartition, Uuid,
};

const NAME: &str = "orders";
const OLD: TopicPartition = topic(0x11);
const YOUNG: TopicPartition = topic(0x22);
const RECORDS: usize = 10;

const fn topic(id: u128) -> TopicPartition {
    TopicPartition { topic: Uuid::from_u128(id), partition: PartitionIndex(0) }
}

fn life(disk: &SimDisk) -> Result<LogDirs, LogError> {
    let held: Arc<dyn Disk> = Arc::new(disk.clone());
    let (clock, _) = Clock::manual(TimestampMs(1_000_000));
    let env = Env { clock, rng: Rng::seeded(7), disk: held.clone() };
    let context = LogContext {
        disk: held.clone(),
        rng: env.rng.clone(),
        tail: TailBudget::new(1 << 20),
        buffers: ReadBuffers::default(),
        producer_id_expiration_ms: 86_400_000,
    };
    LogDirs::new(&env, context, vec![LogDir::open(&held, Path::new("/data"))?])
}

fn open(dirs: &LogDirs, id: TopicPartition) -> Result<Log, LogError> {
    dirs.open(id, NAME, DirectoryId::default(), Arc::default())
}

fn batch() -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..RECORDS {
        builder.append(TimestampMs(1), None, Some(&Bytes::from_static(b"value")), &[]);
    }
    builder.build(Offset::ZERO, LeaderEpoch(0))
}

fn fill(log: &mut Log) -> Result<(), LogError> {
    log.append_as_leader(vec![batch()], LeaderEpoch(0), TimestampMs(1)).map_err(|error| match error {
        dohle_log::AppendError::Storage(error) => error,
        other => panic!("{other}"),
    })?;
    log.flush().map(drop)
}

fn mark(id: TopicId, log: &Log) -> Mark {
    Mark {
        id,
        topic: NAME.to_owned(),
        partition: PartitionIndex(0),
        folder: log.dir().to_owned(),
        recovery_point: log.recovery_point(),
        log_start: log.start_offset(),
        high_watermark: log.end_offset(),
    }
}

/// A topic whose first records were deleted goes, and one of its name comes. Says whether the young one's records were stored.
fn history(disk: &SimDisk) -> Result<(), LogError> {
    let dirs = life(disk)?;
    let mut log = open(&dirs, OLD)?;
    fill(&mut log)?;
    log.delete_records_before(Offset(RECORDS as i64), log.end_offset()).expect("it lies in the log");
    dirs.checkpoint(&[mark(OLD.topic, &log)])?;
    drop(log);
    dirs.put_aside(NAME, OLD, FolderState::Deleted)?;
    let mut young = open(&dirs, YOUNG)?;
    fill(&mut young)
}

#[test]
fn a_young_topic_keeps_its_records_wherever_the_power_goes() {
    let whole = SimDisk::new(1);
    history(&whole).expect("nothing fails");
    let operations = whole.operations();
    assert!(operations > 20, "{operations} operations");
    let mut kept = 0;
    for at in 0..=operations {
        for seed in 0..8 {
            let disk = SimDisk::new(1);
            disk.fail_at(at, Fault::Crash);
            let stored = history(&disk).is_ok();
            disk.crash(seed);
            // The young topic is in the metadata: it is opened in the next life, whatever the last one came to.
            let dirs = life(&disk).expect("a directory opens after a crash");
            let log = open(&dirs, YOUNG).expect("a log opens after a crash");
            assert_eq!(log.start_offset(), Offset::ZERO, "crash at operation {at}, seed {seed}");
            if stored {
                assert_eq!(log.end_offset(), Offset(RECORDS as i64), "crash at operation {at}, seed {seed}");
                kept += 1;
            }
        }
    }
    assert!(kept > 0, "the records were stored in some of the histories");
}
