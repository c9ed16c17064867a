//! What a compaction of Kafka's leaves when it is killed at any step: put together by hand from Kafka's own files before and after one, next
//! to each other. Kafka tells what is right; on the same files we read the same, tidy up the same, compact further, and hand back.
//!
//! With `DOHLE_TEST_TARGET=kafka` Kafka takes all turns: so the test is proved.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::tools::Tools;
use dohle_tests_upgrade::folder::{active_base, bases, compacted, copy, files};
use dohle_tests_upgrade::inspect::accepts_compacted;
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use dohle_tests_upgrade::picture::{Hand, Picture};
use dohle_tests_upgrade::table::{Table, doubled};

const TOPIC: &str = "table";
const SETTINGS: [(&str, &str); 5] = [
    ("log.cleaner.backoff.ms", "100"),
    ("offsets.topic.num.partitions", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "500"),
];
/// No log is dirtier than this, so that nothing is compacted.
const NEVER: &str = "1.0";
const ALWAYS: &str = "0.01";
/// More than two segments, which a compaction makes so small that the next one joins them.
const BATCHES_AT_FIRST: i64 = 26;
/// More than one.
const BATCHES: i64 = 13;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const FOLLOWS: Duration = Duration::from_millis(500);

/// What is left in a partition, and what becomes of the compaction.
struct State {
    what: &'static str,
    leave: fn(&Leftovers),
    is_finished: bool,
}

const fn dropped(what: &'static str, leave: fn(&Leftovers)) -> State {
    State { what, leave, is_finished: false }
}

const fn finished(what: &'static str, leave: fn(&Leftovers)) -> State {
    State { what, leave, is_finished: true }
}

/// By partition, in the order in which Kafka gets there.
const STATES: [State; 7] = [
    dropped("half of the new segment is written", |left| {
        let log = left.put("log", ".cleaned");
        let half = log.metadata().expect("a new segment").len() / 2;
        let log = std::fs::File::options().write(true).open(log).expect("a new segment");
        log.set_len(half).expect("a new segment is cut");
        left.put("index", ".cleaned");
    }),
    dropped("all of it is written", |left| left.put_all([".cleaned"; 3])),
    dropped("it is about to be declared whole", |left| left.put_all([".swap", ".cleaned", ".cleaned"])),
    finished("it is declared whole", |left| left.put_all([".swap"; 3])),
    finished("an old segment is gone", |left| {
        left.put_all([".swap"; 3]);
        left.delete(&left.old[..1]);
    }),
    finished("it is about to have its names", |left| {
        left.delete(&left.old);
        left.put_all(["", ".swap", ".swap"]);
    }),
    finished("it has its names", |left| {
        left.delete(&left.old);
        left.put_all([""; 3]);
    }),
];
/// One more partition, where the checkpoint says that more is compacted than is.
const AHEAD: usize = STATES.len();
const PARTITIONS: usize = AHEAD + 1;

/// A partition's folder as it was before a compaction, and what the compaction has made of its first segments.
struct Leftovers {
    folder: PathBuf,
    after: PathBuf,
    /// The names of the segments that the first new one replaces.
    old: Vec<String>,
}

impl Leftovers {
    fn of(folder: PathBuf, after: PathBuf) -> Leftovers {
        let replaced_below = bases(&after)[1];
        let old: Vec<i64> = bases(&folder).into_iter().filter(|base| *base < replaced_below).collect();
        assert!(old.len() > 1, "some segments became one: {:?}, {:?}", bases(&folder), bases(&after));
        Leftovers { folder, after, old: old.into_iter().map(|base| format!("{base:020}")).collect() }
    }

    /// A file of the new segment, under its name with this ending.
    fn put(&self, kind: &str, ending: &str) -> PathBuf {
        let name = format!("{}.{kind}", self.old[0]);
        let to = self.folder.join(format!("{name}{ending}"));
        std::fs::copy(self.after.join(name), &to).expect("a file of the new segment");
        to
    }

    /// The new segment, with the endings of its log and its indexes.
    fn put_all(&self, endings: [&str; 3]) {
        ["log", "index", "timeindex"]
            .iter()
            .zip(endings)
            .for_each(|(kind, ending)| _ = self.put(kind, ending));
    }

    /// Takes old segments out of the log; their files are still there.
    fn delete(&self, segments: &[String]) {
        for name in segments {
            for kind in ["log", "index", "timeindex"] {
                let from = self.folder.join(format!("{name}.{kind}"));
                let to = self.folder.join(format!("{name}.{kind}.deleted"));
                std::fs::rename(from, to).expect("a file of an old segment");
            }
        }
    }
}

#[test]
fn each_step_is_finished_or_undone_as_kafka_does() {
    let mut life = Life::begin();
    life.compact_by_kafka();
    for (marked_clean, end) in [(true, End::Clean), (false, End::Killed)] {
        let wanted = life.ask_kafka(marked_clean);
        life.judge_kafka(&wanted);
        life.take_over(marked_clean, &wanted);
        life.compact_further(end);
        life.hand_back();
    }
    // Of each state and once of all; then partitions that are as Kafka's, that are right when taken over and when compacted, what is left and
    // where the checkpoint is ahead, and partitions that are handed back.
    life.checks.finish(2 * (STATES.len() + 1 + PARTITIONS * 5 + 1));
}

/// What a program makes of a partition: how it is read, and its segments.
#[derive(Debug, PartialEq)]
struct Made {
    picture: Picture,
    segments: Vec<i64>,
}

struct Life {
    node: Node,
    tools: Tools,
    checks: Checks,
    /// As it was when what is left was written, and as it is in the turn.
    written: Table,
    table: Table,
    /// What is compacted before the compaction that is interrupted, and what could be.
    clean: i64,
    cleanable: i64,
    before: Vec<Picture>,
    left: Vec<Made>,
}

impl Life {
    /// A compaction is done, and there is something for the next.
    fn begin() -> Life {
        let mut node = Node::new(Quorum::InTheLog, &SETTINGS);
        node.format_by_kafka();
        node.start(Program::Kafka);
        let (tools, table) = (Tools::start(node.folder()), Table::new(TOPIC, PARTITIONS as i32));
        let checks = Checks::of("leftovers");
        let (written, before, left) = (table.clone(), Vec::new(), Vec::new());
        let mut life = Life { node, tools, checks, written, table, clean: 0, cleanable: 0, before, left };
        life.tool(&format!(
            "TopicCommand --bootstrap-server BROKER --create --topic {TOPIC} --partitions {PARTITIONS} --replication-factor 1 --config \
             cleanup.policy=compact --config segment.bytes=1048576 --config min.cleanable.dirty.ratio={ALWAYS}"
        ));
        life.table.write(&life.node.bootstrap(), BATCHES_AT_FIRST);
        life.wait_for_cleaner();
        life.set_ratio(NEVER);
        life.table.write(&life.node.bootstrap(), BATCHES);
        life.written = life.table.clone();
        life.before = life.made().into_iter().map(|made| made.picture).collect();
        (life.clean, life.cleanable) = (life.compacted(AHEAD), active_base(&life.folder(AHEAD)));
        life.end_and_keep("before");
        life
    }

    fn compact_by_kafka(&mut self) {
        self.node.start(Program::Kafka);
        self.set_ratio(ALWAYS);
        self.wait_for_cleaner();
        self.end_and_keep("after");
    }

    fn end_and_keep(&mut self, name: &str) {
        self.node.end(End::Clean);
        copy(&self.node.log_dir(), &self.node.folder().join(name));
    }

    fn tool(&mut self, words: &str) {
        self.node.tool(&mut self.tools, words);
    }

    fn set_ratio(&mut self, ratio: &str) {
        self.tool(&format!(
            "ConfigCommand --bootstrap-server BROKER --alter --entity-type topics --entity-name {TOPIC} --add-config \
             min.cleanable.dirty.ratio={ratio}"
        ));
        // Kafka's broker follows its metadata log a moment after the controller has answered.
        std::thread::sleep(FOLLOWS);
    }

    fn folder(&self, partition: usize) -> PathBuf {
        self.node.log_dir().join(name(partition))
    }

    fn compacted(&self, partition: usize) -> i64 {
        compacted(&self.node.log_dir(), TOPIC, partition as i32)
    }

    /// Waits until all that is closed is compacted.
    fn wait_for_cleaner(&self) {
        let until = Instant::now() + PATIENCE;
        for partition in 0..PARTITIONS {
            while self.compacted(partition) < active_base(&self.folder(partition)) {
                assert!(Instant::now() < until, "{}: up to {}", name(partition), self.compacted(partition));
                std::thread::sleep(POLL);
            }
        }
    }

    fn made(&self) -> Vec<Made> {
        let mut hand = Hand::on(&self.node.bootstrap());
        let made = |partition: usize| Made {
            picture: hand.picture(TOPIC, partition as i32),
            segments: bases(&self.folder(partition)),
        };
        (0..PARTITIONS).map(made).collect()
    }

    /// Puts the folder together as a kill would have left it.
    fn put_together(&self, marked_clean: bool) {
        let (dir, kept) = (self.node.log_dir(), |name| self.node.folder().join(name));
        copy(&kept("before"), &dir);
        for (partition, state) in STATES.iter().enumerate() {
            (state.leave)(&Leftovers::of(self.folder(partition), kept("after").join(name(partition))));
        }
        let checkpoint = dir.join("cleaner-offset-checkpoint");
        let text = std::fs::read_to_string(&checkpoint).expect("the checkpoint");
        let line = |offset| format!("{TOPIC} {AHEAD} {offset}\n");
        let text = text.replace(&line(self.clean), &line(self.cleanable));
        assert!(self.clean < self.cleanable && text.contains(&line(self.cleanable)), "{text}");
        std::fs::write(&checkpoint, text).expect("the checkpoint");
        if !marked_clean {
            std::fs::remove_file(dir.join(".kafka_cleanshutdown")).expect("the mark of a clean stop");
        }
    }

    /// What Kafka makes of it.
    fn ask_kafka(&mut self, marked_clean: bool) -> Vec<Made> {
        self.put_together(marked_clean);
        self.node.start(Program::Kafka);
        let made = self.made();
        self.node.end(End::Clean);
        made
    }

    /// Kafka finishes what is to be finished, and no more: otherwise nothing is tested.
    fn judge_kafka(&mut self, made: &[Made]) {
        for (partition, state) in STATES.iter().enumerate() {
            let is_as_before = made[partition].picture == self.before[partition];
            self.checks.equal(is_as_before, !state.is_finished, format!("on Kafka, {}", state.what));
        }
        self.checks.equal(&made[AHEAD].picture, &self.before[AHEAD], "on Kafka, where nothing is left");
    }

    fn take_over(&mut self, marked_clean: bool, wanted: &[Made]) {
        self.put_together(marked_clean);
        self.table = self.written.clone();
        self.node.start(Program::ours());
        for (partition, (made, wanted)) in self.made().iter().zip(wanted).enumerate() {
            self.checks.equal(made, wanted, format!("taken over, {}", what(partition)));
        }
        self.newest("taken over");
        let left = ["cleaned", "swap", "deleted"].iter().flat_map(|kind| files(&self.node.log_dir(), kind));
        self.checks.equal(left.count(), 0, "files that were left");
    }

    /// The latest record of each key is the one that was written last, at its offset.
    fn newest(&mut self, when: &str) -> Vec<Vec<i64>> {
        let found = self.table.read(&mut self.tools, &self.node.bootstrap());
        for (partition, found) in found.iter().enumerate() {
            let wrong = self.table.wrong(found);
            self.checks.that(wrong.is_none(), format!("{when}, {}: {wrong:?}", what(partition)));
        }
        found.iter().map(|found| found.iter().map(|read| read.offset).collect()).collect()
    }

    fn compact_further(&mut self, end: End) {
        self.table.write(&self.node.bootstrap(), BATCHES);
        self.set_ratio(ALWAYS);
        self.wait_for_cleaner();
        for (partition, offsets) in self.newest("compacted").iter().enumerate() {
            let old =
                doubled(self.clean..self.cleanable).filter(|offset| offsets.binary_search(offset).is_ok());
            let wanted = if partition == AHEAD { doubled(self.clean..self.cleanable).count() } else { 0 };
            self.checks.equal(old.count(), wanted, format!("old records, {}", what(partition)));
        }
        self.left = self.made();
        self.node.end(end);
    }

    fn hand_back(&mut self) {
        self.node.start(Program::Kafka);
        for (partition, (made, left)) in self.made().iter().zip(&self.left).enumerate() {
            self.checks.equal(made, left, format!("handed back, {}", what(partition)));
        }
        self.node.end(End::Clean);
        for partition in 0..PARTITIONS {
            let folder = self.folder(partition);
            accepts_compacted(&mut self.tools, "--deep-iteration", &files(&folder, "log"));
            accepts_compacted(&mut self.tools, "--verify-index-only", &files(&folder, "index"));
        }
    }
}

fn name(partition: usize) -> String {
    format!("{TOPIC}-{partition}")
}

fn what(partition: usize) -> &'static str {
    STATES.get(partition).map_or("the checkpoint is ahead", |state| state.what)
}
