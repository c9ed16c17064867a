//! A file system that is flushed as a whole: one call where thousands of files and folders would each need their own.
//!
//! Invariant `FailuresAreTold`: what could not be written since the file system was taken hold of is an error of the next flush, whoever
//! wrote it and whoever wrote it back. That is why it is taken hold of before anything is written, and why nothing is done so where the
//! kernel does not tell.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io;
use std::path::Path;

use super::Synced;

/// All of a file system, through a handle that remembers which failures it has told of.
pub trait FileSystem: Send + Sync {
    /// Makes everything durable that was written so far, bytes and names.
    fn sync(&self) -> io::Result<Synced>;
}

/// `syncfs` tells of failures since Linux 5.8.
const TELLS_SINCE: (u32, u32) = (5, 8);

/// The file systems of which it is known that `syncfs` stores all that `fsync` of each file and folder would: ext4, XFS, Btrfs.
const KNOWN: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

pub(super) struct RealFileSystem(fs::File);

impl RealFileSystem {
    /// `None` where a flush of the whole would prove nothing.
    pub fn of(folder: &Path) -> io::Result<Option<Self>> {
        let kind = rustix::fs::statfs(folder)?.f_type;
        let is_known = u64::try_from(kind).is_ok_and(|kind| KNOWN.contains(&kind));
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        if !is_known || version(&release) < TELLS_SINCE {
            return Ok(None);
        }
        Ok(Some(Self(fs::File::open(folder)?)))
    }
}

impl FileSystem for RealFileSystem {
    fn sync(&self) -> io::Result<Synced> {
        rustix::fs::syncfs(&self.0)?;
        Ok(Synced(()))
    }
}

/// The first two numbers of a kernel's release; 0 for what is none.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        assert_eq!(version("5.15.0-91-generic"), (5, 15));
        assert!(version("5.10.1") > TELLS_SINCE && version("5.8.0-rc1") >= TELLS_SINCE);
        assert!(
            version("5.7.19") < TELLS_SINCE && version("4.19") < TELLS_SINCE && version("?") < TELLS_SINCE
        );
    }
}
