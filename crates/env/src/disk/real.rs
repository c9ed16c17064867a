//! The kernel's files.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use dohle_types::TimestampMs;
use rustix::fs::{Advice, FallocateFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::whole::{FileSystem, RealFileSystem};
use super::{Disk, DiskFile, DiskLock, Entry, Metadata, OpenMode, Space, Synced};

/// The most slices one `pwritev` takes (`IOV_MAX`).
const MAX_SLICES: usize = 1024;

/// `RWF_DONTCACHE`: what is read is dropped from the page cache afterwards, unless it was there before.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// The file system of the machine.
#[derive(Debug, Default)]
pub struct RealDisk(());

impl RealDisk {
    pub fn new() -> Self {
        Self(())
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => _ = options.write(true),
            OpenMode::Create => _ = options.write(true).create(true),
            OpenMode::CreateNew => _ = options.write(true).create_new(true),
        }
        Ok(Arc::new(RealFile { file: options.open(path)?, advised: AtomicU8::new(NOTHING) }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A name that is not UTF-8 is not one of Kafka's.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        match fs::metadata(path) {
            Ok(found) => {
                let modified =
                    found.mtime().saturating_mul(1000).saturating_add(found.mtime_nsec() / 1_000_000);
                Ok(Some(Metadata {
                    len: found.len(),
                    is_dir: found.is_dir(),
                    links: found.nlink(),
                    modified: TimestampMs(modified),
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<Synced> {
        fs::File::open(path)?.sync_all()?;
        Ok(Synced(()))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Space { available: found.f_bavail * found.f_frsize, total: found.f_blocks * found.f_frsize })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        lock_whole_file(&file)?;
        Ok(Box::new(RealLock { _file: file }))
    }

    fn file_system(&self, folder: &Path) -> io::Result<Option<Box<dyn FileSystem>>> {
        Ok(RealFileSystem::of(folder)?.map(|whole| Box::new(whole) as Box<dyn FileSystem>))
    }
}

/// Takes a POSIX record lock, the kind that Java's `FileChannel.tryLock` takes, so that Kafka and Dohle keep each other out.
fn lock_whole_file(file: &fs::File) -> io::Result<()> {
    match rustix::fs::fcntl_lock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::ACCESS | Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

struct RealLock {
    _file: fs::File,
}

impl DiskLock for RealLock {}

struct RealFile {
    file: fs::File,
    /// What the kernel was last told about reading ahead: one of the following.
    advised: AtomicU8,
}

/// It reads ahead where it sees fit.
const NOTHING: u8 = 0;
const AHEAD: u8 = 1;
const ALONE: u8 = 2;

/// What the kernel may have read ahead: twice of what it takes at most on the usual machine.
const AHEAD_BYTES: NonZeroU64 = NonZeroU64::new(16 << 20).expect("not zero");

impl RealFile {
    /// Has the kernel read ahead, where it was last told otherwise. Only advice, for all who read this file: it changes how long a read takes,
    /// not what it gives.
    fn read_ahead(&self) {
        if self.advised.load(Ordering::Relaxed) == ALONE {
            _ = rustix::fs::fadvise(&self.file, 0, None, Advice::Normal);
            self.advised.store(AHEAD, Ordering::Relaxed);
        }
    }

    /// Has the kernel bring what is asked for and nothing else, from `position` on.
    ///
    /// Among what it has read ahead before is a page that has it read on, whatever it was told since, whoever comes to it; and so from
    /// page to page through the file.
    fn read_alone(&self, position: u64) {
        if self.advised.load(Ordering::Relaxed) != ALONE {
            _ = rustix::fs::fadvise(&self.file, 0, None, Advice::Random);
            _ = rustix::fs::fadvise(&self.file, position, Some(AHEAD_BYTES), Advice::DontNeed);
            self.advised.store(ALONE, Ordering::Relaxed);
        }
    }

    fn read_all(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.file.read_at(&mut buffer[read..], position + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn read_uncached(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            let slice = io::IoSliceMut::new(&mut buffer[read..]);
            match rustix::io::preadv2(&self.file, &mut [slice], position + read as u64, DONTCACHE) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(Errno::INTR) => {}
                // A kernel before 6.14, or a file system without the flag: read as always, and let go of it afterwards.
                Err(Errno::OPNOTSUPP | Errno::INVAL) => return self.read_and_let_go(buffer, position),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(read)
    }

    fn read_and_let_go(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let read = self.read_all(buffer, position)?;
        let len = NonZeroU64::new(read as u64);
        if len.is_some() {
            // What is dirty stays. Only advice: that it is not taken is no failure of the read.
            _ = rustix::fs::fadvise(&self.file, position, len, Advice::DontNeed);
        }
        Ok(read)
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_ahead();
        self.read_all(buffer, position)
    }

    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if self.advised.load(Ordering::Relaxed) == NOTHING {
            // Who only looks brings what is not there all the same, though it does not wait for it.
            _ = rustix::fs::fadvise(&self.file, 0, None, Advice::Random);
            self.advised.store(ALONE, Ordering::Relaxed);
        }
        let slice = io::IoSliceMut::new(buffer);
        match rustix::io::preadv2(&self.file, &mut [slice], position, ReadWriteFlags::NOWAIT) {
            Ok(n) => Ok(n),
            // A file system without the flag: an ordinary read is all there is.
            Err(Errno::OPNOTSUPP) => self.read_all(buffer, position),
            Err(error) => Err(error.into()),
        }
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_ahead();
        self.read_uncached(buffer, position)
    }

    fn read_alone_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_alone(position);
        self.read_uncached(buffer, position)
    }

    fn send_at(&self, socket: BorrowedFd<'_>, mut position: u64, len: usize) -> io::Result<usize> {
        match rustix::fs::sendfile(socket, &self.file, Some(&mut position), len) {
            Ok(sent) => Ok(sent),
            // A file system that cannot hand on its pages.
            Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn write_all_at(&self, slices: &[io::IoSlice<'_>], mut position: u64) -> io::Result<()> {
        let mut owned: Vec<io::IoSlice<'_>>;
        for window in slices.chunks(MAX_SLICES) {
            let total: usize = window.iter().map(|slice| slice.len()).sum();
            let mut written = write_some(&self.file, window, position)?;
            if written < total {
                owned = window.to_vec();
                let mut rest = &mut owned[..];
                io::IoSlice::advance_slices(&mut rest, written);
                while written < total {
                    let n = write_some(&self.file, rest, position + written as u64)?;
                    written += n;
                    io::IoSlice::advance_slices(&mut rest, n);
                }
            }
            position += total as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn reserve(&self, position: u64, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, position, len) {
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn reserve_if_possible(&self, position: u64, len: u64) {
        _ = self.reserve(position, len);
    }

    fn start_writeback(&self, position: u64, len: u64) -> io::Result<()> {
        // The only call without a safe wrapper; POSIX_FADV_DONTNEED starts write-back of dirty pages and drops clean ones.
        let len = NonZeroU64::new(len);
        rustix::fs::fadvise(&self.file, position, len, Advice::DontNeed)?;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<Synced> {
        self.file.sync_data()?;
        Ok(Synced(()))
    }
}

/// One `pwritev`; never returns 0 for slices that hold bytes.
fn write_some(file: &fs::File, slices: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
    loop {
        match rustix::io::pwritev(file, slices, position) {
            Ok(0) if slices.iter().any(|slice| !slice.is_empty()) => {
                return Err(io::ErrorKind::WriteZero.into());
            }
            Ok(n) => return Ok(n),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const PAGE: u64 = 4096;
    const MIB: u64 = 1 << 20;
    /// Longer than a device takes for what nobody waits for.
    const LATER: std::time::Duration = std::time::Duration::from_millis(100);

    /// A file of 16 MiB of which the page cache has nothing.
    struct Forgotten(PathBuf);

    impl Forgotten {
        /// `None`, said aloud, on a file system that forgets nothing.
        fn new(name: &str) -> Option<Self> {
            let forgotten = Self(std::env::temp_dir().join(format!("dohle-{name}-{}", std::process::id())));
            let file = forgotten.open(OpenMode::Create);
            file.write_all_at(&[io::IoSlice::new(&vec![7; 16 << 20])], 0).unwrap();
            let _stored = file.sync_data().unwrap();
            file.read_uncached_at(&mut [0], 0).unwrap();
            let again = fs::File::open(&forgotten.0).unwrap();
            rustix::fs::fadvise(&again, 0, None, Advice::DontNeed).unwrap();
            if forgotten.has(8 * MIB) {
                println!("*** SKIPPED: THIS FILE SYSTEM FORGETS NOTHING");
                return None;
            }
            Some(forgotten)
        }

        fn open(&self, mode: OpenMode) -> Arc<dyn DiskFile> {
            RealDisk::new().open(&self.0, mode).unwrap()
        }

        /// Whether the page cache has what is there; who asks again may find what this has brought.
        fn has(&self, position: u64) -> bool {
            self.open(OpenMode::Read).read_cached_at(&mut [0], position).is_ok()
        }
    }

    impl Drop for Forgotten {
        fn drop(&mut self) {
            _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_look_brings_nothing_but_what_it_asks_for() {
        let Some(forgotten) = Forgotten::new("look") else { return };
        let file = forgotten.open(OpenMode::Read);
        let looked = file.read_cached_at(&mut [0; 16], 0);
        assert_eq!(looked.map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        std::thread::sleep(LATER);
        let ahead = [PAGE, 2 * PAGE, 4 * PAGE, 32 * PAGE].map(|position| forgotten.has(position));
        assert_eq!(ahead, [false; 4]);
    }

    #[test]
    fn a_read_alone_ends_what_was_read_ahead() {
        let Some(forgotten) = Forgotten::new("alone") else { return };
        let file = forgotten.open(OpenMode::Read);
        let piece = &mut [0; MIB as usize / 8];
        for at in 0..8 {
            file.read_uncached_at(piece, at * MIB / 8).unwrap();
        }
        std::thread::sleep(LATER);
        for at in 8..16 {
            file.read_alone_at(piece, at * MIB / 8).unwrap();
        }
        std::thread::sleep(LATER);
        let ahead = [2 * MIB, 3 * MIB, 6 * MIB, 12 * MIB].map(|position| forgotten.has(position));
        assert_eq!(ahead, [false; 4]);
    }
}
