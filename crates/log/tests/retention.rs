//! What retention leaves behind when the power goes in the middle of it: nothing of a segment that went comes back in part, and nothing that stays
//! loses what belongs to it.

mod support;

use std::collections::BTreeSet;

use dohle_env::Disk;
use dohle_env::disk::{Fault, OpenMode, SimDisk};
use dohle_log::names::{FileKind, FileState, file_name, parse_file_name};
use dohle_log::{Log, LogError, Recovery, due_at_a_glance};
use dohle_records::control::EndTransaction;
use dohle_types::*;
use support::*;

const EPOCH: LeaderEpoch = LeaderEpoch(0);
const LATE: TimestampMs = TimestampMs(10 * DAY_MS);

fn world(disk: SimDisk) -> World {
    let mut world = World::on(disk);
    world.settings.segment_bytes = 700;
    world.settings.index_interval_bytes = 100;
    world.settings.file_delete_delay_ms = 50;
    world
}

/// A log of several segments, an aborted transaction in each, all stored and stopped cleanly. Gives where it ends.
fn fill(world: &World) -> Offset {
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    let (mut tag, mut sequence) = (0, 0);
    while log.segments().len() < 6 {
        let batches = vec![transactional_batch(tag, 2, 1000, 7, 0, sequence), batch(tag + 1, 3, 1000)];
        log.append_as_leader(batches, EPOCH, ms(1000)).unwrap();
        let end = EndTransaction { committed: false, coordinator_epoch: 0 };
        let marker = end.to_batch(ProducerId(7), ProducerEpoch(0), ms(1000), Offset::ZERO, EPOCH);
        log.append_as_coordinator(vec![marker], EPOCH, 1, ms(1000)).unwrap();
        (tag, sequence) = (tag + 2, sequence + 2);
    }
    log.close().unwrap().recovery_point
}

/// Lets the first three segments go by size, to the end or until the disk fails.
fn let_three_go(world: &World, end: Offset) -> Result<(), LogError> {
    let mut log = world.open(Recovery { clean: true, recovery_point: end, log_start: Offset::ZERO })?;
    let size: u64 = log.segments().iter().skip(3).map(|segment| segment.size).sum();
    let mut settings = world.settings.clone();
    settings.retention_bytes = Some(size);
    log.set_settings(std::sync::Arc::new(settings));
    for now in [ms(2000), ms(3000)] {
        let cleanup = log.maintain(now, HighWatermark(end))?.cleanup.expect("segments are due");
        log.finish_cleanup(cleanup.run(&mut || true), now)?;
    }
    log.close().map(drop)
}

/// Each file of the folder that belongs to a segment.
fn files(world: &World) -> BTreeSet<(Offset, FileKind, bool)> {
    let names = world.files();
    let parsed = names.iter().filter_map(|name| parse_file_name(name));
    parsed.map(|(base, kind, state)| (base, kind, state == FileState::Live)).collect()
}

/// The aborted transactions from the start of the log on, by where they begin.
fn aborted(log: &mut Log) -> Vec<Offset> {
    let (start, end) = (log.start_offset(), log.end_offset());
    let search = log.search_aborted(start, end);
    let found = log.finish_aborted(search.run().unwrap());
    found.iter().map(|aborted| aborted.first_offset).collect()
}

#[test]
fn a_segment_goes_as_a_whole_wherever_the_power_goes() {
    let disk = SimDisk::new(1);
    let end = fill(&world(disk.clone()));
    let before = disk.operations();
    let whole = world(disk.fork());
    let all = {
        let mut log =
            whole.open(Recovery { clean: true, recovery_point: end, log_start: Offset::ZERO }).unwrap();
        aborted(&mut log)
    };
    let_three_go(&whole, end).expect("nothing fails");
    let operations = whole.disk.operations();
    assert!(operations - before > 30 && all.len() >= 6, "{before} {operations} {all:?}");
    let (mut bases, mut leftovers) = (BTreeSet::new(), 0);
    for operation in before..=operations {
        for seed in 0..4 {
            let disk = disk.fork();
            disk.fail_at(operation, Fault::Crash);
            let stopped = let_three_go(&world(disk.clone()), end).is_err();
            assert_eq!(stopped, operation < operations);
            disk.crash(seed);
            let world = world(disk);
            let place = || format!("crash at operation {operation}, seed {seed}");
            leftovers += usize::from(files(&world).iter().any(|(_, _, live)| !live));
            let mut log =
                world.open(Recovery { clean: false, recovery_point: end, log_start: Offset::ZERO }).unwrap();
            let (start, found) = (log.start_offset(), aborted(&mut log));
            assert_eq!(log.end_offset(), end, "{}", place());
            let expected: Vec<Offset> = all.iter().copied().filter(|first| *first >= start).collect();
            assert_eq!(found, expected, "{}: aborted records of a segment that stays are named", place());
            assert_eq!(read_all(&mut log)[0].header.base_offset, start, "{}", place());
            bases.insert(start);
            let segments: Vec<Offset> = log.segments().iter().map(|segment| segment.base_offset).collect();
            log.close().unwrap();
            for (base, kind, live) in files(&world) {
                assert!(live, "{}: {base}.{} is left over", place(), kind.suffix());
                let orphan = kind != FileKind::ProducerSnapshot && !segments.contains(&base);
                assert!(!orphan, "{}: {base}.{} has no log", place(), kind.suffix());
            }
            for base in &segments[..segments.len() - 1] {
                for kind in [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex] {
                    let name = (*base, kind, true);
                    assert!(files(&world).contains(&name), "{}: {base} has no {}", place(), kind.suffix());
                }
            }
        }
    }
    assert!(bases.len() == 4 && leftovers > 20, "{bases:?} {leftovers}");
}

/// Where a log starts: where its checkpoint says, if that lies in it; never before its first segment, and never after its end.
#[test]
fn the_start_is_the_later_of_checkpoint_and_first_segment() {
    let disk = SimDisk::new(1);
    let end = fill(&world(disk.clone()));
    let_three_go(&world(disk.clone()), end).expect("nothing fails");
    let first = {
        let log =
            world(disk.fork()).open(Recovery { clean: false, recovery_point: end, log_start: Offset::ZERO });
        log.unwrap().start_offset()
    };
    assert!(first > Offset::ZERO);
    for clean in [true, false] {
        for (checkpoint, start) in [
            (Offset::ZERO, first),
            (first.plus(-1), first),
            (first, first),
            (first.plus(4), first.plus(4)),
            (end, end),
        ] {
            let world = world(disk.fork());
            let mut log = world.open(Recovery { clean, recovery_point: end, log_start: checkpoint }).unwrap();
            assert_eq!((log.start_offset(), log.end_offset()), (start, end), "clean {clean}, {checkpoint}");
            // A read below it is refused, though the bytes may be there still.
            assert!(log.read(start.plus(-1), end, 1000, true).is_err());
        }
    }
}

/// What is written now is never let go with what is old; and when all is old, the offsets go on where they were.
#[test]
fn the_active_segment_goes_only_when_all_of_it_is_due() {
    let world = world(SimDisk::new(1));
    let end = fill(&world);
    let mut settings = world.settings.clone();
    settings.retention_ms = Some(1000);
    let open = |log_start| {
        let mut log = world.open(Recovery { clean: true, recovery_point: end, log_start }).unwrap();
        log.set_settings(std::sync::Arc::new(settings.clone()));
        log
    };
    let mut log = open(Offset::ZERO);
    // A single young record keeps the segment it is in, and that one only.
    log.append_as_leader(vec![batch(90, 1, LATE.get())], EPOCH, LATE).unwrap();
    let active = log.segments().last().expect("it is open").base_offset;
    log.flush().unwrap();
    let last = log.end_offset();
    let cleaned =
        log.maintain(LATE, HighWatermark(last)).unwrap().cleanup.expect("old ones are due").run(&mut || true);
    log.finish_cleanup(cleaned, LATE).unwrap();
    assert_eq!((log.start_offset(), log.end_offset(), log.segments().len()), (active, last, 1));
    // Not read by everybody yet: it stays, however old it is.
    let later = ms(LATE.get() + 2000);
    drop(log);
    let mut log = open(Offset::ZERO);
    _ = log.maintain(later, HighWatermark(last.plus(-1))).unwrap();
    assert_eq!(log.start_offset(), active);
    // Not stored yet either.
    log.append_as_leader(vec![batch(91, 1, LATE.get())], EPOCH, LATE).unwrap();
    _ = log.maintain(later, HighWatermark(last.next())).unwrap();
    assert_eq!(log.start_offset(), active);
    log.flush().unwrap();
    let end = log.end_offset();
    for _ in 0..2 {
        if let Some(cleanup) = log.maintain(later, HighWatermark(end)).unwrap().cleanup {
            log.finish_cleanup(cleanup.run(&mut || true), later).unwrap();
        }
        log.flush().unwrap();
    }
    assert_eq!((log.start_offset(), log.end_offset(), log.segments().len()), (end, end, 1));
    log.append_as_leader(vec![batch(92, 1, later.get())], EPOCH, later).unwrap();
    log.flush().unwrap();
    drop(log);
    world.disk.crash(3);
    let log = world.open(Recovery { clean: false, recovery_point: end, log_start: Offset::ZERO }).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (end, end.next()));
}

/// What is told of a log without opening it is never later than what opening it finds.
#[test]
fn a_glance_is_never_late() {
    let (mut never, mut later, mut at_once, mut both) = (0, 0, 0, 0);
    for seed in 0..200_u64 {
        let mut draw = draws(seed);
        let mut world = world(SimDisk::new(seed));
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        for tag in 0..draw(8) {
            let timestamp = [-1, 0, 1000, 5000, DAY_MS][draw(5) as usize];
            log.append_as_leader(vec![batch(tag, 3, timestamp)], EPOCH, ms(1000)).unwrap();
        }
        if draw(4) == 0 {
            let end = log.end_offset();
            log.delete_records_before(Offset(draw(end.get() as u64 + 1) as i64), HighWatermark(end)).unwrap();
        }
        let start = log.start_offset();
        let end = log.close().unwrap().recovery_point;
        world.settings.retention_ms = [None, Some(0), Some(3000)][draw(3) as usize];
        world.settings.retention_bytes = [None, Some(0), Some(900)][draw(3) as usize];
        let policy = draw(6);
        world.settings.cleanup_delete = policy > 0;
        world.settings.cleanup_compact = policy < 2;
        both += usize::from(policy == 1);
        let operations = world.disk.operations();
        let told = due_at_a_glance(&world.disk, &folder(), &world.settings, start).unwrap();
        assert_eq!(world.disk.operations(), operations, "nothing is changed");
        for now in [ms(0), ms(1001), ms(4001), ms(8001), ms(9000), ms(DAY_MS + 3002), LATE] {
            let other = world.in_another_life(world.disk.fork());
            let mut log =
                other.open(Recovery { clean: true, recovery_point: end, log_start: start }).unwrap();
            let segments = log.segments().len();
            let compactable = other.settings.cleanup_compact && segments > 1;
            let did = log.maintain(now, HighWatermark(end)).unwrap();
            let due = did.cleanup.is_some() || log.segments().len() < segments || compactable;
            assert!(!due || told <= now, "seed {seed}: due at {now}, told {told}");
        }
        match told {
            TimestampMs(0) => at_once += 1,
            TimestampMs(i64::MAX) => never += 1,
            _ => later += 1,
        }
    }
    assert!(never > 20 && later > 20 && at_once > 20 && both > 20, "{never} {later} {at_once} {both}");
}

#[test]
fn what_was_interrupted_is_due() {
    let world = world(SimDisk::new(1));
    fill(&world);
    let mut settings = world.settings.clone();
    (settings.retention_ms, settings.retention_bytes) = (None, None);
    let told = |world: &World| due_at_a_glance(&world.disk, &folder(), &settings, Offset::ZERO).unwrap();
    assert_eq!(told(&world), TimestampMs(i64::MAX));
    let path = |state| folder().join(file_name(Offset(3), FileKind::Log, state));
    for state in [FileState::Deleted, FileState::Cleaned, FileState::Swap] {
        world.disk.open(&path(state), OpenMode::Create).unwrap();
        assert_eq!(told(&world), TimestampMs(0), "{state:?}");
        world.disk.remove_file(&path(state)).unwrap();
    }
}

fn draws(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) % below
    }
}
