//! Which crate may use which. The picture is in DESIGN's layout and in ARCHITECTURE.md; this is the same as a table.

use super::{Finding, Tree};

/// The platform from the bottom up. A crate may use every layer below its own, none beside it, none above.
const LAYERS: &[&[&str]] = &[
    &["types"],
    &["config"],
    &["wire", "records"],
    &["raft", "metadata", "coordinator", "replication"],
    &["env"],
    &["log", "tier", "security", "client", "observe"],
    &["controller"],
    &["broker"],
    &["node", "cli"],
];

/// Crates that are held to less than their layer allows.
const NARROWER: &[(&str, &[&str])] = &[("config", &["types"]), ("env", &["types"])];

/// What a service may use of the platform: it speaks to brokers as everybody else does.
const FOR_SERVICES: &[&str] = &["client", "types", "records"];

/// The first layer with effects. What lies below decides and computes; it has no clock, socket, file, task or thread.
const FIRST_WITH_EFFECTS: &str = "env";
/// Public crates that do what pure code must not.
const EFFECTS: &[&str] =
    &["tokio", "mio", "rustix", "libc", "nix", "socket2", "axum", "hyper", "rand", "getrandom"];

/// Every arrow of every manifest.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (folder, manifest) in tree.packages() {
        let path = format!("{folder}/Cargo.toml");
        for (line, dependency) in super::manifests::dependencies(manifest) {
            let fault = match folder.split_once('/') {
                Some(("crates", name)) => platform(name, dependency),
                Some(("services", _)) => service(dependency),
                _ => None, // tests and tools may look at everything, and nothing may look at them
            };
            if let Some((what, mend)) = fault.or_else(|| upwards(folder, dependency)) {
                findings.push(Finding::new(&path, line, what, mend));
            }
        }
        if let Some(name) = folder.strip_prefix("crates/").filter(|name| layer(name).is_none()) {
            let mend = "give it a place in LAYERS of xtask/src/tidy/arrows.rs and in ARCHITECTURE.md";
            findings.push(Finding::new(&path, 1, format!("crate {name} has no layer"), mend));
        }
    }
    findings
}

type Fault = (String, String);

fn platform(name: &str, dependency: &str) -> Option<Fault> {
    let mine = layer(name)?;
    if dependency.strip_prefix("dohle-") == Some(name) {
        return None; // a crate asks itself for features in its own tests
    }
    let Some(other) = dependency.strip_prefix("dohle-") else {
        let pure = mine < layer(FIRST_WITH_EFFECTS)?;
        return (pure && EFFECTS.contains(&dependency)).then(|| {
            let mend = "move what needs the world to a crate above env and hand the result in";
            (format!("{name} is pure and uses {dependency}"), mend.to_owned())
        });
    };
    let theirs = layer(other)?;
    let narrow = NARROWER.iter().find(|(limited, _)| *limited == name);
    let allowed = theirs < mine && narrow.is_none_or(|(_, only)| only.contains(&other));
    (!allowed).then(|| {
        let mend =
            format!("turn the arrow round: move what {name} needs to a layer below both, or pass it in");
        (format!("{name} may not use {other}"), mend)
    })
}

fn service(dependency: &str) -> Option<Fault> {
    let other = dependency.strip_prefix("dohle-")?;
    (layer(other).is_some() && !FOR_SERVICES.contains(&other)).then(|| {
        let mend = "services speak to brokers through dohle-client only".to_owned();
        (format!("a service may not use {other}"), mend)
    })
}

/// Nothing uses the tools; the test suites share what starts a broker among themselves.
fn upwards(folder: &str, dependency: &str) -> Option<Fault> {
    let suite = dependency.starts_with("dohle-tests-") && !folder.starts_with("tests/");
    let tool = suite || matches!(dependency, "xtask" | "dohle-bench" | "dohle-fuzz");
    tool.then(|| {
        (
            format!("{dependency} is a tool or a suite, not a library"),
            "move the shared code to a crate".to_owned(),
        )
    })
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, manifest: &str) -> Vec<String> {
        check(&Tree::of(&[(path, manifest)])).into_iter().map(|f| format!("{}:{}", f.line, f.what)).collect()
    }

    #[test]
    fn downward_arrows_pass() {
        let manifest = "[dependencies]\ndohle-types.workspace = true\ndohle-env = { path = \"../env\" }\nbytes = \"1\"\n";
        assert_eq!(found("crates/log/Cargo.toml", manifest), Vec::<String>::new());
        assert!(
            found("crates/log/Cargo.toml", "[dev-dependencies]\ndohle-log = { path = \".\" }\n").is_empty()
        );
    }

    #[test]
    fn upward_and_sideways_arrows_are_found() {
        let manifest = "[package]\nname = \"dohle-wire\"\n\n[dependencies]\ndohle-log.workspace = true\n";
        assert_eq!(found("crates/wire/Cargo.toml", manifest), ["5:wire may not use log"]);
        let manifest = "[dev-dependencies]\ndohle-records.workspace = true\n";
        assert_eq!(found("crates/wire/Cargo.toml", manifest), ["2:wire may not use records"]);
        assert_eq!(found("crates/env/Cargo.toml", manifest), ["2:env may not use records"]);
    }

    #[test]
    fn pure_crates_have_no_effects() {
        assert_eq!(
            found("crates/raft/Cargo.toml", "[dependencies]\ntokio = \"1\"\n"),
            ["2:raft is pure and uses tokio"]
        );
        assert!(found("crates/env/Cargo.toml", "[dependencies]\ntokio = \"1\"\n").is_empty());
    }

    #[test]
    fn services_tools_and_unknown_crates() {
        let manifest = "[dependencies]\ndohle-broker.workspace = true\n";
        assert_eq!(found("services/console/Cargo.toml", manifest), ["2:a service may not use broker"]);
        assert!(found("bench/Cargo.toml", manifest).is_empty());
        let manifest = "[dependencies]\ndohle-bench = { path = \"../../bench\" }\n";
        assert_eq!(
            found("crates/node/Cargo.toml", manifest),
            ["2:dohle-bench is a tool or a suite, not a library"]
        );
        let manifest = "[dependencies]\ndohle-tests-clients = { path = \"../clients\" }\n";
        assert!(found("tests/protocol/Cargo.toml", manifest).is_empty());
        assert_eq!(found("bench/Cargo.toml", manifest).len(), 1);
        assert_eq!(found("crates/new/Cargo.toml", ""), ["1:crate new has no layer"]);
    }
}
