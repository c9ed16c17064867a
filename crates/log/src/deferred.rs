//! Records that stay in their file until they are sent.
//!
//! The kernel hands pages of its cache on to a socket without a copy; and memory is held for none of an answer's mebibytes, where it was
//! for all of them.
//!
//! Deferred are bytes that are known to be sound and in the page cache ([`crate::segment::Segment::checked`]). Should they have left it
//! when their turn comes, [`Deferred::look`] says so, the segment is not trusted any more, and [`Deferred::fetch_all`] reads and proves
//! them on a thread that may wait. A file that was compacted or deleted meanwhile is still
//! read as it was: it is held open, and it is not cut under who is being sent its bytes (`removal.rs`).
//!
//! Bound: [`MOST`] at a time, for all logs that share their [`ReadBuffers`]; beyond that bytes are read at once.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use dohle_env::DiskFile;
use dohle_types::Offset;

use crate::buffers::{Permit, ReadBuffers};
use crate::frame::Frame;
use crate::source::{Manners, read_cold};

/// How many slices are deferred at once: each holds a file open, whether its partition rests or not.
pub(crate) const MOST: usize = 128;

/// One byte in every so many is looked at to find out whether all are in memory.
const LOOKED_AT: usize = 256 << 10;

/// Whole batches in a file.
pub struct Deferred {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) position: u64,
    pub(crate) len: usize,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) buffers: ReadBuffers,
    /// Tells the segment that its bytes are not in memory any more.
    pub(crate) lost: Arc<AtomicBool>,
    pub(crate) _permit: Permit,
}

impl Deferred {
    /// How many bytes there are.
    pub fn size(&self) -> usize {
        self.len
    }

    /// Fails with `WouldBlock` when the page cache does not have these bytes: whoever sent them all the same would wait for the device.
    /// That is told from one byte in every [`LOOKED_AT`] and the last: memory is given up in long stretches.
    pub fn look(&self, from: usize, len: usize) -> io::Result<()> {
        let last = (from + len).min(self.len).saturating_sub(1);
        let places = (from..last).step_by(LOOKED_AT).chain([last]);
        for place in places {
            if let Err(error) = self.file.read_cached_at(&mut [0], self.position + place as u64) {
                self.lost.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sends bytes from `from` on, at most `most`, to a socket; how many it took. `WouldBlock` when it takes none, `Unsupported` where
    /// they have to be fetched first.
    pub fn send(&self, from: usize, most: usize, socket: BorrowedFd<'_>) -> io::Result<usize> {
        match self.file.send_at(socket, self.position + from as u64, most.min(self.len - from))? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            sent => Ok(sent),
        }
    }

    /// Bytes from `from` on, at most `most`. Fails with `WouldBlock` when the page cache does not have them.
    pub fn fetch(&self, from: usize, most: usize) -> io::Result<Bytes> {
        let mut buffer = self.buffers.take(most.min(self.len - from));
        match self.file.read_cached_at(buffer.as_mut_slice(), self.position + from as u64) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => Ok(buffer.freeze().slice(..read)),
            Err(error) => {
                self.lost.store(true, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// All bytes, proven anew. May wait for the device, and leaves nothing of it in the page cache.
    pub fn fetch_all(&self, manners: Manners<'_>) -> io::Result<Bytes> {
        let mut buffer = self.buffers.take(self.len);
        let read = read_cold(&*self.file, buffer.as_mut_slice(), self.position, manners);
        // What was read beside it was not checked.
        self.lost.store(true, Ordering::Relaxed);
        read?;
        self.prove(buffer.as_ref()).map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?;
        Ok(buffer.freeze())
    }

    /// Whether these are the batches that were deferred.
    fn prove(&self, bytes: &[u8]) -> Result<(), String> {
        let (mut at, mut next) = (0, self.start);
        while at < bytes.len() {
            let frame = Frame::parse(&bytes[at..], self.position + at as u64)?;
            let whole = usize::try_from(frame.size).ok().and_then(|size| bytes.get(at..at + size));
            frame.check_crc(whole.ok_or("a batch is cut short")?)?;
            let in_place = if at == 0 { frame.base_offset == next } else { frame.base_offset >= next };
            if !in_place {
                return Err(format!("offset {} where {next} was due", frame.base_offset));
            }
            (at, next) = (at + frame.size as usize, frame.next_offset());
        }
        if next == self.end { Ok(()) } else { Err(format!("it ends at {next} instead of {}", self.end)) }
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deferred({} bytes of offsets {} to {})", self.len, self.start, self.end)
    }
}

impl PartialEq for Deferred {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Deferred {}
