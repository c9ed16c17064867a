//! FindCoordinator: which node coordinates a group, by the leader of its partition of the coordinator's topic.
//!
//! The topic is made when somebody asks for the first time. Unlike Kafka, which answers COORDINATOR_NOT_AVAILABLE and lets the client
//! ask again, the answer waits for it: it takes a millisecond.

use dohle_types::{ErrorCode, NodeId, is_internal_topic};
use dohle_wire::Text;
use dohle_wire::messages::FindCoordinatorRequest;
use dohle_wire::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use crate::auto_topics;
use crate::coordinator::errors::sentence;
use crate::coordinator::groups;
use crate::request::Context;

/// From this version on a request may have several keys.
const KEYS_SINCE: i16 = 4;
/// From this version on there are coordinators of share groups.
const SHARE_SINCE: i16 = 6;

/// `CoordinatorType`.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// A node that clients can reach.
struct Node {
    id: NodeId,
    host: Text,
    port: i32,
}

pub async fn handle(context: Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let kind = request.key_type;
    if context.version < KEYS_SINCE {
        let found = find(&context, kind, &request.key).await;
        let code = found.as_ref().map_or_else(|&code| code, |_| ErrorCode::None);
        let Node { id, host, port } = found.unwrap_or_else(|_| Node::none());
        return FindCoordinatorResponse {
            error_code: code.code(),
            error_message: sentence(code).map(Text::from_static),
            node_id: id.get(),
            host,
            port,
            ..Default::default()
        };
    }
    let known = matches!(kind, GROUP | TRANSACTION | SHARE);
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    for key in request.coordinator_keys {
        let found = find(&context, kind, &key).await;
        let code = found.as_ref().map_or_else(|&code| code, |_| ErrorCode::None);
        let Node { id, host, port } = found.unwrap_or_else(|_| Node::none());
        let mut coordinator =
            Coordinator { key, node_id: id.get(), host, port, error_code: code.code(), ..Default::default() };
        if !known {
            // Kafka refuses such a request as a whole, and then says so.
            coordinator.error_message = sentence(code).map(Text::from_static);
        }
        coordinators.push(coordinator);
    }
    FindCoordinatorResponse { coordinators, ..Default::default() }
}

async fn find(context: &Context, kind: i8, key: &Text) -> Result<Node, ErrorCode> {
    match kind {
        GROUP => find_group(context, key).await,
        // Nobody coordinates transactions here.
        TRANSACTION => Err(ErrorCode::CoordinatorNotAvailable),
        SHARE if context.version < SHARE_SINCE || !is_share_key(key) => Err(ErrorCode::InvalidRequest),
        // Nor share groups.
        SHARE => Err(ErrorCode::CoordinatorNotAvailable),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

/// `SharePartitionKey`: group, topic id and partition.
fn is_share_key(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts.next().and_then(|part| part.parse::<i32>().ok());
    let topic = parts.next().and_then(|part| part.parse::<dohle_types::Uuid>().ok());
    partition.is_some() && topic.is_some() && parts.next().is_some_and(|group| !group.is_empty())
}

async fn find_group(context: &Context, group: &str) -> Result<Node, ErrorCode> {
    debug_assert!(is_internal_topic(groups::TOPIC));
    let mut image = context.core.image();
    if image.topics.by_name(groups::TOPIC).is_none() {
        auto_topics::create_internal(context, groups::TOPIC).await;
        image = context.core.image();
    }
    let unavailable = ErrorCode::CoordinatorNotAvailable;
    let topic = image.topics.by_name(groups::TOPIC).filter(|topic| !topic.partitions.is_empty());
    let topic = topic.ok_or(unavailable)?;
    let partition = topic.partitions.get(groups::partition_of(group, topic.partitions.len()));
    let leader = partition.and_then(|state| image.brokers.get(state.leader)).filter(|broker| !broker.fenced);
    let leader = leader.ok_or(unavailable)?;
    let endpoint = leader.endpoint(&context.peer.session.door.name).ok_or(unavailable)?;
    Ok(Node { id: leader.id, host: endpoint.host.clone(), port: endpoint.port.into() })
}

impl Node {
    fn none() -> Self {
        Self { id: NodeId::NONE, host: Text::new(), port: -1 }
    }
}
