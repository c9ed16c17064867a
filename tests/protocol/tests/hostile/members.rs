//! Members that bring more than a node has room for.

use std::time::Instant;

use bytes::Bytes;
use dohle_types::ErrorCode;
use dohle_wire::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use dohle_wire::messages::heartbeat_request::HeartbeatRequest;
use dohle_wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use dohle_wire::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::*;

/// What members may take, and how much each of the hostile ones brings.
const BUDGET: u64 = 64 << 20;
const METADATA: usize = 4 << 20;
/// What the process may grow by beyond the budget: 15 MiB were measured. While each waiting join kept its frame beside its metadata, it was 64.
const ABOVE_MEMBERS: u64 = 40 << 20;
/// Members that fit, with room to spare for what comes at the same time.
const FIT: usize = 15;
const SENT_FIRST: usize = FIT + 5;
const MEMBERS: usize = 60;
/// Of the hostile ones.
const SESSION_MS: i32 = 4000;
const FULL: i16 = ErrorCode::CoordinatorNotAvailable as i16;
/// The last version in which a newcomer is let in without coming twice.
const JOIN: i16 = 3;

fn joining(group: &str, timeout_ms: i32, metadata: Bytes) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: timeout_ms,
        rebalance_timeout_ms: timeout_ms,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata, ..Default::default() }],
        ..Default::default()
    }
}

/// A group of one member with an assignment, and the heartbeat of that member.
fn settled(broker: &Broker, group: &str, timeout_ms: i32) -> HeartbeatRequest {
    let mut client = broker.client();
    let until = Instant::now() + Duration::from_secs(20);
    let joined = loop {
        client.ask(
            &dohle_wire::messages::FindCoordinatorRequest { key: group.into(), ..Default::default() },
            3,
        );
        let joined = client.ask(&joining(group, timeout_ms, Bytes::new()), JOIN).expect("an answer");
        if joined.error_code == 0 {
            break joined;
        }
        assert!(Instant::now() < until, "{joined:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let assignments =
        vec![SyncGroupRequestAssignment { member_id: joined.member_id.clone(), ..Default::default() }];
    let sync = SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments,
        ..Default::default()
    };
    assert_eq!(client.ask(&sync, 3).expect("an answer").error_code, 0);
    HeartbeatRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id,
        ..Default::default()
    }
}

/// A group that gets members with large metadata all the time: those that there is room for wait for the round to end, the others
/// are refused at once. Whoever is in a group goes on; and when the large ones are gone, others are let in again.
#[test]
fn members_are_held_to_a_budget() {
    let budget = BUDGET.to_string();
    let broker =
        Broker::with(&[("dohle.memory.groups.bytes", &budget), ("group.min.session.timeout.ms", "1000")]);
    let good = settled(&broker, "good", 60_000);
    settled(&broker, "large", SESSION_MS);
    let before = broker.memory();

    let metadata = Bytes::from(vec![0; METADATA]);
    let mut waiting = Vec::new();
    for _ in 0..SENT_FIRST {
        let mut client = broker.client();
        let frame = client.frame(&joining("large", SESSION_MS, metadata.clone()), JOIN).expect("a request");
        client.send(&frame);
        waiting.push(client);
    }
    std::thread::sleep(Duration::from_millis(500));
    for n in SENT_FIRST..MEMBERS {
        let mut client = broker.client();
        let refused =
            client.ask(&joining("large", SESSION_MS, metadata.clone()), JOIN).expect("an answer at once");
        assert_eq!(refused.error_code, FULL, "member {n}");
    }
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < BUDGET + ABOVE_MEMBERS, "{MEMBERS} members of 4 MiB cost {} MiB", grown >> 20);

    let mut client = broker.client();
    assert_eq!(client.ask(&good, 3).expect("an answer").error_code, 0, "who is a member goes on");
    let topics = (0..60_000).map(|n| format!("a-topic-with-a-name-as-names-are-{n}").into()).collect();
    let consumer = ConsumerGroupHeartbeatRequest {
        group_id: "consumers".into(),
        member_id: "m".into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(topics),
        topic_partitions: Some(vec![]),
        ..Default::default()
    };
    let refused = client.ask(&consumer, 1).expect("an answer");
    assert_eq!(refused.error_code, FULL, "nor is there room for one of the other protocol");
    broker.serves("while members take all the room there is");

    drop(waiting);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let joined = client.ask(&joining("later", 60_000, metadata.clone()), JOIN).expect("an answer");
        if joined.error_code == 0 {
            break;
        }
        assert_eq!(joined.error_code, FULL);
        assert!(Instant::now() < until, "the room is never given back");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.ask(&good, 3).expect("an answer").error_code, 0);
}
