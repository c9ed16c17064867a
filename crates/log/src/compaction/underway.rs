//! Who works on a log's compaction, as the log knows it: that somebody does, how to stop them, and which segments are being replaced.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use dohle_types::Offset;

use super::swap::Swapping;

/// Held by whoever works on a compaction; tells the log that it is under way, and the worker that it is not wanted any more.
#[derive(Debug, Default)]
pub(super) struct Token {
    cancelled: AtomicBool,
}

impl Token {
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// See [`super::Compaction::sign`].
#[derive(Clone, Debug)]
pub struct CancelSign(Weak<Token>);

impl CancelSign {
    pub(super) fn of(token: &Arc<Token>) -> Self {
        Self(Arc::downgrade(token))
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.upgrade().is_none_or(|token| token.is_cancelled())
    }
}

/// What a log knows of its compaction.
#[derive(Default)]
pub(crate) struct Underway {
    token: Weak<Token>,
    pub(super) swapping: Option<Swapping>,
}

impl Underway {
    pub(super) fn begin(&mut self, token: &Arc<Token>) {
        self.token = Arc::downgrade(token);
    }

    /// Whether somebody works on it, perhaps on another thread.
    pub fn is_running(&self) -> bool {
        self.token.strong_count() > 0
    }

    /// Whether segments are being replaced: what is in memory is ahead of the names on disk.
    pub fn is_swapping(&self) -> bool {
        self.swapping.is_some()
    }

    /// The base of the segment whose files do not have their names yet.
    pub fn swapping_base(&self) -> Option<Offset> {
        self.swapping.as_ref().map(|swapping| swapping.base)
    }

    pub fn cancel(&self) {
        if let Some(token) = self.token.upgrade() {
            token.cancelled.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.cancel();
    }
}
