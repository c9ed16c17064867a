//! Crashes at every operation of generated workloads.
//!
//! A workload is run once to count the operations on the disk, and then once for each of them with the power going at that
//! very operation. What comes back is held against what had been acknowledged.

mod support;

use dohle_env::disk::{Fault, Lie, SimDisk};
use support::workload::{Workload, identity};
use support::*;

/// Crashes a workload at one operation, or after its end.
fn crash_at(seed: u64, operation: u64, lie: Option<Lie>) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    disk.lie(lie);
    disk.fail_at(operation, Fault::Crash);
    let mut workload = Workload::new(seed, disk.clone());
    workload.run();
    workload.log = None;
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
    workload.log = None;
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
        workload.log = None;
        disk.crash(seed);
        workload.world = workload.world.in_another_life(disk);
        let mut log = workload.world.open(workload.recovery(false)).unwrap();
        read_all(&mut log).iter().map(identity).collect::<Vec<_>>()
    };
    for seed in 0..5 {
        assert_eq!(trace(seed), trace(seed));
    }
}
