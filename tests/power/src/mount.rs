//! A [`SimDisk`] as a file system of the kernel's, through `/dev/fuse` and without a library.
//!
//! One thread reads the kernel's requests and answers them one by one. When the disk's power is off it answers no more; whoever waits
//! then waits until [`Mount::cut_off`], and so never learns what would have become of its call.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use dohle_env::disk::SimDisk;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::files::Files;
use crate::message::{MAX_REQUEST, Operation, Request, errno, failure};

const DEVICE: &str = "/dev/fuse";

/// Whether this machine lets this process mount such a file system. Where it has the device and we are who may use it, it has to.
pub fn possible() -> Result<(), String> {
    let may = rustix::process::geteuid().is_root();
    match File::options().read(true).write(true).open(DEVICE) {
        Ok(_) if may => Ok(()),
        Ok(_) => Err("mounting is for root".to_owned()),
        Err(error) => Err(format!("{DEVICE}: {error}")),
    }
}

#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
    server: Option<JoinHandle<()>>,
}

impl Mount {
    pub fn new(disk: SimDisk, at: &Path) -> io::Result<Mount> {
        let device = File::options().read(true).write(true).open(DEVICE)?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = CString::new(options).expect("options have no zeros");
        rustix::mount::mount("dohle-power", at, "fuse", MountFlags::empty(), Some(options.as_c_str()))?;
        let server = std::thread::spawn(move || serve(device, disk));
        Ok(Mount { at: at.to_owned(), server: Some(server) })
    }

    /// Whoever waits for the disk gets an error, and nobody reaches it any more.
    pub fn cut_off(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(server) = self.server.take() {
            rustix::mount::unmount(&self.at, UnmountFlags::FORCE | UnmountFlags::DETACH).expect("unmounting");
            server.join().expect("the file system's thread");
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends when the kernel has given the connection up.
fn serve(mut device: File, disk: SimDisk) {
    let mut files = Files::on(disk.clone());
    let mut buffer = vec![0; MAX_REQUEST];
    loop {
        let len = match device.read(&mut buffer) {
            Ok(len) => len,
            // A request was taken back before it was read.
            Err(error) if matches!(error.raw_os_error(), Some(NO_ENTRY | INTERRUPTED)) => continue,
            Err(_) => return,
        };
        let request = Request::parse(&buffer[..len]);
        if request.operation == Operation::Unanswered || disk.has_crashed() {
            continue;
        }
        let answer = match files.answer(&request) {
            Ok(answer) => answer.message(request.unique),
            Err(error) => failure(request.unique, errno(&error)),
        };
        if !disk.has_crashed() {
            // Fails when the one who asked is gone.
            _ = device.write(&answer);
        }
    }
}

const NO_ENTRY: i32 = crate::message::NO_ENTRY;
const INTERRUPTED: i32 = 4;

#[cfg(test)]
mod tests {
    use std::fs;

    use dohle_env::disk::Fault;

    use super::*;

    fn mounted() -> Option<(SimDisk, tempfile::TempDir, Mount)> {
        if let Err(why) = possible() {
            eprintln!("SKIPPED, no file system of our own here: {why}");
            return None;
        }
        let (disk, folder) = (SimDisk::new(7), tempfile::tempdir().expect("a temporary folder"));
        let mount = Mount::new(disk.clone(), folder.path()).expect("mounting");
        Some((disk, folder, mount))
    }

    #[test]
    fn files_are_files() {
        let Some((_disk, folder, _mount)) = mounted() else { return };
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(a.join("inner")).expect("a folder");
        let long: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        fs::write(a.join("inner/long"), &long).expect("a file");
        for number in 0..300 {
            fs::write(a.join(format!("a-file-with-a-name-{number}")), b"x").expect("a file");
        }
        fs::rename(&a, &b).expect("a rename");
        assert_eq!(fs::read(b.join("inner/long")).expect("a file"), long);
        assert_eq!(fs::read_dir(&b).expect("a folder").count(), 301);
        let open = File::options().read(true).write(true).open(b.join("inner/long")).expect("a file");
        open.set_len(5).expect("a shorter file");
        fs::remove_file(b.join("inner/long")).expect("a file");
        assert_eq!(open.metadata().expect("an open file").len(), 5, "it is there while it is open");
        assert!(fs::remove_dir(&b).is_err(), "it is not empty");
        fs::write(b.join("inner/long"), b"another").expect("a file");
        assert_eq!(fs::read(b.join("inner/long")).expect("a file"), b"another");
        fs::remove_dir_all(&b).expect("a folder");
        assert_eq!(fs::read_dir(folder.path()).expect("the root").count(), 0);
    }

    #[test]
    fn what_was_flushed_is_there_after_a_cut_and_nothing_is_answered_after_it() {
        let Some((disk, folder, mount)) = mounted() else { return };
        let file = File::create(folder.path().join("f")).expect("a file");
        (&file).write_all(b"flushed").expect("a write");
        file.sync_all().expect("a flush");
        File::open(folder.path()).and_then(|root| root.sync_all()).expect("a flush of the folder");
        disk.fail_at(disk.operations() + 1, Fault::Crash);
        (&file).write_all(b" and not").expect("a write");
        // This is where the power goes: the call does not come back before the mount is cut off.
        let waits = std::thread::spawn(move || file.sync_all());
        while !disk.has_crashed() {
            std::thread::yield_now();
        }
        assert!(!waits.is_finished());
        mount.cut_off();
        assert!(waits.join().expect("a thread").is_err());
        disk.crash(1);
        let _mount = Mount::new(disk, folder.path()).expect("mounting");
        let left = fs::read(folder.path().join("f")).expect("a file");
        assert!(left.starts_with(b"flushed"), "{left:?}");
    }
}
