//! A path that a document names exists: in backticks or as the target of a link.

use super::{Finding, Tree};

/// Endings that make a word with a slash, or a bare file name in backticks, a claim about this repository.
const SOURCES: &[&str] = &[".rs", ".md", ".toml", ".tsv", ".sh", ".java", ".py"];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let documents = tree.texts().filter(|(path, _)| {
        matches!(*path, "ARCHITECTURE.md" | "README.md")
            || (path.starts_with("docs/") && path.ends_with(".md"))
    });
    documents.flat_map(|(path, text)| document(tree, path, text)).collect()
}

fn document(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue; // commands and output, not claims
        }
        let broken_links = links(line).filter(|target| !link_holds(tree, folder, target));
        let broken_words = quoted(line).filter(|word| !word_holds(tree, folder, word));
        for name in broken_links.chain(broken_words) {
            let mend = "write the path as it is now, from the root of the repository";
            findings.push(Finding::new(path, index + 1, format!("{name} does not exist"), mend));
        }
    }
    findings
}

/// The targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// What stands between single backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn link_holds(tree: &Tree, folder: &str, target: &str) -> bool {
    let file = target.split(['#', ' ']).next().unwrap_or(target);
    file.is_empty()
        || target.contains("://")
        || target.starts_with("mailto:")
        || tree.exists(&resolved(folder, file))
}

/// Whether the word is no claim about this repository, or one that holds.
fn word_holds(tree: &Tree, folder: &str, word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/{},*<>:".contains(c);
    if word.is_empty()
        || !word.chars().all(plain)
        || word.contains("::")
        || word.starts_with(['/', '.', '-']) && !word.starts_with(".ci")
    {
        return true;
    }
    let word = word.split(':').next().unwrap_or(word);
    expanded(word).iter().all(|path| claim_holds(tree, folder, path))
}

fn claim_holds(tree: &Tree, folder: &str, path: &str) -> bool {
    // Only what stands before a placeholder can be checked.
    let end =
        path.find(['*', '<']).map_or(path.len(), |at| path[..at].rfind('/').map_or(0, |slash| slash + 1));
    let (known, source) = (&path[..end], SOURCES.iter().any(|ending| path.ends_with(ending)));
    match known.split_once('/') {
        Some((top, _)) if tree.top().contains(top) => tree.exists(known),
        Some(_) if source && end == path.len() => [resolved(folder, known), format!("crates/{known}")]
            .iter()
            .any(|candidate| tree.exists(candidate)),
        None if path.ends_with(".rs") && end == path.len() => tree.has_name(path),
        _ => true,
    }
}

/// `a/{b,c}.rs` names two paths.
fn expanded(word: &str) -> Vec<String> {
    let parts = word.split_once('{').and_then(|(before, rest)| {
        let (choices, after) = rest.split_once('}')?;
        Some((before, choices, after))
    });
    match parts {
        Some((before, choices, after)) => {
            choices.split(',').flat_map(|choice| expanded(&format!("{before}{choice}{after}"))).collect()
        }
        None => vec![word.to_owned()],
    }
}

fn resolved(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    if file.starts_with('/') {
        parts.clear();
    }
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("docs/paths/produce.md", text),
            ("docs/paths/fetch.md", ""),
            ("crates/log/src/lib.rs", ""),
            ("crates/log/src/read.rs", ""),
            ("README.md", ""),
        ]);
        check(&tree).into_iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
    }

    #[test]
    fn what_exists_passes() {
        let text = "See `crates/log/src/{lib,read}.rs`, `log/src/read.rs`, `read.rs:12`, `crates/*/src`, `crates/<name>/src/lib.rs`,\n\
            [fetch](fetch.md#top), [readme](../../README.md), [x](https://example.org/a.md), `text/plain`, `meta.properties`, `a::b`,\n\
            ```\ncat crates/none.rs\n```\n";
        assert_eq!(broken(text), Vec::<String>::new());
    }

    #[test]
    fn what_is_gone_is_found() {
        assert_eq!(broken("`crates/log/src/old.rs`"), ["1: crates/log/src/old.rs does not exist"]);
        assert_eq!(broken("x\n[gone](gone.md)"), ["2: gone.md does not exist"]);
        assert_eq!(
            broken("`log/src/old.rs` and `old.rs`"),
            ["1: log/src/old.rs does not exist", "1: old.rs does not exist"]
        );
        assert_eq!(broken("`docs/{paths,none}/`"), ["1: docs/{paths,none}/ does not exist"]);
    }
}
