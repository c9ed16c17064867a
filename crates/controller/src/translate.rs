//! Between the messages on the wire and those of the quorum: what comes in for it, and what it answers.

use std::num::TryFromIntError;

use bytes::Bytes;
use dohle_raft::{
    AddVoterRequest, BeginQuorumEpochRequest, ChangeResult, Endpoint, EndQuorumEpochRequest, FetchRequest, FetchSnapshotRequest,
    KRaftVersions, LogPoint, RemoveVoterRequest, Replica, Request, SnapshotId, Standing, UpdateVoterRequest, VoteRequest,
};
use dohle_types::{ErrorCode, LeaderEpoch, NodeId, Offset, Uuid};
use dohle_wire::messages::{
    self, add_raft_voter_request, begin_quorum_epoch_request, begin_quorum_epoch_response, end_quorum_epoch_request,
    end_quorum_epoch_response, fetch_response, fetch_snapshot_response, update_raft_voter_request, update_raft_voter_response,
    vote_response,
};
use dohle_wire::{AnyRequest, AnyResponse, RecordBytes, Text};

use crate::store::METADATA_TOPIC;

const PARTITION: i32 = 0;
/// From this version on a fetch names topics by id.
const FETCH_BY_ID: i16 = 13;
/// From this version on a fetch says in a struct who asks.
const FETCH_REPLICA_STATE: i16 = 15;

/// What an answer needs to know of its request.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// The listener the request came by; the leader's address is given for the same one.
    pub listener: Text,
}

/// A request for the quorum, or the answer to one that is not for this log.
pub(crate) fn request(request: &AnyRequest, version: i16) -> Option<Result<Request, AnyResponse>> {
    Some(match request {
        AnyRequest::Vote(request) => vote(request),
        AnyRequest::BeginQuorumEpoch(request) => begin_quorum_epoch(request),
        AnyRequest::EndQuorumEpoch(request) => end_quorum_epoch(request, version),
        AnyRequest::Fetch(request) => fetch(request, version),
        AnyRequest::FetchSnapshot(request) => fetch_snapshot(request),
        AnyRequest::AddRaftVoter(request) => Ok(Request::AddVoter(AddVoterRequest {
            cluster_id: text(&request.cluster_id),
            voter: Replica::new(NodeId(request.voter_id), request.voter_directory_id),
            endpoints: request.listeners.iter().map(added_endpoint).collect(),
            ack_when_committed: request.ack_when_committed,
        })),
        AnyRequest::RemoveRaftVoter(request) => Ok(Request::RemoveVoter(RemoveVoterRequest {
            cluster_id: text(&request.cluster_id),
            voter: Replica::new(NodeId(request.voter_id), request.voter_directory_id),
        })),
        AnyRequest::UpdateRaftVoter(request) => Ok(Request::UpdateVoter(UpdateVoterRequest {
            cluster_id: text(&request.cluster_id),
            epoch: LeaderEpoch(request.current_leader_epoch),
            voter: Replica::new(NodeId(request.voter_id), request.voter_directory_id),
            endpoints: request.listeners.iter().map(updated_endpoint).collect(),
            kraft_versions: KRaftVersions {
                min: request.kraft_version_feature.min_supported_version,
                max: request.kraft_version_feature.max_supported_version,
            },
        })),
        _ => return None,
    })
}

fn text(value: &Option<Text>) -> Option<String> {
    value.as_ref().map(|value| value.to_string())
}

/// The one element a request to the metadata quorum has of everything.
fn only<T>(items: &[T]) -> Option<&T> {
    match items {
        [item] => Some(item),
        _ => None,
    }
}

fn added_endpoint(listener: &add_raft_voter_request::Listener) -> Endpoint {
    Endpoint { name: listener.name.to_string(), host: listener.host.to_string(), port: listener.port }
}

fn updated_endpoint(listener: &update_raft_voter_request::Listener) -> Endpoint {
    Endpoint { name: listener.name.to_string(), host: listener.host.to_string(), port: listener.port }
}

/// Whom a request is meant for, where it says so.
fn meant_for(id: i32, directory: Uuid) -> Option<Replica> {
    (id >= 0).then(|| Replica::new(NodeId(id), directory))
}

fn vote(request: &messages::VoteRequest) -> Result<Request, AnyResponse> {
    let topic = only(&request.topics).filter(|topic| &*topic.topic_name == METADATA_TOPIC);
    let partition = topic.and_then(|topic| only(&topic.partitions)).filter(|p| p.partition_index == PARTITION);
    let partition = partition.ok_or_else(|| rejected_vote(ErrorCode::InvalidRequest))?;
    Ok(Request::Vote(VoteRequest {
        cluster_id: text(&request.cluster_id),
        voter: meant_for(request.voter_id, partition.voter_directory_id),
        candidate: Replica::new(NodeId(partition.replica_id), partition.replica_directory_id),
        epoch: LeaderEpoch(partition.replica_epoch),
        last: LogPoint::new(Offset(partition.last_offset), LeaderEpoch(partition.last_offset_epoch)),
        pre_vote: partition.pre_vote,
    }))
}

fn begin_quorum_epoch(request: &messages::BeginQuorumEpochRequest) -> Result<Request, AnyResponse> {
    let topic = only(&request.topics).filter(|topic| &*topic.topic_name == METADATA_TOPIC);
    let partition = topic.and_then(|topic| only(&topic.partitions)).filter(|p| p.partition_index == PARTITION);
    let partition = partition.ok_or_else(|| rejected_begin(ErrorCode::InvalidRequest))?;
    let endpoint = |endpoint: &begin_quorum_epoch_request::LeaderEndpoint| Endpoint {
        name: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
    };
    Ok(Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
        cluster_id: text(&request.cluster_id),
        voter: meant_for(request.voter_id, partition.voter_directory_id),
        leader: NodeId(partition.leader_id),
        epoch: LeaderEpoch(partition.leader_epoch),
        endpoints: request.leader_endpoints.iter().map(endpoint).collect(),
    }))
}

fn end_quorum_epoch(request: &messages::EndQuorumEpochRequest, version: i16) -> Result<Request, AnyResponse> {
    let topic = only(&request.topics).filter(|topic| &*topic.topic_name == METADATA_TOPIC);
    let partition = topic.and_then(|topic| only(&topic.partitions)).filter(|p| p.partition_index == PARTITION);
    let partition = partition.ok_or_else(|| rejected_end(ErrorCode::InvalidRequest))?;
    let preferred = if version == 0 {
        let successors = partition.preferred_successors.iter();
        successors.map(|id| Replica::new(NodeId(*id), Uuid::ZERO)).collect()
    } else {
        let candidates = partition.preferred_candidates.iter();
        candidates.map(|info| Replica::new(NodeId(info.candidate_id), info.candidate_directory_id)).collect()
    };
    let endpoint = |endpoint: &end_quorum_epoch_request::LeaderEndpoint| Endpoint {
        name: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
    };
    Ok(Request::EndQuorumEpoch(EndQuorumEpochRequest {
        cluster_id: text(&request.cluster_id),
        leader: NodeId(partition.leader_id),
        epoch: LeaderEpoch(partition.leader_epoch),
        preferred,
        endpoints: request.leader_endpoints.iter().map(endpoint).collect(),
    }))
}

fn fetch(request: &messages::FetchRequest, version: i16) -> Result<Request, AnyResponse> {
    let is_ours = |topic: &&messages::fetch_request::FetchTopic| {
        if version >= FETCH_BY_ID { topic.topic_id == Uuid::METADATA_TOPIC } else { &*topic.topic == METADATA_TOPIC }
    };
    let topic = only(&request.topics).filter(is_ours);
    let partition = topic.and_then(|topic| only(&topic.partitions)).filter(|p| p.partition == PARTITION);
    let invalid = || rejected_fetch(ErrorCode::InvalidRequest);
    let partition = partition.ok_or_else(invalid)?;
    let replica_id =
        if version >= FETCH_REPLICA_STATE { request.replica_state.replica_id } else { request.replica_id };
    let positive = |value: i32| u32::try_from(value).map_err(|_: TryFromIntError| invalid());
    let high_watermark = Some(Offset(partition.high_watermark)).filter(|offset| offset.get() != i64::MAX);
    Ok(Request::Fetch(FetchRequest {
        cluster_id: text(&request.cluster_id),
        replica: Replica::new(NodeId(replica_id), partition.replica_directory_id),
        epoch: LeaderEpoch(partition.current_leader_epoch),
        from: LogPoint::new(Offset(partition.fetch_offset), LeaderEpoch(partition.last_fetched_epoch)),
        max_wait_ms: positive(request.max_wait_ms)?,
        max_bytes: positive(request.max_bytes)?,
        high_watermark,
    }))
}

fn fetch_snapshot(request: &messages::FetchSnapshotRequest) -> Result<Request, AnyResponse> {
    let invalid = || rejected_fetch_snapshot(ErrorCode::InvalidRequest);
    let topic = only(&request.topics).ok_or_else(invalid)?;
    let partition = only(&topic.partitions).ok_or_else(invalid)?;
    if &*topic.name != METADATA_TOPIC || partition.partition != PARTITION {
        let unknown = fetch_snapshot_response::PartitionSnapshot {
            index: partition.partition,
            error_code: ErrorCode::UnknownTopicOrPartition.code(),
            ..Default::default()
        };
        let topic = fetch_snapshot_response::TopicSnapshot {
            name: topic.name.clone(),
            partitions: vec![unknown],
            ..Default::default()
        };
        return Err(messages::FetchSnapshotResponse { topics: vec![topic], ..Default::default() }.into());
    }
    let id = SnapshotId::new(Offset(partition.snapshot_id.end_offset), LeaderEpoch(partition.snapshot_id.epoch));
    Ok(Request::FetchSnapshot(FetchSnapshotRequest {
        cluster_id: text(&request.cluster_id),
        replica: Replica::new(NodeId(request.replica_id), partition.replica_directory_id),
        epoch: LeaderEpoch(partition.current_leader_epoch),
        id,
        // A negative position is outside every file, as is this one.
        position: u64::try_from(partition.position).unwrap_or(u64::MAX),
        max_bytes: u32::try_from(request.max_bytes).unwrap_or(0),
    }))
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
            let node_endpoints = leader_endpoint(&standing, asker).map(|(id, endpoint)| vote_response::NodeEndpoint {
                node_id: id.get(),
                host: endpoint.host.as_str().into(),
                port: endpoint.port,
                ..Default::default()
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
            let endpoint = leader_endpoint(&standing, asker).map(|(_, endpoint)| endpoint);
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
            Request::AddVoter(_) | Request::RemoveVoter(_) | Request::UpdateVoter(_) | Request::ApiVersions => Self::Change,
        }
    }

    fn rejected(self, error: ErrorCode) -> AnyResponse {
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

/// Where the leader is reached by whoever asks: on the same listener.
fn leader_endpoint<'a>(standing: &'a Standing, asker: &Asker) -> Option<(NodeId, &'a Endpoint)> {
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
    let node_endpoints = leader_endpoint(standing, asker).map(|(id, endpoint)| begin_quorum_epoch_response::NodeEndpoint {
        node_id: id.get(),
        host: endpoint.host.as_str().into(),
        port: endpoint.port,
        ..Default::default()
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
    let node_endpoints = leader_endpoint(standing, asker).map(|(id, endpoint)| end_quorum_epoch_response::NodeEndpoint {
        node_id: id.get(),
        host: endpoint.host.as_str().into(),
        port: endpoint.port,
        ..Default::default()
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
    let node_endpoints = leader_endpoint(standing, asker).map(|(id, endpoint)| fetch_response::NodeEndpoint {
        node_id: id.get(),
        host: endpoint.host.as_str().into(),
        port: i32::from(endpoint.port),
        ..Default::default()
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
    let node_endpoints = leader_endpoint(standing, asker).map(|(id, endpoint)| fetch_snapshot_response::NodeEndpoint {
        node_id: id.get(),
        host: endpoint.host.as_str().into(),
        port: endpoint.port,
        ..Default::default()
    });
    let node_endpoints = node_endpoints.into_iter().collect();
    messages::FetchSnapshotResponse { topics: vec![topic], node_endpoints, ..Default::default() }.into()
}
