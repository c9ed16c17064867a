//! A directory that was lost and comes back while the process runs: what was acknowledged before and after is there, once and in order,
//! also when the power goes then; and nothing that was opened before reaches the disk any more.
//!
//! `cargo xtask crash --bugs` shows that a build in which old handles write is found.

#![allow(clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dohle_broker::log_dirs::{Found, LogDirs, Mark};
use dohle_env::Disk;
use dohle_env::disk::{Fault, OpenMode, SimDisk};
use dohle_log::dirs::{LogDir, MetaProperties};
use dohle_log::{AppendError, Log, LogError, Read};
use dohle_records::{BatchBuilder, Compression, parse_batches};
use dohle_types::{
    BrokerEpoch, DirectoryId, LeaderEpoch, NodeId, Offset, PartitionIndex, TimestampMs, TopicPartition, Uuid,
};

const PATHS: [&str; 2] = ["/left", "/right"];
const TOPICS: [&str; 2] = ["left", "right"];
const ROUNDS: u64 = 3;

fn id(at: usize) -> TopicPartition {
    TopicPartition { topic: Uuid::from_u128(0x33 + at as u128), partition: PartitionIndex(0) }
}

fn directory(at: usize) -> DirectoryId {
    DirectoryId::from_u128(0x55 + at as u128)
}

fn meta(at: usize) -> MetaProperties {
    MetaProperties {
        cluster_id: "AAAAAAAAAAAAAAAAAAAAAw".to_owned(),
        node_id: NodeId(1),
        directory_id: Some(directory(at)),
    }
}

/// Two directories that were formatted.
fn formatted() -> SimDisk {
    let disk = SimDisk::new(1);
    let held: Arc<dyn Disk> = Arc::new(disk.clone());
    for (at, path) in PATHS.into_iter().enumerate() {
        LogDir::open(&held, Path::new(path)).expect("it opens").write_meta(meta(at)).expect("formatted");
    }
    disk
}

fn life(disk: &SimDisk) -> LogDirs {
    let (env, context) = support::begin(disk);
    let open = |path: &str| match LogDir::open(&env.disk, Path::new(path)) {
        Ok(dir) => Found::Opened(dir),
        Err(problem) => Found::Offline { path: path.into(), problem },
    };
    LogDirs::new(&env, context, PATHS.into_iter().map(open).collect()).expect("one directory is sound")
}

fn open(dirs: &LogDirs, at: usize) -> Result<Log, LogError> {
    dirs.open(id(at), TOPICS[at], directory(at), &[], Arc::default())
}

/// Appends a batch of one record and has it stored.
fn store(log: &mut Log, number: u64) -> Result<(), LogError> {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(TimestampMs(1), None, Some(&Bytes::from(number.to_be_bytes().to_vec())), &[]);
    let batch = builder.build(Offset::ZERO, LeaderEpoch(0));
    log.append_as_leader(vec![batch], LeaderEpoch(0), TimestampMs(1)).map_err(|error| match error {
        AppendError::Storage(error) => error,
        other => panic!("{other}"),
    })?;
    log.flush().map(drop)
}

fn mark(at: usize, log: &Log) -> Mark {
    support::mark(TOPICS[at], id(at), log)
}

/// The numbers of all records.
fn numbers(log: &mut Log) -> Vec<u64> {
    let (mut at, end) = (log.start_offset(), log.end_offset());
    let mut found = Vec::new();
    while at < end {
        let slice = match log.read(at, end, 1 << 20, true).expect("it can be read") {
            Read::Ready(slice) => slice,
            Read::Cold(cold) => log.finish_read(cold.run(&mut dohle_log::greedy)).expect("it can be read"),
        };
        at = slice.end;
        for batch in parse_batches(Bytes::from(slice.chunks.concat())) {
            for record in batch.expect("a batch").records(1 << 20) {
                let record = record.expect("a record");
                assert_eq!(record.offset, Offset(found.len() as i64), "no offset is left out");
                let value = record.value.expect("a value");
                found.push(u64::from_be_bytes(value[..].try_into().expect("eight bytes")));
            }
        }
    }
    found
}

/// Both partitions, and which numbers of each were acknowledged.
struct World {
    dirs: LogDirs,
    logs: [Option<Log>; 2],
    acknowledged: [Vec<u64>; 2],
    next: u64,
}

impl World {
    fn new(disk: &SimDisk) -> Self {
        let dirs = life(disk);
        let logs = [0, 1].map(|at| open(&dirs, at).ok());
        Self { dirs, logs, acknowledged: Default::default(), next: 0 }
    }

    /// Fills what is open. What fails stays open, as in a broker whose cores have not heard of it yet.
    fn fill(&mut self) {
        for _ in 0..ROUNDS {
            for at in [0, 1] {
                self.next += 1;
                let number = self.next;
                if self.logs[at].as_mut().is_some_and(|log| store(log, number).is_ok()) {
                    self.acknowledged[at].push(number);
                }
            }
            let sound = (0..2).filter_map(|at| Some((at, self.logs[at].as_ref()?)));
            let marks: Vec<Mark> =
                sound.filter(|(_, log)| !log.is_lost()).map(|(at, log)| mark(at, log)).collect();
            _ = self.dirs.checkpoint(&marks);
        }
    }

    fn check(&mut self, what: &str) {
        for at in [0, 1] {
            let found = numbers(self.logs[at].as_mut().expect("it is open"));
            let in_order = found.windows(2).all(|pair| pair[0] < pair[1]);
            let all = self.acknowledged[at].iter().all(|number| found.contains(number));
            assert!(in_order && all, "{what}: {} has {found:?} of {:?}", TOPICS[at], self.acknowledged[at]);
        }
    }
}

/// Everything is in order again, wherever and however the disk has failed before.
fn lose_and_return(at: u64, fault: Fault) -> Option<usize> {
    let disk = formatted();
    disk.fail_at(disk.operations() + at, fault);
    let mut world = World::new(&disk);
    world.fill();
    let what = format!("{fault:?} at operation {at}");
    let lost = world.dirs.offline();
    let &[lost] = &lost[..] else {
        assert!(lost.is_empty(), "{what}: {lost:?}");
        return None;
    };
    let mut before = world.logs[lost].take();
    let old_mark = before.as_ref().map(|log| mark(lost, log));
    // What Fault::Full has refused is accepted now: somebody has made room.
    let returned =
        world.dirs.take_back(lost, |_, _| true).unwrap_or_else(|problem| panic!("{what}: {problem}"));
    assert_eq!(returned.id, Some(directory(lost)));
    assert!(world.dirs.offline().is_empty() && world.dirs.failed().is_empty());
    // The one whose directory was offline from the start was not made elsewhere.
    for at in [0, 1] {
        if at == lost || world.logs[at].is_none() {
            assert_eq!(world.dirs.remaining(lost), returned.logs, "{what}: each is to be recovered");
            world.logs[at] =
                Some(open(&world.dirs, at).unwrap_or_else(|problem| panic!("{what}: {problem}")));
        }
    }
    world.check(&what);
    for round in 0..2 {
        world.fill();
        // Where the other log has written since; what comes after has it flushed.
        if let Some(before) = &mut before {
            store(before, 1 << 40).expect_err("what was opened before is lost for good");
            world.dirs.checkpoint(&Vec::from_iter(old_mark.clone())).expect_err("nor is its mark taken");
        }
        world.check(&format!("{what}, round {round} after its return"));
    }
    world.fill();
    assert!(world.acknowledged[lost].len() as u64 >= 3 * ROUNDS, "{what}: what comes after is taken");
    drop(before);
    for seed in 0..4 {
        let disk = disk.fork();
        disk.crash(at * 31 + seed);
        let dirs = life(&disk);
        let logs = [0, 1].map(|at| open(&dirs, at).ok());
        let (acknowledged, next) = (world.acknowledged.clone(), world.next);
        let mut after = World { dirs, logs, acknowledged, next };
        after.check(&format!("{what}, then a power cut ({seed})"));
    }
    Some(lost)
}

#[test]
fn what_was_acknowledged_is_there_wherever_the_disk_fails_before_it_returns() {
    let whole = formatted();
    let from = whole.operations();
    World::new(&whole).fill();
    let operations = whole.operations() - from;
    assert!(operations > 40, "{operations} operations");
    let mut returned = [0; 2];
    for at in 0..operations {
        for fault in [Fault::Io, Fault::Full] {
            if let Some(lost) = lose_and_return(at, fault) {
                returned[lost] += 1;
            }
        }
    }
    assert!(returned.iter().all(|count| *count > 10), "{returned:?} of {operations} operations");
    println!("{operations} operations; directories came back {returned:?} times");
}

fn put(disk: &SimDisk, path: &str, contents: &[u8]) {
    let file = disk.open(Path::new(path), OpenMode::Create).expect("a file");
    file.set_len(0).expect("it can be emptied");
    file.write_all_at(&[std::io::IoSlice::new(contents)], 0).expect("it can be written");
}

/// A world whose right directory has failed while its log was flushed.
fn with_right_lost(disk: &SimDisk) -> World {
    let mut world = World::new(disk);
    world.fill();
    let operation = disk.operations();
    (0..40).for_each(|after| disk.fail_at(operation + after, Fault::Io));
    while !world.dirs.offline().contains(&1) {
        world.next += 1;
        let number = world.next;
        _ = store(world.logs[1].as_mut().expect("it is open"), number);
    }
    assert_eq!(world.dirs.offline(), [1]);
    world
}

#[test]
fn a_directory_that_is_not_well_or_not_the_same_stays_offline() {
    let disk = formatted();
    let world = with_right_lost(&disk);
    let refused = |needle: &str| {
        let error = world.dirs.take_back(1, |_, _| true).expect_err(needle).to_string();
        assert!(error.contains(needle), "{error}");
        assert_eq!(world.dirs.offline(), [1]);
    };
    refused("failed");
    for operation in disk.operations()..disk.operations() + 50 {
        disk.fail_at(operation, Fault::Full);
    }
    refused("no storage space");
    let disk_is_well = disk.operations() + 50;
    while disk.operations() < disk_is_well {
        _ = disk.open(Path::new("/other"), OpenMode::CreateNew);
        _ = disk.remove_file(Path::new("/other"));
    }
    let path = Path::new("/right/meta.properties");
    disk.rename(path, Path::new("/right/kept")).expect("renamed");
    refused("is not there");
    for (other, what) in
        [(0, "another cluster, node or directory"), (7, "another cluster, node or directory")]
    {
        let id = directory(other);
        put(
            &disk,
            "/right/meta.properties",
            format!("cluster.id={}\ndirectory.id={id}\nnode.id=1\nversion=1\n", meta(0).cluster_id)
                .as_bytes(),
        );
        refused(what);
    }
    disk.rename(Path::new("/right/kept"), path).expect("renamed");
    let held: Arc<dyn Disk> = Arc::new(disk.clone());
    let locked = disk.lock(Path::new("/right/.lock")).expect("who has lost it holds it no more");
    refused("in use");
    drop((locked, held));
    world.dirs.take_back(1, |_, _| true).expect("it is well");
    assert!(world.dirs.offline().is_empty());
}

#[test]
fn what_no_topic_claims_any_more_is_put_aside_and_the_stop_after_it_is_clean() {
    let disk = formatted();
    let mut world = with_right_lost(&disk);
    while world.dirs.take_back(1, |topic, _| topic != TOPICS[1]).is_err() {}
    assert_eq!(world.dirs.partitions().len(), 1);
    let entries = disk.list(Path::new("/right")).expect("a folder");
    let strays =
        entries.iter().filter(|entry| entry.name.starts_with("right-0.") && entry.name.ends_with("-stray"));
    assert_eq!(strays.count(), 1);
    // Of a topic of the same name that was made since nothing is known.
    let mut log = world.dirs.open(id(7), TOPICS[1], directory(1), &[], Arc::default()).expect("a new log");
    assert_eq!(log.end_offset(), Offset::ZERO);
    store(&mut log, 1).expect("stored");
    assert_eq!(world.dirs.remaining(1), 0, "what was made here needs no recovery");
    world.logs[0].take().expect("open").close().expect("closed");
    log.close().expect("closed");
    world.dirs.finish(BrokerEpoch(1)).expect("marked");
    for path in PATHS {
        let mark = Path::new(path).join(".kafka_cleanshutdown");
        assert!(disk.metadata(&mark).expect("readable").is_some(), "{path}");
    }
}

#[test]
fn a_directory_that_could_not_be_opened_at_the_start_comes_back_too() {
    let disk = formatted();
    let mut world = World::new(&disk);
    world.fill();
    let acknowledged = world.acknowledged.clone();
    drop(world);
    disk.kill();
    let path = Path::new("/right/meta.properties");
    disk.rename(path, Path::new("/right/kept")).expect("renamed");
    put(&disk, "/right/meta.properties", b"version=7\n");
    let dirs = life(&disk);
    assert_eq!(dirs.offline(), [1]);
    assert!(open(&dirs, 1).is_err(), "it lies in what is offline");
    dirs.take_back(1, |_, _| true).expect_err("as before");
    disk.rename(Path::new("/right/kept"), path).expect("renamed");
    dirs.take_back(1, |_, _| true).expect("it can be read now");
    assert_eq!(dirs.ids(), [directory(0), directory(1)]);
    let logs = [0, 1].map(|at| open(&dirs, at).ok());
    World { dirs, logs, acknowledged, next: 100 }.check("after its return");
}
