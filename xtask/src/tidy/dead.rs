//! Files that nothing reads: Rust that no `mod` names, schemas that no code names.

use std::collections::BTreeSet;

use super::{Finding, Tree};

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (folder, manifest) in tree.packages() {
        let alive = reachable(tree, &roots(tree, folder, manifest));
        let prefix = format!("{folder}/");
        for (path, _) in tree.under(&prefix).filter(|(path, _)| path.ends_with(".rs")) {
            if !alive.contains(path) && owner(tree, path) == Some(folder) {
                findings.push(Finding::new(
                    path,
                    1,
                    "no mod names this file",
                    "name it with mod, or delete it",
                ));
            }
        }
    }
    findings.extend(schemas(tree));
    findings
}

/// The package a file belongs to: the innermost folder with a manifest.
fn owner<'a>(tree: &'a Tree, path: &str) -> Option<&'a str> {
    tree.packages()
        .map(|(folder, _)| folder)
        .filter(|f| path.starts_with(&format!("{f}/")))
        .max_by_key(|f| f.len())
}

/// Where cargo starts to read: the conventional roots, and every `path = "x.rs"` of the manifest.
fn roots(tree: &Tree, folder: &str, manifest: &str) -> Vec<String> {
    let prefix = format!("{folder}/");
    let conventional = tree.under(&prefix).map(|(path, _)| path).filter(|path| {
        let inside = &path[prefix.len()..];
        let (place, name) = inside.rsplit_once('/').unwrap_or(("", inside));
        let main_of_folder = name == "main.rs" && place.split('/').count() >= 2;
        let bin = matches!(place, "src/bin" | "tests" | "examples" | "benches") || main_of_folder;
        name.ends_with(".rs") && (bin || matches!(inside, "src/lib.rs" | "src/main.rs" | "build.rs"))
    });
    let named = manifest.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let path = value.split('"').nth(1).filter(|path| key.trim() == "path" && path.ends_with(".rs"))?;
        Some(format!("{folder}/{path}"))
    });
    conventional.map(str::to_owned).chain(named).collect()
}

/// The files that the roots name, directly or by others.
fn reachable(tree: &Tree, roots: &[String]) -> BTreeSet<String> {
    let mut alive = BTreeSet::new();
    let mut open: Vec<(String, bool)> = roots.iter().map(|root| (root.clone(), true)).collect();
    while let Some((path, is_root)) = open.pop() {
        let Some(text) = tree.text(&path) else { continue };
        if alive.insert(path.clone()) {
            open.extend(named_by(&path, text, is_root));
        }
    }
    alive
}

/// Every file that `text`, found at `path`, could name by `mod`, `#[path]` or `include!`. The flag says that the modules it
/// names in turn lie beside it, as with a crate's root.
fn named_by(path: &str, text: &str, is_root: bool) -> Vec<(String, bool)> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let children = if is_root || name == "mod.rs" {
        folder.to_owned()
    } else {
        format!("{folder}/{}", name.trim_end_matches(".rs"))
    };
    let mut inline: Vec<(usize, String)> = Vec::new();
    let mut files = Vec::new();
    let mut attribute = None;
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        inline.retain(|(opened, _)| code.is_empty() || indent > *opened);
        if let Some(file) = quoted_after(code, "#[path = ").or_else(|| quoted_after(code, "include!(")) {
            attribute = Some(file);
        }
        if let Some(file) = attribute.filter(|_| declares(code).is_some() || code.contains("include!(")) {
            files.push((joined(folder, file), true));
            attribute = None;
        } else if let Some((module, opens)) = declares(code) {
            let nested: String = inline.iter().map(|(_, name)| format!("{name}/")).collect();
            if opens {
                inline.push((indent, module.to_owned()));
            } else {
                files.push((format!("{children}/{nested}{module}.rs"), false));
                files.push((format!("{children}/{nested}{module}/mod.rs"), false));
            }
        }
    }
    files
}

/// `mod name;` or `mod name {`, behind whatever visibility. The flag says that it opens here.
fn declares(code: &str) -> Option<(&str, bool)> {
    let code = match code.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) => rest.trim_start(),
        None => code,
    };
    let rest = code.strip_prefix("mod ")?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    match rest[end..].trim_start().chars().next()? {
        ';' => Some((&rest[..end], false)),
        '{' => Some((&rest[..end], true)),
        _ => None,
    }
}

fn quoted_after<'a>(code: &'a str, start: &str) -> Option<&'a str> {
    let rest = code.split_once(start)?.1;
    rest.strip_prefix('"')?.split('"').next()
}

fn joined(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A schema is read when some Rust that speaks of `schemas` names its file, or its ending (a generator that reads the folder).
fn schemas(tree: &Tree) -> Vec<Finding> {
    let readers: Vec<&str> =
        tree.rust().map(|(_, text)| text).filter(|text| text.contains("schemas")).collect();
    let unread = tree.under("schemas/").map(|(path, _)| path).filter(|path| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let ending = name.rsplit('.').next().unwrap_or(name);
        let reads = |text: &str| {
            text.contains(name)
                || text.contains(&format!("\"{ending}\""))
                || text.contains(&format!("\".{ending}\""))
        };
        ending != "md" && !readers.iter().any(|text| reads(text))
    });
    unread
        .map(|path| {
            Finding::new(path, 1, "no generator reads this schema", "let xtask schemas read it, or delete it")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn files_are_alive_by_mod_in_every_layout() {
        let files = [
            ("crates/a/Cargo.toml", "[package]\n"),
            (
                "crates/a/src/lib.rs",
                "pub mod b;\npub(crate) mod c;\n#[path = \"odd/name.rs\"]\nmod d;\nmod inline {\n    mod e;\n}\nmod f;\n",
            ),
            ("crates/a/src/b.rs", "mod deep;\n"),
            ("crates/a/src/b/deep.rs", ""),
            ("crates/a/src/c/mod.rs", "mod more;\ninclude!(\"table.rs\");\n"),
            ("crates/a/src/c/more.rs", ""),
            ("crates/a/src/c/table.rs", ""),
            ("crates/a/src/odd/name.rs", ""),
            ("crates/a/src/inline/e.rs", ""),
            ("crates/a/src/f.rs", ""),
            ("crates/a/tests/it.rs", "mod common;\n"),
            ("crates/a/tests/common/mod.rs", ""),
            ("crates/a/build.rs", ""),
        ];
        assert_eq!(dead(&files), Vec::<String>::new());
    }

    #[test]
    fn forgotten_files_are_found() {
        let files = [
            ("crates/a/Cargo.toml", "[package]\n"),
            ("crates/a/src/lib.rs", "mod b;\n// mod old;\n"),
            ("crates/a/src/b.rs", ""),
            ("crates/a/src/old.rs", ""),
            ("crates/a/src/b/lost.rs", ""),
        ];
        assert_eq!(dead(&files), ["crates/a/src/b/lost.rs", "crates/a/src/old.rs"]);
    }

    #[test]
    fn a_schema_needs_a_reader() {
        let reader = (
            "xtask/src/schemas.rs",
            "let all = read(\"schemas\", \".schema\");\nconst ONE: &str = \"apis.tsv\";\n",
        );
        let files =
            [("schemas/fetch.schema", ""), ("schemas/apis.tsv", ""), ("schemas/lost.tsv", ""), reader];
        assert_eq!(dead(&files), ["schemas/lost.tsv"]);
    }
}
