//! What one program has deleted from the front of logs, by size, by time and by request, stays deleted for the other: the logs start where they
//! started, and who asks for what was before is told so. Each goes on deleting where the other was.
//!
//! With `DOHLE_TEST_TARGET=kafka` Kafka takes all turns: so the test is proved.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dohle_records::{BatchBuilder, Compression};
use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::tools::Tools;
use dohle_tests_upgrade::folder::{bases, checkpoint, files};
use dohle_tests_upgrade::inspect::accepts;
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use dohle_tests_upgrade::picture::{Hand, Picture, first_timestamp};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};

const SETTINGS: [(&str, &str); 5] = [
    ("log.initial.task.delay.ms", "100"),
    ("log.retention.check.interval.ms", "200"),
    ("log.flush.start.offset.checkpoint.interval.ms", "200"),
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "500"),
];
const BY_SIZE: &str = "by-size";
const PURGED: &str = "purged";
/// What each partition is purged up to, by where it starts and ends: into the middle of a batch, beyond a segment, all there is.
const PURGES: [fn(i64, i64) -> i64; 3] =
    [|start, _| start + RECORDS_OF_A_BATCH * 3 / 2, |_, end| end - RECORDS_OF_A_BATCH / 2, |_, _| ALL];
const ALL: i64 = -1;
const RECORDS_OF_A_BATCH: i64 = 100;
const VALUE_BYTES: usize = 1000;
/// More than a segment of the least size.
const A_SEGMENT: usize = 13;
const OUT_OF_RANGE: i16 = 1;
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Retention has looked again, and found nothing.
const SETTLED: Duration = Duration::from_secs(1);

#[test]
fn what_is_deleted_stays_deleted() {
    let ours = Program::ours();
    let turns = [
        (Program::Kafka, End::Clean),
        (ours, End::Killed),
        (Program::Kafka, End::Killed),
        (ours, End::Clean),
        (Program::Kafka, End::Clean),
    ];
    let mut life = Life::begin();
    for (turn, (program, end)) in turns.into_iter().enumerate() {
        life.turn(turn, program, end);
    }
    let moved = 1 + PURGES.len() + 1;
    // In each turn something goes from each log; those of the turns before are as they were left, and say so.
    let owed =
        (0..turns.len()).map(|turn| moved + if turn > 0 { 1 + 2 * (1 + PURGES.len() + turn) } else { 0 });
    life.checks.finish(owed.sum());
}

struct Life {
    node: Node,
    tools: Tools,
    checks: Checks,
    /// How each log was left, by topic and partition.
    left: BTreeMap<(String, i32), Picture>,
}

impl Life {
    fn begin() -> Life {
        let node = Node::new(Quorum::InTheLog, &SETTINGS);
        node.format_by_kafka();
        let tools = Tools::start(node.folder());
        Life { node, tools, checks: Checks::of("retention"), left: BTreeMap::new() }
    }

    fn turn(&mut self, turn: usize, program: Program, end: End) {
        self.node.start(program);
        println!("turn {turn}: {program:?}, will be {end:?}");
        if turn == 0 {
            self.create(BY_SIZE, 1, "retention.bytes=1500000");
            self.create(PURGED, PURGES.len(), "retention.ms=-1");
        } else {
            self.compare(turn, program);
        }
        self.delete_by_size();
        self.delete_by_request();
        self.delete_by_time(turn);
        std::thread::sleep(SETTLED);
        self.look(turn);
        self.wait_for_checkpoints();
        self.node.end(end);
        if program == Program::ours() {
            accepts(&mut self.tools, "--deep-iteration", &files(&self.node.log_dir(), "log"));
        }
    }

    fn hand(&self) -> Hand {
        Hand::on(&self.node.bootstrap())
    }

    fn tool(&mut self, words: &str) {
        self.node.tool(&mut self.tools, words);
    }

    fn create(&mut self, topic: &str, partitions: usize, config: &str) {
        self.tool(&format!(
            "TopicCommand --bootstrap-server BROKER --create --topic {topic} --partitions {partitions} --replication-factor 1 --config \
             segment.bytes=1048576 --config {config}"
        ));
    }

    /// Each log is as it was left, and who asks for what is not there is told so.
    fn compare(&mut self, turn: usize, program: Program) {
        let mut hand = self.hand();
        for ((topic, partition), left) in &self.left {
            let what = format!("turn {turn}: {topic}-{partition} on {program:?}");
            let found = picture(&mut hand, topic, *partition);
            self.checks.equal(&found, left, &what);
            let (start, end) = (left.start, left.high_watermark);
            assert!(start > 0, "{what}: nothing was deleted");
            let asked = [0, start - 1, start, end, end + 1];
            let codes = asked.map(|offset| hand.fetch_code(topic, *partition, offset));
            let wanted = [OUT_OF_RANGE, OUT_OF_RANGE, 0, 0, OUT_OF_RANGE];
            self.checks.equal(codes, wanted, format!("{what}: who reads from {asked:?}"));
        }
    }

    fn delete_by_size(&mut self) {
        let mut hand = self.hand();
        let before = hand.earliest(BY_SIZE, 0);
        write(&mut hand, BY_SIZE, 0, first_timestamp(), 2 * A_SEGMENT);
        let goes = eventually(|| hand.earliest(BY_SIZE, 0) > before);
        self.checks.that(goes, "what is too much goes");
    }

    fn delete_by_request(&mut self) {
        let mut hand = self.hand();
        for (partition, up_to) in (0..).zip(PURGES) {
            let end = write(&mut hand, PURGED, partition, first_timestamp(), A_SEGMENT);
            let asked = up_to(hand.earliest(PURGED, partition), end);
            let start = hand.delete_records(PURGED, partition, asked);
            let wanted = if asked == ALL { end } else { asked };
            self.checks.equal(start, wanted, format!("a purge up to {asked}"));
        }
    }

    /// In a new log the old records go, in that of the turn before all there is.
    fn delete_by_time(&mut self, turn: usize) {
        let (mut hand, topic) = (self.hand(), by_time(turn));
        self.create(&topic, 1, "retention.ms=1800000");
        write(&mut hand, &topic, 0, first_timestamp(), A_SEGMENT);
        write(&mut hand, &topic, 0, now_ms(), 1);
        let goes = eventually(|| hand.earliest(&topic, 0) > 0);
        self.checks.that(goes, "what is old goes");
        let Some(before) = turn.checked_sub(1).map(by_time) else { return };
        self.tool(&format!(
            "ConfigCommand --bootstrap-server BROKER --alter --entity-type topics --entity-name {before} --add-config retention.ms=1"
        ));
        let end = self.left[&(before.clone(), 0)].high_watermark;
        let goes = eventually(|| hand.earliest(&before, 0) == end);
        self.checks.that(goes, "all goes when all is old");
    }

    fn look(&mut self, turn: usize) {
        let mut hand = self.hand();
        let purged = (0..PURGES.len()).map(|partition| (PURGED.to_owned(), partition as i32));
        let aged = (0..=turn).map(|turn| (by_time(turn), 0));
        let all = purged.chain(aged).chain([(BY_SIZE.to_owned(), 0)]);
        let look = |(topic, partition): (String, i32)| {
            let picture = picture(&mut hand, &topic, partition);
            ((topic, partition), picture)
        };
        self.left = all.map(look).collect();
    }

    /// Kafka stores from time to time where logs start. It says so of those that do not start with their first segment.
    fn wait_for_checkpoints(&self) {
        let dir = self.node.log_dir();
        for ((topic, partition), left) in &self.left {
            let is_stored = || {
                let first = bases(&dir.join(format!("{topic}-{partition}")))[0];
                let said = checkpoint(&dir, "log-start-offset-checkpoint", topic, *partition);
                said.unwrap_or(first) == left.start
            };
            assert!(
                eventually(is_stored),
                "{topic}-{partition} starts at {}, and no file says so",
                left.start
            );
        }
    }
}

/// Kafka tells where the record with the largest timestamp was also when it is deleted; we tell of none then.
fn picture(hand: &mut Hand, topic: &str, partition: i32) -> Picture {
    let mut picture = hand.picture(topic, partition);
    for found in picture.offsets.iter_mut().filter(|found| found.3 < picture.start) {
        (found.3, found.4, found.5) = (-1, -1, -1);
    }
    picture
}

fn by_time(turn: usize) -> String {
    format!("by-time-{turn}")
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
    since.as_millis() as i64
}

/// Writes batches with timestamps from `at` on; where the log ends then.
fn write(hand: &mut Hand, topic: &str, partition: i32, at: i64, batches: usize) -> i64 {
    let mut end = 0;
    for number in 0..batches as i64 {
        let mut batch = BatchBuilder::new(Compression::None);
        for record in number * RECORDS_OF_A_BATCH..(number + 1) * RECORDS_OF_A_BATCH {
            let value = format!("{record:0VALUE_BYTES$}");
            batch.append(TimestampMs(at + record), None, Some(value.as_bytes()), &[]);
        }
        let batch = batch.build(Offset(0), LeaderEpoch(-1)).to_vec();
        end = hand.produce(topic, partition, None, &batch) + RECORDS_OF_A_BATCH;
    }
    end
}

fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if holds() {
            return true;
        }
        std::thread::sleep(POLL);
    }
    false
}
