//! DescribeGroups: the state and the members of classic groups.

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages::DescribeGroupsRequest;
use dohle_wire::messages::describe_groups_response::{DescribeGroupsResponse, DescribedGroup};

use crate::api::operations;
use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

/// From this version on the answer may tell what the client may do with the group.
const OPERATIONS_SINCE: i16 = 3;

pub async fn handle(context: Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let shares = groups::ask_each(&context, request.groups, Ask::DescribeGroups).await;
    let mut described = Vec::new();
    for share in shares {
        match share.answer {
            Ok(Response::DescribeGroups(groups)) => described.extend(groups),
            Ok(other) => unreachable!("a description of groups is answered by one, not by {other:?}"),
            Err(code) => described.extend(share.groups.into_iter().map(|group| refuse(group, told(code)))),
        }
    }
    if context.version >= OPERATIONS_SINCE && request.include_authorized_operations {
        for group in described.iter_mut().filter(|group| group.error_code == ErrorCode::None.code()) {
            group.authorized_operations = operations::ON_GROUP;
        }
    }
    DescribeGroupsResponse { groups: described, ..Default::default() }
}

fn refuse(group_id: Text, code: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id, error_code: code.code(), ..Default::default() }
}
