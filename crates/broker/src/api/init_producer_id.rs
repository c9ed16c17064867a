//! InitProducerId: an identity for an idempotent producer.
//!
//! Producers with a transactional id belong to a transaction coordinator, which this node does not have: they are told so in the way
//! that makes them look for it elsewhere.

use dohle_types::ErrorCode;
use dohle_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::request::Context;

pub async fn handle(context: Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    match request.transactional_id.as_deref() {
        Some("") => refused(ErrorCode::InvalidRequest),
        Some(_) => refused(ErrorCode::NotCoordinator),
        // An idempotent producer that lost its place asks with its old id, and gets a new one all the same.
        None => match context.core.shared().producer_ids.next().await {
            Ok(id) => {
                InitProducerIdResponse { producer_id: id.get(), producer_epoch: 0, ..Default::default() }
            }
            Err(code) => refused(code),
        },
    }
}
