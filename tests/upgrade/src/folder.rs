//! What lies in a folder, by names and checkpoints: for waiting until something is done, and for leaving what a program that was killed would.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The files below `folder` with this extension, in order.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder) {
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension() == Some(OsStr::new(extension)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The offset that a checkpoint of a log directory has of a partition.
pub fn checkpoint(log_dir: &Path, file: &str, topic: &str, partition: i32) -> Option<i64> {
    let text = std::fs::read_to_string(log_dir.join(file)).unwrap_or_default();
    let entry = text.lines().find_map(|line| line.strip_prefix(&format!("{topic} {partition} ")));
    entry.map(|offset| offset.parse().expect("an offset"))
}

/// Up to where a partition is compacted.
pub fn compacted(log_dir: &Path, topic: &str, partition: i32) -> i64 {
    checkpoint(log_dir, "cleaner-offset-checkpoint", topic, partition).unwrap_or(0)
}

/// The first offsets of a partition's segments.
pub fn bases(folder: &Path) -> Vec<i64> {
    let base = |path: &PathBuf| stem(path).parse().expect("an offset");
    files(folder, "log").iter().map(base).collect()
}

pub fn active_base(folder: &Path) -> i64 {
    *bases(folder).last().expect("a segment")
}

/// The name of a file up to its last dot.
pub fn stem(path: &Path) -> String {
    path.file_stem().expect("a file has a name").to_string_lossy().into_owned()
}

/// Makes `to` what `from` is.
pub fn copy(from: &Path, to: &Path) {
    let _was_there = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    for path in entries(from) {
        let into = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &into);
        } else {
            std::fs::copy(&path, &into).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries.map(|entry| entry.expect("an entry of a folder").path()).collect()
}
