//! ListGroups: the groups that this node coordinates, of the states and types that were asked for.

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

pub async fn handle(context: Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let mut listed = ListGroupsResponse::default();
    for answer in groups::ask_all(&context, Ask::ListGroups(request)).await {
        match answer {
            Ok(Response::ListGroups(response)) => listed.groups.extend(response.groups),
            Ok(other) => unreachable!("a list of groups is answered by one, not by {other:?}"),
            // The shard has gone elsewhere, where it is asked too.
            Err(ErrorCode::NotCoordinator) => {}
            Err(code) => return ListGroupsResponse { error_code: told(code).code(), ..Default::default() },
        }
    }
    listed
}
