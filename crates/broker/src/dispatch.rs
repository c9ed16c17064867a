//! The table of all APIs this node serves. What is true of an API as a whole is decided here, once: where it is served, in which
//! versions, and whether it waits for the requests before it.
//!
//! Adding an API is one file under `api/` and one line below; `docs/cookbook/adding-an-api.md` walks through it.

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use dohle_wire::messages as m;
use dohle_wire::{ApiKey, DecodeError, Reader, Request};

use crate::api;
use crate::core::Core;
use crate::request::{Context, NoRequest, Peer, Reply};

/// Whether a request waits until the ones before it on the connection are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Ordered,
    /// It is started at once, its effects taking place in the order of the requests, and finished later.
    Pipelined,
}

/// One API.
pub struct Entry {
    pub key: ApiKey,
    pub flow: Flow,
    start: fn(Context, Reader) -> Result<Reply, DecodeError>,
}

macro_rules! ordered {
    ($request:ident, $module:ident) => {
        Entry {
            key: <m::$request as Request>::KEY,
            flow: Flow::Ordered,
            start: |context, reader| ordered(context, reader, api::$module::handle),
        }
    };
}

/// As `ordered`, for requests that wait for other members of their group.
macro_rules! parked {
    ($request:ident, $module:ident) => {
        Entry {
            key: <m::$request as Request>::KEY,
            flow: Flow::Ordered,
            start: |context, reader| match ordered(context.detached(), reader, api::$module::handle)? {
                Reply::Later(later) => Ok(Reply::Parked(later)),
                reply => Ok(reply),
            },
        }
    };
}

/// An API that the controller answers; a broker passes its requests on.
const fn forwarded(key: ApiKey) -> Entry {
    Entry { key, flow: Flow::Ordered, start: api::forward::start }
}

/// Every API, in the order of the keys.
static TABLE: &[Entry] = &[
    Entry { key: ApiKey::Produce, flow: Flow::Pipelined, start: api::produce::start },
    Entry { key: ApiKey::Fetch, flow: Flow::Ordered, start: api::fetch::start },
    ordered!(ListOffsetsRequest, list_offsets),
    ordered!(MetadataRequest, metadata),
    ordered!(OffsetCommitRequest, offset_commit),
    ordered!(OffsetFetchRequest, offset_fetch),
    ordered!(FindCoordinatorRequest, find_coordinator),
    parked!(JoinGroupRequest, join_group),
    ordered!(HeartbeatRequest, heartbeat),
    ordered!(LeaveGroupRequest, leave_group),
    parked!(SyncGroupRequest, sync_group),
    ordered!(DescribeGroupsRequest, describe_groups),
    ordered!(ListGroupsRequest, list_groups),
    Entry { key: ApiKey::ApiVersions, flow: Flow::Ordered, start: api::api_versions::start },
    forwarded(ApiKey::CreateTopics),
    forwarded(ApiKey::DeleteTopics),
    ordered!(DeleteRecordsRequest, delete_records),
    ordered!(InitProducerIdRequest, init_producer_id),
    ordered!(OffsetForLeaderEpochRequest, offset_for_leader_epoch),
    ordered!(DescribeConfigsRequest, describe_configs),
    ordered!(AlterConfigsRequest, alter_configs),
    ordered!(AlterReplicaLogDirsRequest, alter_replica_log_dirs),
    ordered!(DescribeLogDirsRequest, describe_log_dirs),
    forwarded(ApiKey::CreatePartitions),
    ordered!(DeleteGroupsRequest, delete_groups),
    ordered!(IncrementalAlterConfigsRequest, incremental_alter_configs),
    ordered!(OffsetDeleteRequest, offset_delete),
    forwarded(ApiKey::Vote),
    forwarded(ApiKey::BeginQuorumEpoch),
    forwarded(ApiKey::EndQuorumEpoch),
    forwarded(ApiKey::DescribeQuorum),
    forwarded(ApiKey::AlterPartition),
    forwarded(ApiKey::UpdateFeatures),
    forwarded(ApiKey::FetchSnapshot),
    ordered!(DescribeClusterRequest, describe_cluster),
    forwarded(ApiKey::BrokerRegistration),
    forwarded(ApiKey::BrokerHeartbeat),
    forwarded(ApiKey::UnregisterBroker),
    forwarded(ApiKey::AllocateProducerIds),
    ordered!(ConsumerGroupHeartbeatRequest, consumer_group_heartbeat),
    ordered!(ConsumerGroupDescribeRequest, consumer_group_describe),
    forwarded(ApiKey::ControllerRegistration),
    ordered!(GetTelemetrySubscriptionsRequest, get_telemetry_subscriptions),
    ordered!(PushTelemetryRequest, push_telemetry),
    forwarded(ApiKey::AssignReplicasToDirs),
    ordered!(ListConfigResourcesRequest, list_config_resources),
    ordered!(DescribeTopicPartitionsRequest, describe_topic_partitions),
];

fn find(key: i16) -> Option<&'static Entry> {
    TABLE.binary_search_by_key(&key, |entry| entry.key.code()).ok().map(|at| &TABLE[at])
}

/// Every API that a kind of listener serves.
pub fn served(controller_listener: bool) -> impl Iterator<Item = &'static Entry> {
    TABLE.iter().filter(move |entry| is_served(entry.key, controller_listener))
}

fn is_served(key: ApiKey, controller_listener: bool) -> bool {
    if controller_listener { key.on_controller_listener() } else { key.on_broker_listener() }
}

/// How the API with this key flows; unknown keys are refused in order.
pub fn flow(key: i16) -> Flow {
    find(key).map_or(Flow::Ordered, |entry| entry.flow)
}

/// Starts the request in a frame.
pub fn start(
    core: &Rc<Core>,
    peer: &Rc<Peer>,
    key: i16,
    version: i16,
    frame: Bytes,
) -> Result<Reply, NoRequest> {
    let api = ApiKey::from_code(key).ok_or(NoRequest::UnknownApi(key))?;
    let entry = find(key).ok_or(NoRequest::UnknownApi(key))?;
    if !is_served(api, peer.session.door.controller) {
        return Err(NoRequest::NotServedHere(api));
    }
    let supported = api.supports(version, core.limits().unstable_versions);
    // An ApiVersions request of a version from the future is answered, so that the client can try an older one.
    let future = api == ApiKey::ApiVersions && !supported;
    if !supported && !future {
        return Err(NoRequest::UnsupportedVersion(api, version));
    }
    let mut reader = Reader::new(frame);
    // Such a request has a header of a form nobody here knows; only its correlation id is at a place that never changes.
    let header_version = if future { 0 } else { version };
    let context = Context::read(core, peer, api, header_version, &mut reader)?;
    let context = Context { version, ..context };
    core.metrics.started(api);
    Ok((entry.start)(context, reader)?)
}

/// Reads the body and runs a handler that gives the response.
fn ordered<R, F, Fut>(context: Context, mut reader: Reader, handle: F) -> Result<Reply, DecodeError>
where
    R: Request + 'static,
    F: FnOnce(Context, R) -> Fut + 'static,
    Fut: Future<Output = R::Response> + 'static,
{
    let request = R::decode(&mut reader, context.version)?;
    let response = handle(context.clone(), request);
    Ok(Reply::Later(Box::pin(async move { context.respond(&response.await) })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLE.windows(2).all(|pair| pair[0].key.code() < pair[1].key.code()));
    }
}
