//! The unit, property and integration tests of every crate: built once, then run crate by crate, so that each has a count.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::{Counts, Row, child};

/// The folder of the whole-system suites, which start brokers.
const WHOLE: &str = "tests";
/// The one of them that has its broker in its own process, and needs no release build.
const WITHIN: &str = "within";

/// One package: where it lies, and the test programs cargo built of it.
#[derive(Debug, Default)]
struct Package {
    folder: PathBuf,
    programs: Vec<PathBuf>,
}

/// Builds and runs all; one row per package, also for packages without a test.
pub fn run(root: &Path) -> Result<Vec<Row>, String> {
    println!("\n== building the tests");
    let packages = built(root)?;
    Ok(packages.into_iter().map(|(name, package)| tested(name, &package)).collect())
}

fn tested(name: String, package: &Package) -> Row {
    println!("\n== {name}");
    let start = Instant::now();
    let mut counts = Ok(Counts::default());
    for program in &package.programs {
        match (ran(package, program), &mut counts) {
            (Ok(more), Ok(sum)) => sum.add(more),
            (Err(fault), _) => counts = Err(fault),
            (Ok(_), Err(_)) => {}
        }
    }
    Row { name, counts, took: start.elapsed() }
}

fn ran(package: &Package, program: &Path) -> Result<Counts, String> {
    let mut command = Command::new(program);
    command.current_dir(&package.folder).env("CARGO_MANIFEST_DIR", &package.folder).arg("--quiet");
    let ended = child::run(&mut command)?;
    let counts = Counts::read(&ended.output)
        .ok_or_else(|| format!("{} ended with {}", program.display(), ended.status))?;
    if !ended.success && counts.failed == 0 {
        return Err(format!("{} ended with {}", program.display(), ended.status));
    }
    Ok(counts)
}

/// The packages of the workspace with their test programs, by name.
fn built(root: &Path) -> Result<BTreeMap<String, Package>, String> {
    let mut packages = workspace(root)?;
    let mut build = vec!["test", "--workspace", "--lib", "--bins", "--tests", "--no-run", "--locked"];
    build.push("--message-format=json-render-diagnostics");
    let apart = apart(root)?;
    apart.values().for_each(|package| build.extend(["--exclude", package]));
    let output = Command::new("cargo")
        .current_dir(root)
        .args(build)
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        return Err("the tests do not build".to_owned());
    }
    for message in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((name, program)) = serde_json::from_str(message).ok().as_ref().and_then(test_program) {
            packages.entry(name).or_default().programs.push(program);
        }
    }
    Ok(packages)
}

/// The package and path of a test program, when this message of cargo is about one.
fn test_program(message: &Value) -> Option<(String, PathBuf)> {
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let manifest = message["manifest_path"].as_str().filter(|_| is_test)?;
    let program = message["executable"].as_str()?;
    Some((package_name(message["package_id"].as_str()?, manifest), program.into()))
}

/// Cargo's ids end in `#name@version`, or in `/name#version` when the folder is called like the package.
fn package_name(id: &str, manifest: &str) -> String {
    let tail = id.rsplit('#').next().unwrap_or(id);
    match tail.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => Path::new(manifest)
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    }
}

/// The packages under `tests/` that start a broker: the name of the folder and of the package.
pub fn apart(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let whole = members(root)?.into_iter().filter(|(_, folder)| is_apart(root, folder));
    let named = |(name, folder): (String, PathBuf)| {
        (folder.file_name().unwrap_or_default().to_string_lossy().into_owned(), name)
    };
    Ok(whole.map(named).collect())
}

fn is_apart(root: &Path, folder: &Path) -> bool {
    folder.parent().is_some_and(|parent| parent == root.join(WHOLE)) && !folder.ends_with(WITHIN)
}

fn workspace(root: &Path) -> Result<BTreeMap<String, Package>, String> {
    let ours = members(root)?.into_iter().filter(|(_, folder)| !is_apart(root, folder));
    Ok(ours.map(|(name, folder)| (name, Package { folder, programs: Vec::new() })).collect())
}

/// The packages of the workspace and where they lie.
fn members(root: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let output = Command::new("cargo")
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)))?;
    let packages = said["packages"].as_array().into_iter().flatten().filter_map(|package| {
        let folder = Path::new(package["manifest_path"].as_str()?).parent()?.to_owned();
        Some((package["name"].as_str()?.to_owned(), folder))
    });
    Ok(packages.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_name_the_package() {
        let message = serde_json::json!({
            "reason": "compiler-artifact", "profile": {"test": true}, "manifest_path": "/a/crates/types/Cargo.toml",
            "package_id": "path+file:///a/crates/types#dohle-types@0.1.0", "executable": "/t/types-1"
        });
        assert_eq!(test_program(&message), Some(("dohle-types".to_owned(), "/t/types-1".into())));
        assert_eq!(package_name("path+file:///a/xtask#0.1.0", "/a/xtask/Cargo.toml"), "xtask");
        assert_eq!(test_program(&serde_json::json!({"reason": "build-finished"})), None);
    }
}
