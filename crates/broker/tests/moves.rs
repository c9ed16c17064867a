//! A partition moves from one log directory to another, and the power goes at any operation of that: nothing that was acknowledged is
//! lost, no deleted record comes back, and the next process brings the move to its end.

#![allow(clippy::disallowed_methods)]

mod support;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dohle_broker::log_dirs::{Found, FutureFolder, LogDirs};
use dohle_env::Disk;
use dohle_env::disk::{Fault, OpenMode, SimDisk};
use dohle_log::dirs::{LogDir, MetaProperties};
use dohle_log::future::{CopyError, CopyProgress, FutureLog};
use dohle_log::{Log, LogError};
use dohle_records::{Batch, BatchBuilder, Compression};
use dohle_types::{
    DirectoryId, HighWatermark, LeaderEpoch, NodeId, Offset, PartitionIndex, TimestampMs, TopicPartition,
    Uuid,
};

const NAME: &str = "orders";
const ID: TopicPartition = TopicPartition { topic: Uuid::from_u128(0x11), partition: PartitionIndex(0) };
const ROOTS: [(&str, DirectoryId); 2] =
    [("/left", DirectoryId::from_u128(0x55)), ("/right", DirectoryId::from_u128(0x66))];
const RECORDS: i64 = 10;
const DELETED: i64 = 13;

/// What has to be there whatever happens.
#[derive(Default)]
struct Promised {
    start: Cell<i64>,
    end: Cell<i64>,
    /// The directory that the metadata names.
    named: Cell<usize>,
}

type Step = Result<(), Box<dyn std::error::Error>>;

fn life(disk: &SimDisk, promised: &Promised) -> Result<LogDirs, LogError> {
    let (env, context) = support::begin(disk);
    let mut found = Vec::new();
    for (path, id) in ROOTS {
        let mut dir = match LogDir::open(&env.disk, Path::new(path)) {
            Ok(dir) => dir,
            Err(problem) => {
                found.push(Found::Offline { path: path.into(), problem });
                continue;
            }
        };
        if dir.meta().is_none() {
            let cluster_id = "AAAAAAAAAAAAAAAAAAAAAw".to_owned();
            dir.write_meta(MetaProperties { cluster_id, node_id: NodeId(1), directory_id: Some(id) })?;
        }
        found.push(Found::Opened(dir));
    }
    let dirs = LogDirs::new(&env, context, found)?;
    settle(&dirs, promised);
    Ok(dirs)
}

fn settle(dirs: &LogDirs, promised: &Promised) {
    dirs.settle_doubles(|_, _| Some((ID.topic, ROOTS[promised.named.get()].1)));
}

fn open(dirs: &LogDirs, named: usize) -> Result<Log, LogError> {
    dirs.open(ID, NAME, ROOTS[named].1, &[], Arc::default())
}

fn batch() -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..RECORDS {
        builder.append(TimestampMs(1), None, Some(&Bytes::from_static(b"value")), &[]);
    }
    builder.build(Offset::ZERO, LeaderEpoch(0))
}

fn fill(log: &mut Log, promised: &Promised) -> Step {
    log.append_as_leader(vec![batch()], LeaderEpoch(0), TimestampMs(1))?;
    promised.end.set(log.flush()?.up_to().get());
    Ok(())
}

fn checkpoint(dirs: &LogDirs, log: &Log) -> Result<(), LogError> {
    dirs.checkpoint(&[support::mark(NAME, ID, log)])
}

/// Some records, the first of which are deleted, in the first directory.
fn begin(dirs: &LogDirs, promised: &Promised) -> Result<Log, Box<dyn std::error::Error>> {
    let mut log = open(dirs, 0)?;
    fill(&mut log, promised)?;
    fill(&mut log, promised)?;
    log.delete_records_before(Offset(DELETED), HighWatermark(log.end_offset()))?;
    checkpoint(dirs, &log)?;
    promised.start.set(DELETED);
    Ok(log)
}

/// Moves the log to the other directory, appending meanwhile, and opens it there.
fn relocate(
    dirs: &LogDirs,
    mut log: Log,
    future: &FutureFolder,
    promised: &Promised,
) -> Result<Log, Box<dyn std::error::Error>> {
    let disk = dirs.disk(future.directory)?;
    let mut copy = FutureLog::open(&disk, &future.path, ID.topic, Arc::<CopyProgress>::default())?;
    copy.copy(log.copy_plan()?, &mut |_| true)?;
    fill(&mut log, promised)?;
    let (plan, folder) = (log.copy_plan()?, log.dir().to_owned());
    let closed = log.close()?;
    copy.finish(plan)?;
    promised.named.set(future.directory);
    let exchanged = dirs.exchange(NAME, ID, future, &closed);
    match exchanged {
        Ok(Some(old)) => dirs.remove(&old, &mut || true),
        Ok(None) => {}
        Err(CopyError::Source(_)) => unreachable!("what happens to the old folder is no failure of the move"),
        Err(problem) => {
            dirs.closed(NAME, ID, &folder, &closed);
            return Err(problem.into());
        }
    }
    Ok(open(dirs, future.directory)?)
}

fn history(disk: &SimDisk, promised: &Promised) -> Step {
    let dirs = life(disk, promised)?;
    let log = begin(&dirs, promised)?;
    let future = dirs.future_folder(NAME, ID, 1)?;
    let moved = relocate(&dirs, log, &future, promised);
    if moved.is_err() {
        // It goes on where it is, and the controller has not heard of that yet.
        fill(&mut open(&dirs, 0)?, promised)?;
    }
    let mut log = moved?;
    fill(&mut log, promised)?;
    checkpoint(&dirs, &log)?;
    Ok(())
}

fn check(log: &Log, promised: &Promised, at: u64) {
    let (start, end) = (log.start_offset().get(), log.end_offset().get());
    assert!(end >= promised.end.get(), "crash at operation {at}: ends at {end} of {}", promised.end.get());
    assert!(start >= promised.start.get(), "crash at operation {at}: starts at {start} again");
}

/// How many folders of the partition the directories hold, whatever they are called.
fn folders(disk: &SimDisk) -> usize {
    let named = |root: &str| disk.list(Path::new(root)).expect("a directory");
    let all = ROOTS.iter().flat_map(|(root, _)| named(root));
    all.filter(|entry| entry.is_dir && entry.name.starts_with("orders-0")).count()
}

#[test]
fn a_move_loses_nothing_wherever_the_power_goes() {
    let (whole, promised) = (SimDisk::new(1), Promised::default());
    history(&whole, &promised).expect("nothing fails");
    assert_eq!((promised.start.get(), promised.end.get()), (DELETED, 4 * RECORDS));
    assert_eq!(folders(&whole), 1, "the old one is removed");
    let operations = whole.operations();
    assert!(operations > 60, "{operations} operations");
    let (mut resumed, mut doubled) = (0, 0);
    for at in 0..=operations {
        for seed in 0..6 {
            let (disk, promised) = (SimDisk::new(1), Promised::default());
            disk.fail_at(at, Fault::Crash);
            assert_eq!(history(&disk, &promised).is_ok(), at == operations);
            disk.crash(seed);
            let dirs = life(&disk, &promised).expect("directories open after a crash");
            let mut log = open(&dirs, promised.named.get()).expect("a log opens after a crash");
            check(&log, &promised, at);
            fill(&mut log, &promised).expect("it goes on");
            // What is left of the move is brought to its end.
            for (_, _, future) in dirs.future_folders() {
                resumed += 1;
                log = relocate(&dirs, log, &future, &promised).expect("the move is brought to its end");
                check(&log, &promised, at);
                assert!(log.dir().starts_with(ROOTS[1].0));
            }
            drop((log, dirs));
            let dirs = life(&disk, &promised).expect("directories open");
            check(&open(&dirs, promised.named.get()).expect("a log opens"), &promised, at);
            assert!(dirs.future_folders().is_empty());
            let left = folders(&disk);
            doubled += usize::from(left == 2);
            assert!(left <= 2, "one that counts, and at most one that is put aside: {left}");
        }
    }
    assert!(resumed > 50, "{resumed} moves were gone on with");
    assert!(doubled > 0, "some crashes fall between the two renamings");
    println!("{operations} operations, {resumed} moves gone on with, {doubled} logs found twice");
}

#[test]
fn a_directory_that_fails_during_a_move_takes_the_move_or_the_partition_and_no_record() {
    let (whole, promised) = (SimDisk::new(1), Promised::default());
    history(&whole, &promised).expect("nothing fails");
    for at in 0..whole.operations() {
        let (disk, promised) = (SimDisk::new(1), Promised::default());
        disk.fail_at(at, Fault::Io);
        _ = history(&disk, &promised);
        disk.kill();
        let dirs = life(&disk, &promised).expect("both directories are well again");
        let log = open(&dirs, promised.named.get()).expect("a log opens");
        check(&log, &promised, at);
    }
}

/// Has a directory be offline at the next start, until it is restored.
fn hide(disk: &SimDisk, directory: usize) -> bool {
    let meta = Path::new(ROOTS[directory].0).join("meta.properties");
    let is_there = disk.metadata(&meta).expect("readable").is_some();
    if is_there {
        disk.rename(&meta, &meta.with_file_name("kept")).expect("renamed");
        let file = disk.open(&meta, OpenMode::CreateNew).expect("a file");
        file.write_all_at(&[std::io::IoSlice::new(b"version=7\n")], 0).expect("it can be written");
    }
    is_there
}

fn restore(disk: &SimDisk, directory: usize) {
    let meta = Path::new(ROOTS[directory].0).join("meta.properties");
    disk.rename(&meta.with_file_name("kept"), &meta).expect("renamed");
}

#[test]
fn of_two_logs_the_one_that_counts_is_found_also_when_a_directory_comes_back_later() {
    let (whole, promised) = (SimDisk::new(1), Promised::default());
    history(&whole, &promised).expect("nothing fails");
    let (mut doubled, mut named_late) = (0, 0);
    for at in 0..whole.operations() {
        let (first, promised) = (SimDisk::new(1), Promised::default());
        first.fail_at(at, Fault::Io);
        _ = history(&first, &promised);
        first.kill();
        let is_in = |at: usize| {
            let folder = Path::new(ROOTS[at].0).join("orders-0");
            first.metadata(&folder).expect("readable").is_some()
        };
        doubled += usize::from(is_in(0) && is_in(1));
        for late in [0, 1] {
            let disk = first.fork();
            if !hide(&disk, late) || !hide(&disk, 1 - late) {
                continue;
            }
            restore(&disk, 1 - late);
            let dirs = life(&disk, &promised).expect("one directory opens");
            assert_eq!(dirs.offline(), [late]);
            restore(&disk, late);
            dirs.take_back(late, |_, _| true).expect("it is well");
            settle(&dirs, &promised);
            let log = open(&dirs, promised.named.get()).expect("a log opens");
            check(&log, &promised, at);
            assert!(folders(&disk) <= 2, "one that counts, and one that is put aside, or a copy");
            named_late += usize::from(log.dir().starts_with(ROOTS[late].0));
        }
    }
    assert!(doubled > 0, "some failures leave two logs");
    assert!(named_late > 10, "{named_late} logs came back with their directory");
    println!("{doubled} logs found twice; {named_late} came back with their directory");
}

#[test]
fn a_directory_that_comes_back_brings_its_copies() {
    let (disk, promised) = (SimDisk::new(1), Promised::default());
    let dirs = life(&disk, &promised).expect("nothing fails");
    let mut log = begin(&dirs, &promised).expect("nothing fails");
    let future = dirs.future_folder(NAME, ID, 1).expect("a name");
    let target = dirs.disk(1).expect("it is served");
    let mut copy = FutureLog::open(&target, &future.path, ID.topic, Arc::default()).expect("nothing fails");
    copy.copy(log.copy_plan().expect("nothing works on it"), &mut |_| true).expect("nothing fails");
    fill(&mut log, &promised).expect("nothing fails");
    disk.fail_at(disk.operations(), Fault::Io);
    let plan = log.copy_plan().expect("nothing works on it");
    assert!(matches!(copy.copy(plan, &mut |_| true), Err(CopyError::Target(_))));
    assert_eq!(dirs.offline(), [1]);
    assert!(matches!(dirs.drop_future(NAME, ID.partition, &future), Err(LogError::Offline { .. })));
    dirs.take_back(1, |_, _| true).expect("it is well");
    assert_eq!(dirs.future_folders(), [(NAME.to_owned(), ID.partition, future.clone())]);
    let plan = log.copy_plan().expect("nothing works on it");
    assert!(copy.finish(plan).is_err(), "what was opened before is lost for good");
    let mut log = relocate(&dirs, log, &future, &promised).expect("the move is brought to its end");
    check(&log, &promised, 0);
    fill(&mut log, &promised).expect("it goes on");
    assert!(log.dir().starts_with(ROOTS[1].0) && dirs.future_folders().is_empty());
    // One that went while its directory was away is not known any more.
    let gone = dirs.future_folder(NAME, ID, 0).expect("a name");
    let target = dirs.disk(0).expect("it is served");
    FutureLog::open(&target, &gone.path, ID.topic, Arc::default()).expect("nothing fails");
    disk.fail_at(disk.operations(), Fault::Io);
    assert!(FutureLog::open(&target, &gone.path, ID.topic, Arc::default()).is_err());
    disk.remove_dir_all(&gone.path).expect("somebody removes it");
    dirs.take_back(0, |_, _| true).expect("it is well");
    assert_eq!(dirs.future_folders(), []);
    check(&log, &promised, 0);
}

/// A copy without its log is not taken for it while the log may lie in a directory that is offline, and not made anew beside it.
#[test]
fn a_copy_waits_for_its_log() {
    let (disk, promised) = (SimDisk::new(1), Promised::default());
    {
        let dirs = life(&disk, &promised).expect("nothing fails");
        let log = begin(&dirs, &promised).expect("nothing fails");
        let future = dirs.future_folder(NAME, ID, 1).expect("a name");
        let target = dirs.disk(1).expect("it is served");
        let mut copy =
            FutureLog::open(&target, &future.path, ID.topic, Arc::default()).expect("nothing fails");
        copy.copy(log.copy_plan().expect("nothing works on it"), &mut |_| true).expect("nothing fails");
        copy.finish(log.copy_plan().expect("nothing works on it")).expect("nothing fails");
    }
    disk.kill();
    promised.named.set(1);
    let other: Arc<dyn Disk> = Arc::new(disk.clone());
    {
        let _locked = LogDir::open(&other, Path::new(ROOTS[0].0)).expect("it opens for another");
        let held: Arc<dyn Disk> = Arc::new(disk.clone());
        let right = LogDir::open(&held, Path::new(ROOTS[1].0)).expect("it opens");
        let left = LogDir::open(&held, Path::new(ROOTS[0].0)).err().expect("it is in use");
        let (env, context) = support::begin(&disk);
        let left = Found::Offline { path: ROOTS[0].0.into(), problem: left };
        let dirs = LogDirs::new(&env, context, vec![left, Found::Opened(right)]).expect("one opens");
        assert!(matches!(open(&dirs, 1), Err(LogError::Offline { .. })));
    }
    // Its disk was replaced by an empty one: the copy is all there is.
    disk.remove_dir_all(Path::new(ROOTS[0].0)).expect("it can be removed");
    let dirs = life(&disk, &promised).expect("both open");
    let log = open(&dirs, 1).expect("the copy");
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), Offset(2 * RECORDS)));
    assert!(log.dir().starts_with(ROOTS[1].0));
}
