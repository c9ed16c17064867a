//! A log moves to the other directory while its workload goes on, as a broker moves it.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use dohle_env::Disk;
use dohle_log::Closed;
use dohle_log::future::{CopyError, CopyProgress, FutureLog, take_over};

use super::slow::Owner;
use super::{Step, TOPIC, read_all};

const MARKED: &str = "orders-0.0123456789abcdef0123456789abcdef";

/// A copy under way, and how far it is.
type Copy = (FutureLog, Arc<CopyProgress>);

/// A workload whose log may move.
pub trait Moves: Owner {
    /// No compaction works on the log from here on.
    fn settle(&mut self) -> Step;
    /// What happens between two rounds of copying.
    fn between_rounds(&mut self) -> Step;
    /// How often the log was cut so far.
    fn cuts(&self) -> u64;
    fn close_to_move(&mut self) -> Result<Closed, Box<dyn Error>>;
    /// Stores the checkpoints of a log that was closed in a log directory.
    fn store_closed(&self, root: &str, closed: Closed) -> Step;
    fn open_moved(&mut self) -> Step;

    fn relocate(&mut self) -> Step {
        let (from, to) = (self.world().root(), self.world().other_root());
        self.world().make_root(to)?;
        let future = Path::new(to).join(format!("{MARKED}-future"));
        let disk: Arc<dyn Disk> = self.world().context.disk.clone();
        let mut copy = open_copy(&disk, &future)?;
        for _ in 0..self.draw(4) {
            copy = self.copy_round(copy, &disk, &future)?;
            self.between_rounds()?;
            self.flush()?;
        }
        if self.draw(4) == 0 {
            // Not wanted any more; or left, and gone on with by the next one.
            return if self.draw(2) == 0 { Ok(disk.remove_dir_all(&future)?) } else { Ok(()) };
        }
        self.settle()?;
        self.end_all()?;
        self.flush_now()?;
        assert!(self.open_log().is_quiet(), "a log whose files others work on is not closed");
        let plan = self.open_log().copy_plan()?;
        let closed = self.close_to_move()?;
        copy.0.finish(plan)?;
        self.store_closed(to, closed)?;
        self.world().assigned = to;
        self.exchange(&disk, &future, (from, to))?;
        self.open_moved()
    }

    /// Copies what there is now, or a part of it. A slow disk lets the log go on meanwhile.
    fn copy_round(
        &mut self,
        (mut copy, progress): Copy,
        disk: &Arc<dyn Disk>,
        future: &Path,
    ) -> Result<Copy, Box<dyn Error>> {
        self.settle()?;
        let plan = self.open_log().copy_plan()?;
        // A log that was cut in a gap, as compaction leaves them, ends behind its last batch.
        let end = read_all(self.open_log()).last().map(|batch| batch.header.next_offset());
        let cuts = self.cuts();
        // Some rounds end in the middle.
        let mut chunks = self.draw(5);
        let copied = self.during(|| {
            copy.copy(plan, &mut |_| {
                chunks = chunks.saturating_sub(1);
                chunks > 0
            })
        })?;
        match copied {
            Ok(()) if self.cuts() == cuts => {
                assert_eq!(progress.end(), end.unwrap_or(progress.end()), "a whole round reaches the end");
            }
            Ok(()) => {}
            // Gone on with by whoever finds it.
            Err(CopyError::Cancelled) => return open_copy(disk, future),
            // What was to be copied has been cut off.
            Err(CopyError::Source(_)) if self.cuts() > cuts => return open_copy(disk, future),
            Err(problem) => return Err(problem.into()),
        }
        Ok((copy, progress))
    }

    fn exchange(&mut self, disk: &Arc<dyn Disk>, future: &Path, (from, to): (&str, &str)) -> Step {
        let (live, old) = (Path::new(to).join("orders-0"), Path::new(from).join("orders-0"));
        let put_aside = Path::new(from).join(format!("{MARKED}-delete"));
        take_over((disk.as_ref(), future, &live), (disk.as_ref(), &old, &put_aside))?;
        // The next one to be put aside has another name.
        let gone = Path::new(from).join(format!("gone-{}", self.time().get()));
        disk.rename(&put_aside, &gone)?;
        if self.draw(2) == 0 { self.remove_folder(gone) } else { Ok(()) }
    }
}

/// Makes a copy's folder, or goes on with what is in it.
fn open_copy(disk: &Arc<dyn Disk>, future: &Path) -> Result<Copy, Box<dyn Error>> {
    let progress = Arc::new(CopyProgress::default());
    Ok((FutureLog::open(disk, future, TOPIC, progress.clone())?, progress))
}
