//! Records that stay in their file until they are sent.

mod support;

use std::io::ErrorKind;
use std::sync::Arc;

use dohle_env::Disk;
use dohle_log::names::{FileKind, FileState, file_name};
use dohle_log::{Deferred, Log, Read, Recovery, Slice, TailBudget};
use dohle_types::*;
use support::*;

const EPOCH: LeaderEpoch = LeaderEpoch(3);

/// Five batches of more than 16 KiB in a log that keeps nothing in memory.
fn large(world: &mut World) -> Log {
    world.context.tail = TailBudget::new(0);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for tag in 0..5 {
        log.append_as_leader(vec![batch(tag, 1000, 0)], EPOCH, ms(1000)).unwrap();
    }
    log
}

/// As many bytes in batches of ten records.
fn small(world: &mut World) -> Log {
    world.context.tail = TailBudget::new(0);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for tag in 0..500 {
        log.append_as_leader(vec![batch(tag, 10, 0)], EPOCH, ms(1000)).unwrap();
    }
    log
}

fn deferred(log: &mut Log, from: i64, up_to: i64, max_bytes: usize) -> (Slice, Option<Arc<Deferred>>) {
    let Read::Ready(slice) = log.read_or_defer(Offset(from), Offset(up_to), max_bytes, true, true).unwrap()
    else {
        panic!("nothing is cold")
    };
    let deferred = slice.deferred.clone();
    (slice, deferred)
}

#[test]
fn what_is_deferred_is_what_a_read_gives() {
    let mut log = large(&mut World::new(1));
    for (from, up_to, max_bytes) in [(0, 5000, 1 << 20), (1500, 4000, 1 << 20), (0, 5000, 70_000)] {
        let now = read(&mut log, Offset(from), Offset(up_to), max_bytes);
        let (slice, later) = deferred(&mut log, from, up_to, max_bytes);
        assert_eq!((slice.start, slice.end, slice.bytes), (now.start, now.end, now.bytes));
        let later = later.expect("large batches from a file are deferred");
        assert!(slice.chunks.is_empty() && later.size() == now.bytes);
        later.look(0, later.size()).unwrap();
        let mut bytes = Vec::new();
        while bytes.len() < later.size() {
            bytes.extend_from_slice(&later.fetch(bytes.len(), 10_000).unwrap());
        }
        assert_eq!(bytes, now.chunks.concat());
    }
    assert_eq!(deferred(&mut log, 0, 5000, 30_000).1, None, "so little is read at once");
    let mut small = small(&mut World::new(1));
    assert_eq!(deferred(&mut small, 0, 5000, 1 << 20).1, None, "batches are small");
}

/// The index in memory spares the walk from header to header; wherever it leads, the same batches are given.
#[test]
fn what_the_index_spares_is_what_a_walk_finds() {
    let mut world = World::new(2);
    world.context.tail = TailBudget::new(0);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for tag in 0..60u64 {
        let records = [600, 2500, 900, 10, 1400][tag as usize % 5];
        log.append_as_leader(vec![batch(tag, records, 0)], EPOCH, ms(1000)).unwrap();
    }
    let end = log.end_offset().get();
    let mut spared = 0;
    for from in (0..end).step_by(1777) {
        for max_bytes in [66_000, 150_000, 333_333, 1 << 20, 16 << 20] {
            for up_to in [end, end - 1, from + (end - from) / 2] {
                let now = read(&mut log, Offset(from), Offset(up_to), max_bytes);
                let (slice, later) = deferred(&mut log, from, up_to, max_bytes);
                assert_eq!(
                    (slice.start, slice.end, slice.bytes),
                    (now.start, now.end, now.bytes),
                    "{from} {max_bytes}"
                );
                let Some(later) = later else { continue };
                assert_eq!(later.fetch_all(&mut dohle_log::greedy).unwrap(), now.chunks.concat());
                // What was fetched anew is trusted again only when it was read.
                read(&mut log, Offset(0), Offset(end), usize::MAX >> 1);
                spared += 1;
            }
        }
    }
    assert!(spared > 100, "{spared} of the reads were deferred");
}

#[test]
fn deferred_bytes_that_left_memory_are_proven_when_they_come_back() {
    let mut world = World::new(1);
    let mut log = large(&mut world);
    let (slice, later) = deferred(&mut log, 1000, 5000, 1 << 20);
    let later = later.unwrap();
    let before = later.fetch_all(&mut dohle_log::greedy).unwrap();
    world.disk.set_cold(true);
    assert_eq!(later.look(70_000, 1).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(later.fetch(0, 1).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(later.fetch_all(&mut dohle_log::greedy).unwrap(), before);
    world.disk.set_cold(false);
    let unproven = log.read_or_defer(Offset(1000), Offset(5000), 1 << 20, true, true).unwrap();
    assert!(matches!(unproven, Read::Ready(again) if again.deferred.is_none() && again.end == slice.end));
    let path = folder().join(file_name(Offset::ZERO, FileKind::Log, FileState::Live));
    world.disk.flip_bit(&path, 90_000, 3);
    assert_eq!(later.fetch_all(&mut dohle_log::greedy).unwrap_err().kind(), ErrorKind::InvalidData);
    world.disk.flip_bit(&path, 90_000, 3);
    world.disk.remove_file(&path).unwrap();
    assert_eq!(later.fetch_all(&mut dohle_log::greedy).unwrap(), before, "a file is held open");
}

#[test]
fn no_more_is_deferred_than_the_bound() {
    let mut log = large(&mut World::new(1));
    let mut held = Vec::new();
    while let (_, Some(later)) = deferred(&mut log, 0, 5000, 1 << 20) {
        held.push(later);
        assert!(held.len() <= 128);
    }
    assert_eq!(held.len(), 128);
    held.pop();
    assert!(deferred(&mut log, 0, 5000, 1 << 20).1.is_some());
}
