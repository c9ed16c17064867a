//! Sockets that mean harm, or are merely broken. After each the broker answers a new client within a second; in the end its memory
//! is about what it was.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

mod groups;
mod members;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dohle_records::{BatchBuilder, Compression};
use dohle_tests_clients::target::{Given, Target};
use dohle_tests_protocol::connection::{Connection, head};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};
use dohle_wire::RecordBytes;
use dohle_wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use dohle_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use dohle_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use dohle_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

/// How many attacks there are.
const ATTACKS: usize = 18;
/// How long a new client may wait for its answer after an attack, and during one.
const SERVED_WITHIN: Duration = Duration::from_secs(1);
/// What is kept of requests under way.
const REQUEST_BUDGET: u64 = 128 << 20;
/// What the broker may take above its budget: its code, its connections, what the allocator keeps.
const ABOVE_BUDGET: u64 = 64 << 20;
/// What may stay after all of it.
const LEFT_BEHIND: u64 = 96 << 20;
const TOPIC: &str = "hostile";

type Attack = fn(&Broker);

struct Broker {
    target: Target,
    at: SocketAddr,
    pid: String,
}

impl Broker {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(more: &[(&str, &str)]) -> Self {
        let budget = REQUEST_BUDGET.to_string();
        let settings = [
            ("dohle.memory.request.bytes", budget.as_str()),
            ("max.connections", "5000"),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        let target = Target::with(Given::ByFlags, &[&settings, more].concat());
        let at = target.bootstrap().parse().expect("an address");
        let pid = process_with(target.folder());
        let broker = Self { target, at, pid };
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = broker.client().ask(&request, 4).expect("an answer");
        assert_eq!(response.topics[0].error_code, 0);
        broker
    }

    fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.at).expect("a connection");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        socket
    }

    fn client(&self) -> Connection {
        Connection::open(self.at)
    }

    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the broker lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the resident size");
        line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
    }

    /// A client that does nothing wrong is answered in time, and its record is stored.
    #[track_caller]
    fn serves(&self, when: &str) {
        let began = Instant::now();
        let mut client = self.client();
        let topic = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
        let metadata = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        assert_eq!(client.ask(&metadata, 9).expect("an answer").topics[0].error_code, 0, "{when}");
        let response = client.ask(&produce(10, -1), 9).expect("an answer");
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "{when}");
        let took = began.elapsed();
        assert!(took < SERVED_WITHIN, "{when}: a good client waited {took:?}");
    }
}

/// The process whose arguments name a folder.
fn process_with(folder: &Path) -> String {
    let folder = folder.to_str().expect("a folder");
    for entry in std::fs::read_dir("/proc").expect("/proc") {
        let entry = entry.expect("an entry");
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        if arguments.contains(folder) && arguments.contains("\0start\0") {
            return entry.file_name().to_string_lossy().into_owned();
        }
    }
    panic!("no process serves {folder}")
}

fn produce(bytes: usize, acks: i16) -> ProduceRequest {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(TimestampMs(1_700_000_000_000), None, Some(&vec![7; bytes]), &[]);
    let records = Bytes::from(builder.build(Offset(0), LeaderEpoch(-1)).to_vec());
    let data =
        PartitionProduceData { index: 0, records: Some(RecordBytes::from(records)), ..Default::default() };
    let topic = TopicProduceData { name: TOPIC.into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() }
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(frame.len()).expect("a frame").to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    bytes
}

/// Whether the broker ends the connection, whatever it says before.
fn is_closed(socket: &mut TcpStream) -> bool {
    let mut sink = [0; 4096];
    loop {
        match socket.read(&mut sink) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return false;
            }
            Err(_) => return true,
        }
    }
}

fn closes_after(broker: &Broker, bytes: &[u8]) {
    let mut socket = broker.socket();
    let _ = socket.write_all(bytes);
    assert!(
        is_closed(&mut socket),
        "a connection that said {:?}.. stays open",
        &bytes[..bytes.len().min(16)]
    );
}

fn lengths_that_are_none(broker: &Broker) {
    for length in [-1i32, i32::MIN, (100 << 20) + 1, i32::MAX] {
        closes_after(broker, &length.to_be_bytes());
    }
    closes_after(broker, &0i32.to_be_bytes());
}

fn lengths_below_a_header(broker: &Broker) {
    for length in 1..8u8 {
        closes_after(broker, &framed(&vec![0; usize::from(length)]));
    }
}

fn claims_of_300(broker: &Broker) {
    let before = broker.memory();
    let sockets: Vec<_> = (0..300)
        .map(|_| {
            let mut socket = broker.socket();
            let mut bytes = (100i32 << 20).to_be_bytes().to_vec();
            bytes.extend(head(0, 9, 1));
            socket.write_all(&bytes).expect("a claim");
            socket
        })
        .collect();
    broker.serves("while 300 connections claim 100 MiB each");
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "claims alone cost {} KiB", grown >> 10);
    drop(sockets);
}

/// 300 frames of which a megabyte arrives, more than the budget in all.
fn halves_of_300(broker: &Broker) {
    let megabyte = vec![0u8; 1 << 20];
    let sockets: Vec<_> = (0..300)
        .map(|_| {
            let mut socket = broker.socket();
            socket.set_write_timeout(Some(Duration::from_millis(20))).expect("a timeout");
            let mut bytes = (100i32 << 20).to_be_bytes().to_vec();
            bytes.extend(head(0, 9, 1));
            let _ = socket.write_all(&bytes);
            let _ = socket.write_all(&megabyte);
            socket
        })
        .collect();
    broker.serves("while 300 connections hold half a frame each");
    let memory = broker.memory();
    assert!(
        memory < REQUEST_BUDGET + ABOVE_BUDGET,
        "{} MiB with a budget of {} MiB",
        memory >> 20,
        REQUEST_BUDGET >> 20
    );
    drop(sockets);
}

fn slow_bytes(broker: &Broker) {
    let mut socket = broker.socket();
    let mut frame = head(18, 0, 77);
    frame = framed(&frame);
    for byte in frame {
        socket.write_all(&[byte]).expect("a byte");
        std::thread::sleep(Duration::from_millis(15));
    }
    let mut answer = [0; 8];
    socket.read_exact(&mut answer).expect("an answer to slow bytes");
    assert_eq!(answer[4..], 77i32.to_be_bytes());
}

fn garbage(broker: &Broker) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..50 {
        let mut bytes = Vec::with_capacity(1000);
        for _ in 0..1000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.push((state >> 56) as u8);
        }
        // A length that fits, so that the garbage is read as a request.
        closes_after(broker, &framed(&bytes));
    }
}

fn http(broker: &Broker) {
    closes_after(broker, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    closes_after(broker, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage of a TLS hello");
}

fn ten_thousand_in_one_write(broker: &Broker) {
    let mut bytes = Vec::new();
    for id in 0..10_000 {
        bytes.extend(framed(&head(18, 0, id)));
    }
    let socket = broker.socket();
    let mut writing = socket.try_clone().expect("a clone");
    let writer = std::thread::spawn(move || writing.write_all(&bytes));
    let mut reading = std::io::BufReader::new(socket);
    for id in 0..10_000i32 {
        let mut length = [0; 4];
        reading.read_exact(&mut length).unwrap_or_else(|e| panic!("answer {id}: {e}"));
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        reading.read_exact(&mut frame).expect("an answer");
        assert_eq!(frame[..4], id.to_be_bytes(), "answers come in order");
    }
    writer.join().expect("the writer").expect("all is written");
}

fn pipelined_produce(broker: &Broker) {
    let mut client = broker.client();
    let mut expected = Vec::new();
    let mut bytes = Vec::new();
    for n in 1..=2000i32 {
        let acks = [1, 0, -1][n as usize % 3];
        let frame = client.frame(&produce(50, acks), 9).expect("a request");
        bytes.extend(framed(&frame));
        if acks != 0 {
            expected.push(n);
        }
    }
    let mut writing = client.socket.try_clone().expect("a clone");
    let writer = std::thread::spawn(move || writing.write_all(&bytes));
    for id in expected {
        let frame = client.receive().expect("an answer");
        assert_eq!(frame[..4], id.to_be_bytes(), "answers come in order");
    }
    writer.join().expect("the writer").expect("all is written");
}

fn half_closed(broker: &Broker) {
    let mut socket = broker.socket();
    socket.write_all(&framed(&head(18, 0, 5))).expect("a request");
    socket.shutdown(Shutdown::Write).expect("half of it closes");
    // Kafka, too, may drop the answer; what matters is that the connection ends.
    assert!(is_closed(&mut socket));
    let mut socket = broker.socket();
    socket.write_all(&framed(&head(18, 0, 5))[..7]).expect("a piece");
    socket.shutdown(Shutdown::Write).expect("half of it closes");
    assert!(is_closed(&mut socket));
}

/// Clients that ask for much and read nothing.
fn never_reads(broker: &Broker) {
    let mut filler = broker.client();
    for _ in 0..20 {
        assert!(filler.ask(&produce(900_000, -1), 9).is_some());
    }
    let before = broker.memory();
    let partition = FetchPartition {
        partition: 0,
        partition_max_bytes: 50 << 20,
        fetch_offset: 0,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        ..Default::default()
    };
    let topic = FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let fetch = FetchRequest {
        replica_id: -1,
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut client = broker.client();
        client.socket.set_nonblocking(true).expect("not blocking");
        for _ in 0..200 {
            let frame = client.frame(&fetch, 11).expect("a request");
            client.send(&frame);
        }
        deaf.push(client);
    }
    std::thread::sleep(Duration::from_millis(1500));
    broker.serves("while 20 clients do not read");
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 512 << 20, "20 deaf clients cost {} MiB", grown >> 20);
    drop(deaf);
}

fn never_reads_small_answers(broker: &Broker) {
    let before = broker.memory();
    let mut socket = broker.socket();
    socket.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let some: Vec<u8> = (0..1000).flat_map(|id| framed(&head(18, 0, id))).collect();
    // Ends when the broker stops reading from one who does not read.
    let mut sent = 0;
    while sent < 2000 && socket.write_all(&some).is_ok() {
        sent += 1;
    }
    assert!(sent < 2000, "the broker reads on from a client that never reads");
    broker.serves("while a client does not read");
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "a deaf client costs {} MiB", grown >> 20);
}

fn unknown_keys(broker: &Broker) {
    for (key, version) in
        [(4, 0), (7, 0), (-1, 0), (999, 0), (i16::MAX, 0), (0, 99), (1, -1), (3, 99), (56, 3)]
    {
        closes_after(broker, &framed(&head(key, version, 1)));
    }
}

fn huge_counts(broker: &Broker) {
    let before = broker.memory();
    for (key, version) in [(0, 8), (1, 11), (2, 5), (3, 8), (19, 4), (32, 3), (37, 1), (21, 1), (23, 3)] {
        for count in [i32::MAX, 1 << 24] {
            let mut frame = head(key, version, 1);
            frame.extend(count.to_be_bytes());
            frame.extend(count.to_be_bytes());
            frame.extend(count.to_be_bytes());
            closes_after(broker, &framed(&frame));
        }
    }
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "counts alone cost {} KiB", grown >> 10);
}

fn flood(broker: &Broker) {
    let mut sockets = Vec::new();
    for _ in 0..2000 {
        sockets.push(broker.socket());
    }
    broker.serves("with 2,000 idle connections");
    drop(sockets);
}

fn flood_of_resets(broker: &Broker) {
    for _ in 0..2000 {
        let mut socket = broker.socket();
        let _ = socket.write_all(&framed(&head(18, 0, 1)));
        // Closed with an answer not read: a reset.
        drop(socket);
    }
}

fn many_waiting_fetches(broker: &Broker) {
    let partition = FetchPartition {
        partition: 0,
        partition_max_bytes: 1,
        fetch_offset: 0,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        ..Default::default()
    };
    let topic = FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let fetch = FetchRequest {
        replica_id: -1,
        max_wait_ms: 60_000,
        min_bytes: i32::MAX,
        max_bytes: 1,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let mut clients = Vec::new();
    for _ in 0..500 {
        let mut client = broker.client();
        let frame = client.frame(&fetch, 11).expect("a request");
        client.send(&frame);
        clients.push(client);
    }
    broker.serves("while 500 fetches wait");
    drop(clients);
}

fn sessions_without_end(broker: &Broker) {
    let before = broker.memory();
    let partitions = (0..1000).map(|n| FetchPartition {
        partition: n,
        partition_max_bytes: 1,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        ..Default::default()
    });
    let topic = FetchTopic { topic: "none".into(), partitions: partitions.collect(), ..Default::default() };
    let fetch = FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1,
        session_epoch: 0,
        topics: vec![topic],
        ..Default::default()
    };
    let mut client = broker.client();
    for _ in 0..2000 {
        assert!(client.ask(&fetch, 11).is_some());
    }
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 128 << 20, "2,000 sessions cost {} MiB", grown >> 20);
}

#[test]
fn the_broker_outlives_them_all() {
    let broker = Broker::start();
    broker.serves("at the start");
    let start = broker.memory();
    let attacks: &[(&str, Attack)] = &[
        ("lengths that are none", lengths_that_are_none),
        ("lengths below a header", lengths_below_a_header),
        ("claims of 300", claims_of_300),
        ("halves of 300", halves_of_300),
        ("slow bytes", slow_bytes),
        ("garbage", garbage),
        ("http", http),
        ("ten thousand in one write", ten_thousand_in_one_write),
        ("pipelined produce", pipelined_produce),
        ("half closed", half_closed),
        ("never reads", never_reads),
        ("never reads small answers", never_reads_small_answers),
        ("unknown keys", unknown_keys),
        ("huge counts", huge_counts),
        ("flood", flood),
        ("flood of resets", flood_of_resets),
        ("many waiting fetches", many_waiting_fetches),
        ("sessions without end", sessions_without_end),
    ];
    let mut ran = 0;
    for (name, attack) in attacks {
        let began = Instant::now();
        attack(&broker);
        broker.serves(&format!("after {name}"));
        println!("{name}: {:?}, then {} MiB", began.elapsed(), broker.memory() >> 20);
        ran += 1;
    }
    assert_eq!(ran, ATTACKS);
    let until = Instant::now() + Duration::from_secs(10);
    while broker.memory() > start + LEFT_BEHIND && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(200));
    }
    let end = broker.memory();
    println!("{} MiB at the start, {} MiB in the end", start >> 20, end >> 20);
    assert!(end <= start + LEFT_BEHIND, "{} MiB at the start, {} MiB in the end", start >> 20, end >> 20);
    let log = std::fs::read_to_string(broker.target.folder().join("broker.log")).expect("the broker's log");
    assert!(!log.contains("panicked"), "the broker panicked:\n{log}");
}
