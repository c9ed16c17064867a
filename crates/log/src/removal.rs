//! Files that are removed a piece at a time.
//!
//! A file system that hands freed blocks back to its device (`discard`) does so while the file is unlinked, and a gigabyte at once
//! holds up every flush behind it. A file that goes is made shorter piece by piece instead; whoever removes it says what is to happen
//! between two pieces, and whether to go on. What is left then is found at the next start, as after a crash. No crash can tell: what is
//! removed here has a name by which recovery removes it too. A file that has another name beside this one, as backups made by hard
//! links have, is left as it is and loses the name only.
//!
//! What is still being sent from a file needs its bytes, and holds it open. Nobody begins to send from one that has lost its name, so that those
//! are waited for who were sending when its removal began; who takes longer than [`PATIENCE`] has it unlinked at once, not cut. Such a one is waited
//! for once: until it has ended all files go in one piece, so that a consumer that does not read keeps no space from being freed.

use std::io;
use std::path::Path;
use std::time::Duration;

use dohle_env::disk::OpenMode;
use dohle_env::{Disk, thread};

use crate::buffers::ReadBuffers;

/// Called after each piece of what is removed; it may take its time. Whether to go on.
pub type Between<'a> = &'a mut dyn FnMut() -> bool;

/// What goes at once. A file is cut where the page cache has no page on both sides: one that is being sent is not written to.
const PIECE_BYTES: u64 = 4 << 20;

/// How long whoever is being sent bytes of a file is waited for, before it goes in one piece.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at who is still being sent something.
const LOOK: Duration = Duration::from_millis(5);

/// Removes a file from which nobody begins to read any more; `readers` are those who may still do. `Ok(false)` when it was told not to go on.
pub(crate) fn remove_file(
    disk: &dyn Disk,
    path: &Path,
    readers: &ReadBuffers,
    between: Between<'_>,
) -> io::Result<bool> {
    let found = disk.metadata(path)?.filter(|found| !found.is_dir && found.links == 1);
    let mut left = found.map_or(0, |found| found.len);
    if left > PIECE_BYTES && have_ended(readers, PATIENCE) {
        let file = disk.open(path, OpenMode::ReadWrite)?;
        while left > PIECE_BYTES {
            left = (left - 1) / PIECE_BYTES * PIECE_BYTES;
            file.set_len(left)?;
            if !between() {
                return Ok(false);
            }
        }
    }
    disk.remove_file(path)?;
    Ok(between())
}

/// Removes a folder with the files in it. `Ok(false)` when it was told not to go on.
pub(crate) fn remove_folder(
    disk: &dyn Disk,
    folder: &Path,
    readers: &ReadBuffers,
    between: Between<'_>,
) -> io::Result<bool> {
    for entry in disk.list(folder)? {
        if !entry.is_dir && !remove_file(disk, &folder.join(entry.name), readers, between)? {
            return Ok(false);
        }
    }
    disk.remove_dir_all(folder).map(|()| true)
}

/// Waits until nothing is sent any more that was being sent when this was called. Whether it came to that. Who was waited for in vain
/// before is not waited for again.
fn have_ended(readers: &ReadBuffers, patience: Duration) -> bool {
    let last = readers.last_deferred();
    let mut waited = Duration::ZERO;
    while !readers.are_sent(last) {
        if waited >= patience {
            readers.are_slow(last);
        }
        if readers.has_slow() {
            return false;
        }
        thread::sleep(LOOK);
        waited += LOOK;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use dohle_env::disk::{RealDisk, SimDisk};

    use super::*;

    #[test]
    fn a_file_goes_piece_by_piece() {
        let (disk, folder) = (SimDisk::new(1), Path::new("/data/orders-0.0-delete"));
        disk.create_dir_all(folder).unwrap();
        let large = folder.join("00000000000000000000.log");
        for (path, len) in [(&large, 3 * PIECE_BYTES + 5), (&folder.join("small"), PIECE_BYTES)] {
            let bytes = vec![1; usize::try_from(len).unwrap()];
            disk.open(path, OpenMode::Create).unwrap().write_all_at(&[IoSlice::new(&bytes)], 0).unwrap();
        }
        let size = || disk.metadata(&large).unwrap().map_or(0, |found| found.len);
        let (mut sizes, readers) = (Vec::new(), ReadBuffers::default());
        let mut stops = || {
            sizes.push(size());
            sizes.len() < 3
        };
        assert!(!remove_folder(&disk, folder, &readers, &mut stops).unwrap());
        assert_eq!(sizes, [3 * PIECE_BYTES, 2 * PIECE_BYTES, PIECE_BYTES], "and there it was told to stop");
        assert_eq!(size(), PIECE_BYTES);
        assert!(remove_folder(&disk, folder, &readers, &mut || true).unwrap());
        assert_eq!(disk.metadata(folder).unwrap(), None);
        let missing = remove_file(&disk, &large, &readers, &mut || panic!("there is nothing"));
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// A backup made by hard links is nobody's to cut.
    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_file_with_another_name_loses_this_one_only() {
        let folder = std::env::temp_dir().join(format!("dohle-removal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, backup) = (folder.join("0.log.deleted"), folder.join("backup"));
        let len = 2 * PIECE_BYTES + 1;
        std::fs::write(&path, vec![7; usize::try_from(len).unwrap()]).unwrap();
        std::fs::hard_link(&path, &backup).unwrap();
        assert!(remove_file(&RealDisk::new(), &path, &ReadBuffers::default(), &mut || true).unwrap());
        assert!(!path.exists());
        assert_eq!(std::fs::metadata(&backup).unwrap().len(), len);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// Who is being sent a file's bytes when its removal begins gets all of them; who begins later reads something else.
    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_file_is_not_cut_under_who_is_sent_its_bytes() {
        let (disk, path) = (SimDisk::new(1), Path::new("/data/0.log.deleted"));
        disk.create_dir_all(Path::new("/data")).unwrap();
        let len = 2 * PIECE_BYTES + 1;
        let file = disk.open(path, OpenMode::Create).unwrap();
        file.write_all_at(&[IoSlice::new(&vec![7; usize::try_from(len).unwrap()])], 0).unwrap();
        let readers = ReadBuffers::default();
        let sent = readers.permit(2).expect("the first");
        let later = std::thread::scope(|scope| {
            let removing = scope.spawn(|| remove_file(&disk, path, &readers, &mut || true));
            for _ in 0..20 {
                std::thread::sleep(LOOK);
                assert_eq!(file.len().unwrap(), len, "it waits");
            }
            let later = readers.permit(2).expect("the second");
            drop(sent);
            assert!(removing.join().unwrap().unwrap());
            later
        });
        assert_eq!(
            (file.len().unwrap(), disk.metadata(path).unwrap()),
            (PIECE_BYTES, None),
            "cut, then unlinked"
        );
        // One that takes its time is not waited for without end.
        assert!(!have_ended(&readers, 2 * LOOK));
        // Nor twice: with this patience the test would never end.
        assert!(!have_ended(&readers, Duration::MAX));
        let another = readers.permit(2).expect("a third");
        assert!(!have_ended(&readers, Duration::MAX), "whoever has come since");
        drop(later);
        assert!(!have_ended(&readers, Duration::ZERO), "it is a new one that is waited for");
        drop(another);
        assert!(have_ended(&readers, Duration::ZERO));
    }
}
