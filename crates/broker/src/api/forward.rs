//! Requests that the controller answers. In a node that is both, the controller is a thread away.

use dohle_controller::Refused;
use dohle_wire::{AnyRequest, AnyResponse, DecodeError, Reader};
use tracing::warn;

use crate::request::{Context, Reply, Response};

pub fn start(context: Context, mut reader: Reader) -> Result<Reply, DecodeError> {
    let request = AnyRequest::decode(context.key, context.version, &mut reader)?;
    Ok(Reply::Later(Box::pin(async move {
        match ask(&context, context.version, request).await {
            Ok(response) => context.respond_any(&response),
            Err(refused) => {
                // Whether the request took effect is not known; a client finds out by asking again, on another connection.
                warn!(api = context.key.name(), %refused, "the controller gave no answer");
                Response::Close
            }
        }
    })))
}

/// Asks the controller in the name of the client.
pub async fn ask(context: &Context, version: i16, request: AnyRequest) -> Result<AnyResponse, Refused> {
    context.core.controller().request(context.for_controller(), version, request).await
}
