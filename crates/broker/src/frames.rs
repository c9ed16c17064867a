//! Bytes from a socket, cut into frames: a four-byte length and that many bytes.
//!
//! Small requests are read into memory that a core's connections share ([`Scratch`]) and copied; large ones straight into the buffer
//! that the log will write from.
//!
//! Where frames follow one another, a read takes in a frame and the length of the one behind it, so that the next buffer is made for just
//! that frame: one read a frame and no copy, whatever their sizes.
//!
//! Invariant `AllocationFollowsReceipt`: the buffer grows with the bytes that have arrived, and starts no larger than an eighth more
//! than the last complete frame of this connection needed. It doubles up to [`PIECE`]; what a frame has beyond that is gathered in
//! pieces, and put together when all of it is here. A claimed length is only compared with limits.

use bytes::{Buf, Bytes, BytesMut};

/// What a read makes room for when nothing is known yet: many small requests, or the start of a large one.
const FIRST_READ: usize = 16 * 1024;
/// The largest buffer a connection gets on the strength of its last frame alone.
const EARNED_MAX: usize = 4 * 1024 * 1024;
const PREFIX: usize = 4;
/// What one read takes of small requests that have come together.
const SCRATCH: usize = 64 * 1024;
/// What is taken at a time for a frame that is larger than any before it on its connection. Pieces of one size leave no holes that only
/// other sizes would fit, and nothing is taken twice while a buffer grows.
const PIECE: usize = 256 * 1024;

/// The bytes of one connection that are not requests yet.
pub struct FrameBuffer {
    bytes: BytesMut,
    /// What came before `bytes` of a frame that is gathered in pieces.
    pieces: Option<Box<Pieces>>,
    /// The longest frame that is let in.
    limit: usize,
    /// How much the last complete frame held: the connection's credit.
    earned: usize,
}

#[derive(Default)]
struct Pieces {
    full: Vec<BytesMut>,
    bytes: usize,
}

/// The frame's length is negative or above the limit. Nothing that follows on the connection can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLength(pub i32);

/// Memory that all connections of a core read small requests into, one after the other.
pub struct Scratch(BytesMut);

impl Default for Scratch {
    fn default() -> Self {
        Self(BytesMut::with_capacity(SCRATCH))
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
        Self { bytes: BytesMut::new(), pieces: None, limit, earned: 0 }
    }

    /// Has `read` put bytes behind those that are here. Call after [`FrameBuffer::next_frame`] said there is no complete frame.
    pub fn fill<R>(&mut self, read: impl FnOnce(&mut BytesMut) -> R) -> R {
        self.make_room();
        let result = read(&mut self.bytes);
        let whole = self.claimed().map_or(usize::MAX, |claimed| PREFIX.saturating_add(claimed));
        if self.pieces.is_some() && self.partial() >= whole {
            self.put_together();
        }
        result
    }

    fn make_room(&mut self) {
        let have = self.partial();
        let wanted = match self.claimed() {
            // The rest of a frame, as far as it has been earned, and the length of the next one.
            Some(claimed) => {
                let whole = PREFIX + claimed + PREFIX;
                let trusted = FIRST_READ.max(self.earned + self.earned / 8).max((2 * have).min(PIECE));
                if have >= PIECE && self.bytes.len() == self.bytes.capacity() && have < whole {
                    let full =
                        std::mem::replace(&mut self.bytes, BytesMut::with_capacity(PIECE.min(whole - have)));
                    let pieces = self.pieces.get_or_insert_default();
                    // One that nothing was read into has been let go of.
                    if !full.is_empty() {
                        pieces.bytes += full.len();
                        pieces.full.push(full);
                    }
                    return;
                }
                whole.min(trusted).max(have + 1)
            }
            // Where large frames come one after the other, the next one in one read.
            None => have + PREFIX + self.earned.max(FIRST_READ),
        };
        if self.pieces.is_none() && self.bytes.capacity() < wanted {
            let mut larger = BytesMut::with_capacity(wanted);
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
    }

    /// Makes one buffer of a frame that is complete. Each piece goes as soon as it is copied.
    fn put_together(&mut self) {
        let mut whole = BytesMut::with_capacity(self.partial());
        for piece in self.pieces.take().into_iter().flat_map(|pieces| pieces.full) {
            whole.extend_from_slice(&piece);
        }
        whole.extend_from_slice(&self.bytes);
        self.bytes = whole;
    }

    /// The next complete frame, without its length. `Ok(None)` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, BadLength> {
        let Some(length) = self.prefix() else { return Ok(None) };
        let length = match usize::try_from(length) {
            Ok(checked) if checked <= self.limit => checked,
            _ => return Err(BadLength(length)),
        };
        if self.pieces.is_some() || self.bytes.len() < PREFIX + length {
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
        self.partial() > 0 || self.earned > FIRST_READ
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
        let is_here = self.pieces.is_none() && self.bytes.len() >= PREFIX + length;
        is_here.then(|| &self.bytes[PREFIX..PREFIX + wanted.min(length)])
    }

    /// Bytes of an incomplete frame held now.
    pub fn partial(&self) -> usize {
        self.pieces.as_ref().map_or(0, |pieces| pieces.bytes) + self.bytes.len()
    }

    fn prefix(&self) -> Option<i32> {
        let first = self.pieces.as_ref().and_then(|pieces| pieces.full.first()).unwrap_or(&self.bytes);
        let prefix = first.first_chunk::<PREFIX>()?;
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

    /// Reads what there is room for, at most `most`; how much that was.
    fn fill(buffer: &mut FrameBuffer, stream: &[u8], most: usize) -> usize {
        buffer.fill(|room| {
            let (n, start) = (most.min(stream.len()).min(room.capacity() - room.len()), room.as_ptr());
            assert!(n > 0, "there is room");
            room.put_slice(&stream[..n]);
            assert_eq!(room.as_ptr(), start, "and it was not made while reading");
            n
        })
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let mut stream = Vec::new();
        for size in [0, 1, 5, 70_000, 3, 900_000, 2] {
            stream.extend(frame(&vec![u8::try_from(size % 251).unwrap(); size]));
        }
        for step in [1, 3, 4, 5, 1000, 300_000, usize::MAX] {
            let mut buffer = FrameBuffer::new(1 << 20);
            let (mut sizes, mut at) = (Vec::new(), 0);
            while at < stream.len() {
                at += fill(&mut buffer, &stream[at..], step);
                while let Some(frame) = buffer.next_frame().unwrap() {
                    sizes.push(frame.len());
                }
            }
            assert_eq!(sizes, [0, 1, 5, 70_000, 3, 900_000, 2], "step {step}");
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
        fill(&mut buffer, &two[12..], usize::MAX);
        assert_eq!(buffer.next_frame().unwrap().unwrap(), "second");
        assert!(!buffer.earns_room() && buffer.bytes.capacity() == 0, "an idle connection holds no buffer");

        let large = frame(&[7; 70_000]);
        while buffer.next_frame().unwrap().is_none() {
            let have = buffer.partial();
            fill(&mut buffer, &large[have..], usize::MAX);
        }
        assert!(buffer.earns_room());
        let room = buffer.fill(|room| room.capacity());
        assert!((large.len()..2 * large.len()).contains(&room), "the next one, and not two");
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
            (at, reads) = (at + fill(&mut buffer, &stream[at..], usize::MAX), reads + 1);
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
        fill(&mut buffer, &(100i32 << 20).to_be_bytes(), usize::MAX);
        assert_eq!(buffer.next_frame(), Ok(None));
        assert!(buffer.fill(|room| room.capacity()) <= 2 * FIRST_READ);
    }

    /// The first large frame of a connection, and one that is far larger than those before.
    #[test]
    fn a_large_frame_takes_a_piece_more_than_has_arrived() {
        let mut buffer = FrameBuffer::new(100 << 20);
        for size in [5 << 20, 17 << 20, 1 << 20] {
            let large = frame(&vec![9; size]);
            let mut at = 0;
            loop {
                // A read that finds nothing.
                buffer.fill(|_| ());
                buffer.rest();
                at += fill(&mut buffer, &large[at..], 10_000);
                let taken = buffer.pieces.as_ref().map_or(0, |pieces| pieces.bytes) + buffer.bytes.capacity();
                let earned = buffer.earned + buffer.earned / 8;
                assert!(taken <= (at + PIECE).max(earned) + PREFIX, "{taken} for {at}");
                assert_eq!(buffer.partial(), at);
                if let Some(found) = buffer.next_frame().unwrap() {
                    assert_eq!((found.len(), at), (size, large.len()));
                    assert!(found.iter().all(|byte| *byte == 9));
                    break;
                }
            }
            assert_eq!(buffer.partial(), 0);
        }
    }

    #[test]
    fn bad_lengths_end_the_connection() {
        for length in [-1, i32::MIN, 1001] {
            let mut buffer = FrameBuffer::new(1000);
            fill(&mut buffer, &length.to_be_bytes(), usize::MAX);
            assert_eq!(buffer.next_frame(), Err(BadLength(length)));
        }
    }
}
