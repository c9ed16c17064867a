//! DeleteGroups: groups without members go, with their offsets.

use std::collections::HashSet;

use dohle_coordinator::groups::{Ask, Response};
use dohle_wire::messages::DeleteGroupsRequest;
use dohle_wire::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};

use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

pub async fn handle(context: Context, mut request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut seen = HashSet::new();
    request.groups_names.retain(|group| seen.insert(group.clone()));
    let mut results = Vec::with_capacity(request.groups_names.len());
    for share in groups::ask_each(&context, request.groups_names, Ask::DeleteGroups).await {
        match share.answer {
            Ok(Response::DeleteGroups(deleted)) => results.extend(deleted),
            Ok(other) => unreachable!("a deletion of groups is answered by one, not by {other:?}"),
            Err(code) => results.extend(share.groups.into_iter().map(|group_id| DeletableGroupResult {
                group_id,
                error_code: told(code).code(),
                ..Default::default()
            })),
        }
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
