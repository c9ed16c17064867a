//! Where each partition's folder lies, by the name of the folder, and what is known of it without opening it.
//!
//! A start knows names only: a hundred thousand folders are one listing. Which topic a folder is of is read from it when that matters.

use std::collections::HashMap;

use dohle_log::Closed;
use dohle_types::{PartitionIndex, TopicId};

/// Which topic a folder is of. Names are given again to younger topics; ids are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Its `partition.metadata` was not read yet.
    Unread,
    Topic(TopicId),
    /// It was not opened and does not say.
    Nameless,
}

#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which of the directories.
    pub directory: usize,
    pub holds: Holds,
    /// Whether its log was opened, and so recovered if that was needed.
    pub opened: bool,
    /// Where its log stood when this process closed it, until it is opened again: its files need no check.
    pub closed: Option<Closed>,
}

impl Place {
    /// A folder that was found in a directory.
    pub fn found(directory: usize) -> Self {
        Self { directory, holds: Holds::Unread, opened: false, closed: None }
    }

    /// A folder that was made for a topic.
    pub fn made(directory: usize, topic: TopicId) -> Self {
        Self { directory, holds: Holds::Topic(topic), opened: true, closed: None }
    }

    pub fn is_of(&self, topic: TopicId) -> bool {
        self.holds == Holds::Topic(topic)
    }
}

/// All places of a node. Topics have few names and partitions without gaps, so that a place costs little more than itself.
#[derive(Debug, Default)]
pub struct Places(HashMap<Box<str>, Vec<(PartitionIndex, Place)>>);

impl Places {
    pub fn get(&self, topic: &str, partition: PartitionIndex) -> Option<&Place> {
        let partitions = self.0.get(topic)?;
        Some(&partitions[find(partitions, partition).ok()?].1)
    }

    pub fn get_mut(&mut self, topic: &str, partition: PartitionIndex) -> Option<&mut Place> {
        let partitions = self.0.get_mut(topic)?;
        let at = find(partitions, partition).ok()?;
        Some(&mut partitions[at].1)
    }

    pub fn insert(&mut self, topic: &str, partition: PartitionIndex, place: Place) {
        let Some(partitions) = self.0.get_mut(topic) else {
            self.0.insert(topic.into(), vec![(partition, place)]);
            return;
        };
        match find(partitions, partition) {
            Ok(at) => partitions[at].1 = place,
            Err(at) => partitions.insert(at, (partition, place)),
        }
    }

    pub fn remove(&mut self, topic: &str, partition: PartitionIndex) {
        let Some(partitions) = self.0.get_mut(topic) else { return };
        if let Ok(at) = find(partitions, partition) {
            partitions.remove(at);
        }
        if partitions.is_empty() {
            self.0.remove(topic);
        }
    }

    pub fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        self.0.retain(|_, partitions| {
            partitions.retain(|(_, place)| keep(place));
            !partitions.is_empty()
        });
    }

    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// The partitions of one topic's name.
    pub fn of_topic(&self, topic: &str) -> impl Iterator<Item = (PartitionIndex, &Place)> {
        self.0.get(topic).into_iter().flatten().map(|(partition, place)| (*partition, place))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, PartitionIndex, &Place)> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|(partition, place)| (&**topic, *partition, place))
        })
    }
}

fn find(partitions: &[(PartitionIndex, Place)], partition: PartitionIndex) -> Result<usize, usize> {
    // Numbered from 0 without gaps where there is one directory.
    match usize::try_from(partition.get()) {
        Ok(at) if partitions.get(at).is_some_and(|(found, _)| *found == partition) => Ok(at),
        _ => partitions.binary_search_by_key(&partition, |(index, _)| *index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_whatever_order_they_came_in() {
        let mut places = Places::default();
        for (at, partition) in [7, 0, 3, 1, 2].into_iter().enumerate() {
            places.insert("a", PartitionIndex(partition), Place::found(at));
        }
        places.insert("b", PartitionIndex(0), Place::found(9));
        let found = |places: &Places, topic, partition| {
            places.get(topic, PartitionIndex(partition)).map(|place| place.directory)
        };
        assert_eq!([7, 0, 3, 1, 2].map(|p| found(&places, "a", p)), [0, 1, 2, 3, 4].map(Some));
        assert_eq!((places.iter().count(), places.len()), (6, 6));
        assert_eq!(places.of_topic("a").map(|(p, _)| p.get()).collect::<Vec<_>>(), [0, 1, 2, 3, 7]);
        places.remove("a", PartitionIndex(0));
        places.remove("b", PartitionIndex(0));
        assert_eq!(
            (found(&places, "a", 0), found(&places, "a", 1), found(&places, "b", 0)),
            (None, Some(3), None)
        );
        assert_eq!(places.iter().count(), 4);
    }
}
