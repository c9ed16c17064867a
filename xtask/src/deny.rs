//! `cargo xtask deny`: licences, banned crates and sources by cargo-deny, and a reason for every direct dependency.
//!
//! cargo-deny is installed under the home folder when it is missing. The advisory database needs a network that not every
//! machine has: where it cannot be reached that is said, and the other checks decide.

#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::test::{Counts, child};
use crate::tidy::Finding;

const VERSION: &str = "0.20.2";
/// The table of reasons: its first column names the crates.
pub const REASONS: &str = "docs/adr/2026-11-21-dependencies.md";

/// Runs all checks and counts them.
pub fn run(root: &Path) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let mut count = |passed: bool| if passed { counts.passed += 1 } else { counts.failed += 1 };
    let findings = reasons(&read(&root.join(REASONS))?, &direct_dependencies(root)?);
    findings.iter().for_each(|finding| println!("{finding}"));
    count(findings.is_empty());
    let program = cargo_deny()?;
    for check in ["licenses", "bans", "sources"] {
        count(checked(root, &program, check)?);
    }
    match advisories(root, &program)? {
        Some(passed) => count(passed),
        None => {
            println!("advisories: the database cannot be reached from here, so they were not checked");
            counts.skipped += 1;
        }
    }
    println!("deny: {counts}");
    Ok(counts)
}

fn checked(root: &Path, program: &Path, check: &str) -> Result<bool, String> {
    let mut command = Command::new(program);
    command.current_dir(root).args(["check", "--hide-inclusion-graph", check]);
    Ok(child::run(&mut command)?.success)
}

/// `None` when there is no database to ask.
fn advisories(root: &Path, program: &Path) -> Result<Option<bool>, String> {
    let fetched = Command::new(program)
        .current_dir(root)
        .args(["fetch", "db"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    if fetched.status.success() { checked(root, program, "advisories").map(Some) } else { Ok(None) }
}

/// The installed cargo-deny of our version, installed now if there is none.
fn cargo_deny() -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME").ok_or("HOME is not set")?;
    let tools = Path::new(&home).join(".cache/dohle/tools");
    let known = ["cargo-deny".into(), tools.join("bin/cargo-deny")];
    if let Some(program) =
        known.into_iter().find(|program: &PathBuf| version(program).is_some_and(|v| v == VERSION))
    {
        return Ok(program);
    }
    println!("installing cargo-deny {VERSION} into {} (a few minutes, once)", tools.display());
    let installed = Command::new("cargo")
        .args(["install", "cargo-deny", "--version", VERSION, "--locked", "--root"])
        .arg(&tools)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if installed.success() {
        Ok(tools.join("bin/cargo-deny"))
    } else {
        Err("cargo-deny cannot be installed".to_owned())
    }
}

fn version(program: &Path) -> Option<String> {
    let said = Command::new(program).arg("--version").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    said.split_whitespace().nth(1).map(str::to_owned)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// What the workspace's packages name themselves, by crate, with one package that does.
fn direct_dependencies(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let output = Command::new("cargo")
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(named_dependencies(&said))
}

fn named_dependencies(metadata: &Value) -> BTreeMap<String, String> {
    let mut direct = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let ours = package["name"].as_str().unwrap_or_default();
        let theirs =
            package["dependencies"].as_array().into_iter().flatten().filter(|d| !d["source"].is_null());
        for name in theirs.filter_map(|dependency| dependency["name"].as_str()) {
            direct.entry(name.to_owned()).or_insert_with(|| ours.to_owned());
        }
    }
    direct
}

/// Dependencies without a line, and lines without a dependency.
fn reasons(document: &str, direct: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut listed = BTreeSet::new();
    let mut findings = Vec::new();
    for (index, line) in document.lines().enumerate() {
        let Some((name, rest)) = line.strip_prefix("| `").and_then(|line| line.split_once('`')) else {
            continue;
        };
        listed.insert(name);
        let columns = rest.split('|').filter(|column| !column.trim().is_empty()).count();
        if !direct.contains_key(name) {
            findings.push(finding(index + 1, format!("no package uses {name}"), "delete the line"));
        } else if columns < 2 {
            findings.push(finding(
                index + 1,
                format!("{name} has no reason"),
                "say what for, and why not ourselves",
            ));
        }
    }
    for (name, user) in direct.iter().filter(|(name, _)| !listed.contains(name.as_str())) {
        let mend = "add a line: what for, and why not ourselves";
        findings.push(finding(
            document.lines().count(),
            format!("{user} uses {name}, which has no line here"),
            mend,
        ));
    }
    findings
}

fn finding(line: usize, what: String, mend: &str) -> Finding {
    Finding { path: REASONS.to_owned(), line, what, mend: mend.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_dependencies_are_those_with_a_source() {
        let metadata = serde_json::json!({"packages": [{"name": "dohle-a", "dependencies": [
            {"name": "bytes", "source": "registry"}, {"name": "dohle-b", "source": null}]}]});
        assert_eq!(
            named_dependencies(&metadata),
            BTreeMap::from([("bytes".to_owned(), "dohle-a".to_owned())])
        );
    }

    #[test]
    fn reasons_and_dependencies_match_both_ways() {
        let document = "# x\n| crate | for | why |\n|---|---|---|\n| `bytes` | a | b |\n| `old` | a | b |\n| `bare` | | |\n";
        let used = ["bytes", "bare", "new"].map(|name| (name.to_owned(), "dohle-a".to_owned())).into();
        let found: Vec<_> =
            reasons(document, &used).into_iter().map(|f| format!("{}: {}", f.line, f.what)).collect();
        let expected = [
            "5: no package uses old",
            "6: bare has no reason",
            "6: dohle-a uses new, which has no line here",
        ];
        assert_eq!(found, expected);
    }
}
