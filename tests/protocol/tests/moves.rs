//! Partitions move between two log directories of the real binary, under writers: every record that was acknowledged is there, once and
//! in order, through a throttle, a change of mind, a kill in the middle, and the exchange itself.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Given, Target};
use dohle_tests_protocol::configs::{self, Resource};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;
use dohle_types::ErrorCode;
use dohle_wire::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use dohle_wire::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use dohle_wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use dohle_wire::messages::describe_log_dirs_response::DescribeLogDirsPartition;
use dohle_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

const TOPIC: &str = "moving";
const VALUE_BYTES: usize = 20_000;
const RATE_KEY: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const UNTHROTTLED: &str = "9223372036854775807";
/// How long news may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    target: Target,
    dirs: [PathBuf; 2],
    _folder: tempfile::TempDir,
}

impl World {
    fn new(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("dohle-moves-").tempdir().expect("a folder");
        let dirs = ["one", "two"].map(|name| folder.path().join(name));
        let named = format!("{},{}", dirs[0].display(), dirs[1].display());
        let mut all =
            vec![("log.dirs", named.as_str()), ("log.segment.bytes", "1048576"), ("log.retention.ms", "-1")];
        all.extend(settings);
        Self { target: Target::with(Given::ByFile, &all), dirs, _folder: folder }
    }

    fn at(&self) -> SocketAddr {
        self.target.bootstrap().parse().expect("an address")
    }

    fn client(&self) -> Connection {
        Connection::open(self.at())
    }

    fn path(&self, directory: usize) -> &str {
        self.dirs[directory].to_str().expect("UTF-8")
    }

    /// Which directory holds the partition's folder.
    fn place(&self) -> usize {
        let holds: Vec<usize> =
            (0..2).filter(|at| self.dirs[*at].join(format!("{TOPIC}-0")).is_dir()).collect();
        assert_eq!(holds.len(), 1, "the folder is in one directory: {holds:?}");
        holds[0]
    }

    /// The folders whose names end in a mark.
    fn marked(&self, mark: &str) -> Vec<PathBuf> {
        let entries = self.dirs.iter().flat_map(|dir| std::fs::read_dir(dir).expect("a directory"));
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.to_str().is_some_and(|path| path.ends_with(mark))).collect()
    }
}

fn create(client: &mut Connection) {
    numbered::create(client, TOPIC, 1);
    assert_eq!(produce(client, 0), (0, 0));
}

fn produce(client: &mut Connection, number: i64) -> (i16, i64) {
    numbered::produce(client, TOPIC, 0, number, VALUE_BYTES).expect("an answer")
}

/// Writes numbered records, each when the one before is acknowledged, until told to end. Gives the next number.
fn write(at: SocketAddr, from: i64, ends: &AtomicBool) -> i64 {
    let mut client = Connection::open(at);
    let mut number = from;
    while !ends.load(Ordering::Relaxed) {
        assert_eq!(produce(&mut client, number), (0, number), "nothing is refused or lost by a move");
        number += 1;
    }
    number
}

/// The numbers of all records from an offset on.
fn read(client: &mut Connection, from: i64) -> Vec<i64> {
    let mut numbers = Vec::new();
    loop {
        let (error, more) = numbered::fetch(client, TOPIC, 0, from + numbers.len() as i64);
        assert_eq!(error, 0);
        if more.is_empty() {
            return numbers;
        }
        numbers.extend(more);
    }
}

fn alter(client: &mut Connection, path: &str, topic: &str) -> i16 {
    let topic = AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![0], ..Default::default() };
    let dir = AlterReplicaLogDir { path: path.into(), topics: vec![topic], ..Default::default() };
    let request = AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() };
    client.ask(&request, 2).expect("an answer").results[0].partitions[0].error_code
}

/// What a directory tells of the partition.
fn described(client: &mut Connection, path: &str) -> Vec<DescribeLogDirsPartition> {
    let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
    let response: DescribeLogDirsResponse = client.ask(&request, 4).expect("an answer");
    let result = response.results.into_iter().find(|result| &*result.log_dir == path);
    let topics = result.expect("it is described").topics;
    topics.into_iter().filter(|topic| &*topic.name == TOPIC).flat_map(|topic| topic.partitions).collect()
}

/// The error of a directory.
fn state(client: &mut Connection, path: &str) -> i16 {
    let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
    let response: DescribeLogDirsResponse = client.ask(&request, 4).expect("an answer");
    response.results.iter().find(|result| &*result.log_dir == path).expect("it is described").error_code
}

fn set_rate(client: &mut Connection, rate: &str) {
    configs::set(client, Resource::Broker, "1", RATE_KEY, rate);
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_partition_moves_back_and_forth_under_a_writer() {
    let world = World::new(&[]);
    let mut client = world.client();
    create(&mut client);
    let (at, ends) = (world.at(), Arc::new(AtomicBool::new(false)));
    let writer = std::thread::spawn({
        let ends = ends.clone();
        move || write(at, 1, &ends)
    });
    let mut moves = 0;
    for _ in 0..6 {
        let from = world.place();
        let to = 1 - from;
        assert_eq!(alter(&mut client, world.path(to), TOPIC), 0);
        eventually("the partition moves", || {
            described(&mut client, world.path(to)).iter().any(|told| !told.is_future_key)
        });
        assert_eq!(world.place(), to);
        assert!(described(&mut client, world.path(from)).is_empty());
        moves += 1;
    }
    // One record comes after another: what was deleted stays so on the way.
    let delete = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: TOPIC.into(),
            partitions: vec![DeleteRecordsPartition { partition_index: 0, offset: 5, ..Default::default() }],
            ..Default::default()
        }],
        timeout_ms: 5000,
        ..Default::default()
    };
    assert_eq!(client.ask(&delete, 2).expect("an answer").topics[0].partitions[0].error_code, 0);
    let from = world.place();
    assert_eq!(alter(&mut client, world.path(1 - from), TOPIC), 0);
    eventually("the partition moves", || !described(&mut client, world.path(1 - from)).is_empty());
    eventually("its copy is the log", || world.marked("-future").is_empty());
    ends.store(true, Ordering::Relaxed);
    let end = writer.join().expect("a writer");
    assert_eq!(read(&mut client, 5), (5..end).collect::<Vec<_>>());
    println!("{moves} moves under {end} records");
}

#[test]
fn a_throttled_move_shows_changes_its_mind_and_survives_a_kill() {
    const RATE: &str = "1000000";
    const RECORDS: i64 = 200;
    let mut world = World::new(&[]);
    let mut client = world.client();
    create(&mut client);
    set_rate(&mut client, RATE);
    for number in 1..RECORDS {
        assert_eq!(produce(&mut client, number), (0, number));
    }
    let from = world.place();
    let to = 1 - from;
    assert_eq!(alter(&mut client, world.path(to), TOPIC), 0);
    assert_eq!(alter(&mut client, world.path(to), TOPIC), 0, "asked for twice, it goes on");
    let told = described(&mut client, world.path(to));
    assert_eq!((told.len(), told[0].is_future_key, world.marked("-future").len()), (1, true, 1));
    assert!(told[0].offset_lag > 0, "{told:?}");
    let own = described(&mut client, world.path(from));
    assert_eq!((own.len(), own[0].is_future_key, own[0].offset_lag), (1, false, 0));
    // Where it lies already: the move is taken back, and its copy goes.
    assert_eq!(alter(&mut client, world.path(from), TOPIC), 0);
    assert!(described(&mut client, world.path(to)).is_empty());
    assert!(world.marked("-future").is_empty());

    let began = Instant::now();
    assert_eq!(alter(&mut client, world.path(to), TOPIC), 0);
    eventually("bytes are copied", || {
        described(&mut client, world.path(to)).first().is_some_and(|told| told.partition_size > 1_000_000)
    });
    let (copied, took) = (described(&mut client, world.path(to))[0].partition_size, began.elapsed());
    // A chunk may be ahead of its time.
    let allowed = took.as_secs_f64() * 1e6 + f64::from(512 << 10);
    assert!((copied as f64) < allowed, "{copied} bytes in {took:?}");
    assert!(described(&mut client, world.path(to))[0].is_future_key, "four megabytes take four seconds");

    world.target.kill();
    let future = world.marked("-future");
    assert_eq!(future.len(), 1);
    world.target.restart();
    let mut client = world.client();
    assert_eq!(produce(&mut client, RECORDS), (0, RECORDS));
    eventually("the move goes on", || {
        described(&mut client, world.path(to)).first().is_some_and(|told| told.is_future_key)
    });
    assert_eq!(world.marked("-future"), future, "in the same folder");
    set_rate(&mut client, UNTHROTTLED);
    eventually("it has moved", || {
        described(&mut client, world.path(to)).first().is_some_and(|told| !told.is_future_key)
    });
    assert_eq!(world.place(), to);
    assert_eq!(read(&mut client, 0), (0..=RECORDS).collect::<Vec<_>>());
    world.target.stop();
    assert!(world.marked("-future").is_empty());
    world.target.restart();
    let mut client = world.client();
    assert_eq!((world.place(), read(&mut client, 0)), (to, (0..=RECORDS).collect::<Vec<_>>()));
}

/// The directory where it lies is lost on the way, and comes back: so does the move.
#[test]
fn a_move_goes_on_when_a_directory_that_was_lost_is_back() {
    let world =
        World::new(&[("dohle.log.dir.retry.ms", "200"), ("log.flush.offset.checkpoint.interval.ms", "100")]);
    let mut client = world.client();
    let away = world.dirs[1].with_file_name("away");
    let rename = |from: &Path, to: &Path| std::fs::rename(from, to).expect("renamed");
    let lost = ErrorCode::KafkaStorageError.code();
    assert_eq!(alter(&mut client, world.path(1), TOPIC), ErrorCode::UnknownTopicOrPartition.code());
    create(&mut client);
    assert_eq!(world.place(), 1, "the metadata is in the other one");
    set_rate(&mut client, "1");
    (1..40).for_each(|number| assert_eq!(produce(&mut client, number), (0, number)));
    assert_eq!(alter(&mut client, world.path(0), TOPIC), 0);
    let future = world.marked("-future");
    rename(&world.dirs[1], &away);
    // Its file is open, and reached wherever it is; its directory's checkpoints are not.
    assert_eq!(produce(&mut client, 40), (0, 40));
    eventually("it is lost", || state(&mut client, world.path(1)) == lost);
    rename(&away, &world.dirs[1]);
    eventually("it is back", || state(&mut client, world.path(1)) == 0);
    eventually("it is led again", || produce(&mut client, 41) == (0, 41));
    assert_eq!(world.marked("-future"), future, "its copy stays");
    set_rate(&mut client, UNTHROTTLED);
    eventually("it has moved", || world.marked("-future").is_empty());
    assert_eq!((world.place(), read(&mut client, 0)), (0, (0..=41).collect::<Vec<_>>()));
}

#[test]
fn a_deleted_topic_takes_its_move_with_it_and_a_wish_is_remembered() {
    let world = World::new(&[("delete.topic.enable", "true"), ("log.segment.delete.delay.ms", "0")]);
    let mut client = world.client();
    // Asked for before there is a topic: it is put there when it comes.
    for directory in [1, 0] {
        assert_eq!(
            alter(&mut client, world.path(directory), TOPIC),
            ErrorCode::UnknownTopicOrPartition.code()
        );
        create(&mut client);
        assert_eq!(world.place(), directory);
        set_rate(&mut client, "1");
        for number in 1..30 {
            assert_eq!(produce(&mut client, number), (0, number));
        }
        assert_eq!(alter(&mut client, world.path(1 - directory), TOPIC), 0);
        assert_eq!(world.marked("-future").len(), 1);
        let state = DeleteTopicState { name: Some(TOPIC.into()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![state], timeout_ms: 10_000, ..Default::default() };
        assert_eq!(client.ask(&request, 6).expect("an answer").responses[0].error_code, 0);
        set_rate(&mut client, UNTHROTTLED);
        eventually("the copy goes with its partition", || world.marked("-future").is_empty());
        eventually("so does the partition", || {
            !Path::new(world.path(directory)).join(format!("{TOPIC}-0")).exists()
        });
    }
    assert_eq!(alter(&mut client, "/nowhere", TOPIC), ErrorCode::LogDirNotFound.code());
    let long = "x".repeat(214);
    assert_eq!(alter(&mut client, world.path(0), &long), ErrorCode::InvalidTopicException.code());
}
