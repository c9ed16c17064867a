//! Finding the batch that holds an offset, without believing a header that lies.
//!
//! A batch's checksum covers neither its base offset nor its size, an index file has no checksum at all, and a walk from header to
//! header does not look at bodies. So [`SegmentView::locate`] believes what it finds only where several things agree: the entry of the
//! index and the batch it points at, the end of one batch and the start of the next. Otherwise, [`SegmentView::survey`] walks with
//! every checksum checked, from a batch that is certainly one to the next that is, and names what lies between.
//!
//! What cannot be found so: a base offset, of a batch that lies between two gaps as compaction leaves them, which is wrong by less
//! than the gap; and a wrong leader epoch.

use dohle_records::HEADER_LEN;
use dohle_types::Offset;

use crate::damage::Damage;
use crate::error::{LogError, ReadError, failed};
use crate::frame::{Frame, HEADER_WINDOW_BYTES};
use crate::index::OffsetEntry;
use crate::names::FileKind;
use crate::recovery::storage;
use crate::segment::SegmentView;

/// What is read of a body at once.
const BODY_WINDOW_BYTES: usize = 256 << 10;
/// How many entries of the index before the wanted offset are tried before a survey starts at the segment's first byte.
const ANCHORS_TRIED: usize = 16;

/// What a walk by headers gives.
pub(crate) enum Located {
    /// The first batch whose last offset is not below the wanted one.
    Batch(Frame),
    /// There is none in this segment.
    Nothing,
    /// Things do not agree: only a survey can say.
    Doubtful,
}

/// A place in a segment that is known to be the start of a batch, and what is known of that batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foothold {
    pub position: u64,
    /// The batch starts at this offset or after it.
    pub from: Offset,
}

/// Where a walk by headers starts, and what is known there.
struct Start {
    position: u64,
    expected: Option<Offset>,
    /// The batch before is sound and ends just below what is expected.
    exact: bool,
    /// What the index says of the batch there.
    entry: Option<OffsetEntry>,
}

/// What a walk with all checksums gives.
pub(crate) struct Survey {
    /// The first sound batch whose last offset is not below the wanted one. `None` when there is none, or the offset is damaged.
    pub batch: Option<Frame>,
    /// What was met on the way, the wanted offset's damage last.
    pub damaged: Vec<Damage>,
}

impl SegmentView {
    /// Finds the first batch whose last offset is not below `wanted` by headers only.
    pub fn locate(&self, wanted: Offset, floor: Option<Foothold>) -> Result<Located, ReadError> {
        if self.size == 0 {
            return Ok(Located::Nothing);
        }
        let Start { position, mut expected, mut exact, mut entry } = self.start_for(wanted, floor)?;
        let mut scanner = self.scanner(position, HEADER_WINDOW_BYTES)?;
        let wanted_here = wanted.max(self.base);
        loop {
            let frame = match scanner.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    let whole = exact || expected == Some(self.end) || wanted >= self.end;
                    return Ok(if whole { Located::Nothing } else { Located::Doubtful });
                }
                Err(ReadError::Damaged { .. }) => return Ok(Located::Doubtful),
                Err(ReadError::Storage(LogError::Io { source, .. })) if is_lost(&source) => {
                    return Ok(Located::Doubtful);
                }
                Err(error) => return Err(error),
            };
            let as_indexed = entry.take().is_none_or(|entry| self.is_entry_of(&entry, &frame));
            let in_place = expected.is_none_or(|expected| frame.base_offset >= expected);
            if !as_indexed || !in_place || frame.next_offset() > self.end {
                return Ok(Located::Doubtful);
            }
            if frame.last_offset >= wanted {
                // Compaction leaves gaps; so does a header that lies about the batch before.
                let after_a_gap = frame.base_offset > wanted_here && !exact && expected != Some(wanted_here);
                return Ok(if after_a_gap { Located::Doubtful } else { Located::Batch(frame) });
            }
            (expected, exact) = (Some(frame.next_offset()), false);
        }
    }

    /// Where a walk to an offset starts.
    fn start_for(&self, wanted: Offset, floor: Option<Foothold>) -> Result<Start, LogError> {
        // There the last read has ended, behind a batch that was sound.
        if let Some((next, position)) = self.hint
            && next == wanted
        {
            return Ok(Start { position, expected: Some(next), exact: true, entry: None });
        }
        let known = floor.unwrap_or(Foothold { position: 0, from: self.base });
        let entry = self.entry_before(wanted)?.filter(|entry| u64::from(entry.position) > known.position);
        Ok(match entry {
            Some(_) => {
                let position = entry.map_or(0, |entry| u64::from(entry.position));
                Start { position, expected: None, exact: false, entry }
            }
            None => Start { position: known.position, expected: Some(known.from), exact: false, entry },
        })
    }

    /// The last entry at or before an offset that points at its batch.
    pub fn sound_entry(&self, offset: Offset) -> Result<Option<OffsetEntry>, LogError> {
        let Some(entry) = self.entry_before(offset)? else { return Ok(None) };
        let frame = self.frame_at(u64::from(entry.position)).map_err(storage)?;
        // Older Kafka wrote entries that say more than the batch they point at.
        let last = self.base.plus(i64::from(entry.relative));
        Ok(frame.filter(|frame| frame.last_offset <= last).map(|_| entry))
    }

    /// The last entry of the index at or before an offset. An index that cannot be read is done without.
    fn entry_before(&self, offset: Offset) -> Result<Option<OffsetEntry>, LogError> {
        let relative = offset.get() - self.base.get();
        match self.search_entry(relative) {
            Ok(Some(entry)) if u64::from(entry.position) >= self.size => {
                self.tell_misfit(&entry);
                Ok(None)
            }
            Ok(found) => Ok(found),
            Err(error) if error.would_block() => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn is_entry_of(&self, entry: &OffsetEntry, frame: &Frame) -> bool {
        frame.last_offset == self.base.plus(i64::from(entry.relative))
    }

    /// As [`SegmentView::locate`], with every checksum checked. May wait for the device, and may take as long as reading the
    /// segment does where its index is of no use.
    pub fn survey(&self, wanted: Offset, floor: Option<Foothold>) -> Result<Survey, ReadError> {
        let entries = self.entries();
        let mut damaged = Vec::new();
        let mut at = match floor {
            Some(floor) => floor,
            None => self.foothold(wanted, &entries)?,
        };
        while at.position < self.size {
            match self.judge(at.position, Some(at.from), None)? {
                Ok(frame) if frame.last_offset >= wanted => {
                    return Ok(Survey { batch: Some(frame), damaged });
                }
                Ok(frame) => at = Foothold { position: frame.end(), from: frame.next_offset() },
                Err(what) => {
                    let next = self.resume(at, &entries)?;
                    if next.from == at.from {
                        // Rubbish at the end, where no offset is missing.
                        return Ok(Survey { batch: None, damaged });
                    }
                    damaged.push(Damage {
                        segment: self.base,
                        path: self.path(FileKind::Log),
                        position: at.position,
                        end_position: next.position,
                        first: at.from,
                        next: next.from,
                        what,
                    });
                    if wanted < next.from {
                        return Ok(Survey { batch: None, damaged });
                    }
                    at = next;
                }
            }
        }
        Ok(Survey { batch: None, damaged })
    }

    /// The entries of the index that can be ones of this segment, in the order of the file.
    fn entries(&self) -> Vec<OffsetEntry> {
        let mut entries = self.all_entries();
        entries.retain(|entry| u64::from(entry.position) < self.size);
        entries
    }

    /// Where a survey starts: at a batch before the wanted one that its entry of the index describes, or with the segment.
    fn foothold(&self, wanted: Offset, entries: &[OffsetEntry]) -> Result<Foothold, ReadError> {
        let relative = wanted.get() - self.base.get();
        let before = entries.iter().rev().filter(|entry| i64::from(entry.relative) < relative);
        let tried: Vec<_> = before.take(ANCHORS_TRIED).collect();
        let last = |entry: &OffsetEntry| self.base.plus(i64::from(entry.relative));
        for entry in &tried {
            if let Ok(frame) = self.judge(u64::from(entry.position), None, Some(last(entry)))? {
                return Ok(Foothold { position: frame.position, from: frame.base_offset });
            }
        }
        // Older Kafka indexed the last offset of several batches with the position of the first of them.
        if let Some(entry) = tried.last().filter(|_| tried.len() == ANCHORS_TRIED)
            && let Ok(frame) = self.judge(u64::from(entry.position), None, None)?
            && frame.last_offset <= last(entry)
        {
            return Ok(Foothold { position: frame.position, from: frame.base_offset });
        }
        Ok(Foothold { position: 0, from: self.base })
    }

    /// The first place behind a damaged one where a batch certainly starts; the end of the segment without one.
    fn resume(&self, damaged: Foothold, entries: &[OffsetEntry]) -> Result<Foothold, ReadError> {
        let found = |frame: Frame| Foothold { position: frame.position, from: frame.base_offset };
        // If its size is right, the next one follows.
        if let Some(frame) = self.frame_at(damaged.position)?
            && let Ok(next) = self.judge_after(frame.end(), damaged.from)?
        {
            return Ok(found(next));
        }
        for entry in entries.iter().filter(|entry| u64::from(entry.position) > damaged.position) {
            let last = self.base.plus(i64::from(entry.relative));
            if let Ok(next) = self.judge(u64::from(entry.position), Some(damaged.from), Some(last))?
                && next.base_offset > damaged.from
            {
                return Ok(found(next));
            }
        }
        Ok(Foothold { position: self.size, from: self.end })
    }

    /// Judges what follows a damaged batch: some offset has to be left for that one.
    fn judge_after(&self, position: u64, from: Offset) -> Result<Result<Frame, String>, ReadError> {
        if position >= self.size {
            return Ok(Err("the segment ends".to_owned()));
        }
        self.judge(position, Some(from.next()), None)
    }

    /// The header at a position, if it is one and its batch fits into the segment.
    fn frame_at(&self, position: u64) -> Result<Option<Frame>, ReadError> {
        let mut head = [0; HEADER_LEN];
        let len = (HEADER_LEN as u64).min(self.size - position) as usize;
        let head = &mut head[..len];
        if self.read_or_lost(head, position)?.is_some() {
            return Ok(None);
        }
        Ok(Frame::parse(head, position).ok().filter(|frame| frame.end() <= self.size))
    }

    /// Whether the batch at a position is sound: whole, in its place between its neighbours, and with a checksum that is right. With `last`
    /// it also has to end with that offset.
    fn judge(
        &self,
        position: u64,
        expected: Option<Offset>,
        last: Option<Offset>,
    ) -> Result<Result<Frame, String>, ReadError> {
        let mut head = [0; HEADER_LEN];
        let len = (HEADER_LEN as u64).min(self.size - position) as usize;
        let head = &mut head[..len];
        if let Some(what) = self.read_or_lost(head, position)? {
            return Ok(Err(what));
        }
        let frame = match Frame::parse(head, position) {
            Ok(frame) => frame,
            Err(what) => return Ok(Err(what)),
        };
        if frame.end() > self.size {
            let left = self.size - position;
            return Ok(Err(format!("it needs {} bytes and {left} are left", frame.size)));
        }
        if let Some(expected) = expected.filter(|expected| frame.base_offset < *expected) {
            return Ok(Err(format!("it starts at offset {}, before {expected}", frame.base_offset)));
        }
        if let Some(last) = last.filter(|last| frame.last_offset != *last) {
            return Ok(Err(format!("it ends with offset {}, not {last}", frame.last_offset)));
        }
        if let Some(what) = self.check_checksum(&frame)? {
            return Ok(Err(what));
        }
        if let Some(what) = self.check_next(&frame, expected)? {
            return Ok(Err(what));
        }
        Ok(Ok(frame))
    }

    /// What the batch after this one, or the end of the segment, has against it.
    pub fn check_next(&self, frame: &Frame, expected: Option<Offset>) -> Result<Option<String>, ReadError> {
        let next = frame.next_offset();
        if next > self.end {
            return Ok(Some(format!("it ends with offset {}, behind {}", frame.last_offset, self.end)));
        }
        if frame.end() >= self.size || expected == Some(frame.base_offset) {
            // Behind the end of the batch before, it is in its place: if they overlap, the next one is wrong.
            return Ok(None);
        }
        let following = self.frame_at(frame.end())?;
        Ok(following.filter(|following| following.base_offset < next).map(|following| {
            format!(
                "it ends with offset {}, and the next one starts at {}",
                frame.last_offset, following.base_offset
            )
        }))
    }

    /// What is wrong with the checksum of a batch; its bytes are never held as a whole.
    pub fn check_checksum(&self, frame: &Frame) -> Result<Option<String>, ReadError> {
        let (mut running, mut position) = (frame.checksum(), frame.position);
        let mut window = vec![0; BODY_WINDOW_BYTES.min(frame.size as usize)];
        while position < frame.end() {
            let len = (frame.end() - position).min(window.len() as u64) as usize;
            if let Some(what) = self.read_or_lost(&mut window[..len], position)? {
                return Ok(Some(what));
            }
            running.update(&window[..len]);
            position += len as u64;
        }
        Ok(running.check().err())
    }

    /// Reads; a device that has lost just these bytes makes a sentence of it.
    fn read_or_lost(&self, buffer: &mut [u8], position: u64) -> Result<Option<String>, ReadError> {
        let path = self.path(FileKind::Log);
        match self.source()?.read_into(buffer, position) {
            Ok(()) => Ok(None),
            Err(error) if is_lost(&error) => Ok(Some(format!("it cannot be read: {error}"))),
            Err(error) => Err(failed("reading", &path)(error).into()),
        }
    }
}

/// Whether the device could not give these bytes (`EIO`), which says nothing of others.
pub(crate) fn is_lost(error: &std::io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO)
}
