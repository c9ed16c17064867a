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
pub struct Places {
    topics: HashMap<Box<str>, Vec<(PartitionIndex, Place)>>,
    /// How many lie in each of the directories, so that a new one need not count them all.
    counts: Vec<usize>,
}

impl Places {
    pub fn get(&self, topic: &str, partition: PartitionIndex) -> Option<&Place> {
        let partitions = self.topics.get(topic)?;
        Some(&partitions[find(partitions, partition).ok()?].1)
    }

    pub fn get_mut(&mut self, topic: &str, partition: PartitionIndex) -> Option<&mut Place> {
        let partitions = self.topics.get_mut(topic)?;
        let at = find(partitions, partition).ok()?;
        Some(&mut partitions[at].1)
    }

    pub fn insert(&mut self, topic: &str, partition: PartitionIndex, place: Place) {
        if self.counts.len() <= place.directory {
            self.counts.resize(place.directory + 1, 0);
        }
        self.counts[place.directory] += 1;
        let Some(partitions) = self.topics.get_mut(topic) else {
            self.topics.insert(topic.into(), vec![(partition, place)]);
            return;
        };
        match find(partitions, partition) {
            Ok(at) => {
                let before = std::mem::replace(&mut partitions[at].1, place);
                self.counts[before.directory] -= 1;
            }
            Err(at) => partitions.insert(at, (partition, place)),
        }
    }

    pub fn remove(&mut self, topic: &str, partition: PartitionIndex) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        if let Ok(at) = find(partitions, partition) {
            let (_, place) = partitions.remove(at);
            self.counts[place.directory] -= 1;
        }
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
    }

    pub fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        self.topics.retain(|_, partitions| {
            partitions.retain(|(_, place)| {
                let kept = keep(place);
                self.counts[place.directory] -= usize::from(!kept);
                kept
            });
            !partitions.is_empty()
        });
    }

    /// How many lie in a directory.
    pub fn count_in(&self, directory: usize) -> usize {
        self.counts.get(directory).copied().unwrap_or(0)
    }

    pub fn len(&self) -> usize {
        self.topics.values().map(Vec::len).sum()
    }

    /// The partitions of one topic's name.
    pub fn of_topic(&self, topic: &str) -> impl Iterator<Item = (PartitionIndex, &Place)> {
        self.topics.get(topic).into_iter().flatten().map(|(partition, place)| (*partition, place))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, PartitionIndex, &Place)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
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
        assert_eq!([0, 3, 9, 10].map(|at| places.count_in(at)), [1, 1, 1, 0]);
        places.insert("a", PartitionIndex(7), Place::found(3));
        assert_eq!([0, 3].map(|at| places.count_in(at)), [0, 2]);
        places.insert("a", PartitionIndex(7), Place::found(0));
        assert_eq!(places.of_topic("a").map(|(p, _)| p.get()).collect::<Vec<_>>(), [0, 1, 2, 3, 7]);
        places.remove("a", PartitionIndex(0));
        places.remove("b", PartitionIndex(0));
        assert_eq!(
            (found(&places, "a", 0), found(&places, "a", 1), found(&places, "b", 0)),
            (None, Some(3), None)
        );
        assert_eq!(places.iter().count(), 4);
        places.retain(|place| place.directory != 3);
        assert_eq!([0, 1, 3, 9].map(|at| places.count_in(at)), [1, 0, 0, 0]);
    }
}
