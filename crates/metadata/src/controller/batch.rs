//! The records that one request makes, and the image as they will leave it.
//!
//! A record that was pushed is seen by whatever is decided next, so that two parts of one request cannot contradict each other.

use dohle_types::{ErrorCode, Offset};
use dohle_wire::MetadataRecord;

use super::error::{ApiError, Result};
use crate::image::Image;

/// How many records a request of a user may make: they are appended as one batch.
pub const MAX_RECORDS_PER_REQUEST: usize = 10_000;

/// Records in the making.
pub(super) struct Batch {
    image: Image,
    records: Vec<(MetadataRecord, i16)>,
    next_offset: Offset,
    limit: usize,
}

/// A point to go back to.
pub(super) struct Mark {
    image: Image,
    records: usize,
}

impl Batch {
    /// `limit` is `usize::MAX` for what the cluster does by itself: that may be cut into several batches.
    pub fn new(image: Image, next_offset: Offset, limit: usize) -> Self {
        Self { image, records: Vec::new(), next_offset, limit }
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn push(&mut self, record: impl Into<MetadataRecord>, version: i16) -> Result<()> {
        if self.records.len() >= self.limit {
            return Err(ApiError::new(
                ErrorCode::PolicyViolation,
                "Unable to perform excessively large batch operation.",
            ));
        }
        let record = record.into();
        let offset = self.end_offset();
        self.image.replay(&record, offset).expect("a decision fits the image it was made for");
        self.records.push((record, version));
        Ok(())
    }

    /// The offset after the last record.
    pub fn end_offset(&self) -> Offset {
        self.next_offset.plus(i64::try_from(self.records.len()).expect("a bounded number of records"))
    }

    pub fn mark(&self) -> Mark {
        Mark { image: self.image.clone(), records: self.records.len() }
    }

    /// Forgets what was pushed since the mark was taken.
    pub fn rewind(&mut self, mark: Mark) {
        self.image = mark.image;
        self.records.truncate(mark.records);
    }

    pub fn into_records(self) -> Vec<(MetadataRecord, i16)> {
        self.records
    }
}
