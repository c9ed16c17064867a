//! kcat, as the distribution packages it, and what it writes read by another client.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, everything};
use dohle_tests_clients::install;
use dohle_tests_clients::process::run;
use dohle_tests_clients::target::Target;
use serde_json::{Value, json};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const STEP_LIMIT: Duration = Duration::from_secs(60);
const CHECKS: usize = 4 * CODECS.len() + 9;

struct Kcat {
    program: std::path::PathBuf,
    bootstrap: String,
}

impl Kcat {
    fn run(&self, arguments: &str, input: &[u8]) -> Vec<u8> {
        let mut command = Command::new(&self.program);
        command.args(["-b", &self.bootstrap, "-X", "broker.address.family=v4"]).args(arguments.split(' '));
        run(&mut command, input, STEP_LIMIT)
    }

    fn text(&self, arguments: &str) -> String {
        String::from_utf8(self.run(arguments, b"")).expect("kcat prints what was written")
    }
}

#[test]
fn kcat() {
    let Some(program) = install::kcat() else {
        eprintln!(
            "\n*** kcat is not installed and cannot be without root: ITS CHECKS DO NOT RUN HERE (they do in CI) ***\n"
        );
        return;
    };
    let target = Target::start();
    let kcat = Kcat { program, bootstrap: target.bootstrap() };
    let mut checks = Checks::of("kcat");
    let mut admin = Client::FranzGo.start(&target.bootstrap(), target.folder());
    let count = if everything() { 100_000 } else { 20_000 };
    let mut lines = String::new();
    for i in 0..count {
        lines += &format!("key-{i}\tvalue-{i} größe {}\n", "x".repeat(i % 50));
    }
    for (turn, codec) in CODECS.into_iter().enumerate() {
        admin.ask(&format!("create topic={codec} partitions=2 replicas=1"));
        let acks = ["all", "1", "all"][turn % 3];
        let write = format!(
            "-P -t {codec} -p 0 -z {codec} -X acks={acks} -X enable.idempotence={} -K \\t",
            acks == "all"
        );
        kcat.run(&write, lines.as_bytes());
        let read =
            kcat.text(&format!("-C -t {codec} -p 0 -o beginning -e -q -X check.crcs=true -f %k\\t%s\\n"));
        checks.that(read == lines, format!("kcat reads back what it wrote with {codec}"));
        let offsets = kcat.text(&format!("-C -t {codec} -p 0 -o beginning -e -q -f %o\\n"));
        checks.that(
            offsets.lines().enumerate().all(|(i, o)| o == i.to_string()),
            format!("offsets with {codec}"),
        );
        read_by_franz_go(&mut checks, &mut admin, codec, &lines, target.folder());
    }
    places(&mut checks, &kcat, count);
    metadata(&mut checks, &kcat, &target);
    checks.finish(CHECKS);
}

/// What kcat wrote, read by a client that shares no code with it.
fn read_by_franz_go(
    checks: &mut Checks,
    reader: &mut dohle_tests_clients::client::Session,
    codec: &str,
    lines: &str,
    folder: &Path,
) {
    let dump = folder.join(format!("{codec}.dump"));
    let reply = reader.ask(&format!("dump topic={codec} partitions=2 file={}", dump.display()));
    checks.equal(
        reply["records"].as_u64(),
        Some(lines.lines().count() as u64),
        format!("records with {codec}"),
    );
    let read = std::fs::read_to_string(&dump).expect("the dump");
    let values = |l: &str| l.split_once('\t').map(|(_, v)| v.to_owned());
    let wanted =
        lines.lines().enumerate().map(|(i, l)| format!("0 {i} {}", values(l).expect("a key and a value")));
    checks.that(read.lines().eq(wanted), format!("values with {codec}"));
}

/// Seeking by offset, from the end and by time; headers with a key twice; an empty value and none.
fn places(checks: &mut Checks, kcat: &Kcat, count: usize) {
    let one = |from: &str| kcat.text(&format!("-C -t none -p 0 -o {from} -c 1 -q -f %o:%k"));
    checks.equal(one("17").as_str(), "17:key-17", "seek to an offset");
    checks.equal(one("-1"), format!("{}:key-{}", count - 1, count - 1), "seek from the end");
    checks.equal(one("s@1000").as_str(), "0:key-0", "seek to a time before all records");
    let at_end = kcat.text("-Q -t none:0:-1");
    checks.equal(at_end.trim(), format!("none [0] offset {count}").as_str(), "the end offset by a query");
    let at_start = kcat.text("-Q -t none:0:1000");
    checks.equal(at_start.trim(), "none [0] offset 0", "the first offset after a time");
    kcat.run("-P -t none -p 1 -H a=1 -H a=2 -H b=three -k key", b"headed");
    kcat.run("-P -t none -p 1 -Z -K :", b"gone:\n");
    let headed = kcat.text("-C -t none -p 1 -o 0 -c 1 -q -J");
    let headed: Value = serde_json::from_str(&headed).unwrap_or_else(|e| panic!("{headed}: {e}"));
    checks.equal(&headed["headers"], &json!(["a", "1", "a", "2", "b", "three"]), "headers, one key twice");
    let gone = kcat.text("-C -t none -p 1 -o 1 -c 1 -q -f %k:%S");
    checks.equal(gone.as_str(), "gone:-1", "a record without a value");
}

fn metadata(checks: &mut Checks, kcat: &Kcat, target: &Target) {
    let listed = kcat.text("-L -J");
    let listed: Value = serde_json::from_str(&listed).unwrap_or_else(|e| panic!("{listed}: {e}"));
    let node: i64 = target.meta("node.id").parse().expect("node.id is a number");
    checks.equal(&listed["brokers"], &json!([{"id": node, "name": target.bootstrap()}]), "the brokers");
    let mut topics: Vec<&str> =
        listed["topics"].as_array().into_iter().flatten().filter_map(|t| t["topic"].as_str()).collect();
    topics.sort_unstable();
    let mut wanted = CODECS.to_vec();
    wanted.sort_unstable();
    checks.equal(topics, wanted, "the topics");
}
