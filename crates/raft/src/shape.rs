//! What the core knows of the log: where it starts and ends, which epoch wrote which part, what is flushed and what is in a
//! snapshot. The records themselves are the shell's.

use dohle_types::{LeaderEpoch, Offset};

/// A place in the log together with the epoch that wrote what is before it. Ordered by epoch first: of two logs the one whose
/// end is greater holds everything that can have been committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogPoint {
    pub epoch: LeaderEpoch,
    pub offset: Offset,
}

impl LogPoint {
    pub const fn new(offset: Offset, epoch: LeaderEpoch) -> Self {
        Self { epoch, offset }
    }
}

/// A snapshot holds everything below `offset`; `epoch` is that of the last record in it. It names the snapshot's file.
pub type SnapshotId = LogPoint;

/// The snapshot that a folder is formatted with: it carries voters, not records.
pub const BOOTSTRAP_SNAPSHOT: SnapshotId = LogPoint::new(Offset::ZERO, LeaderEpoch(0));

/// The outline of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogShape {
    start: Offset,
    end: Offset,
    flushed: Offset,
    /// Where each epoch's records start, ascending in both.
    epochs: Vec<LogPoint>,
    /// Snapshots that are stored, ascending.
    snapshots: Vec<SnapshotId>,
}

/// How a replica's end of log relates to this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is a prefix of this log.
    Prefix,
    /// It is not: the replica has to truncate to this point and ask again.
    Diverging(LogPoint),
    /// What follows it is only in a snapshot.
    Snapshotted(SnapshotId),
}

impl LogShape {
    /// A log as it was found: everything that was read back counts as flushed. `epochs` are the places where each epoch starts.
    pub fn recovered(start: Offset, end: Offset, epochs: Vec<LogPoint>, snapshots: Vec<SnapshotId>) -> Self {
        assert!(start <= end, "a log ends where it starts or later");
        assert!(epochs.is_sorted_by(|a, b| a.epoch < b.epoch && a.offset <= b.offset), "epochs ascend");
        assert!(snapshots.is_sorted_by(|a, b| a.offset < b.offset), "snapshots ascend");
        Self { start, end, flushed: end, epochs, snapshots }
    }

    pub fn start(&self) -> Offset {
        self.start
    }

    pub fn end(&self) -> Offset {
        self.end
    }

    pub fn flushed(&self) -> Offset {
        self.flushed
    }

    pub fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.last().copied()
    }

    pub fn earliest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.first().copied()
    }

    /// The epoch of the last record, in the log or else in the snapshot it starts after.
    pub fn last_epoch(&self) -> LeaderEpoch {
        let logged = self.epochs.last().filter(|_| self.end > self.start).map(|point| point.epoch);
        logged.or(self.latest_snapshot().map(|id| id.epoch)).unwrap_or(LeaderEpoch(0))
    }

    /// The point at `offset`: the epoch is that of the record before it.
    pub fn point_at(&self, offset: Offset) -> LogPoint {
        let after = self.epochs.partition_point(|point| point.offset < offset);
        let logged = after.checked_sub(1).map(|last| self.epochs[last].epoch);
        let snapshot = self.snapshots.iter().rev().find(|id| id.offset <= offset).map(|id| id.epoch);
        LogPoint::new(offset, logged.or(snapshot).unwrap_or(LeaderEpoch(0)))
    }

    pub fn last_point(&self) -> LogPoint {
        LogPoint::new(self.end, self.last_epoch())
    }

    /// The largest epoch not above `epoch`, and where its records end.
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> LogPoint {
        let after = self.epochs.partition_point(|point| point.epoch <= epoch);
        if after == 0 {
            return match self.earliest_snapshot() {
                Some(id) if id.offset == self.start => LogPoint::new(self.start, id.epoch),
                _ => LogPoint::new(self.start, LeaderEpoch(0)),
            };
        }
        let end = self.epochs.get(after).map_or(self.end, |next| next.offset);
        LogPoint::new(end, self.epochs[after - 1].epoch)
    }

    /// How a log that ends at `point` relates to this one.
    pub fn relation(&self, point: LogPoint) -> Relation {
        let from_nothing = point == BOOTSTRAP_SNAPSHOT;
        if from_nothing && self.start == Offset::ZERO {
            // A snapshot is always cheaper than the log from its first record on.
            return match self.latest_snapshot() {
                Some(id) if id != BOOTSTRAP_SNAPSHOT => Relation::Snapshotted(id),
                _ => Relation::Prefix,
            };
        }
        if let (Some(earliest), Some(latest)) = (self.earliest_snapshot(), self.latest_snapshot()) {
            let other_snapshot = self.start != Offset::ZERO
                && point.offset == self.start
                && self.start == earliest.offset
                && point.epoch != earliest.epoch;
            if point.offset < self.start || other_snapshot || point.epoch < earliest.epoch {
                return Relation::Snapshotted(latest);
            }
        }
        let end = self.end_of_epoch(point.epoch);
        if end.epoch != point.epoch || end.offset < point.offset {
            Relation::Diverging(end)
        } else {
            Relation::Prefix
        }
    }

    /// Where to cut this log when a leader says that it diverges at `point`.
    pub fn truncation_for(&self, point: LogPoint) -> Offset {
        let own = self.end_of_epoch(point.epoch);
        let cut = if point.epoch == LeaderEpoch(0) {
            point.offset.min(self.end)
        } else if own.epoch == point.epoch {
            own.offset.min(point.offset)
        } else {
            own.offset
        };
        cut.max(self.start)
    }

    pub(crate) fn append(&mut self, base: Offset, records: u32, epoch: LeaderEpoch) {
        assert_eq!(base, self.end, "an append continues the log");
        assert!(records > 0, "a batch holds records");
        match self.epochs.last() {
            Some(last) if last.epoch >= epoch => {
                assert_eq!(last.epoch, epoch, "epochs never fall along the log")
            }
            _ => self.epochs.push(LogPoint::new(base, epoch)),
        }
        self.end = base.plus(i64::from(records));
    }

    pub(crate) fn mark_flushed(&mut self, up_to: Offset) {
        self.flushed = self.flushed.max(up_to.min(self.end));
    }

    pub(crate) fn truncate(&mut self, end: Offset) {
        assert!(end >= self.start, "the log keeps its start");
        self.epochs.retain(|point| point.offset < end);
        self.end = self.end.min(end);
        self.flushed = self.flushed.min(end);
    }

    pub(crate) fn add_snapshot(&mut self, id: SnapshotId) {
        if self.snapshots.last().is_none_or(|last| last.offset < id.offset) {
            self.snapshots.push(id);
        }
    }

    /// Forgets what is below `start` and the snapshots before `earliest`.
    pub(crate) fn trim(&mut self, start: Offset, earliest: SnapshotId) {
        self.start = self.start.max(start.min(self.end));
        self.snapshots.retain(|id| id.offset >= earliest.offset);
        // The last epoch that starts at or below the new start covers it.
        let covering = self.epochs.partition_point(|point| point.offset <= self.start);
        if covering > 1 {
            self.epochs.drain(..covering - 1);
        }
        if let Some(first) = self.epochs.first_mut() {
            first.offset = first.offset.max(self.start);
        }
    }

    /// Starts over after `snapshot`, which holds everything below.
    pub(crate) fn restart_after(&mut self, snapshot: SnapshotId) {
        *self = Self {
            start: snapshot.offset,
            end: snapshot.offset,
            flushed: snapshot.offset,
            epochs: Vec::new(),
            snapshots: vec![snapshot],
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64, epoch: i32) -> LogPoint {
        LogPoint::new(Offset(offset), LeaderEpoch(epoch))
    }

    fn three_epochs() -> LogShape {
        let mut shape = LogShape::default();
        shape.append(Offset(0), 10, LeaderEpoch(1));
        shape.append(Offset(10), 5, LeaderEpoch(3));
        shape.append(Offset(15), 1, LeaderEpoch(4));
        shape
    }

    #[test]
    fn relation_finds_the_fork() {
        let shape = three_epochs();
        assert_eq!(shape.relation(at(0, 0)), Relation::Prefix);
        assert_eq!(shape.relation(at(10, 1)), Relation::Prefix);
        assert_eq!(shape.relation(at(12, 1)), Relation::Diverging(at(10, 1)));
        assert_eq!(shape.relation(at(12, 2)), Relation::Diverging(at(10, 1)));
        assert_eq!(shape.relation(at(16, 4)), Relation::Prefix);
        assert_eq!(shape.relation(at(17, 4)), Relation::Diverging(at(16, 4)));
        assert_eq!(shape.relation(at(12, 9)), Relation::Diverging(at(16, 4)));
    }

    #[test]
    fn relation_sends_to_the_snapshot_below_the_start() {
        let mut shape = three_epochs();
        shape.add_snapshot(at(12, 3));
        assert_eq!(shape.relation(at(0, 0)), Relation::Snapshotted(at(12, 3)));
        assert_eq!(shape.relation(at(5, 1)), Relation::Snapshotted(at(12, 3)));
        shape.trim(Offset(12), at(12, 3));
        assert_eq!(shape.start(), Offset(12));
        assert_eq!(shape.relation(at(12, 3)), Relation::Prefix);
        assert_eq!(shape.relation(at(12, 2)), Relation::Snapshotted(at(12, 3)));
        assert_eq!(shape.relation(at(14, 3)), Relation::Prefix);
        assert_eq!(shape.last_point(), at(16, 4));
    }

    #[test]
    fn truncation_keeps_the_common_part() {
        let mut shape = three_epochs();
        shape.mark_flushed(Offset(16));
        assert_eq!(shape.truncation_for(at(12, 3)), Offset(12));
        assert_eq!(shape.truncation_for(at(12, 2)), Offset(10));
        shape.truncate(Offset(12));
        assert_eq!(
            (shape.end(), shape.flushed(), shape.last_epoch()),
            (Offset(12), Offset(12), LeaderEpoch(3))
        );
        shape.restart_after(at(40, 7));
        assert_eq!(shape.last_point(), at(40, 7));
        shape.append(Offset(40), 1, LeaderEpoch(8));
        assert_eq!(shape.relation(at(40, 7)), Relation::Prefix);
    }
}
