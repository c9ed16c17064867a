//! A disk that forgets: what was not synced survives a crash only as far as chance lets it.
//!
//! Every folder holds its names twice: as programs see them and as the device has them. Every file holds its bytes as programs
//! see them, the bytes the device has for sure, and the writes since. A crash keeps an arbitrary subset of those writes, torn at
//! any byte, and an arbitrary subset of the names that changed; the same seed keeps the same.
//!
//! A sync that fails does what Linux does: the pages count as clean, whatever of them the device has. Programs read them as before, also
//! the next process, a sync that follows stores only what was written since, and a crash shows what is missing.
//!
//! Faults are asked for by the number of the operation: all operations that change anything are counted, and so are syncs.
//!
//! It is never slow by itself, as it knows no time. Where an operation has to take its time, an [`AskingDisk`](super::AskingDisk) stands before
//! it: what happens before that answers happens while the operation is under way.

mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use dohle_types::TimestampMs;

use self::state::{Change, Contents, Folder, Inode, Node, State, no_space, power_is_off, split, write_into};
use super::{Disk, DiskFile, DiskLock, Entry, FileSystem, Metadata, OpenMode, Space, Synced};

const TOTAL_SPACE: u64 = 1 << 40;

/// A file system in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

/// A sync that a [`SimDisk`] only pretends to do: the fault that tests of crash safety have to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// `sync_data` returns and stores nothing.
    Data,
    /// `sync_dir` returns and stores nothing.
    Names,
}

/// What an operation that was picked fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This operation and all later ones fail until [`SimDisk::crash`].
    Crash,
    /// This operation fails with an IO error.
    Io,
    /// This operation fails for want of space; of a write, half may be done.
    Full,
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        let root = BTreeMap::from([(PathBuf::from("/"), Folder::default())]);
        Self(Arc::new(Mutex::new(State {
            random: seed,
            operations: 0,
            faults: BTreeMap::new(),
            crashed: false,
            lie: None,
            cold: false,
            unreadable: Vec::new(),
            locks: Vec::new(),
            untold: BTreeSet::new(),
            next_inode: 0,
            folders: root,
            files: BTreeMap::new(),
            renames: Vec::new(),
            generation: 0,
        })))
    }

    /// A disk of its own that holds the same.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// How many operations were counted so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets the operation with this number (the first one is 0) fail.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.state().faults.insert(operation, fault);
    }

    /// Lets syncs of a kind store nothing from now on.
    pub fn lie(&self, lie: Option<Lie>) {
        self.state().lie = lie;
    }

    /// From now on nothing is in the page cache: reads that must not wait fail.
    pub fn set_cold(&self, cold: bool) {
        self.state().cold = cold;
    }

    /// Whether an operation has run into [`Fault::Crash`].
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// The power goes and comes back: what was not synced is kept or lost, piece by piece, as `seed` has it.
    pub fn crash(&self, seed: u64) {
        let mut state = self.state();
        state.random = seed;
        state.restart();
        state.lose_names();
        state.lose_bytes();
        state.drop_unreachable();
    }

    /// The process dies and the machine lives: all that was written is still there, and still not synced.
    pub fn kill(&self) {
        self.state().restart();
    }

    /// Flips a bit on the device, as rot does.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) {
        let mut state = self.state();
        let inode = state.inode(path).expect("there is such a file");
        let contents = state.files.get_mut(&inode).expect("inodes have contents");
        let at = position as usize;
        contents.seen[at] ^= 1 << bit;
        if let Some(byte) = contents.stored.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    /// From now on reads that touch this byte fail, as those of a bad sector do.
    pub fn lose_byte(&self, path: &Path, position: u64) {
        let mut state = self.state();
        let inode = state.inode(path).expect("there is such a file");
        state.unreadable.push((inode, position));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while the disk is locked")
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.check_power()?;
        let (folder, name) = split(path);
        let inode = match (state.inode(path), mode) {
            (Ok(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(inode), _) => inode,
            (Err(error), OpenMode::Create | OpenMode::CreateNew)
                if error.kind() == io::ErrorKind::NotFound =>
            {
                state.folder(&folder)?;
                state.count_whole()?;
                let inode = state.next_inode;
                state.next_inode += 1;
                state.files.insert(inode, Contents::default());
                state.folder(&folder)?.seen.insert(name, Node::File(inode));
                inode
            }
            (Err(error), _) => return Err(error),
        };
        Ok(Arc::new(SimFile { disk: self.clone(), inode, generation: state.generation }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        let mut at = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let name = name.to_string_lossy().into_owned();
            let child = at.join(&name);
            match state.folder(&at)?.seen.get(&name) {
                Some(Node::Folder) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    state.count_whole()?;
                    state.folder(&at)?.seen.insert(name, Node::Folder);
                    state.folders.insert(child.clone(), Folder::default());
                }
            }
            at = child;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        state.check_power()?;
        let folder = state.folder(path)?;
        Ok(folder
            .seen
            .iter()
            .map(|(name, node)| Entry { name: name.clone(), is_dir: *node == Node::Folder })
            .collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let state = self.state();
        state.check_power()?;
        let (len, is_dir) = match state.node(path) {
            None => return Ok(None),
            Some(Node::Folder) => (0, true),
            Some(Node::File(inode)) => (state.files[&inode].seen.len() as u64, false),
        };
        Ok(Some(Metadata { len, is_dir, links: 1, modified: TimestampMs(0) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        let node = state.node(from).ok_or(io::ErrorKind::NotFound)?;
        state.count_whole()?;
        let ((from_folder, from_name), (to_folder, to_name)) = (split(from), split(to));
        state.folder(&to_folder)?.seen.insert(to_name, node);
        state.folder(&from_folder)?.seen.remove(&from_name);
        state.renames.push((from.to_owned(), to.to_owned()));
        if node == Node::Folder {
            // Which of both names survives a crash, what is in the folder goes with it.
            let moved: Vec<PathBuf> =
                state.folders.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in moved {
                let folder = state.folders[&path].clone();
                let renamed = to.join(path.strip_prefix(from).expect("just filtered"));
                state.folders.insert(renamed, folder);
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        state.inode(path)?;
        state.count_whole()?;
        let (folder, name) = split(path);
        state.folder(&folder)?.seen.remove(&name);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        if state.node(path) != Some(Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.count_whole()?;
        for (_, folder) in state.folders.iter_mut().filter(|(inner, _)| inner.starts_with(path)) {
            folder.seen.clear();
        }
        let (folder, name) = split(path);
        state.folder(&folder)?.seen.remove(&name);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<Synced> {
        let mut state = self.state();
        state.folder(path)?;
        state.count_whole()?;
        if state.lie != Some(Lie::Names) {
            let folder = state.folder(path)?;
            folder.stored = folder.seen.clone();
            state.renames.retain(|(from, _)| from.parent() != Some(path));
        }
        Ok(Synced(()))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.state();
        state.check_power()?;
        let used: u64 = state.files.values().map(|contents| contents.seen.len() as u64).sum();
        Ok(Space { available: TOTAL_SPACE - used, total: TOTAL_SPACE })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let _file = self.open(path, OpenMode::Create)?;
        let mut state = self.state();
        if state.locks.iter().any(|locked| locked == path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locks.push(path.to_owned());
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned(), generation: state.generation }))
    }

    fn sync_all(&self) -> Option<Synced> {
        self.state().sync_all().ok().map(Synced)
    }

    fn file_system(&self, _folder: &Path) -> io::Result<Option<Box<dyn FileSystem>>> {
        let generation = self.state().generation;
        Ok(Some(Box::new(SimFileSystem { disk: self.clone(), generation })))
    }
}

struct SimFileSystem {
    disk: SimDisk,
    generation: u64,
}

impl FileSystem for SimFileSystem {
    fn sync(&self) -> io::Result<Synced> {
        let mut state = self.disk.state();
        if state.generation != self.generation {
            return Err(power_is_off());
        }
        state.sync_all().map(|()| Synced(()))
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    generation: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.generation == self.generation {
            state.locks.retain(|locked| *locked != self.path);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    inode: Inode,
    generation: u64,
}

impl SimFile {
    /// The disk, unless it has crashed since the file was opened.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        state.check_power()?;
        if state.generation == self.generation { Ok(state) } else { Err(power_is_off()) }
    }
}

fn contents(state: &mut State, inode: Inode) -> &mut Contents {
    state.files.get_mut(&inode).expect("an open file has contents")
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(contents(&mut *self.state()?, self.inode).seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        let (from, to) = (position, position.saturating_add(buffer.len() as u64));
        if state.unreadable.iter().any(|(inode, at)| *inode == self.inode && from <= *at && *at < to) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let seen = &contents(&mut state, self.inode).seen;
        let rest = seen.get(position as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if self.state()?.cold {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(buffer, position)
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_at(buffer, position)
    }

    fn write_all_at(&self, slices: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let position = position as usize;
        let crashing = state.faults.get(&state.operations) == Some(&Fault::Crash);
        let counted = state.count();
        let done = match &counted {
            Ok(false) => bytes.len(),
            Ok(true) => bytes.len() / 2,
            // The power went while the bytes were on their way.
            Err(_) if crashing => state.random() as usize % (bytes.len() + 1),
            Err(_) => 0,
        };
        bytes.truncate(done);
        let contents = contents(&mut state, self.inode);
        write_into(&mut contents.seen, position, &bytes);
        contents.unsynced.push(Change::Write { position, bytes });
        if counted? { Err(no_space()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        if contents(&mut state, self.inode).seen.len() as u64 == len {
            return Ok(());
        }
        state.count_whole()?;
        let contents = contents(&mut state, self.inode);
        contents.seen.resize(len as usize, 0);
        contents.unsynced.push(Change::SetLen(len as usize));
        Ok(())
    }

    fn reserve(&self, _position: u64, _len: u64) -> io::Result<()> {
        self.state()?.count_whole()
    }

    fn start_writeback(&self, _position: u64, _len: u64) -> io::Result<()> {
        self.state().map(|_| ())
    }

    fn sync_data(&self) -> io::Result<Synced> {
        let mut state = self.state()?;
        if let Err(error) = state.count_whole() {
            if !state.crashed {
                state.take_for_clean(self.inode);
            }
            return Err(error);
        }
        if state.untold.remove(&self.inode) {
            return Err(io::Error::from_raw_os_error(5));
        }
        if state.lie != Some(Lie::Data) {
            contents(&mut state, self.inode).store();
        }
        Ok(Synced(()))
    }
}
