//! What a walk through the log from some offset on knows of transactions: which batches were aborted, which markers are still
//! needed.
//!
//! A marker is needed as long as a batch of its transaction is in the log: without it a reader could not tell that the
//! transaction was decided.

use std::collections::{HashMap, HashSet};

use dohle_records::BatchHeader;
use dohle_types::{Offset, ProducerId};

use crate::index::AbortedTransaction;

/// What a control batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Commit,
    Abort,
    /// Its record is gone already.
    Emptied,
    /// Of a kind that ends no transaction.
    Other,
}

#[derive(Default)]
pub(super) struct Transactions {
    /// In the order of their first offsets, the last one first: those the walk has not come to.
    ahead: Vec<AbortedTransaction>,
    /// Those the walk is in, and whether it has met a batch of them.
    aborted: HashMap<ProducerId, (AbortedTransaction, bool)>,
    /// Producers of whose current transaction the walk has met a batch; it is not aborted.
    others: HashSet<ProducerId>,
    /// Aborted transactions whose markers were met and are still needed, in the order of their markers.
    kept: Vec<AbortedTransaction>,
}

impl Transactions {
    /// For a walk that begins at `from`, in a log with these aborted transactions.
    pub fn new(aborted: &[AbortedTransaction], from: Offset) -> Self {
        let mut ahead: Vec<_> =
            aborted.iter().filter(|aborted| aborted.last_offset >= from).copied().collect();
        ahead.sort_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
        Self { ahead, ..Self::default() }
    }

    /// The walk comes to a batch with data. Whether it was aborted.
    pub fn on_data(&mut self, header: &BatchHeader) -> bool {
        self.advance(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, met)) => {
                *met = true;
                true
            }
            None => {
                self.others.insert(header.producer_id);
                false
            }
        }
    }

    /// The walk comes to a control batch. Whether nothing needs it any more.
    pub fn on_control(&mut self, header: &BatchHeader, marker: Marker) -> bool {
        self.advance(header.last_offset());
        match marker {
            Marker::Emptied => true,
            Marker::Other => false,
            Marker::Commit => !self.others.remove(&header.producer_id),
            Marker::Abort => match self.aborted.remove(&header.producer_id) {
                Some((aborted, true)) => {
                    self.kept.push(aborted);
                    false
                }
                _ => true,
            },
        }
    }

    /// The aborted transactions that belong into the index of the segments walked since this was last asked.
    pub fn take_kept(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.kept)
    }

    fn advance(&mut self, offset: Offset) {
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset <= offset) {
            self.aborted.entry(next.producer_id).or_insert((next, false));
        }
    }
}
