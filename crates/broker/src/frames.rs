//! Bytes from a socket, cut into frames: a four-byte length and that many bytes.
//!
//! Small requests are read into memory that a core's connections share ([`Scratch`]) and copied; large ones straight into the buffer
//! that the log will write from.
//!
//! Where frames follow one another, a read takes in a frame and the length of the one behind it, so that the next buffer is made for just
//! that frame: one read a frame and no copy, whatever their sizes.
//!
//! Invariant `AllocationFollowsReceipt`: the buffer grows with the bytes that have arrived, by doubling, and starts no larger than
//! an eighth more than the last complete frame of this connection needed. A claimed length is only compared with limits.

use bytes::{Buf, Bytes, BytesMut};

/// What a read makes room for when nothing is known yet: many small requests, or the start of a large one.
const FIRST_READ: usize = 16 * 1024;
/// The largest buffer a connection gets on the strength of its last frame alone.
const EARNED_MAX: usize = 4 * 1024 * 1024;
const PREFIX: usize = 4;
/// The start of a frame that is copied into a buffer of its size; where there is more, the allocator may find a way to grow the buffer
/// without a copy, but takes twice of what it had.
const COPIED: usize = 256 * 1024;

/// The bytes of one connection that are not requests yet.
pub struct FrameBuffer {
    bytes: BytesMut,
    /// The longest frame that is let in.
    limit: usize,
    /// How much the last complete frame held: the connection's credit.
    earned: usize,
}

/// The frame's length is negative or above the limit. Nothing that follows on the connection can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLength(pub i32);

/// Memory that all connections of a core read small requests into, one after the other.
pub struct Scratch(BytesMut);

impl Default for Scratch {
    fn default() -> Self {
        Self(BytesMut::with_capacity(FIRST_READ))
    }
}

impl Scratch {
    /// Room to read into, and nothing else.
    pub fn cleared(&mut self) -> &mut BytesMut {
        self.0.clear();
        &mut self.0
    }

    pub fn read(&self) -> &[u8] {
        &self.0
    }
}

impl FrameBuffer {
    pub fn new(limit: usize) -> Self {
        Self { bytes: BytesMut::new(), limit, earned: 0 }
    }

    /// Room to read into. Call after [`FrameBuffer::next_frame`] said there is no complete frame.
    pub fn room(&mut self) -> &mut BytesMut {
        let have = self.bytes.len();
        let wanted = match self.claimed() {
            // The rest of a frame, as far as it has been earned, and the length of the next one.
            Some(claimed) => {
                let trusted = FIRST_READ.max(self.earned + self.earned / 8).max(2 * have);
                (PREFIX + claimed + PREFIX).min(trusted).max(have + 1)
            }
            // Where large frames come one after the other, the next one in one read.
            None => have + PREFIX + self.earned.max(FIRST_READ),
        };
        if self.bytes.capacity() < wanted && have <= COPIED {
            let mut larger = BytesMut::with_capacity(wanted);
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        } else if self.bytes.capacity() < wanted {
            self.bytes.reserve(wanted - have);
        }
        &mut self.bytes
    }

    /// The next complete frame, without its length. `Ok(None)` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, BadLength> {
        let Some(length) = self.prefix() else { return Ok(None) };
        let length = match usize::try_from(length) {
            Ok(checked) if checked <= self.limit => checked,
            _ => return Err(BadLength(length)),
        };
        if self.bytes.len() < PREFIX + length {
            return Ok(None);
        }
        self.bytes.advance(PREFIX);
        self.earned = (PREFIX + length).min(EARNED_MAX);
        // An idle connection holds no buffer.
        let alone = self.bytes.len() == length;
        let frame = if alone { std::mem::take(&mut self.bytes) } else { self.bytes.split_to(length) };
        Ok(Some(frame.freeze()))
    }

    /// Whether the next read is worth a buffer of the connection's own. If not, it is made into a [`Scratch`].
    pub fn earns_room(&self) -> bool {
        !self.bytes.is_empty() || self.earned > FIRST_READ
    }

    /// Takes over what was read elsewhere, into a buffer of just that size.
    pub fn put(&mut self, read: &[u8]) {
        self.bytes.extend_from_slice(read);
    }

    /// Lets go of a buffer that nothing was read into.
    pub fn rest(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    /// The first bytes of the next complete frame, without taking it.
    pub fn peek(&self, wanted: usize) -> Option<&[u8]> {
        let length = usize::try_from(self.prefix()?).ok().filter(|&length| length <= self.limit)?;
        (self.bytes.len() >= PREFIX + length).then(|| &self.bytes[PREFIX..PREFIX + wanted.min(length)])
    }

    /// Bytes of an incomplete frame held now.
    pub fn partial(&self) -> usize {
        self.bytes.len()
    }

    fn prefix(&self) -> Option<i32> {
        let prefix = self.bytes.first_chunk::<PREFIX>()?;
        Some(i32::from_be_bytes(*prefix))
    }

    fn claimed(&self) -> Option<usize> {
        usize::try_from(self.prefix()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let mut stream = Vec::new();
        for size in [0, 1, 5, 70_000, 3] {
            stream.extend(frame(&vec![u8::try_from(size % 251).unwrap(); size]));
        }
        for step in [1, 3, 4, 5, 1000, usize::MAX] {
            let mut buffer = FrameBuffer::new(1 << 20);
            let (mut sizes, mut at) = (Vec::new(), 0);
            while at < stream.len() {
                let room = buffer.room();
                let n = step.min(stream.len() - at).min(room.capacity() - room.len());
                room.put_slice(&stream[at..at + n]);
                at += n;
                while let Some(frame) = buffer.next_frame().unwrap() {
                    sizes.push(frame.len());
                }
            }
            assert_eq!(sizes, [0, 1, 5, 70_000, 3], "step {step}");
            assert_eq!(buffer.partial(), 0);
        }
    }

    #[test]
    fn small_requests_are_read_elsewhere_and_large_ones_in_one_read() {
        let mut buffer = FrameBuffer::new(1 << 20);
        let mut scratch = Scratch::default();
        let two = [frame(b"first"), frame(b"second")].concat();
        assert!(!buffer.earns_room());
        scratch.cleared().put_slice(&two[..12]);
        buffer.put(scratch.read());
        assert_eq!(buffer.next_frame().unwrap().unwrap(), "first");
        assert!(buffer.earns_room(), "the rest of a frame goes behind what is there of it");
        buffer.room().put_slice(&two[12..]);
        assert_eq!(buffer.next_frame().unwrap().unwrap(), "second");
        assert!(!buffer.earns_room() && buffer.bytes.capacity() == 0, "an idle connection holds no buffer");

        let large = frame(&[7; 70_000]);
        while buffer.next_frame().unwrap().is_none() {
            let have = buffer.partial();
            let room = buffer.room();
            let n = (room.capacity() - room.len()).min(large.len() - have);
            room.put_slice(&large[have..have + n]);
        }
        assert!(buffer.earns_room());
        let room = buffer.room();
        assert!((large.len()..2 * large.len()).contains(&room.capacity()), "the next one, and not two");
        buffer.rest();
        assert_eq!(buffer.bytes.capacity(), 0);
    }

    /// As compressed batches come: about as large as the one before.
    #[test]
    fn frames_that_follow_one_another_take_a_read_each_and_a_buffer_of_their_own() {
        let sizes: Vec<usize> = (0..40).map(|at| 60_000 + 997 * (at * 7 % 11) - 40 * at).collect();
        let stream: Vec<u8> = sizes.iter().flat_map(|size| frame(&vec![5; *size])).collect();
        let mut buffer = FrameBuffer::new(1 << 20);
        let (mut at, mut reads, mut found) = (0, 0, Vec::new());
        while at < stream.len() {
            let room = buffer.room();
            let (before, start) = (room.len(), room.as_ptr());
            let n = (room.capacity() - before).min(stream.len() - at);
            room.put_slice(&stream[at..at + n]);
            assert_eq!(room.as_ptr(), start, "there was room");
            (at, reads) = (at + n, reads + 1);
            while let Some(frame) = buffer.next_frame().unwrap() {
                found.push(frame.len());
            }
            if !found.is_empty() {
                assert!(buffer.partial() <= PREFIX, "{} bytes of the next", buffer.partial());
            }
        }
        assert_eq!(found, sizes);
        assert!(reads <= sizes.len() + 4, "{reads} reads");
    }

    #[test]
    fn a_claim_allocates_nothing() {
        let mut buffer = FrameBuffer::new(100 << 20);
        buffer.room().put_slice(&(100i32 << 20).to_be_bytes());
        assert_eq!(buffer.next_frame(), Ok(None));
        assert!(buffer.room().capacity() <= 2 * FIRST_READ);
    }

    #[test]
    fn bad_lengths_end_the_connection() {
        for length in [-1, i32::MIN, 1001] {
            let mut buffer = FrameBuffer::new(1000);
            buffer.room().put_slice(&length.to_be_bytes());
            assert_eq!(buffer.next_frame(), Err(BadLength(length)));
        }
    }
}
