//! The repository as text: every file a person writes, by its path from the root.
//!
//! Never holds build output, dependencies or binaries. Tests make trees of a few lines with [`Tree::of`].

#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Folders that hold nothing a person wrote.
const SKIPPED: &[&str] = &[".git", "target", "node_modules", "__pycache__", "corpus"];
/// Where the repository of a second working tree is: a file that git wrote.
const WORKTREE: &str = ".git";
/// The largest file that is read; what is larger is data.
const LARGEST: u64 = 4 << 20;

/// Paths with `/`, relative to the root, and what the files say. A binary file is there with no text.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Reads the repository at `root`.
    pub fn load(root: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        tree.walk(root, "").map_err(|error| format!("cannot read {}: {error}", root.display()))?;
        Ok(tree)
    }

    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned()))).collect(),
        }
    }

    pub fn insert(&mut self, path: &str, text: &str) {
        self.files.insert(path.to_owned(), Some(text.to_owned()));
    }

    /// What the file says; `None` when there is no such file or it is not text.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Whether there is such a file or folder. `""` is the root.
    pub fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        path.is_empty() || self.files.contains_key(path) || self.under(&folder).next().is_some()
    }

    /// All text files, in order of their paths.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// The text files whose paths start with `prefix`.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .range(prefix.to_owned()..)
            .take_while(move |(path, _)| path.starts_with(prefix))
            .map(|(path, text)| (path.as_str(), text.as_deref().unwrap_or_default()))
    }

    /// The hand-written and generated Rust of the repository.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// The folders that hold a package, with their manifests. The workspace's own manifest is not one.
    pub fn packages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter_map(|(path, text)| Some((path.strip_suffix("/Cargo.toml")?, text)))
    }

    /// Whether some file has this name, in whatever folder.
    pub fn has_name(&self, name: &str) -> bool {
        self.files.keys().any(|path| path.rsplit('/').next() == Some(name))
    }

    /// The names at the top of the repository.
    pub fn top(&self) -> BTreeSet<&str> {
        self.files.keys().filter_map(|path| path.split('/').next()).collect()
    }

    fn walk(&mut self, folder: &Path, prefix: &str) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            let path = format!("{prefix}{name}");
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() && name != WORKTREE {
                let small = entry.metadata()?.len() <= LARGEST;
                let text = if small { String::from_utf8(std::fs::read(entry.path())?).ok() } else { None };
                self.files.insert(path, text);
            }
        }
        Ok(())
    }
}

/// What the last commit says in `path`; `None` where there is no commit or it has no such file.
pub fn committed(root: &Path, path: &str) -> Option<String> {
    let shown =
        Command::new("git").current_dir(root).args(["show", &format!("HEAD:{path}")]).output().ok()?;
    if shown.status.success() { String::from_utf8(shown.stdout).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_exist_by_their_files() {
        let tree = Tree::of(&[("docs/adr/a.md", ""), ("docs-old/b.md", "")]);
        assert!(tree.exists("docs") && tree.exists("docs/adr/") && tree.exists("docs/adr/a.md"));
        assert!(!tree.exists("docs/ad") && !tree.exists("doc"));
        assert_eq!(tree.top().into_iter().collect::<Vec<_>>(), ["docs", "docs-old"]);
    }
}
