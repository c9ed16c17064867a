//! What the coordinators of a node may keep of what clients say of themselves, in one number (`dohle.memory.groups.bytes`).
//!
//! A coordinator counts what it keeps, and tells what a request would add (`Hosted::kept_bytes`, `Hosted::would_keep`). A request that
//! would add something is refused with COORDINATOR_NOT_AVAILABLE while there is no room for it: clients wait and ask again. Whoever is a
//! member and says nothing more than it has said goes on, and so do heartbeats and commits.
//!
//! Bound: what is kept is above the limit by no more than one request of each core, and what the log held when it was loaded.

use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Memory {
    limit: usize,
    used: AtomicUsize,
}

impl Memory {
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Whether so much more may be kept.
    pub fn has_room(&self, more: usize) -> bool {
        more == 0 || self.used().saturating_add(more) <= self.limit
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A shard that kept `before` keeps `now`.
    pub fn replace(&self, before: usize, now: usize) {
        self.used.fetch_add(now, Ordering::Relaxed);
        self.used.fetch_sub(before, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_until_it_is_kept() {
        let memory = Memory::new(100);
        assert!(memory.has_room(100) && !memory.has_room(101));
        memory.replace(0, 80);
        assert!(memory.has_room(20) && !memory.has_room(21));
        memory.replace(80, 130);
        assert!(
            memory.has_room(0),
            "who adds nothing goes on, also when the log held more than there is room for"
        );
        assert!(!memory.has_room(1));
        memory.replace(130, 0);
        assert_eq!(memory.used(), 0);
    }
}
