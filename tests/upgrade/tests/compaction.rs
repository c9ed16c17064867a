//! Dohle compacts, Kafka's tools look at the files, Kafka reads them, compacts them further and hands them back; all on one folder.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::tools::{Printed, Tools};
use dohle_tests_upgrade::inspect::{accepts, files};
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};

const TOPIC: &str = "table";
const KEYS: u64 = 50;
/// Written in one turn: more than two segments of the least size.
const RECORDS: u64 = 5000;
/// Of digits that compress to half of them at best.
const DIGIT_GROUPS: u64 = 60;
/// Stands for no value in what the producing tool reads.
const NULL: &str = "-";
const CLEANED_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const SETTINGS: [(&str, &str); 3] = [
    ("log.cleaner.backoff.ms", "100"),
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "500"),
];
const OWED: usize = 29;

#[test]
fn each_goes_on_where_the_other_has_compacted() {
    let mut life = Life::begin();
    for (turn, (program, end)) in [
        (Program::Dohle, End::Clean),
        (Program::Kafka, End::Clean),
        (Program::Dohle, End::Killed),
        (Program::Kafka, End::Killed),
        (Program::Dohle, End::Clean),
    ]
    .into_iter()
    .enumerate()
    {
        life.turn(turn as u64, program, end);
    }
    life.checks.finish(OWED);
}

struct Life {
    node: Node,
    tools: Tools,
    checks: Checks,
    /// Offset and value of each key's latest record; `None` where it was deleted.
    latest: BTreeMap<String, (u64, Option<String>)>,
    next_offset: u64,
}

impl Life {
    fn begin() -> Life {
        let node = Node::new(Quorum::InTheLog, &SETTINGS);
        node.format_by_kafka();
        let tools = Tools::start(node.folder());
        Life { node, tools, checks: Checks::of("compaction"), latest: BTreeMap::new(), next_offset: 0 }
    }

    fn turn(&mut self, turn: u64, program: Program, end: End) {
        self.node.start(program);
        println!("turn {turn}: {program:?}, will be {end:?}");
        if turn == 0 {
            self.tool(&format!(
                "TopicCommand --create --topic {TOPIC} --partitions 1 --config cleanup.policy=compact --config \
                 segment.bytes=1048576 --config min.cleanable.dirty.ratio=0.01 --config file.delete.delay.ms=0 --bootstrap-server"
            ), "");
        } else {
            self.compare(&format!("{program:?} reads what was there"));
        }
        let before = self.compacted();
        self.write(turn);
        self.wait_for_cleaner(before, program);
        self.compare(&format!("{program:?} reads what it has compacted"));
        self.node.end(end);
        self.judge(program);
    }

    /// Updates of all keys in turn, each seventh record a deletion; the last of them stay in the active segment.
    fn write(&mut self, turn: u64) {
        let mut lines = String::new();
        for record in 0..RECORDS {
            let key = format!("key-{}", record * 7 % KEYS);
            let value =
                (record % 7 != 3).then(|| format!("{turn}/{record}/{}", digits(turn * RECORDS + record)));
            writeln!(lines, "{key}:{}", value.as_deref().unwrap_or(NULL)).expect("a string takes all");
            self.latest.insert(key, (self.next_offset, value));
            self.next_offset += 1;
        }
        let codec = ["none", "lz4", "zstd", "gzip", "snappy"][turn as usize % 5];
        self.tool(
            &format!(
                "ConsoleProducer --topic {TOPIC} --compression-codec {codec} --reader-property parse.key=true --reader-property \
                 key.separator=: --reader-property null.marker={NULL} --bootstrap-server"
            ),
            &lines,
        );
    }

    /// Every key has the value that was written last, at its offset, and nothing else has a key's latest offset.
    fn compare(&mut self, what: &str) {
        let printed = self.tool(
            &format!(
                "ConsoleConsumer --topic {TOPIC} --partition 0 --offset earliest --timeout-ms 3000 --formatter-property \
                 print.key=true --formatter-property print.offset=true --formatter-property null.literal={NULL} --bootstrap-server"
            ),
            "",
        );
        let mut found: BTreeMap<String, (u64, Option<String>)> = BTreeMap::new();
        let mut last = None;
        for line in printed.out.lines().filter(|line| line.starts_with("Offset:")) {
            let mut fields = line.trim_start_matches("Offset:").split('\t');
            let mut next = || fields.next().unwrap_or_default();
            let (offset, key, value): (u64, _, _) = (next().parse().expect("an offset"), next(), next());
            assert!(last < Some(offset), "{what}: {offset} after {last:?}");
            last = Some(offset);
            found.insert(key.to_owned(), (offset, (value != NULL).then(|| value.to_owned())));
        }
        let wrong = self.latest.iter().find(|(key, latest)| match found.get(*key) {
            Some(found) => found != *latest,
            None => latest.1.is_some(),
        });
        self.checks.that(wrong.is_none(), format!("{what}: {wrong:?}"));
    }

    fn compacted(&self) -> u64 {
        let path = self.node.log_dir().join("cleaner-offset-checkpoint");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let entry = text.lines().find_map(|line| line.strip_prefix(&format!("{TOPIC} 0 ")));
        entry.map_or(0, |offset| offset.parse().expect("an offset"))
    }

    fn wait_for_cleaner(&mut self, before: u64, program: Program) {
        let until = Instant::now() + CLEANED_LIMIT;
        let wanted = self.next_offset - RECORDS / 2;
        while self.compacted() < wanted && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        let compacted = self.compacted();
        self.checks.that(
            compacted >= wanted && compacted > before,
            format!("{program:?} has compacted up to {compacted}, {wanted} was to be reached"),
        );
    }

    /// Kafka's tools find no fault in the files, and what was compacted is small.
    fn judge(&mut self, program: Program) {
        let folder = self.node.log_dir().join(format!("{TOPIC}-0"));
        let logs = files(&folder, "log");
        let printed = accepts(&mut self.tools, "--deep-iteration", &logs);
        let records = printed.lines().filter(|line| line.starts_with("| offset: ")).count() as u64;
        self.checks.that(
            records < 2 * RECORDS,
            format!("{program:?} leaves {records} records in {} segments", logs.len()),
        );
        for extension in ["index", "timeindex"] {
            let indexes = files(&folder, extension);
            // Of a time index the tool wants a record with each of its times: after a compaction by Kafka itself, too, it may be the time
            // of a batch whose records are gone.
            if extension == "index" {
                accepts(&mut self.tools, "--verify-index-only", &indexes);
            }
            if program == Program::Dohle {
                accepts(&mut self.tools, "--index-sanity-check", &indexes);
            }
        }
        self.checks.that(true, "the indexes");
        let left = ["cleaned", "swap"].iter().flat_map(|extension| files(&folder, extension)).count();
        self.checks.equal(left, 0, "files of an unfinished compaction");
    }

    #[track_caller]
    fn tool(&mut self, words: &str, stdin: &str) -> Printed {
        let words: Vec<String> =
            words.split_whitespace().map(str::to_owned).chain([self.node.bootstrap()]).collect();
        let printed = self.tools.run(&words, stdin);
        assert_eq!(printed.exit, 0, "{words:?}: {}{}", printed.out, printed.err);
        printed
    }
}

/// Digits that look like chance.
fn digits(seed: u64) -> String {
    let mut text = String::new();
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..DIGIT_GROUPS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").expect("a string takes all");
    }
    text
}
