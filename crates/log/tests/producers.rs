//! What many producers cost. Alone in its process, whose memory it measures, with the allocator of the node: it gives back what reading the
//! snapshot took.

#![allow(clippy::disallowed_methods)] // it looks at its own process

mod support;

use dohle_env::Disk;
use dohle_env::disk::OpenMode;
use dohle_log::Recovery;
use dohle_types::*;
use support::*;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The allocator gives back what was freed a second ago.
const GIVEN_BACK: std::time::Duration = std::time::Duration::from_secs(2);

/// 100,000 producers with five batches each, and what they cost.
#[test]
fn a_producer_costs_200_bytes() {
    const PRODUCERS: i64 = 100_000;
    tikv_jemalloc_ctl::background_thread::write(true).unwrap();
    let resident = || {
        std::thread::sleep(GIVEN_BACK);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap() * 1024
    };
    let snapshot = |producers: i64| {
        let mut bytes = vec![0, 1, 0, 0, 0, 0];
        bytes.extend((producers as i32).to_be_bytes());
        for id in 0..producers {
            bytes.extend(id.to_be_bytes());
            bytes.extend(0i16.to_be_bytes());
            bytes.extend(9i32.to_be_bytes());
            bytes.extend(5i64.to_be_bytes());
            bytes.extend(9i32.to_be_bytes());
            bytes.extend(1000i64.to_be_bytes());
            bytes.extend((-1i32).to_be_bytes());
            bytes.extend((-1i64).to_be_bytes());
        }
        let crc = dohle_records::batch_crc(&[&bytes[6..]]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    let world = World::new(1);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    log.append_as_leader(vec![batch(1, 10, 1000)], LeaderEpoch(0), ms(1000)).unwrap();
    let closed = log.close().unwrap();
    let path = folder().join("00000000000000000010.snapshot");
    let file = world.disk.open(&path, OpenMode::Create).unwrap();
    file.write_all_at(&[std::io::IoSlice::new(&snapshot(PRODUCERS))], 0).unwrap();
    drop(file);
    let before = resident();
    let log = world.open(Recovery::of_closed(closed)).unwrap();
    assert_eq!(log.producers().count() as i64, PRODUCERS);
    let each = (resident() - before) / PRODUCERS;
    assert!((100..=200).contains(&each), "{each} bytes for each producer");
}
