//! Reading by offset: from the tail in memory, from the page cache, or, off the owner's thread, from the device.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use dohle_records::HEADER_LEN;
use dohle_types::Offset;

use crate::buffers::ReadBuffers;
use crate::damage::Damage;
use crate::deferred::{self, Deferred};
use crate::error::{LogError, ReadError, failed};
use crate::frame::Frame;
use crate::log::Log;
use crate::names::FileKind;
use crate::segment::{Lease, SegmentView};
use crate::source::{Manner, Manners, greedy};
use crate::survey::{Foothold, Located, is_lost};

/// How many segments with batches a read looks for its offset in. Compaction leaves segments whose last batch lies before the
/// offset; then the next one begins after it.
const MAX_SEGMENTS_SEARCHED: usize = 2;

/// A batch that is larger, and larger than what was asked for, has its checksum checked before memory is taken for it.
const LARGEST_UNPROVEN: u64 = 16 << 20;

/// Batches are left in their file until they are sent when there are so many bytes of them.
const DEFERRED_FROM: u64 = 64 << 10;
/// Where batches are smaller, looking for their ends costs more than reading them once and for all, unless an index in memory tells.
const DEFERRED_BATCH: u64 = 16 << 10;
/// Where batches are smaller, looking for the ends of those behind the last entry of the index costs as much.
const DEFERRED_INDEXED_BATCH: u64 = 1 << 10;

/// Whole batches, in the order of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    pub chunks: Vec<Bytes>,
    /// The bytes, where they are still in their file.
    pub deferred: Option<Arc<Deferred>>,
    /// The first offset of the first batch, which may lie below the one that was asked for.
    pub start: Offset,
    /// One past the last offset; the offset that was asked for when there is no batch.
    pub end: Offset,
    pub bytes: usize,
}

impl Slice {
    fn empty(at: Offset) -> Self {
        Self { chunks: Vec::new(), deferred: None, start: at, end: at, bytes: 0 }
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

/// A read that may wait for the device. Batches that come from there have their checksums checked. What it gives goes back to the log,
/// to [`Log::finish_read`].
pub struct ColdRead(Reading);

/// What a cold read has found, and what it has learned of the log.
pub struct ColdResult {
    read: Result<Found, ReadError>,
    damaged: Vec<Damage>,
    /// The segments that were read. Meanwhile others may have taken their place.
    segments: Vec<(Offset, Weak<Lease>)>,
}

impl ColdRead {
    pub fn run(self, manners: Manners<'_>) -> ColdResult {
        let Self(reading) = self;
        let segments = reading.parts.iter().map(|part| (part.view.base, Arc::downgrade(&part.view.lease)));
        let segments = segments.collect();
        let mut damaged = Vec::new();
        let read = reading.mannered(manners()).run(&mut damaged, manners);
        ColdResult { read, damaged, segments }
    }
}

impl ColdResult {
    /// What was read, where the log is not there any more that it came from.
    pub fn into_slice(self) -> Result<Slice, ReadError> {
        self.read.map(|found| found.slice)
    }
}

#[derive(Clone)]
struct Reading {
    buffers: ReadBuffers,
    parts: Vec<Part>,
    from: Offset,
    up_to: Offset,
    max_bytes: usize,
    at_least_one: bool,
    /// Whether bytes may be left where they are.
    may_defer: bool,
}

/// A segment to read from.
#[derive(Clone)]
struct Part {
    view: SegmentView,
    /// Bytes that need no check.
    checked: (u64, u64),
    /// Behind damage that is known.
    floor: Option<Foothold>,
}

/// A slice, and where it was.
struct Found {
    slice: Slice,
    place: Option<Place>,
}

struct Place {
    segment: Offset,
    from: u64,
    to: u64,
    /// Its checksums were checked just now.
    checked: bool,
}

/// How a stretch of bytes divides into batches.
enum Divided {
    /// So many bytes are whole batches that may be given, and this is the offset after them.
    Whole(usize, Offset),
    /// Not even the first one is sound.
    Doubtful,
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
        self.read_or_defer(from, up_to, max_bytes, at_least_one, false)
    }

    /// As [`Log::read`]; with `may_defer` large batches may be left in their file, to be sent from there.
    pub fn read_or_defer(
        &mut self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
        may_defer: bool,
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
        if let Some(damage) = self.quarantine.holding(from) {
            return Err(ReadError::Quarantined(Box::new(damage.clone())));
        }
        let up_to = self.quarantine.first_above(from).map_or(up_to, |damaged| damaged.min(up_to));
        let parts = self.parts(from)?;
        let buffers = self.context.buffers.clone();
        let reading = Reading { buffers, parts, from, up_to, max_bytes, at_least_one, may_defer };
        match reading.clone().run(&mut Vec::new(), &mut greedy) {
            Ok(found) => {
                drop(reading);
                self.note_read(&found);
                Ok(Read::Ready(found.slice))
            }
            Err(error) if error.would_block() => {
                // What comes into memory now, and what the kernel reads ahead, was not checked.
                reading
                    .parts
                    .iter()
                    .for_each(|part| self.segments[self.segment_of(part.view.base)].distrust());
                Ok(Read::Cold(ColdRead(reading.waiting())))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes back what [`ColdRead::run`] returned. Damage that was not known is told of, once, and quarantined.
    pub fn finish_read(&mut self, result: ColdResult) -> Result<Slice, ReadError> {
        let ColdResult { read, damaged, segments } = result;
        for damage in damaged {
            let lease = segments.iter().find(|(base, _)| *base == damage.segment).map(|(_, lease)| lease);
            if lease.is_some_and(|lease| self.is_segment(damage.segment, lease)) {
                self.quarantine(damage);
            }
        }
        let found = read?;
        let place = found.place.as_ref().map(|place| place.segment);
        if segments.iter().any(|(base, lease)| Some(*base) == place && self.is_segment(*base, lease)) {
            self.note_read(&Found {
                slice: Slice::empty(found.slice.end),
                place: found.place.map(Place::unchecked),
            });
        }
        Ok(found.slice)
    }

    /// The damaged stretches that are known of, in the order of their offsets.
    pub fn damage(&self) -> impl Iterator<Item = &Damage> {
        self.quarantine.all().iter().filter(|damage| damage.next > self.start)
    }

    fn quarantine(&mut self, damage: Damage) {
        let told = damage.clone();
        if self.quarantine.add(damage, self.start) {
            tracing::error!(
                path = %told.path.display(),
                position = told.position,
                end_position = told.end_position,
                first_offset = %told.first,
                last_offset = told.next.get() - 1,
                what = told.what,
                "a log is damaged; these offsets are quarantined, and what lies around them is served on"
            );
        }
    }

    pub(crate) fn is_segment(&self, base: Offset, lease: &Weak<Lease>) -> bool {
        let segment = &self.segments[self.segment_of(base)];
        segment.base == base && std::ptr::eq(Arc::as_ptr(&segment.lease), lease.as_ptr())
    }

    fn note_read(&mut self, found: &Found) {
        let Some(place) = &found.place else { return };
        let at = self.segment_of(place.segment);
        let segment = &mut self.segments[at];
        segment.hint = Some((found.slice.end, place.to));
        if place.checked {
            segment.note_checked(place.from, place.to);
        }
    }

    /// The segments that an offset is looked for in.
    fn parts(&mut self, from: Offset) -> Result<Vec<Part>, ReadError> {
        let first = self.segment_of(from);
        if self.segments[first].size > 0 {
            self.segment_file(first)?;
        }
        let with_batches = (first..self.segments.len()).filter(|at| self.segments[*at].size > 0);
        let part = |at: usize| {
            let segment = &self.segments[at];
            let behind = self.quarantine.before(from).filter(|damage| damage.segment == segment.base);
            let floor = behind.map(|damage| Foothold { position: damage.end_position, from: damage.next });
            Part { view: self.view(at, false), checked: segment.checked(), floor }
        };
        Ok(with_batches.take(MAX_SEGMENTS_SEARCHED).map(part).collect())
    }

    fn read_tail(&self, from: Offset, up_to: Offset, max_bytes: usize, at_least_one: bool) -> Option<Slice> {
        self.tail.from(from, |batches| {
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
                slice.chunks.extend(
                    [&batch.head, &batch.body].into_iter().filter(|chunk| !chunk.is_empty()).cloned(),
                );
            }
            slice
        })
    }
}

impl Place {
    fn unchecked(self) -> Self {
        Self { checked: false, ..self }
    }
}

impl Part {
    fn is_checked(&self, from: u64, to: u64) -> bool {
        self.checked.0 <= from && to <= self.checked.1
    }
}

impl Reading {
    fn waiting(mut self) -> Self {
        for part in &mut self.parts {
            part.view.may_wait = true;
            part.checked = (0, 0);
        }
        self
    }

    /// Looks for the first batch in this manner.
    fn mannered(mut self, manner: Manner) -> Self {
        self.parts.iter_mut().for_each(|part| part.view.manner = manner);
        self
    }

    /// Fails with `WouldBlock` where the device has to be asked, and where finding out what is wrong takes a longer look.
    fn run(self, damaged: &mut Vec<Damage>, manners: Manners<'_>) -> Result<Found, ReadError> {
        for part in &self.parts {
            match part.view.locate(self.from, part.floor)? {
                Located::Nothing => {}
                Located::Batch(first) => {
                    if let Some(found) = self.read_from(part, &first, false, manners)? {
                        return Ok(found);
                    }
                    return self.look_closely(part, damaged, manners)?.map_or_else(|| Err(doubt()), Ok);
                }
                Located::Doubtful => {
                    if let Some(found) = self.look_closely(part, damaged, manners)? {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(Found { slice: Slice::empty(self.from), place: None })
    }

    /// Has a segment surveyed. `Ok(None)` when the offset is not in it.
    fn look_closely(
        &self,
        part: &Part,
        damaged: &mut Vec<Damage>,
        manners: Manners<'_>,
    ) -> Result<Option<Found>, ReadError> {
        if !part.view.may_wait {
            return Err(doubt());
        }
        let survey = part.view.survey(self.from, part.floor)?;
        damaged.extend(survey.damaged);
        if let Some(damage) = damaged.last().filter(|damage| self.from < damage.next) {
            return Err(ReadError::Quarantined(Box::new(damage.clone())));
        }
        let Some(first) = survey.batch else { return Ok(None) };
        match self.read_from(part, &first, true, manners)? {
            Some(found) => Ok(Some(found)),
            // It was sound a moment ago.
            None => Err(LogError::corrupt(
                &part.view.path(FileKind::Log),
                "reading it twice gives different bytes",
            )
            .into()),
        }
    }

    /// Reads from a batch on. `Ok(None)` when it is not sound; a survey has found it so, or it was found by headers only.
    fn read_from(
        &self,
        part: &Part,
        first: &Frame,
        surveyed: bool,
        manners: Manners<'_>,
    ) -> Result<Option<Found>, ReadError> {
        let view = &part.view;
        let too_large = first.size > self.max_bytes as u64 && !self.at_least_one;
        let wanted = first.size.max(self.max_bytes as u64).min(view.size - first.position);
        let checked = part.is_checked(first.position, first.position + wanted);
        let check = !checked && !cfg!(dohle_bug = "unchecked-cold-read");
        if first.next_offset() > self.up_to || too_large {
            // Who is given nothing comes again: that has to end one day.
            let lies = check && view.check_checksum(first)?.is_some();
            return Ok((!lies).then(|| Found { slice: Slice::empty(self.from), place: None }));
        }
        if check
            && first.size > LARGEST_UNPROVEN.max(self.max_bytes as u64)
            && view.check_checksum(first)?.is_some()
        {
            // No memory is given for a size that is not one.
            return Ok(None);
        }
        if checked && let Some(found) = self.defer(view, first, wanted)? {
            return Ok(Some(found));
        }
        let mut buffer = self.buffers.take(wanted as usize);
        let mut read = view.source()?.read_through(buffer.as_mut_slice(), first.position, manners);
        if read.as_ref().is_err_and(is_lost) && wanted > first.size {
            // Something behind the first batch is lost.
            buffer = self.buffers.take(first.size as usize);
            read = view.source()?.read_through(buffer.as_mut_slice(), first.position, manners);
        }
        match read {
            Err(error) if is_lost(&error) => return Ok(None),
            read => read.map_err(failed("reading", &view.path(FileKind::Log)))?,
        }
        // What no survey has found has to show that it leaves the next one its place.
        let expected = surveyed.then_some(first.base_offset);
        let Divided::Whole(len, end) =
            self.divide(view, buffer.as_ref(), first, check.then_some(expected))?
        else {
            return Ok(None);
        };
        let bytes = buffer.freeze().slice(..len);
        let slice =
            Slice { start: first.base_offset, end, bytes: len, chunks: vec![bytes], ..Slice::default() };
        let (from, to) = (first.position, first.position + len as u64);
        Ok(Some(Found { slice, place: Some(Place { segment: view.base, from, to, checked: check }) }))
    }

    /// Leaves batches whose bytes are known to be sound in their file, where that is worth it.
    fn defer(&self, view: &SegmentView, first: &Frame, wanted: u64) -> Result<Option<Found>, ReadError> {
        let Some(file) = &view.file else { return Ok(None) };
        if !self.may_defer || wanted < DEFERRED_FROM || first.size < DEFERRED_INDEXED_BATCH {
            return Ok(None);
        }
        let limit = first.position + wanted;
        let last = match view.batch_near(limit, first, self.up_to)? {
            Some(last) => last,
            None if first.size < DEFERRED_BATCH => return Ok(None),
            None => *first,
        };
        let Some(permit) = self.buffers.permit(deferred::MOST) else { return Ok(None) };
        let (mut to, mut end) = (last.end(), last.next_offset());
        let mut scanner = view.scanner(to, HEADER_LEN)?;
        loop {
            match scanner.next() {
                Ok(Some(frame)) if frame.end() <= limit && frame.next_offset() <= self.up_to => {
                    (to, end) = (frame.end(), frame.next_offset());
                }
                Err(error) if error.would_block() => return Err(error),
                Ok(_) | Err(_) => break,
            }
        }
        let (from, start) = (first.position, first.base_offset);
        let bytes = (to - from) as usize;
        let deferred = Deferred {
            file: Arc::clone(file),
            position: from,
            len: bytes,
            start,
            end,
            buffers: self.buffers.clone(),
            lost: Arc::clone(&view.lost),
            _permit: permit,
        };
        let slice = Slice { chunks: Vec::new(), deferred: Some(Arc::new(deferred)), start, end, bytes };
        Ok(Some(Found { slice, place: Some(Place { segment: view.base, from, to, checked: false }) }))
    }

    /// How many of the bytes are whole batches below the bound, and the offset after them. Damage after the first batch
    /// ends what is returned; a read that starts at it says so. What is checked comes with where the first one starts, if that is known.
    fn divide(
        &self,
        view: &SegmentView,
        bytes: &[u8],
        first: &Frame,
        check: Option<Option<Offset>>,
    ) -> Result<Divided, ReadError> {
        let (mut len, mut end, mut expected) = (0, self.from, check.flatten());
        while len < bytes.len() {
            let rest = &bytes[len..];
            let Ok(frame) = Frame::parse(rest, first.position + len as u64) else { break };
            if frame.size > rest.len() as u64 || frame.next_offset() > self.up_to {
                break;
            }
            if check.is_some() {
                let in_place = expected.is_none_or(|expected| frame.base_offset >= expected);
                if !in_place || frame.check_crc(&rest[..frame.size as usize]).is_err() {
                    break;
                }
                if view.check_next(&frame, expected)?.is_some() {
                    break;
                }
            }
            (len, end) = (len + frame.size as usize, frame.next_offset());
            expected = Some(end);
        }
        Ok(if len > 0 { Divided::Whole(len, end) } else { Divided::Doubtful })
    }
}

/// To be found out by somebody who may wait.
fn doubt() -> ReadError {
    ReadError::Storage(LogError::Io {
        action: "reading",
        path: PathBuf::new(),
        source: io::ErrorKind::WouldBlock.into(),
    })
}
