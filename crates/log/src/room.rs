//! Room ahead of the active segment: space on the device that the file system sets aside before it is written to.
//!
//! Writing behind the end of a file costs less where the blocks are there already: a tenth of all that a broker does for a batch of
//! 64 KiB (`docs/adr/2026-11-29-produce.md`). The length of the file stays what it is, so that nobody sees the room but `du`.
//!
//! Bounds: [`STEP_MAX`], an eighth of what is written, and the size of a segment; none below [`ROOM_FROM`]. What is not used is given
//! back when the segment is closed, when nothing was written to it for a while, when the log is left, and after a crash when
//! the log is opened.

use dohle_env::DiskFile;

use crate::log::Log;
use crate::segment::Segment;

/// From this size on a segment is given room: of many small logs each would hold more than it has.
const ROOM_FROM: u64 = 1 << 20;
/// The least that is asked for at a time.
const STEP_MIN: u64 = 256 << 10;
/// The most that is asked for at a time, and so the most that a log holds beyond what it has.
const STEP_MAX: u64 = 8 << 20;

/// What to ask for before `more` bytes are written behind `size`, of which `room` are there: where it starts, and how much.
fn ask(size: u64, room: u64, more: u64, limit: u64) -> Option<(u64, u64)> {
    let end = size + more;
    if end < ROOM_FROM || end <= room {
        return None;
    }
    let from = room.max(size);
    let to = (end + (end / 8).clamp(STEP_MIN, STEP_MAX)).min(limit.max(end));
    Some((from, to - from))
}

impl Segment {
    /// Asks for room before so many bytes are written at the end.
    pub(crate) fn make_room(&mut self, file: &dyn DiskFile, more: u64, limit: u64) {
        if let Some((from, len)) = ask(self.size, self.room, more, limit) {
            file.reserve_if_possible(from, len);
            self.room = from + len;
        }
    }
}

impl Log {
    /// Gives back what the active segment has beyond its end. What cannot be given back is lost to others only until the segment goes.
    pub(crate) fn give_back_room(&mut self) {
        let at = self.segments.len() - 1;
        let (size, room) = (self.segments[at].size, std::mem::take(&mut self.segments[at].room));
        // Of one that is empty there may be no file any more.
        if room > size
            && (size > 0 || self.segments[at].file.is_some())
            && let Ok(file) = self.segment_file(at)
        {
            _ = file.set_len(size);
        }
    }
}

/// Whether a segment that a crash has left may have more than its bytes.
pub(crate) fn may_have_room(size: u64, preallocated: bool) -> bool {
    preallocated || size >= ROOM_FROM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_asked_for_seldom_and_in_proportion() {
        let (mut size, mut room, mut asked) = (0, 0, 0);
        while size < 1 << 30 {
            if let Some((from, len)) = ask(size, room, 65_604, 1 << 30) {
                assert!(from == size.max(room) && len > 0);
                room = from + len;
                asked += 1;
            }
            size += 65_604;
            assert!(size < ROOM_FROM || room >= size, "what is written has room");
            assert!(room.saturating_sub(size) <= (size / 8).clamp(STEP_MIN, STEP_MAX));
        }
        assert!(asked < 200, "{asked} times");
        assert!(room <= size.max(1 << 30), "not more than a segment takes");
    }

    #[test]
    fn a_small_log_gets_none() {
        assert_eq!(ask(0, 0, 65_604, 1 << 30), None);
        assert_eq!(ask(ROOM_FROM - 10, 0, 9, 1 << 30), None);
    }
}
