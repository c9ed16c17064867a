//! What of a log cannot be read, and where it can be read again.
//!
//! Owns the list of damaged stretches of one log, in memory: after a restart they are found again by whoever reads there. Never
//! changes a file: the bytes stay as they are until retention deletes their segment, or a copy from a replica takes their place.
//!
//! Invariant `DamageIsNamed`: a reader is never led past offsets that it was not told of.

use std::fmt;
use std::path::PathBuf;

use dohle_types::Offset;

/// How many stretches one log remembers. Those beyond are found anew by everyone who reads there.
const MOST_REMEMBERED: usize = 256;

/// A damaged stretch of a segment: one batch, or several where no batch can be told from the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment, by its base.
    pub segment: Offset,
    pub path: PathBuf,
    pub position: u64,
    /// Where the next sound batch starts, or the segment ends.
    pub end_position: u64,
    /// The offsets that cannot be read: from `first` on, below `next`.
    pub first: Offset,
    pub next: Offset,
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, position, end_position, first, next, what, .. } = self;
        let last = next.get() - 1;
        write!(
            f,
            "{}: bytes {position} to {end_position} with offsets {first} to {last} are damaged: {what}",
            path.display()
        )
    }
}

/// The damaged stretches that are known, in the order of their offsets; they do not overlap.
#[derive(Default)]
pub(crate) struct Quarantine(Vec<Damage>);

impl Quarantine {
    pub fn all(&self) -> &[Damage] {
        &self.0
    }

    pub fn holding(&self, offset: Offset) -> Option<&Damage> {
        self.before(offset.next()).filter(|damage| offset < damage.next)
    }

    /// The first damaged offset above `offset`.
    pub fn first_above(&self, offset: Offset) -> Option<Offset> {
        self.0.get(self.0.partition_point(|damage| damage.first <= offset)).map(|damage| damage.first)
    }

    /// The last stretch that starts below `offset`.
    pub fn before(&self, offset: Offset) -> Option<&Damage> {
        self.0.partition_point(|damage| damage.first < offset).checked_sub(1).map(|at| &self.0[at])
    }

    /// Whether it was not known before. What overlaps with known damage makes that larger.
    pub fn add(&mut self, damage: Damage, log_start: Offset) -> bool {
        self.0.retain(|known| known.next > log_start);
        let overlaps = |known: &&mut Damage| damage.first < known.next && known.first < damage.next;
        if let Some(known) = self.0.iter_mut().find(overlaps) {
            if known.segment == damage.segment {
                known.first = known.first.min(damage.first);
                known.position = known.position.min(damage.position);
                known.next = known.next.max(damage.next);
                known.end_position = known.end_position.max(damage.end_position);
            }
            return false;
        }
        if self.0.len() >= MOST_REMEMBERED {
            return false;
        }
        let at = self.0.partition_point(|known| known.first < damage.first);
        self.0.insert(at, damage);
        true
    }

    /// The log ends at `end` now: what is appended there is new.
    pub fn forget_from(&mut self, end: Offset) {
        self.0.retain(|damage| damage.first < end);
    }

    /// These segments were replaced.
    pub fn forget_segments(&mut self, from: Offset, to: Offset) {
        self.0.retain(|damage| damage.segment < from || damage.segment >= to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(first: i64, next: i64) -> Damage {
        let (first, next) = (Offset(first), Offset(next));
        let (position, end_position) = (first.get() as u64 * 10, next.get() as u64 * 10);
        let path = PathBuf::from("/x.log");
        Damage { segment: Offset(0), path, position, end_position, first, next, what: "rot".to_owned() }
    }

    #[test]
    fn stretches_are_found_by_offset_and_told_once() {
        let mut quarantine = Quarantine::default();
        assert!(quarantine.add(damage(50, 60), Offset(0)));
        assert!(quarantine.add(damage(10, 20), Offset(0)));
        assert!(!quarantine.add(damage(55, 65), Offset(0)), "known, only larger");
        let first_of = |offset| quarantine.holding(Offset(offset)).map(|damage| damage.first.get());
        assert_eq!(
            [9, 10, 19, 20, 49, 50, 64, 65].map(first_of),
            [None, Some(10), Some(10), None, None, Some(50), Some(50), None]
        );
        assert_eq!(
            [9, 10, 49, 50].map(|at| quarantine.first_above(Offset(at)).map(Offset::get)),
            [Some(10), Some(50), Some(50), None]
        );
        assert_eq!(quarantine.before(Offset(40)).map(|damage| damage.next), Some(Offset(20)));
        assert!(quarantine.before(Offset(10)).is_none());
        quarantine.forget_from(Offset(50));
        assert_eq!(quarantine.all().len(), 1);
        assert!(quarantine.add(damage(30, 31), Offset(25)), "what the log has lost meanwhile is forgotten");
        assert_eq!(quarantine.all().len(), 1);
        for at in 0..2 * MOST_REMEMBERED as i64 {
            quarantine.add(damage(100 + at * 2, 101 + at * 2), Offset(0));
        }
        assert_eq!(quarantine.all().len(), MOST_REMEMBERED);
    }
}
