//! A file to read from, either waiting for the device or taking only what the page cache has.

use std::io;
use std::sync::Arc;

use dohle_env::DiskFile;

/// What is read at once while others wait for the device, cut at multiples of it: about as long as a flush takes. Larger pieces make
/// flushes wait, and gain the reader little.
const PIECE: u64 = 128 << 10;

/// How a read goes about it that waits for the device. It is asked before each piece, may rest then, and tells how to go on.
pub type Manners<'a> = &'a mut dyn FnMut() -> Manner;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// All at once, and what the system reads ahead as well.
    Greedy,
    /// A piece, and nothing ahead: somebody else waits for the device.
    Modest,
}

/// [`Manners`] of who need not think of others.
pub fn greedy() -> Manner {
    Manner::Greedy
}

/// Fills the buffer from the device, leaving nothing of it in the page cache.
pub(crate) fn read_cold(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    position: u64,
    manners: Manners<'_>,
) -> io::Result<()> {
    let mut read = 0;
    while read < buffer.len() {
        let (rest, at) = (&mut buffer[read..], position + read as u64);
        let n = match manners() {
            Manner::Greedy => file.read_uncached_at(rest, at)?,
            Manner::Modest => {
                let piece = usize::try_from(PIECE - at % PIECE).unwrap_or(usize::MAX).min(rest.len());
                file.read_alone_at(&mut rest[..piece], at)?
            }
        };
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read += n;
    }
    Ok(())
}

#[derive(Clone)]
pub(crate) struct Source {
    file: Arc<dyn DiskFile>,
    may_wait: bool,
    /// How to read the small things, should the device have to be waited for.
    manner: Manner,
}

impl Source {
    pub fn waiting(file: Arc<dyn DiskFile>) -> Self {
        Self::waiting_as(file, Manner::Greedy)
    }

    /// As [`Source::waiting`], going about it in this manner.
    pub fn waiting_as(file: Arc<dyn DiskFile>, manner: Manner) -> Self {
        Self { file, may_wait: true, manner }
    }

    /// Fails with `WouldBlock` where the device would have to be asked.
    pub fn cached(file: Arc<dyn DiskFile>) -> Self {
        Self { file, may_wait: false, manner: Manner::Greedy }
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
    pub fn read_through(&self, buffer: &mut [u8], position: u64, manners: Manners<'_>) -> io::Result<()> {
        if self.may_wait {
            read_cold(&*self.file, buffer, position, manners)
        } else {
            self.read_into(buffer, position)
        }
    }

    /// Fills the buffer, whose length the caller knows to be there.
    pub fn read_into(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let len = buffer.len();
        if self.may_wait {
            let read = match self.manner {
                Manner::Greedy => self.file.read_at(buffer, position)?,
                Manner::Modest => self.file.read_alone_at(buffer, position)?,
            };
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;
    use std::sync::Mutex;

    use dohle_env::Disk;
    use dohle_env::disk::{Asked, AskingDisk, OpenMode, SimDisk};

    use super::*;

    #[test]
    fn a_modest_read_takes_pieces_and_a_greedy_one_takes_all() {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let told = asked.clone();
        let disk = AskingDisk::new(Arc::new(SimDisk::new(1)), move |what, _| {
            told.lock().unwrap().push(what);
            Ok(())
        });
        let bytes: Vec<u8> = (0..3 * PIECE).map(|at| (at % 251) as u8).collect();
        let file = disk.open(Path::new("/log"), OpenMode::Create).unwrap();
        file.write_all_at(&[io::IoSlice::new(&bytes)], 0).unwrap();
        for (manner, how) in [(Manner::Greedy, Asked::Read), (Manner::Modest, Asked::ReadAlone)] {
            asked.lock().unwrap().clear();
            assert_eq!(Source::waiting_as(file.clone(), manner).read_exact(7, 3).unwrap(), bytes[7..10]);
            assert_eq!(*asked.lock().unwrap(), [how], "and so is what leads there");
        }
        let mut read = vec![0; 2 * PIECE as usize];
        let mut read_with = |manners: Manners<'_>, position: u64| {
            asked.lock().unwrap().clear();
            read_cold(&*file, &mut read, position, manners).unwrap();
            assert_eq!(read, bytes[position as usize..position as usize + read.len()]);
            std::mem::take(&mut *asked.lock().unwrap())
        };
        assert_eq!(read_with(&mut greedy, 100), [Asked::Read]);
        assert_eq!(read_with(&mut || Manner::Modest, 100), [Asked::ReadAlone; 3]);
        assert_eq!(read_with(&mut || Manner::Modest, PIECE), [Asked::ReadAlone; 2]);
        // Somebody begins to produce, and stops.
        let turn = Cell::new(0);
        let mut changes = || {
            turn.set(turn.get() + 1);
            if turn.get() < 3 { Manner::Modest } else { Manner::Greedy }
        };
        assert_eq!(read_with(&mut changes, 1), [Asked::ReadAlone, Asked::ReadAlone, Asked::Read]);
        let beyond = read_cold(&*file, &mut [0; 10], 3 * PIECE - 5, &mut || Manner::Modest).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }
}
