//! A member's heartbeat and commit, and the answer that tells of ten thousand partitions.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use dohle_coordinator::frame::{Moment, ReplyTo, Shard};
use dohle_coordinator::groups::{Ask, Client, GroupCoordinator, Request, Response, Settings};
use dohle_coordinator::topics::Topics;
use dohle_types::{TimestampMs, Uuid};
use dohle_wire::messages::join_group_request::JoinGroupRequestProtocol;
use dohle_wire::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use dohle_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use dohle_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use dohle_wire::messages::{
    HeartbeatRequest, JoinGroupRequest, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    SyncGroupRequest,
};
use dohle_wire::{ApiKey, Text};

use crate::records::{decoded, encoded, frame};

const TOPIC: Uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
/// The one member of the group `g`, which is stable.
struct Group {
    shard: Shard<GroupCoordinator>,
    member: Text,
    tick: u64,
}

fn moment(tick_ms: u64) -> Moment {
    Moment { wall: TimestampMs(1_000_000), tick_ms, chance: tick_ms.wrapping_mul(77) }
}

impl Group {
    fn new() -> Self {
        let coordinator =
            GroupCoordinator::new(Arc::new(Settings::default()), Topics::default(), BTreeMap::new());
        let mut group = Self { shard: Shard::new(coordinator, 1_048_588), member: Text::new(), tick: 0 };
        group.shard.loaded(moment(0));
        let protocol = JoinGroupRequestProtocol {
            name: Text::from("range"),
            metadata: Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]),
            ..Default::default()
        };
        let join = JoinGroupRequest {
            group_id: Text::from("g"),
            session_timeout_ms: 1_800_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: Text::from("consumer"),
            protocols: vec![protocol],
            ..Default::default()
        };
        let Response::JoinGroup(joined) = group.asked(Ask::JoinGroup(join), 3) else {
            panic!("no answer to a join")
        };
        group.member = joined.member_id;
        let assignment = SyncGroupRequestAssignment { member_id: group.member.clone(), ..Default::default() };
        let sync = SyncGroupRequest {
            group_id: Text::from("g"),
            generation_id: 1,
            member_id: group.member.clone(),
            assignments: vec![assignment],
            ..Default::default()
        };
        let Response::SyncGroup(synced) = group.asked(Ask::SyncGroup(sync), 3) else {
            panic!("no answer to a sync")
        };
        assert_eq!(synced.error_code, 0);
        group
    }

    /// The answer, which may need time to pass.
    fn asked(&mut self, ask: Ask, version: i16) -> Response {
        self.tick += 1;
        let client = Client { id: Text::from("c"), host: Text::from("/127.0.0.1") };
        self.shard.handle(moment(self.tick), ReplyTo(self.tick), Request { client, version, ask });
        for _ in 0..1000 {
            let replies = self.shard.take_batch().into_iter().flat_map(|batch| batch.replies);
            let replies = replies.chain(self.shard.take_ready());
            if let Some((_, answer)) = replies.last() {
                return answer.expect("an answer");
            }
            self.tick = self.shard.next_due().expect("an answer or a timer");
            self.shard.advance(moment(self.tick));
        }
        panic!("no answer after a thousand timers");
    }
}

pub fn heartbeat() -> Box<dyn FnMut()> {
    let mut group = Group::new();
    let request = HeartbeatRequest {
        group_id: Text::from("g"),
        generation_id: 1,
        member_id: group.member.clone(),
        ..Default::default()
    };
    let (frame, version) = frame(&request);
    Box::new(move || {
        let request: HeartbeatRequest = decoded(&frame, version);
        let Response::Heartbeat(response) = group.asked(Ask::Heartbeat(request), version) else {
            panic!("no heartbeat")
        };
        assert_eq!(response.error_code, 0);
        black_box(encoded(ApiKey::Heartbeat, &response, version));
    })
}

pub fn commit() -> Box<dyn FnMut()> {
    let mut group = Group::new();
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: 42,
        committed_leader_epoch: 1,
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: Text::from("t"),
        topic_id: TOPIC,
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: Text::from("g"),
        generation_id_or_member_epoch: 1,
        member_id: group.member.clone(),
        topics: vec![topic],
        ..Default::default()
    };
    let (frame, version) = frame(&request);
    Box::new(move || {
        let request: OffsetCommitRequest = decoded(&frame, version);
        let Response::OffsetCommit(response) = group.asked(Ask::OffsetCommit(request), version) else {
            panic!("no commit")
        };
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
        black_box(encoded(ApiKey::OffsetCommit, &response, version));
    })
}

/// Ten topics of a thousand partitions.
pub fn metadata() -> Box<dyn FnMut()> {
    let (frame, version) = frame(&MetadataRequest { topics: None, ..Default::default() });
    Box::new(move || {
        let request: MetadataRequest = decoded(&frame, version);
        assert!(request.topics.is_none());
        let topics = (0..10).map(|number| MetadataResponseTopic {
            name: Some(Text::from(format!("topic-{number}"))),
            topic_id: TOPIC,
            partitions: (0..1000).map(partition).collect(),
            ..Default::default()
        });
        let response = MetadataResponse { topics: topics.collect(), ..Default::default() };
        black_box(encoded(ApiKey::Metadata, &response, version));
    })
}

fn partition(index: i32) -> MetadataResponsePartition {
    MetadataResponsePartition {
        partition_index: index,
        leader_id: 1,
        leader_epoch: 0,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..Default::default()
    }
}
