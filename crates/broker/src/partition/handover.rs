//! A partition's log comes and goes: it is closed to rest, given up with its directory, deleted, or lent out while it moves.

use std::path::Path;
use std::rc::Rc;

use dohle_log::Log;
use dohle_types::{ErrorCode, HighWatermark};

use super::Partition;
use crate::core::Core;
use crate::open_files::{HasFiles, LetGo, Uses};

/// An append to be done when the log is back. Each belongs to a request of a client or to a coordinator's shard, of which there are
/// bounds.
pub type HeldAppend = Box<dyn FnOnce(&Rc<Partition>, &Rc<Core>)>;

impl HasFiles for Partition {
    fn uses(&self) -> &Uses {
        &self.uses
    }

    fn let_go(&self, may_flush: bool) -> LetGo {
        let mut state = self.state.borrow_mut();
        // One whose log is elsewhere has none open.
        let Some(log) = &mut state.log else { return LetGo::Closed };
        if !log.has_unflushed() {
            log.let_go_of_files();
            return LetGo::Closed;
        }
        if state.flushing {
            return LetGo::Flushing;
        }
        state.flushing = may_flush;
        LetGo::Unflushed
    }
}

impl Partition {
    /// Takes the partition out of service if its log lies in a directory that has failed. Who waits is told, and who comes.
    pub fn give_up_in(&self, directory: &Path, why: &str) {
        let mut state = self.state.borrow_mut();
        if let Some(log) = state.log.as_mut().filter(|log| log.dir().starts_with(directory)) {
            log.give_up(why);
            state.refuse_all(ErrorCode::KafkaStorageError);
        }
    }

    /// Whether the partition's log was lost with its directory, for good: if that is back, another one is to be opened.
    pub fn is_lost(&self) -> bool {
        self.state.borrow().log.as_ref().is_some_and(Log::is_lost)
    }

    /// Whether the partition can be closed without anybody noticing: nobody waits for it, and its log has nothing to do.
    pub fn may_rest(&self) -> bool {
        let state = self.state.borrow();
        let waits = state.flushing || !state.unacknowledged.is_empty() || state.watchers.any();
        !waits && state.log.as_ref().is_some_and(Log::may_rest)
    }

    /// Takes the log away, to close or delete it; nothing is served any more, and who waits is told `code`.
    pub fn take_log(&self, code: ErrorCode) -> Option<Log> {
        let mut state = self.state.borrow_mut();
        state.refuse_all(code);
        state.log.take()
    }

    /// Has appends wait from now on, until [`Partition::release_appends`]. Those that were taken are acknowledged as always.
    pub fn hold_appends(&self) {
        _ = self.state.borrow_mut().held.get_or_insert_default();
    }

    /// Does the appends that have waited, in their order.
    pub fn release_appends(self: &Rc<Self>, core: &Rc<Core>) {
        let held = self.state.borrow_mut().held.take();
        held.into_iter().flatten().for_each(|append| append(self, core));
    }

    /// Whether everything that was appended is acknowledged, and nothing works on the log's files.
    pub fn is_at_rest(&self) -> bool {
        let state = self.state.borrow();
        let is_quiet = state.log.as_ref().is_some_and(Log::is_quiet);
        is_quiet && !state.flushing && state.unacknowledged.is_empty()
    }

    /// Gives the log out, to be closed and to come back from elsewhere. Appends are held, and who comes waits in the slot.
    pub fn lend_log(&self) -> Option<Log> {
        let mut state = self.state.borrow_mut();
        assert!(
            state.held.is_some() && state.unacknowledged.is_empty(),
            "nobody waits for a log that is lent"
        );
        state.log.take()
    }

    /// Takes the log back, wherever it lies now.
    pub fn return_log(&self, mut log: Log) {
        let mut state = self.state.borrow_mut();
        if log.latest_epoch().is_none_or(|latest| latest < state.leader_epoch) {
            log.assign_epoch(state.leader_epoch);
        }
        assert!(
            log.end_offset() >= state.high_watermark.get(),
            "a log comes back with all that was acknowledged"
        );
        state.high_watermark = HighWatermark(log.end_offset());
        state.log = Some(log);
        state.watchers.wake_all();
    }
}
