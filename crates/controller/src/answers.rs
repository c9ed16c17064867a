//! From what the quorum says to the messages on the wire.

use bytes::Bytes;
use dohle_raft::{ChangeResult, Endpoint, LogPoint, Request, SnapshotId, Standing};
use dohle_types::{ErrorCode, NodeId, Offset, Uuid};
use dohle_wire::messages::{
    self, begin_quorum_epoch_response, end_quorum_epoch_response, fetch_response, fetch_snapshot_response,
    update_raft_voter_response, vote_response,
};
use dohle_wire::{AnyResponse, RecordBytes, Text};

use crate::store::METADATA_TOPIC;

/// The one partition of the metadata log.
pub(crate) const PARTITION: i32 = 0;
/// From these versions on answers say where the leader is: those of the quorum's own APIs, and those of Fetch.
const ENDPOINTS_SINCE: i16 = 1;
const FETCH_ENDPOINTS_SINCE: i16 = 16;

/// What an answer needs to know of its request.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub version: i16,
    /// The listener the request came by; the leader's address is given for the same one.
    pub listener: Text,
}

/// Which of the quorum's requests is being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuorumApi {
    Vote,
    BeginQuorumEpoch,
    EndQuorumEpoch,
    Fetch,
    FetchSnapshot,
    Change,
}

impl QuorumApi {
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::Vote(_) => Self::Vote,
            Request::BeginQuorumEpoch(_) => Self::BeginQuorumEpoch,
            Request::EndQuorumEpoch(_) => Self::EndQuorumEpoch,
            Request::Fetch(_) => Self::Fetch,
            Request::FetchSnapshot(_) => Self::FetchSnapshot,
            Request::AddVoter(_)
            | Request::RemoveVoter(_)
            | Request::UpdateVoter(_)
            | Request::ApiVersions => Self::Change,
        }
    }

    /// The answer to a request that was not looked at.
    pub(crate) fn rejected(self, error: ErrorCode) -> AnyResponse {
        match self {
            Self::Vote => rejected_vote(error),
            Self::BeginQuorumEpoch => rejected_begin(error),
            Self::EndQuorumEpoch => rejected_end(error),
            Self::Fetch => rejected_fetch(error),
            Self::FetchSnapshot => rejected_fetch_snapshot(error),
            Self::Change => unreachable!("changes of the voters say in their own answer what is wrong"),
        }
    }
}

/// What the quorum says, with the bytes that the shell has filled in.
#[derive(Debug)]
pub(crate) enum Answer {
    Rejected(ErrorCode),
    Vote { standing: Standing, granted: bool },
    BeginQuorumEpoch(Standing),
    EndQuorumEpoch(Standing),
    Fetch { standing: Standing, high_watermark: Option<Offset>, log_start: Offset, fetched: FetchedBytes },
    FetchSnapshot { standing: Standing, id: SnapshotId, position: u64, size: u64, bytes: Bytes },
    AddVoter(ChangeResult),
    RemoveVoter(ChangeResult),
    UpdateVoter(Standing),
}

/// What a fetch brings.
#[derive(Debug)]
pub(crate) enum FetchedBytes {
    Records(Bytes),
    Diverging(LogPoint),
    Snapshot(SnapshotId),
}

/// The response for an answer. `api` decides its shape where the answer does not.
pub(crate) fn response(api: QuorumApi, answer: Answer, asker: &Asker) -> AnyResponse {
    match answer {
        Answer::Rejected(error) => api.rejected(error),
        Answer::Vote { standing, granted } => {
            let partition = vote_response::PartitionData {
                partition_index: PARTITION,
                error_code: standing.error.code(),
                leader_id: leader_id(&standing),
                leader_epoch: standing.epoch.get(),
                vote_granted: granted,
                ..Default::default()
            };
            let topic = vote_response::TopicData {
                topic_name: METADATA_TOPIC.into(),
                partitions: vec![partition],
                ..Default::default()
            };
            let node_endpoints = leader_endpoint(&standing, asker, ENDPOINTS_SINCE).map(|(id, endpoint)| {
                vote_response::NodeEndpoint {
                    node_id: id.get(),
                    host: endpoint.host.as_str().into(),
                    port: endpoint.port,
                    ..Default::default()
                }
            });
            let node_endpoints = node_endpoints.into_iter().collect();
            messages::VoteResponse { topics: vec![topic], node_endpoints, ..Default::default() }.into()
        }
        Answer::BeginQuorumEpoch(standing) => begin_quorum_epoch_response(&standing, asker),
        Answer::EndQuorumEpoch(standing) => end_quorum_epoch_response(&standing, asker),
        Answer::Fetch { standing, high_watermark, log_start, fetched } => {
            fetch_response(&standing, high_watermark, log_start, fetched, asker)
        }
        Answer::FetchSnapshot { standing, id, position, size, bytes } => {
            fetch_snapshot_response(&standing, id, (position, size), bytes, asker)
        }
        Answer::AddVoter(result) => messages::AddRaftVoterResponse {
            error_code: result.error.code(),
            error_message: result.message.map(Text::from),
            ..Default::default()
        }
        .into(),
        Answer::RemoveVoter(result) => messages::RemoveRaftVoterResponse {
            error_code: result.error.code(),
            error_message: result.message.map(Text::from),
            ..Default::default()
        }
        .into(),
        Answer::UpdateVoter(standing) => {
            let endpoint = leader_endpoint(&standing, asker, 0).map(|(_, endpoint)| endpoint);
            let current_leader = update_raft_voter_response::CurrentLeader {
                leader_id: leader_id(&standing),
                leader_epoch: standing.epoch.get(),
                host: endpoint.map_or_else(Text::default, |endpoint| endpoint.host.as_str().into()),
                port: endpoint.map_or(0, |endpoint| i32::from(endpoint.port)),
                ..Default::default()
            };
            let error_code = standing.error.code();
            messages::UpdateRaftVoterResponse { error_code, current_leader, ..Default::default() }.into()
        }
    }
}

fn rejected_vote(error: ErrorCode) -> AnyResponse {
    messages::VoteResponse { error_code: error.code(), ..Default::default() }.into()
}

fn rejected_begin(error: ErrorCode) -> AnyResponse {
    messages::BeginQuorumEpochResponse { error_code: error.code(), ..Default::default() }.into()
}

fn rejected_end(error: ErrorCode) -> AnyResponse {
    messages::EndQuorumEpochResponse { error_code: error.code(), ..Default::default() }.into()
}

fn rejected_fetch(error: ErrorCode) -> AnyResponse {
    messages::FetchResponse { error_code: error.code(), ..Default::default() }.into()
}

fn rejected_fetch_snapshot(error: ErrorCode) -> AnyResponse {
    messages::FetchSnapshotResponse { error_code: error.code(), ..Default::default() }.into()
}

fn leader_id(standing: &Standing) -> i32 {
    standing.leader.unwrap_or(NodeId::NONE).get()
}

/// Where the leader is reached by whoever asks: on the same listener. Nothing before the version that has room for it.
fn leader_endpoint<'a>(standing: &'a Standing, asker: &Asker, since: i16) -> Option<(NodeId, &'a Endpoint)> {
    if asker.version < since {
        return None;
    }
    let same = standing.endpoints.iter().find(|endpoint| *endpoint.name == *asker.listener);
    Some((standing.leader?, same.or(standing.endpoints.first())?))
}

fn begin_quorum_epoch_response(standing: &Standing, asker: &Asker) -> AnyResponse {
    let partition = begin_quorum_epoch_response::PartitionData {
        partition_index: PARTITION,
        error_code: standing.error.code(),
        leader_id: leader_id(standing),
        leader_epoch: standing.epoch.get(),
        ..Default::default()
    };
    let topic = begin_quorum_epoch_response::TopicData {
        topic_name: METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let node_endpoints = leader_endpoint(standing, asker, ENDPOINTS_SINCE).map(|(id, endpoint)| {
        begin_quorum_epoch_response::NodeEndpoint {
            node_id: id.get(),
            host: endpoint.host.as_str().into(),
            port: endpoint.port,
            ..Default::default()
        }
    });
    let node_endpoints = node_endpoints.into_iter().collect();
    messages::BeginQuorumEpochResponse { topics: vec![topic], node_endpoints, ..Default::default() }.into()
}

fn end_quorum_epoch_response(standing: &Standing, asker: &Asker) -> AnyResponse {
    let partition = end_quorum_epoch_response::PartitionData {
        partition_index: PARTITION,
        error_code: standing.error.code(),
        leader_id: leader_id(standing),
        leader_epoch: standing.epoch.get(),
        ..Default::default()
    };
    let topic = end_quorum_epoch_response::TopicData {
        topic_name: METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let node_endpoints = leader_endpoint(standing, asker, ENDPOINTS_SINCE).map(|(id, endpoint)| {
        end_quorum_epoch_response::NodeEndpoint {
            node_id: id.get(),
            host: endpoint.host.as_str().into(),
            port: endpoint.port,
            ..Default::default()
        }
    });
    let node_endpoints = node_endpoints.into_iter().collect();
    messages::EndQuorumEpochResponse { topics: vec![topic], node_endpoints, ..Default::default() }.into()
}

fn fetch_response(
    standing: &Standing,
    high_watermark: Option<Offset>,
    log_start: Offset,
    fetched: FetchedBytes,
    asker: &Asker,
) -> AnyResponse {
    let mut partition = fetch_response::PartitionData {
        partition_index: PARTITION,
        error_code: standing.error.code(),
        high_watermark: high_watermark.unwrap_or(Offset::NONE).get(),
        log_start_offset: log_start.get(),
        current_leader: fetch_response::LeaderIdAndEpoch {
            leader_id: leader_id(standing),
            leader_epoch: standing.epoch.get(),
            ..Default::default()
        },
        records: Some(RecordBytes::new()),
        ..Default::default()
    };
    match fetched {
        FetchedBytes::Records(bytes) => partition.records = Some(RecordBytes::from(bytes)),
        FetchedBytes::Diverging(point) => {
            partition.diverging_epoch.epoch = point.epoch.get();
            partition.diverging_epoch.end_offset = point.offset.get();
        }
        FetchedBytes::Snapshot(id) => {
            partition.snapshot_id.epoch = id.epoch.get();
            partition.snapshot_id.end_offset = id.offset.get();
        }
    }
    let topic = fetch_response::FetchableTopicResponse {
        topic: METADATA_TOPIC.into(),
        topic_id: Uuid::METADATA_TOPIC,
        partitions: vec![partition],
        ..Default::default()
    };
    let node_endpoints = leader_endpoint(standing, asker, FETCH_ENDPOINTS_SINCE).map(|(id, endpoint)| {
        fetch_response::NodeEndpoint {
            node_id: id.get(),
            host: endpoint.host.as_str().into(),
            port: i32::from(endpoint.port),
            ..Default::default()
        }
    });
    let node_endpoints = node_endpoints.into_iter().collect();
    messages::FetchResponse { responses: vec![topic], node_endpoints, ..Default::default() }.into()
}

fn fetch_snapshot_response(
    standing: &Standing,
    id: SnapshotId,
    (position, size): (u64, u64),
    bytes: Bytes,
    asker: &Asker,
) -> AnyResponse {
    let partition = fetch_snapshot_response::PartitionSnapshot {
        index: PARTITION,
        error_code: standing.error.code(),
        snapshot_id: fetch_snapshot_response::SnapshotId {
            end_offset: id.offset.get(),
            epoch: id.epoch.get(),
            ..Default::default()
        },
        current_leader: fetch_snapshot_response::LeaderIdAndEpoch {
            leader_id: leader_id(standing),
            leader_epoch: standing.epoch.get(),
            ..Default::default()
        },
        size: i64::try_from(size).unwrap_or(i64::MAX),
        position: i64::try_from(position).unwrap_or(i64::MAX),
        unaligned_records: RecordBytes::from(bytes),
        ..Default::default()
    };
    let topic = fetch_snapshot_response::TopicSnapshot {
        name: METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let node_endpoints = leader_endpoint(standing, asker, ENDPOINTS_SINCE).map(|(id, endpoint)| {
        fetch_snapshot_response::NodeEndpoint {
            node_id: id.get(),
            host: endpoint.host.as_str().into(),
            port: endpoint.port,
            ..Default::default()
        }
    });
    let node_endpoints = node_endpoints.into_iter().collect();
    messages::FetchSnapshotResponse { topics: vec![topic], node_endpoints, ..Default::default() }.into()
}
