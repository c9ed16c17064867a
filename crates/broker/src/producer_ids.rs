//! Producer ids for idempotent producers, handed out from blocks of the controller's.

use std::sync::{Arc, Mutex};

use dohle_controller::ControllerHandle;
use dohle_metadata::RequestContext;
use dohle_types::{ErrorCode, NodeId, ProducerId};
use dohle_wire::messages::AllocateProducerIdsRequest;
use dohle_wire::{AnyRequest, AnyResponse, ApiKey};

use crate::lifecycle::Lifecycle;

/// The rest of the block in use. Ids left over at shutdown are never used again.
#[derive(Clone)]
pub struct ProducerIds(Arc<Source>);

struct Source {
    node: NodeId,
    controller: ControllerHandle,
    lifecycle: Lifecycle,
    block: Mutex<std::ops::Range<i64>>,
}

impl ProducerIds {
    pub fn new(node: NodeId, controller: ControllerHandle, lifecycle: Lifecycle) -> Self {
        Self(Arc::new(Source { node, controller, lifecycle, block: Mutex::new(0..0) }))
    }

    /// An id that no producer of this cluster ever had.
    pub async fn next(&self) -> Result<ProducerId, ErrorCode> {
        loop {
            if let Some(id) = self.block().next() {
                return Ok(ProducerId(id));
            }
            let fresh = self.allocate().await?;
            let mut block = self.block();
            // Several may have asked at once; the blocks of the others are lost, which costs nothing but numbers.
            if block.is_empty() {
                *block = fresh;
            }
        }
    }

    async fn allocate(&self) -> Result<std::ops::Range<i64>, ErrorCode> {
        let request = AllocateProducerIdsRequest {
            broker_id: self.0.node.get(),
            broker_epoch: self.0.lifecycle.epoch().get(),
            ..Default::default()
        };
        let version = ApiKey::AllocateProducerIds.max_version();
        let request = AnyRequest::AllocateProducerIds(request);
        let answer = self.0.controller.request(RequestContext::default(), version, request).await;
        match answer {
            Ok(AnyResponse::AllocateProducerIds(response)) if response.error_code == 0 => {
                let start = response.producer_id_start;
                Ok(start..start + i64::from(response.producer_id_len))
            }
            // A producer tries again on this one (`ProducerIdManager` answers the same while it has no block).
            _ => Err(ErrorCode::CoordinatorLoadInProgress),
        }
    }

    fn block(&self) -> std::sync::MutexGuard<'_, std::ops::Range<i64>> {
        self.0.block.lock().expect("nothing panics while the block is locked")
    }
}
