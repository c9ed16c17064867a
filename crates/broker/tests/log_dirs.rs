//! What a log directory remembers of a topic that is gone, when another one of its name comes: nothing, wherever the power goes. And
//! what is lost with a directory that fails: nothing that was stored, and nothing of another directory.

#![allow(clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dohle_broker::log_dirs::{Found, LogDirs};
use dohle_env::Disk;
use dohle_env::disk::{Fault, OpenMode, SimDisk};
use dohle_log::dirs::{LogDir, MetaProperties};
use dohle_log::names::FolderState;
use dohle_log::{Log, LogError};
use dohle_metadata::directory;
use dohle_records::{Batch, BatchBuilder, Compression};
use dohle_types::{
    DirectoryId, HighWatermark, LeaderEpoch, NodeId, Offset, PartitionIndex, TimestampMs, TopicPartition,
    Uuid,
};

const NAME: &str = "orders";
const OLD: TopicPartition = topic(0x11);
const YOUNG: TopicPartition = topic(0x22);
const RECORDS: usize = 10;

const fn topic(id: u128) -> TopicPartition {
    TopicPartition { topic: Uuid::from_u128(id), partition: PartitionIndex(0) }
}

fn life(disk: &SimDisk) -> Result<LogDirs, LogError> {
    let (env, context) = support::begin(disk);
    LogDirs::new(&env, context, vec![Found::Opened(LogDir::open(&env.disk, Path::new("/data"))?)])
}

fn open(dirs: &LogDirs, id: TopicPartition) -> Result<Log, LogError> {
    dirs.open(id, NAME, DirectoryId::default(), &[], Arc::default())
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

/// A topic whose first records were deleted goes, and one of its name comes. Says whether the young one's records were stored.
fn history(disk: &SimDisk) -> Result<(), LogError> {
    let dirs = life(disk)?;
    let mut log = open(&dirs, OLD)?;
    fill(&mut log)?;
    log.delete_records_before(Offset(RECORDS as i64), HighWatermark(log.end_offset()))
        .expect("it lies in the log");
    dirs.checkpoint(&[support::mark(NAME, OLD, &log)])?;
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
            dirs.checkpoint(&[support::mark(NAME, OLD, &log)]).expect("nothing fails");
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

/// A deleted topic's folder goes with all that is in it, by the start after the one that could not finish, and takes nothing else with it.
#[test]
fn a_folder_that_was_to_go_is_gone_after_a_start_with_all_it_holds() {
    let filled = |disk: &SimDisk| -> Result<(), LogError> {
        let dirs = life(disk)?;
        fill(&mut open(&dirs, OLD)?)?;
        dirs.put_aside(NAME, OLD, FolderState::Deleted)?;
        fill(&mut open(&dirs, YOUNG)?)
    };
    let names = |disk: &SimDisk| -> Vec<String> {
        let entries = disk.list(Path::new("/data")).expect("a folder").into_iter();
        entries.map(|entry| entry.name).filter(|name| name.starts_with("orders-")).collect()
    };
    let started = |disk: &SimDisk| life(disk).map(|dirs| dirs.remove_leftovers(&mut || true));
    let disk = SimDisk::new(1);
    filled(&disk).expect("nothing fails");
    let before = disk.operations();
    assert_eq!(names(&disk).len(), 2, "both are there until somebody starts");
    let aside = names(&disk).into_iter().find(|name| name.ends_with("-delete")).expect("put aside");
    assert!(disk.list(&Path::new("/data").join(&aside)).expect("a folder").len() >= 2, "with its files");
    let whole = disk.fork();
    started(&whole).expect("a start");
    assert_eq!(names(&whole), ["orders-0"]);
    for operation in before..=whole.operations() {
        for seed in 0..4 {
            let disk = disk.fork();
            disk.kill();
            disk.fail_at(operation, Fault::Crash);
            _ = started(&disk);
            disk.crash(seed);
            let dirs = life(&disk).expect("the start after it");
            dirs.remove_leftovers(&mut || true);
            assert_eq!(names(&disk), ["orders-0"], "crash at operation {operation}, seed {seed}");
            let log = open(&dirs, YOUNG).expect("the younger one's log");
            assert_eq!(log.end_offset(), Offset(RECORDS as i64));
        }
    }
}

const SOUND: [(&str, TopicPartition); 2] = [("left", topic(0x33)), ("right", topic(0x44))];
const ROUNDS: i64 = 3;

/// Two directories on one disk; one that cannot be opened is offline.
fn life_of_two(disk: &SimDisk) -> Result<LogDirs, LogError> {
    let (env, context) = support::begin(disk);
    let open = |path: &str| match LogDir::open(&env.disk, Path::new(path)) {
        Ok(dir) => Found::Opened(dir),
        Err(problem) => Found::Offline { path: path.into(), problem },
    };
    LogDirs::new(&env, context, vec![open("/left"), open("/right")])
}

/// Fills a partition in each directory. Gives how many records of each were stored.
fn fill_both(dirs: &LogDirs) -> [i64; 2] {
    let mut stored = [0; 2];
    let mut logs =
        SOUND.map(|(name, id)| dirs.open(id, name, directory::UNASSIGNED, &[], Arc::default()).ok());
    for _ in 0..ROUNDS {
        for (at, log) in logs.iter_mut().enumerate() {
            let Some(open) = log else { continue };
            match fill(open) {
                Ok(()) => stored[at] += RECORDS as i64,
                Err(_) => *log = None,
            }
        }
        let marks = logs
            .iter()
            .zip(SOUND)
            .filter_map(|(log, (name, id))| Some(support::mark(name, id, log.as_ref()?)));
        // The next start verifies more than it had to.
        _ = dirs.checkpoint(&marks.collect::<Vec<_>>());
    }
    stored
}

#[test]
fn a_directory_that_fails_takes_no_other_with_it_and_loses_nothing_that_was_stored() {
    let whole = SimDisk::new(1);
    assert_eq!(fill_both(&life_of_two(&whole).expect("nothing fails")), [ROUNDS * RECORDS as i64; 2]);
    let operations = whole.operations();
    assert!(operations > 40, "{operations} operations");
    let (mut failed, mut at_start) = (0, 0);
    for at in 0..operations {
        for fault in [Fault::Io, Fault::Full] {
            let disk = SimDisk::new(1);
            disk.fail_at(at, fault);
            let dirs = life_of_two(&disk).expect("one directory is sound");
            let stored = fill_both(&dirs);
            let lost = dirs.describe_states().filter(|(_, offline)| *offline).count();
            assert!(lost <= 1, "{fault:?} at operation {at} takes {lost} directories");
            let all = ROUNDS * RECORDS as i64;
            // With a directory lost from the start both partitions lie in the other one.
            let kept = stored.iter().filter(|records| **records == all).count();
            assert!(kept >= 1, "{fault:?} at operation {at}: {stored:?}");
            if lost == 0 {
                assert_eq!(
                    stored, [all; 2],
                    "{fault:?} at operation {at}: refused, and nobody is said to have failed"
                );
            }
            failed += dirs.failed().len();
            at_start += usize::from(lost == 1 && dirs.failed().is_empty());
            let before = disk.operations();
            for (at, _) in dirs.failed() {
                let path = dirs.path(at).to_owned();
                let lies_there = |&&(name, id): &&(&str, TopicPartition)| {
                    dirs.folder(name, id.partition).is_some_and(|folder| folder.starts_with(&path))
                };
                for (name, id) in SOUND.iter().filter(lies_there) {
                    let opened = dirs.open(*id, name, directory::UNASSIGNED, &[], Arc::default());
                    assert!(matches!(opened, Err(LogError::Offline { .. })), "{fault:?} at operation {at}");
                    assert!(dirs.is_offline(name, id.partition, directory::UNASSIGNED));
                }
            }
            assert_eq!(disk.operations(), before, "nothing is tried again in a directory that has failed");
            drop(dirs);
            disk.crash(at);
            let dirs = life_of_two(&disk).expect("both directories open");
            assert!(dirs.describe_states().all(|(_, offline)| !offline));
            for ((name, id), stored) in SOUND.into_iter().zip(stored) {
                let log =
                    dirs.open(id, name, directory::UNASSIGNED, &[], Arc::default()).expect("it is back");
                assert!(
                    log.end_offset() >= Offset(stored),
                    "{fault:?} at operation {at}: {name} lost records"
                );
            }
        }
    }
    assert!(failed > 20, "{failed} directories failed while they were in use");
    println!("{operations} operations, {failed} directories failed in use, {at_start} at the start");
}

#[test]
fn a_partition_that_was_placed_is_not_made_anew_while_a_directory_is_offline() {
    let disk = SimDisk::new(1);
    let left = DirectoryId::from_u128(0x55);
    let (name, id) = SOUND[0];
    {
        let held: Arc<dyn Disk> = Arc::new(disk.clone());
        for (path, directory) in [("/left", left), ("/right", DirectoryId::from_u128(0x66))] {
            let mut dir = LogDir::open(&held, Path::new(path)).expect("it opens");
            let meta = MetaProperties {
                cluster_id: "AAAAAAAAAAAAAAAAAAAAAw".to_owned(),
                node_id: NodeId(1),
                directory_id: Some(directory),
            };
            dir.write_meta(meta).expect("formatted");
        }
        let dirs = life_of_two(&disk).expect("both open");
        let mut log = dirs.open(id, name, left, &[], Arc::default()).expect("made");
        fill(&mut log).expect("stored");
    }
    disk.kill();
    // Something keeps the directory from being opened.
    let other: Arc<dyn Disk> = Arc::new(disk.clone());
    let _locked = LogDir::open(&other, Path::new("/left")).expect("it opens for another");
    let dirs = life_of_two(&disk).expect("one opens");
    assert!(dirs.any_offline() && dirs.any_served());
    for named in [left, directory::MIGRATING, directory::LOST] {
        let opened = dirs.open(id, name, named, &[], Arc::default());
        assert!(matches!(opened, Err(LogError::Offline { .. })), "{named}");
    }
    assert!(
        dirs.open(SOUND[1].1, SOUND[1].0, directory::UNASSIGNED, &[], Arc::default()).is_ok(),
        "a new one is made"
    );
}
