//! A cleaner that is killed at its work: the other program drops what was not finished, reads what was there, compacts on, and hands back.
//!
//! With `DOHLE_TEST_TARGET=kafka` Kafka takes all turns: so the tests are proved.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::tools::Tools;
use dohle_tests_upgrade::folder::{active_base, compacted, files, stem};
use dohle_tests_upgrade::inspect::accepts_compacted;
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use dohle_tests_upgrade::picture::{Hand, Picture};
use dohle_tests_upgrade::table::Table;

const TOPIC: &str = "table";
const SETTINGS: [(&str, &str); 3] = [
    ("log.cleaner.backoff.ms", "100"),
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "500"),
];
const RATE_KEY: &str = "log.cleaner.io.max.bytes.per.second";
/// A segment takes a second or more, so that the cleaner is met in the middle of one.
const SLOW: &str = "1000000";
const FAST: &str = "1000000000";
/// More than two segments of the least size.
const BATCHES: i64 = 26;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
const OWED: usize = 14;

#[test]
fn kafkas_cleaner_is_killed() {
    interrupt("Kafka's cleaner", Program::Kafka, Program::ours());
}

#[test]
fn our_cleaner_is_killed() {
    interrupt("our cleaner", Program::ours(), Program::Kafka);
}

fn interrupt(name: &str, first: Program, second: Program) {
    let mut life = Life::begin(name, first);
    life.compact("to begin with");
    life.kill_the_cleaner(first);
    life.take_over(second);
    life.compact("what the other began");
    let left = life.hand_back();
    life.node.start(first);
    life.is(&left, "handed back");
    life.newest("handed back");
    life.compact("handed back");
    life.node.end(End::Clean);
    life.judge_files();
    life.checks.finish(OWED);
}

struct Life {
    node: Node,
    tools: Tools,
    table: Table,
    checks: Checks,
}

impl Life {
    fn begin(name: &str, first: Program) -> Life {
        let mut node = Node::new(Quorum::InTheLog, &SETTINGS);
        node.format_by_kafka();
        node.start(first);
        let tools = Tools::start(node.folder());
        let mut life = Life { node, tools, table: Table::new(TOPIC, 1), checks: Checks::of(name) };
        life.tool(&format!(
            "TopicCommand --bootstrap-server BROKER --create --topic {TOPIC} --partitions 1 --replication-factor 1 --config \
             cleanup.policy=compact --config segment.bytes=1048576 --config min.cleanable.dirty.ratio=0.01"
        ));
        life
    }

    fn tool(&mut self, words: &str) {
        self.node.tool(&mut self.tools, words);
    }

    fn set_rate(&mut self, rate: &str) {
        self.tool(&format!(
            "ConfigCommand --bootstrap-server BROKER --alter --entity-type brokers --entity-default --add-config {RATE_KEY}={rate}"
        ));
    }

    fn folder(&self) -> PathBuf {
        self.node.log_dir().join(format!("{TOPIC}-0"))
    }

    fn compacted(&self) -> i64 {
        compacted(&self.node.log_dir(), TOPIC, 0)
    }

    /// Writes more than two segments and waits until all that is closed is compacted.
    fn compact(&mut self, what: &str) {
        let before = self.table.written;
        self.table.write(&self.node.bootstrap(), BATCHES);
        let until = Instant::now() + PATIENCE;
        while self.compacted() < active_base(&self.folder()).max(before) && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        let (compacted, active) = (self.compacted(), active_base(&self.folder()));
        let said = format!("{what}: compacted up to {compacted}, active from {active}, there was {before}");
        self.checks.that(compacted >= active && active > before, said);
        self.newest(what);
    }

    /// The latest record of each key is the one that was written last, at its offset.
    fn newest(&mut self, what: &str) {
        let found = self.table.read(&mut self.tools, &self.node.bootstrap()).remove(0);
        let wrong = self.table.wrong(&found);
        self.checks.that(wrong.is_none(), format!("{what}: {wrong:?}"));
    }

    fn picture(&self) -> Picture {
        Hand::on(&self.node.bootstrap()).picture(TOPIC, 0)
    }

    fn is(&mut self, wanted: &Picture, what: &str) {
        let found = self.picture();
        self.checks.equal(&found, wanted, what);
    }

    /// Ends the program when the cleaner has replaced some segments and is writing another.
    fn kill_the_cleaner(&mut self, program: Program) {
        self.set_rate(SLOW);
        let folder = self.folder();
        let replaced = || files(&folder, "deleted").len();
        let replaced_before = replaced();
        self.table.write(&self.node.bootstrap(), BATCHES);
        // Kafka writes a segment bit by bit, we when there is enough of it.
        let least = u64::from(program == Program::Kafka);
        let is_begun = |path: &PathBuf| {
            stem(path).ends_with(".log") && path.metadata().is_ok_and(|file| file.len() >= least)
        };
        let is_at_work = || replaced() > replaced_before && files(&folder, "cleaned").iter().any(is_begun);
        let until = Instant::now() + PATIENCE;
        while !is_at_work() && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        let before = self.compacted();
        self.node.end(End::Killed);
        self.checks.that(is_at_work(), "a segment that was replaced and one that is not finished are left");
        self.checks
            .that(before > 0 && self.compacted() == before, "the checkpoint is of the compaction before");
    }

    fn take_over(&mut self, program: Program) {
        self.node.start(program);
        let found = self.picture();
        self.checks.equal((found.start, found.high_watermark), (0, self.table.written), "offsets");
        self.newest("taken over");
        self.set_rate(FAST);
    }

    /// What the program that is killed now leaves behind.
    fn hand_back(&mut self) -> Picture {
        let left = self.picture();
        self.node.end(End::Killed);
        self.judge_files();
        left
    }

    /// Kafka's tools find no fault in what a program leaves.
    fn judge_files(&mut self) {
        let folder = self.folder();
        accepts_compacted(&mut self.tools, "--deep-iteration", &files(&folder, "log"));
        let indexes = files(&folder, "index");
        accepts_compacted(&mut self.tools, "--verify-index-only", &indexes);
        let left = ["cleaned", "swap"].iter().flat_map(|extension| files(&folder, extension)).count();
        self.checks.equal(left, 0, "files of an unfinished compaction");
    }
}
