//! What the record of a transaction marker says.

use dohle_records::Batch;
use dohle_records::control::{ControlRecord, EndTransaction};

/// The most a control record may unfold to; markers are a few bytes and never compressed.
const MARKER_LIMIT: u64 = 4096;

/// Reads the marker out of a control batch of a producer. `Ok(None)` when compaction has emptied the batch, or when its record is of
/// a type that says nothing about transactions.
pub(crate) fn marker_of(batch: &Batch) -> Result<Option<EndTransaction>, String> {
    let Some(record) = batch.records(MARKER_LIMIT).next() else { return Ok(None) };
    let record =
        record.and_then(|record| ControlRecord::parse(&record)).map_err(|error| error.to_string())?;
    match record {
        ControlRecord::EndTransaction(marker) => Ok(Some(marker)),
        ControlRecord::KRaft(..) | ControlRecord::Unknown(_) => Ok(None),
    }
}
