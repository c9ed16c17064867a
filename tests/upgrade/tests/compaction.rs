//! Dohle compacts, Kafka's tools look at the files, Kafka reads them, compacts them further and hands them back; all on one folder.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::tools::{Printed, Tools};
use dohle_tests_upgrade::folder::{compacted, files};
use dohle_tests_upgrade::inspect::accepts;
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use dohle_tests_upgrade::table::{Latest, NULL, difference, read};

const TOPIC: &str = "table";
const KEYS: i64 = 50;
/// Written in one turn: more than two segments of the least size.
const RECORDS: i64 = 5000;
/// Of digits that compress to half of them at best.
const DIGIT_GROUPS: u64 = 60;
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
        life.turn(turn as i64, program, end);
    }
    life.checks.finish(OWED);
}

struct Life {
    node: Node,
    tools: Tools,
    checks: Checks,
    latest: Latest,
    next_offset: i64,
}

impl Life {
    fn begin() -> Life {
        let node = Node::new(Quorum::InTheLog, &SETTINGS);
        node.format_by_kafka();
        let tools = Tools::start(node.folder());
        Life { node, tools, checks: Checks::of("compaction"), latest: Latest::new(), next_offset: 0 }
    }

    fn turn(&mut self, turn: i64, program: Program, end: End) {
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
    fn write(&mut self, turn: i64) {
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
        let found = read(&mut self.tools, &self.node.bootstrap(), TOPIC, 1).remove(0);
        let wrong = difference(&self.latest, &found);
        self.checks.that(wrong.is_none(), format!("{what}: {wrong:?}"));
    }

    fn compacted(&self) -> i64 {
        compacted(&self.node.log_dir(), TOPIC, 0)
    }

    fn wait_for_cleaner(&mut self, before: i64, program: Program) {
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
        let records = printed.lines().filter(|line| line.starts_with("| offset: ")).count() as i64;
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
fn digits(seed: i64) -> String {
    let mut text = String::new();
    let mut state = (seed as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..DIGIT_GROUPS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").expect("a string takes all");
    }
    text
}
