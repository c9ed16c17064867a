//! Fetch, ListOffsets, OffsetForLeaderEpoch.

use bytes::Bytes;
use dohle_records::{BatchBuilder, Compression, parse_batches};
use dohle_tests_protocol::connection::{all_versions, some_versions};
use dohle_tests_protocol::run::Run;
use dohle_types::{LeaderEpoch, Offset, TimestampMs, Uuid};
use dohle_wire::ApiKey;
use dohle_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use dohle_wire::messages::fetch_response::FetchResponse;
use dohle_wire::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use dohle_wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::produce::{TIME, request as produce};
use crate::sessions;

pub const UNKNOWN: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);

pub fn script(run: &mut Run) {
    let id = fill(run);
    fetch_valid(run, id);
    fetch_wrong(run, id);
    run.end("fetch");
    sessions::script(run, id);
    run.end("fetch_sessions");
    list_offsets(run);
    run.end("list_offsets");
    epochs(run);
    run.end("offset_for_leader_epoch");
}

/// Five batches of 1 to 5 records, 15 in all, a hundred milliseconds between batches; and one of ten large ones.
fn fill(run: &mut Run) -> Uuid {
    let id = run.topic("f-one", 2, &[]);
    let large = run.topic("f-large", 1, &[]);
    run.topic("f-empty", 1, &[]);
    for n in 1..=5 {
        let mut builder = BatchBuilder::new(Compression::None);
        for k in 0..n {
            builder.append(TimestampMs(TIME + n * 100 + k), Some(b"k"), Some(&[b'v'; 100]), &[]);
        }
        let records = Bytes::from(builder.build(Offset(0), LeaderEpoch(-1)).to_vec());
        run.ask("fill", 13, &produce("f-one", id, 0, Some(records), -1));
    }
    for _ in 0..10 {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(TimestampMs(TIME), None, Some(&[1; 10_000]), &[]);
        let records = Bytes::from(builder.build(Offset(0), LeaderEpoch(-1)).to_vec());
        run.ask("fill large", 13, &produce("f-large", large, 0, Some(records), -1));
    }
    id
}

pub fn part(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        current_leader_epoch: -1,
        fetch_offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }
}

pub fn topic(name: &str, id: Uuid, partitions: Vec<FetchPartition>) -> FetchTopic {
    FetchTopic { topic: name.into(), topic_id: id, partitions, ..Default::default() }
}

/// Outside of sessions.
pub fn full(topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 50,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_id: 0,
        session_epoch: -1,
        topics,
        ..Default::default()
    }
}

/// What fetched, and the batches that came whole.
pub fn ask(run: &mut Run, name: &str, version: i16, request: &FetchRequest) -> Option<FetchResponse> {
    let mut request = request.clone();
    if version >= 15 {
        // The field is one of the replica's state there, which these requests do not have.
        request.replica_id = -1;
    }
    let response = run.ask(name, version, &request)?;
    let mut lines = Vec::new();
    for topic in &response.responses {
        for partition in &topic.partitions {
            let Some(records) = &partition.records else { continue };
            for batch in parse_batches(records.clone().into_bytes()).map_while(Result::ok) {
                let h = batch.header;
                lines.push(
                    format!(
                        "{}/{}: offset={} records={} epoch={} attributes={} crc={} size={}",
                        topic.topic,
                        partition.partition_index,
                        h.base_offset.get(),
                        h.record_count,
                        h.leader_epoch.get(),
                        h.attributes.0,
                        h.crc,
                        h.size()
                    )
                    .replacen("/", &format!("/{}/", lines.len()), 1),
                );
            }
        }
    }
    run.note(&format!("{name} v{version}, batches"), lines);
    Some(response)
}

pub fn in_some(run: &mut Run, name: &str, request: &FetchRequest) {
    for version in some_versions(ApiKey::Fetch) {
        ask(run, name, version, request);
    }
}

fn fetch_valid(run: &mut Run, id: Uuid) {
    for version in all_versions(ApiKey::Fetch) {
        ask(run, "from the start", version, &full(vec![topic("f-one", id, vec![part(0, 0)])]));
    }
    for offset in [2, 5, 14, 15] {
        in_some(run, &format!("from {offset}"), &full(vec![topic("f-one", id, vec![part(0, offset)])]));
    }
    in_some(run, "an empty partition", &full(vec![topic("f-one", id, vec![part(1, 0)])]));
    in_some(run, "both", &full(vec![topic("f-one", id, vec![part(0, 0), part(1, 0)])]));
    in_some(
        run,
        "committed",
        &FetchRequest { isolation_level: 1, ..full(vec![topic("f-one", id, vec![part(0, 0)])]) },
    );
    in_some(
        run,
        "an isolation of 2",
        &FetchRequest { isolation_level: 2, ..full(vec![topic("f-one", id, vec![part(0, 0)])]) },
    );
    let large = run.settled("f-large");
    for max_bytes in [i32::MAX, 40_000, 20_500, 20_000, 100, 1, 0, -1] {
        in_some(
            run,
            &format!("at most {max_bytes} in all"),
            &FetchRequest { max_bytes, ..full(vec![topic("f-large", large, vec![part(0, 0)])]) },
        );
        let limited = FetchPartition { partition_max_bytes: max_bytes, ..part(0, 0) };
        in_some(
            run,
            &format!("at most {max_bytes} of the partition"),
            &full(vec![topic("f-large", large, vec![limited.clone()])]),
        );
        let two = vec![
            topic("f-large", large, vec![limited]),
            topic("f-one", id, vec![FetchPartition { partition_max_bytes: max_bytes, ..part(0, 0) }]),
        ];
        in_some(run, &format!("at most {max_bytes}, two partitions"), &full(two));
    }
    let two = || full(vec![topic("f-large", large, vec![part(0, 9)]), topic("f-one", id, vec![part(0, 0)])]);
    for max_bytes in [1, 10_000, 10_100, 10_300, 12_000] {
        in_some(run, &format!("two partitions share {max_bytes}"), &FetchRequest { max_bytes, ..two() });
    }
    for (min_bytes, max_wait_ms) in
        [(0, 30_000), (1, 0), (1_000_000, 100), (-1, 20_000), (i32::MAX, 100), (1, -1)]
    {
        in_some(
            run,
            &format!("at least {min_bytes} within {max_wait_ms}"),
            &FetchRequest { min_bytes, max_wait_ms, ..full(vec![topic("f-one", id, vec![part(0, 0)])]) },
        );
    }
    in_some(
        run,
        "no bytes wanted at the end",
        &FetchRequest {
            min_bytes: 0,
            max_wait_ms: 20_000,
            ..full(vec![topic("f-one", id, vec![part(0, 15)])])
        },
    );
    in_some(
        run,
        "no time at the end",
        &FetchRequest { min_bytes: 1, max_wait_ms: 0, ..full(vec![topic("f-one", id, vec![part(0, 15)])]) },
    );
}

fn fetch_wrong(run: &mut Run, id: Uuid) {
    let slow = |topics| FetchRequest { max_wait_ms: 20_000, ..full(topics) };
    for offset in [16, 100, -1, -5, i64::MAX] {
        in_some(
            run,
            &format!("out of range {offset}"),
            &slow(vec![topic("f-one", id, vec![part(0, offset)])]),
        );
    }
    in_some(run, "out of range and good", &slow(vec![topic("f-one", id, vec![part(0, 99), part(1, 0)])]));
    for version in all_versions(ApiKey::Fetch) {
        ask(run, "unknown topic", version, &slow(vec![topic("f-none", UNKNOWN, vec![part(0, 0)])]));
        ask(run, "unknown partition", version, &slow(vec![topic("f-one", id, vec![part(9, 0)])]));
        for epoch in [0, 1, 7, -2] {
            let with = FetchPartition { current_leader_epoch: epoch, ..part(0, 0) };
            ask(run, &format!("leader epoch {epoch}"), version, &full(vec![topic("f-one", id, vec![with])]));
        }
        for (epoch, offset) in [(0, 15), (0, 16), (0, 3), (5, 3), (-2, 0), (0, 0)] {
            let with =
                FetchPartition { last_fetched_epoch: epoch, current_leader_epoch: 0, ..part(0, offset) };
            if version >= 12 {
                ask(
                    run,
                    &format!("last fetched epoch {epoch} at {offset}"),
                    version,
                    &full(vec![topic("f-one", id, vec![with])]),
                );
            }
        }
    }
    in_some(run, "partition below zero", &slow(vec![topic("f-one", id, vec![part(-1, 0)])]));
    in_some(run, "no topics", &FetchRequest { max_wait_ms: 50, ..full(vec![]) });
    in_some(
        run,
        "no partitions",
        &FetchRequest { max_wait_ms: 50, ..full(vec![topic("f-one", id, vec![])]) },
    );
    in_some(run, "no name, no id", &slow(vec![topic("", Uuid::ZERO, vec![part(0, 0)])]));
    in_some(run, "a partition twice", &full(vec![topic("f-one", id, vec![part(0, 0), part(0, 10)])]));
    in_some(
        run,
        "a topic twice",
        &full(vec![topic("f-one", id, vec![part(0, 0)]), topic("f-one", id, vec![part(1, 0)])]),
    );
    in_some(
        run,
        "good and unknown",
        &full(vec![
            topic("f-one", id, vec![part(0, 0), part(5, 0)]),
            topic("f-none", UNKNOWN, vec![part(0, 0), part(1, 0)]),
        ]),
    );
    in_some(
        run,
        "a cluster id",
        &FetchRequest {
            cluster_id: Some("another".into()),
            ..full(vec![topic("f-one", id, vec![part(0, 0)])])
        },
    );
    for replica in [1, 7, -2, -3] {
        // Versions to 14 say the replica in the body.
        for version in [4, 11, 14] {
            ask(
                run,
                &format!("replica {replica}"),
                version,
                &FetchRequest { replica_id: replica, ..full(vec![topic("f-one", id, vec![part(0, 0)])]) },
            );
        }
    }
}

fn list_offsets(run: &mut Run) {
    let one = |name: &str, partition: i32, timestamp: i64, epoch: i32| ListOffsetsTopic {
        name: name.into(),
        partitions: vec![ListOffsetsPartition {
            partition_index: partition,
            current_leader_epoch: epoch,
            timestamp,
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = |topics| ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    for timestamp in [-1, -2, -3, -4, -5, -6, -7, i64::MIN] {
        run.ask_in_all(&format!("special {timestamp}"), &request(vec![one("f-one", 0, timestamp, -1)]));
        run.ask_in_some(
            &format!("empty, special {timestamp}"),
            &request(vec![one("f-empty", 0, timestamp, -1)]),
        );
    }
    for timestamp in [
        0,
        1,
        TIME,
        TIME + 100,
        TIME + 101,
        TIME + 300,
        TIME + 302,
        TIME + 304,
        TIME + 504,
        TIME + 505,
        i64::MAX,
    ] {
        run.ask_in_some(
            &format!("time {}", if timestamp < TIME { timestamp } else { timestamp.saturating_sub(TIME) }),
            &request(vec![one("f-one", 0, timestamp, -1)]),
        );
        run.ask_in_some(
            &format!(
                "empty, time {}",
                if timestamp < TIME { timestamp } else { timestamp.saturating_sub(TIME) }
            ),
            &request(vec![one("f-empty", 0, timestamp, -1)]),
        );
    }
    for epoch in [0, 1, -2] {
        run.ask_in_all(&format!("epoch {epoch}"), &request(vec![one("f-one", 0, -1, epoch)]));
    }
    run.ask_in_all("unknown topic", &request(vec![one("f-none", 0, -1, -1)]));
    run.ask_in_all("unknown partition", &request(vec![one("f-one", 9, -1, -1)]));
    run.ask_in_some("partition below zero", &request(vec![one("f-one", -1, -1, -1)]));
    run.ask_in_some("no name", &request(vec![one("", 0, -1, -1)]));
    run.ask_in_some("unknown topic, unknown special", &request(vec![one("f-none", 0, -9, -1)]));
    run.ask_in_some("nothing", &request(vec![]));
    run.ask_in_some("a partition twice", &request(vec![one("f-one", 0, -1, -1), one("f-one", 0, -2, -1)]));
    run.ask_in_some("a topic twice", &request(vec![one("f-one", 0, -1, -1), one("f-one", 1, -2, -1)]));
    run.ask_in_some(
        "committed",
        &ListOffsetsRequest {
            isolation_level: 1,
            ..request(vec![one("f-one", 0, -1, -1), one("f-one", 0, TIME, -1)])
        },
    );
    run.ask_in_some(
        "committed, latest",
        &ListOffsetsRequest { isolation_level: 1, ..request(vec![one("f-one", 0, -1, -1)]) },
    );
    for replica in [-2, 1, 7, -9] {
        run.ask_in_some(
            &format!("replica {replica}"),
            &ListOffsetsRequest { replica_id: replica, ..request(vec![one("f-one", 0, -1, -1)]) },
        );
    }
    // After records were deleted.
    for timestamp in [-1, -2, -3, -4, TIME] {
        run.ask_in_some(
            &format!("deleted, {}", timestamp.min(TIME)),
            &request(vec![one("d-one", 0, timestamp, -1)]),
        );
    }
}

fn epochs(run: &mut Run) {
    let one = |name: &str, partition: i32, current: i32, epoch: i32| OffsetForLeaderTopic {
        topic: name.into(),
        partitions: vec![OffsetForLeaderPartition {
            partition,
            current_leader_epoch: current,
            leader_epoch: epoch,
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = |topics| OffsetForLeaderEpochRequest { replica_id: -1, topics, ..Default::default() };
    for (current, epoch) in
        [(-1, 0), (-1, 1), (-1, -1), (-1, -5), (0, 0), (1, 0), (0, 5), (-2, 0), (-1, i32::MAX)]
    {
        run.ask_in_all(
            &format!("current {current} epoch {epoch}"),
            &request(vec![one("f-one", 0, current, epoch)]),
        );
        run.ask_in_some(
            &format!("empty, current {current} epoch {epoch}"),
            &request(vec![one("f-empty", 0, current, epoch)]),
        );
    }
    run.ask_in_some("unknown topic", &request(vec![one("f-none", 0, -1, 0)]));
    run.ask_in_some("unknown partition", &request(vec![one("f-one", 9, -1, 0)]));
    run.ask_in_some("partition below zero", &request(vec![one("f-one", -1, -1, 0)]));
    run.ask_in_some("no name", &request(vec![one("", 0, -1, 0)]));
    run.ask_in_some("nothing", &request(vec![]));
    run.ask_in_some("a partition twice", &request(vec![one("f-one", 0, -1, 0), one("f-one", 0, -1, 0)]));
    run.ask_in_some(
        "a follower",
        &OffsetForLeaderEpochRequest { replica_id: 1, ..request(vec![one("f-one", 0, -1, 0)]) },
    );
    run.ask_in_some("deleted", &request(vec![one("d-one", 0, -1, 0)]));
}
