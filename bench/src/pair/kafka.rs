//! Apache Kafka from its public Maven artifacts: finding them, formatting a folder, and the command that starts it.

#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dohle_types::Uuid;

use super::broker::Durability;
use crate::Outcome;

pub const VERSION: &str = "4.3.1";

/// What Kafka's own start script gives the JVM.
const JVM: &[&str] = &[
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];

/// Asks Maven for the server and for something that takes its log lines.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dohle</groupId><artifactId>bench-kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>KAFKA</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.1</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.25.1</version></dependency>
  </dependencies>
</project>
"#;

const LOGGING: &str = "rootLogger.level=INFO\nrootLogger.appenderRef.out.ref=out\n\
    appender.out.type=Console\nappender.out.name=out\nappender.out.layout.type=PatternLayout\nappender.out.layout.pattern=[%d] %p %m (%c)%n\n";

/// A folder of jars.
#[derive(Clone, Debug)]
pub struct Libraries(PathBuf);

impl Libraries {
    /// The folder that `cargo xtask` keeps, or one with the server only, filled by Maven when both are missing.
    pub fn find() -> Outcome<Self> {
        let home = PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set")?);
        let cache = home.join(".cache/dohle");
        let folders =
            [format!("kafka-{VERSION}"), format!("bench-kafka-{VERSION}")].map(|name| cache.join(name));
        if let Some(found) = folders.iter().find(|folder| folder.is_dir()) {
            return Ok(Self(found.clone()));
        }
        let [_, own] = folders;
        fetch(&own)?;
        Ok(Self(own))
    }

    fn java(&self, program: &mut Command, folder: &Path) {
        program.args(JVM);
        program.arg(format!("-Dlog4j2.configurationFile={}", folder.join("log4j2.properties").display()));
        program.arg("-cp").arg(format!("{}/*", self.0.display()));
    }

    /// Writes the configuration of a node of its own and formats its folder.
    pub fn format(
        &self,
        folder: &Path,
        port: u16,
        controller: u16,
        durability: Durability,
        settings: &[(&str, &str)],
    ) -> Outcome<()> {
        let properties = folder.join("server.properties");
        std::fs::write(folder.join("log4j2.properties"), LOGGING)?;
        let mut text = configuration(folder, port, controller, durability);
        settings.iter().for_each(|(key, value)| text.push_str(&format!("{key}={value}\n")));
        std::fs::write(&properties, text)?;
        let mut format = Command::new("java");
        self.java(&mut format, folder);
        format
            .args(["kafka.tools.StorageTool", "format", "--standalone", "-t", &cluster_id()?, "-c"])
            .arg(&properties);
        let output =
            format.stdin(Stdio::null()).output().map_err(|error| format!("cannot start java: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("Kafka's StorageTool: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Adds to `command`, which may begin with a pinning program, what runs the formatted node.
    pub fn serve(&self, mut command: Command, folder: &Path) -> Command {
        self.java(&mut command, folder);
        command.arg("kafka.Kafka").arg(folder.join("server.properties"));
        command
    }
}

/// One combined node with Kafka's defaults, but for what one node needs.
fn configuration(folder: &Path, port: u16, controller: u16, durability: Durability) -> String {
    let mut text = format!(
        "process.roles=broker,controller\nnode.id=1\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\nlog.dirs={}\n",
        folder.join("data").display()
    );
    if durability == Durability::Synced {
        text.push_str("log.flush.interval.messages=1\n");
    }
    text
}

/// A cluster id that no other run has.
fn cluster_id() -> Outcome<String> {
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
