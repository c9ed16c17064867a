//! librdkafka's own load program, built once from the library's source: no distribution packages it, but the published package of Node's
//! binding carries that source whole.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

const PACKAGE: &str = "node-rdkafka@3.6.1";
const SOURCE: &str = "package/deps/librdkafka";
const PROGRAM: &str = "rdkafka_performance";
/// What brokers without TLS and load without compression do not need.
const LEFT_OUT: [&str; 5] =
    ["--disable-ssl", "--disable-gssapi", "--disable-curl", "--disable-zstd", "--disable-lz4-ext"];

/// The program; fetched by npm, configured and compiled where it is not there yet.
pub fn performance() -> Outcome<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set")?);
    let folder = home.join(".cache/dohle").join(format!("bench-{}", PACKAGE.replace('@', "-")));
    let program = folder.join(PROGRAM);
    if !program.exists() {
        println!("fetching and building librdkafka from {PACKAGE} (once)");
        build(&folder.with_extension("part"), &folder)?;
    }
    Ok(program)
}

fn build(part: &Path, folder: &Path) -> Outcome<()> {
    if part.exists() {
        fs::remove_dir_all(part)?;
    }
    fs::create_dir_all(part)?;
    done(part, "npm", &["pack", "--silent", PACKAGE])?;
    let archive = format!("{}.tgz", PACKAGE.replace('@', "-"));
    done(part, "tar", &["xzf", &archive, SOURCE])?;
    let source = part.join(SOURCE);
    done(&source, "./configure", &LEFT_OUT)?;
    done(&source, "make", &["-C", "src", "librdkafka.a"])?;
    done(&source, "make", &["-C", "examples", PROGRAM])?;
    fs::create_dir_all(folder)?;
    fs::copy(source.join("examples").join(PROGRAM), folder.join(PROGRAM))?;
    Ok(fs::remove_dir_all(part)?)
}

/// Runs one step in a folder; what it says is shown only when it fails.
fn done(folder: &Path, program: &str, arguments: &[&str]) -> Outcome<()> {
    let mut command = Command::new(program);
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {} ended with {}: {}", arguments.join(" "), output.status, said.trim()).into())
}
