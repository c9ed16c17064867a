//! `cargo xtask config`: the tables of keys against Kafka's own definitions, the golden answers of the configuration's tests
//! against Kafka's own validators, and the reference page against the tables. `--bless` rewrites the files; the tables are ours to
//! edit.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::Path;

use dohle_config::keys::{self, DefaultValue, KeyDef, Valid};

use crate::jars::JavaProgram;
use crate::test::Counts;

/// The program that asks Kafka's classes.
const FACTS: &str = "xtask/java/ConfigFacts.java";
const PAGE: &str = "docs/configuration.md";
const CASES: &str = "crates/config/tests/data/cases.golden";
const SCENARIO: &str = "crates/config/tests/data/describe.scenario";
const DESCRIBED: &str = "crates/config/tests/data/describe.golden";

/// Compares everything; one count per key and per file.
pub fn run(root: &Path, bless: bool) -> Result<Counts, String> {
    let java = JavaProgram::new(root, FACTS)?;
    let mut counts = tables(&java.run(&["tables"])?);
    let path = |file: &str| root.join(file).to_string_lossy().into_owned();
    for (file, wanted) in [
        (CASES, java.run(&["cases", &path(CASES)])?),
        (DESCRIBED, java.run(&["describe", &path(SCENARIO)])?),
        (PAGE, dohle_config::reference()),
    ] {
        counts.add(compare(root, file, &wanted, bless)?);
    }
    println!("{counts}");
    Ok(counts)
}

/// Kafka's tables, line by line, against ours.
fn tables(facts: &str) -> Counts {
    let mut kafka: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for line in facts.lines() {
        let mut columns = line.splitn(3, '\t');
        if let (Some(resource), Some(name), Some(rest)) = (columns.next(), columns.next(), columns.next()) {
            kafka.insert((resource, name), rest.to_owned());
        }
    }
    let mut counts = Counts::default();
    for (resource, table) in [
        ("broker", keys::BROKER),
        ("broker-quota", keys::BROKER_QUOTAS),
        ("topic", keys::TOPIC),
        ("group", keys::GROUP),
        ("client-metrics", keys::CLIENT_METRICS),
    ] {
        for key in table {
            let ours = facts_of(key);
            match kafka.remove(&(resource, key.name)) {
                Some(theirs) if theirs == ours => counts.passed += 1,
                theirs => {
                    counts.failed += 1;
                    println!("{resource} {}\n  kafka: {theirs:?}\n  ours:  {ours:?}", key.name);
                }
            }
        }
    }
    for (resource, name) in kafka.keys() {
        counts.failed += 1;
        println!("{resource} {name} is not in our tables");
    }
    counts
}

/// A row as the Java program prints it: type, default, valid values, rules of lists, importance, update mode, internal.
fn facts_of(key: &KeyDef) -> String {
    let default = match key.default {
        DefaultValue::Required => "(required)",
        DefaultValue::Null => "(null)",
        DefaultValue::Is(text) => text,
    };
    let list = match key.valid {
        Valid::List { empty, null, .. } => {
            let rules = [(empty, "empty"), (null, "null"), (true, "unique")];
            rules.iter().filter(|(holds, _)| *holds).map(|(_, rule)| *rule).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    };
    let internal = if key.internal { "internal" } else { "" };
    let (kind, importance, update) = (key.kind.name(), key.importance.name(), key.update.name());
    [kind, default, &key.valid_text(), &list, importance, update, internal].join("\t")
}

fn compare(root: &Path, file: &str, wanted: &str, bless: bool) -> Result<Counts, String> {
    let path = root.join(file);
    let failed = |error: std::io::Error| format!("{file}: {error}");
    let found = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(failed)?,
    };
    if found == wanted {
        return Ok(Counts { passed: 1, ..Counts::default() });
    }
    if bless {
        std::fs::write(&path, wanted).map_err(failed)?;
        println!("{file} is rewritten");
        return Ok(Counts { passed: 1, ..Counts::default() });
    }
    let line = found
        .lines()
        .zip(wanted.lines())
        .position(|(a, b)| a != b)
        .unwrap_or(found.lines().count().min(wanted.lines().count()));
    println!("{file} is stale from line {} on: run cargo xtask config --bless", line + 1);
    Ok(Counts { failed: 1, ..Counts::default() })
}
