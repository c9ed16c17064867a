//! Which leader epoch wrote which offsets.
//!
//! Invariant `EpochsAscend`: epochs and their first offsets both ascend strictly. A new entry that contradicts older ones
//! replaces them, as in Kafka's `LeaderEpochFileCache`.

use dohle_types::{LeaderEpoch, Offset};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl Epochs {
    /// Entries as a checkpoint has them; what contradicts is dropped.
    pub fn of(entries: impl IntoIterator<Item = (LeaderEpoch, Offset)>) -> Self {
        let mut epochs = Self::default();
        for (epoch, start) in entries {
            epochs.assign(epoch, start);
        }
        epochs
    }

    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Notes that `epoch` begins at `start`. Whether that changed anything.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch.get() < 0 {
            return false;
        }
        if let Some(&(latest, latest_start)) = self.entries.last()
            && epoch == latest
            && start >= latest_start
        {
            return false;
        }
        let keep = self.entries.partition_point(|(e, s)| *e < epoch && *s < start);
        self.entries.truncate(keep);
        self.entries.push((epoch, start));
        debug_assert!(self.entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "EpochsAscend");
        true
    }

    /// As a batch of a leader's log says: a later epoch than the latest begins there. One that is known to begin behind it begins there too:
    /// the entry is from before the log was cut, and its leader has gone on.
    pub fn observe(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        let is_later = self.latest().is_none_or(|latest| epoch > latest);
        let known = self.entries.binary_search_by_key(&epoch, |(known, _)| *known);
        let is_earlier = known.is_ok_and(|at| self.entries[at].1 > start);
        (is_later || is_earlier) && self.assign(epoch, start)
    }

    /// The largest epoch not above `requested`, and where it ends. Both `NONE` when that is not known.
    pub fn end_offset_for(&self, requested: LeaderEpoch, end: Offset) -> (LeaderEpoch, Offset) {
        const UNKNOWN: (LeaderEpoch, Offset) = (LeaderEpoch::NONE, Offset::NONE);
        if requested == LeaderEpoch::NONE {
            return UNKNOWN;
        }
        if self.latest() == Some(requested) {
            return (requested, end);
        }
        let above = self.entries.partition_point(|(epoch, _)| *epoch <= requested);
        let Some(&(_, next_start)) = self.entries.get(above) else { return UNKNOWN };
        // Below all known epochs: what it wrote is gone, the log starts with what came next.
        let found = above.checked_sub(1).map_or(requested, |at| self.entries[at].0);
        (found, next_start)
    }

    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// Forgets what begins at or after `end`. Whether that changed anything.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let keep = self.entries.partition_point(|(_, start)| *start < end);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// Lets the log start at `start`: the epoch there begins there. Whether that changed anything.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let covered = self.entries.partition_point(|(_, s)| *s <= start);
        let Some(last) = covered.checked_sub(1) else { return false };
        let changed = last > 0 || self.entries[last].1 != start;
        self.entries.drain(..last);
        self.entries[0].1 = start;
        changed
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        Epochs::of(entries.iter().map(|&(epoch, start)| (LeaderEpoch(epoch), Offset(start))))
    }

    #[test]
    fn assign_keeps_epochs_ascending() {
        for (before, entry, after) in [
            (&[][..], (0, 0), &[(0, 0)][..]),
            (&[(0, 0)], (0, 5), &[(0, 0)]),
            (&[(0, 0)], (1, 5), &[(0, 0), (1, 5)]),
            (&[(0, 0), (1, 5)], (2, 5), &[(0, 0), (2, 5)]),
            (&[(0, 0), (3, 5), (4, 9)], (3, 7), &[(0, 0), (3, 7)]),
            (&[(2, 5)], (1, 9), &[(1, 9)]),
            (&[(2, 5)], (2, 3), &[(2, 3)]),
        ] {
            let mut found = epochs(before);
            found.assign(LeaderEpoch(entry.0), Offset(entry.1));
            assert_eq!(found, epochs(after), "{before:?} {entry:?}");
        }
    }

    #[test]
    fn batches_tell_what_an_old_file_has_wrong() {
        for (before, entry, after) in [
            (&[(2, 5)][..], (3, 9), &[(2, 5), (3, 9)][..]),
            (&[(2, 5)], (2, 9), &[(2, 5)]),
            // Cut at 7 since, and gone on with in the same epoch.
            (&[(2, 5), (3, 9)], (3, 7), &[(2, 5), (3, 7)]),
            (&[(2, 5), (3, 9)], (4, 7), &[(2, 5), (4, 7)]),
            // An older epoch says nothing.
            (&[(4, 5)], (3, 7), &[(4, 5)]),
        ] {
            let mut found = epochs(before);
            let changed = found.observe(LeaderEpoch(entry.0), Offset(entry.1));
            assert_eq!((&found, changed), (&epochs(after), before != after), "{before:?} {entry:?}");
        }
    }

    #[test]
    fn end_offsets() {
        let found = epochs(&[(2, 10), (4, 20), (7, 30)]);
        for (requested, expected) in [
            (-1, (-1, -1)),
            (0, (0, 10)),
            (2, (2, 20)),
            (3, (2, 20)),
            (4, (4, 30)),
            (6, (4, 30)),
            (7, (7, 40)),
            (8, (-1, -1)),
        ] {
            let (epoch, offset) = found.end_offset_for(LeaderEpoch(requested), Offset(40));
            assert_eq!((epoch.get(), offset.get()), expected, "{requested}");
        }
        assert_eq!(epochs(&[]).end_offset_for(LeaderEpoch(0), Offset(0)), (LeaderEpoch::NONE, Offset::NONE));
    }

    #[test]
    fn truncations() {
        let mut found = epochs(&[(2, 10), (4, 20), (7, 30)]);
        assert!(!found.truncate_from_end(Offset(31)));
        assert!(found.truncate_from_end(Offset(30)));
        assert_eq!(found, epochs(&[(2, 10), (4, 20)]));
        assert!(!found.truncate_from_start(Offset(10)));
        assert!(found.truncate_from_start(Offset(15)));
        assert_eq!(found, epochs(&[(2, 15), (4, 20)]));
        assert!(found.truncate_from_start(Offset(25)));
        assert_eq!(found, epochs(&[(4, 25)]));
        assert_eq!(found.epoch_of(Offset(24)), None);
        assert_eq!(found.epoch_of(Offset(26)), Some(LeaderEpoch(4)));
    }
}
