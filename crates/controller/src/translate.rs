//! From the messages on the wire to those of the quorum.

use std::num::TryFromIntError;

use dohle_raft::{
    AddVoterRequest, BeginQuorumEpochRequest, EndQuorumEpochRequest, Endpoint, FetchRequest,
    FetchSnapshotRequest, KRaftVersions, LogPoint, RemoveVoterRequest, Replica, Request, SnapshotId,
    UpdateVoterRequest, VoteRequest,
};
use dohle_types::{ErrorCode, LeaderEpoch, NodeId, Offset, Uuid};
use dohle_wire::messages::{
    self, add_raft_voter_request, begin_quorum_epoch_request, end_quorum_epoch_request,
    fetch_snapshot_response, update_raft_voter_request,
};
use dohle_wire::{AnyRequest, AnyResponse, Text};

use crate::answers::{PARTITION, QuorumApi};
use crate::store::METADATA_TOPIC;

/// From this version on a fetch names topics by id.
const FETCH_BY_ID: i16 = 13;
/// From this version on a fetch says in a struct who asks.
const FETCH_REPLICA_STATE: i16 = 15;

/// A request for the quorum, or the answer to one that is not for this log.
pub(crate) fn request(request: &AnyRequest, version: i16) -> Option<Result<Request, Box<AnyResponse>>> {
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

/// The answer to a request that is not about the metadata log.
fn invalid(api: QuorumApi) -> Box<AnyResponse> {
    Box::new(api.rejected(ErrorCode::InvalidRequest))
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

fn vote(request: &messages::VoteRequest) -> Result<Request, Box<AnyResponse>> {
    let topic = only(&request.topics).filter(|topic| &*topic.topic_name == METADATA_TOPIC);
    let partition =
        topic.and_then(|topic| only(&topic.partitions)).filter(|p| p.partition_index == PARTITION);
    let partition = partition.ok_or_else(|| invalid(QuorumApi::Vote))?;
    Ok(Request::Vote(VoteRequest {
        cluster_id: text(&request.cluster_id),
        voter: meant_for(request.voter_id, partition.voter_directory_id),
        candidate: Replica::new(NodeId(partition.replica_id), partition.replica_directory_id),
        epoch: LeaderEpoch(partition.replica_epoch),
        last: LogPoint::new(Offset(partition.last_offset), LeaderEpoch(partition.last_offset_epoch)),
        pre_vote: partition.pre_vote,
    }))
}

fn begin_quorum_epoch(request: &messages::BeginQuorumEpochRequest) -> Result<Request, Box<AnyResponse>> {
    let topic = only(&request.topics).filter(|topic| &*topic.topic_name == METADATA_TOPIC);
    let partition =
        topic.and_then(|topic| only(&topic.partitions)).filter(|p| p.partition_index == PARTITION);
    let partition = partition.ok_or_else(|| invalid(QuorumApi::BeginQuorumEpoch))?;
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

fn end_quorum_epoch(
    request: &messages::EndQuorumEpochRequest,
    version: i16,
) -> Result<Request, Box<AnyResponse>> {
    let topic = only(&request.topics).filter(|topic| &*topic.topic_name == METADATA_TOPIC);
    let partition =
        topic.and_then(|topic| only(&topic.partitions)).filter(|p| p.partition_index == PARTITION);
    let partition = partition.ok_or_else(|| invalid(QuorumApi::EndQuorumEpoch))?;
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

fn fetch(request: &messages::FetchRequest, version: i16) -> Result<Request, Box<AnyResponse>> {
    let is_ours = |topic: &&messages::fetch_request::FetchTopic| {
        if version >= FETCH_BY_ID {
            topic.topic_id == Uuid::METADATA_TOPIC
        } else {
            &*topic.topic == METADATA_TOPIC
        }
    };
    let topic = only(&request.topics).filter(is_ours);
    let partition = topic.and_then(|topic| only(&topic.partitions)).filter(|p| p.partition == PARTITION);
    let refuse = || invalid(QuorumApi::Fetch);
    let partition = partition.ok_or_else(refuse)?;
    let replica_id =
        if version >= FETCH_REPLICA_STATE { request.replica_state.replica_id } else { request.replica_id };
    let positive = |value: i32| u32::try_from(value).map_err(|_: TryFromIntError| refuse());
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

fn fetch_snapshot(request: &messages::FetchSnapshotRequest) -> Result<Request, Box<AnyResponse>> {
    let refuse = || invalid(QuorumApi::FetchSnapshot);
    let topic = only(&request.topics).ok_or_else(refuse)?;
    let partition = only(&topic.partitions).ok_or_else(refuse)?;
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
        let response = messages::FetchSnapshotResponse { topics: vec![topic], ..Default::default() };
        return Err(Box::new(response.into()));
    }
    let id =
        SnapshotId::new(Offset(partition.snapshot_id.end_offset), LeaderEpoch(partition.snapshot_id.epoch));
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
