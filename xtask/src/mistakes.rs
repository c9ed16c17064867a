//! Mistakes that are compiled in on purpose, to see that tests find them: the values of `cfg(dohle_bug = "…")`.
//!
//! The flag is given to the packages of this workspace only, so that what they depend on is compiled once for all mistakes: cargo calls the
//! compiler by way of this very program, under a name that says which mistake it is to add. Cargo keeps what was compiled under one
//! name apart from what was compiled under another.

#![allow(clippy::disallowed_methods)]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the names begin under which this program adds a mistake.
const PREFIX: &str = "rustc-with-";

/// Cargo, with a mistake compiled in; what it builds lies in [`built`].
pub fn cargo(root: &Path, mistake: &str) -> Result<Command, String> {
    let compiler = compiler(root, mistake).map_err(|error| format!("a compiler for {mistake}: {error}"))?;
    let mut command = Command::new("cargo");
    command.current_dir(root).env("RUSTC_WORKSPACE_WRAPPER", compiler).env("CARGO_TARGET_DIR", built(root));
    Ok(command)
}

/// Where builds with mistakes lie: in a folder of their own, so that nothing else is built again because of them.
pub fn built(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("mistakes")
}

/// Compiles and does not come back, where this program was called under the name of a compiler.
pub fn compile_if_asked() -> Option<io::Error> {
    let mut words = std::env::args_os();
    let mistake = mistake_of(&words.next()?)?;
    let rustc = words.next()?;
    Some(Command::new(rustc).args(words).arg("--cfg").arg(format!("dohle_bug=\"{mistake}\"")).exec())
}

fn compiler(root: &Path, mistake: &str) -> io::Result<PathBuf> {
    let folder = built(root).join("compilers");
    fs::create_dir_all(&folder)?;
    let name = folder.join(format!("{PREFIX}{mistake}"));
    match fs::remove_file(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(std::env::current_exe()?, &name)?;
    Ok(name)
}

/// The mistake in the name of a program.
fn mistake_of(program: &OsString) -> Option<String> {
    let name = Path::new(program).file_name()?.to_str()?;
    name.strip_prefix(PREFIX).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_compilers_compile() {
        assert_eq!(mistake_of(&"/a/rustc-with-unreleased".into()).as_deref(), Some("unreleased"));
        assert_eq!(mistake_of(&"/rustc-with-x/xtask".into()), None);
    }
}
