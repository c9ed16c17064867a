//! Words that do not belong here: notes to oneself, names that say nothing, and places that only one machine knows.

use super::{Finding, Tree};

/// Put together here, so that this file does not trip over itself.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const LEFTOVER_MACRO: &str = concat!("dbg", "!(");
const MACHINE_FOLDERS: &[&str] = &[concat!("/ro", "ot/"), concat!("/wo", "rk/")];
/// How the hosts that packages are fetched from are called, by the first part of their names.
const REGISTRY_LABELS: &[&str] =
    &["registry", "index", "proxy", "repo", "repo1", "static", "files", "sum", "deb"];
/// Endings of names that hide what a thing does. As words of their own they are no better.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Helpers", "Util", "Utils", "Impl"];
const EMPTY_MODULES: &[&str] = &["manager", "helper", "helpers", "util", "utils", "impl", "impls"];
/// What defines a name in Rust.
const DEFINITIONS: &[&str] = &["struct ", "enum ", "trait ", "type ", "mod ", "union "];

/// Files whose words are not ours.
const FOREIGN: &[&str] = &["Cargo.lock", "LICENSE"];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| !FOREIGN.contains(path)) {
        for (index, line) in text.lines().enumerate() {
            let mut report =
                |what: String, mend: &str| findings.push(Finding::new(path, index + 1, what, mend));
            if let Some(note) = NOTES.iter().find(|note| has_word(line, note)) {
                report(format!("{note} left behind"), "do it, or file an issue and say what is");
            }
            if let Some(host) = registry_host(line) {
                report(format!("registry host {host}"), "name the package, not where it is fetched");
            }
            if let Some(folder) = MACHINE_FOLDERS.iter().find(|folder| names_folder(line, folder)) {
                report(
                    format!("machine path {folder}"),
                    "take it from the environment or the repository's root",
                );
            }
            if path.ends_with(".rs") {
                rust(line, &mut report);
            }
        }
    }
    findings
}

/// The host of the first address in a line that looks like a package registry's.
fn registry_host(line: &str) -> Option<&str> {
    line.split("://").skip(1).find_map(|rest| {
        let host = rest.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-')).next()?;
        let (label, domain) = host.split_once('.')?;
        (REGISTRY_LABELS.contains(&label) && domain.contains('.')).then_some(host)
    })
}

fn rust(line: &str, report: &mut impl FnMut(String, &str)) {
    if line.contains(LEFTOVER_MACRO) {
        report(format!("{LEFTOVER_MACRO}) left behind"), "delete it");
    }
    if let Some(name) = defined(line).filter(|name| is_empty(name)) {
        report(
            format!("the name {name} says nothing"),
            "name it after what it owns or does, in the field's own words",
        );
    }
}

/// The name that this line of Rust defines, if it is one of a type or module.
fn defined(line: &str) -> Option<&str> {
    let code = line.trim_start();
    let code = match code.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) => rest.trim_start(),
        None => code,
    };
    let name = DEFINITIONS.iter().find_map(|definition| code.strip_prefix(definition))?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn is_empty(name: &str) -> bool {
    let module = name.rsplit('_').next().unwrap_or(name);
    EMPTY_NAMES.iter().any(|ending| name.ends_with(ending)) || EMPTY_MODULES.contains(&module)
}

/// `word` with nothing alphanumeric beside it.
fn has_word(line: &str, word: &str) -> bool {
    let apart = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word)
        .any(|(at, _)| apart(line[..at].chars().next_back()) && apart(line[at + word.len()..].chars().next()))
}

/// The folder at the start of a path: `target/x/y` inside another path does not count.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "._-~}/*$".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|f| format!("{}: {}", f.line, f.what)).collect()
    }

    #[test]
    fn ordinary_text_passes() {
        let text = "struct Managed;\nfn utilise() {}\nmktemp dohle.XXXXXX\nlet a = \"$dir/work/x\"; // implement\nimpl Manager for A {}\n";
        assert_eq!(found("a/src/b.rs", text), Vec::<String>::new());
    }

    #[test]
    fn each_banned_word_is_found() {
        for note in NOTES {
            assert_eq!(found("a.md", &format!("x\n// {note}: later")), [format!("2: {note} left behind")]);
        }
        assert_eq!(found("a.rs", &format!("{LEFTOVER_MACRO}x)")).len(), 1);
        for (line, name) in [
            ("pub struct LogManager {", "LogManager"),
            ("pub(crate) mod util;", "util"),
            ("trait ReadImpl {}", "ReadImpl"),
        ] {
            assert_eq!(found("a.rs", line), [format!("1: the name {name} says nothing")]);
        }
        for folder in MACHINE_FOLDERS {
            assert_eq!(found("a.sh", &format!("cd {folder}main")), [format!("1: machine path {folder}")]);
        }
        for label in REGISTRY_LABELS {
            let line = format!("x = \"https://{label}.example.org/a\"");
            assert_eq!(found("a.toml", &line), [format!("1: registry host {label}.example.org")]);
        }
        assert_eq!(found("a.toml", "x = \"https://www.example.org/index.html\""), Vec::<String>::new());
    }
}
