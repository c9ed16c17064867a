//! Damage in what lies beside the records of closed segments, and in the segment that is being written: what was known is known again, or the file is
//! named; and what is sound goes on being served and written.

mod support;

use dohle_log::names::{FileKind, FileState, file_name};
use dohle_log::{AbortedTransaction, Log, ProducerInfo, Read, ReadError, Recovery, TailBudget};
use dohle_records::control::EndTransaction;
use dohle_records::parse_batches;
use dohle_types::*;
use support::*;

const EPOCH: LeaderEpoch = LeaderEpoch(0);

/// A log with two producers, one of them with transactions of which every second is aborted, stopped cleanly.
fn original() -> (World, Offset) {
    let mut world = World::new(5);
    world.settings.segment_bytes = 2000;
    world.settings.index_interval_bytes = 200;
    world.context.tail = TailBudget::new(0);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    let append = |log: &mut Log, tag: i32| {
        let batches = vec![
            transactional_batch(tag as u64, 2, 1000, 7, 0, tag * 2),
            producer_batch(tag as u64, 3, 1000, 8, 0, tag * 3),
        ];
        log.append_as_leader(batches, EPOCH, ms(1000)).unwrap();
        let end = EndTransaction { committed: tag % 2 == 0, coordinator_epoch: 0 };
        let marker = end.to_batch(ProducerId(7), ProducerEpoch(0), ms(1000), Offset::ZERO, EPOCH);
        log.append_as_coordinator(vec![marker], EPOCH, 1, ms(1000)).unwrap();
    };
    (0..40).for_each(|tag| append(&mut log, tag));
    assert!(log.segments().len() > 4);
    let end = log.close().unwrap().recovery_point;
    (world, end)
}

/// The log on a disk of its own, with a flipped bit.
fn flipped(original: &World, end: Offset, base: Offset, kind: FileKind, at: u64) -> (World, Log) {
    let disk = original.disk.fork();
    disk.kill();
    disk.flip_bit(&folder().join(file_name(base, kind, FileState::Live)), at, (at * 5 + 3) as u8 % 8);
    let mut world = World::on(disk);
    world.settings = original.settings.clone();
    world.context.tail = TailBudget::new(0);
    let log = world.open(Recovery { clean: true, recovery_point: end, log_start: Offset::ZERO });
    (world, log.expect("nothing beside the records keeps a log from being opened"))
}

fn intact(original: &World, end: Offset) -> Log {
    let mut world = World::on(original.disk.fork());
    world.settings = original.settings.clone();
    world.open(Recovery { clean: true, recovery_point: end, log_start: Offset::ZERO }).unwrap()
}

fn len(world: &World, base: Offset, kind: FileKind) -> u64 {
    let path = folder().join(file_name(base, kind, FileState::Live));
    world.context.disk.metadata(&path).unwrap().map_or(0, |found| found.len)
}

fn producers(log: &Log) -> Vec<ProducerInfo> {
    log.producers().collect()
}

#[test]
fn a_damaged_snapshot_is_not_believed() {
    let (world, end) = original();
    let expected = producers(&intact(&world, end));
    assert_eq!(expected.len(), 2);
    let names = world.files();
    let snapshots: Vec<Offset> = names
        .iter()
        .filter_map(|name| dohle_log::names::parse_file_name(name))
        .filter(|(_, kind, _)| *kind == FileKind::ProducerSnapshot)
        .map(|(base, ..)| base)
        .collect();
    assert!(snapshots.len() > 3 && snapshots.contains(&end), "{snapshots:?}");
    let mut flips = 0;
    for base in snapshots {
        for at in 0..len(&world, base, FileKind::ProducerSnapshot) {
            let (_world, log) = flipped(&world, end, base, FileKind::ProducerSnapshot, at);
            assert_eq!(producers(&log), expected, "snapshot {base}, byte {at}");
            flips += 1;
        }
    }
    assert!(flips > 300, "{flips}");
}

fn aborted(log: &mut Log, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>, ReadError> {
    let found = log.search_aborted(from, to).run()?;
    Ok(log.finish_aborted(found))
}

/// Nothing protects an entry's numbers, here as in Kafka: what lies behind it is told all the same, or the file is named.
#[test]
fn a_damaged_entry_of_a_transaction_index_hides_no_other() {
    let (world, end) = original();
    let mut log = intact(&world, end);
    let bases: Vec<Offset> = log.segments().iter().map(|segment| segment.base_offset).collect();
    let expected = aborted(&mut log, Offset::ZERO, end).unwrap();
    assert_eq!(expected.len(), 20);
    let (mut named, mut told) = (0, 0);
    for &base in &bases[..bases.len() - 1] {
        for at in 0..len(&world, base, FileKind::TransactionIndex) {
            let (_world, mut log) = flipped(&world, end, base, FileKind::TransactionIndex, at);
            let place = || format!("{base}.txnindex, byte {at}");
            match aborted(&mut log, Offset::ZERO, end) {
                Err(error) => {
                    assert!(
                        error.to_string().contains(&format!("{base:020}.txnindex")),
                        "{}: {error}",
                        place()
                    );
                    named += 1;
                }
                Ok(found) => {
                    let differ = expected.iter().zip(&found).filter(|(one, other)| one != other).count();
                    assert!(found.len() == expected.len() && differ <= 1, "{}: {found:?}", place());
                    told += 1;
                }
            }
            // Whoever reads what is committed in other segments does not meet it.
            let after = bases.iter().copied().find(|other| *other > base).expect("it is closed");
            let of_others: Vec<_> =
                expected.iter().copied().filter(|aborted| aborted.last_offset >= after).collect();
            assert_eq!(aborted(&mut log, after, end).unwrap(), of_others, "{}", place());
        }
    }
    assert!(named > told, "{named} {told}");
}

/// The next offset to read from, and whether what lies before it is damaged.
fn next(log: &mut Log, from: Offset, written: &[(Offset, u32)]) -> (Offset, bool) {
    let read = match log.read(from, log.end_offset(), 300, true) {
        Ok(Read::Ready(slice)) => Ok(slice),
        Ok(Read::Cold(cold)) => log.finish_read(cold.run(&mut dohle_log::greedy)),
        Err(error) => Err(error),
    };
    let slice = match read {
        Ok(slice) => slice,
        Err(ReadError::Quarantined(damage)) => {
            assert!(damage.first <= from && from < damage.next, "{from}: {damage}");
            return (damage.next, true);
        }
        Err(error) => panic!("a read at {from}: {error}"),
    };
    let mut next = from;
    for batch in parse_batches(joined(&slice)) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap_or_else(|_| panic!("a read at {from} gave a damaged batch"));
        let known = written.contains(&(batch.header.base_offset, batch.header.crc));
        assert!(known, "a read at {from} gave {:?}", batch.header);
        next = batch.header.next_offset();
    }
    (next, false)
}

#[test]
fn damage_where_a_log_is_being_written_is_named_and_the_log_goes_on() {
    let (world, end) = original();
    let active = intact(&world, end).segments().last().expect("it is open").base_offset;
    let mut lost_at_all = 0;
    for at in 0..len(&world, active, FileKind::Log) {
        let mut mine = World::on(world.disk.fork());
        mine.settings = world.settings.clone();
        mine.settings.segment_bytes = 1 << 20;
        mine.context.tail = TailBudget::new(0);
        let mut log =
            mine.open(Recovery { clean: true, recovery_point: end, log_start: Offset::ZERO }).unwrap();
        let append = |log: &mut Log, tag| {
            log.append_as_leader(vec![batch(tag, 4, 1000)], EPOCH, ms(1000)).unwrap();
            log.flush().unwrap().up_to()
        };
        append(&mut log, 900);
        let written: Vec<(Offset, u32)> =
            read_all(&mut log).iter().map(|batch| (batch.header.base_offset, batch.header.crc)).collect();
        // It rots on the device, and the page cache lets go of it.
        mine.disk.flip_bit(
            &folder().join(file_name(active, FileKind::Log, FileState::Live)),
            at,
            (at * 3 + 1) as u8 % 8,
        );
        mine.disk.set_cold(true);
        let (mut from, mut lost) = (active, 0);
        while from < log.end_offset() {
            let (to, damaged) = next(&mut log, from, &written);
            assert!(to > from, "byte {at}: a read at {from} gives nothing");
            lost += if damaged { to.get() - from.get() } else { 0 };
            from = to;
        }
        lost_at_all += i64::from(lost > 0);
        let before = log.end_offset();
        let durable = append(&mut log, 901);
        assert_eq!(durable, before.plus(4), "byte {at}: what comes is taken and stored");
        let (to, damaged) = {
            let last = {
                let mut slice = log.read(before, log.end_offset(), 300, true).unwrap();
                if let Read::Cold(cold) = slice {
                    slice = Read::Ready(log.finish_read(cold.run(&mut dohle_log::greedy)).unwrap());
                }
                let Read::Ready(slice) = slice else { unreachable!("it was waited for") };
                slice
            };
            (last.end, last.start != before)
        };
        assert!(!damaged && to == before.plus(4), "byte {at}: and read");
    }
    assert!(lost_at_all > 100, "{lost_at_all}");
}
