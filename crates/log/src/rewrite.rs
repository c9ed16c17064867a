//! Writing again, in its place, what recovery has verified.
//!
//! After a flush that failed, the kernel takes pages for clean that the device never got; they are read as if they were stored, and the next
//! flush has nothing to write. Whoever is started again on the same page cache cannot tell. So what is not known to be flushed is written once
//! more, from the memory in which its checksum was checked: then it is dirty, and the flush that follows says of it what is true.
//!
//! Bound: [`GATHERED_BYTES`] and a batch are held at a time.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use dohle_env::DiskFile;

use crate::error::{LogError, failed};

/// What is written at once.
const GATHERED_BYTES: usize = 1 << 20;
const GATHERED_PIECES: usize = 512;

/// Bytes of one file, in their order, on their way back to where they were read.
pub(crate) struct Rewrite {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// Where the first of `pieces` belongs. They follow one another.
    position: u64,
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Rewrite {
    pub fn of(file: Arc<dyn DiskFile>, path: PathBuf) -> Self {
        Self { file, path, position: 0, pieces: Vec::new(), bytes: 0 }
    }

    /// Takes the bytes that were read at `position`.
    pub fn push(&mut self, position: u64, bytes: Bytes) -> Result<(), LogError> {
        let is_full = self.bytes >= GATHERED_BYTES || self.pieces.len() >= GATHERED_PIECES;
        if is_full || self.position + self.bytes as u64 != position {
            self.write()?;
            self.position = position;
        }
        self.bytes += bytes.len();
        self.pieces.push(bytes);
        Ok(())
    }

    /// Writes what was taken.
    pub fn write(&mut self) -> Result<(), LogError> {
        if !cfg!(dohle_bug = "believed_after_failed_flush") && self.bytes > 0 {
            let slices: Vec<IoSlice<'_>> = self.pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            self.file.write_all_at(&slices, self.position).map_err(failed("writing again", &self.path))?;
        }
        self.pieces.clear();
        self.bytes = 0;
        Ok(())
    }
}
