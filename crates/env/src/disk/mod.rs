//! Files and folders, as a trait with a real and a simulated implementation.
//!
//! All calls are synchronous. Appends go to the page cache and return at once; what may wait for the device
//! ([`DiskFile::sync_data`], cold reads) is called from threads that may wait.
//!
//! The contract, which every implementation keeps and the simulated one exploits to the letter:
//! - bytes written are durable only after `sync_data` or `sync_all` of that file returned;
//! - a name that was created, renamed or removed is durable only after [`Disk::sync_dir`] of its folder returned;
//! - writes that were not synced may survive a crash in any combination, torn at any byte;
//! - after a sync has failed, the file's unsynced bytes may be lost, though they are still read, by the next process too: the kernel
//!   takes them for clean. Syncing again stores only what was written since, be it the same bytes once more.

mod asking;
mod guarded;
mod real;
mod sim;
mod whole;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dohle_types::TimestampMs;

pub use asking::{Asked, AskingDisk};
pub use guarded::{DiskFailure, Guard, GuardedDisk};
pub use real::RealDisk;
pub use sim::{Fault, Lie, SimDisk};
pub use whole::FileSystem;

/// Raises the number of files that this process may have open as far as it is allowed to, as the JVM does. Gives that number.
pub fn raise_open_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // It may have been raised already, or there may be a reason not to: both are seen in what is in force afterwards.
    _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Proof that a flush has returned. Only a disk can make one; see `SyncedMeansDurable`.
#[derive(Debug)]
#[must_use]
pub struct Synced(());

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Fails when there is none.
    Read,
    /// For reading and writing; fails when there is none.
    ReadWrite,
    /// For reading and writing; made when there is none.
    Create,
    /// For reading and writing; fails when there is one.
    CreateNew,
}

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub len: u64,
    pub is_dir: bool,
    /// How many names it has.
    pub links: u64,
    pub modified: TimestampMs,
}

/// Bytes free and bytes in all on the file system under a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub available: u64,
    pub total: u64,
}

/// A file system.
pub trait Disk: Send + Sync {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a folder and those above it. The folder's own name still has to be synced by [`Disk::sync_dir`] of its parent.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The entries of a folder, in the order of their names.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// `Ok(None)` when there is nothing.
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>>;

    /// Renames a file or folder, replacing a file of that name in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<Synced>;

    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Takes an exclusive lock on a file, which is made when there is none, and holds it until the lock is dropped or the process
    /// ends. Fails with `WouldBlock` while another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;

    /// The file system that a folder lies in, where it can be flushed as a whole and tells of all that could not be written since.
    fn file_system(&self, _folder: &Path) -> io::Result<Option<Box<dyn FileSystem>>> {
        Ok(None)
    }

    /// Makes everything durable that was written through this door, and what others wrote to the same file system with it. `None` where
    /// that cannot be done, or has failed: each file's own flush then tells what is so, of those that are still open since they were written.
    fn sync_all(&self) -> Option<Synced> {
        None
    }

    /// What may end all use of this door to the disk, where there is such a thing.
    fn guard(&self) -> Option<&Arc<Guard>> {
        None
    }
}

/// An open file. All methods take `&self`: positions are the caller's.
#[allow(clippy::len_without_is_empty)]
pub trait DiskFile: Send + Sync {
    fn len(&self) -> io::Result<u64>;

    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// As [`DiskFile::read_at`], but only if no device has to be waited for; `WouldBlock` otherwise. May read less.
    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// As [`DiskFile::read_at`], leaving nothing in the page cache that was not there before, where the system can do that.
    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// As [`DiskFile::read_uncached_at`], and the device is asked for nothing else: what the system expects to be wanted next is not read
    /// ahead, so that others wait for these bytes at most.
    fn read_alone_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_uncached_at(buffer, position)
    }

    /// Sends up to `len` bytes from `position` on to a socket without bringing them into the process; how many it took. `WouldBlock`
    /// when the socket takes none, `Unsupported` where there is no such way. Waits for the device where it has to be asked: the caller
    /// knows that it has not.
    fn send_at(&self, _socket: BorrowedFd<'_>, _position: u64, _len: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes all the slices, one after the other, from `position` on.
    fn write_all_at(&self, slices: &[io::IoSlice<'_>], position: u64) -> io::Result<()>;

    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves room for `len` bytes from `position` on without changing the file's length. Only a hint where the file
    /// system cannot do it.
    fn reserve(&self, position: u64, len: u64) -> io::Result<()>;

    /// As [`DiskFile::reserve`], for somebody who can do without: nothing is said where there is no room.
    fn reserve_if_possible(&self, _position: u64, _len: u64) {}

    /// Starts writing back a range without waiting for it.
    fn start_writeback(&self, position: u64, len: u64) -> io::Result<()>;

    /// Makes the bytes, and the length, durable.
    fn sync_data(&self) -> io::Result<Synced>;
}

/// A held lock; dropping it lets go.
pub trait DiskLock: Send + Sync {}

/// Replaces the contents of a small file in one durable step: write beside it, sync, rename, sync the folder.
///
/// A crash at any point leaves either the old contents or the new.
pub fn replace_file(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<Synced> {
    put_file(disk, path, contents)?;
    disk.sync_dir(path.parent().expect("a file has a folder"))
}

/// As [`replace_file`], for a caller that syncs the folder for several names at once: until then a crash may bring the old
/// contents back.
pub fn put_file(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<()> {
    let beside = write_beside(disk, path, contents)?;
    if !cfg!(dohle_bug = "replaced_before_written") {
        let _written = beside.sync_data()?;
    }
    put_in_place(disk, path)
}

/// The first half of [`put_file`]: the new contents, beside the file and not yet synced.
pub fn write_beside(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
    let temporary = temporary_name(path);
    let file = match disk.open(&temporary, OpenMode::CreateNew) {
        // Left by a process that was killed. A file that is new has no sync that failed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove_file(&temporary)?;
            disk.open(&temporary, OpenMode::CreateNew)?
        }
        opened => opened?,
    };
    file.write_all_at(&[io::IoSlice::new(contents)], 0)?;
    Ok(file)
}

/// The second half: what was written beside the file, and synced since, takes its name.
pub fn put_in_place(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.rename(&temporary_name(path), path)
}

/// The whole of a file that should be at most `limit` bytes long. `Ok(None)` when there is none.
pub fn read_file(disk: &dyn Disk, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = file.len()?;
    if len > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} has {len} bytes, more than the {limit} that such a file can have", path.display()),
        ));
    }
    let mut contents = vec![0; usize::try_from(len).expect("below the limit")];
    let read = file.read_at(&mut contents, 0)?;
    contents.truncate(read);
    Ok(Some(contents))
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().expect("a file has a name").to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}
