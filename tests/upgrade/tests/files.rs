//! Kafka's tools find no fault in any file of a life of Dohle: written with every codec, rolled, purged, altered, killed, stopped.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dohle_records::{BatchBuilder, Compression};
use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, Session};
use dohle_tests_clients::content::Contents;
use dohle_tests_clients::tools::Tools;
use dohle_tests_upgrade::folder::files;
use dohle_tests_upgrade::inspect::{accepts, refuses, shows};
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use dohle_tests_upgrade::picture::{Hand, batch, first_timestamp};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const PARTITIONS: u64 = 3;
/// Written with one codec at a time.
const RECORDS: u64 = 900;
const LARGE_BYTES: u64 = 600_000;
/// Records of a batch whose content the dump has to print: text in one partition, numbers in another.
const PLAIN: i64 = 40;
const TEXT: i32 = 0;
const NUMBERS: i32 = 1;
const NUMBER_DECODERS: &str = "--key-decoder-class org.apache.kafka.tools.api.IntegerDecoder \
                               --value-decoder-class org.apache.kafka.tools.api.LongDecoder";
/// A snapshot of the metadata after so many bytes of records: several of them in this life.
const SNAPSHOT_BYTES: &str = "3000";
/// How long deleted files and deleted partitions may stay.
const GONE_LIMIT: Duration = Duration::from_secs(10);
const GONE_POLL: Duration = Duration::from_millis(20);

#[test]
fn kafkas_tools_find_no_fault() {
    let mut life = Life::begin();
    life.first_part();
    life.node.end(End::Killed);
    life.node.start(Program::Dohle);
    life.second_part();
    life.node.end(End::Clean);
    life.judge_logs();
    life.judge_contents();
    life.judge_indexes();
    life.judge_metadata();
    life.judge_the_judges();
    life.checks.finish(OWED);
}

const OWED: usize = 97;

struct Life {
    node: Node,
    client: Session,
    tools: Tools,
    checks: Checks,
}

impl Life {
    fn begin() -> Life {
        let settings = [
            ("metadata.log.max.record.bytes.between.snapshots", SNAPSHOT_BYTES),
            ("log.initial.task.delay.ms", "100"),
            ("log.retention.check.interval.ms", "100"),
        ];
        let mut node = Node::new(Quorum::InTheLog, &settings);
        node.start(Program::Dohle);
        let client = Client::FranzGo.start(&node.bootstrap(), node.folder());
        let tools = Tools::start(node.folder());
        Life { node, client, tools, checks: Checks::of("files") }
    }

    fn first_part(&mut self) {
        self.create("codecs", "segment.bytes:1048576,index.interval.bytes:256");
        self.create(
            "compacted",
            "cleanup.policy:compact,segment.bytes:1048576,min.cleanable.dirty.ratio:0.1",
        );
        self.create("purged", "segment.bytes:1048576,file.delete.delay.ms:0");
        self.create("gone", "file.delete.delay.ms:0");
        self.create("plain", "index.interval.bytes:256");
        self.write_plain();
        for topic in ["codecs", "purged", "gone"] {
            self.write(topic, 0, &CODECS);
            self.write_large(topic, 4);
        }
        self.configure("--alter --add-config log.segment.ms=86400000,message.max.bytes=2000000");
    }

    fn second_part(&mut self) {
        self.write("codecs", 1, &CODECS);
        self.write_large("codecs", 4);
        let purged = self.client.ask("purge topic=purged partition=0 offset=1504");
        self.checks.equal(purged["low_watermark"].as_u64(), Some(1504), "the low watermark after a purge");
        self.client.ask("alter topic=purged config=retention.ms:99999999999999,segment.bytes:2097152");
        self.client.ask("reset topic=purged config=segment.bytes:");
        self.client.ask("grow topic=compacted partitions=5");
        self.client.ask("delete topic=gone");
        self.configure("--alter --delete-config log.segment.ms");
        self.wait_until_gone("the segments before the purge", |path| {
            path.contains("purged-0/00000000000000000000.")
        });
        self.wait_until_gone("the deleted topic", |path| path.contains("/gone-"));
        self.have_a_snapshot_taken();
    }

    /// Alters something that nobody looks at until there is a snapshot that knows of all that was done before.
    fn have_a_snapshot_taken(&mut self) {
        let latest = |life: &Life| life.of_metadata("checkpoint").pop();
        let before = latest(self);
        for number in 1..1000 {
            self.client.ask(&format!("alter topic=plain config=flush.ms:{number}"));
            if latest(self) != before {
                return;
            }
        }
        panic!("no snapshot is taken after {before:?}");
    }

    fn create(&mut self, topic: &str, config: &str) {
        self.client.ask(&format!(
            "create topic={topic} partitions={PARTITIONS} replicas=1 config=retention.ms:-1,{config}"
        ));
        let ends = format!("ends topic={topic} partitions={PARTITIONS}");
        while self.client.ask_or_wait(&ends).is_none() {
            std::thread::sleep(GONE_POLL);
        }
    }

    fn write(&mut self, topic: &str, round: u64, codecs: &[&str]) {
        let contents = Contents { seed: 7, partitions: PARTITIONS, count: RECORDS, header_nulls: true };
        for (step, codec) in codecs.iter().enumerate() {
            let from = (round * codecs.len() as u64 + step as u64) * RECORDS;
            let command = format!(
                "produce topic={topic} from={from} codec={codec} idempotent={} {}",
                step % 2 == 0,
                contents.arguments()
            );
            let sent = self.client.ask(&command);
            self.checks.equal(sent["records"].as_u64(), Some(RECORDS), command);
        }
    }

    /// A batch of text and one of numbers with each codec.
    fn write_plain(&mut self) {
        let mut hand = Hand::on(&self.node.bootstrap());
        for (turn, codec) in (0..).zip(Compression::ALL) {
            let range = turn * PLAIN..(turn + 1) * PLAIN;
            hand.produce("plain", TEXT, None, &batch(codec, None, range.clone(), false));
            let mut numbers = BatchBuilder::new(codec);
            for number in range {
                let (key, value) = ((number as i32).to_be_bytes(), cubed(number).to_be_bytes());
                numbers.append(TimestampMs(first_timestamp() + number), Some(&key), Some(&value), &[]);
            }
            hand.produce("plain", NUMBERS, None, &numbers.build(Offset(0), LeaderEpoch(-1)).to_vec());
        }
    }

    fn write_large(&mut self, topic: &str, count: usize) {
        for _ in 0..count {
            let bytes = LARGE_BYTES;
            self.client.ask(&format!("big topic={topic} partition=0 bytes={bytes} idempotent=true"));
        }
    }

    /// Alters the configuration of all brokers by Kafka's tool.
    fn configure(&mut self, what: &str) {
        let words = format!(
            "ConfigCommand --bootstrap-server {} --entity-type brokers --entity-default {what}",
            self.node.bootstrap()
        );
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let printed = self.tools.run(&words, "");
        self.checks.equal(printed.exit, 0, format!("{what}: {} {}", printed.out, printed.err));
    }

    fn wait_until_gone(&mut self, what: &str, is_meant: impl Fn(&str) -> bool) {
        let dir = self.node.log_dir();
        let remain = || {
            ["log", "deleted"].iter().flat_map(|e| files(&dir, e)).any(|f| is_meant(&f.display().to_string()))
        };
        let until = Instant::now() + GONE_LIMIT;
        while remain() && Instant::now() < until {
            std::thread::sleep(GONE_POLL);
        }
        self.checks.that(!remain(), format!("{what}: gone"));
    }

    /// The files of the partitions with this extension; the metadata's are judged apart.
    fn of_partitions(&self, extension: &str) -> Vec<PathBuf> {
        let mut found = files(&self.node.log_dir(), extension);
        found.retain(|path| !path.components().any(|c| c.as_os_str() == "__cluster_metadata-0"));
        found
    }

    fn of_metadata(&self, extension: &str) -> Vec<PathBuf> {
        files(&self.node.log_dir().join("__cluster_metadata-0"), extension)
    }

    /// Every record of every segment.
    fn judge_logs(&mut self) {
        let logs = self.of_partitions("log");
        let partitions = 2 * PARTITIONS as usize;
        self.checks.that(logs.len() > partitions + 5, format!("segments were rolled: {} files", logs.len()));
        let deep = accepts(&mut self.tools, "--deep-iteration", &logs);
        for codec in CODECS {
            self.checks
                .that(deep.contains(&format!("compresscodec: {codec} ")), format!("batches with {codec}"));
        }
        let records = deep.lines().filter(|line| line.starts_with("| offset: ")).count() as u64;
        // The purge has deleted a part of one partition; the others are whole.
        let codecs = 2 * (CODECS.len() as u64 * RECORDS + 4);
        self.checks.that(records > codecs, format!("{records} records, more than the {codecs} of one topic"));
        accepts(&mut self.tools, "", &logs);
        self.checks.that(true, "the batches of every segment");
    }

    /// What the dump prints of records that are known, in each way in which it can be asked.
    fn judge_contents(&mut self) {
        let numbers = 0..CODECS.len() as i64 * PLAIN;
        let text =
            |number| format!("key: key-{} payload: {}", number % 17, format!("value {number} ").repeat(9));
        let number = |number| format!("key: {number} payload: {}", cubed(number));
        let texts: Vec<String> = numbers.clone().map(text).collect();
        let printed = self.printed("--print-data-log", TEXT);
        let behind = |line: &String| line.find("key: ").map(|at| line[at..].to_owned());
        let told: Vec<String> = printed.iter().filter_map(behind).collect();
        self.checks.equal(&told, &texts, "keys and values behind what else is told of records");
        let only = |records: Vec<String>| -> Vec<String> {
            records.iter().map(|record| format!("| {record}")).collect()
        };
        let printed = self.printed("--print-data-log --skip-record-metadata", TEXT);
        self.checks.equal(printed, only(texts), "nothing but keys and values");
        let printed = self.printed(&format!("{NUMBER_DECODERS} --skip-record-metadata"), NUMBERS);
        self.checks.equal(printed, only(numbers.map(number).collect()), "numbers");
        self.judge_limits();
    }

    /// Bytes that are read of a log, and of each batch that an index points at.
    fn judge_limits(&mut self) {
        let log = [self.plain(TEXT)];
        let sizes = self.sizes_of_batches(&log);
        let batches = [sizes[0] - 1, sizes[0]].map(|most| {
            let shown = accepts(&mut self.tools, &format!("--max-bytes {most}"), &log);
            shown.matches("baseOffset: ").count()
        });
        self.checks.equal(batches, [0, 1], "batches within the size of the first");
        let folder = self.node.log_dir().join("plain-0");
        let largest = sizes[1..].iter().max().expect("batches");
        let mut is_refused = |most| {
            let index = folder.join("00000000000000000000.index");
            refuses(&mut self.tools, &format!("--max-message-size {most}"), &index)
        };
        let refused = [largest - 1, *largest].map(&mut is_refused);
        self.checks.equal(refused, [true, false], "an index that points at the largest batch but the first");
    }

    fn sizes_of_batches(&mut self, log: &[PathBuf]) -> Vec<u64> {
        let shown = accepts(&mut self.tools, "", log);
        let size = |rest: &str| rest.split(' ').next().and_then(|size| size.parse().ok()).expect("a size");
        shown.split(" size: ").skip(1).map(size).collect()
    }

    /// The log of a partition whose records are known.
    fn plain(&self, partition: i32) -> PathBuf {
        self.node.log_dir().join(format!("plain-{partition}/00000000000000000000.log"))
    }

    /// What the dump prints of records, a line each.
    fn printed(&mut self, flags: &str, partition: i32) -> Vec<String> {
        let log = [self.plain(partition)];
        let shown = accepts(&mut self.tools, flags, &log);
        shown.lines().filter(|line| line.starts_with("| ")).map(str::to_owned).collect()
    }

    /// Every index, as it is checked at Kafka's start, against its log, and as it is printed; every producer's state.
    fn judge_indexes(&mut self) {
        let logs = self.of_partitions("log").len();
        for extension in ["index", "timeindex"] {
            let indexes = self.of_partitions(extension);
            self.checks.equal(indexes.len(), logs, format!("each segment has its .{extension}"));
            let sane = accepts(&mut self.tools, "--index-sanity-check", &indexes);
            let passed =
                sane.lines().filter(|l| l.ends_with("passed sanity check.") || l.ends_with("is empty."));
            self.checks.equal(passed.count(), logs, format!("each .{extension} is sane"));
            accepts(&mut self.tools, "--verify-index-only", &indexes);
            let printed = accepts(&mut self.tools, "", &indexes);
            let entries =
                printed.lines().filter(|l| l.starts_with("offset: ") || l.starts_with("timestamp: ")).count();
            self.checks.that(entries > logs, format!("the .{extension} files have {entries} entries"));
        }
        let snapshots = self.of_partitions("snapshot");
        let printed = accepts(&mut self.tools, "", &snapshots);
        let producers = printed.lines().filter(|l| l.starts_with("producerId: ")).count();
        self.checks
            .that(producers > 3, format!("{producers} states of producers in {} files", snapshots.len()));
        let aborted = self.of_partitions("txnindex");
        self.checks.equal(aborted, Vec::new(), "no transaction was aborted");
    }

    /// The metadata log, the bootstrap checkpoint and every snapshot: decoded, and loaded by the shell.
    fn judge_metadata(&mut self) {
        let decoder = "--cluster-metadata-decoder --skip-record-metadata --deep-iteration";
        let logs = self.of_metadata("log");
        let records = accepts(&mut self.tools, decoder, &logs);
        for kind in [
            "FEATURE_LEVEL_RECORD",
            "REGISTER_BROKER_RECORD",
            "TOPIC_RECORD",
            "PARTITION_RECORD",
            "CONFIG_RECORD",
            "REMOVE_TOPIC_RECORD",
        ] {
            self.checks
                .that(records.contains(&format!("\"type\":\"{kind}\"")), format!("a {kind} in the log"));
        }
        for extension in ["index", "timeindex"] {
            let indexes = self.of_metadata(extension);
            accepts(&mut self.tools, "--index-sanity-check", &indexes);
            accepts(&mut self.tools, "--verify-index-only", &indexes);
        }
        let producers = self.of_metadata("snapshot");
        accepts(&mut self.tools, "", &producers);
        self.checks.that(true, "the indexes and producer states of the metadata");
        let snapshots = self.of_metadata("checkpoint");
        self.checks.that(!snapshots.is_empty(), "snapshots of the metadata");
        let bootstrap = self.node.log_dir().join("bootstrap.checkpoint");
        let all: Vec<PathBuf> = snapshots.iter().chain([&bootstrap]).cloned().collect();
        accepts(&mut self.tools, decoder, &all);
        let framed = accepts(&mut self.tools, "--cluster-metadata-decoder --deep-iteration", &all);
        for frame in ["SnapshotHeader {", "SnapshotFooter {"] {
            let what = format!("each of the snapshots has a {frame}");
            self.checks.equal(framed.matches(frame).count(), all.len(), what);
        }
        self.judge_image(&bootstrap, snapshots.last().expect("checked"), &logs[logs.len() - 1]);
    }

    /// A byte that is wrong is found: in a batch, in each kind of index, in what is known of producers.
    fn judge_the_judges(&mut self) {
        let folder = self.node.log_dir().join("codecs-0");
        for (extension, flags) in [
            ("log", "--deep-iteration"),
            ("index", "--index-sanity-check"),
            ("index", "--verify-index-only"),
            ("timeindex", "--verify-index-only"),
            ("snapshot", ""),
        ] {
            let largest = |file: &PathBuf| file.metadata().expect("a file of a partition").len();
            let file =
                files(&folder, extension).into_iter().max_by_key(largest).expect("a file of a partition");
            let sound = std::fs::read(&file).expect("a file of a partition");
            let mut wrong = sound.clone();
            match flags {
                "--index-sanity-check" => wrong.push(0),
                _ => *wrong.last_mut().expect("the file is not empty") ^= 1,
            }
            std::fs::write(&file, wrong).expect("a file of a partition");
            let refused = refuses(&mut self.tools, flags, &file);
            self.checks.that(refused, format!("{flags} finds a wrong byte in {}", file.display()));
            std::fs::write(&file, sound).expect("a file of a partition");
        }
        // Nor does a decoder take just anything.
        let text = self.plain(TEXT);
        for flags in ["--offsets-decoder", "--cluster-metadata-decoder"] {
            let refused = refuses(&mut self.tools, flags, &text);
            self.checks.that(refused, format!("{flags} finds that text is something else"));
        }
    }

    /// What the shell shows of the metadata: of the checkpoint, of the latest snapshot, of the log.
    fn judge_image(&mut self, bootstrap: &Path, latest: &Path, log: &Path) {
        for (file, wanted) in
            [(bootstrap, &FEATURES[..]), (latest, &FEATURES), (latest, &IMAGE), (log, &IMAGE)]
        {
            let shown = shows(file, "tree /");
            let shown: Vec<&str> = shown.lines().map(str::trim).collect();
            let shown = shown.join(" ");
            for part in wanted {
                self.checks.that(shown.contains(part), format!("{} has {part}:\n{shown}", file.display()));
            }
            let gone = ["TOPIC:gone", "log.segment.ms"].into_iter().find(|gone| shown.contains(gone));
            self.checks.equal(gone, None, format!("{} has nothing of what was taken back", file.display()));
        }
    }
}

fn cubed(number: i64) -> i64 {
    number * number * number
}

/// As the shell shows them, line by line: the levels that Kafka 4.3.1 formats with.
const FEATURES: [&str; 6] = [
    "metadataVersion: Optional[4.3-IV0]",
    "finalized_eligible.leader.replicas.version: 1",
    "finalized_group.version: 1",
    "finalized_share.version: 1",
    "finalized_streams.version: 1",
    "finalized_transaction.version: 2",
];
/// The broker, the controller, the settings and the topics as they were at the end.
const IMAGE: [&str; 9] = [
    "brokers: 1: BrokerRegistration(id=1, ",
    "controllers: 1: ControllerRegistration(id=1, ",
    "BROKER: message.max.bytes: 2000000 min.insync.replicas: 1 TOPIC:",
    "TOPIC:codecs: index.interval.bytes: 256 retention.ms: -1 segment.bytes: 1048576 TOPIC:",
    "TOPIC:compacted: cleanup.policy: compact min.cleanable.dirty.ratio: 0.1 retention.ms: -1 segment.bytes: 1048576 TOPIC:",
    "TOPIC:purged: file.delete.delay.ms: 0 retention.ms: 99999999999999 delegationToken:",
    "name: codecs compacted: 0: PartitionRegistration(replicas=[1], ",
    ") 4: PartitionRegistration(replicas=[1], ",
    "name: purged local:",
];
