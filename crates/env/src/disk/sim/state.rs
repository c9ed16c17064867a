//! What a simulated disk holds, and what a crash leaves of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::{Fault, Lie};

/// Bytes that may tear apart: a crash keeps or loses each piece of an unsynced write by itself.
const TEAR_BYTES: usize = 512;

pub(super) type Inode = u64;

#[derive(Clone)]
pub(super) struct State {
    pub random: u64,
    pub operations: u64,
    pub faults: BTreeMap<u64, Fault>,
    pub crashed: bool,
    pub lie: Option<Lie>,
    /// Cached reads answer `WouldBlock`.
    pub cold: bool,
    /// Bytes that no read gets past.
    pub unreadable: Vec<(Inode, u64)>,
    pub locks: Vec<PathBuf>,
    /// Files whose bytes a sync of the whole disk could not write, which the next sync of each has to tell.
    pub untold: BTreeSet<Inode>,
    pub next_inode: Inode,
    pub folders: BTreeMap<PathBuf, Folder>,
    pub files: BTreeMap<Inode, Contents>,
    /// Renames that were not synced: a crash keeps both names as they were or both as they are.
    pub renames: Vec<(PathBuf, PathBuf)>,
    /// Counts crashes: files opened before one are dead.
    pub generation: u64,
}

#[derive(Clone, Default)]
pub(super) struct Folder {
    pub seen: BTreeMap<String, Node>,
    pub stored: BTreeMap<String, Node>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(Inode),
    Folder,
}

#[derive(Clone, Default)]
pub(super) struct Contents {
    pub seen: Vec<u8>,
    pub stored: Vec<u8>,
    pub unsynced: Vec<Change>,
}

impl Contents {
    /// What a sync does: the device has what was written since the last one.
    pub fn store(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::SetLen(len) => self.stored.resize(len, 0),
                Change::Write { position, bytes } => write_into(&mut self.stored, position, &bytes),
            }
        }
    }
}

#[derive(Clone)]
pub(super) enum Change {
    Write { position: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl State {
    pub fn random(&mut self) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn restart(&mut self) {
        self.crashed = false;
        self.faults.clear();
        self.locks.clear();
        self.untold.clear();
        self.operations = 0;
        self.generation += 1;
    }

    /// Counts an operation. An error when it is to fail without having done anything; `Ok(true)` when it may do half.
    pub fn count(&mut self) -> io::Result<bool> {
        if self.crashed {
            return Err(power_is_off());
        }
        let number = self.operations;
        self.operations += 1;
        match self.faults.remove(&number) {
            None => Ok(false),
            Some(Fault::Io) => Err(io::Error::from_raw_os_error(5)),
            Some(Fault::Full) => Ok(true),
            Some(Fault::Crash) => {
                self.crashed = true;
                Err(power_is_off())
            }
        }
    }

    /// As [`State::count`], for operations that do all or nothing.
    pub fn count_whole(&mut self) -> io::Result<()> {
        if self.count()? { Err(no_space()) } else { Ok(()) }
    }

    pub fn check_power(&self) -> io::Result<()> {
        if self.crashed { Err(power_is_off()) } else { Ok(()) }
    }

    pub fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        self.folders.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub fn node(&self, path: &Path) -> Option<Node> {
        let (folder, name) = split(path);
        if name.is_empty() {
            return Some(Node::Folder);
        }
        self.folders.get(&folder)?.seen.get(&name).copied()
    }

    pub fn inode(&self, path: &Path) -> io::Result<Inode> {
        match self.node(path) {
            Some(Node::File(inode)) => Ok(inode),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub fn lose_names(&mut self) {
        let mut tied = BTreeMap::new();
        for (from, to) in std::mem::take(&mut self.renames) {
            let kept = self.random() & 1 == 0;
            tied.insert(from, kept);
            tied.insert(to, kept);
        }
        let paths: Vec<PathBuf> = self.folders.keys().cloned().collect();
        for path in paths {
            let Folder { seen, stored } = self.folders[&path].clone();
            let mut kept = stored.clone();
            let names: Vec<&String> =
                stored.keys().chain(seen.keys().filter(|name| !stored.contains_key(*name))).collect();
            for name in names {
                if seen.get(name) == stored.get(name) {
                    continue;
                }
                let chance = self.random() & 1 == 0;
                if tied.get(&path.join(name)).copied().unwrap_or(chance) {
                    match seen.get(name) {
                        Some(node) => _ = kept.insert(name.clone(), *node),
                        None => _ = kept.remove(name),
                    }
                }
            }
            self.folders.insert(path, Folder { seen: kept.clone(), stored: kept });
        }
    }

    pub fn lose_bytes(&mut self) {
        let inodes: Vec<Inode> = self.files.keys().copied().collect();
        for inode in inodes {
            let mut contents = std::mem::take(self.files.get_mut(&inode).expect("just listed"));
            let mut kept = std::mem::take(&mut contents.stored);
            // All, nothing, or piece by piece: pure chance alone would hardly ever keep a long write whole.
            let mood = self.random() % 4;
            for change in std::mem::take(&mut contents.unsynced) {
                self.keep_some(&mut kept, change, mood);
            }
            self.files.insert(inode, Contents { seen: kept.clone(), stored: kept, unsynced: Vec::new() });
        }
    }

    /// What a sync that fails does: nothing of the file's bytes is dirty any more, and the device has of them what chance lets it. Sizes are
    /// the journal's, which has them still.
    pub fn take_for_clean(&mut self, inode: Inode) {
        let mut contents = std::mem::take(self.files.get_mut(&inode).expect("an open file has contents"));
        let mood = self.random() % 4;
        for change in std::mem::take(&mut contents.unsynced) {
            match change {
                Change::SetLen(_) => contents.unsynced.push(change),
                Change::Write { .. } => self.keep_some(&mut contents.stored, change, mood),
            }
        }
        self.files.insert(inode, contents);
    }

    /// Makes all bytes and names durable, or takes some of the files that have something to store for clean.
    pub fn sync_all(&mut self) -> io::Result<()> {
        if !self.untold.is_empty() {
            return Err(io::Error::from_raw_os_error(5));
        }
        if let Err(error) = self.count_whole() {
            let waiting: Vec<Inode> = self
                .files
                .iter()
                .filter(|(_, file)| !file.unsynced.is_empty())
                .map(|(inode, _)| *inode)
                .collect();
            for inode in waiting {
                if !self.crashed && self.random() & 1 == 0 {
                    self.take_for_clean(inode);
                    self.untold.insert(inode);
                }
            }
            return Err(error);
        }
        if self.lie != Some(Lie::Data) {
            self.files.values_mut().for_each(Contents::store);
        }
        if self.lie != Some(Lie::Names) {
            self.folders.values_mut().for_each(|folder| folder.stored.clone_from(&folder.seen));
            self.renames.clear();
        }
        Ok(())
    }

    pub fn keep_some(&mut self, kept: &mut Vec<u8>, change: Change, mood: u64) {
        let keeps = |state: &mut Self| match mood {
            0 => false,
            1 => true,
            _ => state.random() & 1 == 0,
        };
        match change {
            Change::SetLen(len) => {
                if keeps(self) {
                    kept.resize(len, 0);
                }
            }
            Change::Write { position, bytes } => {
                for (at, piece) in bytes.chunks(TEAR_BYTES).enumerate() {
                    if keeps(self) {
                        let torn =
                            if mood == 3 { self.random() as usize % (piece.len() + 1) } else { piece.len() };
                        write_into(kept, position + at * TEAR_BYTES, &piece[..torn]);
                    }
                }
            }
        }
    }

    /// Removes folders that no name leads to any more, and files likewise.
    pub fn drop_unreachable(&mut self) {
        let mut reachable = vec![PathBuf::from("/")];
        let mut at = 0;
        while at < reachable.len() {
            let path = reachable[at].clone();
            let folders = self.folders[&path].seen.iter().filter(|(_, node)| **node == Node::Folder);
            let children: Vec<PathBuf> = folders.map(|(name, _)| path.join(name)).collect();
            for child in &children {
                self.folders.entry(child.clone()).or_default();
            }
            reachable.extend(children);
            at += 1;
        }
        self.folders.retain(|path, _| reachable.contains(path));
        let named: Vec<Inode> = self
            .folders
            .values()
            .flat_map(|folder| folder.seen.values())
            .filter_map(|node| if let Node::File(inode) = node { Some(*inode) } else { None })
            .collect();
        self.files.retain(|inode, _| named.contains(inode));
    }
}

pub(super) fn write_into(target: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = position + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    target[position..end].copy_from_slice(bytes);
}

pub(super) fn split(path: &Path) -> (PathBuf, String) {
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    (folder, name)
}

pub(super) fn power_is_off() -> io::Error {
    io::Error::other("the simulated power is off")
}

pub(super) fn no_space() -> io::Error {
    io::ErrorKind::StorageFull.into()
}
