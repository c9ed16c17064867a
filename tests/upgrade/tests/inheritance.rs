//! A folder that Kafka has filled, with what only Kafka can put there: transactions committed, aborted and left open, messages of formats 0
//! and 1; in two log directories, with every codec, by producers in mid-stream. Both programs read it byte by byte the same, at every hand-over,
//! and the producers go on in sequence on whichever runs.
//!
//! Three hand-overs; ten with `DOHLE_HAND_OVERS=10`.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::collections::BTreeMap;
use std::path::PathBuf;

use dohle_records::Compression;
use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, Session};
use dohle_tests_clients::tools::Tools;
use dohle_tests_upgrade::folder::files;
use dohle_tests_upgrade::inspect::accepts;
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use dohle_tests_upgrade::picture::{Hand, Picture, batch, old_messages};

const HAND_OVERS: usize = 3;
const SETTINGS: [(&str, &str); 5] = [
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "500"),
    ("transaction.state.log.num.partitions", "1"),
    ("log.roll.ms", "1000"),
    ("metadata.log.max.record.bytes.between.snapshots", "3000"),
];
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
/// Of one batch.
const RECORDS: i64 = 40;
const OLD_MESSAGES: i64 = 30;
/// Of one transaction: numbers of its records.
const IN_A_TRANSACTION: i64 = 5;
const OPEN: &str = "left-open";

/// Topics with their partitions: one partition per codec, per way a transaction can go, per old format.
const TOPICS: [(&str, i32); 4] = [("codecs", 5), ("transactions", 3), ("old", 2), ("empty", 1)];

/// Files by their kind and by what their folder's name begins with, how Kafka's dump is asked about them, and what it must not be silent about.
const DUMPS: [(&str, &str, &str, &str); 17] = [
    ("log", "", "", "baseOffset: "),
    ("log", "", "--deep-iteration", "| offset: "),
    ("log", "", "--print-data-log", "value 39 "),
    ("log", "", "--print-data-log --skip-record-metadata", "value 39 "),
    ("log", "codecs", "--max-bytes 4000", "baseOffset: "),
    ("log", "transactions", "--deep-iteration", "endTxnMarker: ABORT"),
    ("log", "__transaction_state", "--transaction-log-decoder", "transactionalId"),
    ("log", "__cluster_metadata", "--cluster-metadata-decoder", "TOPIC_RECORD"),
    ("index", "", "", ""),
    ("index", "", "--index-sanity-check", ""),
    ("index", "", "--verify-index-only", ""),
    ("timeindex", "", "", ""),
    ("timeindex", "", "--index-sanity-check", ""),
    ("timeindex", "", "--verify-index-only", ""),
    ("txnindex", "transactions", "", "producerId: "),
    ("snapshot", "codecs", "", "producerId: "),
    ("checkpoint", "__cluster_metadata", "--cluster-metadata-decoder", "SnapshotHeader"),
];

#[test]
fn what_only_kafka_can_write_is_inherited_and_handed_back() {
    let hand_overs = std::env::var("DOHLE_HAND_OVERS").map_or(HAND_OVERS, |n| n.parse().expect("a number"));
    assert!(hand_overs >= HAND_OVERS, "after the third one the files are looked at");
    let mut life = Life::begin();
    life.fill();
    life.node.end(End::Clean);
    life.put_old_messages();
    life.node.start(Program::Kafka);
    life.look();
    life.go_on();
    life.look();
    life.node.end(End::Killed);
    for turn in 0..hand_overs {
        let program = if turn % 2 == 0 { Program::ours() } else { Program::Kafka };
        life.node.start(program);
        life.compare(turn, program);
        life.go_on();
        life.look();
        life.node.end(if turn % 4 < 2 { End::Killed } else { End::Clean });
        if turn == 2 {
            life.judge_files();
        }
    }
    life.node.start(Program::Kafka);
    life.compare(hand_overs, Program::Kafka);
    life.close_what_was_open();
    let partitions: usize = TOPICS.iter().map(|(_, partitions)| *partitions as usize).sum();
    // Per comparison each partition; per turn two batches of each codec; the old formats, the transactions as Kafka shows them, the end,
    // the number of epochs.
    life.checks.finish(
        partitions * (hand_overs + 1) + 2 * CODECS.len() * (hand_overs + 1) + 2 + 3 + 2 + 1 + DUMPS.len(),
    );
}

struct Life {
    node: Node,
    admin: Option<Session>,
    /// Per codec: the producer, and how many records it has written.
    producers: Vec<((i64, i16), i64)>,
    pictures: BTreeMap<(&'static str, i32), Picture>,
    checks: Checks,
}

impl Life {
    fn begin() -> Life {
        let node = Node::with_dirs(Quorum::InTheLog, &SETTINGS, 2);
        node.format_by_kafka();
        Life {
            node,
            admin: None,
            producers: Vec::new(),
            pictures: BTreeMap::new(),
            checks: Checks::of("inheritance"),
        }
    }

    fn hand(&self) -> Hand {
        Hand::on(&self.node.bootstrap())
    }

    fn fill(&mut self) {
        self.node.start(Program::Kafka);
        let mut admin = Client::FranzGo.start(&self.node.bootstrap(), self.node.folder());
        for (topic, partitions) in TOPICS {
            admin.ask(&format!(
                "create topic={topic} partitions={partitions} replicas=1 config=retention.ms:-1"
            ));
        }
        self.admin = Some(admin);
        let mut hand = self.hand();
        for _ in CODECS {
            self.producers.push((hand.producer_id(None), 0));
        }
        self.transactions(&mut hand);
    }

    /// One partition with a transaction that was committed, one with an aborted one, one with one left open; records of nobody around them.
    fn transactions(&mut self, hand: &mut Hand) {
        let topic = "transactions";
        for (partition, (id, committed)) in
            (0..).zip([("kept", Some(true)), ("taken-back", Some(false)), (OPEN, None)])
        {
            let of = hand.producer_id(Some(id));
            let plain = |hand: &mut Hand, from| {
                hand.produce(topic, partition, None, &batch(Compression::None, None, from..from + 3, false));
            };
            plain(hand, 0);
            for (first, committed) in [(0, Some(committed != Some(false))), (IN_A_TRANSACTION, committed)] {
                hand.add_to_transaction(id, of, topic, partition);
                let numbers = first..first + IN_A_TRANSACTION;
                hand.produce(topic, partition, Some(id), &batch(Compression::Lz4, Some(of), numbers, true));
                plain(hand, first + 3);
                if let Some(committed) = committed {
                    hand.end_transaction(id, of, committed);
                }
            }
            plain(hand, 40);
        }
    }

    /// As an old Kafka would have left them, without indexes, in the folders of a topic that is empty.
    fn put_old_messages(&mut self) {
        for magic in [0, 1] {
            let found: Vec<PathBuf> =
                self.node.log_dirs().iter().map(|dir| dir.join(format!("old-{magic}"))).collect();
            let folder = found.iter().find(|folder| folder.is_dir()).expect("the folder of a partition");
            for entry in std::fs::read_dir(folder).expect("the folder of a partition") {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                if name.starts_with("0000") {
                    std::fs::remove_file(path).expect("a file of an empty log");
                }
            }
            let log = folder.join("00000000000000000000.log");
            std::fs::write(log, old_messages(magic, OLD_MESSAGES)).expect("a log by hand");
        }
        for dir in self.node.log_dirs() {
            // Whoever starts looks at everything.
            let _was_there = std::fs::remove_file(dir.join(".kafka_cleanshutdown"));
        }
    }

    /// The producers of all codecs go on where they are; the batch before is sent again and known.
    fn go_on(&mut self) {
        let mut hand = self.hand();
        for (partition, codec) in (0..).zip(CODECS) {
            let (of, written) = &mut self.producers[partition as usize];
            let (of, from) = (*of, *written);
            *written += RECORDS;
            if from > 0 {
                let again = batch(codec, Some(of), from - RECORDS..from, false);
                let at = hand.produce("codecs", partition, None, &again);
                self.checks.equal(at, from - RECORDS, format!("{codec:?} sent again is where it was"));
            } else {
                self.checks.that(true, "nothing to send again");
            }
            let at =
                hand.produce("codecs", partition, None, &batch(codec, Some(of), from..from + RECORDS, false));
            self.checks.equal(at, from, format!("{codec:?} goes on in sequence"));
        }
    }

    fn take(&self) -> BTreeMap<(&'static str, i32), Picture> {
        let mut hand = self.hand();
        // After a kill a directory is clean again when each of its logs was opened, and nobody else asks Dohle for this one.
        let _opened = hand.picture("__transaction_state", 0);
        let places = TOPICS.iter().flat_map(|(topic, partitions)| (0..*partitions).map(move |p| (*topic, p)));
        places.map(|(topic, partition)| ((topic, partition), hand.picture(topic, partition))).collect()
    }

    fn look(&mut self) {
        let first = self.pictures.is_empty();
        self.pictures = self.take();
        if first {
            for magic in 0..2 {
                let old = &self.pictures[&("old", magic)];
                let what = format!("messages of format {magic} that Kafka reads");
                self.checks.equal(old.batches.len() as i64, OLD_MESSAGES, what);
            }
            let [kept, taken, open] = [0, 1, 2].map(|p| &self.pictures[&("transactions", p)]);
            self.checks.that(kept.aborted.is_empty() && kept.last_stable == kept.high_watermark, "committed");
            self.checks.equal(taken.aborted.len(), 2, "aborted transactions");
            self.checks.that(open.last_stable < open.high_watermark, "a transaction is open");
        }
    }

    fn compare(&mut self, turn: usize, program: Program) {
        for ((topic, partition), picture) in self.take() {
            let what = format!("turn {turn}: {topic}-{partition} on {program:?}");
            self.checks.equal(&picture, &self.pictures[&(topic, partition)], what);
        }
    }

    /// Kafka's dump finds no fault in what our clean stop has left.
    fn judge_files(&mut self) {
        let epochs = self.pictures.values().map(|picture| picture.epochs.len()).max();
        self.checks.that(epochs >= Some(3), "logs of several leader epochs were compared");
        let mut tools = Tools::start(self.node.folder());
        for dir in self.node.log_dirs() {
            assert!(dir.join(".kafka_cleanshutdown").is_file(), "{} is not marked clean", dir.display());
        }
        for (kind, topic, flags, shown) in DUMPS {
            let mut found: Vec<PathBuf> =
                self.node.log_dirs().iter().flat_map(|dir| files(dir, kind)).collect();
            let of_topic = |path: &PathBuf| {
                let folder = path.parent().and_then(|folder| folder.file_name()).expect("a folder");
                folder.to_string_lossy().starts_with(topic)
            };
            found.retain(of_topic);
            assert!(!found.is_empty(), "no .{kind} of {topic}");
            let printed = accepts(&mut tools, flags, &found);
            let what = format!("{} files .{kind} of '{topic}' with '{flags}' show '{shown}'", found.len());
            self.checks.that(printed.contains(shown), what);
        }
    }

    /// Kafka's coordinator ends the transaction that was open all the time.
    fn close_what_was_open(&mut self) {
        let mut hand = self.hand();
        hand.producer_id(Some(OPEN));
        let picture = hand.picture("transactions", 2);
        self.checks.equal(picture.last_stable, picture.high_watermark, "no transaction is open");
        self.checks.equal(picture.aborted.len(), 1, "what was open is aborted");
        self.node.end(End::Clean);
    }
}
