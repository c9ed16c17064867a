//! ConsumerGroupDescribe: the state, the members and the assignments of groups of the consumer protocol (KIP-848).

use dohle_coordinator::groups::{Ask, Response};
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages::ConsumerGroupDescribeRequest;
use dohle_wire::messages::consumer_group_describe_response::{ConsumerGroupDescribeResponse, DescribedGroup};

use crate::api::operations;
use crate::coordinator::errors::told;
use crate::coordinator::groups;
use crate::request::Context;

pub async fn handle(
    context: Context,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let image = context.core.image();
    if !groups::consumer_protocol(context.core.config(), &image) {
        let refused = request.group_ids.into_iter().map(|group| refuse(group, ErrorCode::UnsupportedVersion));
        return ConsumerGroupDescribeResponse { groups: refused.collect(), ..Default::default() };
    }
    let (nameless, named): (Vec<_>, Vec<_>) =
        request.group_ids.into_iter().partition(|group| group.is_empty());
    let mut described: Vec<_> =
        nameless.into_iter().map(|group| refuse(group, ErrorCode::InvalidGroupId)).collect();
    for share in groups::ask_each(&context, named, Ask::ConsumerGroupDescribe).await {
        match share.answer {
            Ok(Response::ConsumerGroupDescribe(groups)) => described.extend(groups),
            Ok(other) => unreachable!("a description of groups is answered by one, not by {other:?}"),
            Err(code) => described.extend(share.groups.into_iter().map(|group| refuse(group, told(code)))),
        }
    }
    if request.include_authorized_operations {
        for group in described.iter_mut().filter(|group| group.error_code == ErrorCode::None.code()) {
            group.authorized_operations = operations::ON_GROUP;
        }
    }
    ConsumerGroupDescribeResponse { groups: described, ..Default::default() }
}

fn refuse(group_id: Text, code: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id, error_code: code.code(), ..Default::default() }
}
