//! What one member wrote down: a line for each thing that happened to it, read while the member goes on writing.
//!
//! | line | meaning |
//! |---|---|
//! | `A time place ...` | assigned, beside what it has |
//! | `R time place ...` | given back, after everything was committed |
//! | `L time place ...` | lost: others may own it already |
//! | `D place offset crc` | delivered: a record and the CRC-32 of its value |
//! | `T time place=offset ...` | a commit is on its way |
//! | `C time place=offset ...` | that commit was acknowledged |
//! | `X time text` | it was refused |
//! | `E time text` | the member ended by a failure |
//! | `Q time text` | the member has left |
//!
//! A time is in microseconds of the wall clock, a place is `topic/partition`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// A partition of a topic: `topic/partition`.
pub type Place = String;
/// Microseconds of the wall clock.
pub type Time = u64;

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Assigned(Time, Vec<Place>),
    Revoked(Time, Vec<Place>),
    Lost(Time, Vec<Place>),
    Delivered(Place, u64, u32),
    Trying(Time, Vec<(Place, u64)>),
    Committed(Time, Vec<(Place, u64)>),
    Refused(Time, String),
    Failed(Time, String),
    Left(Time),
}

/// The book of one member, as far as it has been read.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    read: u64,
    rest: String,
    pub events: Vec<Event>,
    /// What the member holds after the last event.
    pub held: BTreeSet<Place>,
}

impl Ledger {
    pub fn at(path: PathBuf) -> Ledger {
        Ledger { path, read: 0, rest: String::new(), events: Vec::new(), held: BTreeSet::new() }
    }

    /// Reads what was written since.
    pub fn refresh(&mut self) {
        let Ok(mut file) = File::open(&self.path) else { return }; // the member has not begun
        let mut added = Vec::new();
        file.seek(SeekFrom::Start(self.read)).expect("a ledger");
        file.read_to_end(&mut added).expect("a ledger");
        self.read += added.len() as u64;
        self.rest.push_str(std::str::from_utf8(&added).expect("a ledger is ASCII"));
        let Some(end) = self.rest.rfind('\n') else { return };
        let whole: String = self.rest.drain(..=end).collect();
        for line in whole.lines() {
            let event = parse(line).unwrap_or_else(|| panic!("{}: '{line}'", self.path.display()));
            self.hold(&event);
            self.events.push(event);
        }
    }

    fn hold(&mut self, event: &Event) {
        match event {
            Event::Assigned(_, places) => self.held.extend(places.iter().cloned()),
            Event::Revoked(_, places) | Event::Lost(_, places) => {
                self.held.retain(|place| !places.contains(place));
            }
            Event::Left(_) | Event::Failed(..) => self.held.clear(),
            _ => {}
        }
    }
}

fn parse(line: &str) -> Option<Event> {
    let (kind, rest) = line.split_once(' ')?;
    let words: Vec<&str> = rest.split(' ').filter(|w| !w.is_empty()).collect();
    if kind == "D" {
        let [place, offset, crc] = words[..] else { return None };
        return Some(Event::Delivered(
            place.to_owned(),
            offset.parse().ok()?,
            u32::from_str_radix(crc, 16).ok()?,
        ));
    }
    let (time, words) = words.split_first()?;
    let time = time.parse().ok()?;
    let places = || words.iter().map(|&w| w.to_owned()).collect();
    let offsets = || {
        let one = |w: &&str| w.split_once('=').and_then(|(p, o)| Some((p.to_owned(), o.parse().ok()?)));
        words.iter().map(one).collect::<Option<Vec<_>>>()
    };
    Some(match kind {
        "A" => Event::Assigned(time, places()),
        "R" => Event::Revoked(time, places()),
        "L" => Event::Lost(time, places()),
        "T" => Event::Trying(time, offsets()?),
        "C" => Event::Committed(time, offsets()?),
        "X" => Event::Refused(time, words.join(" ")),
        "E" => Event::Failed(time, words.join(" ")),
        "Q" => Event::Left(time),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_whole_is_read_when_it_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("m");
        let mut ledger = Ledger::at(path.clone());
        ledger.refresh();
        std::fs::write(&path, "A 5 t/0 t/1\nD t/0 7 000000ff\nR 6 t/").expect("a ledger");
        ledger.refresh();
        assert_eq!(ledger.events.len(), 2);
        assert_eq!(ledger.events[1], Event::Delivered("t/0".to_owned(), 7, 255));
        std::fs::write(&path, "A 5 t/0 t/1\nD t/0 7 000000ff\nR 6 t/1\nT 7 t/0=8\n").expect("a ledger");
        ledger.refresh();
        assert_eq!(ledger.events[2], Event::Revoked(6, vec!["t/1".to_owned()]));
        assert_eq!(ledger.events[3], Event::Trying(7, vec![("t/0".to_owned(), 8)]));
        assert_eq!(ledger.held, BTreeSet::from(["t/0".to_owned()]));
    }
}
