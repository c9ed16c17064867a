//! Files of a log directory that are missing or wrong: the broker says which, makes anew what it can, and serves what is there.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Given, Target};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;
use dohle_wire::messages::create_topics_request::CreatableTopicConfig;

const TOPIC: &str = "wrong";
const SEGMENT: usize = 1 << 20;
/// Two records fill a segment.
const VALUE: usize = SEGMENT / 2 - 200;
const RECORDS: i64 = 7;
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker with a log of four segments, at rest. It begins them at offsets 0, 2, 4 and 6.
fn filled() -> Target {
    let target = Target::with(Given::ByFlags, &[]);
    let mut client = connected(&target);
    let of = |(name, value): (&str, String)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.as_str().into()),
        ..Default::default()
    };
    let configs = [("segment.bytes", SEGMENT.to_string()), ("retention.ms", "-1".to_owned())];
    numbered::create_with(&mut client, TOPIC, 1, configs.map(of).to_vec());
    for number in 0..RECORDS {
        assert_eq!(numbered::produce(&mut client, TOPIC, 0, number, VALUE), Some((0, number)));
    }
    target
}

fn connected(target: &Target) -> Connection {
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    Connection::open(at)
}

/// Waits until the directory says that all is flushed: behind that, a gap would be where the log ends.
fn until_flushed(target: &Target) {
    let until = Instant::now() + PATIENCE;
    let path = target.log_dir().join("recovery-point-offset-checkpoint");
    let line = format!("{TOPIC} 0 {RECORDS}\n");
    while !fs::read_to_string(&path).unwrap_or_default().contains(&line) {
        assert!(Instant::now() < until, "the log is not flushed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All that is read from the beginning to the end.
fn read(client: &mut Connection) -> Vec<i64> {
    let mut read: Vec<i64> = Vec::new();
    while read.last() != Some(&(RECORDS - 1)) {
        let from = read.last().map_or(0, |last| last + 1);
        let (error, numbers) = numbered::fetch(client, TOPIC, 0, from);
        assert!(error == 0 && !numbers.is_empty(), "error {error} at {from}");
        read.extend(numbers);
    }
    read
}

/// The line that the broker says of something, once since its start.
#[track_caller]
fn said(target: &Target, what: &str) -> String {
    let log = fs::read_to_string(target.folder().join("broker.log")).expect("what the broker says");
    let lines: Vec<_> = log.lines().filter(|line| line.contains(what)).collect();
    let [line] = lines[..] else { panic!("{} lines with '{what}' in\n{log}", lines.len()) };
    assert!(line.contains("WARN"), "{line}");
    line.to_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the partition's folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_segment_that_is_missing_in_the_middle() {
    let mut target = filled();
    until_flushed(&target);
    target.kill();
    let folder = target.log_dir().join(format!("{TOPIC}-0"));
    fs::remove_file(folder.join("00000000000000000002.log")).expect("the second segment");
    target.restart();
    let mut client = connected(&target);
    assert_eq!(read(&mut client), [0, 1, 4, 5, 6]);
    let line = said(&target, "the log has a gap");
    assert!(line.contains(&format!("{TOPIC}-0/00000000000000000004.log")), "{line}");
    for base in [0, 4, 6] {
        assert!(names(&folder).contains(&format!("{base:020}.log")), "{:?}", names(&folder));
    }
    // It goes on where it ended.
    assert_eq!(numbered::produce(&mut client, TOPIC, 0, RECORDS, VALUE), Some((0, RECORDS)));
}

#[test]
fn an_index_that_is_longer_than_its_log() {
    let mut target = filled();
    target.stop();
    let folder = target.log_dir().join(format!("{TOPIC}-0"));
    let index = folder.join("00000000000000000002.index");
    let mut bytes = fs::read(&index).expect("an index");
    // One entry more, of a batch that would lie behind the segment's end.
    bytes.extend([1_i32.to_be_bytes(), (2 * SEGMENT as i32).to_be_bytes()].concat());
    fs::write(&index, &bytes).expect("it is written");
    let before = names(&folder);
    target.restart();
    let mut client = connected(&target);
    assert_eq!(read(&mut client), (0..RECORDS).collect::<Vec<_>>());
    // Twice, and it is said once.
    assert_eq!(numbered::fetch(&mut client, TOPIC, 0, 3), (0, vec![3]));
    let line = said(&target, "it is done without");
    assert!(line.contains(&format!("{TOPIC}-0/00000000000000000002.index")), "{line}");
    target.stop();
    assert_eq!(fs::read(&index).expect("an index"), bytes, "it is left as it was");
    assert_eq!(names(&folder), before);
}

#[test]
fn checkpoints_with_rubbish() {
    const CHECKPOINTS: [&str; 4] = [
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
        "log-start-offset-checkpoint",
        "cleaner-offset-checkpoint",
    ];
    for rubbish in ["0\n1\nwrong 0 none\n", "\0\0\0\0\0\0", "7\n0\n", "0\n99\nwrong 0 1\n", "0\n4294967296\n"]
    {
        let mut target = filled();
        target.stop();
        for name in CHECKPOINTS {
            fs::write(target.log_dir().join(name), rubbish).expect("it is written");
        }
        target.restart();
        let mut client = connected(&target);
        assert_eq!(read(&mut client), (0..RECORDS).collect::<Vec<_>>());
        assert_eq!(numbered::produce(&mut client, TOPIC, 0, RECORDS, VALUE), Some((0, RECORDS)));
        for name in CHECKPOINTS {
            assert!(
                said(&target, &format!("/{name}")).contains("cannot be understood"),
                "{name}: {rubbish:?}"
            );
        }
    }
}
