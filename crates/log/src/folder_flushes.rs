//! Flushes of a folder that many wait for: who made a name in it while another flush of it ran shares the next one.
//!
//! Many new partitions have one parent. Each of them has to have its name stored, and one flush stores all names that are there when it
//! begins.
//!
//! Invariant `BegunAfter`: a flush counts for those only who came before it began. One that fails fails for all of them.
//!
//! Bounds: an entry for each log directory; who waits is a thread that flushes, of which there are few.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use dohle_env::Disk;

/// The flushes of folders that logs share. Cheap to clone; the clones share them.
#[derive(Clone, Debug, Default)]
pub struct FolderFlushes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    rounds: Mutex<BTreeMap<PathBuf, Rounds>>,
    over: Condvar,
}

/// The flushes of one folder, counted from 1.
#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    done: u64,
    /// How many wait for one that has not begun.
    waiting: usize,
    /// The last one that has failed, and why.
    failed: Option<(u64, io::ErrorKind, String)>,
}

impl FolderFlushes {
    /// Makes the names durable that the folder has by now. Blocks.
    pub fn flush(&self, disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        let mut all = self.0.rounds();
        let wanted = all.entry(folder.to_owned()).or_default().begun + 1;
        loop {
            let rounds = all.get_mut(folder).expect("entered above, and never removed");
            if rounds.done >= wanted {
                return rounds.outcome_since(wanted);
            }
            if rounds.begun > rounds.done {
                rounds.waiting += 1;
                all = self.0.over.wait(all).expect("nothing panics while the rounds are locked");
                all.get_mut(folder).expect("entered above, and never removed").waiting -= 1;
                continue;
            }
            rounds.begun += 1;
            drop(all);
            let flushed = disk.sync_dir(folder);
            all = self.0.rounds();
            let rounds = all.get_mut(folder).expect("entered above, and never removed");
            rounds.done = rounds.begun;
            if let Err(error) = &flushed {
                rounds.failed = Some((rounds.done, error.kind(), error.to_string()));
            }
            self.0.over.notify_all();
            return flushed.map(|_stored| ());
        }
    }
}

impl Rounds {
    /// What to say to one who needed the round `wanted`, or a later one. A later success does not make up for a failure: it may have found
    /// nothing to do any more.
    fn outcome_since(&self, wanted: u64) -> io::Result<()> {
        match &self.failed {
            Some((round, kind, why)) if *round >= wanted => Err(io::Error::new(*kind, why.clone())),
            _ => Ok(()),
        }
    }
}

impl Shared {
    fn rounds(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Rounds>> {
        self.rounds.lock().expect("nothing panics while the rounds are locked")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use dohle_env::disk::{Asked, AskingDisk, SimDisk};
    use dohle_env::thread;

    use super::*;

    fn waiting(flushes: &FolderFlushes) -> usize {
        flushes.0.rounds()[Path::new("/data")].waiting
    }

    /// How three end that came while a flush ran, which succeeded, when the one they share ends so; and how many flushes there were.
    fn three_came_late(well: bool) -> (Vec<io::Result<()>>, usize) {
        let disk = SimDisk::new(1);
        disk.create_dir_all(Path::new("/data")).expect("a folder");
        let (begun, has_begun) = channel();
        let (end, ends) = channel();
        let (begun, ends) = (Mutex::new(begun), Mutex::new(ends));
        // Says that a flush of a folder has begun, and ends it as it is told.
        let told = move |asked, _: &Path| {
            if asked != Asked::FlushFolder {
                return Ok(());
            }
            begun.lock().expect("whole").send(()).expect("somebody waits");
            match ends.lock().expect("whole").recv().expect("told") {
                true => Ok(()),
                false => Err(io::ErrorKind::StorageFull.into()),
            }
        };
        let disk = Arc::new(AskingDisk::new(Arc::new(disk), told));
        let flushes = FolderFlushes::default();
        let start = |name: &str| {
            let (disk, flushes, (done, is_done)) = (disk.clone(), flushes.clone(), channel());
            let flush = move || _ = done.send(flushes.flush(disk.as_ref(), Path::new("/data")));
            thread::spawn(name, flush).expect("a thread");
            is_done
        };
        let first = start("first");
        has_begun.recv().expect("the first flush begins");
        let late: Vec<_> = ["second", "third", "fourth"].map(start).into();
        while waiting(&flushes) < late.len() {
            thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(late.iter().all(|late| late.try_recv().is_err()), "BegunAfter");
        end.send(true).expect("the first flush is told to end");
        first.recv().expect("it ends").expect("well");
        has_begun.recv().expect("one more begins");
        end.send(well).expect("the second flush is told to end");
        let ended = late.iter().map(|late| late.recv().expect("it ends")).collect();
        (ended, 2 + has_begun.try_iter().count())
    }

    #[test]
    fn who_comes_during_a_flush_shares_the_next_one() {
        let (ended, flushes) = three_came_late(true);
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
        assert_eq!(flushes, 2);
    }

    #[test]
    fn a_flush_that_fails_fails_for_all_who_share_it() {
        let (ended, flushes) = three_came_late(false);
        let kinds: Vec<_> = ended.into_iter().map(|ended| ended.expect_err("failed").kind()).collect();
        assert_eq!((kinds, flushes), (vec![io::ErrorKind::StorageFull; 3], 2));
    }
}
