//! The output of a compaction: a segment under `.cleaned` names, with its indexes.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dohle_env::disk::OpenMode;
use dohle_env::{Disk, DiskFile};
use dohle_types::Offset;

use super::CompactionError;
use crate::error::{LogError, failed};
use crate::frame::Frame;
use crate::index::AbortedTransaction;
use crate::names::{FileKind, FileState, file_name};
use crate::recovery::ignore_missing;
use crate::segment::{Segment, SegmentView};
use crate::storing::write_synced;

/// How many bytes are collected for one write.
const WRITE_BYTES: usize = 1 << 20;
/// No segment is larger: positions are 32-bit numbers, and signed in Kafka.
const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;

pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    interval: u64,
    segment: Segment,
    /// `None` while what would be in the file is what the first source begins with.
    file: Option<Arc<dyn DiskFile>>,
    /// Not written yet; ends where the segment does.
    buffer: Vec<u8>,
}

impl Writer {
    pub fn new(disk: Arc<dyn Disk>, dir: Arc<Path>, mut segment: Segment, interval: u64) -> Self {
        segment.start_over();
        Self { disk, dir, interval, segment, file: None, buffer: Vec::new() }
    }

    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Makes the file. What was noted so far is copied from the start of `source`. How many bytes that were.
    pub fn make_file(&mut self, source: &SegmentView) -> Result<u64, CompactionError> {
        remove_output(self.disk.as_ref(), &self.dir, self.segment.base)?;
        let path = self.path(FileKind::Log);
        // A new one: what an earlier one had whose flush failed proves nothing.
        let file = self.disk.open(&path, OpenMode::CreateNew).map_err(failed("making", &path))?;
        let (from, prefix) = (source.source()?, self.segment.size);
        let mut at = 0;
        while at < prefix {
            let len = (prefix - at).min(WRITE_BYTES as u64);
            let bytes =
                from.read_exact(at, len as usize).map_err(failed("reading", &source.path(FileKind::Log)))?;
            file.write_all_at(&[IoSlice::new(&bytes)], at).map_err(failed("writing", &path))?;
            at += len;
        }
        self.file = Some(file);
        Ok(prefix)
    }

    /// Notes a batch, and writes it if there is a file. Its position in `frame` is not looked at.
    pub fn append(&mut self, frame: &Frame, bytes: &[u8]) -> Result<(), CompactionError> {
        let size = self.segment.size + frame.size;
        if size > MAX_SEGMENT_BYTES || !self.segment.reaches(frame.last_offset) {
            let what =
                format!("what is left of segments from {} on does not fit into one", self.segment.base);
            return Err(CompactionError::Damaged(what));
        }
        self.segment.note(frame.last_offset, frame.max_timestamp, frame.size, self.interval);
        if self.has_file() {
            self.buffer.extend_from_slice(bytes);
            if self.buffer.len() >= WRITE_BYTES {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Stores everything, under durable `.cleaned` names.
    pub fn finish(mut self, aborted: Vec<AbortedTransaction>) -> Result<Segment, CompactionError> {
        self.write()?;
        for aborted in aborted {
            self.segment.note_aborted(aborted);
        }
        let indexes = self.segment.seal();
        self.write_index(FileKind::OffsetIndex, &indexes.encode_offsets())?;
        self.write_index(FileKind::TimeIndex, &indexes.encode_times())?;
        if !indexes.aborted.is_empty() {
            self.write_index(FileKind::TransactionIndex, &indexes.encode_aborted())?;
        }
        let path = self.path(FileKind::Log);
        let file = self.file.take().expect("a segment that is finished has a file");
        if !cfg!(dohle_bug = "compaction_output_unsynced") {
            let _stored = file.sync_data().map_err(failed("flushing", &path))?;
        }
        self.segment.file = Some(file);
        // A name that a crash could take would take its new name with it, and leave the others: a log without its indexes.
        if !cfg!(dohle_bug = "compaction_output_nameless") {
            let _stored = self.disk.sync_dir(&self.dir).map_err(failed("flushing", &self.dir))?;
        }
        Ok(self.segment)
    }

    fn write(&mut self) -> Result<(), LogError> {
        let (Some(file), false) = (&self.file, self.buffer.is_empty()) else { return Ok(()) };
        let position = self.segment.size - self.buffer.len() as u64;
        let path = self.path(FileKind::Log);
        file.write_all_at(&[IoSlice::new(&self.buffer)], position).map_err(failed("writing", &path))?;
        let _hint = file.start_writeback(position, self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }

    fn write_index(&self, kind: FileKind, contents: &[u8]) -> Result<(), LogError> {
        write_synced(self.disk.as_ref(), &self.path(kind), contents)
    }

    fn path(&self, kind: FileKind) -> PathBuf {
        self.dir.join(file_name(self.segment.base, kind, FileState::Cleaned))
    }
}

/// Removes the files of an output that nobody wants.
pub(super) fn remove_output(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<(), LogError> {
    for kind in FileKind::ALL {
        let path = dir.join(file_name(base, kind, FileState::Cleaned));
        disk.remove_file(&path).or_else(ignore_missing).map_err(failed("removing", &path))?;
    }
    Ok(())
}
