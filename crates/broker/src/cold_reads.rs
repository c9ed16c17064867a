//! Reads that wait for the device, on threads that may wait: how many at once, and whose turn it is.
//!
//! Bounds: [`AT_ONCE`] run on a core at a time, one of each reader. Who waits belongs to a request, of which there is a bound; what is
//! read is charged to the budget for answers before it comes here.
//!
//! Invariants:
//! - `OneTurnEach`: a reader that has had its turn stands behind all others that wait, however much it asks for.
//! - `NoTurnIsLost`: a turn ends when its [`Turn`] is dropped, by a reader that went away as well.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use dohle_env::task;
use tokio::sync::oneshot;

/// How many reads of a core wait for the device at once. The threads that they run on do other work too.
pub const AT_ONCE: usize = 4;

/// Who reads: a client's connection.
pub type Reader = SocketAddr;

/// The cold reads of one core.
#[derive(Clone, Default)]
pub struct ColdReads(Rc<RefCell<Line<oneshot::Sender<Turn>>>>);

/// A reader's turn, until it is dropped.
struct Turn {
    reads: ColdReads,
    reader: Reader,
    /// Nobody is told when it is handed back unused inside of a hand-over.
    ends: bool,
}

impl ColdReads {
    /// Runs `read` on a thread that may wait, when it is the reader's turn.
    pub async fn run<T: Send + 'static>(
        &self,
        reader: Reader,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let turn = self.turn(reader).await;
        // The turn lasts as long as the thread is busy, also when nobody wants what it reads any more.
        let running = task::spawn(async move {
            let done = task::blocking(read).await;
            drop(turn);
            done
        });
        running.await.expect("a read does not panic, and nobody aborts it")
    }

    async fn turn(&self, reader: Reader) -> Turn {
        let (sender, receiver) = oneshot::channel();
        let at_once = self.0.borrow_mut().ask(reader, sender).is_some();
        if at_once {
            return Turn { reads: self.clone(), reader, ends: true };
        }
        receiver.await.expect("whoever ends a turn hands on the next")
    }

    /// A reader's turn is over: the next ones have theirs.
    fn end(&self, reader: Reader) {
        let mut over = vec![reader];
        while let Some(reader) = over.pop() {
            let next = self.0.borrow_mut().end(reader);
            if let Some((next, sender)) = next
                && let Err(mut unused) = sender.send(Turn { reads: self.clone(), reader: next, ends: true })
            {
                // Its client has gone away.
                unused.ends = false;
                over.push(next);
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
    /// Gives back what is wanted if it may be done at once.
    fn ask(&mut self, reader: Reader, want: T) -> Option<T> {
        let waiting = self.readers.entry(reader).or_insert(Waiting { runs: false, wants: VecDeque::new() });
        if !waiting.runs && self.running < AT_ONCE {
            debug_assert!(waiting.wants.is_empty(), "who waits while there is room");
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

    /// Something that a reader wanted is done. What may be done now instead, and whose it is.
    fn end(&mut self, reader: Reader) -> Option<(Reader, T)> {
        let waiting = self.readers.get_mut(&reader).expect("it had its turn");
        waiting.runs = false;
        self.running -= 1;
        if waiting.wants.is_empty() {
            self.readers.remove(&reader);
        } else {
            self.line.push_back(reader);
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

    #[test]
    fn a_scan_leaves_others_their_turns() {
        let mut line = Line::default();
        let scan = reader(1);
        assert_eq!(line.ask(scan, 0), Some(0));
        for want in 1..100 {
            assert_eq!(line.ask(scan, want), None, "one at a time");
        }
        for other in 2..=AT_ONCE as u16 {
            assert!(line.ask(reader(other), 0).is_some(), "there is room beside the scan");
        }
        assert_eq!(line.ask(reader(50), 500), None, "all are busy");
        assert_eq!(line.ask(reader(51), 501), None);
        assert_eq!(
            line.end(scan),
            Some((reader(50), 500)),
            "who came later comes before the scan's second turn"
        );
        assert_eq!(line.end(reader(2)), Some((reader(51), 501)));
        assert_eq!(line.end(reader(50)), Some((scan, 1)));
        let mut last = 1;
        while let Some((reader, want)) = line.end(scan) {
            assert_eq!((reader, want), (scan, last + 1), "in its order");
            last = want;
        }
        assert_eq!(last, 99);
        for other in [3, 4, 51] {
            assert_eq!(line.end(reader(other)), None);
        }
        assert!(line.readers.is_empty() && line.line.is_empty() && line.running == 0);
    }

    #[test]
    fn turns_of_clients_that_went_away_are_handed_on() {
        let reads = ColdReads::default();
        dohle_env::thread::block_on(async {
            let mut held = Vec::new();
            for number in 0..AT_ONCE as u16 {
                held.push(reads.turn(reader(number)).await);
            }
            let gone = Box::pin(reads.turn(reader(100)));
            let (waiting, reads_too) = (reader(101), reads.clone());
            let mut gone = Some(gone);
            assert!(task::timeout(std::time::Duration::ZERO, gone.as_mut().expect("there")).await.is_err());
            let served = task::spawn(async move { reads_too.run(waiting, || 7).await });
            task::yield_now().await;
            gone.take();
            held.pop();
            assert_eq!(served.await.expect("no panic"), 7);
            held.clear();
            assert!(reads.0.borrow().readers.is_empty() && reads.0.borrow().running == 0);
        });
    }
}
