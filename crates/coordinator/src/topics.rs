//! What coordinators know of topics: names, ids, partitions and where their replicas stand. The shell keeps it in step with the
//! cluster's metadata; a clone shares everything.

use std::collections::BTreeSet;
use std::sync::Arc;

use dohle_types::TopicId;
use dohle_wire::Text;

/// The racks of a partition's replicas.
pub type Racks = BTreeSet<Text>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: TopicId,
    pub name: Text,
    pub partitions: i32,
    /// The racks of each partition's replicas; empty when no broker has a rack.
    pub racks: Vec<Racks>,
}

/// All topics at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topics {
    by_name: imbl::OrdMap<Text, Arc<Topic>>,
    by_id: imbl::OrdMap<TopicId, Arc<Topic>>,
}

/// What became of topics between two moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Created, grown, or with replicas on other racks.
    pub changed: Vec<Text>,
    pub deleted: Vec<(Text, TopicId)>,
}

impl Topics {
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// In the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Adds a topic or replaces the one of its name.
    pub fn insert(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        if let Some(before) = self.by_name.insert(topic.name.clone(), topic.clone()) {
            self.by_id.remove(&before.id);
        }
        self.by_id.insert(topic.id, topic);
    }

    pub fn remove(&mut self, id: TopicId) {
        if let Some(topic) = self.by_id.remove(&id) {
            self.by_name.remove(&topic.name);
        }
    }
}
