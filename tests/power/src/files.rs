//! What the kernel asks for by nodes and handles, answered from a [`SimDisk`] that knows paths.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dohle_env::Disk;
use dohle_env::disk::{DiskFile, Entry, OpenMode, SimDisk};

use crate::message::{
    Answer, Attributes, Body, NO_ENTRY, NOT_EMPTY, NOT_IMPLEMENTED, NOT_SUPPORTED, Operation, Request,
};

const ROOT: u64 = 1;
/// Bits of a change of attributes: a length is given, and a handle.
const WITH_LEN: u32 = 1 << 3;
const WITH_HANDLE: u32 = 1 << 6;

/// The files of one mount.
pub struct Files {
    disk: SimDisk,
    paths: BTreeMap<u64, PathBuf>,
    nodes: BTreeMap<PathBuf, u64>,
    handles: BTreeMap<u64, Handle>,
    /// Of nodes and handles alike.
    next: u64,
}

enum Handle {
    File { node: u64, file: Arc<dyn DiskFile> },
    Folder(Vec<Entry>),
}

impl Files {
    pub fn on(disk: SimDisk) -> Files {
        let root = PathBuf::from("/");
        Files {
            disk,
            paths: BTreeMap::from([(ROOT, root.clone())]),
            nodes: BTreeMap::from([(root, ROOT)]),
            handles: BTreeMap::new(),
            next: ROOT + 1,
        }
    }

    pub fn answer(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        let (node, mut body) = (request.node, request.body);
        match request.operation {
            Operation::Init => {
                let (_major, minor) = (body.u32(), body.u32());
                Ok(Answer::init(minor))
            }
            Operation::Lookup => self.look_up(&self.child(node, &mut body)?),
            Operation::GetAttributes => {
                let (flags, _unused, handle) = (body.u32(), body.u32(), body.u64());
                self.attributes(node, (flags & 1 != 0).then_some(handle)).map(Answer::about)
            }
            Operation::SetAttributes => self.set_attributes(node, body),
            Operation::MakeFolder => {
                let _modes = body.u64();
                let path = self.child(node, &mut body)?;
                self.disk.create_dir_all(&path)?;
                self.look_up(&path)
            }
            Operation::Unlink => {
                let path = self.child(node, &mut body)?;
                self.disk.remove_file(&path)?;
                self.forget(&path);
                Ok(Answer::default())
            }
            Operation::RemoveFolder => self.remove_folder(&self.child(node, &mut body)?),
            Operation::Rename => self.rename(node, body, request.has_flags),
            Operation::Create => self.create(node, body),
            Operation::Open => {
                let file = self.disk.open(&self.path(node)?, OpenMode::ReadWrite)?;
                let handle = self.keep(Handle::File { node, file });
                Ok(Answer::default().opened(handle))
            }
            Operation::OpenFolder => {
                let entries = self.disk.list(&self.path(node)?)?;
                let handle = self.keep(Handle::Folder(entries));
                Ok(Answer::default().opened(handle))
            }
            Operation::Release => {
                self.handles.remove(&body.u64());
                Ok(Answer::default())
            }
            Operation::Read => self.read(body),
            Operation::Write => self.write(body),
            Operation::Sync => {
                let _synced = self.file(body.u64())?.sync_data()?;
                Ok(Answer::default())
            }
            Operation::ReadFolder => self.read_folder(body),
            Operation::SyncFolder => {
                let _synced = self.disk.sync_dir(&self.path(node)?)?;
                Ok(Answer::default())
            }
            Operation::Space => {
                let space = self.disk.space(Path::new("/"))?;
                Ok(Answer::space(space.available, space.total))
            }
            Operation::Reserve => Err(io::Error::from_raw_os_error(NOT_SUPPORTED)),
            Operation::Unanswered | Operation::Other => Err(io::Error::from_raw_os_error(NOT_IMPLEMENTED)),
        }
    }

    fn path(&self, node: u64) -> io::Result<PathBuf> {
        self.paths.get(&node).cloned().ok_or_else(|| io::Error::from_raw_os_error(NO_ENTRY))
    }

    fn child(&self, folder: u64, body: &mut Body<'_>) -> io::Result<PathBuf> {
        Ok(self.path(folder)?.join(body.name()))
    }

    fn file(&self, handle: u64) -> io::Result<&Arc<dyn DiskFile>> {
        match self.handles.get(&handle) {
            Some(Handle::File { file, .. }) => Ok(file),
            _ => Err(io::Error::from_raw_os_error(NO_ENTRY)),
        }
    }

    fn keep(&mut self, handle: Handle) -> u64 {
        let number = self.next;
        self.next += 1;
        self.handles.insert(number, handle);
        number
    }

    fn node(&mut self, path: &Path) -> u64 {
        if let Some(node) = self.nodes.get(path) {
            return *node;
        }
        let node = self.next;
        self.next += 1;
        self.nodes.insert(path.to_owned(), node);
        self.paths.insert(node, path.to_owned());
        node
    }

    fn forget(&mut self, path: &Path) {
        if let Some(node) = self.nodes.remove(path) {
            self.paths.remove(&node);
        }
    }

    fn look_up(&mut self, path: &Path) -> io::Result<Answer> {
        if self.disk.metadata(path)?.is_none() {
            return Err(io::Error::from_raw_os_error(NO_ENTRY));
        }
        let node = self.node(path);
        self.attributes(node, None).map(Answer::entry)
    }

    fn attributes(&self, node: u64, handle: Option<u64>) -> io::Result<Attributes> {
        // A file that has no name any more has handles only, and the kernel may ask for it without one.
        let of_node = |handle: &Handle| match handle {
            Handle::File { node: its, file } if *its == node => Some(Arc::clone(file)),
            _ => None,
        };
        let nameless = || {
            let gone = !self.paths.contains_key(&node);
            gone.then(|| self.handles.values().find_map(of_node)).flatten()
        };
        if let Some(file) = handle.and_then(|handle| self.file(handle).ok().cloned()).or_else(nameless) {
            return Ok(Attributes { node, len: file.len()?, is_folder: false });
        }
        let found = self.disk.metadata(&self.path(node)?)?;
        let found = found.ok_or_else(|| io::Error::from_raw_os_error(NO_ENTRY))?;
        Ok(Attributes { node, len: found.len, is_folder: found.is_dir })
    }

    fn set_attributes(&mut self, node: u64, mut body: Body<'_>) -> io::Result<Answer> {
        let (valid, _padding, handle, len) = (body.u32(), body.u32(), body.u64(), body.u64());
        let handle = (valid & WITH_HANDLE != 0).then_some(handle);
        if valid & WITH_LEN != 0 {
            match handle {
                Some(handle) => self.file(handle)?.set_len(len)?,
                None => self.disk.open(&self.path(node)?, OpenMode::ReadWrite)?.set_len(len)?,
            }
        }
        self.attributes(node, handle).map(Answer::about)
    }

    fn remove_folder(&mut self, path: &Path) -> io::Result<Answer> {
        if !self.disk.list(path)?.is_empty() {
            return Err(io::Error::from_raw_os_error(NOT_EMPTY));
        }
        self.disk.remove_dir_all(path)?;
        self.forget(path);
        Ok(Answer::default())
    }

    fn rename(&mut self, node: u64, mut body: Body<'_>, has_flags: bool) -> io::Result<Answer> {
        let to_folder = body.u64();
        if has_flags && body.u64() as u32 != 0 {
            return Err(io::Error::from_raw_os_error(NOT_SUPPORTED));
        }
        let (from, to) = (self.child(node, &mut body)?, self.path(to_folder)?.join(body.name()));
        self.disk.rename(&from, &to)?;
        self.forget(&to);
        let moved: Vec<PathBuf> = self.nodes.keys().filter(|path| path.starts_with(&from)).cloned().collect();
        for old in moved {
            let node = self.nodes.remove(&old).expect("just listed");
            let rest = old.strip_prefix(&from).expect("it starts with that");
            let new = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
            self.nodes.insert(new.clone(), node);
            self.paths.insert(node, new);
        }
        Ok(Answer::default())
    }

    fn create(&mut self, node: u64, mut body: Body<'_>) -> io::Result<Answer> {
        body.take(16);
        let path = self.child(node, &mut body)?;
        let file = self.disk.open(&path, OpenMode::Create)?;
        let entry = self.look_up(&path)?;
        let node = self.node(&path);
        let handle = self.keep(Handle::File { node, file });
        Ok(entry.opened(handle))
    }

    fn read(&self, mut body: Body<'_>) -> io::Result<Answer> {
        let (handle, position, len) = (body.u64(), body.u64(), body.u32());
        let mut bytes = vec![0; len as usize];
        let read = self.file(handle)?.read_at(&mut bytes, position)?;
        bytes.truncate(read);
        Ok(Answer::bytes(bytes))
    }

    fn write(&self, mut body: Body<'_>) -> io::Result<Answer> {
        let (handle, position, len) = (body.u64(), body.u64(), body.u32());
        body.take(20);
        let bytes = body.take(len as usize);
        self.file(handle)?.write_all_at(&[io::IoSlice::new(bytes)], position)?;
        Ok(Answer::written(len))
    }

    fn read_folder(&self, mut body: Body<'_>) -> io::Result<Answer> {
        let (handle, from, limit) = (body.u64(), body.u64(), body.u32());
        let Some(Handle::Folder(entries)) = self.handles.get(&handle) else {
            return Err(io::Error::from_raw_os_error(NO_ENTRY));
        };
        let mut answer = Answer::default();
        for (entry, next) in entries.iter().zip(1..).skip(from as usize) {
            if !answer.listed(&entry.name, entry.is_dir, next, limit as usize) {
                break;
            }
        }
        Ok(answer)
    }
}
