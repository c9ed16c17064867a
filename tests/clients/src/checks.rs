//! Counts what was checked, so that a suite that skips a part of itself is red.

use std::fmt::Display;

/// The checks of one test. It must be [`finish`](Checks::finish)ed with the number that the test owes.
#[derive(Debug)]
pub struct Checks {
    name: String,
    ran: usize,
    finished: bool,
}

impl Checks {
    pub fn of(name: &str) -> Checks {
        Checks { name: name.to_owned(), ran: 0, finished: false }
    }

    /// One check that `condition` holds.
    #[track_caller]
    pub fn that(&mut self, condition: bool, what: impl Display) {
        self.ran += 1;
        assert!(condition, "{}: {what}", self.name);
    }

    /// One check that two values are equal.
    #[track_caller]
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, got: T, wanted: T, what: impl Display) {
        self.ran += 1;
        assert!(got == wanted, "{}: {what}: got {got:?}, wanted {wanted:?}", self.name);
    }

    /// Ends the test: exactly `owed` checks must have run.
    #[track_caller]
    pub fn finish(mut self, owed: usize) {
        self.finished = true;
        println!("{}: {} checks", self.name, self.ran);
        assert_eq!(self.ran, owed, "{}: the number of checks that ran is not the number owed", self.name);
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        assert!(
            self.finished || std::thread::panicking(),
            "{}: ended without counting its checks",
            self.name
        );
    }
}
