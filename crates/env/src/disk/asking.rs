//! A disk that asks before it does anything, for tests of what happens while an operation is slow or fails.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, DiskLock, Entry, FileSystem, Metadata, OpenMode, Space, Synced};

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Open(OpenMode),
    /// A list, a length, the space that is left.
    Look,
    Read,
    /// A read beside which nothing is read ahead.
    ReadAlone,
    /// A read that must not wait: `WouldBlock` says that it would have to.
    ReadCached,
    Write,
    Truncate,
    Flush,
    FlushFolder,
    FlushAll,
    MakeFolder,
    Rename,
    Remove,
    Lock,
}

type Ask = Arc<dyn Fn(Asked, &Path) -> io::Result<()> + Send + Sync>;

/// Another disk, behind a question: what is answered with an error fails with it, and what is not answered has to wait.
pub struct AskingDisk {
    disk: Arc<dyn Disk>,
    ask: Ask,
}

impl AskingDisk {
    pub fn new(
        disk: Arc<dyn Disk>,
        ask: impl Fn(Asked, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { disk, ask: Arc::new(ask) }
    }
}

impl Disk for AskingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        (self.ask)(Asked::Open(mode), path)?;
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(AskingFile { file, path: path.to_owned(), ask: self.ask.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        (self.ask)(Asked::MakeFolder, path)?;
        self.disk.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        (self.ask)(Asked::Look, path)?;
        self.disk.list(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        (self.ask)(Asked::Look, path)?;
        self.disk.metadata(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.ask)(Asked::Rename, from)?;
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        (self.ask)(Asked::Remove, path)?;
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        (self.ask)(Asked::Remove, path)?;
        self.disk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<Synced> {
        (self.ask)(Asked::FlushFolder, path)?;
        self.disk.sync_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        (self.ask)(Asked::Look, path)?;
        self.disk.space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        (self.ask)(Asked::Lock, path)?;
        self.disk.lock(path)
    }

    fn sync_all(&self) -> Option<Synced> {
        (self.ask)(Asked::FlushAll, Path::new("/")).ok()?;
        self.disk.sync_all()
    }

    fn file_system(&self, folder: &Path) -> io::Result<Option<Box<dyn FileSystem>>> {
        let found = self.disk.file_system(folder)?;
        let asking = |whole| AskingFileSystem { whole, folder: folder.to_owned(), ask: self.ask.clone() };
        Ok(found.map(|whole| Box::new(asking(whole)) as Box<dyn FileSystem>))
    }
}

struct AskingFileSystem {
    whole: Box<dyn FileSystem>,
    folder: PathBuf,
    ask: Ask,
}

impl FileSystem for AskingFileSystem {
    fn sync(&self) -> io::Result<Synced> {
        (self.ask)(Asked::FlushAll, &self.folder)?;
        self.whole.sync()
    }
}

struct AskingFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    ask: Ask,
}

impl AskingFile {
    fn ask(&self, what: Asked) -> io::Result<()> {
        (self.ask)(what, &self.path)
    }
}

impl DiskFile for AskingFile {
    fn len(&self) -> io::Result<u64> {
        self.ask(Asked::Look)?;
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.ask(Asked::Read)?;
        self.file.read_at(buffer, position)
    }

    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.ask(Asked::ReadCached)?;
        self.file.read_cached_at(buffer, position)
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.ask(Asked::Read)?;
        self.file.read_uncached_at(buffer, position)
    }

    fn read_alone_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.ask(Asked::ReadAlone)?;
        self.file.read_alone_at(buffer, position)
    }

    fn send_at(&self, socket: BorrowedFd<'_>, position: u64, len: usize) -> io::Result<usize> {
        self.ask(Asked::Read)?;
        self.file.send_at(socket, position, len)
    }

    fn write_all_at(&self, slices: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.ask(Asked::Write)?;
        self.file.write_all_at(slices, position)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.ask(Asked::Truncate)?;
        self.file.set_len(len)
    }

    fn reserve(&self, position: u64, len: u64) -> io::Result<()> {
        self.ask(Asked::Write)?;
        self.file.reserve(position, len)
    }

    fn reserve_if_possible(&self, position: u64, len: u64) {
        self.file.reserve_if_possible(position, len);
    }

    fn start_writeback(&self, position: u64, len: u64) -> io::Result<()> {
        self.file.start_writeback(position, len)
    }

    fn sync_data(&self) -> io::Result<Synced> {
        self.ask(Asked::Flush)?;
        self.file.sync_data()
    }
}
