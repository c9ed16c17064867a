//! Buffers that reads from files are made into, used again and again.
//!
//! A fresh buffer of a mebibyte costs more in page faults and zeroing than the read itself. A buffer goes out as `Bytes` and comes
//! back by itself when the last of its slices is dropped, on whatever thread that is.
//!
//! Bound: at most [`KEPT_BYTES`] wait to be used again, for all logs that share a pool; [`ReadBuffers::trim`] lets go of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

/// How many bytes of buffers are kept for the next reads.
const KEPT_BYTES: usize = 12 * 1024 * 1024;
/// Smaller reads are made into plain memory.
const SMALLEST: usize = 16 * 1024;

/// A pool. Clones share it.
#[derive(Clone, Default)]
pub struct ReadBuffers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    pool: Mutex<Pool>,
    deferred: Mutex<DeferredReads>,
}

/// The deferred reads that are not sent yet, by the numbers in which they were begun.
#[derive(Default)]
struct DeferredReads {
    begun: u64,
    running: BTreeSet<u64>,
    /// Those up to this number that are still running have been waited for in vain.
    slow: u64,
}

/// Leave to defer a read, until it is dropped.
pub(crate) struct Permit {
    of: ReadBuffers,
    number: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.deferred().running.remove(&self.number);
    }
}

#[derive(Default)]
struct Pool {
    /// The least recently used first.
    free: Vec<Vec<u8>>,
    bytes: usize,
}

impl ReadBuffers {
    /// `len` bytes to read into. What is in them is whatever was read before: the caller overwrites all of it or passes none on.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        if len < SMALLEST {
            return Buffer { bytes: vec![0; len], len, home: None };
        }
        let kept = self.pool().take(len);
        let bytes = kept.unwrap_or_else(|| vec![0; len.next_power_of_two()]);
        Buffer { bytes, len, home: Some(self.clone()) }
    }

    /// Gives the memory of buffers that nobody uses back to the system.
    pub fn trim(&self) {
        *self.pool() = Pool::default();
    }

    /// Leave to defer a read, unless there are `most` already.
    pub(crate) fn permit(&self, most: usize) -> Option<Permit> {
        let mut deferred = self.deferred();
        if deferred.running.len() >= most {
            return None;
        }
        deferred.begun += 1;
        let number = deferred.begun;
        deferred.running.insert(number);
        Some(Permit { of: self.clone(), number })
    }

    /// The number of the last read that was deferred, for [`ReadBuffers::are_sent`].
    pub(crate) fn last_deferred(&self) -> u64 {
        self.deferred().begun
    }

    /// Whether nothing is still being sent that was deferred up to `last`.
    pub(crate) fn are_sent(&self, last: u64) -> bool {
        self.deferred().running.first().is_none_or(|first| *first > last)
    }

    /// Notes that those up to `last` have been waited for long enough: nobody else waits for them.
    pub(crate) fn are_slow(&self, last: u64) {
        let mut deferred = self.deferred();
        deferred.slow = deferred.slow.max(last);
    }

    /// Whether somebody is still being sent something who was waited for in vain.
    pub(crate) fn has_slow(&self) -> bool {
        let deferred = self.deferred();
        deferred.running.first().is_some_and(|first| *first <= deferred.slow)
    }

    fn deferred(&self) -> MutexGuard<'_, DeferredReads> {
        self.0.deferred.lock().expect("nothing panics while they are locked")
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().expect("nothing panics while the pool is locked")
    }
}

impl Pool {
    /// The most recently used buffer that is large enough and not wastefully larger.
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let fits = |buffer: &Vec<u8>| buffer.len() >= len && buffer.len() / 4 <= len;
        let at = self.free.iter().rposition(fits)?;
        let buffer = self.free.remove(at);
        self.bytes -= buffer.len();
        Some(buffer)
    }

    fn put(&mut self, buffer: Vec<u8>) {
        if buffer.len() > KEPT_BYTES {
            return;
        }
        self.bytes += buffer.len();
        self.free.push(buffer);
        while self.bytes > KEPT_BYTES {
            self.bytes -= self.free.remove(0).len();
        }
    }
}

/// A buffer that is out.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Option<ReadBuffers>,
}

impl Buffer {
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// The bytes, to be shared; the buffer comes back when the last share is dropped.
    pub fn freeze(mut self) -> Bytes {
        if self.home.is_some() {
            Bytes::from_owner(self)
        } else {
            Bytes::from(std::mem::take(&mut self.bytes))
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.pool().put(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_when_the_last_slice_goes() {
        let pool = ReadBuffers::default();
        let mut buffer = pool.take(100_000);
        buffer.as_mut_slice()[7] = 42;
        let address = buffer.as_ref().as_ptr();
        let bytes = buffer.freeze();
        let slice = bytes.slice(7..8);
        drop(bytes);
        assert_ne!(pool.take(100_000).as_ref().as_ptr(), address, "still in use");
        assert_eq!(slice[0], 42);
        drop(slice);
        assert_eq!(pool.take(120_000).as_ref().as_ptr(), address);
    }

    #[test]
    fn the_pool_is_bounded() {
        let pool = ReadBuffers::default();
        let out: Vec<_> = (0..20).map(|_| pool.take(1 << 20)).collect();
        drop(out);
        assert_eq!(pool.pool().bytes, KEPT_BYTES);
        drop(pool.take(KEPT_BYTES + 1));
        assert_eq!(pool.pool().bytes, KEPT_BYTES);
        pool.trim();
        assert_eq!(pool.pool().bytes, 0);
    }
}
