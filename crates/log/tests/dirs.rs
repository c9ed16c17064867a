//! A log directory: its files as Kafka writes them, and what is said about those that are not right.

mod support;

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use dohle_env::Disk;
use dohle_env::disk::{Fault, OpenMode, SimDisk, read_file};
use dohle_log::checkpoint::{self, Offsets};
use dohle_log::dirs::{CleanShutdown, FolderState, LogDir, MetaProperties};
use dohle_log::names::{FileKind, FileState, file_name};
use dohle_log::{LogError, ReadBuffers, Recovery};
use dohle_types::*;
use support::*;

fn put(disk: &dyn Disk, path: impl AsRef<Path>, contents: &[u8]) {
    disk.create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    let file = disk.open(path.as_ref(), OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(&[IoSlice::new(contents)], 0).unwrap();
}

fn text(disk: &dyn Disk, path: &str) -> String {
    String::from_utf8(read_file(disk, Path::new(path), 1 << 20).unwrap().unwrap()).unwrap()
}

fn simulated() -> (SimDisk, Arc<dyn Disk>) {
    let disk = SimDisk::new(1);
    (disk.clone(), Arc::new(disk))
}

fn open(disk: &Arc<dyn Disk>) -> Result<LogDir, LogError> {
    LogDir::open(disk, Path::new("/data"))
}

#[test]
fn meta_properties_of_kafka_are_read_and_ours_are_like_them() {
    let (_, disk) = simulated();
    let kafkas = "#\n#Sat Nov 21 05:27:22 UTC 2026\nnode.id=0\ndirectory.id=gHWVIiOuR1qNEWZ9I221lA\nversion=1\n\
                  cluster.id=ocNcg4MrTPmzf3XWMgXq3Q\n";
    put(disk.as_ref(), "/data/meta.properties", kafkas.as_bytes());
    let mut dir = open(&disk).unwrap();
    let meta = MetaProperties {
        cluster_id: "ocNcg4MrTPmzf3XWMgXq3Q".to_owned(),
        node_id: NodeId(0),
        directory_id: Some("gHWVIiOuR1qNEWZ9I221lA".parse().unwrap()),
    };
    assert_eq!(dir.meta(), Some(&meta));
    dir.write_meta(meta.clone()).unwrap();
    drop(dir);
    assert_eq!(open(&disk).unwrap().meta(), Some(&meta));
}

#[test]
fn meta_properties_that_are_not_right_are_named() {
    for (contents, needle) in [
        ("version=0\nbroker.id=1\n", "KRaft"),
        ("version=7\n", "unknown version '7'"),
        ("cluster.id=x\n", "no 'version'"),
        ("version=1\nnode.id=1\n", "no 'cluster.id'"),
        ("version=1\ncluster.id=x\n", "no 'node.id'"),
        ("version=1\ncluster.id=x\nnode.id=one\n", "'one'"),
        ("version=1\ncluster.id=x\nnode.id=1\ndirectory.id=?\n", "directory.id"),
    ] {
        let (_, disk) = simulated();
        put(disk.as_ref(), "/data/meta.properties", contents.as_bytes());
        let error = open(&disk).err().expect("it is not right").to_string();
        assert!(error.contains("/data/meta.properties") && error.contains(needle), "{error}");
        assert_eq!(text(disk.as_ref(), "/data/meta.properties"), contents, "it is left as it was");
    }
}

#[test]
fn one_process_at_a_time() {
    let (_, disk) = simulated();
    let held = open(&disk).unwrap();
    let error = open(&disk).err().expect("it is in use");
    assert!(matches!(error, LogError::InUse { .. }), "{error}");
    drop(held);
    assert!(open(&disk).is_ok());
}

#[test]
fn a_clean_stop_is_told_once() {
    let (sim, disk) = simulated();
    let mut dir = open(&disk).unwrap();
    let meta = MetaProperties { cluster_id: "c".to_owned(), node_id: NodeId(1), directory_id: None };
    dir.write_meta(meta).unwrap();
    assert_eq!(dir.take_clean_shutdown().unwrap(), None);
    dir.write_clean_shutdown(BrokerEpoch(16)).unwrap();
    assert_eq!(text(disk.as_ref(), "/data/.kafka_cleanshutdown"), r#"{"version":0,"brokerEpoch":16}"#);
    assert_eq!(dir.take_clean_shutdown().unwrap(), Some(CleanShutdown { broker_epoch: BrokerEpoch(16) }));
    drop(dir);
    sim.crash(1);
    assert_eq!(open(&disk).unwrap().take_clean_shutdown().unwrap(), None, "its removal was durable");
    put(disk.as_ref(), "/data/.kafka_cleanshutdown", b"");
    let empty = open(&disk).unwrap().take_clean_shutdown().unwrap();
    assert_eq!(
        empty,
        Some(CleanShutdown { broker_epoch: BrokerEpoch::NONE }),
        "as Kafka before 3.8 wrote it"
    );
}

#[test]
fn checkpoints_are_kafkas() {
    let (_, disk) = simulated();
    let dir = open(&disk).unwrap();
    put(disk.as_ref(), "/data/replication-offset-checkpoint", b"");
    assert_eq!(
        dir.high_watermarks().unwrap(),
        Offsets::new(),
        "Kafka leaves an empty file until it has something to say"
    );
    let offsets = Offsets::from([
        ("orders-eu", PartitionIndex(1), Offset(99)),
        ("orders", PartitionIndex(0), Offset(1234)),
    ]);
    dir.write_recovery_points(&offsets).unwrap();
    assert_eq!(
        text(disk.as_ref(), "/data/recovery-point-offset-checkpoint"),
        "0\n2\norders 0 1234\norders-eu 1 99\n"
    );
    assert_eq!(dir.recovery_points().unwrap(), offsets);
    for (contents, needle) in [
        ("1\n0\n", "unknown version '1'"),
        ("0\n2\norders 0 1\n", "claims '2' entries and has 1"),
        ("0\n1\norders 0\n", "'orders 0'"),
        ("0\n1\norders x 1\n", "'orders x 1'"),
        ("0\n", "claims ''"),
    ] {
        put(disk.as_ref(), "/data/cleaner-offset-checkpoint", contents.as_bytes());
        let error = dir.cleaner_points().unwrap_err().to_string();
        assert!(error.contains("/data/cleaner-offset-checkpoint") && error.contains(needle), "{error}");
    }
    put(disk.as_ref(), "/data/x/leader-epoch-checkpoint", b"0\n2\n5 1200\n6 -1\n");
    let error =
        checkpoint::read_epochs(disk.as_ref(), Path::new("/data/x/leader-epoch-checkpoint")).unwrap_err();
    assert!(error.to_string().contains("'6 -1'"), "{error}");
}

#[test]
fn partition_folders_are_found() {
    let (_, disk) = simulated();
    let dir = open(&disk).unwrap();
    let metadata = checkpoint::encode_partition_metadata(TOPIC);
    let deleted = "a-0.0123456789abcdef0123456789abcdef-delete";
    put(disk.as_ref(), "/data/a-0/partition.metadata", &metadata);
    put(disk.as_ref(), format!("/data/{deleted}/partition.metadata"), &metadata);
    put(disk.as_ref(), "/data/b-c-12/partition.metadata", b"version: 0\n");
    put(disk.as_ref(), "/data/lost+found/x", b"");
    put(disk.as_ref(), "/data/d-1", b"a file, not a folder");
    let found = dir.scan().unwrap();
    let summary: Vec<_> = found
        .iter()
        .map(|f| (f.topic.as_str(), f.partition.get(), f.state, dir.topic_id(&f.path).unwrap()))
        .collect();
    assert_eq!(
        summary,
        [
            ("a", 0, FolderState::Live, Some(TOPIC)),
            ("a", 0, FolderState::Deleted, Some(TOPIC)),
            ("b-c", 12, FolderState::Live, None)
        ]
    );
    dir.remove_deleted(&found[1].path, &ReadBuffers::default(), &mut || true).unwrap();
    assert_eq!(dir.scan().unwrap().len(), 2);
}

fn segment_path(base: i64, kind: FileKind, state: FileState) -> std::path::PathBuf {
    folder().join(file_name(Offset(base), kind, state))
}

/// A world with a log of four segments that was stopped cleanly, and the bases of its segments.
fn stopped() -> (World, Vec<i64>, Recovery) {
    let mut world = World::new(1);
    world.settings.segment_bytes = 1000;
    world.settings.index_interval_bytes = 200;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for tag in 0..12 {
        log.append_as_leader(vec![batch(tag, 10, 0)], LeaderEpoch(0), ms(0)).unwrap();
    }
    let bases = log.segments().iter().map(|segment| segment.base_offset.get()).collect();
    let closed = log.close().unwrap();
    (world, bases, Recovery { clean: true, recovery_point: closed.recovery_point, log_start: Offset::ZERO })
}

#[test]
fn indexes_that_are_missing_or_wrong_are_made_anew() {
    let (world, bases, clean) = stopped();
    let disk = world.context.disk.clone();
    let kinds = [FileKind::OffsetIndex, FileKind::TimeIndex];
    let before = kinds.map(|kind| {
        read_file(disk.as_ref(), &segment_path(bases[1], kind, FileState::Live), 1 << 20).unwrap()
    });
    assert!(before[0].as_ref().is_some_and(|bytes| !bytes.is_empty()));
    for kind in kinds {
        disk.remove_file(&segment_path(bases[1], kind, FileState::Live)).unwrap();
    }
    let mut log = world.open(clean).unwrap();
    assert_eq!(read_all(&mut log).len(), 12);
    log.flush().unwrap();
    let after = kinds.map(|kind| {
        read_file(disk.as_ref(), &segment_path(bases[1], kind, FileState::Live), 1 << 20).unwrap()
    });
    assert_eq!(before, after);
    drop(log);
    // An index longer than its log, or one that is not trimmed, finds everything all the same.
    let last = *bases.last().unwrap();
    put(disk.as_ref(), segment_path(last, FileKind::OffsetIndex, FileState::Live), &[0, 0, 0, 9, 0, 1, 0, 0]);
    put(disk.as_ref(), segment_path(last, FileKind::TimeIndex, FileState::Live), &[0; 36]);
    let mut log = world.open(clean).unwrap();
    assert_eq!((read_all(&mut log).len(), log.end_offset()), (12, Offset(120)));
    log.append_as_leader(vec![batch(99, 10, 0)], LeaderEpoch(0), ms(0)).unwrap();
    assert_eq!(read_all(&mut log).len(), 13);
}

/// What Kafka leaves beside an empty active segment when it is killed, and would take for a million entries after a clean stop.
#[test]
fn zeros_beside_an_empty_log_are_no_indexes() {
    let world = World::new(1);
    let disk = world.context.disk.clone();
    let _made = world.open(Recovery::UNKNOWN).unwrap();
    put(disk.as_ref(), segment_path(0, FileKind::Log, FileState::Live), b"");
    let zeros =
        [FileKind::OffsetIndex, FileKind::TimeIndex].map(|kind| segment_path(0, kind, FileState::Live));
    for path in &zeros {
        put(disk.as_ref(), path, &[0; 240]);
    }
    let log = world.open(Recovery::UNKNOWN).unwrap();
    log.close().unwrap();
    for path in &zeros {
        assert_eq!(disk.metadata(path).unwrap(), None, "{}", path.display());
    }
}

#[test]
fn leftovers_of_an_interrupted_stop_are_tidied() {
    let (world, bases, clean) = stopped();
    let disk = world.context.disk.clone();
    put(disk.as_ref(), segment_path(7, FileKind::Log, FileState::Deleted), b"x");
    put(disk.as_ref(), segment_path(900, FileKind::OffsetIndex, FileState::Live), b"x");
    // A compaction of the first two segments into one was finished; another, after it, was not.
    let old = read_file(disk.as_ref(), &segment_path(bases[1], FileKind::Log, FileState::Live), 1 << 20)
        .unwrap()
        .unwrap();
    put(disk.as_ref(), segment_path(0, FileKind::Log, FileState::Swap), &old);
    put(disk.as_ref(), segment_path(bases[2], FileKind::Log, FileState::Cleaned), b"x");
    put(disk.as_ref(), segment_path(bases[2], FileKind::Log, FileState::Swap), b"x");
    let mut log = world.open(clean).unwrap();
    let found: Vec<i64> = log.segments().iter().map(|segment| segment.base_offset.get()).collect();
    let expected: Vec<i64> = bases.iter().copied().filter(|base| *base != bases[1]).collect();
    assert_eq!(found, expected);
    let first = read_all(&mut log)[0].header.base_offset;
    assert_eq!((first.get(), log.end_offset()), (bases[1], Offset(120)));
    let read = read(&mut log, Offset(0), Offset(120), 100);
    assert_eq!(read.start.get(), bases[1], "what compaction removed is passed over");
    assert!(world.files().iter().all(|name| !name.contains(".deleted") && !name.contains("900.index")));
    assert!(world.files().iter().all(|name| !name.contains(".cleaned") && !name.contains(".swap")));
}

#[test]
fn a_snapshot_with_rubbish_is_replaced_by_replay() {
    let (world, _, clean) = stopped();
    let disk = world.context.disk.clone();
    put(disk.as_ref(), segment_path(120, FileKind::ProducerSnapshot, FileState::Live), b"rubbish");
    let log = world.open(clean).unwrap();
    assert_eq!(log.end_offset(), Offset(120));
    assert!(!exists(&world, &segment_path(120, FileKind::ProducerSnapshot, FileState::Live)));
}

#[test]
fn leader_epochs_with_rubbish_are_made_anew_from_the_log() {
    let (world, _, clean) = stopped();
    let disk = world.context.disk.clone();
    let mut log = world.open(clean).unwrap();
    log.append_as_leader(vec![batch(99, 10, 0)], LeaderEpoch(4), ms(0)).unwrap();
    log.close().unwrap();
    let clean = Recovery { recovery_point: Offset(130), ..clean };
    let path = folder().join("leader-epoch-checkpoint");
    let before = text(disk.as_ref(), path.to_str().unwrap());
    assert_eq!(before, "0\n2\n0 0\n4 120\n");
    for rubbish in [&b"0\n2\n0 0\n4 x\n"[..], b"0\n9\n0 0\n", b"\xff\x00\x00", b"7\n"] {
        put(disk.as_ref(), &path, rubbish);
        let mut log = world.open(clean).unwrap();
        assert_eq!(
            (log.epoch_of(Offset(5)), log.latest_epoch()),
            (Some(LeaderEpoch(0)), Some(LeaderEpoch(4)))
        );
        assert_eq!((read_all(&mut log).len(), log.end_offset()), (13, Offset(130)));
        log.flush().unwrap();
        assert_eq!(text(disk.as_ref(), path.to_str().unwrap()), before);
    }
}

/// As Kafka: the log is served, and a reader goes on behind the gap.
#[test]
fn a_segment_missing_in_the_middle_is_a_gap() {
    for is_clean in [true, false] {
        let (world, bases, clean) = stopped();
        let disk = world.context.disk.clone();
        for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
            disk.remove_file(&segment_path(bases[1], kind, FileState::Live)).unwrap();
        }
        let before: Vec<_> = world.files();
        let mut log = world.open(Recovery { clean: is_clean, ..clean }).unwrap();
        assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), Offset(120)));
        let slice = read(&mut log, Offset(bases[1]), Offset(120), 100);
        assert_eq!(slice.start.get(), bases[2], "the first record behind the gap");
        log.append_as_leader(vec![batch(99, 10, 0)], LeaderEpoch(0), ms(0)).unwrap();
        assert_eq!(log.end_offset(), Offset(130));
        for name in before.iter().filter(|name| name.ends_with(".log")) {
            assert!(world.files().contains(name), "{name} is gone");
        }
    }
}

/// What a kill leaves of a log that was flushed is not read: headers are enough to make the indexes anew.
#[test]
fn recovery_reads_headers_below_the_recovery_point_and_checks_what_is_past_it() {
    let mut world = World::new(1);
    world.settings.index_interval_bytes = 200;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for tag in 0..200 {
        log.append_as_leader(vec![batch(tag, 10, 0)], LeaderEpoch(0), ms(0)).unwrap();
    }
    log.flush().unwrap();
    let flushed = log.recovery_point();
    for tag in 200..300 {
        log.append_as_leader(vec![batch(tag, 10, 0)], LeaderEpoch(0), ms(0)).unwrap();
    }
    drop(log);
    let path = segment_path(0, FileKind::Log, FileState::Live);
    let good = read_file(world.context.disk.as_ref(), &path, 1 << 20).unwrap().unwrap();
    let recovery = Recovery { clean: false, recovery_point: flushed, log_start: Offset::ZERO };
    let open = |damaged_record: usize| {
        let mut bytes = good.clone();
        let value = format!("value {damaged_record}/3");
        let at = bytes.windows(value.len()).position(|found| found == value.as_bytes()).unwrap();
        bytes[at] ^= 1;
        put(world.context.disk.as_ref(), &path, &bytes);
        world.open(recovery).unwrap().end_offset()
    };
    assert_eq!(open(250), Offset(2500), "what was never flushed is checked, and cut where it is not right");
    assert_eq!(open(50), Offset(3000), "what was flushed is for its readers to check");
    let mut log = world.open(Recovery { recovery_point: Offset::ZERO, ..recovery }).unwrap();
    assert_eq!(log.end_offset(), Offset(500), "without a recovery point everything is checked");
    log.append_as_leader(vec![batch(7, 10, 0)], LeaderEpoch(0), ms(0)).unwrap();
    assert_eq!(read_all(&mut log).len(), 51);
}

/// A log that was opened and not changed stores nothing when it is let go, and is whole when it is opened again.
#[test]
fn a_log_that_was_only_looked_at_is_left_as_it_was() {
    let (world, _, clean) = stopped();
    let operations = world.disk.operations();
    let closed = world.open(clean).unwrap().leave().unwrap();
    assert_eq!(world.disk.operations(), operations, "nothing is written");
    assert_eq!(closed.recovery_point, Offset(120));
    let unclean = Recovery { clean: false, ..clean };
    let mut log = world.open(unclean).unwrap();
    log.flush().unwrap();
    let closed = log.leave().unwrap();
    let mut log = world.open(Recovery::of_closed(closed)).unwrap();
    assert_eq!((read_all(&mut log).len(), log.end_offset()), (12, Offset(120)));
    log.append_as_leader(vec![batch(99, 10, 0)], LeaderEpoch(0), ms(0)).unwrap();
    let closed = log.leave().unwrap();
    assert_eq!(closed.recovery_point, Offset(130), "what was appended is stored");
    world.disk.crash(3);
    let mut log = world.open(Recovery::of_closed(closed)).unwrap();
    assert_eq!(read_all(&mut log).len(), 13);
}

#[test]
fn a_start_behind_the_end_starts_over() {
    let (world, _, clean) = stopped();
    let mut log = world.open(Recovery { log_start: Offset(500), ..clean }).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(500), Offset(500)));
    let appended = log.append_as_leader(vec![batch(1, 1, 0)], LeaderEpoch(1), ms(0)).unwrap();
    assert_eq!(appended.first, Offset(500));
}

#[test]
fn old_formats_are_read() {
    let world = World::new(1);
    // A message of format 1, as a broker of 0.10 wrote it: offset 5, timestamp 777, no key, value "v".
    let mut body = vec![1, 0];
    body.extend(777i64.to_be_bytes());
    body.extend((-1i32).to_be_bytes());
    body.extend([0, 0, 0, 1, b'v']);
    let mut message = crc32fast::hash(&body).to_be_bytes().to_vec();
    message.extend(body);
    let mut entry = 5i64.to_be_bytes().to_vec();
    entry.extend((message.len() as i32).to_be_bytes());
    entry.extend(message);
    put(world.context.disk.as_ref(), segment_path(0, FileKind::Log, FileState::Live), &entry);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    assert_eq!(log.end_offset(), Offset(6));
    let slice = read(&mut log, Offset(0), Offset(6), 1000);
    assert_eq!(joined(&slice), entry);
    let found = log.offset_for_timestamp(ms(700), Offset(6)).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(5), ms(777)));
    log.append_as_leader(vec![batch(1, 1, 800)], LeaderEpoch(0), ms(0)).unwrap();
    assert_eq!(log.end_offset(), Offset(7));
}

/// A folder that says whose it is says so after a power cut too, whatever was above it, and however an earlier start was killed.
#[test]
fn a_formatted_folder_and_those_above_it_survive() {
    let path = Path::new("/srv/dohle/data");
    let meta = MetaProperties {
        cluster_id: "c".to_owned(),
        node_id: NodeId(1),
        directory_id: Some(Uuid::from_u128(7)),
    };
    let format = |disk: &Arc<dyn Disk>| LogDir::open(disk, path)?.write_meta(meta.clone());
    let operations = {
        let (sim, disk) = simulated();
        format(&disk).unwrap();
        sim.operations()
    };
    for killed_at in 0..operations {
        for seed in 0..8 {
            let (sim, disk) = simulated();
            sim.fail_at(killed_at, Fault::Crash);
            assert!(format(&disk).is_err());
            sim.kill();
            format(&disk).unwrap();
            sim.crash(seed);
            let found = LogDir::open(&disk, path);
            let found =
                found.unwrap_or_else(|error| panic!("killed at {killed_at}, power cut {seed}: {error}"));
            assert_eq!(found.meta(), Some(&meta), "killed at {killed_at}, power cut {seed}");
        }
    }
}
