//! What is asked of the coordinator of groups, and what it answers: the protocol's own messages, one group or one shard's share of
//! a request at a time. Which shard a group belongs to, who may ask, and which topics exist under which name has been settled by the shell.

use dohle_wire::Text;
use dohle_wire::messages as m;

use crate::frame::{Moment, ReplyTo};

/// Who asks. The texts are in buffers of their own, so that members may keep them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub id: Text,
    /// As Kafka writes it: `/127.0.0.1`.
    pub host: Text,
}

/// A request to a shard.
#[derive(Clone, Debug)]
pub struct Request {
    pub client: Client,
    /// The version of the client's request: some answers depend on it.
    pub version: i16,
    pub ask: Ask,
}

#[derive(Clone, Debug)]
pub enum Ask {
    JoinGroup(m::JoinGroupRequest),
    SyncGroup(m::SyncGroupRequest),
    Heartbeat(m::HeartbeatRequest),
    LeaveGroup(m::LeaveGroupRequest),
    /// Topics carry names, and ids where the client or the metadata gave one. Partitions that do not exist have been answered already.
    OffsetCommit(m::OffsetCommitRequest),
    /// One group of the request; `stable` asks to wait for open transactions. No topics: all that were committed.
    OffsetFetch {
        group: m::offset_fetch_request::OffsetFetchRequestGroup,
        stable: bool,
    },
    OffsetDelete(m::OffsetDeleteRequest),
    DeleteGroups(Vec<Text>),
    ListGroups(m::ListGroupsRequest),
    DescribeGroups(Vec<Text>),
    ConsumerGroupHeartbeat(m::ConsumerGroupHeartbeatRequest),
    ConsumerGroupDescribe(Vec<Text>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    JoinGroup(m::JoinGroupResponse),
    SyncGroup(m::SyncGroupResponse),
    Heartbeat(m::HeartbeatResponse),
    LeaveGroup(m::LeaveGroupResponse),
    OffsetCommit(m::OffsetCommitResponse),
    OffsetFetch(m::offset_fetch_response::OffsetFetchResponseGroup),
    OffsetDelete(m::OffsetDeleteResponse),
    DeleteGroups(Vec<m::delete_groups_response::DeletableGroupResult>),
    ListGroups(m::ListGroupsResponse),
    DescribeGroups(Vec<m::describe_groups_response::DescribedGroup>),
    ConsumerGroupHeartbeat(m::ConsumerGroupHeartbeatResponse),
    ConsumerGroupDescribe(Vec<m::consumer_group_describe_response::DescribedGroup>),
}

/// Who asks, when, and how: what every handler is told beside the request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub moment: Moment,
    pub to: ReplyTo,
    pub client: Client,
    pub version: i16,
}
