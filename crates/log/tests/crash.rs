//! Crashes at every operation of generated workloads.
//!
//! A workload is run once to count the operations on the disk, and then once for each of them with the power going at that
//! very operation. What comes back is held against what had been acknowledged.

mod support;

use std::collections::BTreeSet;

use dohle_env::disk::{Fault, Lie, SimDisk};
use dohle_log::{Log, Recovery};
use dohle_types::*;
use support::workload::{Workload, identity};
use support::*;

/// Crashes a workload at one operation, or after its end.
fn crash_at(seed: u64, operation: u64, lie: Option<Lie>) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    disk.lie(lie);
    disk.fail_at(operation, Fault::Crash);
    let mut workload = Workload::new(seed, disk.clone());
    workload.run();
    workload.stop();
    disk.crash(seed ^ operation.wrapping_mul(0x9e37_79b9));
    workload.check_crashed_twice(seed ^ operation)
}

fn operations_of(seed: u64) -> u64 {
    let disk = SimDisk::new(seed);
    let mut workload = Workload::new(seed, disk.clone());
    assert!(workload.run(), "nothing fails unasked");
    disk.operations()
}

/// Lets one operation fail; the process stops there, and then the power goes or stays.
fn fail_at(seed: u64, operation: u64, fault: Fault) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    disk.fail_at(operation, fault);
    let mut workload = Workload::new(seed, disk.clone());
    workload.run();
    workload.stop();
    if operation.is_multiple_of(2) {
        disk.crash(seed ^ operation);
    } else {
        disk.kill();
    }
    workload.check_crashed_twice(seed ^ operation)
}

/// How many crash points are tried: `DOHLE_CRASH_POINTS`, or a number that takes some seconds.
fn wanted_points() -> u64 {
    std::env::var("DOHLE_CRASH_POINTS").ok().and_then(|points| points.parse().ok()).unwrap_or(4000)
}

#[test]
fn nothing_acknowledged_is_lost_at_any_crash_point() {
    let (mut points, mut seed) = (0, 0);
    while points < wanted_points() {
        let operations = operations_of(seed);
        for operation in 0..=operations {
            if let Err(broken) = crash_at(seed, operation, None) {
                panic!("seed {seed}, crashed at operation {operation} of {operations}: {broken}");
            }
        }
        points += operations + 1;
        seed += 1;
    }
    println!("{points} crash points in {seed} workloads");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_disk_fails_or_is_full() {
    for seed in 0..3 {
        for operation in 0..operations_of(seed) {
            for fault in [Fault::Io, Fault::Full] {
                if let Err(broken) = fail_at(seed, operation, fault) {
                    panic!("seed {seed}, {fault:?} at operation {operation}: {broken}");
                }
            }
        }
    }
}

/// A process is started again on the page cache that the one before it has left, goes on for a while, and then the power goes.
fn restart_and_crash(seed: u64, operation: u64, fault: Fault) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    disk.fail_at(operation, fault);
    let mut workload = Workload::new(seed, disk.clone());
    workload.run();
    workload.stop();
    disk.kill();
    let mut random = seed ^ operation.wrapping_mul(0x9e37_79b9);
    workload.restart(random % 12)?;
    random = random.rotate_right(17);
    workload.stop();
    disk.crash(random);
    workload.check_crashed_twice(random)
}

#[test]
fn nothing_acknowledged_is_lost_after_a_crash_point_that_the_page_cache_outlived() {
    let (mut points, mut seed) = (0, 0);
    while points < wanted_points() / 2 {
        let operations = operations_of(seed);
        for operation in 0..operations {
            for fault in [Fault::Crash, Fault::Io, Fault::Full] {
                if let Err(broken) = restart_and_crash(seed, operation, fault) {
                    panic!("seed {seed}, {fault:?} at operation {operation} of {operations}: {broken}");
                }
            }
        }
        points += 3 * operations;
        seed += 1;
    }
    println!("{points} crash points in {seed} workloads");
}

/// The negative control: a disk that only pretends to sync must be noticed.
#[test]
fn a_sync_left_out_is_noticed() {
    for lie in [Lie::Data, Lie::Names] {
        let noticed = (0..20).any(|seed| {
            let operations = operations_of(seed);
            (0..=operations).step_by(7).any(|operation| crash_at(seed, operation, Some(lie)).is_err())
        });
        assert!(noticed, "{lie:?}");
    }
}

#[test]
fn one_seed_is_one_run() {
    let trace = |seed| {
        let disk = SimDisk::new(seed);
        disk.fail_at(100, Fault::Crash);
        let mut workload = Workload::new(seed, disk.clone());
        workload.run();
        workload.stop();
        disk.crash(seed);
        workload.world = workload.world.in_another_life(disk);
        let mut log = workload.reopened().unwrap();
        read_all(&mut log).iter().map(identity).collect::<Vec<_>>()
    };
    for seed in 0..5 {
        assert_eq!(trace(seed), trace(seed));
    }
}

/// A snapshot of the producers whose flush failed looks stored. Once its segment has gone, nothing else remembers them.
#[test]
fn producers_are_remembered_after_a_crash_point_between_their_snapshot_and_its_flush() {
    for operation in 0..12 {
        let mut world = World::new(operation);
        (world.settings.segment_bytes, world.settings.retention_ms) = (250, None);
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        log.append_as_leader(vec![producer_batch(1, 3, 1000, 7, 0, 0)], LeaderEpoch(0), ms(1000)).unwrap();
        let flushed = log.flush().unwrap().up_to();
        log.append_as_leader(vec![batch(2, 6, 1000)], LeaderEpoch(0), ms(1000)).unwrap();
        world.disk.fail_at(world.disk.operations() + operation, Fault::Io);
        _ = log.flush();
        drop(log);
        world.disk.kill();
        world.settings.retention_bytes = Some(100);
        let found = Recovery { clean: false, recovery_point: flushed, log_start: Offset::ZERO };
        let mut log = world.open(found).unwrap();
        let end = log.flush().unwrap().up_to();
        let cleanup =
            log.maintain(ms(2000), HighWatermark(end)).unwrap().cleanup.expect("the first segment goes");
        cleanup.run(&mut || true).map(drop).unwrap();
        drop(log);
        world.disk.crash(operation);
        let log = world.open(Recovery { recovery_point: end, ..found }).unwrap();
        let known: Vec<_> = log.producers().map(|info| info.producer_id.get()).collect();
        assert_eq!(
            (log.end_offset(), known),
            (end, vec![7]),
            "the flush failed at its operation {operation}"
        );
    }
}

/// Kills the process at one operation of a truncation to `cut`, lets the next one store what it finds, and takes the power, with a
/// batch appended or not. Whether the truncation had ended before.
fn cut_and_crash((cut, recovery_point): (Offset, Offset), operation: u64, appends: bool, seed: u64) -> bool {
    let mut world = World::new(seed);
    world.settings.segment_bytes = 500;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for tag in 0..9 {
        let batch = producer_batch(tag, 3, 1000, tag as i64, 0, 0);
        log.append_as_leader(vec![batch], LeaderEpoch(0), ms(1000)).unwrap();
        _ = log.flush().unwrap();
    }
    world.disk.fail_at(world.disk.operations() + operation, Fault::Crash);
    let is_cut = log.truncate_to(cut, ms(1000)).is_ok();
    drop(log);
    world.disk.kill();
    let found = Recovery { clean: false, recovery_point, log_start: Offset::ZERO };
    let mut log = world.open(found).unwrap();
    _ = log.flush().unwrap();
    if appends {
        let batch = producer_batch(20, 4, 1000, 20, 0, 0);
        log.append_as_leader(vec![batch], LeaderEpoch(0), ms(1000)).unwrap();
        _ = log.flush().unwrap();
    }
    let of = |log: &mut Log| -> (Vec<_>, Vec<_>) {
        (read_all(log).iter().map(identity).collect(), log.producers().collect())
    };
    let (stored, next) = (of(&mut log), log.recovery_point());
    drop(log);
    world.disk.crash(seed);
    let mut log = world.open(Recovery { recovery_point: next, ..found }).unwrap();
    let case =
        format!("cut at {cut}, recovery point {recovery_point}, operation {operation}, appends {appends}");
    assert_eq!(of(&mut log), stored, "{case}");
    is_cut
}

/// The page cache has a segment shorter than the device, and fewer names. What the next process has stored has to stay.
#[test]
fn what_was_cut_before_a_crash_point_does_not_come_back_behind_what_was_stored_since() {
    for (cut, recovery_point) in [(9, 27), (9, 9), (12, 12), (15, 15), (18, 18), (21, 24), (24, 24)] {
        for appends in [false, true] {
            let offsets = (Offset(cut), Offset(recovery_point));
            let is_whole = |operation: &u64| {
                (0..8).filter(|seed| cut_and_crash(offsets, *operation, appends, *seed)).count() == 8
            };
            let operations = (0..60).find(is_whole).expect("a truncation has fewer operations");
            assert!(operations >= 3, "{operations}");
        }
    }
}

/// A snapshot that a stop has left beyond a cut knows producers whose records are gone. When the log has grown past it again, stored or
/// not, nothing but its removal tells it from one of its own.
#[test]
fn producers_beyond_a_cut_are_forgotten_at_a_crash_point_after_the_log_has_grown_again() {
    for (seed, is_stored) in (0..64).flat_map(|seed| [(seed, false), (seed, true)]) {
        let world = World::new(seed);
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        let append = |log: &mut Log, id: i64| {
            let batch = producer_batch(id as u64, 3, 1000, id, 0, 0);
            log.append_as_leader(vec![batch], LeaderEpoch(0), ms(1000)).unwrap();
        };
        (0..6).for_each(|id| append(&mut log, id));
        let closed = log.close().unwrap();
        let mut log = world.open(Recovery::of_closed(closed)).unwrap();
        log.truncate_to(Offset(9), ms(1000)).unwrap();
        (10..14).for_each(|id| append(&mut log, id));
        if is_stored {
            _ = log.flush().unwrap();
        }
        let recovery_point = log.recovery_point();
        drop(log);
        world.disk.crash(seed);
        let found = Recovery { clean: false, recovery_point, log_start: Offset::ZERO };
        let mut log = world.open(found).unwrap();
        // Where the log is cut once more it goes by the newest snapshot that is left.
        log.truncate_to(Offset(18), ms(1000)).unwrap();
        let written: BTreeSet<_> = read_all(&mut log).iter().map(|batch| batch.header.producer_id).collect();
        let known: BTreeSet<_> = log.producers().map(|info| info.producer_id).collect();
        assert_eq!(known, written, "seed {seed}, stored: {is_stored}");
    }
}
