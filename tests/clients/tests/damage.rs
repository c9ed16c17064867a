//! A byte of a closed segment rots while the broker is down after a kill: a consumer is told so at that batch's offsets and nowhere
//! else, is given nothing that was not written, goes on behind it; and the broker says it once.
#![allow(clippy::disallowed_methods)] // kills a real process and changes its files

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::install;
use dohle_tests_clients::process::run;
use dohle_tests_clients::target::Target;
use serde_json::Value;

const TOPIC: &str = "rotten";
const RECORDS: u64 = 1200;
const BATCH: u64 = 10;
/// Inside of some record of the first of several segments.
const POSITION: u64 = 500_000;
const CORRUPT_MESSAGE: u64 = 2;
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn damage_is_named_and_nothing_else_is_touched() {
    let mut target = Target::start();
    let mut checks = Checks::of("damage");
    let ask = |target: &Target, verb: &str| -> Value {
        let mut python = Command::new(install::python());
        python.arg(install::sources().join("python/damage.py"));
        python.args([verb, &target.bootstrap(), TOPIC, &RECORDS.to_string()]);
        serde_json::from_slice(&run(&mut python, &[], LIMIT)).expect("JSON")
    };
    let filled = ask(&target, "fill");
    checks.equal(&filled["failed"], &serde_json::json!([]), "all was acknowledged");
    // A clean stop stores how far everything is flushed; the kill after it leaves nothing to be verified but that.
    target.stop();
    target.restart();
    target.kill();
    let folder = target.log_dir().join(format!("{TOPIC}-0"));
    let logs = std::fs::read_dir(&folder).expect("the partition's folder").filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|kind| kind == "log"))
    });
    checks.that(logs.count() > 2, "the segment is closed");
    flip(&folder.join("00000000000000000000.log"));
    target.restart();
    for consumer in 0..2 {
        let read = ask(&target, "read");
        checks.equal(read["end"].as_u64(), Some(RECORDS), format!("consumer {consumer} came to the end"));
        checks.equal(
            &read["wrong"],
            &serde_json::json!([]),
            format!("consumer {consumer} was given what was written"),
        );
        let errors = read["errors"].as_object().expect("errors by offset");
        let mut offsets: Vec<u64> = errors.keys().map(|offset| offset.parse().expect("an offset")).collect();
        offsets.sort_unstable();
        let first = offsets.first().copied().unwrap_or_default() / BATCH * BATCH;
        checks.equal(
            offsets,
            (first..first + BATCH).collect(),
            format!("consumer {consumer} was told of one batch"),
        );
        checks.that(errors.values().all(|code| code.as_u64() == Some(CORRUPT_MESSAGE)), "by CORRUPT_MESSAGE");
    }
    let log = std::fs::read_to_string(target.folder().join("broker.log")).expect("the broker's log");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("quarantined")).collect();
    checks.equal(told.len(), 1, format!("one line for one damage: {told:?}"));
    checks.that(told.iter().all(|line| line.contains("00000000000000000000.log")), "which names the file");
    checks.finish(12);
}

/// Flips a bit, and has the page cache let go of the file.
fn flip(path: &Path) {
    let file = File::options().read(true).write(true).open(path).expect("the segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, POSITION).expect("the segment is that long");
    file.write_all_at(&[byte[0] ^ 4], POSITION).expect("a byte");
    file.sync_all().expect("a flush");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice");
}
