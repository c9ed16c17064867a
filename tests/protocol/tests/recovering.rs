//! A kill, and what follows: whoever comes is served at once, all other logs are recovered in the background, and a stop after that is a
//! clean one.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dohle_records::{BatchBuilder, Compression};
use dohle_tests_clients::target::{Given, Target, free_port};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::door::get;
use dohle_types::{LeaderEpoch, Offset, TimestampMs};
use dohle_wire::RecordBytes;
use dohle_wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use dohle_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

const TOPIC: &str = "recovering";
const PARTITIONS: i32 = 200;
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn after_a_kill_everything_is_recovered_and_a_stop_is_clean() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let settings = [("dohle.metrics.listener", &*metrics), ("num.recovery.threads.per.data.dir", "1")];
    let mut target = Target::with(Given::ByFlags, &settings);
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let topic = CreatableTopic {
        name: TOPIC.into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let mut client = Connection::open(at);
    assert_eq!(client.ask(&request, 4).expect("an answer").topics[0].error_code, 0);
    assert_eq!(write(&mut client, 0..PARTITIONS), vec![0; PARTITIONS as usize]);
    target.kill();
    target.restart();
    // That it counts down is shown by `crates/log/tests/verifying.rs`.
    assert!(threads(&metrics).contains(&"0".to_owned()));
    // The last one's turn has not come yet.
    let mut client = Connection::open(at);
    assert_eq!(write(&mut client, PARTITIONS - 1..PARTITIONS), [1]);
    let until = Instant::now() + RECOVERED_WITHIN;
    while left(&metrics) > 0 {
        assert!(Instant::now() < until, "{} logs are left", left(&metrics));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(get(&metrics, "/healthz").ends_with(r#"{"status":"ready","why":{}}"#));
    target.stop();
    assert!(target.log_dir().join(".kafka_cleanshutdown").exists(), "every log was recovered");
    target.restart();
    let mut client = Connection::open(at);
    let mut expected = vec![1; PARTITIONS as usize];
    expected[PARTITIONS as usize - 1] = 2;
    assert_eq!(write(&mut client, 0..PARTITIONS), expected);
    assert_eq!(left(&metrics), 0);
}

/// Writes one record to each of the partitions, in one request. Gives their offsets.
fn write(client: &mut Connection, partitions: std::ops::Range<i32>) -> Vec<i64> {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(TimestampMs(1_700_000_000_000), None, Some(b"value"), &[]);
    let records = Bytes::from(builder.build(Offset(0), LeaderEpoch(-1)).to_vec());
    let data = |index| PartitionProduceData {
        index,
        records: Some(RecordBytes::from(records.clone())),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: TOPIC.into(),
        partition_data: partitions.map(data).collect(),
        ..Default::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let response = client.ask(&request, 9).expect("an answer");
    let mut answers = response.responses[0].partition_responses.clone();
    answers.sort_by_key(|answer| answer.index);
    assert!(answers.iter().all(|answer| answer.error_code == 0), "{answers:?}");
    answers.into_iter().map(|answer| answer.base_offset).collect()
}

/// The numbers of the recoveries whose segments are told of.
fn threads(metrics: &str) -> Vec<String> {
    let text = get(metrics, "/metrics");
    let lines =
        text.lines().filter(|line| line.starts_with("kafka_log_logmanager_remainingsegmentstorecover{dir="));
    let number = |line: &str| line.split("threadNum=\"").nth(1)?.split('"').next().map(str::to_owned);
    lines.filter_map(number).collect()
}

/// How many logs are still to be recovered, as Kafka's dashboards see it.
fn left(metrics: &str) -> u64 {
    let text = get(metrics, "/metrics");
    let line = text.lines().find(|line| line.starts_with("kafka_log_logmanager_remaininglogstorecover{dir="));
    let number = line.and_then(|line| line.rsplit(' ').next()).expect("the number of logs");
    number.trim_end_matches(".0").parse().expect("a number")
}
