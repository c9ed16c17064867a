//! AllocateProducerIds: a block of ids for a broker to hand out.

use dohle_types::{ErrorCode, ProducerId};
use dohle_wire::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse, ProducerIdsRecord};

use super::error::{ApiError, Result};
use super::turn::Turn;

/// How many producer ids a broker gets at a time.
pub const PRODUCER_ID_BLOCK_SIZE: i32 = 1000;

impl Turn<'_> {
    pub(super) fn allocate_producer_ids(
        &mut self,
        request: &AllocateProducerIdsRequest,
    ) -> Result<AllocateProducerIdsResponse> {
        self.check_broker_epoch(request.broker_id, request.broker_epoch)?;
        let first = self.image().producer_ids.next.unwrap_or(ProducerId(0));
        let Some(next) = first.get().checked_add(i64::from(PRODUCER_ID_BLOCK_SIZE)) else {
            return Err(ApiError::bare(ErrorCode::UnknownServerError));
        };
        let record = ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id: next,
            ..Default::default()
        };
        self.batch.push(record, 0)?;
        Ok(AllocateProducerIdsResponse {
            producer_id_start: first.get(),
            producer_id_len: PRODUCER_ID_BLOCK_SIZE,
            ..Default::default()
        })
    }
}
