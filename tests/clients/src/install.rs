//! Brings the programs that are not ours onto this machine, by version, through their ordinary package tools.
//!
//! Everything lands below `$HOME/.cache/dohle/clients`, in a folder named after its content, made once under a file lock.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::run;

/// A download on a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);

/// The folder of this crate, where the programs' sources are.
pub fn sources() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The jars of Apache Kafka 4.3.1: `kafka` (broker, clients and tools) or `trogdor` (its system-test programs).
pub fn jars(set: &str) -> PathBuf {
    let pom = sources().join("java").join(set).join("pom.xml");
    installed(&format!("jars-{set}"), std::slice::from_ref(&pom), |folder| maven(&pom, folder))
}

/// The jars of one release of Kafka's Java client, with the libraries of its own time.
pub fn client_jars(version: &str) -> PathBuf {
    installed(&format!("jars-clients-{version}"), &[], |folder| {
        let pom = folder.join("pom.xml");
        let text = format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\n\
             <groupId>dohle.tests</groupId><artifactId>clients</artifactId><version>1</version><packaging>pom</packaging>\n\
             <dependencies><dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId>\n\
             <version>{version}</version></dependency></dependencies></project>\n"
        );
        std::fs::write(&pom, text).expect("a Maven project");
        maven(&pom, folder);
    })
}

fn maven(pom: &Path, folder: &Path) {
    let mut mvn = Command::new("mvn");
    mvn.args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .arg("-f")
        .arg(pom);
    run(&mut mvn, &[], INSTALL_LIMIT);
}

/// Our Java programs in these folders of `java`, compiled against a folder of jars; the answer is a class path.
pub fn classes(folders: &[&str], jars: &Path) -> String {
    let in_folder = |name: &&str| files_in(&sources().join("java").join(name), "java");
    let files: Vec<PathBuf> = folders.iter().flat_map(in_folder).collect();
    let set = jars.file_name().unwrap_or_default().display();
    let classes = installed(&format!("classes-{}-{set}", folders.join("-")), &files, |folder| {
        let mut javac = Command::new("javac");
        javac
            .args(["-encoding", "UTF-8", "-nowarn", "-d"])
            .arg(folder)
            .arg("-cp")
            .arg(format!("{}/*", jars.display()));
        run(javac.args(&files), &[], INSTALL_LIMIT);
    });
    format!("{}:{}/*", classes.display(), jars.display())
}

/// The Python that has the clients of `python/requirements.txt`.
pub fn python() -> PathBuf {
    let requirements = sources().join("python/requirements.txt");
    let venv = installed("python", std::slice::from_ref(&requirements), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder), &[], INSTALL_LIMIT);
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--only-binary=:all:", "-r"]).arg(&requirements);
        run(&mut pip, &[], INSTALL_LIMIT);
    });
    venv.join("bin/python")
}

/// The program built from `go/`.
pub fn franz_go() -> PathBuf {
    let module = sources().join("go");
    let mut inputs = files_in(&module, "go");
    inputs.extend([module.join("go.mod"), module.join("go.sum")]);
    let built = installed("franz-go", &inputs, |folder| {
        let mut go = Command::new("go");
        go.current_dir(&module)
            .args(["build", "-buildvcs=false", "-mod=readonly", "-o"])
            .arg(folder.join("client"));
        run(go.arg("."), &[], INSTALL_LIMIT);
    });
    built.join("client")
}

/// The tests that franz-go's `kgo` package brings, at the version in `go/go.mod`: the program, and the package's folder in the
/// module cache, where it has to run.
pub fn kgo_tests() -> (PathBuf, PathBuf) {
    const PACKAGE: &str = "github.com/twmb/franz-go/pkg/kgo";
    let module = sources().join("go");
    let inputs = ["go.mod", "go.sum"].map(|f| module.join(f));
    let go = |arguments: &[&str]| {
        let mut go = Command::new("go");
        run(go.current_dir(&module).args(arguments).arg(PACKAGE), &[], INSTALL_LIMIT)
    };
    let built = installed("kgo-tests", &inputs, |folder| {
        let program = folder.join("kgo.test").display().to_string();
        go(&["test", "-c", "-vet=off", "-buildvcs=false", "-mod=readonly", "-o", &program]);
    });
    let folder =
        String::from_utf8(go(&["list", "-mod=readonly", "-f", "{{.Dir}}"])).expect("go prints a path");
    (built.join("kgo.test"), PathBuf::from(folder.trim()))
}

/// The `node_modules` of `node/package-lock.json`.
pub fn node_modules() -> PathBuf {
    let inputs = ["package.json", "package-lock.json"].map(|f| sources().join("node").join(f));
    let folder = installed("node", &inputs, |folder| {
        for input in &inputs {
            std::fs::copy(input, folder.join(input.file_name().expect("a file")))
                .expect("copying a lock file");
        }
        let mut npm = Command::new("npm");
        npm.current_dir(folder).args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]);
        run(&mut npm, &[], INSTALL_LIMIT);
    });
    folder.join("node_modules")
}

/// The path of `kcat`, installed from the distribution where that is possible. `None` only outside CI and without root.
pub fn kcat() -> Option<PathBuf> {
    let found = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|d| d.join("kcat")).find(|p| p.is_file())
    };
    if found().is_none() && rustix::process::geteuid().is_root() {
        run(Command::new("apt-get").arg("update"), &[], INSTALL_LIMIT);
        run(Command::new("apt-get").args(["install", "-y", "kcat"]), &[], INSTALL_LIMIT);
    }
    let kcat = found();
    assert!(
        kcat.is_some() || std::env::var_os("CI").is_none(),
        "kcat is not installed, and CI skips nothing"
    );
    kcat
}

/// The folder `name-<digest of the inputs>`, filled by `fill` unless an earlier run has done so completely.
fn installed(name: &str, inputs: &[PathBuf], fill: impl FnOnce(&Path)) -> PathBuf {
    let home = std::env::var_os("HOME").expect("HOME is set");
    let cache = Path::new(&home).join(".cache/dohle/clients");
    std::fs::create_dir_all(&cache).expect("the cache folder");
    let lock = File::create(cache.join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("the lock of an installation");
    let folder = cache.join(format!("{name}-{:08x}", digest(inputs)));
    let done = cache.join(format!("{name}-{:08x}.done", digest(inputs)));
    if !done.exists() {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).expect("an unfinished installation can be removed");
        }
        std::fs::create_dir_all(&folder).expect("the folder of an installation");
        fill(&folder);
        File::create(&done).expect("the mark of an installation");
    }
    folder
}

fn digest(inputs: &[PathBuf]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for input in inputs {
        crc.update(&std::fs::read(input).unwrap_or_else(|e| panic!("{}: {e}", input.display())));
    }
    crc.finalize()
}

fn files_in(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("a folder's entry").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == extension));
    files.sort();
    files
}
