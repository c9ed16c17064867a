//! What a topic's settings do to its log: when segments end, when bytes are flushed, when records are too old.

mod support;

use std::time::Duration;

use dohle_config::Durability;
use dohle_log::{Log, Recovery};
use dohle_types::*;
use support::*;

const EPOCH: LeaderEpoch = LeaderEpoch(3);

fn append(log: &mut Log, timestamp: i64) {
    log.append_as_leader(vec![batch(7, 1, timestamp)], EPOCH, ms(timestamp.max(0))).unwrap();
}

#[test]
fn a_full_index_ends_its_segment() {
    // Places for 12 offsets; or for 8 times, of which the last is kept for the entry that ends a segment.
    for (segment_index_bytes, is_time_rising, most) in [(100, false, 12), (100, true, 8)] {
        let mut world = World::new(1);
        world.settings.segment_index_bytes = segment_index_bytes;
        world.settings.index_interval_bytes = 1;
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        for record in 0..100 {
            append(&mut log, if is_time_rising { 1000 + record } else { 1000 });
        }
        let bases: Vec<i64> = log.segments().iter().map(|segment| segment.base_offset.get()).collect();
        let records: Vec<i64> = bases.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(records.len() > 5, "{bases:?}");
        // The first batch of a segment has no entry.
        assert!(records.iter().all(|&count| (most - 1..=most + 1).contains(&count)), "{records:?}");
        assert_eq!(read_all(&mut log).len(), 100);
    }
}

#[test]
fn segments_end_after_a_time_less_a_jitter_of_their_own() {
    const ROLL_MS: i64 = 1000;
    const JITTER_MS: i64 = 400;
    let mut world = World::new(1);
    world.settings.segment_ms = ROLL_MS as u64;
    world.settings.segment_jitter_ms = JITTER_MS as u64;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    (0..20_000).step_by(10).for_each(|at| append(&mut log, at));
    let bases: Vec<i64> = log.segments().iter().map(|segment| segment.base_offset.get()).collect();
    let mut lengths: Vec<i64> = bases.windows(2).map(|pair| 10 * (pair[1] - pair[0])).collect();
    let shortest = ROLL_MS - JITTER_MS;
    assert!(lengths.iter().all(|length| (shortest..=ROLL_MS + 10).contains(length)), "{lengths:?}");
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 5, "they do not all end together: {lengths:?}");
}

#[test]
fn so_many_records_wait_for_a_flush() {
    let mut world = World::new(1);
    world.settings.durability = Durability::Replicated;
    world.settings.flush_messages = 3;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    log.flush().unwrap();
    for _ in 0..3 {
        append(&mut log, 1);
        append(&mut log, 2);
        assert!(!log.needs_flush());
        append(&mut log, 3);
        assert!(log.needs_flush());
        log.flush().unwrap();
        assert!(!log.needs_flush());
        assert_eq!(log.recovery_point(), log.end_offset());
    }
}

#[test]
fn records_wait_so_long_for_a_flush() {
    let mut world = World::new(1);
    world.settings.flush_ms = 250;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    append(&mut log, 1);
    assert_eq!(log.flush_within(), None, "it does not wait at all");
    world.settings.durability = Durability::Replicated;
    log.set_settings(world.settings.clone().into());
    assert_eq!(log.flush_within(), Some(Duration::from_millis(250)));
    log.flush().unwrap();
    assert_eq!(log.flush_within(), None);
    append(&mut log, 2);
    assert_eq!(log.flush_within(), Some(Duration::from_millis(250)));
    world.settings.flush_ms = i64::MAX;
    log.set_settings(world.settings.clone().into());
    assert_eq!(log.flush_within(), None);
}

/// Whether retention of a second would close or delete the only segment, of one record, at this time.
fn is_retired(world: &mut World, timestamp: i64, now: i64) -> bool {
    world.settings.retention_ms = Some(1000);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    append(&mut log, timestamp);
    log.flush().unwrap();
    log.has_retirable(ms(now), HighWatermark(log.end_offset())).unwrap()
}

#[test]
fn records_of_the_future_stay_until_they_are_old() {
    for (now, expected) in [(500_000, false), (1_001_000, false), (1_001_001, true)] {
        assert_eq!(is_retired(&mut World::new(1), 1_000_000, now), expected, "at {now}");
    }
}

#[test]
fn records_without_a_time_count_from_when_they_were_written() {
    let world = World::new(1);
    let written = {
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        append(&mut log, -1);
        log.flush().unwrap();
        let active = folder().join("00000000000000000000.log");
        world.context.disk.metadata(&active).unwrap().expect("it is there").modified.get()
    };
    for (after, expected) in [(1000, false), (1001, true)] {
        assert_eq!(is_retired(&mut World::new(1), -1, written + after), expected, "{after} ms after");
    }
}
