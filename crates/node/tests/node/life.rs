//! A node's life: formatted by its first start, drained by SIGTERM, found again by the next start.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::program::{Data, Node, exists};

#[test]
fn a_first_start_formats_and_a_second_finds_it_again() {
    let data = Data::new();
    let node = Node::start(&data, &[]);
    TcpStream::connect(node.address()).expect("it listens");
    let (cluster, new) = (node.ready["cluster_id"].clone(), node.ready["new"].clone());
    assert_eq!(new, true);
    assert!(!exists(&data.path(), ".kafka_cleanshutdown"));
    let ended = node.stop();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
    assert!(exists(&data.path(), ".kafka_cleanshutdown"));
    let node = Node::start(&data, &[]);
    assert_eq!((&node.ready["cluster_id"], &node.ready["new"]), (&cluster, &false.into()));
    assert_eq!(node.stop().code, Some(0));
}

#[test]
fn localhost_is_both_loopback_addresses() {
    let data = Data::new();
    let node = Node::start(&data, &[]);
    let addresses = node.ready["addresses"].as_str().expect("text");
    assert!(addresses.contains("PLAINTEXT://127.0.0.1:"), "{addresses}");
    let port = node.address().port();
    // A machine may have no IPv6.
    assert_eq!(addresses.contains(&format!("[::1]:{port}")), TcpStream::connect(("::1", port)).is_ok());
}

#[test]
fn a_killed_node_starts_again() {
    let data = Data::new();
    let node = Node::start(&data, &[]);
    let cluster = node.ready["cluster_id"].clone();
    node.signal(Signal::KILL);
    assert_eq!(node.end().code, None);
    let node = Node::start(&data, &[]);
    assert_eq!(node.ready["cluster_id"], cluster);
    assert_eq!(node.stop().code, Some(0));
}

#[test]
fn ctrl_c_stops_cleanly_too() {
    let data = Data::new();
    let node = Node::start(&data, &[]);
    node.signal(Signal::INT);
    assert_eq!(node.end().code, Some(0));
    assert!(exists(&data.path(), ".kafka_cleanshutdown"));
}

#[test]
fn health_and_metrics_are_shown() {
    let data = Data::new();
    let node = Node::start(&data, &[]);
    let health = node.get("/healthz");
    assert!(
        health.starts_with("HTTP/1.1 200") && health.ends_with(r#"{"status":"ready","why":{}}"#),
        "{health}"
    );
    // Metadata, version 1, correlation id 7, client id "t", the topic "none such", whose name is not allowed.
    let mut client = TcpStream::connect(node.address()).expect("it listens");
    client
        .write_all(b"\0\0\0\x1a\0\x03\0\x01\0\0\0\x07\0\x01t\0\0\0\x01\0\x09none such")
        .expect("it is read");
    client.read_exact(&mut [0; 8]).expect("it answers");
    let metrics = node.get("/metrics");
    for line in [
        "kafka_network_requestmetrics_requests_total{request=\"Metadata\"} 1",
        "kafka_network_requestmetrics_errors_total{request=\"Metadata\",error=\"INVALID_TOPIC_EXCEPTION\"} 1",
        "kafka_network_requestmetrics_totaltimems_count{request=\"Metadata\"} 1",
        "kafka_server_replicamanager_partitioncount 0.0",
        "kafka_server_replicamanager_underreplicatedpartitions 0.0",
        "kafka_log_logmanager_offlinelogdirectorycount 0.0",
        "kafka_server_kafkaserver_brokerstate 3.0",
        "kafka_controller_kafkacontroller_activecontrollercount 1.0",
        "kafka_controller_kafkacontroller_activebrokercount 1.0",
        "kafka_server_brokertopicmetrics_messagesin_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.contains("process_resident_memory_bytes"));
}

/// Whoever meant to join a cluster names others; whoever names only itself is one.
#[test]
fn kafkas_quick_start_file_is_a_cluster_of_its_own() {
    let port =
        || std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("bound").port();
    for quorum in ["bootstrap.servers=localhost:", "voters=1@localhost:"] {
        let (data, clients, controllers) = (Data::new(), port(), port());
        let file = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.{quorum}{controllers}\n\
             listeners=PLAINTEXT://:{clients},CONTROLLER://:{controllers}\ninter.broker.listener.name=PLAINTEXT\n\
             advertised.listeners=PLAINTEXT://localhost:{clients},CONTROLLER://localhost:{controllers}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\nnum.partitions=1\n\
             offsets.topic.replication.factor=1\n"
        );
        let file = data.write("server.properties", &file);
        let node = Node::start(&data, &["--config", &file]);
        assert_eq!(node.ready["new"], true);
        for port in [clients, controllers] {
            TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        }
        assert_eq!(node.stop().code, Some(0));
    }
}

#[test]
fn a_file_the_environment_and_flags_are_read_in_this_order() {
    let data = Data::new();
    let file =
        data.write("server.properties", "listeners=PLAINTEXT://127.0.0.1:0\nnum.partition=3\nnode.id=7\n");
    let mut node = Node::start(&data, &["--config", &file, "--set", "node.id=8"]);
    assert_eq!(node.address().ip().to_string(), "127.0.0.1");
    node.signal(Signal::TERM);
    let stopping = node.line("stopping; once more to stop at once");
    assert_eq!(stopping["signal"], "SIGTERM");
    let ended = node.end();
    assert!(
        ended.stderr.contains("num.partition is not a known key and has no effect; num.partitions is one"),
        "{ended:?}"
    );
    let meta = std::fs::read_to_string(data.path().join("meta.properties")).expect("formatted");
    assert!(meta.contains("node.id=8"), "{meta}");
}

#[test]
fn a_folder_of_the_metadata_alone_is_no_place_for_partitions() {
    let data = Data::new();
    let metadata = data.beside("metadata");
    let own = format!("metadata.log.dir={}", metadata.display());
    let node = Node::start(&data, &["--set", &own]);
    assert!(exists(&metadata, "__cluster_metadata-0"));
    assert_eq!(node.stop().code, Some(0));
    // The mark of a clean end is left where partitions can be.
    assert!(exists(&data.path(), ".kafka_cleanshutdown"));
    assert!(!exists(&metadata, ".kafka_cleanshutdown"));
}
