//! The log moves to the other directory while the workload goes on, as a broker moves it.

use std::path::PathBuf;
use std::sync::Arc;

use dohle_log::future::{CopyProgress, FutureLog, take_over};

use super::*;

const MARKED: &str = "orders-0.0123456789abcdef0123456789abcdef";

impl Workload {
    pub(super) fn relocate(&mut self) -> Step {
        let (from, to) = (self.world.root(), self.world.other_root());
        self.world.make_root(to)?;
        let future = PathBuf::from(to).join(format!("{MARKED}-future"));
        let disk: Arc<dyn Disk> = self.world.context.disk.clone();
        let progress = Arc::new(CopyProgress::default());
        let mut copy = FutureLog::open(&disk, &future, TOPIC, progress.clone())?;
        for _ in 0..self.chance(4) {
            let plan = self.log().copy_plan()?;
            // Some rounds end in the middle.
            let mut chunks = self.chance(5);
            let copied = copy.copy(plan, &mut |_| {
                chunks = chunks.saturating_sub(1);
                chunks > 0
            });
            match copied {
                Ok(()) => {
                    assert_eq!(progress.end(), self.log().end_offset(), "a whole round reaches the end")
                }
                Err(dohle_log::future::CopyError::Cancelled) => {
                    // Gone on with by whoever finds it.
                    copy = FutureLog::open(&disk, &future, TOPIC, progress.clone())?;
                }
                Err(problem) => return Err(problem.into()),
            }
            match self.chance(6) {
                0..=2 => self.append()?,
                3 => self.maintain()?,
                4 => self.truncate()?,
                _ => self.delete_records()?,
            }
            self.flush()?;
        }
        if self.chance(4) == 0 {
            // Not wanted any more; or left, and gone on with by the next one.
            return if self.chance(2) == 0 { Ok(disk.remove_dir_all(&future)?) } else { Ok(()) };
        }
        self.flush()?;
        let plan = self.log().copy_plan()?;
        let closed = self.log.take().expect("the log is open").close()?;
        self.acknowledged = closed.recovery_point;
        copy.finish(plan)?;
        self.store_in(to, closed.recovery_point, closed.log_start)?;
        self.world.assigned = to;
        let (live, old) = (PathBuf::from(to).join("orders-0"), PathBuf::from(from).join("orders-0"));
        let put_aside = PathBuf::from(from).join(format!("{MARKED}-delete"));
        take_over((disk.as_ref(), &future, &live), (disk.as_ref(), &old, &put_aside))?;
        if self.chance(2) == 0 {
            disk.remove_dir_all(&put_aside)?;
        } else {
            // The next one to be put aside has another name.
            disk.rename(&put_aside, &PathBuf::from(from).join(format!("gone-{}", self.tag)))?;
        }
        self.open(true)
    }
}
