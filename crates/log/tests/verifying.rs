//! What is told of a recovery while it runs.

mod support;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dohle_env::disk::{DiskLock, Entry, Metadata, OpenMode, SimDisk, Space, Synced};
use dohle_env::{Disk, DiskFile};
use dohle_log::{Recovery, Verifying};
use dohle_types::LeaderEpoch;
use support::*;

/// Notes what is told each time that a segment is opened to be verified.
struct Watched {
    disk: SimDisk,
    verifying: Verifying,
    told: Mutex<Vec<Vec<usize>>>,
}

impl Disk for Watched {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode == OpenMode::ReadWrite && path.extension().is_some_and(|kind| kind == "log") {
            self.told.lock().unwrap().push(self.verifying.remaining());
        }
        self.disk.open(path, mode)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.disk.metadata(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<Synced> {
        self.disk.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }
}

#[test]
fn a_recovery_tells_how_many_segments_it_has_still_to_verify() {
    let mut world = World::new(1);
    world.settings.segment_bytes = 500;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for tag in 0..12 {
        log.append_as_leader(vec![batch(tag, 3, 1000)], LeaderEpoch(0), ms(1000)).unwrap();
        log.flush().unwrap();
    }
    let segments = log.segments().len();
    assert!(segments >= 3, "{segments}");
    drop(log);
    let watched = Arc::new(Watched {
        disk: world.disk.clone(),
        verifying: world.context.verifying.clone(),
        told: Mutex::default(),
    });
    world.context.disk = watched.clone();
    assert!(watched.verifying.remaining().is_empty(), "none has run");
    let log = world.open(Recovery::UNKNOWN).unwrap();
    let expected: Vec<Vec<usize>> = (1..=segments).rev().map(|left| vec![left]).collect();
    assert_eq!(*watched.told.lock().unwrap(), expected);
    assert_eq!(watched.verifying.remaining(), [0], "it is over");
    drop(log);
}
