//! The topics of a world.

use dohle_coordinator::topics::{Topic, Topics};
use dohle_types::TopicId;
use dohle_wire::Text;

/// Topics by number. They grow and never go.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    topics: Vec<(TopicId, Text, i32)>,
}

impl Catalog {
    pub fn add(&mut self, partitions: i32) {
        let number = self.topics.len() as u128;
        let id = TopicId::from_u128(0x5000_0000_0000_0000_0000_0000_0000_0000 + number);
        self.topics.push((id, Text::from(format!("t{number}")), partitions));
    }

    pub fn len(&self) -> usize {
        self.topics.len()
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// One partition more.
    pub fn grow(&mut self, topic: usize) -> Text {
        self.topics[topic].2 += 1;
        self.topics[topic].1.clone()
    }

    pub fn id(&self, topic: usize) -> TopicId {
        self.topics[topic].0
    }

    pub fn name(&self, topic: usize) -> &Text {
        &self.topics[topic].1
    }

    pub fn partitions(&self, topic: usize) -> i32 {
        self.topics[topic].2
    }

    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.topics.iter().position(|(_, its_name, _)| its_name.as_str() == name)
    }

    pub fn by_id(&self, id: TopicId) -> Option<usize> {
        self.topics.iter().position(|(its_id, ..)| *its_id == id)
    }

    /// As the coordinator is told of them.
    pub fn topics(&self) -> Topics {
        let mut topics = Topics::default();
        for (id, name, partitions) in &self.topics {
            topics.insert(Topic { id: *id, name: name.clone(), partitions: *partitions, racks: Vec::new() });
        }
        topics
    }
}
