//! Apache Kafka's published jars, fetched once by Maven and kept below the home folder, and Java programs run against them.

#![allow(clippy::disallowed_methods)]

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Kafka whose protocol and behaviour are the measure.
pub const KAFKA: &str = "4.3.1";

/// Everything that a broker, its tools and its test classes consist of: artifact and classifier.
const ARTIFACTS: &[(&str, &str)] = &[
    ("kafka_2.13", ""),
    ("kafka-tools", ""),
    ("kafka-shell", ""),
    ("trogdor", ""),
    ("connect-runtime", ""),
    ("connect-file", ""),
    ("connect-mirror", ""),
    ("kafka-streams", ""),
    ("kafka-streams", "test"),
    ("kafka-clients", "test"),
];
const LOGGING: &[&str] = &["log4j-slf4j-impl", "log4j-core"];
const LOGGING_VERSION: &str = "2.25.1";

/// The jars of one version of Kafka with all that they need.
pub fn kafka_jars(version: &str) -> Result<Vec<PathBuf>, String> {
    let folder = cache()?.join(format!("kafka-{version}"));
    if !folder.is_dir() {
        fetch(&folder, |pom| std::fs::write(pom, project(version)), "runtime")?;
    }
    let listing = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut jars: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    jars.retain(|path| path.extension().is_some_and(|extension| extension == "jar"));
    jars.sort();
    Ok(jars)
}

/// The folder with everything that the Maven project in `pom` names, tests included, at the version of [`KAFKA`].
pub fn resolved(name: &str, pom: &Path) -> Result<PathBuf, String> {
    let text = std::fs::read(pom).map_err(|error| format!("cannot read {}: {error}", pom.display()))?;
    let mut hasher = DefaultHasher::new();
    (&text, KAFKA).hash(&mut hasher);
    let folder = cache()?.join(format!("{name}-{KAFKA}-{:08x}", hasher.finish() >> 32));
    if !folder.is_dir() {
        fetch(&folder, |copy| std::fs::write(copy, &text), "test")?;
    }
    Ok(folder)
}

/// Where jars are kept from one run to the next.
fn cache() -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME").ok_or("HOME is not set, so there is no place for Kafka's jars")?;
    Ok(Path::new(&home).join(".cache/dohle"))
}

/// Fetches into a folder beside `folder` and renames it when it is whole.
fn fetch(folder: &Path, write: impl Fn(&Path) -> std::io::Result<()>, scope: &str) -> Result<(), String> {
    let part = folder.with_extension(format!("part-{}", std::process::id()));
    let failed = |error: std::io::Error| format!("{}: {error}", part.display());
    std::fs::create_dir_all(&part).map_err(failed)?;
    let pom = part.join("pom.xml");
    write(&pom).map_err(failed)?;
    let status = Command::new("mvn")
        .args(["-q", "-B", "-Dstyle.color=never", "-f"])
        .arg(&pom)
        .args(["dependency:copy-dependencies", &format!("-DincludeScope={scope}")])
        .arg(format!("-Dkafka.version={KAFKA}"))
        .arg(format!("-DoutputDirectory={}", part.display()))
        .status()
        .map_err(|error| format!("cannot start mvn, which fetches Kafka's jars: {error}"))?;
    if !status.success() {
        let _ = std::fs::remove_dir_all(&part);
        return Err(format!("mvn could not fetch the jars for {} ({status})", folder.display()));
    }
    match std::fs::rename(&part, folder) {
        // Someone else was faster, with the same jars.
        Err(_) if folder.is_dir() => std::fs::remove_dir_all(&part).map_err(failed),
        renamed => renamed.map_err(failed),
    }
}

/// A Maven project that depends on all the artifacts.
fn project(version: &str) -> String {
    let mut dependencies = String::new();
    let mut add = |group: &str, artifact: &str, version: &str, classifier: &str| {
        let classifier = match classifier {
            "" => String::new(),
            name => format!("<classifier>{name}</classifier>"),
        };
        let _ = writeln!(
            dependencies,
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version>{classifier}</dependency>"
        );
    };
    ARTIFACTS
        .iter()
        .for_each(|(artifact, classifier)| add("org.apache.kafka", artifact, version, classifier));
    LOGGING.iter().for_each(|artifact| add("org.apache.logging.log4j", artifact, LOGGING_VERSION, ""));
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\n\
         <groupId>dohle</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n{dependencies}</dependencies></project>\n"
    )
}

/// A Java program of ours, in one source file, that is compiled against Kafka's jars whenever it is started.
#[derive(Debug)]
pub struct JavaProgram {
    source: PathBuf,
    class_path: std::ffi::OsString,
}

impl JavaProgram {
    /// The program in `source`, a path below the repository's root, against the jars of [`KAFKA`].
    pub fn new(root: &Path, source: &str) -> Result<Self, String> {
        let class_path =
            std::env::join_paths(kafka_jars(KAFKA)?).map_err(|error| format!("class path: {error}"))?;
        Ok(Self { source: root.join(source), class_path })
    }

    /// Runs it to its end and returns what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("java")
            .arg("-cp")
            .arg(&self.class_path)
            .arg(&self.source)
            .args(arguments)
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot start java: {error}"))?;
        if !output.status.success() {
            return Err(format!("{} {}: {}", self.source.display(), arguments.join(" "), output.status));
        }
        String::from_utf8(output.stdout).map_err(|error| format!("{}: {error}", self.source.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_names_every_artifact_once() {
        let project = project("1.2.3");
        assert_eq!(project.matches("<dependency>").count(), ARTIFACTS.len() + LOGGING.len());
        assert_eq!(project.matches("<version>1.2.3</version>").count(), ARTIFACTS.len());
        assert_eq!(project.matches("<classifier>test</classifier>").count(), 2);
    }
}
