//! Groups as the dashboards of Kafka show them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dohle_wire::messages as m;
use dohle_wire::{Message, Reader, Request, Writer, encode_request_header};
use m::create_topics_request::CreatableTopic;
use m::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};

use crate::program::{Data, Node};

const PATIENCE: Duration = Duration::from_secs(10);

fn ask<R: Request>(socket: &mut TcpStream, request: &R, version: i16) -> R::Response {
    let mut frame = Writer::new();
    encode_request_header(&mut frame, R::KEY, version, 1, Some("t".into())).expect("a header");
    request.encode(&mut frame, version).expect("a request");
    let frame = frame.into_bytes();
    let length = i32::try_from(frame.len()).expect("short");
    socket.write_all(&[&length.to_be_bytes()[..], &frame].concat()).expect("it is read");
    let mut length = [0; 4];
    socket.read_exact(&mut length).expect("it answers");
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
    socket.read_exact(&mut answer).expect("it answers");
    let mut reader = Reader::new(answer.into());
    m::ResponseHeader::decode(&mut reader, R::KEY.response_header_version(version)).expect("a header");
    R::Response::decode(&mut reader, version).expect("an answer")
}

fn coordinated(socket: &mut TcpStream, group: &str) {
    let request = m::FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
    let start = Instant::now();
    while ask(socket, &request, 4).coordinators[0].error_code != 0 {
        assert!(start.elapsed() < PATIENCE, "there is no coordinator");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn groups_and_offsets_are_in_the_metrics() {
    let data = Data::new();
    let node = Node::start(&data, &[]);
    let socket = &mut TcpStream::connect(node.address()).expect("it listens");
    let topic = CreatableTopic {
        name: "read".into(),
        num_partitions: 2,
        replication_factor: 1,
        ..Default::default()
    };
    let created = m::CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(ask(socket, &created, 7).topics[0].error_code, 0);
    coordinated(socket, "g");
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 1,
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: "read".into(),
        partitions: vec![partition(0), partition(1)],
        ..Default::default()
    };
    let commit = m::OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    assert_eq!(ask(socket, &commit, 8).topics[0].partitions[0].error_code, 0);
    let metrics = node.get("/metrics");
    for line in [
        "kafka_coordinator_group_groupmetadatamanager_numgroups 1.0",
        "kafka_coordinator_group_groupmetadatamanager_numgroupsempty 1.0",
        "kafka_coordinator_group_groupmetadatamanager_numoffsets 2.0",
        "kafka_server_group_coordinator_metrics_group_count{protocol=\"classic\"} 1.0",
        "kafka_server_group_coordinator_metrics_group_count{protocol=\"consumer\"} 0.0",
        "kafka_server_group_coordinator_metrics_consumer_group_count{state=\"Stable\"} 0.0",
        "kafka_server_group_coordinator_metrics_offset_commit_count 2.0",
        "kafka_server_group_coordinator_metrics_num_partitions{state=\"active\"} 1.0",
        "kafka_server_group_coordinator_metrics_num_partitions{state=\"loading\"} 0.0",
        "kafka_server_group_coordinator_metrics_event_queue_size 0.0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    every_bean_is_shown(&metrics);
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}")).parse().expect("a number")
    };
    for time in ["event_queue", "event_processing", "event_purgatory", "batch_linger", "batch_flush"] {
        value(&format!("kafka_server_group_coordinator_metrics_{time}_time_ms_p99"));
    }
    // The commit was flushed, and its answer waited for that.
    assert!(value("kafka_server_group_coordinator_metrics_batch_flush_time_ms_max") > 0.0);
    assert!(value("kafka_server_group_coordinator_metrics_event_purgatory_time_ms_max") > 0.0);
    assert!(value("kafka_server_group_coordinator_metrics_partition_load_time_max") > 0.0);
}

/// What Kafka shows of its coordinator is shown here, or there is a reason; and nothing is shown under a name of Kafka's that Kafka
/// does not have.
fn every_bean_is_shown(metrics: &str) {
    let beans = include_str!("group_coordinator_beans.tsv").lines().filter(|line| !line.starts_with('#'));
    let shown = |series: &str| {
        metrics.lines().any(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))
    };
    let mut names = Vec::new();
    for bean in beans {
        let (bean, ours) = bean.split_once('\t').expect("a bean and what shows it");
        match ours.strip_prefix('-') {
            Some(reason) => assert!(!reason.is_empty(), "{bean} is left out without a reason"),
            None => assert!(shown(ours), "{bean} should be {ours}, which is not in\n{metrics}"),
        }
        names.push(ours);
    }
    assert!(names.len() > 80, "the table of beans is read");
    let of_coordinator = ["kafka_coordinator_group_", "kafka_server_group_coordinator_metrics_"];
    for line in metrics.lines().filter(|line| of_coordinator.iter().any(|prefix| line.starts_with(prefix))) {
        let (series, _) = line.rsplit_once(' ').expect("a name and a number");
        assert!(names.contains(&series), "{series} is no bean of Kafka's");
    }
}
