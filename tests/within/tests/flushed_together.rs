//! Many new partitions share the flush of the file system, and so do many logs that are closed. Where that fails each is flushed for itself.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::time::{Duration, Instant};

use bytes::Bytes;
use dohle_env::disk::{Asked, SimDisk};
use dohle_records::{BatchBuilder, Compression};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;
use dohle_tests_within::{Node, Tap};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};
use dohle_wire::RecordBytes;
use dohle_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

const IN_TIME: Duration = Duration::from_secs(30);
/// On each of two cores more than are closed for themselves.
const PARTITIONS: i32 = 400;
/// A core has about half of them, and hands over the flushes of its own in one go; those of the other core may come one by one.
const APART: usize = PARTITIONS as usize * 2 / 3;

/// A record for each partition, in one request, as a producer sends them.
fn one_each(client: &mut Connection, topic: &str) {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(TimestampMs(1_700_000_000_000), None, Some(&0i64.to_be_bytes()), &[]);
    let batch = Bytes::from(builder.build(Offset(0), LeaderEpoch(-1)).to_vec());
    let of = |index| PartitionProduceData {
        index,
        records: Some(RecordBytes::from(batch.clone())),
        ..Default::default()
    };
    let partition_data = (0..PARTITIONS).map(of).collect();
    let topic = TopicProduceData { name: topic.into(), partition_data, ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 9000, topic_data: vec![topic], ..Default::default() };
    let answer = client.ask(&request, 9).expect("an answer");
    let stored = answer.responses[0].partition_responses.iter();
    assert_eq!(stored.filter(|one| (one.error_code, one.base_offset) == (0, 0)).count(), PARTITIONS as usize);
}

/// A topic whose partitions are all open, so that what is produced reaches them at once.
fn created(client: &mut Connection, topic: &str) {
    numbered::create(client, topic, PARTITIONS);
    for partition in 0..PARTITIONS {
        let until = Instant::now() + IN_TIME;
        while numbered::fetch(client, topic, partition, 0) != (0, Vec::new()) {
            assert!(Instant::now() < until, "{topic}-{partition} is not led");
        }
    }
}

fn all_are_there(client: &mut Connection, topic: &str) {
    for partition in [0, PARTITIONS / 2, PARTITIONS - 1] {
        assert_eq!(numbered::fetch(client, topic, partition, 0), (0, vec![0]), "{topic}-{partition}");
    }
}

#[test]
fn many_that_are_new_or_closed_share_a_flush() {
    let (disk, tap) = (SimDisk::new(1), Tap::default());
    let node = Node::start(&disk, &[], &tap);
    let mut client = Connection::open(node.address);
    created(&mut client, "shared");
    tap.forget();
    one_each(&mut client, "shared");
    let (whole, each) = (tap.take_count(Asked::FlushAll), tap.take_count(Asked::FlushFolder));
    // Those that came first were done at once, as long as they were few.
    assert!(whole > 0 && each <= APART, "{whole} flushes of all, {each} of folders");
    assert!(node.stop());
    let (whole, each) = (tap.take_count(Asked::FlushAll), tap.take_count(Asked::FlushFolder));
    assert!(whole > 0 && each <= APART, "{whole} flushes of all, {each} of folders");
    let node = Node::start(&disk, &[], &tap);
    all_are_there(&mut Connection::open(node.address), "shared");
    assert!(node.stop());
}

#[test]
fn where_that_fails_each_is_flushed_for_itself() {
    let (disk, tap) = (SimDisk::new(1), Tap::default());
    let node = Node::start(&disk, &[], &tap);
    let mut client = Connection::open(node.address);
    created(&mut client, "each");
    tap.refuse(Asked::FlushAll);
    tap.forget();
    one_each(&mut client, "each");
    let (whole, each) = (tap.take_count(Asked::FlushAll), tap.take_count(Asked::FlushFolder));
    assert_eq!(whole, 1, "it is not tried again");
    assert!(each >= PARTITIONS as usize, "{each} flushes of folders");
    assert!(node.stop(), "and so are those that are closed");
    assert_eq!(tap.take_count(Asked::FlushAll), 0);
    let node = Node::start(&disk, &[], &Tap::default());
    all_are_there(&mut Connection::open(node.address), "each");
    assert!(node.stop());
}
