//! Apache Kafka's public Maven artifacts: where they are, and fetching them once.

#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dohle_types::Uuid;

use crate::Outcome;

pub const VERSION: &str = "4.3.1";

/// Asks Maven for the server, its tools, and something that takes their log lines.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dohle</groupId><artifactId>bench-kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>KAFKA</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>KAFKA</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.1</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.25.1</version></dependency>
  </dependencies>
</project>
"#;

/// The folder of jars that `cargo xtask` keeps, or one of our own, filled by Maven when both are missing.
pub fn jars() -> Outcome<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set")?);
    let cache = home.join(".cache/dohle");
    let folders =
        [format!("kafka-{VERSION}"), format!("bench-kafka-tools-{VERSION}")].map(|name| cache.join(name));
    if let Some(found) = folders.iter().find(|folder| folder.is_dir()) {
        return Ok(found.clone());
    }
    let [_, own] = folders;
    fetch(&own)?;
    Ok(own)
}

/// An id that no other run has, as Kafka writes ids.
pub fn uuid() -> Outcome<String> {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    let mut seed = nanos ^ u128::from(std::process::id()) << 64;
    loop {
        if let Some(id) = Uuid::from_random(seed.to_be_bytes()) {
            return Ok(id.to_string());
        }
        seed = seed.rotate_left(7);
    }
}

/// Fetches beside the folder and renames when all is there.
fn fetch(folder: &Path) -> Outcome<()> {
    println!("fetching Apache Kafka {VERSION} by Maven (once)");
    let part = folder.with_extension("part");
    std::fs::create_dir_all(&part)?;
    let pom = part.join("pom.xml");
    std::fs::write(&pom, POM.replace("KAFKA", VERSION))?;
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
    maven
        .arg(format!("-DoutputDirectory={}", part.display()))
        .arg("-DincludeScope=runtime")
        .stdin(Stdio::null());
    let status = maven.status().map_err(|error| format!("cannot start mvn: {error}"))?;
    if !status.success() {
        return Err("Maven could not fetch Apache Kafka".into());
    }
    Ok(std::fs::rename(&part, folder)?)
}
