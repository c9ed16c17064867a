//! The rig made ready: Kafka's jars resolved by version, our sources compiled, the broker's commands known.
//!
//! Jars are kept below the home folder, named after the project file that asked for them; classes below the build folder, named
//! after their sources.

#![allow(clippy::disallowed_methods)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::selection::{Classes, MODULES};
use super::{FOLDER, Target};
use crate::jars;

/// With what `dohle` ends when it does not do what its configuration asks for (`docs/paths/start.md`).
const UNSERVED_EXIT: u8 = 11;
/// How many nodes a Dohle cluster can have; a test that needs more is denied.
const MOST_NODES: u8 = 1;

/// What the test processes are told about the broker.
#[derive(Debug)]
struct Broker {
    start: String,
    format: String,
    settings: Vec<String>,
}

#[derive(Debug)]
pub struct Rig {
    folder: PathBuf,
    class_path: String,
    broker: Broker,
    classes: Classes,
    run: PathBuf,
}

impl Rig {
    pub fn prepare(root: &Path, target: Target) -> Result<Self, String> {
        let folder = root.join(FOLDER);
        let jars = jars::resolved("kafka-junit", &folder.join("pom.xml"))?;
        let build = build_folder(root).join("conformance");
        let compiled = compile(&folder.join("src"), &build, &jars)?;
        let library = format!("{}/*", jars.display());
        // The shadow comes before the jars: it holds a class of a name that is in them too.
        let class_path = format!("{0}/shadow:{0}/runner:{library}", compiled.display());
        let broker = match target {
            Target::Dohle => dohle(root)?,
            Target::Kafka => kafka(&folder, &format!("{}/runner:{library}", compiled.display())),
        };
        let classes = cluster_classes(&compiled, &jars, &class_path)?;
        let run = build.join(format!("run-{target}"));
        let _ = std::fs::remove_dir_all(&run);
        std::fs::create_dir_all(run.join("tmp"))
            .map_err(|error| format!("cannot make {}: {error}", run.display()))?;
        Ok(Self { folder, class_path, broker, classes, run })
    }

    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The table of the run.
    pub fn results(&self) -> PathBuf {
        self.run.join("results.tsv")
    }

    /// Drops what the tests left. The tables and logs of the run stay.
    pub fn clear(&self) {
        let _ = std::fs::remove_dir_all(self.run.join("tmp"));
    }

    /// What one of the processes that run tests writes.
    pub fn file(&self, job: usize, name: &str) -> PathBuf {
        self.run.join(format!("job{job}.{name}"))
    }

    /// A process that runs the tests it is told on its standard input. `ports` are its own.
    pub fn jvm(&self, job: usize, ports: (u16, u16), quiet: bool) -> Command {
        let mut java = Command::new("java");
        java.args(["-Xmx1g", "-Xss4m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-ea"]);
        for package in ["lang", "util", "nio.file", "util.concurrent", "util.concurrent.atomic"] {
            java.arg(format!("--add-opens=java.base/java.{package}=ALL-UNNAMED"));
        }
        let mut set = |key: &str, value: &str| _ = java.arg(format!("-D{key}={value}"));
        set("java.io.tmpdir", &self.run.join("tmp").to_string_lossy());
        set("log4j2.configurationFile", &self.folder.join("src/log4j2.properties").to_string_lossy());
        for (key, name) in [("rig.log", "log"), ("rig.stdout", "stdout"), ("rig.broker.log", "brokers")] {
            set(key, &self.file(job, name).to_string_lossy());
        }
        set("rig.deny", &self.folder.join("deny.tsv").to_string_lossy());
        set("rig.ports", &format!("{}-{}", ports.0, ports.1));
        set("rig.quiet", if quiet { "true" } else { "false" });
        set("rig.broker.cmd", &self.broker.start);
        set("rig.format.cmd", &self.broker.format);
        java.args(&self.broker.settings).args(["-cp", &self.class_path, "rig.Runner", "run"]);
        java.arg(self.file(job, "tsv")).arg(self.file(job, "failures.txt"));
        // The jqwik engine, which one of the jars brings along, leaves a file in its working directory.
        java.current_dir(&self.run);
        java
    }
}

/// The binary that `DOHLE_BIN` names, or a release build.
fn dohle(root: &Path) -> Result<Broker, String> {
    let binary = match std::env::var_os("DOHLE_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let build = ["build", "--release", "--locked", "--quiet", "-p", "dohle-node"];
            let status = Command::new("cargo").args(build).current_dir(root).status();
            if !status.map_err(|error| format!("cannot start cargo: {error}"))?.success() {
                return Err("dohle does not build".to_owned());
            }
            build_folder(root).join("release/dohle")
        }
    };
    let binary = binary.display();
    Ok(Broker {
        start: format!(
            "{binary} start --config {{config}} --set dohle.metrics.listener= \
             --set dohle.log.level=info,dohle_broker::connection=debug"
        ),
        format: format!("{binary} storage format --config {{config}} {{format_flags}}"),
        settings: vec![
            "-Drig.merge=true".to_owned(),
            format!("-Drig.nodes.max={MOST_NODES}"),
            format!("-Drig.unserved.exit={UNSERVED_EXIT}"),
            "-Drig.java.plugins=false".to_owned(),
        ],
    })
}

/// It formats its storage itself when it starts. A process of its own cannot share a test's Java objects either.
fn kafka(folder: &Path, class_path: &str) -> Broker {
    let logging = folder.join("src/log4j2-broker.properties");
    let options =
        "-Xmx400m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.awt.headless=true";
    Broker {
        start: format!(
            "java {options} -Dlog4j2.configurationFile={} -cp '{class_path}' rig.RealKafka {{config}} {{format}}",
            logging.display()
        ),
        format: String::new(),
        settings: vec!["-Drig.java.plugins=false".to_owned()],
    }
}

fn build_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Compiles the rig, unless these sources have been compiled before.
fn compile(sources: &Path, build: &Path, jars: &Path) -> Result<PathBuf, String> {
    let (runner, shadow) = (java_files(&sources.join("runner"))?, java_files(&sources.join("shadow"))?);
    let mut hasher = DefaultHasher::new();
    jars.hash(&mut hasher);
    for file in runner.iter().chain(&shadow) {
        let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        (file.file_name(), text).hash(&mut hasher);
    }
    let whole = build.join(format!("classes-{:016x}", hasher.finish()));
    if whole.is_dir() {
        return Ok(whole);
    }
    let part = build.join(format!("classes-part-{}", std::process::id()));
    let library = format!("{}/*", jars.display());
    javac(&runner, &part.join("runner"), &library)?;
    javac(&shadow, &part.join("shadow"), &format!("{}/runner:{library}", part.display()))?;
    match std::fs::rename(&part, &whole) {
        Err(error) if !whole.is_dir() => Err(format!("cannot make {}: {error}", whole.display())),
        _ => Ok(whole),
    }
}

fn java_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let listing = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for path in listing.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(java_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "java") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn javac(files: &[PathBuf], into: &Path, class_path: &str) -> Result<(), String> {
    let mut command = Command::new("javac");
    command.args(["-nowarn", "-cp", class_path, "-d"]).arg(into).args(files);
    let status = command.status().map_err(|error| format!("cannot start javac: {error}"))?;
    if status.success() { Ok(()) } else { Err("the rig does not compile".to_owned()) }
}

/// The test classes that start a cluster, listed once for each build of the rig.
fn cluster_classes(compiled: &Path, jars: &Path, class_path: &str) -> Result<Classes, String> {
    let list = compiled.join("classes.tsv");
    if let Ok(text) = std::fs::read_to_string(&list) {
        return parse_classes(&text);
    }
    let mut java = Command::new("java");
    java.args(["-cp", class_path, "rig.Runner", "list"]);
    for (module, artifact) in MODULES {
        let jar = jars.join(format!("{artifact}-{}-test.jar", jars::KAFKA));
        java.arg(format!("{module}={}", jar.display()));
    }
    let output = java.output().map_err(|error| format!("cannot start java: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || text.is_empty() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("cannot list the test classes: {why}"));
    }
    std::fs::write(&list, &text).map_err(|error| format!("cannot write {}: {error}", list.display()))?;
    parse_classes(&text)
}

fn parse_classes(text: &str) -> Result<Classes, String> {
    let pair = |line: &str| {
        let (module, class) = line.split_once('\t')?;
        Some((module.to_owned(), class.to_owned()))
    };
    text.lines().map(|line| pair(line).ok_or_else(|| format!("not a class: {line}"))).collect()
}
