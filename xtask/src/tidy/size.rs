//! Size is a budget with a ratchet: files to 500 lines, functions to 100 (STYLE asks for 70), and what is larger is listed with
//! a number that may only go down. Where the pieces meet there is no exception.
//!
//! The ratchet is a table of three columns: `file` or `function`, the number, the path (with `::name` for a function). A row
//! `table` with the number 0 exempts a file that is one table and no logic. Generated files (`@generated` in the first lines)
//! are not counted.

use std::collections::BTreeMap;

use super::{Finding, RATCHET, Tree};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 100;
/// Files where the pieces meet; they grow first, so they get no row in the ratchet.
const MEETING: &[&str] = &["lib.rs", "main.rs", "mod.rs", "dispatch.rs", "node.rs", "server.rs"];
/// Within how many of its first lines a generated file says so.
const GENERATED_WITHIN: usize = 5;

const GO_SMALLER: &str = "split it by responsibility, top-down";

/// A row of the ratchet: its kind and what it is about.
type Key = (String, String);

/// The ratchet's rows with their numbers and lines.
fn rows(text: &str) -> BTreeMap<Key, (usize, usize)> {
    let row = |(index, line): (usize, &str)| {
        let mut columns = line.split('\t');
        let (kind, number, path) = (columns.next()?, columns.next()?.parse().ok()?, columns.next()?);
        Some(((kind.to_owned(), path.to_owned()), (number, index + 1)))
    };
    text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')).filter_map(row).collect()
}

/// What is over its budget now: the key, the number, and the line it starts at.
fn oversized(tree: &Tree) -> BTreeMap<Key, (usize, usize)> {
    let exempt = rows(tree.text(RATCHET).unwrap_or_default());
    let mut found = BTreeMap::new();
    for (path, text) in tree.rust() {
        let table = exempt.contains_key(&("table".to_owned(), path.to_owned()));
        if table || text.lines().take(GENERATED_WITHIN).any(|line| line.contains("@generated")) {
            continue;
        }
        let lines = text.lines().count();
        if lines > FILE_LINES {
            found.insert(("file".to_owned(), path.to_owned()), (lines, 1));
        }
        for (name, line, length) in
            functions(text).into_iter().filter(|(_, _, length)| *length > FUNCTION_LINES)
        {
            let entry = found.entry(("function".to_owned(), format!("{path}::{name}"))).or_insert((0, line));
            entry.0 = entry.0.max(length);
        }
    }
    found
}

pub fn check(tree: &Tree) -> Vec<Finding> {
    let allowed = rows(tree.text(RATCHET).unwrap_or_default());
    let found = oversized(tree);
    let mut findings = Vec::new();
    for ((kind, name), (lines, at)) in &found {
        let path = name.split("::").next().unwrap_or(name);
        let meets = kind == "file" && MEETING.contains(&path.rsplit('/').next().unwrap_or(path));
        let allowance = allowed.get(&(kind.clone(), name.clone())).map(|(number, _)| *number);
        let over = |budget: &str| {
            Finding::new(path, *at, format!("{kind} {name} has {lines} lines, {budget}"), GO_SMALLER)
        };
        match allowance {
            _ if meets => findings.push(over(&format!("and where the pieces meet {FILE_LINES} is the most"))),
            Some(number) if *lines > number => findings.push(over(&format!("the ratchet allows {number}"))),
            Some(number) if *lines < number => {
                let mend = format!("lower its row in {RATCHET} (cargo xtask tidy --tighten)");
                findings.push(Finding::new(
                    path,
                    *at,
                    format!("{kind} {name} went down from {number} to {lines} lines"),
                    mend,
                ));
            }
            Some(_) => {}
            None => findings.push(over(&format!("the budget is {}", budget(kind)))),
        }
    }
    findings.extend(stale(tree, &allowed, &found));
    findings
}

fn budget(kind: &str) -> usize {
    if kind == "file" { FILE_LINES } else { FUNCTION_LINES }
}

/// Rows about nothing.
fn stale(
    tree: &Tree,
    allowed: &BTreeMap<Key, (usize, usize)>,
    found: &BTreeMap<Key, (usize, usize)>,
) -> Vec<Finding> {
    let needless = |key: &Key| if key.0 == "table" { !tree.exists(&key.1) } else { !found.contains_key(key) };
    let finding = |(key, (_, line)): (&Key, &(usize, usize))| {
        Finding::new(RATCHET, *line, format!("{} {} needs no row any more", key.0, key.1), "delete the row")
    };
    allowed.iter().filter(|(key, _)| needless(key)).map(finding).collect()
}

/// Rows of `now` that are larger than, or missing in, what was committed before. Growing needs a reader's consent.
pub fn raised(before: &str, now: &str) -> Vec<Finding> {
    let before = rows(before);
    let grown = |(key, (number, line)): (Key, (usize, usize))| {
        let (old, _) = before.get(&key)?;
        (number > *old).then(|| {
            Finding::new(
                RATCHET,
                line,
                format!("{} {} was raised from {old} to {number}", key.0, key.1),
                "only down",
            )
        })
    };
    rows(now).into_iter().filter_map(grown).collect()
}

/// The ratchet with every number lowered to what is, rows about nothing dropped, comments and exemptions kept.
pub fn tightened(tree: &Tree) -> String {
    let text = tree.text(RATCHET).unwrap_or_default();
    let found = oversized(tree);
    let mut tight = String::new();
    for line in text.lines() {
        let Some((key, (number, _))) = rows(line).into_iter().next() else {
            tight.push_str(&format!("{line}\n"));
            continue;
        };
        match found.get(&key) {
            Some((lines, _)) => tight.push_str(&format!("{}\t{}\t{}\n", key.0, number.min(*lines), key.1)),
            None if key.0 == "table" && tree.exists(&key.1) => tight.push_str(&format!("{line}\n")),
            None => {}
        }
    }
    tight
}

/// Name, first line and length of every function. Formatted code is assumed: a function ends where its indentation returns.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closes = |line: &&str| {
            line.len() > indent
                && line.len() - line.trim_start().len() == indent
                && line.trim_start().starts_with('}')
        };
        if line.ends_with(['}', ';']) {
            continue; // one line, or a declaration
        }
        let end = lines[start + 1..]
            .iter()
            .position(|line| closes(&line.trim_end()) || declaration_ends(line, indent));
        if let Some(end) = end {
            found.push((name.to_owned(), start + 1, end + 2));
        }
    }
    found
}

/// `) -> T;` at the function's own indentation: a declaration of several lines.
fn declaration_ends(line: &str, indent: usize) -> bool {
    line.len() - line.trim_start().len() == indent
        && line.trim_start().starts_with(')')
        && line.ends_with(';')
}

fn function_name(line: &str) -> Option<&str> {
    let code = line.trim_start();
    let before = &code[..code.find("fn ")?];
    let qualifier = |word: &str| {
        word.starts_with("pub")
            || word.ends_with(')')
            || matches!(word, "const" | "async" | "unsafe" | "extern" | "\"C\"" | "default")
    };
    let name = &code[before.len() + 3..];
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0 && before.split_whitespace().all(qualifier)).then(|| &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_function(name: &str, lines: usize) -> String {
        format!(
            "impl A {{\n    pub(crate) async fn {name}(\n        a: u8,\n    ) {{\n{}    }}\n}}\n",
            "        a;\n".repeat(lines - 4)
        )
    }

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.what)).collect()
    }

    #[test]
    fn functions_are_measured_by_indentation() {
        let text = format!(
            "fn short() {{}}\ntrait T {{\n    fn declared(\n        &self,\n    );\n}}\n{}",
            long_function("long", 50)
        );
        assert_eq!(functions(&text), [("declared".to_owned(), 3, 3), ("long".to_owned(), 8, 50)]);
    }

    #[test]
    fn what_is_within_budget_passes() {
        assert!(
            found(&[("a/src/b.rs", &"x\n".repeat(500)), ("a/src/c.rs", &long_function("f", 100))]).is_empty()
        );
        assert!(found(&[("a/src/b.rs", &format!("// @generated\n{}", "x\n".repeat(900)))]).is_empty());
    }

    #[test]
    fn what_is_over_budget_needs_a_row_of_exactly_its_size() {
        let file = "x\n".repeat(600);
        let with = |row: &str| found(&[("a/src/b.rs", &file), (RATCHET, row)]);
        assert_eq!(with("# empty\n"), ["a/src/b.rs:1: file a/src/b.rs has 600 lines, the budget is 500"]);
        assert!(with("file\t600\ta/src/b.rs\n").is_empty());
        assert!(with("table\t0\ta/src/b.rs\n").is_empty());
        assert_eq!(
            with("file\t599\ta/src/b.rs\n"),
            ["a/src/b.rs:1: file a/src/b.rs has 600 lines, the ratchet allows 599"]
        );
        assert_eq!(
            with("file\t700\ta/src/b.rs\n"),
            ["a/src/b.rs:1: file a/src/b.rs went down from 700 to 600 lines"]
        );
        let long = long_function("f", 120);
        let expected = "a/src/c.rs:2: function a/src/c.rs::f has 120 lines, the budget is 100";
        assert_eq!(found(&[("a/src/c.rs", &long)]), [expected]);
        assert!(found(&[("a/src/c.rs", &long), (RATCHET, "function\t120\ta/src/c.rs::f\n")]).is_empty());
    }

    #[test]
    fn meeting_files_have_no_way_out() {
        let file = "x\n".repeat(501);
        let findings = found(&[("a/src/lib.rs", &file), (RATCHET, "file\t501\ta/src/lib.rs\n")]);
        assert_eq!(
            findings,
            ["a/src/lib.rs:1: file a/src/lib.rs has 501 lines, and where the pieces meet 500 is the most"]
        );
    }

    #[test]
    fn rows_only_go_down_and_away() {
        assert_eq!(
            found(&[(RATCHET, "file\t600\tgone.rs\n")]),
            [format!("{RATCHET}:1: file gone.rs needs no row any more")]
        );
        assert_eq!(raised("file\t600\ta.rs\n", "file\t599\ta.rs\n"), []);
        assert_eq!(raised("file\t600\ta.rs\n", "# x\nfile\t601\ta.rs\n")[0].line, 2);
        let tree =
            Tree::of(&[("a.rs", &"x\n".repeat(550)), (RATCHET, "# why\nfile\t600\ta.rs\nfile\t700\tb.rs\n")]);
        assert_eq!(tightened(&tree), "# why\nfile\t550\ta.rs\n");
    }
}
