//! A disk that takes its time: what a log hands out to other threads goes on for a while, and the log's owner goes on beside it.
//!
//! ```text
//! owner:  start_flush, append, roll, truncate ...   append, truncate ...      append, truncate ... finish_flush
//! other:      `-> waits for some steps ───────> run, an act between any two ──> done, known some steps later
//!                                               operations on the disk
//! ```
//! All of it runs on one thread, so that one seed is one history, and any operation of either side can be the one at which the power goes.
//! Flushes, cleanups, the parts of a compaction, the rounds of a move and the removal of folders are drawn out so.

use std::any::Any;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use dohle_env::Disk;
use dohle_env::disk::{Asked, AskingDisk, OpenMode, SimDisk};
use dohle_log::{Cleaned, Cleanup, Durable, Flush, FlushError, Flushed, Log, LogError};
use dohle_types::TimestampMs;

use super::{Step, World, run_alone_or_not};

/// Who acts while another thread works on the files of its log.
pub trait Acts: Any + Send {
    /// Does something, or nothing.
    fn act(&mut self);
}

/// Where the owner of a log stands while others work on its files.
#[derive(Clone, Default)]
pub struct Slow(Arc<Mutex<Option<Box<dyn Acts>>>>);

impl Slow {
    /// A disk between whose operations the owner may act.
    pub fn disk(&self, disk: SimDisk) -> Arc<dyn Disk> {
        let slow = self.clone();
        Arc::new(AskingDisk::new(Arc::new(disk), move |asked, _: &Path| {
            if changes_something(asked) {
                slow.let_act();
            }
            Ok(())
        }))
    }

    /// While the owner acts nobody stands here: what it does itself is not interrupted.
    fn let_act(&self) {
        let Some(mut owner) = self.owner().take() else { return };
        owner.act();
        *self.owner() = Some(owner);
    }

    /// Does `work` and lets the owner act meanwhile, in whose place is a stand-in until then.
    fn during<O: Acts, R>(&self, owner: &mut O, stand_in: O, work: impl FnOnce() -> R) -> R {
        *self.owner() = Some(Box::new(std::mem::replace(owner, stand_in)));
        let done = work();
        let back: Box<dyn Any> = self.owner().take().expect("who acts comes back");
        *owner = *back.downcast().expect("it is who went there");
        done
    }

    fn owner(&self) -> MutexGuard<'_, Option<Box<dyn Acts>>> {
        self.0.lock().expect("nothing panics while it is locked")
    }
}

fn changes_something(asked: Asked) -> bool {
    match asked {
        Asked::Open(mode) => matches!(mode, OpenMode::Create | OpenMode::CreateNew),
        Asked::Look | Asked::Read | Asked::ReadAlone | Asked::ReadCached | Asked::Lock => false,
        Asked::Write | Asked::Truncate | Asked::Rename | Asked::Remove | Asked::MakeFolder => true,
        Asked::Flush | Asked::FlushFolder | Asked::FlushAll => true,
    }
}

/// Work that was handed out.
pub enum Late<W, R> {
    Waiting(W),
    /// The owner does not know yet.
    Done(R),
}

/// What is under way.
#[derive(Default)]
pub struct Pending {
    pub is_slow: bool,
    flush: Option<Late<Flush, Result<Flushed, FlushError>>>,
    cleanup: Option<Late<Cleanup, Result<Cleaned, LogError>>>,
    folders: Vec<PathBuf>,
    /// What has failed while others worked.
    pub failed: Option<String>,
}

impl Pending {
    /// Whether something waits that keeps the log from being cut, and can end now.
    pub fn may_end(&self) -> bool {
        self.flush.is_some() || self.cleanup.is_some()
    }
}

/// A workload, as far as its disk may be slow.
pub trait Owner: Acts + Sized {
    fn stand_in() -> Self;
    fn world(&mut self) -> &mut World;
    fn open_log(&mut self) -> &mut Log;
    fn pending(&mut self) -> &mut Pending;
    fn draw(&mut self, below: u64) -> u64;
    fn time(&self) -> TimestampMs;
    fn acknowledge(&mut self, durable: Durable);

    fn is_slow(&mut self) -> bool {
        self.pending().is_slow
    }

    /// What another thread does, with acts of the owner in between. An error is the owner's: whatever has become of the work, the process
    /// stops there.
    fn during<R>(&mut self, work: impl FnOnce() -> R) -> Result<R, Box<dyn Error>> {
        if !self.is_slow() {
            return Ok(work());
        }
        let slow = self.world().slow.clone();
        let done = slow.during(self, Self::stand_in(), work);
        match self.pending().failed.take() {
            Some(problem) => Err(problem.into()),
            None if self.world().disk.has_crashed() => Err("the power is off".into()),
            None => Ok(done),
        }
    }

    /// Flushes, or begins to.
    fn flush(&mut self) -> Step {
        if !self.is_slow() || self.draw(3) == 0 {
            return self.flush_now();
        }
        self.begin_flush();
        Ok(())
    }

    fn begin_flush(&mut self) {
        if let Some(flush) = self.open_log().start_flush() {
            self.pending().flush = Some(Late::Waiting(flush));
        }
    }

    fn flush_now(&mut self) -> Step {
        self.end_flush()?;
        let durable = self.open_log().flush()?;
        self.acknowledge(durable);
        Ok(())
    }

    fn end_flush(&mut self) -> Step {
        while self.pending().flush.is_some() {
            self.go_on_with_flush()?;
        }
        Ok(())
    }

    fn go_on_with_flush(&mut self) -> Step {
        match self.pending().flush.take() {
            Some(Late::Waiting(flush)) => {
                let alone = self.draw(2) == 0;
                let flushed = self.during(|| run_alone_or_not(flush, alone))?;
                self.pending().flush = Some(Late::Done(flushed));
            }
            Some(Late::Done(flushed)) => {
                let durable = self.open_log().finish_flush(flushed)?;
                self.acknowledge(durable);
            }
            None => {}
        }
        Ok(())
    }

    /// Has files renamed and removed, now or later.
    fn clean_up(&mut self, cleanup: Cleanup) -> Step {
        self.pending().cleanup = Some(Late::Waiting(cleanup));
        if self.is_slow() { Ok(()) } else { self.end_cleanup() }
    }

    fn end_cleanup(&mut self) -> Step {
        while self.pending().cleanup.is_some() {
            self.go_on_with_cleanup()?;
        }
        Ok(())
    }

    fn go_on_with_cleanup(&mut self) -> Step {
        let now = self.time();
        match self.pending().cleanup.take() {
            Some(Late::Waiting(cleanup)) => {
                let cleaned = self.during(|| cleanup.run(&mut || true))?;
                self.pending().cleanup = Some(Late::Done(cleaned));
            }
            Some(Late::Done(cleaned)) => self.open_log().finish_cleanup(cleaned, now)?,
            None => {}
        }
        Ok(())
    }

    /// Removes a folder that nobody needs, now or later.
    fn remove_folder(&mut self, folder: PathBuf) -> Step {
        self.pending().folders.push(folder);
        if self.is_slow() { Ok(()) } else { self.go_on_with_folders() }
    }

    fn go_on_with_folders(&mut self) -> Step {
        let Some(folder) = self.pending().folders.pop() else { return Ok(()) };
        let disk = self.world().context.disk.clone();
        Ok(self.during(|| disk.remove_dir_all(&folder))??)
    }

    /// Something that is under way comes a step further.
    fn go_on(&mut self) -> Step {
        match self.draw(4) {
            0 | 1 => self.go_on_with_flush(),
            2 => self.go_on_with_cleanup(),
            _ => self.go_on_with_folders(),
        }
    }

    /// What works on the log's own files ends, and what is handed out meanwhile.
    fn end_all(&mut self) -> Step {
        while self.pending().may_end() {
            self.end_flush()?;
            self.end_cleanup()?;
        }
        Ok(())
    }

    /// The process is no more, and what it had begun neither.
    fn forget_all(&mut self) {
        let is_slow = self.is_slow();
        *self.pending() = Pending { is_slow, ..Pending::default() };
    }

    /// Whether the owner acts now, and how, of so many ways.
    fn next_act(&mut self, ways: u64) -> Option<u64> {
        let is_over = self.pending().failed.is_some() || self.world().disk.has_crashed();
        if is_over || self.draw(3) > 0 { None } else { Some(self.draw(ways)) }
    }
}
