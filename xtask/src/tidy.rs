//! `cargo xtask tidy`: the rules of the house that no compiler knows.
//!
//! Owns one check per file below, each a pure function from the text of the repository ([`Tree`]) to findings, so that every
//! rule is tested on a tree of a few lines. It never changes a file, but for `--tighten`, which lowers numbers in the
//! ratchet. A finding says where, what, and how to mend it.

mod arrows;
mod dead;
mod manifests;
mod paths;
mod size;
mod tree;
mod words;

use std::fmt;
use std::path::Path;

use crate::conformance::page;
use crate::test::Counts;
pub use tree::Tree;

/// Where the numbers that may only go down are kept.
pub const RATCHET: &str = "xtask/tidy-ratchet.tsv";

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub path: String,
    /// From 1.
    pub line: usize,
    pub what: String,
    pub mend: String,
}

impl Finding {
    pub fn new(path: &str, line: usize, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into(), mend: mend.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.path, self.line, self.what, self.mend)
    }
}

/// A check by its name.
type Check = (&'static str, fn(&Tree) -> Vec<Finding>);

/// Every check of one state of the repository, in the order they are printed.
const CHECKS: &[Check] = &[
    ("crate arrows", arrows::check),
    ("dead files", dead::check),
    ("paths in documents", paths::check),
    ("sizes", size::check),
    ("words", words::check),
    ("manifests and crate docs", manifests::check),
    ("conformance page", page::check),
];

/// Checks the repository at `root` and prints what is wrong. `tighten` lowers the ratchet's numbers to what is.
pub fn run(root: &Path, tighten: bool) -> Result<Counts, String> {
    let mut tree = Tree::load(root)?;
    if tighten {
        let tight = size::tightened(&tree);
        write(&root.join(RATCHET), &tight)?;
        tree.insert(RATCHET, &tight);
    }
    let mut failed = 0;
    for (name, check) in CHECKS {
        let mut findings = check(&tree);
        findings.sort();
        findings.iter().for_each(|finding| println!("{finding}"));
        if !findings.is_empty() {
            failed += 1;
            println!("tidy: {name}: {} to mend", findings.len());
        }
    }
    if let Some(before) = tree::committed(root, RATCHET) {
        let raised = size::raised(&before, tree.text(RATCHET).unwrap_or_default());
        raised.iter().for_each(|finding| println!("{finding}"));
        failed += usize::from(!raised.is_empty());
    }
    let counts = Counts { passed: CHECKS.len() + 1 - failed, failed, skipped: 0 };
    println!("tidy: {counts}");
    Ok(counts)
}

#[allow(clippy::disallowed_methods)] // a tool at the developer's desk, not the platform
fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
