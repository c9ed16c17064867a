//! The part of a disk under one folder, given up as a whole by its first failure.
//!
//! After a failed write or flush nobody knows what the device holds, and a flush that is tried again proves nothing. So the first
//! failure is the last operation: whatever is asked of the folder through this door afterwards is refused, on whatever file. Whoever
//! wants it back opens it anew, with another guard, and believes only what it then reads.
//!
//! ```text
//!   sound ── a write, flush, rename ... fails ──> failed, for good
//!     │  ^
//!     │  └── trusted again
//!     └──── a read fails ───> suspect      (a bad sector, or the whole device: a write will show)
//! ```
//!
//! Invariants: `FailedIsFinal`: no operation reaches the disk after a failure was noted. `NothingSyncedAfterFailure`: a flush that
//! returns after a failure of another file gives no [`Synced`]. `OverBeforeAnew`: whoever opens the folder anew waits until
//! [`Guard::is_over`], so that a write that was under way when another one failed never lands in what was made of the folder since.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::{Disk, DiskFile, DiskLock, Entry, FileSystem, Metadata, OpenMode, Space, Synced};

/// What the first failure was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFailure {
    pub action: &'static str,
    pub path: PathBuf,
    pub kind: io::ErrorKind,
    pub why: String,
}

impl std::fmt::Display for DiskFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} failed: {}", self.action, self.path.display(), self.why)
    }
}

/// The state of a guarded folder, shared by all that was opened through it.
pub struct Guard {
    root: PathBuf,
    failure: OnceLock<DiskFailure>,
    suspect: AtomicBool,
    /// How many operations that change something have begun and not returned.
    under_way: AtomicUsize,
    tell: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// One operation that changes something.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("root", &self.root)
            .field("failure", &self.failure.get())
            .finish_non_exhaustive()
    }
}

impl Guard {
    pub fn failure(&self) -> Option<&DiskFailure> {
        self.failure.get()
    }

    /// Whether the folder has failed, and nothing from before that is still on its way to the disk, or ever will be.
    pub fn is_over(&self) -> bool {
        // Written as a change of the count: an operation that begins after it has seen the failure that was noted before it.
        self.failure.get().is_some() && self.under_way.fetch_add(0, Ordering::AcqRel) == 0
    }

    /// Whether a read has failed since the folder was last trusted.
    pub fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire) && self.failure.get().is_none()
    }

    /// The folder takes writes: what could not be read is a matter of that file.
    pub fn trust(&self) {
        self.suspect.store(false, Ordering::Release);
    }

    /// Has `tell` called, on any thread, when the folder has failed or become suspect; at once if that is so already.
    pub fn on_trouble(&self, tell: impl Fn() + Send + Sync + 'static) {
        let tell = self.tell.get_or_init(|| Box::new(tell));
        if self.failure.get().is_some() || self.is_suspect() {
            tell();
        }
    }

    /// Notes a failure; the first one counts.
    pub fn fail(&self, failure: DiskFailure) {
        if self.failure.set(failure).is_ok() {
            self.told();
        }
    }

    fn told(&self) {
        if let Some(tell) = self.tell.get() {
            tell();
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.failure.get() {
            None => Ok(()),
            Some(_) => Err(io::Error::other("the log directory is offline")),
        }
    }

    /// Does an operation that changes something, unless the folder has failed. Its failure is the folder's.
    fn change<T>(
        &self,
        action: &'static str,
        path: &Path,
        work: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let _under_way = UnderWay::begin(&self.under_way);
        if !cfg!(dohle_bug = "old_handles_write") {
            self.check()?;
        }
        match work() {
            Ok(done) => self.check().map(|()| done),
            Err(error) => {
                if self.is_failure(action, path, &error) {
                    self.note(action, path, &error);
                }
                Err(error)
            }
        }
    }

    /// Does an operation that only looks, unless the folder has failed.
    fn look<T>(
        &self,
        action: &'static str,
        path: &Path,
        work: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.check()?;
        work().inspect_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::StaleNetworkFileHandle => {
                self.note(action, path, error)
            }
            _ if is_of_the_device(error) && !self.suspect.swap(true, Ordering::AcqRel) => self.told(),
            _ => {}
        })
    }

    fn note(&self, action: &'static str, path: &Path, error: &io::Error) {
        let text = error.to_string();
        let why = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
        self.fail(DiskFailure { action, path: path.to_owned(), kind: error.kind(), why });
    }

    /// Whether an error says something of the folder, and not of this process, of a race for a name or of a file system's nature.
    fn is_failure(&self, action: &str, path: &Path, error: &io::Error) -> bool {
        use io::ErrorKind as E;
        match error.kind() {
            // A partition's folder goes with its topic, whoever is writing in it. What lies in the log directory itself stays.
            E::NotFound => path == self.root || action == "making" && path.parent() == Some(&self.root),
            E::AlreadyExists | E::WouldBlock | E::Interrupted | E::DirectoryNotEmpty => false,
            E::Unsupported | E::InvalidInput | E::OutOfMemory => false,
            _ => !is_of_this_process(error),
        }
    }
}

fn is_of_the_device(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    matches!(error.raw_os_error(), Some(EIO | ENXIO | ENODEV))
}

/// No descriptor was left.
fn is_of_this_process(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// A disk, seen through the [`Guard`] of one of its folders.
pub struct GuardedDisk {
    disk: Arc<dyn Disk>,
    guard: Arc<Guard>,
    /// Held since before the first write; none any more once it has told of a failure, as it tells of each only once.
    whole: Mutex<Option<Box<dyn FileSystem>>>,
}

impl GuardedDisk {
    pub fn new(disk: Arc<dyn Disk>, root: &Path) -> Self {
        let guard = Arc::new(Guard {
            root: root.to_owned(),
            failure: OnceLock::new(),
            suspect: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            tell: OnceLock::new(),
        });
        // One that cannot be asked is one that cannot be flushed as a whole.
        let whole = Mutex::new(disk.file_system(root).unwrap_or_default());
        Self { disk, guard, whole }
    }

    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }
}

impl Disk for GuardedDisk {
    fn guard(&self) -> Option<&Arc<Guard>> {
        Some(&self.guard)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = match mode {
            OpenMode::Read | OpenMode::ReadWrite => {
                self.guard.look("opening", path, || self.disk.open(path, mode))?
            }
            OpenMode::Create | OpenMode::CreateNew => {
                self.guard.change("making", path, || self.disk.open(path, mode))?
            }
        };
        Ok(Arc::new(GuardedFile { file, path: path.to_owned(), guard: self.guard.clone() }))
    }

    /// A root that has gone is not made again below what is made in it: that would be another disk's.
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.guard.change("making", path, || match self.disk.metadata(&self.guard.root)? {
            Some(_) => self.disk.create_dir_all(path),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.guard.look("listing", path, || self.disk.list(path))
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.guard.look("looking for", path, || self.disk.metadata(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.guard.change("renaming", from, || match self.disk.rename(from, to) {
            // Who renames says whether it had to be there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(error)),
            done => done.map(Ok),
        })?
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.guard.change("removing", path, || match self.disk.remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(error)),
            done => done.map(Ok),
        })?
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.guard.change("removing", path, || match self.disk.remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(error)),
            done => done.map(Ok),
        })?
    }

    fn sync_dir(&self, path: &Path) -> io::Result<Synced> {
        self.guard.change("flushing", path, || self.disk.sync_dir(path))
    }

    /// A failure is nobody's yet: it may be another program's. The flushes of the single files say whose it is, from now on.
    fn sync_all(&self) -> Option<Synced> {
        let _under_way = UnderWay::begin(&self.guard.under_way);
        self.guard.check().ok()?;
        let mut whole = self.whole.lock().expect("nothing panics while it is locked");
        match whole.as_ref()?.sync() {
            Ok(synced) => self.guard.check().ok().map(|()| synced),
            Err(_) => {
                *whole = None;
                None
            }
        }
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.guard.check()?;
        self.disk.space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.guard.check()?;
        self.disk.lock(path)
    }
}

struct GuardedFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    guard: Arc<Guard>,
}

impl DiskFile for GuardedFile {
    fn len(&self) -> io::Result<u64> {
        self.guard.look("looking for", &self.path, || self.file.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.guard.look("reading", &self.path, || self.file.read_at(buffer, position))
    }

    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.guard.look("reading", &self.path, || self.file.read_cached_at(buffer, position))
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.guard.look("reading", &self.path, || self.file.read_uncached_at(buffer, position))
    }

    fn read_alone_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.guard.look("reading", &self.path, || self.file.read_alone_at(buffer, position))
    }

    fn send_at(&self, socket: BorrowedFd<'_>, position: u64, len: usize) -> io::Result<usize> {
        self.guard.look("reading", &self.path, || self.file.send_at(socket, position, len))
    }

    fn write_all_at(&self, slices: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.guard.change("writing", &self.path, || self.file.write_all_at(slices, position))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.guard.change("truncating", &self.path, || self.file.set_len(len))
    }

    fn reserve(&self, position: u64, len: u64) -> io::Result<()> {
        self.guard.change("reserving room for", &self.path, || self.file.reserve(position, len))
    }

    fn reserve_if_possible(&self, position: u64, len: u64) {
        self.file.reserve_if_possible(position, len);
    }

    fn start_writeback(&self, position: u64, len: u64) -> io::Result<()> {
        self.guard.change("writing", &self.path, || self.file.start_writeback(position, len))
    }

    fn sync_data(&self) -> io::Result<Synced> {
        self.guard.change("flushing", &self.path, || self.file.sync_data())
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::disk::{Fault, SimDisk};

    fn guarded(disk: &SimDisk) -> GuardedDisk {
        disk.create_dir_all(Path::new("/data/a-0")).expect("a folder");
        GuardedDisk::new(Arc::new(disk.clone()), Path::new("/data"))
    }

    #[test]
    fn the_first_failure_is_the_last_operation() {
        for fault in [Fault::Io, Fault::Full] {
            let disk = SimDisk::new(1);
            let door = guarded(&disk);
            let told = Arc::new(AtomicUsize::new(0));
            let counted = told.clone();
            door.guard().on_trouble(move || _ = counted.fetch_add(1, Ordering::Relaxed));
            let path = Path::new("/data/a-0/x.log");
            let file = door.open(path, OpenMode::Create).expect("a file");
            let other = door.open(Path::new("/data/b"), OpenMode::Create).expect("a file");
            file.write_all_at(&[IoSlice::new(b"one")], 0).expect("written");
            disk.fail_at(disk.operations(), fault);
            file.sync_data().expect_err("the flush fails");
            let failure = door.guard().failure().expect("noted");
            assert_eq!((failure.action, failure.path.as_path()), ("flushing", path));
            let before = disk.operations();
            file.sync_data().expect_err("not tried again");
            other.write_all_at(&[IoSlice::new(b"two")], 0).expect_err("nor anything else of the folder");
            let mut buffer = [0; 3];
            file.read_at(&mut buffer, 0).expect_err("what is seen may not be there");
            door.rename(path, Path::new("/data/a-0/y.log")).expect_err("refused");
            assert_eq!((disk.operations(), told.load(Ordering::Relaxed)), (before, 1), "{fault:?}");
        }
    }

    /// What was on its way when another operation failed has to return before the folder may be opened anew.
    #[test]
    fn it_is_over_when_the_last_operation_has_returned() {
        let disk = SimDisk::new(1);
        let door = guarded(&disk);
        let guard = door.guard();
        assert!(!guard.is_over(), "it is sound");
        let path = Path::new("/data/a-0/x.log");
        let slow = guard.change("writing", path, || {
            guard
                .change("flushing", path, || Err::<(), _>(io::Error::from_raw_os_error(5)))
                .expect_err("it fails");
            assert!(!guard.is_over(), "a write is under way");
            Ok(())
        });
        slow.expect_err("it was done after the failure");
        assert!(guard.is_over());
    }

    #[test]
    fn a_flush_of_the_whole_that_fails_is_the_last_one_and_the_files_say_whose_it_was() {
        let disk = SimDisk::new(1);
        let door = guarded(&disk);
        let open = |name: &str| door.open(&Path::new("/data").join(name), OpenMode::Create).expect("a file");
        let write = |file: &Arc<dyn DiskFile>| file.write_all_at(&[IoSlice::new(b"x")], 0).expect("written");
        let files: Vec<_> = (0..8).map(|n| open(&n.to_string())).collect();
        files.iter().for_each(write);
        assert!(door.sync_all().is_some());
        files.iter().for_each(write);
        disk.fail_at(disk.operations(), Fault::Io);
        assert!(door.sync_all().is_none(), "it fails");
        assert!(door.guard().failure().is_none(), "of whom is not known yet");
        assert!(door.sync_all().is_none(), "never again: it has told what it knew");
        let failed = files.iter().filter(|file| file.sync_data().is_err()).count();
        assert!(failed > 0 && door.guard().failure().is_some());
        disk.kill();
        let anew = guarded(&disk);
        assert!(anew.sync_all().is_some() && door.sync_all().is_none());
    }

    #[test]
    fn races_for_names_say_nothing_of_the_folder() {
        let disk = SimDisk::new(1);
        let door = guarded(&disk);
        assert!(
            door.open(Path::new("/data/gone-0/x.log"), OpenMode::Create).is_err(),
            "its topic was deleted"
        );
        door.sync_dir(Path::new("/data/gone-0")).expect_err("its topic was deleted");
        door.rename(Path::new("/data/gone-0"), Path::new("/data/other-0")).expect_err("nothing there");
        door.remove_file(Path::new("/data/none")).expect_err("nothing there");
        assert_eq!(door.guard().failure(), None);
        for path in ["/gone", "/gone/a-checkpoint"] {
            let door = GuardedDisk::new(Arc::new(disk.clone()), Path::new("/gone"));
            _ = door
                .sync_dir(Path::new(path))
                .map_err(|_| door.open(Path::new(path), OpenMode::Create).err());
            assert!(door.guard().failure().is_some(), "the log directory itself is gone: {path}");
        }
        let door = GuardedDisk::new(Arc::new(disk.clone()), Path::new("/gone"));
        door.create_dir_all(Path::new("/gone/orders-0")).expect_err("it is not made anew");
        assert!(
            door.guard().failure().is_some() && disk.metadata(Path::new("/gone")).expect("looked").is_none()
        );
    }
}
