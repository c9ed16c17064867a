//! A simulated partition: what is stored, what is under way, and what becomes of it when the process dies.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

/// A record as it lies in the log; no value is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub offset: i64,
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A batch that is stored as a whole or not at all, and what is to be done once it is.
#[derive(Debug)]
struct Pending<T> {
    entries: Vec<Entry>,
    then: T,
}

/// One partition's log. Batches are stored in the order in which they are appended.
#[derive(Debug)]
pub struct Log<T> {
    stored: Vec<Entry>,
    pending: VecDeque<Pending<T>>,
    end: i64,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self { stored: Vec::new(), pending: VecDeque::new(), end: 0 }
    }
}

impl<T> Log<T> {
    /// Appends a batch, which may hold nothing. It is stored by [`Log::flush`].
    pub fn append(&mut self, records: impl IntoIterator<Item = (Bytes, Option<Bytes>)>, then: T) {
        let mut entries = Vec::new();
        for (key, value) in records {
            entries.push(Entry { offset: self.end, key, value });
            self.end += 1;
        }
        self.pending.push_back(Pending { entries, then });
    }

    /// The oldest batch under way is stored. Returns what it held, and what is to be done.
    pub fn flush(&mut self) -> Option<(Vec<Entry>, T)> {
        let batch = self.pending.pop_front()?;
        self.stored.extend(batch.entries.iter().cloned());
        Some((batch.entries, batch.then))
    }

    /// What is under way is lost. Returns what was to be done.
    pub fn lose_pending(&mut self) -> Vec<T> {
        self.end = self.stored.last().map_or(0, |last| last.offset + 1);
        self.pending.drain(..).map(|batch| batch.then).collect()
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    pub fn pending_entries(&self) -> impl Iterator<Item = &Entry> {
        self.pending.iter().flat_map(|batch| &batch.entries)
    }

    pub fn stored(&self) -> &[Entry] {
        &self.stored
    }

    /// The stored records as a cleaner leaves them: the newest of each key, and tombstones only from `keep_tombstones_from` on.
    pub fn compacted(&self, keep_tombstones_from: i64) -> Vec<Entry> {
        let newest: BTreeMap<&Bytes, i64> =
            self.stored.iter().map(|entry| (&entry.key, entry.offset)).collect();
        let stays = |entry: &&Entry| {
            newest[&entry.key] == entry.offset
                && (entry.value.is_some() || entry.offset >= keep_tombstones_from)
        };
        self.stored.iter().filter(stays).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &'static str, value: &'static str) -> (Bytes, Option<Bytes>) {
        (Bytes::from(key), (!value.is_empty()).then(|| Bytes::from(value)))
    }

    #[test]
    fn what_was_not_flushed_is_lost_and_its_offsets_come_again() {
        let mut log = Log::default();
        log.append([record("a", "1")], 'x');
        log.append([record("b", "1"), record("a", "2")], 'y');
        assert_eq!(log.flush().map(|(entries, then)| (entries.len(), then)), Some((1, 'x')));
        assert_eq!(log.lose_pending(), ['y']);
        log.append([record("c", "1")], 'z');
        log.flush();
        assert_eq!(log.stored().iter().map(|entry| entry.offset).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_cleaner_leaves_the_newest_of_each_key() {
        let mut log = Log::default();
        log.append(
            [record("a", "1"), record("b", "1"), record("a", "2"), record("b", ""), record("c", "")],
            (),
        );
        log.flush();
        let offsets = |from| log.compacted(from).iter().map(|entry| entry.offset).collect::<Vec<_>>();
        assert_eq!((offsets(0), offsets(4), offsets(5)), (vec![2, 3, 4], vec![2, 4], vec![2]));
    }
}
