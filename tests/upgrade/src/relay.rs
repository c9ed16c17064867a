//! Writes turn by turn, under load, and checks at each turn that everything of the turns before reads the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, Session};
use dohle_tests_clients::content::Contents;
use serde_json::Value;

use crate::node::{End, Node, Program};

const PARTITIONS: u64 = 3;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// Written with one codec at a time.
const RECORDS: u64 = 120;
/// Large records, so that a segment of the least size is full after two of them.
const LARGE_BYTES: u64 = 700_000;
const LARGE_RECORDS: u64 = 3;
/// Deleted from the front of a topic: beyond its first segment.
const PURGED: u64 = 2;
const SMALLEST_SEGMENT: u64 = 1 << 20;
/// The topic that one idempotent producer writes to without a pause, over all turns.
const LOAD: &str = "load";
/// Its segments roll under the load, and with each a snapshot of its producer is taken.
const LOAD_ROLLS_MS: u64 = 500;
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
const OUR_KEYS: &str = "dohle.";
const LISTED_LIMIT: Duration = Duration::from_secs(10);
const SETTLE_POLL: Duration = Duration::from_millis(10);
/// Kafka's broker follows its metadata log a moment after the controller has answered.
const FOLLOWS: Duration = Duration::from_millis(300);

/// Checks of one turn with `topics` topics of records from earlier turns.
pub const fn owed_by_turn(topics: usize) -> usize {
    // The topics listed; per turn the records, their digests, and what both topics show of themselves; what is written per codec to one new
    // topic and by one codec to each that was there; the mark of a purge; the load that goes on.
    1 + 4 * topics + CODECS.len() + topics + 1 + 1
}

/// Checks of the end, after the turns: sent is acknowledged, read in order, found in its place.
pub const OWED_BY_LOAD: usize = 3;

/// A topic of records that a seed tells.
struct Topic {
    name: String,
    contents: Contents,
}

/// What a topic showed of itself when it was last written to.
#[derive(Debug, PartialEq)]
struct Seen {
    ends: Value,
    description: Value,
}

pub struct Relay {
    node: Node,
    clients: Option<Clients>,
    topics: Vec<Topic>,
    seen: BTreeMap<String, Seen>,
    killed: bool,
    /// Kafka has recovered the folder after a kill. It then knows of each producer only the last batch (`LogLoader.recoverSegment`
    /// takes a snapshot at the end), so that of several batches under way the earlier ones, sent again, are stored again.
    kafka_recovered: bool,
    pub checks: Checks,
}

/// The writer goes through all turns as one process; it and the reader are of different makers.
struct Clients {
    writer: Session,
    reader: Session,
}

impl Relay {
    pub fn on(node: Node, name: &str) -> Relay {
        Relay {
            node,
            clients: None,
            topics: Vec::new(),
            seen: BTreeMap::new(),
            killed: false,
            kafka_recovered: false,
            checks: Checks::of(name),
        }
    }

    /// One turn of a program: all is there, more is written, the program ends. How long it took to start.
    pub fn turn(&mut self, program: Program, end: End) -> Duration {
        let took = self.start(program);
        self.connect();
        let turn = self.topics.len();
        println!("turn {turn}: {program:?} answers after {took:?}, will be {end:?}");
        self.compare_all(program);
        self.write_more();
        self.write_new(turn);
        self.write_large(turn);
        self.progress();
        std::thread::sleep(FOLLOWS);
        self.look_at_all();
        self.node.end(end);
        self.killed = end == End::Killed;
        took
    }

    /// Ends the load on the program that begins now, and looks for each record that it was told is stored.
    pub fn settle(mut self, program: Program, owed: usize) {
        self.start(program);
        self.compare_all(program);
        let folder = self.node.folder().to_owned();
        let sent = self.writer().ask("soak-stop");
        self.checks.equal(&sent["acknowledged"], &sent["sent"], "the load that was acknowledged");
        let dump = folder.join("load.dump");
        self.reader().ask(&format!("dump topic={LOAD} partitions={PARTITIONS} file={}", dump.display()));
        self.find_load(&folder.join("load.ledger"), &dump);
        self.node.end(End::Clean);
        self.checks.finish(owed);
    }

    fn start(&mut self, program: Program) -> Duration {
        self.kafka_recovered |= self.killed && program == Program::Kafka;
        self.node.start(program)
    }

    fn connect(&mut self) {
        if self.clients.is_some() {
            return;
        }
        let start = |client: Client| client.start(&self.node.bootstrap(), self.node.folder());
        self.clients = Some(Clients { writer: start(Client::Java), reader: start(Client::FranzGo) });
        self.create(LOAD, &format!(",segment.ms:{LOAD_ROLLS_MS}"));
        let ledger = self.node.folder().join("load.ledger");
        let load = format!("soak topic={LOAD} partitions={PARTITIONS} codec=lz4 ledger={}", ledger.display());
        self.writer().ask(&load);
    }

    fn writer(&mut self) -> &mut Session {
        &mut self.clients.as_mut().expect("the clients are connected").writer
    }

    fn reader(&mut self) -> &mut Session {
        &mut self.clients.as_mut().expect("the clients are connected").reader
    }

    /// The topics, every record, every offset and every setting are as they were.
    fn compare_all(&mut self, program: Program) {
        let mut wanted: Vec<&str> = self.seen.keys().map(String::as_str).chain([LOAD]).collect();
        wanted.sort_unstable();
        let wanted = Value::from(wanted);
        // Both the client and Kafka's broker, which follows its metadata log, may show the topics of a moment ago.
        let mut listed = self.reader().ask("list")["topics"].clone();
        let until = Instant::now() + LISTED_LIMIT;
        while listed != wanted && Instant::now() < until {
            std::thread::sleep(SETTLE_POLL);
            listed = self.reader().ask("list")["topics"].clone();
        }
        self.checks.equal(&listed, &wanted, format!("the topics on {program:?}"));
        for index in 0..self.topics.len() {
            let Topic { name, contents } = &self.topics[index];
            let (name, contents) = (name.clone(), *contents);
            let got = self.reader().ask(&format!("consume topic={name} {}", contents.arguments()));
            let what = format!("{name} on {program:?}");
            self.checks.equal(got["records"].as_u64(), Some(contents.count), format!("records of {what}"));
            let wanted = Value::from(contents.digests());
            self.checks.equal(&got["crc32"], &wanted, format!("digests of {what}"));
            for name in [name, large(index)] {
                let seen = self.look_at(&name);
                let what = format!("offsets, partitions and settings of {name} on {program:?}");
                self.checks.equal(&seen, &self.seen[&name], what);
            }
        }
    }

    fn look_at_all(&mut self) {
        let names: Vec<String> = self.seen.keys().cloned().collect();
        for name in names {
            let seen = self.look_at(&name);
            self.seen.insert(name, seen);
        }
    }

    fn look_at(&mut self, topic: &str) -> Seen {
        let ends = self.writer().ask(&format!("ends topic={topic} partitions={PARTITIONS}"));
        let mut description = self.writer().ask(&format!("describe topic={topic}"));
        let settings = description["configs"].as_object_mut().expect("a topic has settings");
        settings.retain(|key, _| !key.starts_with(OUR_KEYS)); // Kafka cannot show what it does not know
        Seen { ends, description }
    }

    /// Every topic of the turns before grows by one codec's share.
    fn write_more(&mut self) {
        let codec = CODECS[self.topics.len() % CODECS.len()];
        for index in 0..self.topics.len() {
            self.write(index, codec, true);
        }
    }

    /// A topic of this turn, with every codec, and settings of its own that are altered afterwards.
    fn write_new(&mut self, turn: usize) {
        let name = format!("turn-{turn}");
        self.create(&name, ",index.interval.bytes:512,cleanup.policy:delete,max.message.bytes:2000000");
        let contents =
            Contents { seed: 100 + turn as u32, partitions: PARTITIONS, count: 0, header_nulls: true };
        self.topics.push(Topic { name: name.clone(), contents });
        self.seen.insert(name.clone(), Seen { ends: Value::Null, description: Value::Null });
        for (step, codec) in CODECS.into_iter().enumerate() {
            self.write(turn, codec, step % 2 == 0);
        }
        self.writer().ask(&format!("alter topic={name} config=max.message.bytes:3000000"));
        self.writer().ask(&format!("reset topic={name} config=index.interval.bytes:"));
    }

    fn write(&mut self, topic: usize, codec: &str, idempotent: bool) {
        let Topic { name, contents } = &mut self.topics[topic];
        let (name, from) = (name.clone(), contents.count);
        contents.count += RECORDS;
        let part = Contents { count: RECORDS, ..*contents };
        let sent = self.writer().ask(&format!(
            "produce topic={name} from={from} codec={codec} idempotent={idempotent} {}",
            part.arguments()
        ));
        let what = format!("offsets told for {name} with {codec}");
        self.checks.equal(sent["at_offset"].as_u64(), Some(RECORDS), what);
    }

    /// A topic whose segments roll and whose front is deleted; and one that is deleted as a whole.
    fn write_large(&mut self, turn: usize) {
        let (name, gone) = (large(turn), format!("gone-{turn}"));
        self.create(&name, &format!(",segment.bytes:{SMALLEST_SEGMENT},cleanup.policy:delete"));
        self.create(&gone, "");
        for topic in [&name, &gone] {
            for _ in 0..LARGE_RECORDS {
                self.writer()
                    .ask(&format!("big topic={topic} partition=0 bytes={LARGE_BYTES} idempotent=true"));
            }
        }
        let purged = self.writer().ask(&format!("purge topic={name} partition=0 offset={PURGED}"));
        self.checks.equal(purged["low_watermark"].as_u64(), Some(PURGED), "the low watermark after a purge");
        self.writer().ask(&format!("delete topic={gone}"));
        self.seen.insert(name, Seen { ends: Value::Null, description: Value::Null });
    }

    /// Creates a topic and waits until its leaders answer.
    fn create(&mut self, topic: &str, config: &str) {
        // The records' timestamps are years old; only without retention do they stay.
        self.writer().ask(&format!(
            "create topic={topic} partitions={PARTITIONS} replicas=1 config=retention.ms:-1{config}"
        ));
        let until = Instant::now() + SETTLE_LIMIT;
        while self.writer().ask_or_wait(&format!("ends topic={topic} partitions={PARTITIONS}")).is_none() {
            assert!(Instant::now() < until, "{topic} has no leaders");
            std::thread::sleep(SETTLE_POLL);
        }
    }

    /// Waits until the load gets acknowledgements on this turn: its producer has gone on in sequence.
    fn progress(&mut self) {
        let acknowledged = |relay: &mut Relay| relay.writer().ask("soak-count")["acknowledged"].as_u64();
        let before = acknowledged(self);
        let until = Instant::now() + SETTLE_LIMIT;
        while acknowledged(self) == before {
            assert!(Instant::now() < until, "the load gets no acknowledgement any more");
            std::thread::sleep(SETTLE_POLL);
        }
        self.checks.that(true, "the load goes on");
    }

    /// Every number that was sent is there, once and in order, and each acknowledgement names the place of its record.
    fn find_load(&mut self, ledger: &Path, dump: &Path) {
        let mut numbers = vec![Vec::new(); PARTITIONS as usize];
        for [partition, offset, number] in lines(dump) {
            let log = &mut numbers[partition as usize];
            assert_eq!(
                offset,
                log.len() as u64,
                "partition {partition} of the load has a gap in its offsets"
            );
            log.push(number);
        }
        let again = |log: &Vec<u64>| log.iter().zip(0..).find(|(number, offset)| *number != offset).is_some();
        let lost = |log: &Vec<u64>| {
            let seen: BTreeSet<u64> = log.iter().copied().collect();
            seen.last().is_some_and(|last| last + 1 != seen.len() as u64)
        };
        let wrong = numbers.iter().filter(|log| if self.kafka_recovered { lost(log) } else { again(log) });
        self.checks.equal(wrong.count(), 0, "partitions of the load with records lost, doubled or moved");
        let acknowledged = lines(ledger);
        let misplaced = acknowledged.iter().filter(|[partition, offset, number]| {
            numbers[*partition as usize].get(*offset as usize) != Some(number)
        });
        self.checks.equal(
            misplaced.count(),
            0,
            "acknowledged records of the load that are not in their place",
        );
        println!("{} records of the load are in their places", acknowledged.len());
    }
}

fn large(turn: usize) -> String {
    format!("large-{turn}")
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
