//! What tests of crash safety may rely on.

use super::*;
use crate::disk::replace_file;

fn write(disk: &SimDisk, path: &str, position: u64, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.open(Path::new(path), OpenMode::Create).unwrap();
    file.write_all_at(&[io::IoSlice::new(bytes)], position).unwrap();
    file
}

fn contents_of(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    crate::disk::read_file(disk, Path::new(path), 1 << 20).unwrap()
}

#[test]
fn what_was_synced_survives_and_the_rest_may() {
    let (mut whole, mut torn, mut nameless) = (0, 0, 0);
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let file = write(&disk, "/a", 0, &[1; 2000]);
        let _stored = (file.sync_data().unwrap(), disk.sync_dir(Path::new("/")).unwrap());
        write(&disk, "/a", 2000, &[2; 2000]);
        write(&disk, "/b", 0, &[3; 10]);
        disk.crash(seed);
        let found = contents_of(&disk, "/a").unwrap();
        assert_eq!(found[..2000], [1; 2000]);
        match found.len() {
            4000 if found[2000..] == [2; 2000] => whole += 1,
            _ => torn += 1,
        }
        nameless += usize::from(contents_of(&disk, "/b").is_none());
    }
    assert!(whole > 20 && torn > 20 && nameless > 20, "{whole} {torn} {nameless}");
}

#[test]
fn a_replaced_file_is_old_or_new() {
    for operation in 0..12 {
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            let _stored = replace_file(&disk, Path::new("/f"), b"old").unwrap();
            disk.fail_at(disk.operations() + operation, Fault::Crash);
            let done = replace_file(&disk, Path::new("/f"), b"newer").is_ok();
            disk.crash(seed);
            let found = contents_of(&disk, "/f").unwrap();
            assert!(found == b"newer" || (!done && found == b"old"), "{found:?}");
        }
    }
}

#[test]
fn faults_locks_and_lies() {
    let disk = SimDisk::new(1);
    let file = write(&disk, "/f", 0, b"0123456789");
    disk.fail_at(disk.operations(), Fault::Full);
    let full = file.write_all_at(&[io::IoSlice::new(b"0123456789")], 10).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 15, "half of it is there");
    disk.fail_at(disk.operations(), Fault::Io);
    assert!(file.sync_data().is_err());
    let _worthless = file.sync_data().unwrap();
    let held = disk.lock(Path::new("/.lock")).unwrap();
    assert!(disk.lock(Path::new("/.lock")).is_err());
    drop(held);
    assert!(disk.lock(Path::new("/.lock")).is_ok());
    disk.lie(Some(Lie::Names));
    let _lied = disk.sync_dir(Path::new("/")).unwrap();
    disk.fail_at(disk.operations(), Fault::Crash);
    assert!(disk.sync_dir(Path::new("/")).is_err());
    assert!(file.len().is_err() && disk.list(Path::new("/")).is_err(), "the power is off");
    disk.crash(2);
    assert!(disk.list(Path::new("/")).is_ok());
    assert!(file.len().is_err(), "a descriptor does not outlive its process");
}

#[test]
fn what_a_failed_sync_was_to_store_is_seen_and_not_stored() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let file = write(&disk, "/f", 0, b"one");
        let _stored = (file.sync_data().unwrap(), disk.sync_dir(Path::new("/")).unwrap());
        write(&disk, "/f", 3, b"two");
        disk.fail_at(disk.operations(), Fault::Io);
        file.sync_data().expect_err("the device refuses it");
        disk.kill();
        assert_eq!(contents_of(&disk, "/f").as_deref(), Some(&b"onetwo"[..]), "the next process sees it");
        let file = write(&disk, "/f", 6, b"three");
        let _stored = file.sync_data().expect("nothing else is dirty");
        let again = disk.fork();
        disk.crash(seed);
        let found = contents_of(&disk, "/f").unwrap();
        assert_eq!((&found[..3], &found[6..]), (&b"one"[..], &b"three"[..]), "what is written is stored");
        if &found[3..6] == b"two" {
            kept += 1
        } else {
            lost += 1
        }
        let _stored = write(&again, "/f", 3, b"two").sync_data().expect("nothing fails");
        again.crash(seed);
        assert_eq!(
            contents_of(&again, "/f").as_deref(),
            Some(&b"onetwothree"[..]),
            "and so is what is again"
        );
    }
    assert!(lost > 10 && kept > 5, "{lost} {kept}");
}

#[test]
fn folders_move_with_what_is_in_them() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("/d/a")).unwrap();
        let file = write(&disk, "/d/a/f", 0, b"x");
        let _stored = file.sync_data().unwrap();
        for folder in ["/d/a", "/d", "/"] {
            let _stored = disk.sync_dir(Path::new(folder)).unwrap();
        }
        disk.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
        assert_eq!(contents_of(&disk, "/d/b/f").as_deref(), Some(&b"x"[..]));
        disk.crash(seed);
        let (old, new) = (contents_of(&disk, "/d/a/f"), contents_of(&disk, "/d/b/f"));
        assert!(old.is_some() != new.is_some(), "a rename is whole: {old:?} {new:?}");
    }
}
