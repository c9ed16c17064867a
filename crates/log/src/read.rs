//! Reading by offset: from the tail in memory, from the page cache, or, off the owner's thread, from the device.

use bytes::Bytes;
use dohle_types::Offset;

use crate::buffers::ReadBuffers;
use crate::error::{ReadError, failed};
use crate::frame::Frame;
use crate::log::Log;
use crate::names::FileKind;
use crate::segment::SegmentView;

/// How many segments with batches a read looks for its offset in. Compaction leaves segments whose last batch lies before the
/// offset; then the next one begins after it.
const MAX_SEGMENTS_SEARCHED: usize = 2;

/// Whole batches, in the order of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    pub chunks: Vec<Bytes>,
    /// The first offset of the first batch, which may lie below the one that was asked for.
    pub start: Offset,
    /// One past the last offset; the offset that was asked for when there is no batch.
    pub end: Offset,
    pub bytes: usize,
}

impl Slice {
    fn empty(at: Offset) -> Self {
        Self { chunks: Vec::new(), start: at, end: at, bytes: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

/// What a read gives at once.
pub enum Read {
    Ready(Slice),
    /// The bytes are not in memory: run it on a thread that may wait.
    Cold(ColdRead),
}

/// A read that may wait for the device. Batches that come from there have their checksums checked.
pub struct ColdRead(Reading);

impl ColdRead {
    pub fn run(self) -> Result<Slice, ReadError> {
        self.0.run().map(|found| found.slice)
    }
}

#[derive(Clone)]
struct Reading {
    buffers: ReadBuffers,
    views: Vec<SegmentView>,
    from: Offset,
    up_to: Offset,
    max_bytes: usize,
    at_least_one: bool,
}

/// A slice, and where in which segment it ended.
struct Found {
    slice: Slice,
    end: Option<(Offset, u64)>,
}

impl Log {
    /// Whole batches from the one that holds `from` on, at most `max_bytes` of them, all below `up_to` (exclusive: the high
    /// watermark, the last stable offset, or the end). With `at_least_one` the first batch comes even if it is larger.
    pub fn read(
        &mut self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Read, ReadError> {
        self.check_usable()?;
        if from < self.start || from > self.end {
            return Err(ReadError::OutOfRange { offset: from, start: self.start, end: self.end });
        }
        let up_to = up_to.min(self.end);
        if from >= up_to || (max_bytes == 0 && !at_least_one) {
            return Ok(Read::Ready(Slice::empty(from)));
        }
        if let Some(slice) = self.read_tail(from, up_to, max_bytes, at_least_one) {
            return Ok(Read::Ready(slice));
        }
        let first = self.segment_of(from);
        if self.segments[first].size > 0 {
            self.segment_file(first)?;
        }
        let with_batches = (first..self.segments.len()).filter(|at| self.segments[*at].size > 0);
        let views = with_batches.take(MAX_SEGMENTS_SEARCHED).map(|at| self.view(at, false)).collect();
        let buffers = self.context.buffers.clone();
        let reading = Reading { buffers, views, from, up_to, max_bytes, at_least_one };
        match reading.clone().run() {
            Ok(found) => {
                if let Some((base, position)) = found.end {
                    let at = self.segment_of(base);
                    self.segments[at].hint = Some((found.slice.end, position));
                }
                Ok(Read::Ready(found.slice))
            }
            Err(error) if error.would_block() => Ok(Read::Cold(ColdRead(reading.waiting()))),
            Err(error) => Err(error),
        }
    }

    fn read_tail(&self, from: Offset, up_to: Offset, max_bytes: usize, at_least_one: bool) -> Option<Slice> {
        let batches = self.tail.from(from)?;
        let mut slice = Slice::empty(from);
        for batch in batches {
            let first = slice.is_empty();
            let fits = slice.bytes + batch.len() <= max_bytes || (first && at_least_one);
            if batch.next_offset > up_to || !fits {
                break;
            }
            if first {
                slice.start = batch.base_offset;
            }
            slice.bytes += batch.len();
            slice.end = batch.next_offset;
            slice
                .chunks
                .extend([&batch.head, &batch.body].into_iter().filter(|chunk| !chunk.is_empty()).cloned());
        }
        Some(slice)
    }
}

impl Reading {
    fn waiting(mut self) -> Self {
        for view in &mut self.views {
            view.may_wait = true;
        }
        self
    }

    fn run(self) -> Result<Found, ReadError> {
        for view in &self.views {
            if let Some(first) = view.find(self.from)? {
                return self.read_from(view, &first);
            }
        }
        Ok(Found { slice: Slice::empty(self.from), end: None })
    }

    fn read_from(&self, view: &SegmentView, first: &Frame) -> Result<Found, ReadError> {
        let too_large = first.size > self.max_bytes as u64 && !self.at_least_one;
        if first.next_offset() > self.up_to || too_large {
            return Ok(Found { slice: Slice::empty(self.from), end: None });
        }
        let path = view.path(FileKind::Log);
        let wanted = first.size.max(self.max_bytes as u64).min(view.size - first.position);
        let source = view.source()?;
        let mut buffer = self.buffers.take(wanted as usize);
        source.read_into(buffer.as_mut_slice(), first.position).map_err(failed("reading", &path))?;
        let (len, end) = self.whole_batches(buffer.as_ref(), first, &path, view.may_wait)?;
        let bytes = buffer.freeze().slice(..len);
        let slice = Slice { start: first.base_offset, end, bytes: len, chunks: vec![bytes] };
        Ok(Found { slice, end: Some((view.base, first.position + len as u64)) })
    }

    /// How many of the bytes are whole batches below the bound, and the offset after them. Damage after the first batch
    /// ends what is returned; a read that starts at it says so.
    fn whole_batches(
        &self,
        bytes: &[u8],
        first: &Frame,
        path: &std::path::Path,
        check: bool,
    ) -> Result<(usize, Offset), ReadError> {
        let (mut len, mut end) = (0, self.from);
        while len < bytes.len() {
            let rest = &bytes[len..];
            let frame = Frame::parse(rest, first.position + len as u64);
            let whole =
                frame.as_ref().is_ok_and(|f| f.size <= rest.len() as u64 && f.next_offset() <= self.up_to);
            let sound = frame.and_then(|frame| {
                if whole && check {
                    frame.check_crc(&rest[..frame.size as usize])?;
                }
                Ok(frame)
            });
            match sound {
                Ok(frame) if whole => (len, end) = (len + frame.size as usize, frame.next_offset()),
                Err(what) if len == 0 => {
                    let position = first.position;
                    return Err(ReadError::Damaged { path: path.to_owned(), position, what });
                }
                _ => break,
            }
        }
        Ok((len, end))
    }
}
