//! Offsets that lie far apart, as compaction leaves them: indexes hold them as distances from their segment's base, which end at `i32::MAX`. A batch
//! that reaches further begins another segment, as in Kafka (`LogSegment.shouldRoll`, `canConvertToRelativeOffset`).

mod support;

use dohle_log::{Log, Recovery, TailBudget};
use dohle_records::Batch;
use dohle_types::*;
use support::*;

/// The largest distance from a segment's base.
const REACH: i64 = i32::MAX as i64;

/// A batch of one record at an offset, or of several from there on.
fn batch_at(base: i64, records: usize) -> Batch {
    let mut batch = batch(base as u64, records, 1000);
    batch.header.base_offset = Offset(base);
    batch.header.leader_epoch = LeaderEpoch(0);
    batch
}

/// A world whose logs have gaps, and an index entry for each batch but the first of a segment.
fn world() -> World {
    let mut world = World::new(1);
    world.settings.cleanup_compact = true;
    world.settings.index_interval_bytes = 1;
    // What is read comes from the files.
    world.context.tail = TailBudget::new(0);
    world
}

fn follow(log: &mut Log, batches: &[(i64, usize)]) {
    let batches = batches.iter().map(|&(base, records)| batch_at(base, records)).collect();
    log.append_as_follower(batches, ms(1000)).unwrap();
}

fn bases(log: &Log) -> Vec<i64> {
    log.segments().iter().map(|segment| segment.base_offset.get()).collect()
}

/// Every batch is found from the end of the one before it, which may lie in another segment, and by its own offsets.
fn check(log: &mut Log, expected: &[(i64, usize)]) {
    let found: Vec<_> = read_all(log).iter().map(|batch| batch.header).collect();
    let bounds = |base: i64, records: usize| (Offset(base), Offset(base + records as i64 - 1));
    let wanted: Vec<_> = expected.iter().map(|&(base, records)| bounds(base, records)).collect();
    assert_eq!(
        found.iter().map(|header| (header.base_offset, header.last_offset())).collect::<Vec<_>>(),
        wanted
    );
    let mut before = log.start_offset();
    for (first, last) in wanted {
        for from in [before, first, last] {
            assert_eq!(read(log, from, log.end_offset(), 1).start, first, "asked for {from}");
        }
        before = last.next();
    }
}

/// Opens the log again, as it was closed and as a crash has left it, and holds it against what was flushed.
fn check_reopened(world: &World, log: Log, expected: &[(i64, usize)]) {
    let (segments, end) = (bases(&log), log.end_offset());
    let closed = log.close().unwrap();
    let mut log = world.open(Recovery::of_closed(closed)).unwrap();
    assert_eq!((bases(&log), log.end_offset()), (segments.clone(), end));
    check(&mut log, expected);
    drop(log);
    for recovery_point in [end, Offset(1), Offset::ZERO] {
        world.disk.crash(7);
        let found = Recovery { clean: false, recovery_point, log_start: Offset::ZERO };
        let mut log = world.open(found).unwrap();
        assert_eq!((bases(&log), log.end_offset()), (segments.clone(), end), "from {recovery_point}");
        check(&mut log, expected);
    }
}

#[test]
fn a_batch_that_its_segment_does_not_reach_begins_another() {
    for (second, segments, after) in [
        // The last offset that is reached, by follower and leader; what comes next begins at the end of the log.
        ((REACH - 2, 1), vec![0], vec![0]),
        ((REACH - 1, 1), vec![0], vec![0, REACH]),
        ((REACH, 1), vec![0], vec![0, REACH + 1]),
        ((REACH - 1, 2), vec![0], vec![0, REACH + 1]),
        ((REACH, 2), vec![0, 1], vec![0, 1, REACH + 2]),
        ((REACH + 1, 1), vec![0, 1], vec![0, 1, REACH + 2]),
        // Too far from the end of the log as well: it begins where the batch does.
        ((REACH + 2, 1), vec![0, REACH + 2], vec![0, REACH + 2]),
        ((REACH + 1, 3), vec![0, REACH + 1], vec![0, REACH + 1]),
        ((1 << 40, 5), vec![0, 1 << 40], vec![0, 1 << 40]),
    ] {
        let world = world();
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        follow(&mut log, &[(0, 1)]);
        follow(&mut log, &[second]);
        assert_eq!(bases(&log), segments, "{second:?}");
        check(&mut log, &[(0, 1), second]);
        let next = second.0 + second.1 as i64;
        log.append_as_leader(vec![batch(9, 2, 1000)], LeaderEpoch(0), ms(1000)).unwrap();
        assert_eq!(bases(&log), after, "{second:?} and two more");
        let whole = [(0, 1), second, (next, 2)];
        check(&mut log, &whole);
        assert_eq!(log.flush().unwrap().up_to(), Offset(next + 2));
        check_reopened(&world, log, &whole);
    }
}

/// Also where nobody has written to it since it was opened, and where it is empty.
#[test]
fn a_segment_that_was_there_before_reaches_no_further() {
    let world = world();
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    follow(&mut log, &[(0, 1), (REACH - 1, 1)]);
    let mut log = world.open(Recovery::of_closed(log.close().unwrap())).unwrap();
    log.append_as_leader(vec![batch(9, 2, 1000)], LeaderEpoch(0), ms(1000)).unwrap();
    assert_eq!(bases(&log), [0, REACH]);
    log.reset_to(Offset(5)).unwrap();
    follow(&mut log, &[(6 + REACH, 2)]);
    assert_eq!(bases(&log), [6 + REACH]);
    assert_eq!(log.start_offset(), Offset(5));
    check(&mut log, &[(6 + REACH, 2)]);
    _ = log.flush().unwrap();
    let logs = world.files().into_iter().filter(|name| name.ends_with(".log")).count();
    assert_eq!(logs, 1, "the empty one left no file: {:?}", world.files());
}

#[test]
fn batches_of_one_append_may_lie_further_apart_than_a_segment_reaches() {
    let world = world();
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    let whole = [(0, 1), (REACH, 1), (REACH + 1, 2), (1 << 40, 3), ((1 << 40) + 3, 1), (1 << 41, 1)];
    let batches = whole.iter().map(|&(base, records)| batch_at(base, records)).collect();
    let appended = log.append_as_follower(batches, ms(1000)).unwrap();
    assert_eq!((appended.first, appended.last), (Offset(0), Offset(1 << 41)));
    assert_eq!(bases(&log), [0, REACH + 1, 1 << 40, 1 << 41]);
    check(&mut log, &whole);
    _ = log.flush().unwrap();
    // A snapshot of the producers stands before each segment, and nowhere else.
    let snapshots = world.files().into_iter().filter(|name| name.ends_with(".snapshot")).count();
    assert_eq!(snapshots, 3, "{:?}", world.files());
    check_reopened(&world, log, &whole);
}
