//! Programs that are run and listened to: what they print is passed on as it comes, and kept.

#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// What is kept of a program's output; of more, the beginning is forgotten.
const KEPT: usize = 4 << 20;

/// How a program ended, and what it printed to its standard output.
#[derive(Debug)]
pub struct Ended {
    pub success: bool,
    pub status: ExitStatus,
    pub output: String,
}

/// A command at the root of the repository. `xtask` stands for this program.
pub fn command(root: &Path, words: &[impl AsRef<str>]) -> Result<Command, String> {
    let mut words = words.iter().map(AsRef::as_ref);
    let mut command = match words.next().ok_or("an empty command")? {
        "xtask" => Command::new(this_program()?),
        program => Command::new(program),
    };
    command.args(words).current_dir(root);
    Ok(command)
}

/// Where this program lies, also when a suite has built it anew while it runs.
fn this_program() -> Result<String, String> {
    let path = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let path = path.to_string_lossy().into_owned();
    Ok(path.strip_suffix(" (deleted)").map_or(path.clone(), str::to_owned))
}

/// Runs it without standard input until it ends.
pub fn run(command: &mut Command) -> Result<Ended, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    let stdout = child.stdout.take().expect("standard output is piped");
    let output = passed_on(stdout).map_err(|error| format!("cannot read from {name}: {error}"))?;
    let status = child.wait().map_err(|error| format!("cannot wait for {name}: {error}"))?;
    Ok(Ended { success: status.success(), status, output })
}

fn passed_on(stdout: impl Read) -> std::io::Result<String> {
    let mut reader = BufReader::new(stdout);
    let mut kept = Vec::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        std::io::stdout().write_all(&line)?;
        kept.append(&mut line);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_are_kept() {
        let root = Path::new("/");
        let ended =
            run(&mut command(root, &["sh", "-c", "echo 3 passed, 1 failed; exit 1"]).unwrap()).unwrap();
        assert_eq!((ended.success, ended.output.as_str()), (false, "3 passed, 1 failed\n"));
        assert!(run(&mut command(root, &["no-such-program"]).unwrap()).is_err());
    }
}
