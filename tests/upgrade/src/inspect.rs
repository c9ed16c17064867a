//! Kafka's own tools over the files of a folder that no program runs on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use dohle_tests_clients::tools::{Printed, Tools};

/// Kafka's dump over files must end well and find no fault. What it printed.
#[track_caller]
pub fn accepts(tools: &mut Tools, flags: &str, files: &[PathBuf]) -> String {
    sound(flags, dump(tools, flags, files))
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
#[track_caller]
pub fn shows(tools: &mut Tools, file: &Path, command: &str) -> String {
    let words = format!("MetadataShell --snapshot {} {command}", file.display());
    sound(&words, tools.run(&split(&words), ""))
}

/// The files below `folder` with this extension, in order.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension() == Some(OsStr::new(extension)) {
            found.push(path);
        }
    }
    found.sort();
    found
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

/// What the dump says on stdout of a file that it does not accept.
const FAULTS: [&str; 3] = ["isvalid: false", "invalid bytes at the end", "Unknown record type"];

/// The tools complain about every segment that does not begin at offset 0 (the dump's count of the offset before starts at -1)
/// and about every record of the quorum among the metadata (the shell has no place for it).
fn is_said_of_kafkas_own(line: &str) -> bool {
    line.starts_with("Non-consecutive offsets in ")
        || line.trim_start().starts_with("-1 is followed by ")
        || line.starts_with("ERROR Ignoring control record with type ")
}
