//! What the shell adds to the quorum's answers: bytes of the log and of snapshots, and the description of the quorum.

use bytes::Bytes;
use dohle_raft::{Chunk, Fetched, Quorum, Response, TickMs};
use dohle_types::{ErrorCode, NodeId, TimestampMs, Uuid};
use dohle_wire::AnyResponse;
use dohle_wire::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use dohle_wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};

use crate::answers::{Answer, FetchedBytes};
use crate::error::StoreError;
use crate::store::{METADATA_TOPIC, Store};

/// From this version on the answer names directories, nodes and messages.
const WITH_NODES: i16 = 2;

/// Reads what an answer promises.
pub(crate) fn fill(store: &mut Store, response: Response) -> Result<Answer, StoreError> {
    Ok(match response {
        Response::Rejected(error) => Answer::Rejected(error),
        Response::Vote { standing, granted } => Answer::Vote { standing, granted },
        Response::BeginQuorumEpoch(standing) => Answer::BeginQuorumEpoch(standing),
        Response::EndQuorumEpoch(standing) => Answer::EndQuorumEpoch(standing),
        Response::Fetch(response) => {
            let fetched = match response.fetched {
                Fetched::Nothing | Fetched::Entries(_) => FetchedBytes::Records(Bytes::new()),
                Fetched::ReadFrom { offset, max_bytes } => {
                    let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
                    FetchedBytes::Records(store.read_bytes(offset, store.end(), max_bytes)?)
                }
                Fetched::Diverging(point) => FetchedBytes::Diverging(point),
                Fetched::Snapshot(id) => FetchedBytes::Snapshot(id),
            };
            let (standing, high_watermark) = (response.standing, response.high_watermark);
            Answer::Fetch { standing, high_watermark, log_start: response.log_start, fetched }
        }
        Response::FetchSnapshot(response) => {
            let (mut standing, id) = (response.standing, response.id);
            let (mut position, mut size, mut bytes) = (0, 0, Bytes::new());
            if let Chunk::ReadFrom { position: from, max_bytes } = response.chunk {
                match store.read_snapshot(id, from, max_bytes)? {
                    None => standing.error = ErrorCode::SnapshotNotFound,
                    Some((_, whole)) if from >= whole => standing.error = ErrorCode::PositionOutOfRange,
                    Some((part, whole)) => (position, size, bytes) = (from, whole, part),
                }
            }
            Answer::FetchSnapshot { standing, id, position, size, bytes }
        }
        Response::AddVoter(result) => Answer::AddVoter(result),
        Response::RemoveVoter(result) => Answer::RemoveVoter(result),
        Response::UpdateVoter(standing) => Answer::UpdateVoter(standing),
        Response::ApiVersions(_) => unreachable!("the quorum is never asked for versions"),
    })
}

/// `DescribeQuorum`: `described` is `None` when this node does not lead. `clocks` are the same moment on both clocks.
pub(crate) fn describe_quorum(
    request: &DescribeQuorumRequest,
    described: Option<&Quorum>,
    clocks: (TickMs, TimestampMs),
    version: i16,
) -> AnyResponse {
    let is_ours = matches!(&request.topics[..], [topic]
        if &*topic.topic_name == METADATA_TOPIC && matches!(&topic.partitions[..], [p] if p.partition_index == 0));
    if !is_ours {
        return unknown_partitions(request);
    }
    let Some(quorum) = described else {
        let partition = PartitionData {
            error_code: ErrorCode::NotLeaderOrFollower.code(),
            error_message: Some("This node does not lead the metadata quorum.".into()),
            ..Default::default()
        };
        return with_partition(partition, Vec::new());
    };
    let state = |state: &dohle_raft::ReplicaState| {
        let mut shown = replica_state(state, quorum.leader, clocks);
        if version < WITH_NODES {
            shown.replica_directory_id = Uuid::ZERO;
        }
        shown
    };
    let partition = PartitionData {
        leader_id: quorum.leader.get(),
        leader_epoch: quorum.epoch.get(),
        high_watermark: quorum.high_watermark.map_or(-1, |offset| offset.get()),
        current_voters: quorum.voters.iter().map(state).collect(),
        observers: quorum.observers.iter().map(state).collect(),
        ..Default::default()
    };
    let nodes = if version >= WITH_NODES { nodes(quorum) } else { Vec::new() };
    with_partition(partition, nodes)
}

fn with_partition(partition: PartitionData, nodes: Vec<Node>) -> AnyResponse {
    let topic =
        TopicData { topic_name: METADATA_TOPIC.into(), partitions: vec![partition], ..Default::default() };
    DescribeQuorumResponse { topics: vec![topic], nodes, ..Default::default() }.into()
}

fn unknown_partitions(request: &DescribeQuorumRequest) -> AnyResponse {
    let topics = request.topics.iter().map(|topic| TopicData {
        topic_name: topic.topic_name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| PartitionData {
                partition_index: partition.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                error_message: Some("This server does not host this topic-partition.".into()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    DescribeQuorumResponse { topics: topics.collect(), ..Default::default() }.into()
}

fn nodes(quorum: &Quorum) -> Vec<Node> {
    let listener = |endpoint: &dohle_raft::Endpoint| Listener {
        name: endpoint.name.as_str().into(),
        host: endpoint.host.as_str().into(),
        port: endpoint.port,
        ..Default::default()
    };
    let node = |(id, endpoints): &(NodeId, Vec<dohle_raft::Endpoint>)| Node {
        node_id: id.get(),
        listeners: endpoints.iter().map(listener).collect(),
        ..Default::default()
    };
    quorum.nodes.iter().map(node).collect()
}

fn replica_state(
    state: &dohle_raft::ReplicaState,
    leader: NodeId,
    (tick, wall): (TickMs, TimestampMs),
) -> ReplicaState {
    let wall_time = |at: Option<TickMs>| match at {
        Some(at) => wall.get() - i64::try_from(tick.since(at)).unwrap_or(0),
        None => -1,
    };
    // The leader is always caught up with itself.
    let (last_fetch, caught_up) = if state.replica.id == leader {
        (wall.get(), wall.get())
    } else {
        (wall_time(state.last_fetch), wall_time(state.last_caught_up))
    };
    ReplicaState {
        replica_id: state.replica.id.get(),
        replica_directory_id: state.replica.directory,
        log_end_offset: state.end.map_or(-1, |end| end.get()),
        last_fetch_timestamp: last_fetch,
        last_caught_up_timestamp: caught_up,
        ..Default::default()
    }
}
