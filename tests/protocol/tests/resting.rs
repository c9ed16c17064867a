//! Partitions that rest after a tenth of a second, under writers and readers that come at any moment, and a kill in between: every record
//! gets the next offset and is there in the end, and what rests has no file open.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Given, Target};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;

const TOPIC: &str = "resting";
const WRITERS: i32 = 3;
const PARTITIONS_OF_A_WRITER: i32 = 8;
const REST_MS: &str = "100";
/// How long the writers write, before and after the kill.
const LIFE: Duration = Duration::from_secs(4);
/// How long a partition may take to rest once nobody comes: twice the time asked for, and what a busy machine adds.
const AT_REST_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn partitions_rest_between_records() {
    let mut target = Target::with(Given::ByFlags, &[("dohle.partition.rest.ms", REST_MS)]);
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    numbered::create(&mut Connection::open(at), TOPIC, WRITERS * PARTITIONS_OF_A_WRITER);
    let mut ends = vec![vec![0; PARTITIONS_OF_A_WRITER as usize]; WRITERS as usize];
    for life in 0..2 {
        let writers: Vec<_> = (0..WRITERS)
            .zip(ends.drain(..))
            .map(|(writer, ends)| std::thread::spawn(move || write(at, writer, life, ends)))
            .collect();
        ends = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect();
        at_rest(target.folder());
        if life == 0 {
            target.kill();
            target.restart();
        }
    }
    let mut records = 0;
    let mut client = Connection::open(at);
    for (writer, ends) in (0..WRITERS).zip(&ends) {
        for (place, &end) in (0..PARTITIONS_OF_A_WRITER).zip(ends) {
            let partition = writer * PARTITIONS_OF_A_WRITER + place;
            assert_eq!(
                read(&mut client, partition, 0),
                (0..end).collect::<Vec<_>>(),
                "partition {partition}"
            );
            records += end;
        }
    }
    println!("{records} records over {} partitions", WRITERS * PARTITIONS_OF_A_WRITER);
    assert!(records > 100, "{records} records");
}

/// Writes numbered records to partitions of its own, and now and then reads one back. Gives where each partition ends.
fn write(at: SocketAddr, writer: i32, life: u64, mut ends: Vec<i64>) -> Vec<i64> {
    let mut client = Connection::open(at);
    let mut chance = 0x9E37_79B9_7F4A_7C15 ^ (life * 64 + u64::from(writer.unsigned_abs()) + 1);
    let mut draw = |below: u64| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        chance % below
    };
    let until = Instant::now() + LIFE;
    while Instant::now() < until {
        let place = draw(PARTITIONS_OF_A_WRITER as u64) as usize;
        let partition = writer * PARTITIONS_OF_A_WRITER + place as i32;
        let answer = numbered::produce(&mut client, TOPIC, partition, ends[place], size_of::<i64>());
        assert_eq!(answer, Some((0, ends[place])), "partition {partition}");
        ends[place] += 1;
        if draw(4) == 0 {
            let place = draw(PARTITIONS_OF_A_WRITER as u64) as usize;
            let partition = writer * PARTITIONS_OF_A_WRITER + place as i32;
            let from = ends[place].saturating_sub(3).max(0);
            assert_eq!(read(&mut client, partition, from), (from..ends[place]).collect::<Vec<_>>());
        }
        std::thread::sleep(Duration::from_millis(draw(60)));
    }
    ends
}

/// The numbers in a partition from an offset on.
fn read(client: &mut Connection, partition: i32, from: i64) -> Vec<i64> {
    let (error, mut numbers) = numbered::fetch(client, TOPIC, partition, from);
    assert_eq!(error, 0, "partition {partition} from {from}");
    numbers.retain(|&number| number >= from);
    numbers
}

/// Waits until the broker has no segment of the topic open.
fn at_rest(folder: &Path) {
    let until = Instant::now() + AT_REST_WITHIN;
    loop {
        let open = open_segments(folder);
        if open.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "still open: {open:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn open_segments(folder: &Path) -> Vec<String> {
    let is_segment =
        |path: &Path| path.starts_with(folder) && path.to_string_lossy().contains(&format!("/{TOPIC}-"));
    let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    // Processes of others cannot be looked into, and some end meanwhile.
    let files = processes.filter_map(|process| std::fs::read_dir(process.path().join("fd")).ok()).flatten();
    let open = files.filter_map(Result::ok).filter_map(|file| std::fs::read_link(file.path()).ok());
    open.filter(|path| is_segment(path)).map(|path| path.to_string_lossy().into_owned()).collect()
}
