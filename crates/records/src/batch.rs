//! A whole batch of format 2: its header, and its body where it lies.

use bytes::Bytes;

use crate::error::BatchError;
use crate::header::{BatchHeader, CRC_START, HEADER_LEN, LOG_OVERHEAD, batch_crc};
use crate::scan::{RecordScan, Records};

/// A batch. The header stands apart so that offsets, epoch and time can be set without touching the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub header: BatchHeader,
    /// What follows the 61 bytes of the header: the records, compressed as the attributes say.
    pub body: Bytes,
}

impl Batch {
    /// Takes the batch at the start of `bytes`. The checksum is not looked at: see [`Batch::check_crc`].
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let size = header.size();
        if bytes.len() < size {
            return Err(BatchError::Incomplete { needed: size as u64, available: bytes.len() as u64 });
        }
        Ok(Self { header, body: bytes.slice(HEADER_LEN..size) })
    }

    /// The size of the whole batch in bytes.
    pub fn size(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// Whether the checksum in the header is that of header and body.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = self.header.compute_crc(&self.body);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::Checksum { stored: self.header.crc, computed })
        }
    }

    /// Sets the checksum after a change to what it covers.
    pub fn seal(&mut self) {
        self.header.crc = self.header.compute_crc(&self.body);
    }

    /// The batch as two segments for a gathering write: the encoded header and the untouched body.
    pub fn segments(&self) -> [Bytes; 2] {
        [Bytes::copy_from_slice(&self.header.encode()), self.body.clone()]
    }

    /// The batch in one piece. Copies the body.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size());
        bytes.extend_from_slice(&self.header.encode());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The records, decompressed piece by piece to at most `limit` bytes.
    pub fn records(&self, limit: u64) -> Records {
        Records::new(self.header, self.scan(limit))
    }

    /// The records as views that last until the next one is asked for; nothing is allocated for a record.
    pub fn scan(&self, limit: u64) -> Result<RecordScan, BatchError> {
        RecordScan::new(self.header.compression()?, self.body.clone(), self.header.record_count, limit)
    }
}

/// Checks the checksum of a batch in one piece, `bytes` being exactly the batch.
pub(crate) fn check_crc_of(bytes: &[u8], stored: u32) -> Result<(), BatchError> {
    debug_assert!(bytes.len() >= HEADER_LEN);
    let computed = batch_crc(&[&bytes[CRC_START..]]);
    if computed == stored { Ok(()) } else { Err(BatchError::Checksum { stored, computed }) }
}

/// The batches in `bytes`, one after the other. A batch cut short at the end gives [`BatchError::Incomplete`]; after any error
/// the iteration ends. Batches of formats 0 and 1 are an error here: [`crate::parse_entries`] reads them too.
pub fn parse_batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes, failed: false }
}

/// See [`parse_batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    failed: bool,
}

impl Batches {
    /// The bytes after the last batch that was returned.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.failed {
            return None;
        }
        let batch = Batch::parse(&self.rest);
        match &batch {
            Ok(batch) => drop(self.rest.split_to(batch.size())),
            Err(_) => self.failed = true,
        }
        Some(batch)
    }
}

const _: () = assert!(CRC_START > LOG_OVERHEAD && CRC_START < HEADER_LEN);
