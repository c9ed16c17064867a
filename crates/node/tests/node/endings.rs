//! Every reason to end: its number, its sentence, and that nothing is damaged by it.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::program::{Data, Ended, Node, program, run};

fn start(data: &Data, more: &[&str]) -> Ended {
    let data = data.text();
    let mut arguments = vec!["start", "--data", &data, "--set", "dohle.metrics.listener="];
    if !more.contains(&"--listen") && !more.iter().any(|argument| argument.starts_with("listeners=")) {
        arguments.extend(["--listen", "127.0.0.1:0"]);
    }
    arguments.extend(more);
    run(&arguments)
}

/// Makes a node's folder by a start and a stop.
fn formatted() -> Data {
    let data = Data::new();
    assert_eq!(Node::start(&data, &[]).stop().code, Some(0));
    data
}

#[test]
fn a_command_line_that_is_not_understood_is_2() {
    assert_eq!(run(&["start", "--nonsense"]).code, Some(2));
    assert_eq!(run(&["start", "--set", "novalue"]).code, Some(2));
}

#[test]
fn a_bad_configuration_is_3() {
    let data = Data::new();
    start(&data, &["--set", "num.partitions=abc"])
        .expect(3, &["num.partitions", "\"abc\"", "a whole number of at least 1"]);
    start(&data, &["--set", "log.roll.ms=0"]).expect(3, &["log.roll.ms", "0", "at least 1"]);
    start(&data, &["--set", "dohle.log.level=loud"])
        .expect(3, &["dohle.log.level", "\"loud\"", "error, warn, info"]);
    start(&data, &["--config", "/nowhere/server.properties"])
        .expect(3, &["/nowhere/server.properties", "does not exist"]);
    let file = data.write("broken.properties", "a=\\u12");
    start(&data, &["--config", &file]).expect(3, &["broken.properties", "line 1", "\\u12"]);
    let mut command = program(&["start", "--data", &data.text()]);
    let ended =
        Ended::of(command.env("DOHLE_MIN_INSYNC_REPLICAS", "0").output().expect("the program starts"));
    ended.expect(3, &["min.insync.replicas", "\"0\"", "DOHLE_MIN_INSYNC_REPLICAS"]);
    assert!(!data.path().exists());
}

#[test]
fn a_taken_port_is_4_and_nothing_is_written() {
    let data = Data::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    start(&data, &["--listen", &address]).expect(4, &[&address, "in use by another process", "--listen"]);
    assert!(!data.path().exists());
    start(&data, &["--listen", "192.0.2.1:9092"])
        .expect(4, &["192.0.2.1:9092", "not an address of this machine"]);
    let metrics = format!("dohle.metrics.listener={address}");
    start(&data, &["--set", &metrics]).expect(4, &["dohle.metrics.listener", &address]);
    assert!(!data.path().exists());
}

#[test]
fn a_folder_that_may_not_be_written_is_5() {
    let ended = run(&[
        "start",
        "--data",
        "/sys/dohle",
        "--listen",
        "127.0.0.1:0",
        "--set",
        "dohle.metrics.listener=",
    ]);
    ended.expect(5, &["/sys/dohle", "failed"]);
}

#[test]
fn a_folder_in_use_is_6() {
    let data = Data::new();
    let node = Node::start(&data, &[]);
    start(&data, &[]).expect(6, &[&data.text(), "in use by another process"]);
    assert_eq!(node.stop().code, Some(0));
}

#[test]
fn a_full_disk_is_7() {
    let data = Data::new();
    fs::create_dir(data.path()).expect("a folder");
    // A disk of one page, mounted where only this program sees it.
    let script = format!(
        "mount -t tmpfs -o size=4k,nr_inodes=64 tmpfs {data} && exec {dohle} start --data {data}/d --listen 127.0.0.1:0 \
         --set dohle.metrics.listener=",
        data = data.text(),
        dohle = env!("CARGO_BIN_EXE_dohle")
    );
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .output();
    match output.map(Ended::of) {
        Ok(ended) if !ended.stderr.contains("unshare:") && !ended.stderr.contains("mount:") => {
            ended.expect(7, &["the disk is full"]);
        }
        // A machine where nobody may mount: there is no small disk to be had.
        other => println!("skipped: {other:?}"),
    }
}

#[test]
fn a_clock_that_is_far_off_is_8() {
    let data = formatted();
    let log = data.path().join("__cluster_metadata-0/00000000000000000000.log");
    let before = fs::read(&log).expect("the metadata log");
    let file = fs::File::options().write(true).open(&log).expect("the metadata log");
    let future = SystemTime::now() + Duration::from_secs(7 * 24 * 3600);
    file.set_modified(future).expect("its time can be set");
    drop(file);
    start(&data, &[]).expect(8, &["the clock says", "UTC", "last written", "set the clock right"]);
    assert_eq!(fs::read(&log).expect("the metadata log"), before);
}

#[test]
fn damaged_metadata_is_9_and_stays_as_it_is() {
    let data = formatted();
    let meta = data.path().join("meta.properties");
    let good = fs::read(&meta).expect("formatted");
    fs::write(&meta, "version=1\nnode.id=x\ncluster.id=c\n").expect("writable");
    start(&data, &[]).expect(9, &["meta.properties", "node.id"]);
    assert_eq!(fs::read_to_string(&meta).expect("there"), "version=1\nnode.id=x\ncluster.id=c\n");
    fs::write(&meta, good).expect("writable");
    let quorum = data.path().join("__cluster_metadata-0/quorum-state");
    fs::write(&quorum, "{nonsense").expect("writable");
    start(&data, &[]).expect(9, &["quorum-state"]);
    assert_eq!(fs::read_to_string(&quorum).expect("there"), "{nonsense");
}

#[test]
fn folders_of_another_node_or_cluster_are_10() {
    let data = formatted();
    start(&data, &["--set", "node.id=2"]).expect(10, &["belongs to node 1, not 2"]);
    start(&data, &["--cluster-id", "AAAAAAAAAAAAAAAAAAAAAw"])
        .expect(10, &["belongs to cluster", "AAAAAAAAAAAAAAAAAAAAAw"]);
    assert_eq!(Node::start(&data, &[]).stop().code, Some(0));
}

#[test]
fn what_this_version_does_not_do_is_11() {
    let data = Data::new();
    let tls = ["--set", "listeners=SSL://127.0.0.1:0", "--set", "inter.broker.listener.name=SSL"];
    start(&data, &tls).expect(11, &["SSL://127.0.0.1:0", "only serves PLAINTEXT"]);
    start(&data, &["--set", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"])
        .expect(11, &["authorizer.class.name", "StandardAuthorizer"]);
    assert!(!data.path().exists());
}

#[test]
fn a_second_signal_forces_and_is_12() {
    let data = Data::new();
    let node = Node::start(&data, &[]);
    // Both are there when it comes to look.
    node.signal(Signal::STOP);
    node.signal(Signal::TERM);
    node.signal(Signal::INT);
    node.signal(Signal::CONT);
    node.end().expect(12, &["stop at once", "recovers"]);
    assert!(!data.path().join(".kafka_cleanshutdown").exists());
    assert_eq!(Node::start(&data, &[]).stop().code, Some(0));
}
