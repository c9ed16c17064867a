//! The broker is killed again and again while producers write; nothing acknowledged may be missing, moved or doubled.
//!
//! Two idempotent producers (Java and librdkafka, `acks=all`) write numbered records to all partitions of a topic each and note
//! down every acknowledgement: partition, offset, number. The broker gets SIGKILL at random moments and starts again on the same
//! folder and port. At the end a client of another kind reads each topic, and
//! - *nothing is lost*: what was acknowledged stands at the offset that was acknowledged;
//! - *nothing is doubled or reordered*: the numbers of each partition are 0, 1, 2, ... in the order of the offsets;
//! - *nothing fails*: no producer saw an error, and all that was sent was acknowledged.
//!
//! `DOHLE_SOAK_CYCLES` sets the number of kills, `DOHLE_SOAK_SEED` their moments.
#![allow(clippy::disallowed_methods)] // kills real processes at real times

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, Session};
use dohle_tests_clients::target::Target;

const CYCLES: u32 = 3;
const PARTITIONS: usize = 4;
/// How long the broker lives between a start and the next kill.
const LIFE_MS: std::ops::Range<u64> = 50..900;
const PROGRESS_LIMIT: Duration = Duration::from_secs(60);
const PROGRESS_POLL: Duration = Duration::from_millis(10);
/// Each writer with the client that reads its topic.
const PAIRS: [(Client, Client, &str); 2] =
    [(Client::Java, Client::FranzGo, "zstd"), (Client::Librdkafka, Client::Java, "none")];
/// Per pair: acknowledged as sent, order, places, and that something was written at all.
const CHECKS_PER_PAIR: usize = 4;

#[test]
fn kill_under_load() {
    let cycles = setting("DOHLE_SOAK_CYCLES").map_or(CYCLES, |n| n as u32);
    let mut chance = Chance(setting("DOHLE_SOAK_SEED").unwrap_or(u64::from(std::process::id())));
    println!("soak: {cycles} cycles, seed {}", chance.0);
    let mut target = Target::start();
    let mut checks = Checks::of("soak");
    let start = |client: Client| client.start(&target.bootstrap(), target.folder());
    let mut writers: Vec<Session> = PAIRS.map(|(writer, _, _)| start(writer)).into();
    for (writer, (_, _, codec)) in writers.iter_mut().zip(PAIRS) {
        let topic = writer.client.name();
        let ledger = ledger(target.folder(), writer.client);
        writer.ask(&format!("create topic={topic} partitions={PARTITIONS} replicas=1"));
        writer.ask(&format!(
            "soak topic={topic} partitions={PARTITIONS} codec={codec} ledger={}",
            ledger.display()
        ));
    }
    let mut starts = Vec::new();
    for cycle in 1..=cycles {
        if cycle % 2 == 1 {
            progress(&mut writers); // every other life is long enough to be useful; the rest end whenever they end
        }
        std::thread::sleep(Duration::from_millis(chance.within(LIFE_MS)));
        target.kill();
        starts.push(target.restart());
        checks.that(true, format!("started after kill {cycle}"));
    }
    starts.sort();
    println!(
        "soak: from start to ready after a kill: median {:?}, longest {:?}",
        starts[starts.len() / 2],
        starts[starts.len() - 1]
    );
    for (mut writer, (_, reader, _)) in writers.into_iter().zip(PAIRS) {
        let done = writer.ask("soak-stop");
        let sent = done["sent"].as_u64().expect("the number of records sent");
        checks.equal(done["acknowledged"].as_u64(), Some(sent), "records acknowledged of those sent");
        let dump = target.folder().join(format!("{}.dump", writer.client.name()));
        let mut reader = start_on(reader, &target);
        reader.ask(&format!(
            "dump topic={} partitions={PARTITIONS} file={}",
            writer.client.name(),
            dump.display()
        ));
        compare(&mut checks, writer.client, sent, &ledger(target.folder(), writer.client), &dump);
    }
    checks.finish(cycles as usize + CHECKS_PER_PAIR * PAIRS.len());
}

/// Waits until each writer got acknowledgements from the broker that lives now.
fn progress(writers: &mut [Session]) {
    for writer in writers {
        let before = acknowledged(writer);
        let until = Instant::now() + PROGRESS_LIMIT;
        while acknowledged(writer) == before {
            assert!(Instant::now() < until, "{} gets no acknowledgement any more", writer.client.name());
            std::thread::sleep(PROGRESS_POLL);
        }
    }
}

fn acknowledged(writer: &mut Session) -> u64 {
    writer.ask("soak-count")["acknowledged"].as_u64().expect("a number of acknowledgements")
}

fn start_on(client: Client, target: &Target) -> Session {
    client.start(&target.bootstrap(), target.folder())
}

fn ledger(folder: &Path, writer: Client) -> PathBuf {
    folder.join(format!("{}.ledger", writer.name()))
}

/// The log as it was read against what was acknowledged.
fn compare(checks: &mut Checks, writer: Client, sent: u64, ledger: &Path, dump: &Path) {
    let name = writer.name();
    let mut numbers = vec![Vec::new(); PARTITIONS];
    for [partition, offset, number] in lines(dump) {
        let log = &mut numbers[partition as usize];
        assert_eq!(offset, log.len() as u64, "{name}: partition {partition} has a gap in its offsets");
        log.push(number);
    }
    let wrong = |log: &Vec<u64>| log.iter().enumerate().find(|(i, n)| *i as u64 != **n).map(|(i, n)| (i, *n));
    let disorder: Vec<_> = numbers.iter().map(wrong).collect();
    checks.equal(
        disorder,
        vec![None; PARTITIONS],
        format!("{name}: the first (offset, number) out of order in each partition"),
    );
    let mut acknowledged = 0;
    let mut misplaced = Vec::new();
    for [partition, offset, number] in lines(ledger) {
        acknowledged += 1;
        let stands = numbers[partition as usize].get(offset as usize).copied();
        if stands != Some(number) {
            misplaced.push((partition, offset, number, stands));
        }
    }
    misplaced.truncate(10);
    checks.equal(misplaced, vec![], format!("{name}: acknowledged records that are not in their place"));
    println!("soak: {name}: {acknowledged} records acknowledged and found");
    checks.that(
        acknowledged == sent && sent > 0,
        format!("{name}: {acknowledged} acknowledgements noted of {sent}"),
    );
}

/// "partition offset number" per line.
fn lines(path: &Path) -> Vec<[u64; 3]> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let parse = |line: &str| {
        let numbers: Vec<u64> = line.split(' ').map(|n| n.parse().expect("a number")).collect();
        <[u64; 3]>::try_from(numbers).unwrap_or_else(|_| panic!("'{line}' in {}", path.display()))
    };
    text.lines().map(parse).collect()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is a number, not '{v}'")))
}

/// Repeatable moments.
struct Chance(u64);

impl Chance {
    fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        range.start + (self.0 >> 33) % (range.end - range.start)
    }
}
