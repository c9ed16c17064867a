//! The same scripts, asked of an Apache Kafka: what it answers is what the scripts say.
//!
//! Time passes as it does, so only cases that are short are played, all of them at once, each with groups of its own. What Kafka
//! records is not seen here, and what cannot be done to it from outside (restarts, transactions, clocks) is left out. Where a title ends with `(ours)`, Kafka
//! would leave someone waiting for ever; the case says what we do instead.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dohle_wire::messages as m;
use dohle_wire::{Message, Reader, Request as ApiRequest, Text, Writer, encode_request_header};

use super::{Stage, ask, print};
use crate::groups::{Ask, Request, Response};

/// Longer cases would take too long.
const LONGEST_CASE_MS: i64 = 80_000;
/// The end of a case's title where we answer what Kafka leaves open.
const OURS: &str = "(ours)";
/// How long an answer may take that comes at once, and how long is listened for one that should not come.
const PATIENCE: Duration = Duration::from_millis(4000);
const QUIET: Duration = Duration::from_millis(150);
/// What a real clock takes for a moment.
const NEARLY_MS: u64 = 1000;

/// Plays the cases of a file against the broker at `address`; what differs is returned.
pub(in crate::groups) fn compare(name: &str, address: &str) -> Vec<String> {
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
    let script = std::fs::read_to_string(path).expect("the script");
    let cases: Vec<&str> = script.split("\n== ").skip(1).filter(|case| is_playable(case)).collect();
    println!("{name}: {} cases", cases.len());
    await_coordinator(address);
    std::thread::scope(|scope| {
        let players: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(number, case)| {
                let prefix = format!("{}-{number}-{}-", name.trim_end_matches(".txt"), std::process::id());
                scope.spawn(move || play(case, &prefix, address))
            })
            .collect();
        players.into_iter().filter_map(|player| player.join().expect("a player ends")).collect()
    })
}

/// The first to ask for the coordinator makes its topic.
fn await_coordinator(address: &str) {
    let key = Text::from("g");
    let request = m::FindCoordinatorRequest { coordinator_keys: vec![key], ..Default::default() };
    for _ in 0..100 {
        let found = exchange(address, &request, 4, Text::from("c")).expect("an answer");
        if found.coordinators.iter().all(|found| found.error_code == 0) {
            return;
        }
        std::thread::sleep(QUIET);
    }
    panic!("no coordinator at {address}");
}

fn is_playable(case: &str) -> bool {
    let mut ms = 0;
    for line in case.lines() {
        let Some(command) = line.strip_prefix("> ") else { continue };
        let words = ask::Words::of(command);
        match words.command() {
            "tick" => ms += words.number(0),
            "set" if command == "set metadata=4" || command == "set delay=3000" => {}
            "set" | "reload" | "write" | "end" | "deleted" | "clock" | "list" => return false,
            _ => {}
        }
    }
    // The versions that name topics do not tell their ids.
    ms <= LONGEST_CASE_MS
        && !case.contains("t#")
        && !case.lines().next().is_some_and(|title| title.ends_with(OURS))
}

fn play(case: &str, prefix: &str, address: &str) -> Option<String> {
    let mut player = Player::new(prefix, address);
    let mut wanted: Vec<&str> = case.lines().skip(1).filter(|line| line.starts_with('r')).collect();
    let mut lines = case.lines().skip(1).peekable();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("> ") else { continue };
        let mut expected = 0;
        while lines.peek().is_some_and(|line| line.starts_with(['r', '+', '-'])) {
            expected += usize::from(lines.next().is_some_and(|line| line.starts_with('r')));
        }
        player.step(command, expected);
    }
    player.collect(0, QUIET);
    wanted.sort_by_key(|line| number_of(line));
    let came: Vec<&str> = player.came.values().map(String::as_str).collect();
    (wanted != came).then(|| {
        let title = case.lines().next().unwrap_or_default();
        format!("== {title}\nwanted:\n  {}\ncame:\n  {}\n", wanted.join("\n  "), came.join("\n  "))
    })
}

/// One case on its way.
struct Player<'a> {
    stage: Stage,
    prefix: &'a str,
    address: &'a str,
    asked: u64,
    sender: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
    came: BTreeMap<u64, String>,
}

impl<'a> Player<'a> {
    fn new(prefix: &'a str, address: &'a str) -> Self {
        let (sender, answers) = mpsc::channel();
        Self { stage: Stage::new(), prefix, address, asked: 0, sender, answers, came: BTreeMap::new() }
    }

    fn step(&mut self, command: &str, expected: usize) {
        let words = ask::Words::of(command);
        let total = self.came.len() + expected;
        match words.command() {
            "set" => {}
            "tick" => {
                let time = u64::try_from(words.number(0)).expect("time goes on");
                // A millisecond less, or more, is meant to be just before, or when, something happens.
                let time = if time % 1000 == 999 { time - NEARLY_MS } else { time };
                let time = Duration::from_millis(if time < 10 { time + 2 * NEARLY_MS } else { time });
                self.collect(usize::MAX, time);
                self.collect(total, PATIENCE);
            }
            _ => {
                self.asked += 1;
                let request = older(ask::request(&self.stage, &words));
                send(self.address, self.asked, self.prefix, request, self.sender.clone());
                self.collect(total, PATIENCE);
                self.collect(usize::MAX, QUIET);
            }
        }
    }

    /// Takes answers until so many have come in all, or the time is up. Members are named in the order of the questions.
    fn collect(&mut self, total: usize, time: Duration) {
        let end = Instant::now() + time;
        let mut batch = BTreeMap::new();
        while self.came.len() + batch.len() < total {
            let left = end.saturating_duration_since(Instant::now());
            let Ok((number, response, version)) = self.answers.recv_timeout(left) else { break };
            batch.insert(number, (response, version));
        }
        for (response, _) in batch.values() {
            if let Response::JoinGroup(joined) = response {
                self.stage.name_of(&joined.member_id);
            }
        }
        for (number, (response, version)) in batch {
            let text = print::response(&mut self.stage, &response, version).replace(self.prefix, "");
            self.came.insert(number, format!("r{number} {text}"));
        }
    }
}

fn number_of(line: &str) -> u64 {
    line[1..].split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Topics are named in the scripts; the newest versions do not name them.
fn older(request: Request) -> Request {
    let version = match request.ask {
        Ask::OffsetCommit(_) => request.version.min(9),
        Ask::OffsetFetch { .. } => 9,
        _ => request.version,
    };
    Request { version, ..request }
}

type Answer = (u64, Response, i16);

fn send(address: &str, number: u64, prefix: &str, request: Request, sender: mpsc::Sender<Answer>) {
    let address = address.to_owned();
    let name = |id: Text| if id.is_empty() { id } else { Text::from(format!("{prefix}{id}")) };
    let (client, version) = (request.client.id, request.version);
    macro_rules! ask {
        ($request:expr, $wrap:expr) => {{
            let request = $request;
            std::thread::spawn(move || {
                if let Some(response) = exchange(&address, &request, version, client) {
                    let _ = sender.send((number, $wrap(response), version));
                }
            });
        }};
    }
    match request.ask {
        Ask::JoinGroup(of) => {
            ask!(m::JoinGroupRequest { group_id: name(of.group_id), ..of }, Response::JoinGroup)
        }
        Ask::SyncGroup(of) => {
            ask!(m::SyncGroupRequest { group_id: name(of.group_id), ..of }, Response::SyncGroup)
        }
        Ask::Heartbeat(of) => {
            ask!(m::HeartbeatRequest { group_id: name(of.group_id), ..of }, Response::Heartbeat)
        }
        Ask::LeaveGroup(of) => {
            ask!(m::LeaveGroupRequest { group_id: name(of.group_id), ..of }, Response::LeaveGroup)
        }
        Ask::OffsetCommit(of) => {
            ask!(m::OffsetCommitRequest { group_id: name(of.group_id), ..of }, Response::OffsetCommit)
        }
        Ask::OffsetDelete(of) => {
            ask!(m::OffsetDeleteRequest { group_id: name(of.group_id), ..of }, Response::OffsetDelete)
        }
        Ask::OffsetFetch { group, stable } => {
            let group =
                m::offset_fetch_request::OffsetFetchRequestGroup { group_id: name(group.group_id), ..group };
            let request =
                m::OffsetFetchRequest { groups: vec![group], require_stable: stable, ..Default::default() };
            ask!(request, |mut of: m::OffsetFetchResponse| Response::OffsetFetch(of.groups.remove(0)))
        }
        Ask::DeleteGroups(ids) => {
            let request = m::DeleteGroupsRequest {
                groups_names: ids.into_iter().map(name).collect(),
                ..Default::default()
            };
            ask!(request, |of: m::DeleteGroupsResponse| Response::DeleteGroups(of.results))
        }
        Ask::DescribeGroups(ids) => {
            let request = m::DescribeGroupsRequest {
                groups: ids.into_iter().map(name).collect(),
                ..Default::default()
            };
            ask!(request, |of: m::DescribeGroupsResponse| Response::DescribeGroups(of.groups))
        }
        _ => panic!("not asked of Kafka"),
    }
}

fn exchange<R: ApiRequest>(address: &str, request: &R, version: i16, client: Text) -> Option<R::Response> {
    let mut w = Writer::new();
    encode_request_header(&mut w, R::KEY, version, 1, Some(client.clone())).expect("a header");
    let written = request.encode(&mut w, version);
    written.unwrap_or_else(|error| panic!("{error:?} at version {version}: {request:?}"));
    let body = w.into_bytes();
    let mut stream = TcpStream::connect(address).expect("the broker listens");
    stream.write_all(&u32::try_from(body.len()).expect("small").to_be_bytes()).ok()?;
    stream.write_all(&body).ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    let mut reader = Reader::new(Bytes::from(frame));
    m::ResponseHeader::decode(&mut reader, R::KEY.response_header_version(version)).ok()?;
    Some(R::Response::decode(&mut reader, version).expect("a readable response"))
}
