//! What a log directory remembers of a topic that is gone, when another one of its name comes: nothing, wherever the power goes.

#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dohle_broker::log_dirs::{LogDirs, Mark};
use dohle_env::disk::{Fault, OpenMode, SimDisk};
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
    let env = Env { clock, rng: Rng::seeded(7 + disk.operations()), disk: held.clone() };
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

fn put(disk: &SimDisk, name: &str, contents: &[u8]) {
    let file = disk.open(&Path::new("/data").join(name), OpenMode::Create).expect("a file");
    file.set_len(0).expect("it can be emptied");
    file.write_all_at(&[std::io::IoSlice::new(contents)], 0).expect("it can be written");
}

/// As Kafka: a checkpoint with rubbish costs a verification of everything, and no record.
#[test]
fn checkpoints_with_rubbish_are_made_anew() {
    for name in
        ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"]
    {
        for rubbish in [&b"0\n1\norders 0 ten\n"[..], b"0\n5\norders 0 10\n", b"\xff\xfe\x00", b"9\n"] {
            let disk = SimDisk::new(1);
            let dirs = life(&disk).expect("a new folder");
            let mut log = open(&dirs, OLD).expect("a new log");
            fill(&mut log).expect("nothing fails");
            dirs.checkpoint(&[mark(OLD.topic, &log)]).expect("nothing fails");
            let closed = log.close().expect("nothing fails");
            dirs.closed(NAME, OLD, Path::new("/data/orders-0"), &closed);
            dirs.finish(dohle_types::BrokerEpoch(1)).expect("nothing fails");
            drop(dirs);
            put(&disk, name, rubbish);
            let dirs = life(&disk).expect("a start all the same");
            assert_eq!(dirs.remaining(0), 1, "nothing is taken for clean");
            let log = open(&dirs, OLD).expect("a log");
            assert_eq!(
                (log.start_offset(), log.end_offset()),
                (Offset::ZERO, Offset(RECORDS as i64)),
                "{name}"
            );
            assert_eq!(dirs.remaining(0), 0);
        }
    }
}

/// What a start does not know is put aside with all it holds; of a topic that was made anew meanwhile, the old folder too.
#[test]
fn strays_keep_their_records() {
    let disk = SimDisk::new(1);
    let dirs = life(&disk).expect("a new folder");
    fill(&mut open(&dirs, OLD).expect("a new log")).expect("nothing fails");
    drop(dirs);
    let aside = |disk: &SimDisk| {
        let entries = disk.list(Path::new("/data")).expect("a folder");
        let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
        names
            .into_iter()
            .filter(|name| name.starts_with("orders-0.") && name.ends_with("-stray"))
            .collect::<Vec<_>>()
    };
    let dirs = life(&disk).expect("a start");
    let mut young = open(&dirs, YOUNG).expect("a log of the younger topic");
    assert_eq!(young.end_offset(), Offset::ZERO);
    fill(&mut young).expect("nothing fails");
    assert_eq!(aside(&disk).len(), 1, "the older one's folder");
    drop((young, dirs));
    let dirs = life(&disk).expect("a start");
    dirs.set_strays_aside(|topic, partition| topic == NAME && partition != PartitionIndex(0));
    let strays = aside(&disk);
    assert_eq!((strays.len(), dirs.partitions().len()), (2, 0));
    for stray in strays {
        let path = Path::new("/data").join(stray).join("00000000000000000000.log");
        assert!(
            disk.metadata(&path).expect("readable").is_some_and(|file| file.len > 0),
            "{}",
            path.display()
        );
    }
}
