//! How far a copy is, in offsets: known from the headers that go by.

use dohle_records::HEADER_LEN;
use dohle_types::Offset;

use crate::frame::Frame;

/// Follows the batches of a segment as its bytes go by.
#[derive(Default)]
pub(super) struct Walk {
    /// Where the next header lies.
    next: u64,
    /// Where the last batch that was seen ends, and the offset after it.
    last: Option<(u64, Offset)>,
    /// The offset after the last batch that is whole.
    pub reached: Offset,
}

impl Walk {
    /// How many of the bytes to take, so that no header is divided.
    pub fn follow(&mut self, bytes: &[u8], at: u64, size: u64) -> usize {
        let end = at + bytes.len() as u64;
        while self.next < end && (self.next + HEADER_LEN as u64 <= end || end == size) {
            self.pass(self.next);
            let header = &bytes[(self.next - at) as usize..];
            match Frame::parse(header, self.next) {
                Ok(frame) if frame.end() <= size => {
                    self.last = Some((frame.end(), frame.next_offset()));
                    self.next = frame.end();
                }
                // Damage: what lies behind it is copied all the same.
                _ => self.next = u64::MAX,
            }
        }
        let taken = self.next.min(end);
        self.pass(taken);
        (taken - at) as usize
    }

    fn pass(&mut self, position: u64) {
        if let Some((end, offset)) = self.last
            && end <= position
        {
            self.reached = offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dohle_records::{BatchBuilder, Compression};
    use dohle_types::{LeaderEpoch, TimestampMs};

    fn segment(batches: &[(i64, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(base, value_bytes) in batches {
            let mut builder = BatchBuilder::new(Compression::None);
            builder.append(TimestampMs(1), None, Some(&vec![b'x'; value_bytes]), &[]);
            bytes.extend_from_slice(&builder.build(Offset(base), LeaderEpoch(0)).to_vec());
        }
        bytes
    }

    /// Whatever the chunks are: all bytes go by, no header is divided, and the offset is that of the whole batches.
    #[test]
    fn a_walk_knows_which_batches_are_whole() {
        let bytes = segment(&[(7, 10), (8, 500), (9, 0), (10, 90), (40, 3)]);
        let size = bytes.len() as u64;
        let ends: Vec<(u64, i64)> = {
            let (mut at, mut ends) = (0, Vec::new());
            while at < size {
                let frame = Frame::parse(&bytes[at as usize..], at).expect("a batch");
                at = frame.end();
                ends.push((at, frame.next_offset().get()));
            }
            ends
        };
        for chunk in 62..700 {
            let (mut walk, mut at) = (Walk::default(), 0_u64);
            while at < size {
                let len = chunk.min((size - at) as usize);
                let taken = walk.follow(&bytes[at as usize..at as usize + len], at, size);
                assert!(taken > 0, "chunks of {chunk}: nothing is taken at {at}");
                at += taken as u64;
                let whole = ends.iter().rev().find(|(end, _)| *end <= at).map_or(0, |(_, offset)| *offset);
                assert_eq!(walk.reached.get(), whole, "chunks of {chunk}, at {at}");
            }
        }
    }

    #[test]
    fn a_walk_goes_on_behind_damage() {
        let mut bytes = segment(&[(7, 10), (8, 500)]);
        let first = Frame::parse(&bytes, 0).expect("a batch").size as usize;
        bytes[first + 16] = 9;
        let (mut walk, size) = (Walk::default(), bytes.len() as u64);
        assert_eq!(walk.follow(&bytes, 0, size), bytes.len());
        assert_eq!(walk.reached, Offset(8));
    }
}
