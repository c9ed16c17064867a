//! What coordinators know of topics: names, ids, partitions and where their replicas stand. The shell keeps it in step with the
//! cluster's metadata; a clone shares everything.

use std::sync::{Arc, OnceLock};

use dohle_types::TopicId;
use dohle_wire::Text;
use twox_hash::XxHash3_64;

/// The racks of a partition's replicas: one entry for each replica whose broker has a rack.
pub type Racks = Vec<Text>;

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
    by_name: imbl::OrdMap<Text, Known>,
    by_id: imbl::OrdMap<TopicId, Arc<Topic>>,
    version: i64,
}

/// What became of topics between two moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Created, grown, or with replicas on other racks.
    pub changed: Vec<Text>,
    pub deleted: Vec<(Text, TopicId)>,
}

/// A topic and its hash, once somebody asked for it.
#[derive(Clone, Debug)]
struct Known {
    topic: Arc<Topic>,
    hash: Arc<OnceLock<TopicHash>>,
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.topic == other.topic
    }
}

impl Topics {
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name).map(|known| &known.topic)
    }

    pub fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// The hash of a topic; it is computed once for all that share it.
    pub fn hash_of(&self, name: &str) -> Option<TopicHash> {
        self.by_name.get(name).map(|known| *known.hash.get_or_init(|| TopicHash::of(&known.topic)))
    }

    /// In the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values().map(|known| &known.topic)
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
        let known = Known { topic: topic.clone(), hash: Arc::default() };
        if let Some(before) = self.by_name.insert(topic.name.clone(), known) {
            self.by_id.remove(&before.topic.id);
        }
        self.by_id.insert(topic.id, topic);
    }

    pub fn remove(&mut self, id: TopicId) {
        if let Some(topic) = self.by_id.remove(&id) {
            self.by_name.remove(&topic.name);
        }
    }

    /// The offset of the cluster's metadata that this state is of; it is written down with what was derived from it.
    pub fn version(&self) -> i64 {
        self.version
    }

    pub fn set_version(&mut self, version: i64) {
        self.version = version;
    }
}

/// What a group must notice of a topic, in 64 bits: its id, name, partitions and racks.
///
/// It is part of Kafka's records, so it is computed as Kafka's `Utils.computeTopicHash` does (XXH3 over hash4j's stream): integers in
/// little endian, text as UTF-16 in little endian followed by its length in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicHash(u64);

/// The layout of what is hashed.
const TOPIC_HASH_VERSION: u8 = 0;

impl TopicHash {
    fn of(topic: &Topic) -> Self {
        let mut bytes = vec![TOPIC_HASH_VERSION];
        let (high, low) = topic.id.0.split_at(8);
        bytes.extend(high.iter().rev());
        bytes.extend(low.iter().rev());
        put_text(&mut bytes, &topic.name);
        bytes.extend(topic.partitions.to_le_bytes());
        for partition in 0..topic.partitions {
            bytes.extend(partition.to_le_bytes());
            let racks = usize::try_from(partition).ok().and_then(|index| topic.racks.get(index));
            let mut racks: Vec<&Text> = racks.into_iter().flatten().collect();
            racks.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            for rack in racks {
                bytes.extend(utf16_length(rack).to_le_bytes());
                put_text(&mut bytes, rack);
            }
        }
        Self(XxHash3_64::oneshot(&bytes))
    }

    /// The hash of several topics, given in the order of their names; 0 of none. The number is the one in Kafka's records.
    pub fn of_all(hashes: impl Iterator<Item = Self>) -> i64 {
        let bytes: Vec<u8> = hashes.flat_map(|hash| hash.0.to_le_bytes()).collect();
        if bytes.is_empty() { 0 } else { XxHash3_64::oneshot(&bytes).cast_signed() }
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes.extend(utf16_length(text).to_le_bytes());
}

/// Names are short, so the number fits.
fn utf16_length(text: &str) -> i32 {
    i32::try_from(text.encode_utf16().count()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are those of hash4j 0.22 and Kafka 4.3.1's `Utils`.
    #[test]
    fn hashes_are_kafkas() {
        let id = TopicId::from_u128(0x0102_0304_0506_0708_1112_1314_1516_1718);
        let racks = vec![vec![Text::from("r2"), Text::from("r1")], vec![]];
        let mut topics = Topics::default();
        topics.insert(Topic { id, name: "foo".into(), partitions: 2, racks });
        assert_eq!(topics.hash_of("foo"), Some(TopicHash(825_779_974_873_462_733)));
        assert_eq!(topics.hash_of("bar"), None);
        let two = [TopicHash(5), TopicHash((-7i64).cast_unsigned())];
        assert_eq!(TopicHash::of_all(two.into_iter()), -4_646_943_608_980_624_969);
        assert_eq!(TopicHash::of_all(std::iter::empty()), 0);
    }
}
