//! The topics of a world.

use std::collections::BTreeMap;

use dohle_coordinator::topics::{Topic, Topics};
use dohle_types::TopicId;
use dohle_wire::Text;

/// Topics by number. They grow, go, and come again as younger topics of the same name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    topics: Vec<Named>,
    /// All ids that there ever were, and whose they were.
    ids: BTreeMap<TopicId, usize>,
}

#[derive(Clone, Debug)]
struct Named {
    name: Text,
    /// Of the topic that has the name, or had it last.
    id: TopicId,
    partitions: i32,
    exists: bool,
}

impl Catalog {
    pub fn add(&mut self, partitions: i32) {
        let number = self.topics.len();
        let id = self.new_id(number);
        self.topics.push(Named { name: Text::from(format!("t{number}")), id, partitions, exists: true });
    }

    fn new_id(&mut self, topic: usize) -> TopicId {
        let made = self.ids.len() as u128;
        let id = TopicId::from_u128(0x5000_0000_0000_0000_0000_0000_0000_0000 + made);
        self.ids.insert(id, topic);
        id
    }

    pub fn len(&self) -> usize {
        self.topics.len()
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// One partition more.
    pub fn grow(&mut self, topic: usize) {
        self.topics[topic].partitions += 1;
    }

    /// The topic goes, with its id.
    pub fn delete(&mut self, topic: usize) {
        self.topics[topic].exists = false;
    }

    /// Another topic takes the name.
    pub fn create(&mut self, topic: usize, partitions: i32) {
        let id = self.new_id(topic);
        let named = &mut self.topics[topic];
        (named.id, named.partitions, named.exists) = (id, partitions, true);
    }

    pub fn exists(&self, topic: usize) -> bool {
        self.topics[topic].exists
    }

    pub fn id(&self, topic: usize) -> TopicId {
        self.topics[topic].id
    }

    pub fn name(&self, topic: usize) -> &Text {
        &self.topics[topic].name
    }

    /// None of a topic that is gone.
    pub fn partitions(&self, topic: usize) -> i32 {
        if self.topics[topic].exists { self.topics[topic].partitions } else { 0 }
    }

    /// The topic that has the name.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.topics.iter().position(|topic| topic.exists && topic.name.as_str() == name)
    }

    /// Whose id it is or was.
    pub fn by_id(&self, id: TopicId) -> Option<usize> {
        self.ids.get(&id).copied()
    }

    /// The topic that has the id.
    pub fn living(&self, id: TopicId) -> Option<usize> {
        self.by_id(id).filter(|topic| self.topics[*topic].exists && self.topics[*topic].id == id)
    }

    /// What a client may compare to see that something has changed.
    pub fn picture(&self) -> Vec<(TopicId, i32)> {
        (0..self.len()).map(|topic| (self.id(topic), self.partitions(topic))).collect()
    }

    /// As the coordinator is told of them.
    pub fn topics(&self) -> Topics {
        let mut topics = Topics::default();
        for Named { id, name, partitions, .. } in self.topics.iter().filter(|topic| topic.exists) {
            topics.insert(Topic { id: *id, name: name.clone(), partitions: *partitions, racks: Vec::new() });
        }
        topics
    }
}
