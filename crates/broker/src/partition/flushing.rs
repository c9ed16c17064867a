//! When a partition is flushed, and what comes of it.
//!
//! What is promised to be durable is flushed at the end of the turn in which it was appended. With `dohle.durability=replicated` a flush comes when
//! `flush.messages` records wait for one, when a segment is closed, and `flush.ms` after the first of those that wait: a timer runs only while some do.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use dohle_env::task;
use dohle_log::Log;
use dohle_types::ErrorCode;

use super::Partition;
use crate::core::Core;
use crate::flusher::Job;

/// The timer of `flush.ms`, while it runs. It ends with its partition.
#[derive(Default)]
pub struct FlushTimer(RefCell<Option<task::JoinHandle<()>>>);

impl FlushTimer {
    fn stop(&self) {
        if let Some(timer) = self.0.take() {
            timer.abort();
        }
    }
}

impl Drop for FlushTimer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Partition {
    /// Has flushed what its log has to store, where no flush is under way; now, or in time.
    pub fn flush_if_needed(self: &Rc<Self>, core: &Rc<Core>) {
        let mut state = self.state.borrow_mut();
        if state.flushing {
            return;
        }
        let Some(log) = state.log.as_ref() else { return };
        if log.needs_flush() {
            state.flushing = true;
            drop(state);
            core.flush_soon(self);
        } else if let Some(within) = log.flush_within() {
            drop(state);
            self.flush_in_time(core, within);
        }
    }

    /// Has flushed what was appended `within` this time, where nothing else does.
    fn flush_in_time(self: &Rc<Self>, core: &Rc<Core>, within: Duration) {
        let mut timer = self.timer.0.borrow_mut();
        if timer.is_some() {
            return;
        }
        let (partition, core) = (Rc::downgrade(self), core.clone());
        *timer = Some(task::spawn(async move {
            task::sleep(within).await;
            let Some(partition) = partition.upgrade() else { return };
            partition.timer.0.take();
            // Of a flush under way the end sets a timer for what came since it began.
            partition.flush_unflushed(&core);
        }));
    }

    /// Follows changed settings: what waits for a flush may have to wait for less, or more.
    pub fn time_flush_anew(self: &Rc<Self>, core: &Rc<Core>) {
        self.timer.stop();
        self.flush_if_needed(core);
    }

    /// Has flushed whatever is not, needed or not.
    fn flush_unflushed(self: &Rc<Self>, core: &Rc<Core>) {
        let mut state = self.state.borrow_mut();
        if !state.flushing && state.log.as_ref().is_some_and(Log::has_unflushed) {
            state.flushing = true;
            drop(state);
            core.flush_soon(self);
        }
    }

    /// What is not flushed, for a flushing thread.
    pub fn start_flush(self: &Rc<Self>, core: &Core) -> Option<Job> {
        let mut state = self.state.borrow_mut();
        let Some(log) = state.log.as_mut() else {
            state.flushing = false;
            return None;
        };
        match log.start_flush() {
            Some(flush) => {
                let (owner, mailboxes) = (core.index, core.shared().mailboxes.clone());
                let number = core.begin_flush(self);
                let done = move |result| mailboxes.tell(owner, move |core| core.finish_flush(number, result));
                Some(Job { flush, done: Box::new(done) })
            }
            // Stored meanwhile, or out of service: then nobody waits in vain.
            None => {
                let failed = log.failure().is_some();
                state.flushing = false;
                if failed {
                    state.refuse_all(ErrorCode::KafkaStorageError);
                }
                None
            }
        }
    }

    /// Takes a flush's result back, and starts the next one if more was appended meanwhile.
    pub fn finish_flush(
        self: &Rc<Self>,
        core: &Rc<Core>,
        result: Result<dohle_log::Flushed, dohle_log::FlushError>,
    ) {
        let mut state = self.state.borrow_mut();
        state.flushing = false;
        let Some(log) = state.log.as_mut() else { return };
        match log.finish_flush(result) {
            Ok(durable) => {
                state.stored(durable);
                let rolled = state.log_mut().take_rolled();
                drop(state);
                if rolled {
                    crate::cleaner::note(core, self);
                }
                crate::upkeep::checkpoint_soon(core, self);
                self.flush_if_needed(core);
            }
            Err(problem) => state.failed(self.id, &problem),
        }
    }

    /// Whether a flush is under way or about to be.
    pub fn is_flushing(&self) -> bool {
        self.state.borrow().flushing
    }
}
