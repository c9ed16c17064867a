//! Damage anywhere in a log's files: what is read is what was written, and what cannot be read is named.
//!
//! A build that leaves the checksums out has to be found here:
//!
//! ```text
//! RUSTFLAGS='--cfg dohle_bug="unchecked-cold-read"' cargo test -p dohle-log --test damage
//! ```

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use dohle_env::disk::SimDisk;
use dohle_log::names::{FileKind, FileState, file_name};
use dohle_log::{Log, Read, ReadError, Recovery, Slice};
use dohle_records::{Batch, parse_batches};
use dohle_types::*;
use support::*;

const EPOCH: LeaderEpoch = LeaderEpoch(3);
const BATCHES: i64 = 60;
const END: Offset = Offset(BATCHES * 5);
/// Where a batch has its leader epoch, which nothing protects.
const LEADER_EPOCH_BYTES: std::ops::Range<usize> = 12..16;

/// A log of several segments with indexes, stopped cleanly, and its batches by their last offsets.
struct Original {
    world: World,
    batches: BTreeMap<Offset, Vec<u8>>,
}

impl Original {
    fn new() -> Self {
        let mut world = World::new(5);
        world.settings.segment_bytes = 3000;
        world.settings.index_interval_bytes = 300;
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        for tag in 0..BATCHES as u64 {
            log.append_as_leader(vec![batch(tag, 5, tag as i64 * 10)], EPOCH, ms(1000)).unwrap();
        }
        let batches = read_all(&mut log);
        let batches =
            batches.iter().map(|batch| (batch.header.last_offset(), unprotected_left_out(batch))).collect();
        assert!(log.segments().len() > 3);
        log.close().unwrap();
        Self { world, batches }
    }

    /// The log on a disk of its own, on which something happened first.
    fn damaged(&self, work: impl FnOnce(&SimDisk)) -> (World, Result<Log, dohle_log::LogError>) {
        let disk = self.world.disk.fork();
        disk.kill();
        work(&disk);
        let mut world = World::on(disk);
        world.settings = self.world.settings.clone();
        let log = world.open(Recovery { clean: true, recovery_point: END, log_start: Offset::ZERO });
        (world, log)
    }

    /// Whether a read at an offset gives what was written there, or says that it cannot. Gives the next offset to read from.
    fn check(&self, log: &mut Log, from: Offset, max_bytes: usize) -> Result<(Offset, bool), String> {
        let slice = match try_read(log, from, max_bytes) {
            Ok(slice) => slice,
            Err(ReadError::Quarantined(damage)) => {
                let holds = damage.first <= from && from < damage.next;
                return if holds {
                    Ok((damage.next, true))
                } else {
                    Err(format!("{from} is not in {damage}"))
                };
            }
            Err(error) => return Err(format!("a read at {from}: {error}")),
        };
        let mut next = from;
        for found in parse_batches(joined(&slice)) {
            let found = found.map_err(|error| format!("a read at {from}: {error}"))?;
            let written = self.batches.range(next..).next().map(|(_, bytes)| bytes.as_slice());
            if written != Some(&unprotected_left_out(&found)) {
                return Err(format!("WrongRecords: a read at {from} gave {:?}", found.header));
            }
            next = found.header.next_offset();
        }
        if next > from { Ok((next, false)) } else { Err(format!("a read at {from} gave nothing")) }
    }

    /// Reads from the start to the end as a consumer does who leaves out what is damaged. Gives how many offsets those were.
    fn consume(&self, log: &mut Log) -> Result<i64, String> {
        let (mut at, mut lost) = (Offset::ZERO, 0);
        while at < END {
            let (next, damaged) = self.check(log, at, 400)?;
            lost += if damaged { next.get() - at.get() } else { 0 };
            at = next;
        }
        Ok(lost)
    }
}

fn unprotected_left_out(batch: &Batch) -> Vec<u8> {
    let mut bytes = batch.to_vec();
    bytes[LEADER_EPOCH_BYTES].fill(0);
    bytes.to_vec()
}

fn try_read(log: &mut Log, from: Offset, max_bytes: usize) -> Result<Slice, ReadError> {
    match log.read(from, END, max_bytes, true)? {
        Read::Ready(slice) => Ok(slice),
        Read::Cold(cold) => log.finish_read(cold.run(&mut dohle_log::greedy)),
    }
}

fn path(base: Offset, kind: FileKind) -> PathBuf {
    folder().join(file_name(base, kind, FileState::Live))
}

/// All bases of segments but the last one's.
fn closed_segments(original: &Original) -> Vec<Offset> {
    let (_, log) = original.damaged(|_| {});
    let mut bases: Vec<_> = log.unwrap().segments().iter().map(|segment| segment.base_offset).collect();
    bases.pop();
    bases
}

fn len(original: &Original, path: &std::path::Path) -> u64 {
    original.world.context.disk.metadata(path).unwrap().unwrap().len
}

#[test]
fn every_flipped_bit_is_named_or_does_no_harm() {
    let original = Original::new();
    let mut named = 0;
    for base in closed_segments(&original).into_iter().take(2) {
        for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
            let path = path(base, kind);
            for position in 0..len(&original, &path) {
                let bit = (position * 5 + 3) as u8 % 8;
                let (world, log) = original.damaged(|disk| disk.flip_bit(&path, position, bit));
                let mut log = log.unwrap();
                world.disk.set_cold(position % 2 == 0);
                let place = || format!("{}, byte {position}, bit {bit}", path.display());
                for probe in 0..6 {
                    let from = base.plus((position as i64 * 7 + probe * 11) % 60);
                    original.check(&mut log, from, 300).unwrap_or_else(|what| panic!("{}: {what}", place()));
                }
                let lost = original.consume(&mut log).unwrap_or_else(|what| panic!("{}: {what}", place()));
                // Where a size is wrong, the index says where it goes on.
                assert!(lost <= 20, "{}: {lost} offsets", place());
                assert!(kind == FileKind::Log || lost == 0, "{}", place());
                assert_eq!(log.damage().next().is_some(), lost > 0, "{}", place());
                named += usize::from(lost > 0);
            }
        }
    }
    assert!(named > 3000, "{named}");
}

#[test]
fn reads_from_anywhere_meet_damage_where_it_is() {
    let original = Original::new();
    let bases = closed_segments(&original);
    let mut random = 7_u64;
    let mut chance = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for round in 0..400 {
        let (world, log) = original.damaged(|disk| {
            for _ in 0..=chance(3) {
                let base = bases[chance(bases.len() as u64) as usize];
                let kind = [FileKind::Log, FileKind::Log, FileKind::OffsetIndex][chance(3) as usize];
                let path = path(base, kind);
                let position = chance(len(&original, &path));
                match chance(4) {
                    0 if kind == FileKind::Log => disk.lose_byte(&path, position),
                    _ => disk.flip_bit(&path, position, chance(8) as u8),
                }
            }
        });
        let mut log = log.unwrap();
        for _ in 0..60 {
            world.disk.set_cold(chance(2) == 0);
            let from = Offset(chance(END.get() as u64) as i64);
            let max_bytes = [1, 250, 1000, 1 << 20][chance(4) as usize];
            original.check(&mut log, from, max_bytes).unwrap_or_else(|what| panic!("round {round}: {what}"));
        }
        original.consume(&mut log).unwrap_or_else(|what| panic!("round {round}: {what}"));
    }
}

#[test]
fn a_header_that_reaches_over_the_bound_is_not_waited_for() {
    let original = Original::new();
    let base = closed_segments(&original)[0];
    // The last offset delta of the first batch is 4: now it is 12.
    let (_world, log) = original.damaged(|disk| disk.flip_bit(&path(base, FileKind::Log), 26, 3));
    let mut log = log.unwrap();
    let outcome = match log.read(Offset(0), Offset(10), 1000, true).unwrap() {
        Read::Ready(slice) => Ok(slice),
        Read::Cold(cold) => log.finish_read(cold.run(&mut dohle_log::greedy)),
    };
    let Err(ReadError::Quarantined(damage)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((damage.first, damage.next), (Offset(0), Offset(5)));
    let rest = read(&mut log, Offset(5), Offset(10), 1000);
    assert_eq!((rest.start, rest.end), (Offset(5), Offset(10)));
}

#[test]
fn a_log_with_gaps_is_sound() {
    let mut world = World::new(6);
    world.settings.segment_bytes = 2000;
    world.settings.index_interval_bytes = 300;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    let mut kept = Vec::new();
    for at in (0..60).filter(|at| at % 7 != 3 && !(20..27).contains(at)) {
        let mut batch = batch(at, 3, 0);
        batch.header.base_offset = Offset(at as i64 * 5);
        batch.header.leader_epoch = EPOCH;
        kept.push(batch.header.last_offset());
        log.append_as_follower(vec![batch], ms(1000)).unwrap();
    }
    let end = log.end_offset();
    log.close().unwrap();
    let recovery = Recovery { clean: true, recovery_point: end, log_start: Offset::ZERO };
    for cold in [false, true] {
        let mut log = world.open(recovery).unwrap();
        world.disk.set_cold(cold);
        for from in 0..end.get() {
            let expected = kept.iter().find(|last| last.get() >= from).unwrap();
            let slice = read(&mut log, Offset(from), end, 1);
            assert_eq!(slice.end, expected.next(), "a read at {from}");
        }
        assert_eq!(log.damage().count(), 0);
    }
}

#[test]
fn what_was_checked_is_not_checked_again_until_it_was_read_from_the_device() {
    let original = Original::new();
    let (world, log) = original.damaged(|_| {});
    let mut log = log.unwrap();
    assert_eq!(original.consume(&mut log), Ok(0));
    let base = closed_segments(&original)[0];
    world.disk.flip_bit(&path(base, FileKind::Log), 80, 0);
    assert!(
        original.check(&mut log, Offset(0), 400).is_err(),
        "memory that changes by itself is not what this is for"
    );
    world.disk.set_cold(true);
    assert_eq!(original.check(&mut log, Offset(0), 400), Ok((Offset(5), true)));
    world.disk.set_cold(false);
    assert_eq!(original.check(&mut log, Offset(0), 400), Ok((Offset(5), true)), "the page cache has it now");
    assert_eq!(log.damage().count(), 1);
    // It goes with its segment, and when the log is cut off before it.
    log.reset_to(Offset(500)).unwrap();
    assert_eq!(log.damage().count(), 0);
}
