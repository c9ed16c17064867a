//! A file to read from, either waiting for the device or taking only what the page cache has.

use std::io;
use std::sync::Arc;

use dohle_env::DiskFile;

#[derive(Clone)]
pub(crate) struct Source {
    file: Arc<dyn DiskFile>,
    may_wait: bool,
}

impl Source {
    pub fn waiting(file: Arc<dyn DiskFile>) -> Self {
        Self { file, may_wait: true }
    }

    /// Fails with `WouldBlock` where the device would have to be asked.
    pub fn cached(file: Arc<dyn DiskFile>) -> Self {
        Self { file, may_wait: false }
    }

    pub fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// Reads `len` bytes, which the caller knows to be there: `len` is never a number read from a file.
    pub fn read_exact(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        self.read_into(&mut buffer, position)?;
        Ok(buffer)
    }

    /// As [`Source::read_into`]; a source that may wait leaves nothing of it in the page cache.
    pub fn read_through(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        if !self.may_wait {
            return self.read_into(buffer, position);
        }
        let read = self.file.read_uncached_at(buffer, position)?;
        if read < buffer.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Fills the buffer, whose length the caller knows to be there.
    pub fn read_into(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let len = buffer.len();
        if self.may_wait {
            let read = self.file.read_at(buffer, position)?;
            if read < len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        } else {
            let mut read = 0;
            while read < len {
                match self.file.read_cached_at(&mut buffer[read..], position + read as u64)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    n => read += n,
                }
            }
        }
        Ok(())
    }
}
