//! How many tests passed, failed and were skipped, and how to read that from what a suite printed.

use std::fmt;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Counts {
    pub fn ran(&self) -> usize {
        self.passed + self.failed
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The sum of the `test result:` lines of Rust's harness or, when there are none, the last `N passed, N failed` line.
    pub fn read(output: &str) -> Option<Self> {
        let harness: Vec<Self> = output.lines().filter_map(harness_line).collect();
        if harness.is_empty() {
            return Self::read_last(output);
        }
        let mut sum = Self::default();
        harness.into_iter().for_each(|counts| sum.add(counts));
        Some(sum)
    }

    /// The last `N passed, N failed` line.
    pub fn read_last(output: &str) -> Option<Self> {
        output.lines().rev().find_map(plain_line)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; ...`
fn harness_line(line: &str) -> Option<Counts> {
    let rest = line.trim().strip_prefix("test result: ")?;
    let numbers = rest.split_once(". ")?.1;
    Some(Counts {
        passed: number_before(numbers, " passed")?,
        failed: number_before(numbers, " failed")?,
        skipped: number_before(numbers, " ignored").unwrap_or(0),
    })
}

/// `3 passed, 0 failed`, perhaps with `, 1 skipped` behind and one word and a colon before.
fn plain_line(line: &str) -> Option<Counts> {
    let line = line.trim();
    let numbers =
        line.split_once(": ").filter(|(word, _)| !word.contains(' ')).map_or(line, |(_, rest)| rest);
    numbers.starts_with(|c: char| c.is_ascii_digit()).then_some(())?;
    Some(Counts {
        passed: number_before(numbers, " passed")?,
        failed: number_before(numbers, " failed")?,
        skipped: number_before(numbers, " skipped").unwrap_or(0),
    })
}

fn number_before(text: &str, word: &str) -> Option<usize> {
    let before = &text[..text.find(word)?];
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let harness = "running 3 tests\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n\
            test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured\n";
        assert_eq!(Counts::read(harness), Some(Counts { passed: 13, failed: 2, skipped: 1 }));
        for plain in ["x\n7 passed, 1 failed, 2 skipped\n", "clients: 7 passed, 1 failed, 2 skipped\nbye\n"] {
            assert_eq!(Counts::read(plain), Some(Counts { passed: 7, failed: 1, skipped: 2 }));
        }
        assert_eq!(Counts::read("all passed, none failed\n"), None);
    }

    #[test]
    fn what_is_written_is_read() {
        for counts in
            [Counts { passed: 3, failed: 0, skipped: 0 }, Counts { passed: 1, failed: 2, skipped: 3 }]
        {
            assert_eq!(Counts::read(&counts.to_string()), Some(counts));
        }
    }
}
