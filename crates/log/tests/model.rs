//! A log beside a plain twin: after every step of a generated workload both give the same answers.

mod support;

use dohle_env::disk::SimDisk;
use dohle_log::Read;
use dohle_records::BatchHeader;
use dohle_types::*;
use support::workload::{Workload, identity};
use support::*;

const WORKLOADS: u64 = 40;
const STEPS_PER_WORKLOAD: usize = 120;

#[test]
fn a_log_answers_as_its_twin_does() {
    for seed in 0..WORKLOADS {
        let disk = SimDisk::new(seed);
        let mut workload = Workload::new(seed, disk.clone());
        workload.open(false).unwrap();
        for step in 0..STEPS_PER_WORKLOAD {
            workload.step().unwrap();
            disk.set_cold(workload.chance(2) == 0);
            compare(&mut workload, &format!("seed {seed}, step {step}"));
        }
    }
}

fn compare(workload: &mut Workload, place: &str) {
    let twin: Vec<BatchHeader> = workload.history.iter().map(|(header, _)| *header).collect();
    let draw = workload.chance(1 << 20) as i64;
    let log = workload.log();
    let (start, end) = (log.start_offset(), log.end_offset());
    assert_eq!(end, twin.last().map_or(start, BatchHeader::next_offset), "{place}");
    let kept: Vec<&BatchHeader> = twin.iter().filter(|header| header.last_offset() >= start).collect();
    let found = read_all(log);
    assert!(
        found.iter().map(identity).eq(kept.iter().map(|h| (h.base_offset, h.last_offset(), h.crc))),
        "{place}"
    );
    assert!(found.iter().map(|batch| &batch.header).eq(kept.iter().copied()), "{place}: headers");

    if end > start {
        let from = Offset(start.get() + draw % (end.get() - start.get()));
        let up_to = Offset(from.get() + draw / 7 % (end.get() - from.get() + 1));
        check_read(log, &kept, from, up_to, (draw % 900) as usize, draw % 2 == 0, place);
    }
    check_times(log, &kept, end, draw, place);
    for epoch in 0..6 {
        let (epoch, end_of_epoch) = log.end_offset_for_epoch(LeaderEpoch(epoch));
        let newer = kept.iter().find(|header| header.leader_epoch > epoch);
        if let (Some(newer), true) = (newer, epoch != LeaderEpoch::NONE && end_of_epoch >= start) {
            assert!(
                end_of_epoch <= newer.base_offset.max(start),
                "{place}: epoch {epoch} ends at {end_of_epoch}, after {newer:?}"
            );
        }
    }
    let producers: Vec<_> = log.producers().collect();
    assert_eq!(producers, workload.replay(end), "{place}");
}

fn check_read(
    log: &mut dohle_log::Log,
    kept: &[&BatchHeader],
    from: Offset,
    up_to: Offset,
    max_bytes: usize,
    at_least_one: bool,
    place: &str,
) {
    let slice = match log.read(from, up_to, max_bytes, at_least_one).unwrap() {
        Read::Ready(slice) => slice,
        Read::Cold(cold) => {
            let done = cold.run(&mut dohle_log::greedy);
            log.finish_read(done).unwrap()
        }
    };
    let mut expected = 0;
    let mut end = from;
    for header in kept.iter().filter(|header| header.last_offset() >= from) {
        let fits = expected + header.size() <= max_bytes || (expected == 0 && at_least_one);
        if header.next_offset() > up_to || !fits {
            break;
        }
        expected += header.size();
        end = header.next_offset();
    }
    let asked = format!("{place}: {max_bytes} bytes from {from} up to {up_to}, at least one: {at_least_one}");
    // A read from files ends with its segment.
    let cut = slice.end < end && log.segments().iter().any(|segment| segment.base_offset == slice.end);
    if cut {
        assert!(slice.end > from && joined(&slice).len() < expected, "{asked}: {slice:?}");
    } else {
        assert_eq!((joined(&slice).len(), slice.end), (expected, end), "{asked}");
    }
}

/// Records of a batch have the timestamps base, base + 1, ...; a marker has one.
fn check_times(log: &mut dohle_log::Log, kept: &[&BatchHeader], end: Offset, draw: i64, place: &str) {
    let start = log.start_offset();
    let records = kept.iter().flat_map(|header| {
        (0..=i64::from(header.last_offset_delta))
            .map(|delta| (header.base_offset.plus(delta), header.base_timestamp.get() + delta))
    });
    let records: Vec<(Offset, i64)> = records.filter(|(offset, _)| *offset >= start).collect();
    let timestamp = 1000 + draw % 1500;
    let expected = records.iter().find(|(_, time)| *time >= timestamp).map(|(offset, _)| *offset);
    let found = log.offset_for_timestamp(ms(timestamp), end).unwrap();
    assert_eq!(found.map(|found| found.offset), expected, "{place}: the first record at {timestamp}");
    let largest = records.iter().map(|(_, time)| *time).max();
    let found = log.max_timestamp(end).unwrap().map(|found| found.timestamp.get());
    assert_eq!(found, largest, "{place}: the largest timestamp");
}
