//! Which transactions a reader of committed records has to know as aborted.
//!
//! They are kept segment by segment, in the `.txnindex` of the segment that has the marker, which may be a later one than the
//! records are in. Most segments have none; that is remembered, so that a reader costs no look at a file per segment.

use std::sync::{Arc, Weak};

use dohle_types::Offset;

use crate::error::{LogError, ReadError};
use crate::index::AbortedTransaction;
use crate::log::Log;
use crate::segment::{Lease, SegmentView};

/// A search for aborted transactions, to be run on any thread; it may wait for the device. What it gives goes back to the log, to
/// [`Log::finish_aborted`].
pub struct AbortedSearch {
    views: Vec<SegmentView>,
    from: Offset,
    to: Offset,
}

/// What a search has found.
pub struct AbortedFound {
    transactions: Vec<AbortedTransaction>,
    /// Segments without any. Meanwhile others may have taken their place.
    without: Vec<(Offset, Weak<Lease>)>,
}

impl Log {
    /// The aborted transactions that a reader of `[from, to)` has to know. `None` where the device has to be waited for: then a
    /// [`Log::search_aborted`] is due.
    pub fn aborted_transactions(
        &mut self,
        from: Offset,
        to: Offset,
    ) -> Result<Option<Vec<AbortedTransaction>>, ReadError> {
        match self.aborted_search(from, to, false).run() {
            Ok(found) => Ok(Some(self.finish_aborted(found))),
            Err(error) if error.would_block() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`Log::aborted_transactions`], for a thread that may wait.
    pub fn search_aborted(&self, from: Offset, to: Offset) -> AbortedSearch {
        self.aborted_search(from, to, true)
    }

    /// Takes back what a search has found, and gives the transactions.
    pub fn finish_aborted(&mut self, found: AbortedFound) -> Vec<AbortedTransaction> {
        for (base, lease) in &found.without {
            if self.is_segment(*base, lease) {
                let at = self.segment_of(*base);
                self.segments[at].has_no_aborted = true;
            }
        }
        found.transactions
    }

    fn aborted_search(&self, from: Offset, to: Offset, may_wait: bool) -> AbortedSearch {
        let asked = (self.segment_of(from)..self.segments.len())
            .filter(|at| self.segments[*at].indexes.is_some() || !self.segments[*at].has_no_aborted);
        // The log's own file is not read.
        let views = asked.map(|at| SegmentView { may_wait, ..self.view(at, false) }).collect();
        AbortedSearch { views, from, to }
    }
}

impl AbortedSearch {
    pub fn run(self) -> Result<AbortedFound, ReadError> {
        let Self { views, from, to } = self;
        let mut found = AbortedFound { transactions: Vec::new(), without: Vec::new() };
        for view in views {
            let entries = view.aborted()?;
            if entries.is_empty() && view.indexes.is_none() {
                found.without.push((view.base, Arc::downgrade(&view.lease)));
            }
            let mut before = view.base.plus(-1);
            for entry in entries {
                // Nothing else protects what the file says: one number that is too large would hide what comes after it.
                let in_order = entry.first_offset <= entry.last_offset && before < entry.last_offset;
                let lies_here =
                    entry.last_offset < view.end && entry.last_stable_offset <= entry.last_offset.next();
                if !(in_order && lies_here) {
                    let path = view.path(crate::names::FileKind::TransactionIndex);
                    let what = format!(
                        "it has a transaction from {} to {}, stable at {}",
                        entry.first_offset, entry.last_offset, entry.last_stable_offset
                    );
                    return Err(LogError::corrupt(&path, what).into());
                }
                before = entry.last_offset;
                if entry.first_offset < to && entry.last_offset >= from {
                    found.transactions.push(entry);
                }
                if entry.last_stable_offset >= to {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}
