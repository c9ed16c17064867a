//! Reads that wait for the device, on threads that may wait: how many at once, and whose turn it is.
//!
//! Bounds: [`AT_ONCE`] run on a core at a time, one of each reader; while somebody produces, [`BESIDE_PRODUCERS`], which reads in small
//! pieces with a rest after each; the reader does not have to wait for the last one ([`crate::background`]). Who waits belongs to a
//! request, of which there is a bound; what is read is charged to the budget for answers before it comes here.
//!
//! Invariants:
//! - `OneTurnEach`: a reader that has had its turn stands behind all others that wait, however much it asks for.
//! - `NoTurnIsLost`: a turn ends when its [`Turn`] is dropped, by a reader that went away as well.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use dohle_env::task;
use dohle_log::Manners;
use tokio::sync::oneshot;

use crate::background::Background;

/// How many reads of a core wait for the device at once. The threads that they run on do other work too.
pub const AT_ONCE: usize = 4;
/// The same while somebody produces: the flush of an append waits behind every one of them.
const BESIDE_PRODUCERS: usize = 1;

/// Who reads: a client's connection.
pub type Reader = SocketAddr;

/// The cold reads of one core.
#[derive(Clone)]
pub struct ColdReads {
    line: Rc<RefCell<Line<oneshot::Sender<Turn>>>>,
    background: Background,
}

/// A reader's turn, until it is dropped.
struct Turn {
    reads: ColdReads,
    reader: Reader,
    /// Nobody is told when it is handed back unused inside of a hand-over.
    ends: bool,
}

impl ColdReads {
    pub fn new(background: Background) -> Self {
        Self { line: Rc::default(), background }
    }

    /// Those of a core beside which nobody produces.
    #[cfg(test)]
    pub fn of_nobody() -> Self {
        let clock = dohle_env::Clock::manual(dohle_types::TimestampMs(0)).0;
        Self::new(Background::new(clock, Vec::new()))
    }

    /// Runs `read` on a thread that may wait, when it is the reader's turn.
    pub async fn run<T: Send + 'static>(
        &self,
        reader: Reader,
        read: impl FnOnce(Manners<'_>) -> T + Send + 'static,
    ) -> T {
        let turn = self.turn(reader).await;
        let (sender, receiver) = oneshot::channel();
        let background = self.background.clone();
        // The turn lasts as long as the thread is busy, also when nobody wants what it reads any more.
        task::spawn(async move {
            let (done, rest) = task::blocking(move || {
                let mut pieces = background.begin();
                let done = read(&mut || pieces.manner());
                (done, pieces.rest_due())
            })
            .await;
            // Nobody may want it any more.
            _ = sender.send(done);
            if !rest.is_zero() {
                task::sleep(rest).await;
            }
            drop(turn);
        });
        receiver.await.expect("a read does not panic, and nobody aborts it")
    }

    /// How many may run now.
    fn at_once(&self) -> usize {
        if self.background.steps_aside() { BESIDE_PRODUCERS } else { AT_ONCE }
    }

    async fn turn(&self, reader: Reader) -> Turn {
        let (sender, receiver) = oneshot::channel();
        let runs = self.line.borrow_mut().ask(reader, sender, self.at_once()).is_some();
        if runs {
            return Turn { reads: self.clone(), reader, ends: true };
        }
        receiver.await.expect("whoever ends a turn hands on the next")
    }

    /// A reader's turn is over: the next ones have theirs.
    fn end(&self, reader: Reader) {
        self.line.borrow_mut().end(reader);
        let at_once = self.at_once();
        loop {
            let next = self.line.borrow_mut().next(at_once);
            let Some((next, sender)) = next else { return };
            if let Err(mut unused) = sender.send(Turn { reads: self.clone(), reader: next, ends: true }) {
                // Its client has gone away.
                unused.ends = false;
                self.line.borrow_mut().end(next);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.ends {
            self.reads.end(self.reader);
        }
    }
}

/// Whose turn it is, without a thread: readers in a row, each with what it wants to do.
struct Line<T> {
    running: usize,
    readers: HashMap<Reader, Waiting<T>>,
    /// Readers that wait and have nothing running, each once.
    line: VecDeque<Reader>,
}

struct Waiting<T> {
    runs: bool,
    wants: VecDeque<T>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { running: 0, readers: HashMap::new(), line: VecDeque::new() }
    }
}

impl<T> Line<T> {
    /// Gives back what is wanted if it may be done now, beside fewer than `at_once` others.
    fn ask(&mut self, reader: Reader, want: T, at_once: usize) -> Option<T> {
        let waiting = self.readers.entry(reader).or_insert(Waiting { runs: false, wants: VecDeque::new() });
        if !waiting.runs && waiting.wants.is_empty() && self.line.is_empty() && self.running < at_once {
            waiting.runs = true;
            self.running += 1;
            return Some(want);
        }
        if !waiting.runs && waiting.wants.is_empty() {
            self.line.push_back(reader);
        }
        waiting.wants.push_back(want);
        None
    }

    /// Something that a reader wanted is done: it stands behind all others.
    fn end(&mut self, reader: Reader) {
        let waiting = self.readers.get_mut(&reader).expect("it had its turn");
        waiting.runs = false;
        self.running -= 1;
        if waiting.wants.is_empty() {
            self.readers.remove(&reader);
        } else {
            self.line.push_back(reader);
        }
    }

    /// What may be done now beside fewer than `at_once` others, and whose it is.
    fn next(&mut self, at_once: usize) -> Option<(Reader, T)> {
        if self.running >= at_once {
            return None;
        }
        let next = self.line.pop_front()?;
        let waiting = self.readers.get_mut(&next).expect("it stands in line");
        let want = waiting.wants.pop_front().expect("it waits for something");
        waiting.runs = true;
        self.running += 1;
        Some((next, want))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(number: u16) -> Reader {
        SocketAddr::from(([127, 0, 0, 1], number))
    }

    /// A turn ends, and at most one begins.
    fn end(line: &mut Line<i32>, reader: Reader) -> Option<(Reader, i32)> {
        line.end(reader);
        line.next(AT_ONCE)
    }

    #[test]
    fn a_scan_leaves_others_their_turns() {
        let mut line = Line::default();
        let scan = reader(1);
        assert_eq!(line.ask(scan, 0, AT_ONCE), Some(0));
        for want in 1..100 {
            assert_eq!(line.ask(scan, want, AT_ONCE), None, "one at a time");
        }
        for other in 2..=AT_ONCE as u16 {
            assert!(line.ask(reader(other), 0, AT_ONCE).is_some(), "there is room beside the scan");
        }
        assert_eq!(line.ask(reader(50), 500, AT_ONCE), None, "all are busy");
        assert_eq!(line.ask(reader(51), 501, AT_ONCE), None);
        assert_eq!(
            end(&mut line, scan),
            Some((reader(50), 500)),
            "who came later comes before the scan's second turn"
        );
        assert_eq!(end(&mut line, reader(2)), Some((reader(51), 501)));
        assert_eq!(end(&mut line, reader(50)), Some((scan, 1)));
        let mut last = 1;
        while let Some((reader, want)) = end(&mut line, scan) {
            assert_eq!((reader, want), (scan, last + 1), "in its order");
            last = want;
        }
        assert_eq!(last, 99);
        for other in [3, 4, 51] {
            assert_eq!(end(&mut line, reader(other)), None);
        }
        assert!(line.readers.is_empty() && line.line.is_empty() && line.running == 0);
    }

    #[test]
    fn beside_producers_fewer_run_and_all_have_their_turn() {
        let mut line = Line::default();
        for number in 1..=AT_ONCE as u16 {
            assert!(line.ask(reader(number), 0, AT_ONCE).is_some());
        }
        // Somebody produces from here on.
        for number in 11..=13 {
            assert_eq!(line.ask(reader(number), 1, BESIDE_PRODUCERS), None);
        }
        for number in 1..AT_ONCE as u16 {
            line.end(reader(number));
            assert_eq!(line.next(BESIDE_PRODUCERS), None, "others still run");
        }
        line.end(reader(AT_ONCE as u16));
        assert_eq!(line.next(BESIDE_PRODUCERS), Some((reader(11), 1)));
        assert_eq!(line.next(BESIDE_PRODUCERS), None);
        // And no more: whoever ends lets all begin there is room for, and nobody passes those who wait.
        assert_eq!(line.ask(reader(14), 2, AT_ONCE), None);
        line.end(reader(11));
        let begun: Vec<_> = std::iter::from_fn(|| line.next(AT_ONCE)).collect();
        assert_eq!(begun, [(reader(12), 1), (reader(13), 1), (reader(14), 2)]);
        for number in 12..=14 {
            line.end(reader(number));
        }
        assert!(line.readers.is_empty() && line.line.is_empty() && line.running == 0);
    }

    #[test]
    fn turns_of_clients_that_went_away_are_handed_on() {
        let reads = ColdReads::of_nobody();
        dohle_env::thread::block_on(async {
            let mut held = Vec::new();
            for number in 0..AT_ONCE as u16 {
                held.push(reads.turn(reader(number)).await);
            }
            let gone = Box::pin(reads.turn(reader(100)));
            let (waiting, reads_too) = (reader(101), reads.clone());
            let mut gone = Some(gone);
            assert!(task::timeout(std::time::Duration::ZERO, gone.as_mut().expect("there")).await.is_err());
            let served = task::spawn(async move { reads_too.run(waiting, |_| 7).await });
            task::yield_now().await;
            gone.take();
            held.pop();
            assert_eq!(served.await.expect("no panic"), 7);
            held.clear();
            task::yield_now().await;
            assert!(reads.line.borrow().readers.is_empty() && reads.line.borrow().running == 0);
        });
    }
}
