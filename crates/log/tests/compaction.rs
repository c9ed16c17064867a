//! Compacted logs: beside a plain record of all that was written, with crashes at every operation, and while others read.
//!
//! The check has to be able to fail: `cargo xtask crash --bugs` builds it with an order left out, one after the other.

mod support;

use std::sync::Arc;

use dohle_env::Rng;
use dohle_env::disk::{Fault, Lie, SimDisk};
use dohle_log::{CompactionError, KeyMap, Log, LogError, Read, Recovery, TailBudget};
use dohle_records::{Batch, BatchBuilder, Compression};
use dohle_types::*;
use support::compacted::Compacted;
use support::*;

const WORKLOADS: u64 = 30;
const STEPS: usize = 150;

/// How often what is interesting has happened.
#[derive(Default, Debug)]
struct Seen {
    compactions: u64,
    removed: u64,
    cancelled: u64,
    cuts: u64,
    deep_cuts: u64,
    moves: u64,
}

impl Seen {
    fn count(&mut self, workload: &Compacted) {
        self.compactions += workload.compactions;
        self.removed += workload.removed;
        self.cancelled += workload.cancelled;
        self.cuts += workload.cuts;
        self.deep_cuts += workload.deep_cuts;
        self.moves += workload.moves;
    }

    fn is_enough(&self) -> bool {
        let compacted = self.compactions > WORKLOADS * 3 && self.removed > WORKLOADS * 50;
        let went_back = self.cuts > WORKLOADS * 2 && self.deep_cuts > WORKLOADS / 3;
        compacted && went_back && self.moves > WORKLOADS && self.cancelled > WORKLOADS
    }
}

#[test]
fn a_compacted_log_keeps_the_latest_of_each_key() {
    let mut seen = Seen::default();
    for seed in 0..WORKLOADS {
        let mut workload = Compacted::new(seed, SimDisk::new(seed));
        workload.open(false).unwrap();
        for step in 0..STEPS {
            workload.step().unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
            let mut log = workload.log.take().unwrap();
            workload.check(&mut log).unwrap_or_else(|broken| panic!("seed {seed}, step {step}: {broken}"));
            workload.log = Some(log);
        }
        seen.count(&workload);
    }
    assert!(seen.is_enough(), "{seen:?}");
}

/// Crashes a workload at one operation, or after its end.
fn crash_at(seed: u64, operation: u64, lie: Option<Lie>) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    disk.lie(lie);
    disk.fail_at(operation, Fault::Crash);
    let mut workload = Compacted::new(seed, disk.clone());
    workload.run();
    workload.stop();
    disk.crash(seed ^ operation.wrapping_mul(0x9e37_79b9));
    workload.check_crashed_twice(seed ^ operation)
}

fn operations_of(seed: u64) -> u64 {
    let disk = SimDisk::new(seed);
    let mut workload = Compacted::new(seed, disk.clone());
    assert!(workload.run(), "nothing fails unasked");
    disk.operations()
}

/// How many crash points are tried, and of how many operations one: `DOHLE_CRASH_POINTS`, at every operation, or a number that takes some seconds
/// and is spread over more workloads.
fn wanted_points() -> (u64, usize) {
    let wanted = std::env::var("DOHLE_CRASH_POINTS").ok().and_then(|points| points.parse().ok());
    wanted.map_or((2500, 3), |points| (points, 1))
}

#[test]
fn the_latest_of_each_key_survives_any_crash_point() {
    let (mut points, mut seed) = (0, 0);
    let (wanted, each) = wanted_points();
    while points < wanted {
        let operations = operations_of(seed);
        for operation in (seed % each as u64..=operations).step_by(each) {
            if let Err(broken) = crash_at(seed, operation, None) {
                panic!("seed {seed}, crashed at operation {operation} of {operations}: {broken}");
            }
            points += 1;
        }
        seed += 1;
    }
    println!("{points} crash points in {seed} workloads");
}

#[test]
fn the_latest_of_each_key_survives_a_disk_that_fails_or_is_full() {
    for seed in 0..2 {
        for operation in 0..operations_of(seed) {
            for fault in [Fault::Io, Fault::Full] {
                let disk = SimDisk::new(seed);
                disk.fail_at(operation, fault);
                let mut workload = Compacted::new(seed, disk.clone());
                workload.run();
                workload.stop();
                if operation.is_multiple_of(2) {
                    disk.crash(seed ^ operation);
                } else {
                    disk.kill();
                }
                if let Err(broken) = workload.check_crashed_twice(seed ^ operation) {
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

fn small_world() -> World {
    let mut world = World::new(5);
    world.context.tail = TailBudget::new(0);
    world.settings.cleanup_compact = true;
    world.settings.cleanup_delete = false;
    world.settings.segment_bytes = 600;
    world.settings.file_delete_delay_ms = 50;
    world
}

fn keyed(key: &str, value: Option<&str>) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(ms(1000), Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    builder.build(Offset::ZERO, LeaderEpoch(0))
}

/// A log with some closed segments, all stored, of two keys by turns.
fn filled(world: &World) -> Log {
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for tag in 0..60 {
        let key = if tag % 2 == 0 { "a" } else { "b" };
        log.append_as_leader(vec![keyed(key, Some(&format!("value {tag}")))], LeaderEpoch(0), ms(1000))
            .unwrap();
    }
    let _stored = log.flush().unwrap();
    assert!(log.segments().len() > 4);
    log
}

fn map() -> KeyMap {
    KeyMap::new(1 << 20, 0.9, &Rng::seeded(1))
}

fn swap_all(log: &mut Log, compaction: &mut dohle_log::Compaction, map: &KeyMap) {
    while let Some(group) = compaction.next_group(map, &mut |_| {}).unwrap() {
        assert!(log.swap_in(group).is_ok());
        let swapped = log.start_swap().expect("nobody reads").run();
        log.finish_swap(swapped, ms(2000)).unwrap();
    }
}

#[test]
fn files_have_their_names_and_old_ones_go_after_their_delay() {
    let world = small_world();
    let mut log = filled(&world);
    let active = log.segments().last().unwrap().base_offset;
    let found = log.examine(None, HighWatermark(log.end_offset())).run(ms(2000)).unwrap();
    assert_eq!((found.first_dirty, found.first_uncleanable, found.ratio()), (Offset(0), active, 1.0));
    assert!(found.is_due() && !found.reset && !found.held_back);
    let mut compaction = log.start_compaction(Offset(0), active, ms(2000)).unwrap();
    assert!(log.start_compaction(Offset(0), active, ms(2000)).is_none(), "one at a time");
    let mut map = map();
    assert_eq!(compaction.map(&mut map, &mut |_| {}).unwrap(), active);
    let mut paced = 0;
    let before = log.size_in_bytes();
    while let Some(group) = compaction.next_group(&map, &mut |bytes| paced += bytes).unwrap() {
        assert!(log.swap_in(group).is_ok());
        let swapped = log.start_swap().expect("nobody reads").run();
        log.finish_swap(swapped, ms(2000)).unwrap();
    }
    assert!(paced >= compaction.counts().bytes_before && log.size_in_bytes() < before / 2);
    drop(compaction);
    let values: Vec<Offset> = read_all(&mut log).iter().map(|batch| batch.header.base_offset).collect();
    let closed: Vec<Offset> = values.iter().copied().filter(|offset| *offset < active).collect();
    assert_eq!(closed, [active.get() - 2, active.get() - 1].map(Offset));
    let names = world.files();
    assert!(names.iter().all(|name| !name.contains(".cleaned") && !name.contains(".swap")), "{names:?}");
    assert!(names.iter().any(|name| name.ends_with(".log.deleted")), "{names:?}");
    let maintenance = log.maintain(ms(2100), HighWatermark(log.end_offset())).unwrap();
    let cleaned = maintenance.cleanup.expect("old files are due").run(&mut || true);
    log.finish_cleanup(cleaned, ms(2100)).unwrap();
    assert!(world.files().iter().all(|name| !name.contains(".deleted")), "{:?}", world.files());
    let again = log.examine(Some(active), HighWatermark(log.end_offset())).run(ms(2000)).unwrap();
    assert_eq!((again.cleanable_bytes, again.is_due()), (0, false));
}

#[test]
fn a_reader_keeps_the_names_of_old_files() {
    let world = small_world();
    let log = filled(&world);
    let active = log.segments().last().unwrap().base_offset;
    let mut log = {
        // Closed and opened again: nothing is held open, and nothing is in memory.
        let closed = log.close().unwrap();
        world
            .open(Recovery { clean: true, recovery_point: closed.recovery_point, log_start: Offset(0) })
            .unwrap()
    };
    let mut compaction = log.start_compaction(Offset(0), active, ms(2000)).unwrap();
    let mut map = map();
    compaction.map(&mut map, &mut |_| {}).unwrap();
    world.disk.set_cold(true);
    let Read::Cold(read) = log.read(Offset(5), log.end_offset(), 300, true).unwrap() else {
        panic!("it is cold")
    };
    let search = log.search_timestamp(ms(1000), log.end_offset());
    world.disk.set_cold(false);
    let group = compaction.next_group(&map, &mut |_| {}).unwrap().unwrap();
    assert!(log.swap_in(group).is_ok());
    assert!(log.start_swap().is_none(), "a read was handed out");
    assert_eq!(
        read.run(&mut dohle_log::greedy).into_slice().unwrap().start,
        Offset(5),
        "what it was asked for"
    );
    assert!(log.start_swap().is_none(), "a search was handed out");
    assert_eq!(search.run().unwrap().unwrap().offset, Offset(0));
    // Who comes now reads the new segment, whatever its name is.
    world.disk.set_cold(true);
    let Read::Cold(read) = log.read(Offset(0), log.end_offset(), 300, true).unwrap() else {
        panic!("it is cold")
    };
    world.disk.set_cold(false);
    let swapped = log.start_swap().expect("a view of the new segment does not matter").run();
    log.finish_swap(swapped, ms(2000)).unwrap();
    assert!(
        read.run(&mut dohle_log::greedy).into_slice().unwrap().start > Offset(5),
        "the first record that is left"
    );
    swap_all(&mut log, &mut compaction, &map);
}

#[test]
fn truncation_cancels_and_waits_only_for_names() {
    let world = small_world();
    let mut log = filled(&world);
    let (active, end) = (log.segments().last().unwrap().base_offset, log.end_offset());
    let mut compaction = log.start_compaction(Offset(0), active, ms(2000)).unwrap();
    let mut map = map();
    compaction.map(&mut map, &mut |_| {}).unwrap();
    let group = compaction.next_group(&map, &mut |_| {}).unwrap().unwrap();
    log.truncate_to(Offset(end.get() - 1), ms(2000)).unwrap();
    let refused = log.swap_in(group).expect_err("it was cancelled");
    refused.discard().unwrap();
    assert!(matches!(compaction.next_group(&map, &mut |_| {}), Err(CompactionError::Cancelled)));
    assert!(world.files().iter().all(|name| !name.contains(".cleaned")), "{:?}", world.files());
    drop(compaction);
    let mut compaction = log.start_compaction(Offset(0), active, ms(2000)).unwrap();
    let mut map = self::map();
    compaction.map(&mut map, &mut |_| {}).unwrap();
    let group = compaction.next_group(&map, &mut |_| {}).unwrap().unwrap();
    assert!(log.swap_in(group).is_ok());
    assert!(matches!(log.truncate_to(Offset(3), ms(2000)), Err(LogError::Busy { .. })));
    let swapped = log.start_swap().unwrap().run();
    log.finish_swap(swapped, ms(2000)).unwrap();
    assert!(log.is_compacting());
    log.truncate_to(Offset(3), ms(2000)).unwrap();
    assert_eq!(log.end_offset(), Offset(3));
    drop(compaction);
    assert!(!log.is_compacting());
    let _closed = log.close().unwrap();
}

#[test]
fn retention_waits_and_deleted_records_are_not_brought_back() {
    let mut world = small_world();
    world.settings.cleanup_delete = true;
    let mut log = filled(&world);
    let (active, end) = (log.segments().last().unwrap().base_offset, log.end_offset());
    let mut compaction = log.start_compaction(Offset(0), active, ms(2000)).unwrap();
    let start = log.delete_records_before(Offset(50), HighWatermark(end)).unwrap();
    assert_eq!(start, Offset(50));
    let segments = log.segments().len();
    let maintenance = log.maintain(ms(2000), HighWatermark(end)).unwrap();
    assert!(maintenance.cleanup.is_none() && log.segments().len() == segments, "it waits");
    let mut map = map();
    compaction.map(&mut map, &mut |_| {}).unwrap();
    swap_all(&mut log, &mut compaction, &map);
    drop(compaction);
    let _maintenance = log.maintain(ms(2000), HighWatermark(end)).unwrap();
    assert!(log.segments().len() < segments);
    assert_eq!(log.start_offset(), Offset(50));
    let found = log.examine(Some(Offset(10)), HighWatermark(end)).run(ms(2000)).unwrap();
    assert!(found.reset && found.first_dirty == Offset(50), "{found:?}");
    let found = log.examine(Some(Offset(1000)), HighWatermark(end)).run(ms(2000)).unwrap();
    assert!(found.reset && found.first_dirty == Offset(50), "{found:?}");
}

#[test]
fn lags_bound_what_is_compacted() {
    let mut world = small_world();
    world.settings.min_compaction_lag_ms = 500;
    world.settings.min_cleanable_dirty_ratio = 1.0;
    let mut log = filled(&world);
    let (active, end) = (log.segments().last().unwrap().base_offset, log.end_offset());
    let examine = |log: &mut Log, now| log.examine(None, HighWatermark(end)).run(ms(now)).unwrap();
    let young = examine(&mut log, 1499);
    assert_eq!((young.first_uncleanable, young.cleanable_bytes, young.next), (Offset(0), 0, Some(ms(1500))));
    let ripe = examine(&mut log, 1500);
    assert_eq!((ripe.first_uncleanable, ripe.is_due()), (active, false), "a ratio of 1 is not more than 1");
    let mut settings = world.settings.clone();
    settings.max_compaction_lag_ms = 1000;
    log.set_settings(Arc::new(settings));
    let waiting = examine(&mut log, 2000);
    assert_eq!((waiting.overdue, waiting.is_due(), waiting.next), (false, false, Some(ms(2001))));
    assert!(examine(&mut log, 2001).is_due());
    let held = log.examine(None, HighWatermark(Offset(20))).run(ms(1500)).unwrap();
    assert!(held.held_back && held.first_uncleanable <= Offset(20) && held.cleanable_bytes > 0, "{held:?}");
}

#[test]
fn a_damaged_batch_stops_a_compaction_and_nothing_else() {
    let world = small_world();
    let mut log = filled(&world);
    let active = log.segments().last().unwrap().base_offset;
    let path = folder().join("00000000000000000000.log");
    world.disk.flip_bit(&path, 70, 3);
    let mut compaction = log.start_compaction(Offset(0), active, ms(2000)).unwrap();
    let error = compaction.map(&mut map(), &mut |_| {}).unwrap_err();
    assert!(
        matches!(&error, CompactionError::Damaged(what) if what.contains("00000000000000000000.log")),
        "{error}"
    );
    drop(compaction);
    assert!(log.failure().is_none());
    log.append_as_leader(vec![keyed("c", Some("1"))], LeaderEpoch(0), ms(1000)).unwrap();
    let _stored = log.flush().unwrap();
}

#[test]
fn a_segment_is_rolled_before_its_records_have_waited_too_long() {
    let mut world = small_world();
    world.settings.max_compaction_lag_ms = 100;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for (timestamp, segments) in [(1000, 1), (1100, 1), (1101, 2)] {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(ms(timestamp), Some(b"k"), Some(b"v"), &[]);
        let batch = builder.build(Offset::ZERO, LeaderEpoch(0));
        log.append_as_leader(vec![batch], LeaderEpoch(0), ms(timestamp)).unwrap();
        assert_eq!(log.segments().len(), segments, "{timestamp}");
    }
    assert!(log.take_rolled() && !log.take_rolled());
}

/// Figures, by hand: `cargo test --release -p dohle-log --test compaction -- --ignored --nocapture`. Writes 2 GB into `TMPDIR`.
#[test]
#[allow(clippy::disallowed_methods)] // measures real files in real time
#[ignore = "takes a minute and two gigabytes of disk"]
fn a_gigabyte_with_a_million_keys() {
    const BYTES: u64 = 1 << 30;
    const KEYS: u64 = 1_000_000;
    let cpu_ms = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
    };
    let root = std::env::temp_dir().join("dohle-compaction-figures");
    let mut world = small_world();
    world.context.disk = Arc::new(dohle_env::disk::RealDisk::new());
    world.settings.segment_bytes = 64 << 20;
    let settings = Arc::new(world.settings.clone());
    for codec in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let _old = std::fs::remove_dir_all(&root);
        let mut log = Log::create(&world.context, root.clone(), TOPIC, Arc::clone(&settings), ms(0)).unwrap();
        let (mut raw, mut n) = (0, 0_u64);
        while raw < BYTES {
            let mut builder = BatchBuilder::new(codec);
            for _ in 0..100 {
                n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let key = format!("user-{:012}", (n >> 20) % KEYS);
                let value: String =
                    (1..9).map(|nth| format!("{:020}", n.wrapping_mul(nth * 2 + 1))).collect();
                builder.append(ms(1000), Some(key.as_bytes()), Some(value.as_bytes()), &[]);
            }
            raw += builder.uncompressed_size();
            let batch = builder.build(Offset::ZERO, LeaderEpoch(0));
            log.append_as_leader(vec![batch], LeaderEpoch(0), ms(1000)).unwrap();
        }
        let _stored = log.flush().unwrap();
        let active = log.segments().last().unwrap().base_offset;
        let (before, cpu, began) = (log.size_in_bytes(), cpu_ms(), std::time::Instant::now());
        let mut map = KeyMap::new(128 << 20, 0.9, &Rng::real());
        let mut compaction = log.start_compaction(Offset(0), active, ms(2000)).unwrap();
        compaction.map(&mut map, &mut |_| {}).unwrap();
        let mapped = began.elapsed();
        swap_all(&mut log, &mut compaction, &map);
        let (took, counts) = (began.elapsed(), *compaction.counts());
        println!(
            "{}: {} MB uncompressed, {} MB in the log, {} MB after, {} keys, map {} MB; mapped after {mapped:.1?}, done after {took:.1?}, \
             CPU {} ms",
            codec.name(),
            raw >> 20,
            before >> 20,
            log.size_in_bytes() >> 20,
            map.len(),
            counts.map_memory_bytes >> 20,
            cpu_ms() - cpu
        );
    }
    std::fs::remove_dir_all(&root).unwrap();
}
