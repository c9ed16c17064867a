//! Kafka is killed in the middle of a move between its log directories; Dohle goes on with it, and Kafka goes on with what Dohle has left.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dohle_records::Compression;
use dohle_tests_clients::tools::Tools;
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use dohle_tests_upgrade::picture::{Hand, Picture, batch};

const TOPIC: &str = "moving";
const RATE_KEY: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
/// Slow enough that the move is under way when it is killed: what was written takes twenty seconds and more.
const RATE: &str = "100000";
const SETTINGS: [(&str, &str); 3] = [
    ("replica.fetch.max.bytes", "100000"),
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "500"),
];
const BATCHES: i64 = 40;
const RECORDS_OF_A_BATCH: i64 = 500;
const PATIENCE: Duration = Duration::from_secs(60);

struct Life {
    node: Node,
    tools: Tools,
}

impl Life {
    fn tool(&mut self, words: &str) -> String {
        self.node.tool(&mut self.tools, words)
    }

    /// Has Kafka's tool move the partition to a directory.
    fn relocate(&mut self, to: usize) -> PathBuf {
        let plan = self.node.folder().join("plan.json");
        let directory = self.node.log_dirs()[to].display().to_string();
        let text = format!(
            r#"{{"version":1,"partitions":[{{"topic":"{TOPIC}","partition":0,"replicas":[1],"log_dirs":["{directory}"]}}]}}"#
        );
        std::fs::write(&plan, text).expect("the plan");
        let file = plan.display();
        self.tool(&format!(
            "ReassignPartitionsCommand --bootstrap-server BROKER --reassignment-json-file {file} --execute"
        ));
        plan
    }

    fn set_rate(&mut self, rate: &str) {
        self.tool(&format!(
            "ConfigCommand --bootstrap-server BROKER --alter --entity-type brokers --entity-name 1 --add-config {RATE_KEY}={rate}"
        ));
    }

    fn is_done(&mut self, plan: &Path) -> bool {
        let file = plan.display();
        let told = self.tool(&format!(
            "ReassignPartitionsCommand --bootstrap-server BROKER --reassignment-json-file {file} --verify"
        ));
        assert!(!told.contains("failed"), "{told}");
        !told.contains("still in progress")
    }

    /// The folders of the partition, of any name.
    fn folders(&self) -> Vec<PathBuf> {
        let dirs = self.node.log_dirs();
        let entries = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).expect("a directory"));
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let is_ours = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("moving-0"))
        };
        paths.filter(is_ours).collect()
    }

    fn place(&self) -> usize {
        let holds = |dir: &PathBuf| dir.join(format!("{TOPIC}-0")).is_dir();
        let dirs = self.node.log_dirs();
        assert_eq!(dirs.iter().filter(|dir| holds(dir)).count(), 1, "{:?}", self.folders());
        dirs.iter().position(holds).expect("one holds it")
    }

    fn picture(&self) -> Picture {
        Hand::on(&self.node.bootstrap()).picture(TOPIC, 0)
    }
}

fn size_of(folder: &PathBuf) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let logs = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|kind| kind == "log"));
    logs.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_move_of_kafkas_is_brought_to_its_end() {
    let node = Node::with_dirs(Quorum::InTheLog, &SETTINGS, 2);
    node.format_by_kafka();
    let tools = Tools::start(node.folder());
    let mut life = Life { node, tools };
    life.node.start(Program::Kafka);
    life.tool(&format!(
        "TopicCommand --bootstrap-server BROKER --create --topic {TOPIC} --partitions 1 --replication-factor 1 --config segment.bytes=1048576"
    ));
    let mut hand = Hand::on(&life.node.bootstrap());
    for number in 0..BATCHES {
        let first = number * RECORDS_OF_A_BATCH;
        hand.produce(
            TOPIC,
            0,
            None,
            &batch(Compression::None, None, first..first + RECORDS_OF_A_BATCH, false),
        );
    }
    let (from, before) = (life.place(), life.picture());
    assert_eq!(before.high_watermark, BATCHES * RECORDS_OF_A_BATCH);
    life.set_rate(RATE);
    life.relocate(1 - from);
    let is_future = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with("-future"));
    let size = |life: &Life| life.folders().iter().filter(|path| is_future(path)).map(size_of).sum::<u64>();
    eventually("Kafka copies something", || size(&life) > 100_000);
    life.node.end(End::Killed);
    assert!(size(&life) > 0, "a copy is left: {:?}", life.folders());
    assert_eq!(life.place(), from, "and not more than that");

    life.node.start(Program::Dohle);
    assert_eq!(life.picture(), before);
    // So that the rest does not take long.
    life.set_rate("1000000000");
    eventually("Dohle brings it to its end", || !life.folders().iter().any(is_future));
    assert_eq!((life.place(), life.picture()), (1 - from, before.clone()));
    life.node.end(End::Clean);

    life.node.start(Program::Kafka);
    assert_eq!((life.place(), life.picture()), (1 - from, before.clone()));
    let plan = life.relocate(from);
    eventually("Kafka moves what Dohle has moved", || life.is_done(&plan));
    assert_eq!((life.place(), life.picture()), (from, before));
    life.node.end(End::Clean);
}
