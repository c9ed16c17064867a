//! `__consumer_offsets` after the cleaner has compacted it, ours and Kafka's in turns: groups and offsets are what they were, for whoever
//! starts on the folder.
//!
//! With `DOHLE_TEST_TARGET=kafka` Kafka takes all turns: so the test is proved.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::Client;
use dohle_tests_clients::content::Contents;
use dohle_tests_clients::groups::member::Protocol::{Classic, Consumer};
use dohle_tests_clients::tools::Tools;
use dohle_tests_upgrade::coordinator::{Coordinator, Offsets};
use dohle_tests_upgrade::folder::{active_base, compacted, files};
use dohle_tests_upgrade::history::History;
use dohle_tests_upgrade::inspect::accepts_compacted;
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use dohle_tests_upgrade::picture::Hand;

const SETTINGS: [(&str, &str); 10] = [
    ("offsets.topic.num.partitions", "1"),
    // The least that a topic may have.
    ("offsets.topic.segment.bytes", "1048576"),
    ("log.cleaner.backoff.ms", "100"),
    ("log.cleaner.min.cleanable.ratio", "0.01"),
    // A tombstone goes with the compaction after the first that has seen it.
    ("log.cleaner.delete.retention.ms", "0"),
    ("log.segment.delete.delay.ms", "0"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.consumer.assignment.interval.ms", "0"),
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "500"),
];
const LOG: &str = "__consumer_offsets";
const READ: &str = "read-me";
const RECORDS: u64 = 40;
const OTHER: &str = "other";
const PLACES: i32 = 10;
/// Commits of all places in one flood, which fill more than two segments: `offset.metadata.max.bytes` is 4096.
const ROUNDS: i64 = 60;
const METADATA_BYTES: usize = 3800;
const CLEANED_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Of the tools that ask a broker that has only just begun.
const TOOLS: [&str; 3] = [
    "ConsumerGroupCommand --describe --all-groups --offsets --timeout 30000 --bootstrap-server",
    "ConsumerGroupCommand --describe --all-groups --state --verbose --timeout 30000 --bootstrap-server",
    "GroupsCommand --list --bootstrap-server",
];

#[test]
fn groups_are_what_they_were_after_a_compaction() {
    let mut life = Life::begin();
    life.history();
    life.flood();
    life.flood();
    life.after_the_cleaner();
    life.look("as it was made");
    life.end(End::Killed);
    life.turn(Program::ours(), End::Clean);
    life.node.start(Program::Kafka);
    life.same("Kafka takes it over");
    life.remove("gone-on-kafka");
    life.flood();
    life.flood();
    life.look("compacted by Kafka");
    life.end(End::Killed);
    life.node.start(Program::ours());
    life.same("it comes back");
    life.flood();
    life.look("compacted once more");
    life.end(End::Clean);
    life.turn(Program::ours(), End::Clean);
    // Per flood, per look, per comparison, per end.
    life.checks.finish(5 + 3 * 3 + 4 + 5 * 5);
}

/// Offset and metadata by topic and partition.
type Said = BTreeMap<(String, i32), (i64, String)>;

/// What everybody is told of the groups.
#[derive(Debug, PartialEq)]
struct Shown {
    offsets: BTreeMap<String, Offsets>,
    /// By tool; who is named first is the tool's own affair.
    printed: Vec<Vec<String>>,
}

struct Life {
    node: Node,
    tools: Tools,
    history: History,
    checks: Checks,
    floods: i64,
    /// What each group has to have committed: nothing, when it was removed.
    wanted: BTreeMap<String, Said>,
    shown: Option<Shown>,
}

impl Life {
    fn begin() -> Life {
        let mut node = Node::new(Quorum::InTheLog, &SETTINGS);
        node.format_by_kafka();
        node.start(Program::ours());
        let tools = Tools::start(node.folder());
        let mut client = Client::FranzGo.start(&node.bootstrap(), node.folder());
        let contents = Contents { seed: 5, partitions: 1, count: RECORDS, header_nulls: true };
        client.ask(&format!("create topic={READ} partitions=1 replicas=1 config=retention.ms:-1"));
        client.ask(&format!("create topic={OTHER} partitions={PLACES} replicas=1"));
        client.ask(&format!("produce topic={READ} idempotent=true {}", contents.arguments()));
        let history = History::on(&node.bootstrap(), node.folder());
        let checks = Checks::of("compacted groups");
        Life { node, tools, history, checks, floods: 0, wanted: BTreeMap::new(), shown: None }
    }

    /// Groups of each kind that stay, that are deleted, that are deleted and made anew, that lose one offset of several.
    fn history(&mut self) {
        for (group, protocol, assignor) in [
            ("left-classic", Classic, "range"),
            ("left-consumer", Consumer, "uniform"),
            ("gone-classic", Classic, "range"),
            ("gone-consumer", Consumer, "uniform"),
        ] {
            self.history.visit(group, protocol, assignor, READ);
            let read = (RECORDS as i64, String::new());
            self.wanted.insert(group.to_owned(), BTreeMap::from([((READ.to_owned(), 0), read)]));
        }
        for group in ["by-hand", "gone-by-hand", "gone-later", "gone-on-kafka", "again", "less"] {
            self.commit(group, 900, "at first");
        }
        self.history.host().forget("less", &format!("topic={OTHER} partition=4"));
        self.wanted.get_mut("less").expect("a group").remove(&(OTHER.to_owned(), 4));
        for group in ["gone-classic", "gone-consumer", "gone-by-hand", "again"] {
            self.remove(group);
        }
        self.commit("again", 5, "anew");
    }

    /// What is still in the active segment is about records that were compacted, and the last word.
    fn after_the_cleaner(&mut self) {
        self.remove("gone-later");
        self.history.host().forget("less", &format!("topic={OTHER} partition=7"));
        self.wanted.get_mut("less").expect("a group").remove(&(OTHER.to_owned(), 7));
        self.commit("again", 6, "in the end");
    }

    fn commit(&mut self, group: &str, from: i64, metadata: &str) {
        let places: Vec<_> =
            (0..PLACES).map(|place| (place, from + i64::from(place), metadata.to_owned())).collect();
        Coordinator::on(&self.node.bootstrap()).commit(group, OTHER, &places);
        let wanted = self.wanted.entry(group.to_owned()).or_default();
        wanted.extend(places.into_iter().map(|(p, offset, said)| ((OTHER.to_owned(), p), (offset, said))));
    }

    fn remove(&mut self, group: &str) {
        self.history.host().remove(group);
        self.wanted.insert(group.to_owned(), BTreeMap::new());
    }

    /// Commits one group over and over until all that was there before lies in closed segments, and waits until those are compacted.
    fn flood(&mut self) {
        let before = self.log_end();
        let first = self.floods * ROUNDS;
        for round in first..first + ROUNDS {
            self.commit("by-hand", round * 100, &format!("{round:0METADATA_BYTES$}"));
        }
        self.floods += 1;
        let until = Instant::now() + CLEANED_LIMIT;
        while self.compacted() < before.max(self.active_base()) && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        let (compacted, active) = (self.compacted(), self.active_base());
        self.checks.that(
            compacted >= active && active >= before,
            format!(
                "compacted up to {compacted}, the active segment begins at {active}, before it was {before}"
            ),
        );
    }

    fn log_end(&self) -> i64 {
        Hand::on(&self.node.bootstrap()).picture(LOG, 0).high_watermark
    }

    fn folder(&self) -> PathBuf {
        self.node.log_dir().join(format!("{LOG}-0"))
    }

    fn compacted(&self) -> i64 {
        compacted(&self.node.log_dir(), LOG, 0)
    }

    fn active_base(&self) -> i64 {
        active_base(&self.folder())
    }

    /// What is shown must be what is wanted; it is kept for those who come after.
    fn look(&mut self, what: &str) {
        let shown = self.show();
        self.judge_offsets(&shown, what);
        let removed = |word: &&str| self.wanted.get(word.trim_matches('\'')).is_some_and(BTreeMap::is_empty);
        let lines = shown.printed.iter().flatten();
        let named: Vec<&str> = lines.flat_map(|line| line.split(' ')).filter(removed).collect();
        self.checks.equal(named, Vec::new(), format!("removed groups that a tool names, {what}"));
        self.shown = Some(shown);
    }

    /// What is shown is what was shown before.
    fn same(&mut self, what: &str) {
        let (shown, before) = (self.show(), self.shown.take().expect("a look"));
        for (tool, (now, before)) in TOOLS.iter().zip(shown.printed.iter().zip(&before.printed)) {
            assert_eq!(now, before, "{what}: {tool}");
        }
        self.checks.equal(&shown, &before, what);
        self.shown = Some(shown);
    }

    fn show(&mut self) -> Shown {
        let mut coordinator = Coordinator::on(&self.node.bootstrap());
        let groups = self.wanted.keys();
        let offsets = groups.map(|group| (group.clone(), coordinator.committed(group))).collect();
        let printed = TOOLS.map(|words| self.tool(words)).to_vec();
        Shown { offsets, printed }
    }

    fn judge_offsets(&mut self, shown: &Shown, what: &str) {
        let told: BTreeMap<String, Said> = shown
            .offsets
            .iter()
            .map(|(group, offsets)| {
                let said = |(place, found): (&(String, i32), &(i64, i32, String))| {
                    (place.clone(), (found.0, found.2.clone()))
                };
                (group.clone(), offsets.iter().map(said).collect())
            })
            .collect();
        self.checks.equal(&told, &self.wanted, format!("offsets, {what}"));
        let listed = &shown.printed[0];
        let rows = self.wanted.iter().flat_map(|(group, offsets)| {
            offsets
                .iter()
                .map(move |((topic, place), (offset, _))| format!("{group} {topic} {place} {offset} "))
        });
        let missing: Vec<String> =
            rows.filter(|row| !listed.iter().any(|line| line.starts_with(row.as_str()))).collect();
        self.checks.equal(
            missing,
            Vec::new(),
            format!("rows that ConsumerGroupCommand does not print, {what}"),
        );
    }

    /// The lines that a tool prints, in an order of their own, without the widths of its columns.
    fn tool(&mut self, words: &str) -> Vec<String> {
        let words: Vec<String> =
            words.split_whitespace().map(str::to_owned).chain([self.node.bootstrap()]).collect();
        let printed = self.tools.run(&words, "");
        assert_eq!(printed.exit, 0, "{words:?}: {}{}", printed.out, printed.err);
        let lines = printed.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let mut lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
        lines.sort();
        lines
    }

    fn turn(&mut self, program: Program, end: End) {
        self.node.start(program);
        self.same("a start");
        self.end(end);
    }

    /// The program ends, and Kafka's dump reads what it has left: little of what was written, and nothing of what was deleted long ago.
    fn end(&mut self, end: End) {
        self.node.end(end);
        let folder = self.folder();
        let dumped =
            accepts_compacted(&mut self.tools, "--offsets-decoder --deep-iteration", &files(&folder, "log"));
        let records = dumped.lines().filter(|line| line.starts_with("| offset: ")).count() as i64;
        let written = self.floods * ROUNDS * i64::from(PLACES);
        self.checks.that(records < written / 2, format!("{records} are left of {written} records"));
        for group in ["gone-classic", "gone-consumer", "gone-by-hand"] {
            self.checks.that(!dumped.contains(group), format!("{group} is still in the log"));
        }
        let left = ["cleaned", "swap"].iter().flat_map(|extension| files(&folder, extension)).count();
        self.checks.equal(left, 0, "files of an unfinished compaction");
    }
}
