//! A node with two log directories, one of them on a disk that fills up: what lies there is refused, everything else is served, and
//! after the disk has room again all that was acknowledged is there.
//!
//! The small disk is a tmpfs, which only root may mount. Where nobody may, the test says so loudly; on CI it fails.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dohle_tests_clients::install;
use dohle_tests_clients::process::Process;
use dohle_tests_clients::target::{Given, Target, free_port};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::door::get;
use dohle_tests_protocol::numbered;
use dohle_types::ErrorCode;
use dohle_wire::messages::describe_log_dirs_response::DescribeLogDirsResult;
use dohle_wire::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use dohle_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use dohle_wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use dohle_wire::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use dohle_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, FindCoordinatorRequest};

const TOPIC: &str = "spread";
const PARTITIONS: i32 = 4;
const VALUE_BYTES: usize = 20_000;
const STORAGE: i16 = ErrorCode::KafkaStorageError.code();
/// How long news may take to reach everybody on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A small disk, gone with this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let size = format!("size={size}");
        let mount = |sudo: &[&str]| {
            let mut words = sudo.iter().copied().chain(["mount", "-t", "tmpfs", "-o", &size, "tmpfs"]);
            let mut command = Command::new(words.next().expect("a program"));
            command.args(words).arg(at).output().is_ok_and(|output| output.status.success())
        };
        if mount(&[]) {
            return Some(Self(at.to_owned()));
        }
        if mount(&["sudo", "-n"]) {
            let open = Command::new("sudo").args(["-n", "chmod", "777"]).arg(at).status();
            assert!(open.is_ok_and(|status| status.success()), "the small disk is ours");
            return Some(Self(at.to_owned()));
        }
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            let _ = Command::new("sudo").args(["-n", "umount", "-l"]).arg(&self.0).status();
        }
    }
}

/// Two directories: one with the metadata, on a large disk, and a small one.
struct World {
    // Before the disk, so that it is dead when its files go.
    target: Target,
    _disk: SmallDisk,
    small: PathBuf,
    filler: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Option<Self> {
        Self::with("{large},{small}", &[])
    }

    /// With these `log.dirs`, and further settings.
    fn with(dirs: &str, settings: &[(&str, &str)]) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("dohle-log-dirs-").tempdir().expect("a folder");
        let mounted = folder.path().join("mounted");
        let Some(disk) = SmallDisk::mount(&mounted, "3m") else {
            assert!(std::env::var_os("CI").is_none(), "CI has to be able to mount a small disk");
            eprintln!(
                "\n*** SKIPPED: nobody may mount a tmpfs here; a full log directory was NOT tested ***\n"
            );
            return None;
        };
        let (small, large) = (mounted.join("logs"), folder.path().join("large"));
        let filler = mounted.join("filler");
        std::fs::write(&filler, vec![0; 1 << 20]).expect("room for the filler");
        let metadata = large.display().to_string();
        let dirs = dirs.replace("{large}", &metadata).replace("{small}", &small.display().to_string());
        let settings = [&[("log.dirs", dirs.as_str()), ("metadata.log.dir", &metadata)], settings].concat();
        let target = Target::with(Given::ByFile, &settings);
        Some(Self { target, _disk: disk, small, filler, _folder: folder })
    }

    fn client(&self) -> Connection {
        Connection::open(self.target.bootstrap().parse::<SocketAddr>().expect("an address"))
    }

    fn free_space(&self) {
        std::fs::remove_file(&self.filler).expect("the filler");
    }
}

/// A topic whose partitions all have their folders.
fn create(client: &mut Connection) {
    numbered::create(client, TOPIC, PARTITIONS);
    for partition in 0..PARTITIONS {
        eventually("folders", || latest(client, partition), |found| *found == (0, 0));
    }
}

/// The partitions in a directory, by their folders.
fn partitions_in(dir: &Path) -> Vec<i32> {
    folders_of(dir, TOPIC)
}

fn folders_of(dir: &Path, topic: &str) -> Vec<i32> {
    (0..PARTITIONS).filter(|partition| dir.join(format!("{topic}-{partition}")).is_dir()).collect()
}

fn produce(client: &mut Connection, index: i32, number: i64) -> (i16, i64) {
    try_produce(client, index, number).expect("an answer")
}

/// `None` when there is no answer.
fn try_produce(client: &mut Connection, index: i32, number: i64) -> Option<(i16, i64)> {
    numbered::produce(client, TOPIC, index, number, VALUE_BYTES)
}

fn fetch(client: &mut Connection, partition: i32, from: i64) -> (i16, Vec<i64>) {
    numbered::fetch(client, TOPIC, partition, from)
}

fn latest(client: &mut Connection, partition_index: i32) -> (i16, i64) {
    let partition = ListOffsetsPartition {
        partition_index,
        timestamp: -1,
        current_leader_epoch: -1,
        ..Default::default()
    };
    let topic = ListOffsetsTopic { name: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let response = client.ask(&request, 5).expect("an answer");
    let answer = &response.topics[0].partitions[0];
    (answer.error_code, answer.offset)
}

/// The error and the leader of each partition.
fn leaders(client: &mut Connection) -> Vec<(i16, i32, Vec<i32>)> {
    let topic = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let response = client.ask(&request, 9).expect("an answer");
    let mut partitions = response.topics[0].partitions.clone();
    partitions.sort_by_key(|partition| partition.partition_index);
    partitions.into_iter().map(|p| (p.error_code, p.leader_id, p.offline_replicas)).collect()
}

fn described(client: &mut Connection, path: &Path) -> DescribeLogDirsResult {
    // Of all topics.
    let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
    let response: DescribeLogDirsResponse = client.ask(&request, 4).expect("an answer");
    let path = path.to_str().expect("UTF-8");
    response.results.into_iter().find(|result| &*result.log_dir == path).expect("the directory is described")
}

fn eventually<T: std::fmt::Debug>(what: &str, mut look: impl FnMut() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < until, "{what}: {found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn write_one_each(client: &mut Connection) -> Vec<i64> {
    (0..PARTITIONS).for_each(|partition| assert_eq!(produce(client, partition, 0), (0, 0)));
    vec![1; PARTITIONS as usize]
}

/// Fills the small disk through one of its partitions. Gives how many records of each partition were acknowledged.
fn fill(client: &mut Connection, small: &[i32]) -> Vec<i64> {
    let mut ends = write_one_each(client);
    let full = small[0];
    loop {
        let number = ends[full as usize];
        match produce(client, full, number) {
            (0, offset) => assert_eq!(offset, number),
            (code, _) => {
                assert_eq!(code, STORAGE, "what the full disk answers");
                break;
            }
        }
        ends[full as usize] += 1;
        assert!(number < 1000, "the disk does not get full");
    }
    assert!(ends[full as usize] > 10, "{ends:?}");
    ends
}

/// What lies in a directory that is offline is refused, and everything else is served.
fn check_lost(client: &mut Connection, dir: &Path, small: &[i32], ends: &mut [i64]) {
    eventually(
        "leaders",
        || leaders(client),
        |leaders| {
            small.iter().all(|&p| leaders[p as usize] == (ErrorCode::LeaderNotAvailable.code(), -1, vec![1]))
        },
    );
    for &partition in small {
        assert_eq!(produce(client, partition, 0).0, STORAGE);
        assert_eq!(fetch(client, partition, 0).0, STORAGE);
        assert_eq!(latest(client, partition).0, STORAGE);
    }
    let lost = described(client, dir);
    assert_eq!((lost.error_code, lost.topics.len()), (STORAGE, 0), "{lost:?}");
    for partition in (0..PARTITIONS).filter(|partition| !small.contains(partition)) {
        let end = &mut ends[partition as usize];
        assert_eq!(produce(client, partition, *end), (0, *end), "the other directory serves on");
        *end += 1;
        assert_eq!(fetch(client, partition, 0), (0, (0..*end).collect()));
        assert_eq!(leaders(client)[partition as usize], (0, 1, vec![]));
    }
}

/// All that was acknowledged is there, in order, and the next record can be written.
fn check_back(client: &mut Connection, dir: &Path, small: &[i32], ends: &[i64]) {
    eventually("leaders", || leaders(client), |leaders| leaders.iter().all(|l| *l == (0, 1, vec![])));
    for partition in 0..PARTITIONS {
        let acknowledged = ends[partition as usize];
        let mut found = Vec::new();
        loop {
            let (code, more) = fetch(client, partition, found.len() as i64);
            assert_eq!(code, 0, "partition {partition}");
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        let end = found.len() as i64;
        assert!(end >= acknowledged, "partition {partition}: {end} of {acknowledged}");
        assert!(small.contains(&partition) || end == acknowledged, "partition {partition}");
        assert_eq!(found, (0..end).collect::<Vec<_>>());
        assert_eq!(produce(client, partition, end), (0, end));
    }
    let back = described(client, dir);
    let ours = back.topics.iter().filter(|topic| &*topic.name == TOPIC);
    let partitions: usize = ours.map(|topic| topic.partitions.len()).sum();
    assert_eq!((back.error_code, partitions), (0, small.len()), "{back:?}");
    assert!(back.total_bytes > 0 && back.usable_bytes > 0, "{back:?}");
}

#[test]
fn a_full_directory_is_lost_alone_and_comes_back_with_a_restart() {
    let Some(mut world) = World::new() else { return };
    let mut client = world.client();
    create(&mut client);
    let small = partitions_in(&world.small);
    assert_eq!(small.len(), 2, "partitions go where the fewest are: {small:?}");
    let mut ends = fill(&mut client, &small);
    check_lost(&mut client, &world.small, &small, &mut ends);
    world.free_space();
    world.target.stop();
    assert!(!world.small.join(".kafka_cleanshutdown").exists(), "a lost directory was not closed cleanly");
    world.target.restart();
    check_back(&mut world.client(), &world.small, &small, &ends);
}

/// The partition of `__consumer_offsets` that has a group, as every client and broker computes it.
fn coordinator_of(group: &str) -> i32 {
    let hash =
        group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % PARTITIONS
}

/// Commits an offset of a group without members.
fn commit(client: &mut Connection, group: &str, committed_offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition { committed_offset, ..Default::default() };
    let topic =
        OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    client.ask(&request, 8).expect("an answer").topics[0].partitions[0].error_code
}

fn committed(client: &mut Connection, group: &str) -> (i16, i64) {
    let topic =
        OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: vec![0], ..Default::default() };
    let request =
        OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
    let response = client.ask(&request, 7).expect("an answer");
    let offset = response.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset);
    (response.error_code, offset)
}

/// Librdkafka goes on writing to a partition of the small disk all the time: while it fills, while it is offline, and after it is back.
#[test]
fn a_full_directory_comes_back_when_there_is_room_and_a_producer_notices_a_pause() {
    let retry = [("dohle.log.dir.retry.ms", "200"), ("offsets.topic.num.partitions", "4")];
    let Some(world) = World::with("{large},{small}", &retry) else { return };
    let mut client = world.client();
    create(&mut client);
    let small = partitions_in(&world.small);
    let groups = ["g0", "g1", "g2", "g3"];
    for group in groups {
        // Who asks first has the topic made.
        let find = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        eventually(
            "a coordinator",
            || client.ask(&find, 3).expect("an answer").error_code,
            |code| *code == 0,
        );
        eventually("its shard", || commit(&mut client, group, 7), |code| *code == 0);
    }
    let coordinated = folders_of(&world.small, "__consumer_offsets");
    let (lost, kept): (Vec<&str>, Vec<&str>) =
        groups.iter().partition(|group| coordinated.contains(&coordinator_of(group)));
    assert!(!lost.is_empty() && !kept.is_empty(), "{coordinated:?}");

    let mut python = Command::new(install::python());
    python.arg(install::sources().join("python/steady.py"));
    python.args([&world.target.bootstrap(), TOPIC, &small[0].to_string()]);
    let mut producer = Process::converse("steady.py", &mut python, &world.target.folder().join("steady.log"));
    let mut acknowledged = |word: &str| producer.ask(word, PATIENCE).parse::<u64>().expect("a number");
    eventually("a full disk", || described(&mut client, &world.small).error_code, |code| *code == STORAGE);
    let before = acknowledged("small");
    eventually(
        "leaders",
        || leaders(&mut client),
        |leaders| small.iter().all(|p| leaders[*p as usize].1 == -1),
    );
    for group in &lost {
        eventually(
            "a lost coordinator",
            || commit(&mut client, group, 8),
            |code| *code == ErrorCode::NotCoordinator.code(),
        );
    }
    kept.iter().for_each(|group| assert_eq!(commit(&mut client, group, 8), 0, "{group}"));
    // It is tried again and again, and stays where it is while the disk is full.
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(described(&mut client, &world.small).error_code, STORAGE);
    world.free_space();
    eventually("its return", || described(&mut client, &world.small).error_code, |code| *code == 0);
    eventually("leaders", || leaders(&mut client), |leaders| leaders.iter().all(|l| *l == (0, 1, vec![])));
    eventually("acknowledgements", || acknowledged("?"), |now| *now > before + 100);
    for group in &lost {
        eventually("its coordinator", || committed(&mut client, group), |found| *found == (0, 7));
        assert_eq!(commit(&mut client, group, 9), 0, "{group}");
    }
    let ended: serde_json::Value =
        serde_json::from_str(&producer.ask("end", 4 * PATIENCE)).expect("what the producer says");
    let count = ended["acknowledged"].as_i64().expect("a number");
    assert_eq!(ended, serde_json::json!({"acknowledged": count, "in_order": true, "failed": [], "left": 0}));
    let mut ends = vec![0; PARTITIONS as usize];
    ends[small[0] as usize] = count;
    check_back(&mut client, &world.small, &small, &ends);
    let log = std::fs::read_to_string(world.target.folder().join("broker.log")).expect("its log");
    assert_eq!(log.matches("a log directory has failed").count(), 1, "{log}");
    assert_eq!(log.matches("a log directory is back").count(), 1, "{log}");
}

#[test]
fn a_node_whose_last_log_directory_is_full_ends() {
    let Some(mut world) = World::with("{small}", &[]) else { return };
    let mut client = world.client();
    create(&mut client);
    let refused = (0..1000).find_map(|number| match try_produce(&mut client, 0, number) {
        Some((0, _)) => None,
        refused => Some(refused),
    });
    let refused = refused.expect("the disk gets full");
    assert!([None, Some((STORAGE, -1))].contains(&refused), "{refused:?}");
    assert_eq!(world.target.ended(PATIENCE).expect("it ends").code(), Some(13));
    let log = std::fs::read_to_string(world.target.folder().join("broker.log")).expect("its log");
    assert!(log.contains("the last log directory has failed"), "{log}");
}

#[test]
fn a_directory_that_cannot_be_opened_is_offline_and_the_other_serves() {
    let folder = tempfile::Builder::new().prefix("dohle-log-dirs-").tempdir().expect("a folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let dirs = format!("{},{}", first.display(), second.display());
    let metrics = format!("127.0.0.1:{}", free_port());
    let settings = [("log.dirs", dirs.as_str()), ("dohle.metrics.listener", &metrics)];
    let mut target = Target::with(Given::ByFile, &settings);
    let open = |target: &Target| Connection::open(target.bootstrap().parse().expect("an address"));
    create(&mut open(&target));
    let mut ends = write_one_each(&mut open(&target));
    let there = partitions_in(&second);
    assert_eq!(there.len(), 2, "{there:?}");
    target.stop();
    let meta = second.join("meta.properties");
    let good = std::fs::read(&meta).expect("formatted");
    std::fs::write(&meta, "version=1\nnode.id=x\n").expect("writable");
    target.restart();
    check_lost(&mut open(&target), &second, &there, &mut ends);
    let health = get(&metrics, "/healthz");
    let why = format!(
        r#""status":"degraded","why":{{"log directories":"the log directory {} is offline"#,
        second.display()
    );
    assert!(health.starts_with("HTTP/1.1 200") && health.contains(&why), "{health}");
    assert_eq!(std::fs::read(&meta).expect("there"), b"version=1\nnode.id=x\n", "it stays as it is");
    target.stop();
    std::fs::write(&meta, good).expect("writable");
    target.restart();
    check_back(&mut open(&target), &second, &there, &ends);
    assert!(get(&metrics, "/healthz").ends_with(r#"{"status":"ready","why":{}}"#));
}

#[test]
fn a_node_that_loses_the_directory_of_its_metadata_ends() {
    let folder = tempfile::Builder::new().prefix("dohle-log-dirs-").tempdir().expect("a folder");
    let dir = folder.path().join("only");
    let mut target = Target::with(Given::ByFile, &[("log.dirs", dir.to_str().expect("UTF-8"))]);
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = Connection::open(at);
    create(&mut client);
    // As Kafka's own tests take a directory away.
    std::fs::rename(&dir, folder.path().join("away")).expect("renamed");
    std::fs::write(&dir, "").expect("a file in its place");
    let (code, _) = produce(&mut client, 0, 0);
    assert!([0, STORAGE].contains(&code), "{code}");
    assert_eq!(target.ended(PATIENCE).expect("it ends").code(), Some(13));
    let log = std::fs::read_to_string(target.folder().join("broker.log")).expect("its log");
    assert!(log.contains("the log directory that holds the metadata has failed"), "{log}");
}
