//! The real binary, in a world of its own: no environment but a home folder, no port but those the kernel picks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dohle"));
    command.env_clear().args(arguments);
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Ended {
    Ended::of(program(arguments).output().expect("the program starts"))
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The program ended with this number, and its last line on stderr is one sentence with all these parts.
    #[track_caller]
    pub fn expect(&self, code: i32, parts: &[&str]) {
        let sentence = self.stderr.trim_end().lines().next_back().unwrap_or_default();
        assert_eq!(self.code, Some(code), "{sentence}");
        assert!(sentence.ends_with('.'), "no sentence: {sentence}");
        for part in parts {
            assert!(sentence.contains(part), "\"{part}\" is not in: {sentence}");
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// A folder for a node's data that is gone after the test.
pub struct Data(TempDir);

impl Data {
    pub fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    /// The data folder itself, which the node makes.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub fn text(&self) -> String {
        self.path().to_str().expect("UTF-8").to_owned()
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.beside(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }
}

/// A running node.
pub struct Node {
    child: Child,
    lines: Receiver<Value>,
    seen: Vec<Value>,
    pub ready: Value,
}

impl Node {
    /// Starts a node on this data and any free port, and waits until it is ready.
    pub fn start(data: &Data, more: &[&str]) -> Self {
        let data = data.text();
        let mut arguments = vec![
            "start",
            "--data",
            &data,
            "--log-format",
            "json",
            "--set",
            "dohle.metrics.listener=127.0.0.1:0",
        ];
        if !more.contains(&"--listen") && !more.contains(&"--config") {
            arguments.extend(["--listen", "localhost:0"]);
        }
        arguments.extend(more);
        let mut child = program(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut node = Self { child, lines, seen: Vec::new(), ready: Value::Null };
        node.ready = node.line("ready");
        node
    }

    /// Waits for a log line with this message.
    pub fn line(&mut self, message: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line \"{message}\" after {:?}", self.seen));
            self.seen.push(line.clone());
            if line["fields"]["message"] == message {
                return line["fields"].clone();
            }
        }
    }

    /// An address of a listener.
    pub fn address(&self) -> SocketAddr {
        let addresses = self.ready["addresses"].as_str().expect("addresses");
        let first = addresses.split(',').next().expect("one");
        first.split_once("://").expect("NAME://address").1.parse().expect("an address")
    }

    pub fn get(&self, path: &str) -> String {
        let address: SocketAddr =
            self.ready["metrics"].as_str().expect("an address").parse().expect("an address");
        let mut stream = TcpStream::connect(address).expect("the door is open");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it is read");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("UTF-8");
        answer
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for the end.
    pub fn end(mut self) -> Ended {
        let status = self.child.wait().expect("it ends");
        let mut stdout = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut stdout).expect("UTF-8");
        let stderr = self.seen.iter().cloned().chain(self.lines.iter()).map(|line| match line {
            Value::String(line) => line,
            line => line["fields"]["message"].as_str().unwrap_or_default().to_owned(),
        });
        Ended { code: status.code(), stdout, stderr: stderr.collect::<Vec<_>>().join("\n") }
    }

    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.end()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A test that failed leaves nothing running. One that did not has waited for the end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn exists(folder: &Path, name: &str) -> bool {
    folder.join(name).exists()
}
