//! Kafka's own tools over the files of a folder that no program runs on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dohle_tests_clients::client::jvm;
use dohle_tests_clients::process::Process;
use dohle_tests_clients::target::kafka_class_path;
use dohle_tests_clients::tools::{Printed, Tools};

/// When no record has come for so long, the topic has been read.
const FORMATTER_IDLE_MS: u64 = 4000;
/// How the shell shows an image without a record.
const NOTHING_READ: &str = "provenance: offset -1";
const SHELL_ATTEMPTS: usize = 6;
const SHELL_LIMIT: Duration = Duration::from_secs(8);
const SHELL_POLL: Duration = Duration::from_millis(10);

/// Kafka's dump over files must end well and find no fault. What it printed.
#[track_caller]
pub fn accepts(tools: &mut Tools, flags: &str, files: &[PathBuf]) -> String {
    sound(flags, dump(tools, flags, files))
}

/// As [`accepts`], of a log that is compacted: its offsets have holes, and never go back.
#[track_caller]
pub fn accepts_compacted(tools: &mut Tools, flags: &str, files: &[PathBuf]) -> String {
    let mut printed = dump(tools, flags, files);
    printed.err = printed.err.lines().filter(|line| !is_hole(line)).collect::<Vec<_>>().join("\n");
    sound(flags, printed)
}

/// Whether the dump says that an offset is followed by one that is larger than the next.
fn is_hole(line: &str) -> bool {
    let number = |text: &str| text.trim().parse::<i64>().ok();
    let pair = line.split_once(" is followed by ");
    pair.is_some_and(|(one, other)| number(one).zip(number(other)).is_some_and(|(one, other)| one < other))
}

/// Whether Kafka's dump finds a fault in a file.
pub fn refuses(tools: &mut Tools, flags: &str, file: &Path) -> bool {
    let printed = dump(tools, flags, &[file.to_owned()]);
    printed.exit != 0 || !complaints(&printed).is_empty()
}

fn dump(tools: &mut Tools, flags: &str, files: &[PathBuf]) -> Printed {
    let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    tools.run(&split(&format!("DumpLogSegments {flags} --files {}", names.join(","))), "")
}

/// What the metadata shell shows of a snapshot or a metadata log.
///
/// The shell may wait for ever: when it has loaded all records before it reads the batch of the quorum that ends a snapshot, nothing
/// tells it any more that it is at the end. Or it shows what there is before it has read any record. It is then started again.
#[track_caller]
pub fn shows(file: &Path, command: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for attempt in 0..SHELL_ATTEMPTS {
        let log = folder.path().join(format!("shell-{attempt}"));
        let mut shell = jvm("-Xmx256m");
        shell.arg("-cp").arg(kafka_class_path()).arg("org.apache.kafka.shell.MetadataShell");
        shell.arg("--snapshot").arg(file).args(command.split_whitespace());
        let mut process = Process::start("the metadata shell", &mut shell, &log);
        let until = Instant::now() + SHELL_LIMIT;
        while Instant::now() < until {
            if let Some(status) = process.ended() {
                let printed = std::fs::read_to_string(&log).expect("what the shell printed");
                assert!(status.success(), "the metadata shell, {}: {status}\n{printed}", file.display());
                if !printed.contains(NOTHING_READ) {
                    return printed;
                }
                break;
            }
            std::thread::sleep(SHELL_POLL);
        }
    }
    panic!("the metadata shell does not end, or reads nothing of {}", file.display());
}

/// What Kafka's console consumer prints of `__consumer_offsets` with a formatter of its tools, a line for each record.
#[track_caller]
pub fn formatted(tools: &mut Tools, bootstrap: &str, formatter: &str) -> String {
    let words = format!(
        "ConsoleConsumer --bootstrap-server {bootstrap} --topic __consumer_offsets --partition 0 --offset earliest \
         --timeout-ms {FORMATTER_IDLE_MS} --formatter org.apache.kafka.tools.consumer.{formatter}"
    );
    let printed = tools.run(&split(&words), "");
    assert!(printed.exit == 0, "{words}: exit {}\n{}", printed.exit, printed.err);
    // The formatter itself puts nothing between them.
    printed.out.replace("}{\"key\":", "}\n{\"key\":")
}

fn split(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

#[track_caller]
fn sound(words: &str, printed: Printed) -> String {
    let complaints = complaints(&printed).join("\n");
    assert!(printed.exit == 0 && complaints.is_empty(), "{words}: exit {}\n{complaints}", printed.exit);
    printed.out
}

fn complaints(printed: &Printed) -> Vec<&str> {
    let said = printed.err.lines().filter(|line| !is_said_of_kafkas_own(line));
    said.chain(printed.out.lines().filter(|line| FAULTS.iter().any(|fault| line.contains(fault)))).collect()
}

/// What the dump says on stdout of a file that it does not accept, the last of a record that a decoder cannot read or does not know.
const FAULTS: [&str; 3] = ["isvalid: false", "invalid bytes at the end", ", skipping."];

/// The dump complains about every segment that does not begin at offset 0: its count of the offset before starts at -1.
fn is_said_of_kafkas_own(line: &str) -> bool {
    line.starts_with("Non-consecutive offsets in ") || line.trim_start().starts_with("-1 is followed by ")
}
