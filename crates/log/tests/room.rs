//! Room ahead of the active segment, on a real disk: asked for in time, seen by nobody, and given back.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // it looks at the files behind the log's back

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dohle_env::Disk;
use dohle_env::disk::{OpenMode, RealDisk};
use dohle_log::names::{FileKind, FileState, file_name};
use dohle_log::{Log, Recovery};
use dohle_types::*;
use support::*;

const MIB: u64 = 1 << 20;

struct Real {
    world: World,
    folder: tempfile::TempDir,
}

impl Real {
    /// `None`, said aloud, where the file system sets no room aside.
    fn new(mut world: World) -> Option<Self> {
        world.context.disk = Arc::new(RealDisk::new());
        let real = Self { world, folder: tempfile::tempdir().unwrap() };
        let sets_room_aside = sets_room_aside(&real);
        if !sets_room_aside {
            println!("*** SKIPPED: THIS FILE SYSTEM SETS NO ROOM ASIDE");
        }
        sets_room_aside.then_some(real)
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("orders-0")
    }

    fn open(&self, recovery: Recovery) -> Log {
        let settings = Arc::new(self.world.settings.clone());
        Log::open(&self.world.context, self.dir(), TOPIC, settings, recovery, ms(1000)).unwrap()
    }

    fn path(&self, base: i64) -> PathBuf {
        self.dir().join(file_name(Offset(base), FileKind::Log, FileState::Live))
    }
}

/// The length of a file, and how much more the device holds for it. What a block is rounded up to does not count.
fn beyond(path: &Path) -> (u64, u64) {
    let found = std::fs::metadata(path).unwrap();
    (found.len(), (found.blocks() * 512).saturating_sub(found.len().next_multiple_of(64 << 10)))
}

/// Whether this file system sets room aside at all.
fn sets_room_aside(real: &Real) -> bool {
    let path = real.folder.path().join("probe");
    let file = RealDisk::new().open(&path, OpenMode::Create).unwrap();
    file.reserve_if_possible(0, MIB);
    beyond(&path).1 > 0
}

fn append(log: &mut Log, bytes: u64) -> u64 {
    let before = log.size_in_bytes();
    while log.size_in_bytes() < before + bytes {
        log.append_as_leader(vec![batch(7, 2000, 1000)], LeaderEpoch(1), ms(1000)).unwrap();
    }
    log.size_in_bytes()
}

#[test]
fn room_is_there_before_the_bytes_and_is_given_back() {
    let Some(real) = Real::new(World::new(1)) else { return };
    let mut log = real.open(Recovery::UNKNOWN);
    append(&mut log, MIB / 2);
    _ = log.flush().unwrap();
    assert_eq!(beyond(&real.path(0)), (log.size_in_bytes(), 0), "a small log gets none");

    let size = append(&mut log, 8 * MIB);
    _ = log.flush().unwrap();
    let (len, room) = beyond(&real.path(0));
    assert_eq!(len, size, "the length is that of the records");
    assert!(room > 0 && room <= size / 8 + 64 * 1024, "{room} bytes ahead of {size}");

    // Nothing is written for a while.
    _ = log.maintain(ms(1000), HighWatermark(log.end_offset())).unwrap();
    assert!(beyond(&real.path(0)).1 > 0, "it was written to since it was last looked at");
    _ = log.maintain(ms(1000), HighWatermark(log.end_offset())).unwrap();
    assert_eq!(beyond(&real.path(0)), (size, 0), "a log that rests gives it back");

    append(&mut log, MIB);
    let next = log.end_offset();
    assert!(beyond(&real.path(0)).1 > 0);
    roll(&real, &mut log);
    assert_eq!(beyond(&real.path(0)).1, 0, "a segment that is closed gives it back");

    append(&mut log, 4 * MIB);
    assert!(beyond(&real.path(next.get())).1 > 0);
    let end = log.end_offset();
    let closed = log.close().unwrap();
    assert_eq!(beyond(&real.path(next.get())).1, 0, "a log that is closed gives it back");

    let recovery = Recovery { clean: true, recovery_point: closed.recovery_point, ..Recovery::UNKNOWN };
    let log = real.open(recovery);
    assert_eq!(log.end_offset(), end);
}

/// Closes the active segment: the next batch is one too much for it.
fn roll(real: &Real, log: &mut Log) {
    let mut settings = real.world.settings.clone();
    settings.segment_bytes = u32::try_from(log.segments().last().unwrap().size).unwrap();
    log.set_settings(Arc::new(settings));
    log.append_as_leader(vec![batch(8, 10, 1000)], LeaderEpoch(1), ms(1000)).unwrap();
    log.set_settings(Arc::new(real.world.settings.clone()));
    assert!(log.segments().len() > 1);
}

#[test]
fn a_process_that_died_leaves_room_only_until_the_next_start() {
    let Some(real) = Real::new(World::new(1)) else { return };
    let mut log = real.open(Recovery::UNKNOWN);
    let size = append(&mut log, 4 * MIB);
    _ = log.flush().unwrap();
    let end = log.end_offset();
    drop(log);
    assert!(beyond(&real.path(0)).1 > 0, "nobody has closed it");
    let log = real.open(Recovery::UNKNOWN);
    assert_eq!((log.size_in_bytes(), log.end_offset()), (size, end));
    assert_eq!(beyond(&real.path(0)), (size, 0));
}

#[test]
fn preallocated_segments_hold_their_room_until_they_are_closed() {
    let mut world = World::new(1);
    (world.settings.preallocate, world.settings.segment_bytes) = (true, 4 << 20);
    let Some(real) = Real::new(world) else { return };
    let mut log = real.open(Recovery::UNKNOWN);
    append(&mut log, MIB);
    let (len, room) = beyond(&real.path(0));
    assert!(len + room + 64 * 1024 >= 4 * MIB, "{len} and {room} bytes");
    _ = log.maintain(ms(1000), HighWatermark(log.end_offset())).unwrap();
    _ = log.maintain(ms(1000), HighWatermark(log.end_offset())).unwrap();
    assert!(beyond(&real.path(0)).1 > 2 * MIB, "it rests, and keeps what it was promised");
    append(&mut log, 4 * MIB);
    assert!(log.segments().len() > 1);
    assert_eq!(beyond(&real.path(0)).1, 0);
}
