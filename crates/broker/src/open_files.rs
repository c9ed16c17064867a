//! Which partitions of a core may have files open, and who waits for that.
//!
//! When one more comes than may, the first in line that was not used since it was last looked at closes its files; the next use opens
//! them again. What was appended is flushed through the file that it was written to, so that a partition keeps its files until its flush
//! is over: where all that are in line have something unflushed, who comes for another partition waits for one of the flushes.
//!
//! A process has so many descriptors ([`Shares`]): half of them are the partitions', a quarter is there for what flushes and closings
//! open meanwhile, an eighth is the clients', and an eighth is for all else. Clients that are more take theirs from the partitions', down to
//! [`Shares::LEAST`]; then no more are let in. Each core counts its own clients: who comes goes to the core that serves the fewest
//! ([`crate::doorkeeper`]), so that none ever serves more than its part.
//!
//! Invariants:
//! - `OpenStandsInLine`: a partition that somebody works with stands in line until it has closed its files.
//! - `WaitsInOrder`: who comes for a partition that others wait for stands behind them.
//! - `NobodyWaitsForNothing`: while somebody waits, a flush is under way, at whose end [`OpenFiles::next`] is asked.
//!
//! Bounds: who waits belongs to a request, of which there is a bound.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

/// How many partitions are to flush when none of those in line can close its files and no flush is under way: as many as are flushed
/// together.
const FLUSHED_FOR_ROOM: usize = 32;

/// What a partition has open, as [`OpenFiles`] sees it.
pub trait HasFiles {
    fn uses(&self) -> &Uses;

    /// Closes the files, if nothing needs them.
    fn let_go(&self, may_flush: bool) -> LetGo;
}

/// What became of files that were to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetGo {
    Closed,
    /// A flush that needs them is under way, or comes soon.
    Flushing,
    /// A flush is due before: now, if there may be one, by whoever is told this.
    Unflushed,
}

/// What [`OpenFiles`] and the search for rest note on a partition.
pub struct Uses {
    /// Since the last search for partitions to rest.
    pub lately: Cell<bool>,
    /// Since it was last first in line.
    in_line: Cell<bool>,
    /// Whether it stands in line.
    has_files: Cell<bool>,
    /// How many wait until it may.
    waiting: Cell<usize>,
}

impl Default for Uses {
    fn default() -> Self {
        let lately = Cell::new(true);
        Self { lately, in_line: Cell::new(false), has_files: Cell::new(false), waiting: Cell::new(0) }
    }
}

impl Uses {
    /// Whether the partition may have files open.
    pub fn has_files(&self) -> bool {
        self.has_files.get()
    }
}

/// How the descriptors of the process, or of one core's part of it, are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    descriptors: usize,
}

impl Shares {
    /// Partitions have one in so many, whoever else wants them.
    const LEAST: usize = 16;

    pub fn of(descriptors: usize) -> Self {
        Self { descriptors }
    }

    /// What is left for each of so many cores.
    fn each(self, cores: usize) -> Self {
        Self { descriptors: self.descriptors / cores.max(1) }
    }

    /// How many partitions may have files open beside so many clients.
    pub fn partitions(self, clients: usize) -> usize {
        let taken = clients.saturating_sub(self.descriptors / 8);
        (self.descriptors / 2).saturating_sub(taken).max(self.descriptors / Self::LEAST).max(1)
    }

    /// How many files flushes may open meanwhile, and as many the closing of logs.
    pub fn flushes(self) -> usize {
        self.descriptors / 8
    }

    /// How many clients may be connected.
    pub fn clients(self) -> usize {
        self.descriptors / 8 + self.descriptors / 2 - self.descriptors / Self::LEAST
    }
}

/// The partitions of a core that may have files open, in the order in which they came, and what waits for others.
pub struct OpenFiles<P, W> {
    line: VecDeque<Weak<P>>,
    shares: Shares,
    most: usize,
    /// None in line can close its files before a flush is over.
    full: bool,
    waiting: VecDeque<(Rc<P>, W)>,
    /// Those that are to be flushed, for room.
    unflushed: Vec<Rc<P>>,
}

impl<P: HasFiles, W> OpenFiles<P, W> {
    /// Those of one of so many cores.
    pub fn new(shares: Shares, cores: usize) -> Self {
        let shares = shares.each(cores);
        let most = shares.partitions(0);
        let (line, waiting) = (VecDeque::new(), VecDeque::new());
        Self { line, shares, most, full: false, waiting, unflushed: Vec::new() }
    }

    /// Whether somebody who comes for a partition may work with it now; then it counts as used. Who may not has to wait.
    pub fn admits(&mut self, partition: &Rc<P>) -> bool {
        let uses = partition.uses();
        let admitted =
            uses.waiting.get() == 0 && (uses.has_files.get() || self.waiting.is_empty() && self.has_room());
        if admitted {
            self.used(partition);
        }
        admitted
    }

    /// Somebody uses a partition, and cannot wait.
    pub fn used(&mut self, partition: &Rc<P>) {
        let uses = partition.uses();
        uses.lately.set(true);
        uses.in_line.set(true);
        if !uses.has_files.replace(true) {
            self.line.push_back(Rc::downgrade(partition));
        }
    }

    /// What is wanted of a partition that is not admitted waits.
    pub fn wait(&mut self, partition: &Rc<P>, wanted: W) {
        let waiting = &partition.uses().waiting;
        waiting.set(waiting.get() + 1);
        self.waiting.push_back((partition.clone(), wanted));
    }

    /// Whether anybody waits.
    pub fn anybody_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A flush is over, or will not be: there may be room.
    pub fn flushed(&mut self) {
        self.full = false;
    }

    /// Has those leave the line that are gone: as long as they stand in it, the memory that they were in is kept.
    pub fn forget_gone(&mut self) {
        self.line.retain(|partition| partition.strong_count() > 0);
        self.line.shrink_to(2 * self.line.len());
    }

    /// Who may work with a partition now, of those that wait.
    pub fn next(&mut self) -> Option<(Rc<P>, W)> {
        let (first, _) = self.waiting.front()?;
        if !first.uses().has_files.get() && !self.has_room() {
            return None;
        }
        let (partition, wanted) = self.waiting.pop_front().expect("it was just looked at");
        let waiting = &partition.uses().waiting;
        waiting.set(waiting.get() - 1);
        self.used(&partition);
        Some((partition, wanted))
    }

    /// Takes those that are to be flushed, which have been told so and wait for it: after each call that may have looked for room, so that there is room when that is done.
    pub fn take_unflushed(&mut self) -> Vec<Rc<P>> {
        std::mem::take(&mut self.unflushed)
    }

    /// So many clients are connected to the core now.
    pub fn beside(&mut self, clients: usize) {
        self.most = self.shares.partitions(clients);
        if self.line.len() > self.most {
            self.make_room(self.most);
        }
    }

    fn has_room(&mut self) -> bool {
        self.line.len() < self.most || !self.full && self.make_room(self.most - 1)
    }

    /// Has partitions close their files until no more than so many stand in line; says whether that can be.
    fn make_room(&mut self, most: usize) -> bool {
        // The first round may do no more than clear marks.
        for _ in 0..2 * self.line.len() {
            let Some(first) = self.line.pop_front() else { break };
            if let Some(other) = first.upgrade()
                && (other.uses().in_line.replace(false) || !self.close(&other))
            {
                self.line.push_back(first);
            } else if self.line.len() <= most {
                return true;
            }
        }
        self.full = true;
        false
    }

    fn close(&mut self, partition: &Rc<P>) -> bool {
        let may_flush = self.unflushed.len() < FLUSHED_FOR_ROOM;
        match partition.let_go(may_flush) {
            LetGo::Closed => {
                partition.uses().has_files.set(false);
                return true;
            }
            LetGo::Unflushed if may_flush => self.unflushed.push(partition.clone()),
            LetGo::Flushing | LetGo::Unflushed => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        number: usize,
        uses: Uses,
        needed: Cell<LetGo>,
    }

    impl HasFiles for Files {
        fn uses(&self) -> &Uses {
            &self.uses
        }

        fn let_go(&self, may_flush: bool) -> LetGo {
            let needed = self.needed.get();
            if needed == LetGo::Unflushed && may_flush {
                self.needed.set(LetGo::Flushing);
            }
            needed
        }
    }

    fn some(count: usize) -> Vec<Rc<Files>> {
        let one = |number| Files { number, uses: Uses::default(), needed: Cell::new(LetGo::Closed) };
        (0..count).map(|number| Rc::new(one(number))).collect()
    }

    /// So many may have files open when no client is there.
    fn open_files(most: usize) -> OpenFiles<Files, &'static str> {
        OpenFiles::new(Shares::of(2 * most * 3), 3)
    }

    fn who_has(files: &[Rc<Files>]) -> Vec<usize> {
        files.iter().filter(|one| one.uses.has_files()).map(|one| one.number).collect()
    }

    #[test]
    fn who_was_not_used_closes_its_files() {
        let (mut open, files) = (open_files(3), some(6));
        for one in &files[..3] {
            assert!(open.admits(one));
        }
        assert!(open.admits(&files[3]));
        assert_eq!(who_has(&files), [1, 2, 3]);
        assert!(open.admits(&files[1]), "it has them");
        assert!(open.admits(&files[4]));
        assert_eq!(who_has(&files), [1, 3, 4], "1 was used since");
        drop(files.into_iter().nth(3));
        let other = some(1).pop().expect("one");
        assert!(open.admits(&other), "who is gone has none");
    }

    #[test]
    fn who_is_gone_keeps_no_memory() {
        let (mut open, mut files) = (open_files(100), some(3));
        assert!(files.iter().all(|one| open.admits(one)));
        let gone = Rc::downgrade(&files.remove(1));
        assert_eq!((gone.strong_count(), open.line.len()), (0, 3));
        open.forget_gone();
        assert_eq!(open.line.len(), 2);
        assert!(open.line.iter().zip(&files).all(|(stands, one)| stands.as_ptr() == Rc::as_ptr(one)));
    }

    #[test]
    fn who_finds_no_room_waits_for_a_flush_in_order() {
        let (mut open, files) = (open_files(2), some(4));
        for one in &files[..2] {
            assert!(open.admits(one));
            one.needed.set(LetGo::Flushing);
        }
        for (one, wanted) in [(&files[2], "first"), (&files[3], "second"), (&files[2], "third")] {
            assert!(!open.admits(one));
            open.wait(one, wanted);
        }
        assert!(open.take_unflushed().is_empty() && open.next().is_none() && open.anybody_waits());
        assert!(open.admits(&files[0]), "whoever has files goes on");
        files[1].needed.set(LetGo::Closed);
        assert!(open.next().is_none(), "nobody has said that a flush is over");
        open.flushed();
        let (partition, wanted) = open.next().expect("room");
        assert_eq!((partition.number, wanted), (2, "first"));
        partition.needed.set(LetGo::Flushing);
        assert!(!open.admits(&files[2]), "another came for it before");
        open.wait(&files[2], "fourth");
        assert!(open.next().is_none());
        files[0].needed.set(LetGo::Closed);
        open.flushed();
        let mut served = Vec::new();
        while let Some((partition, wanted)) = open.next() {
            served.push((partition.number, wanted));
        }
        assert_eq!(served, [(3, "second"), (2, "third"), (2, "fourth")]);
        assert!(!open.anybody_waits() && files.iter().all(|one| one.uses.waiting.get() == 0));
        assert_eq!(who_has(&files), [2, 3]);
    }

    #[test]
    fn what_nobody_flushes_is_flushed_for_room() {
        let (mut open, files) = (open_files(100), some(101));
        for one in &files[..100] {
            assert!(open.admits(one));
            one.needed.set(LetGo::Unflushed);
        }
        assert!(!open.admits(&files[100]));
        let flushed = open.take_unflushed();
        assert_eq!(flushed.iter().map(|one| one.number).collect::<Vec<_>>(), Vec::from_iter(0..32));
        assert!(!open.admits(&files[100]) && open.take_unflushed().is_empty(), "they are being flushed");
        flushed.iter().for_each(|one| one.needed.set(LetGo::Closed));
        open.flushed();
        assert!(open.admits(&files[100]));
    }

    #[test]
    fn who_is_admitted_may_leave_others_to_be_flushed() {
        let (mut open, files) = (open_files(2), some(3));
        assert!(open.admits(&files[0]) && open.admits(&files[1]));
        files[0].needed.set(LetGo::Unflushed);
        assert!(open.admits(&files[2]), "the other one closes");
        assert_eq!(open.take_unflushed().iter().map(|one| one.number).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn clients_take_of_what_partitions_have_but_not_all() {
        let shares = Shares::of(1024);
        assert_eq!((shares.partitions(0), shares.partitions(128), shares.partitions(228)), (512, 512, 412));
        assert_eq!((shares.clients(), shares.partitions(shares.clients())), (576, 64));
        assert_eq!(Shares::of(0).partitions(10), 1);
        for descriptors in 0..3000 {
            let shares = Shares::of(descriptors);
            for clients in [0, descriptors / 8, descriptors / 4, shares.clients()] {
                let taken = shares.partitions(clients) + clients + 2 * shares.flushes();
                assert!(taken <= descriptors + 1, "{clients} of {descriptors}");
            }
        }
        let (mut open, files) = (open_files(16), some(16));
        for one in &files {
            assert!(open.admits(one));
        }
        open.beside(4);
        assert_eq!(who_has(&files).len(), 16, "these have their own");
        open.beside(14);
        assert_eq!(who_has(&files), Vec::from_iter(10..16));
        open.beside(0);
        assert!(open.admits(&files[0]));
        assert_eq!(who_has(&files).len(), 7);
    }
}
