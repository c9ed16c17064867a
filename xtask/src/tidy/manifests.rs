//! What every package's manifest and root file say: the workspace's lints, and a doc that introduces the crate.

use super::{Finding, Tree};

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (folder, manifest) in tree.packages() {
        let path = format!("{folder}/Cargo.toml");
        if !takes_workspace_lints(manifest) {
            let mend = "add a section [lints] with workspace = true";
            findings.push(Finding::new(
                &path,
                manifest.lines().count().max(1),
                "the workspace's lints are not taken",
                mend,
            ));
        }
        let roots: Vec<String> = ["lib.rs", "main.rs"]
            .map(|root| format!("{folder}/src/{root}"))
            .into_iter()
            .filter(|r| tree.exists(r))
            .collect();
        for root in roots {
            if !tree.text(&root).is_some_and(introduces_itself) {
                let mend =
                    "start it with //! lines: what it owns, what it never does, its invariants by name";
                findings.push(Finding::new(&root, 1, "the crate does not introduce itself", mend));
            }
        }
    }
    findings
}

fn introduces_itself(text: &str) -> bool {
    text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//! "))
}

fn takes_workspace_lints(manifest: &str) -> bool {
    let mut inside = false;
    manifest.lines().map(str::trim).any(|line| {
        inside = if line.starts_with('[') { line == "[lints]" } else { inside };
        inside && line.replace(' ', "") == "workspace=true"
    })
}

/// The dependencies a manifest names, of every kind and platform, with their lines. Workspace tables are not dependencies.
pub fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut section = "";
    manifest.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            return section_dependency(section).map(|name| (index + 1, name));
        }
        let (key, value) =
            line.split_once('=').filter(|_| is_dependency_table(section) && !line.starts_with('#'))?;
        Some((index + 1, renamed(value).unwrap_or_else(|| key.split('.').next().unwrap_or(key).trim())))
    })
}

fn is_dependency_table(section: &str) -> bool {
    let last = section.rsplit('.').next().unwrap_or(section);
    !section.starts_with("workspace")
        && matches!(last, "dependencies" | "dev-dependencies" | "build-dependencies")
}

/// `[dependencies.name]`.
fn section_dependency(section: &str) -> Option<&str> {
    let (table, name) = section.rsplit_once('.')?;
    is_dependency_table(table).then_some(name)
}

/// `alias = { package = "name" }`.
fn renamed(value: &str) -> Option<&str> {
    let rest = value.split_once("package")?.1.trim_start().strip_prefix('=')?;
    rest.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_dependency() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = \"1\"\n# c = \"1\"\nd = { package = \"real-d\", version = \"1\" }\n\
            [dependencies.e]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\nf = \"1\"\n[workspace.dependencies]\ng = \"1\"\n\
            [dev-dependencies]\nh = \"1\"\n[features]\ni = []\n";
        let names: Vec<_> = dependencies(manifest).map(|(_, name)| name).collect();
        assert_eq!(names, ["a", "b", "real-d", "e", "f", "h"]);
    }

    #[test]
    fn lints_and_docs_are_asked_for() {
        let good = Tree::of(&[
            ("crates/a/Cargo.toml", "[package]\n[lints]\nworkspace = true\n"),
            ("crates/a/src/lib.rs", "//! It owns a.\n"),
        ]);
        assert_eq!(check(&good), []);
        let bad = Tree::of(&[("crates/a/Cargo.toml", "[package]\n"), ("crates/a/src/lib.rs", "mod b;\n")]);
        let places: Vec<_> = check(&bad).into_iter().map(|f| f.path).collect();
        assert_eq!(places, ["crates/a/Cargo.toml", "crates/a/src/lib.rs"]);
    }
}
