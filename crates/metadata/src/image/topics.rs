//! The topics by id and by name.

use std::sync::Arc;

use dohle_types::{PartitionIndex, TopicId};
use dohle_wire::Text;
use dohle_wire::messages::{PartitionChangeRecord, PartitionRecord, TopicRecord};
use imbl::OrdMap;

use super::PartitionState;

/// The partitions of one topic, sorted by number. A plain vector: most topics are small, and all of it moves together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions(Vec<(PartitionIndex, Arc<PartitionState>)>);

impl Partitions {
    pub fn get(&self, index: PartitionIndex) -> Option<&PartitionState> {
        self.find(index).ok().map(|at| &*self.0[at].1)
    }

    /// A handle on one partition, for whoever keeps it beyond the image.
    pub fn get_shared(&self, index: PartitionIndex) -> Option<&Arc<PartitionState>> {
        self.find(index).ok().map(|at| &self.0[at].1)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (PartitionIndex, &PartitionState)> {
        self.0.iter().map(|(index, state)| (*index, &**state))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, index: PartitionIndex) -> Result<usize, usize> {
        // Partitions are numbered from 0 without gaps, but for a moment while a topic is being replayed.
        match usize::try_from(index.get()) {
            Ok(at) if self.0.get(at).is_some_and(|(found, _)| *found == index) => Ok(at),
            _ => self.0.binary_search_by_key(&index, |(index, _)| *index),
        }
    }

    fn set(&mut self, index: PartitionIndex, state: PartitionState) {
        match self.find(index) {
            Ok(at) => self.0[at].1 = Arc::new(state),
            Err(at) => self.0.insert(at, (index, Arc::new(state))),
        }
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: Text,
    pub id: TopicId,
    pub partitions: Partitions,
}

/// All topics. A name leads to an id, an id to everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    by_id: OrdMap<TopicId, Arc<Topic>>,
    by_name: OrdMap<Text, TopicId>,
    /// Names with `.` or `_`, under the name with every `.` made `_`: metrics cannot tell them apart. More than one name in a
    /// set comes from clusters older than that rule.
    colliding: OrdMap<Text, Vec<Text>>,
}

impl Topics {
    pub fn by_name(&self, name: &str) -> Option<&Topic> {
        self.by_id(*self.by_name.get(name)?)
    }

    pub fn by_id(&self, id: TopicId) -> Option<&Topic> {
        self.by_id.get(&id).map(|topic| &**topic)
    }

    /// A handle on one topic, for whoever keeps it beyond the image.
    pub fn by_id_shared(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    pub fn id_of(&self, name: &str) -> Option<TopicId> {
        self.by_name.get(name).copied()
    }

    /// Sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values().map(|id| &*self.by_id[id])
    }

    /// Sorted by name, from the first name that is not before `name`.
    pub fn iter_from(&self, name: &str) -> impl Iterator<Item = &Topic> {
        self.by_name
            .range::<_, str>((std::ops::Bound::Included(name), std::ops::Bound::Unbounded))
            .map(|(_, id)| &*self.by_id[id])
    }

    /// The topics that differ between two images: `(before, after)`, either side `None` for a topic that is new or gone.
    /// Costs what differs, not what there is.
    pub fn changes<'a>(
        &'a self,
        after: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a Arc<Topic>>, Option<&'a Arc<Topic>>)> + 'a {
        self.by_id.diff(&after.by_id).map(|item| match item {
            imbl::ordmap::DiffItem::Add(_, topic) => (None, Some(topic)),
            imbl::ordmap::DiffItem::Update { old: (_, before), new: (_, now) } => (Some(before), Some(now)),
            imbl::ordmap::DiffItem::Remove(_, topic) => (Some(topic), None),
        })
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// An existing topic whose name metrics could not tell from `name`.
    pub fn colliding_with(&self, name: &str) -> Option<&Text> {
        has_collision_chars(name).then(|| self.colliding.get(&*unified(name))?.first()).flatten()
    }

    pub(super) fn add(&mut self, record: &TopicRecord) -> Result<(), String> {
        let (name, id) = (record.name.detached(), record.topic_id);
        if let Some(existing) = self.by_name.get(&*name) {
            return Err(format!("topic {name} gets the id {id}, but has {existing}"));
        }
        if let Some(existing) = self.by_id.get(&id) {
            return Err(format!("topic id {id} is given to {name}, but belongs to {}", existing.name));
        }
        if has_collision_chars(&name) {
            self.colliding.entry(Text::from(unified(&name))).or_default().push(name.clone());
        }
        self.by_name.insert(name.clone(), id);
        self.by_id.insert(id, Arc::new(Topic { name, id, partitions: Partitions::default() }));
        Ok(())
    }

    pub(super) fn set_partition(&mut self, record: &PartitionRecord) -> Result<(), String> {
        let state = PartitionState::from_record(record)?;
        self.topic_mut(record.topic_id)?.partitions.set(PartitionIndex(record.partition_id), state);
        Ok(())
    }

    pub(super) fn change_partition(&mut self, record: &PartitionChangeRecord) -> Result<(), String> {
        let index = PartitionIndex(record.partition_id);
        let before = self.by_id(record.topic_id).and_then(|topic| topic.partitions.get(index));
        let before = before.ok_or_else(|| format!("there is no partition {}-{index}", record.topic_id))?;
        let after = before.merged(record)?;
        self.topic_mut(record.topic_id)?.partitions.set(index, after);
        Ok(())
    }

    /// Forgets the topic and tells its name.
    pub(super) fn remove(&mut self, id: TopicId) -> Result<Text, String> {
        let topic = self.by_id.remove(&id).ok_or_else(|| format!("there is no topic {id} to remove"))?;
        self.by_name.remove(&*topic.name);
        let key = unified(&topic.name);
        if let Some(names) = self.colliding.get_mut(&*key) {
            names.retain(|name| *name != topic.name);
            if names.is_empty() {
                self.colliding.remove(&*key);
            }
        }
        Ok(topic.name.clone())
    }

    /// Empties the ELRs of one topic, or of all when the name is empty.
    pub(super) fn clear_elr(&mut self, name: &str) -> Result<(), String> {
        let ids: Vec<TopicId> = if name.is_empty() {
            self.by_id.keys().copied().collect()
        } else {
            vec![self.id_of(name).ok_or_else(|| format!("there is no topic {name} to clear the ELRs of"))?]
        };
        for id in ids {
            let keeps_some =
                |state: &PartitionState| !state.elr.is_empty() || !state.last_known_elr.is_empty();
            if !self.by_id[&id].partitions.iter().any(|(_, state)| keeps_some(state)) {
                continue;
            }
            for (index, state) in &mut self.topic_mut(id)?.partitions.0 {
                if keeps_some(state) {
                    let change = PartitionChangeRecord {
                        partition_id: index.get(),
                        topic_id: id,
                        eligible_leader_replicas: Some(Vec::new()),
                        last_known_elr: Some(Vec::new()),
                        ..Default::default()
                    };
                    *state = Arc::new(state.merged(&change)?);
                }
            }
        }
        Ok(())
    }

    fn topic_mut(&mut self, id: TopicId) -> Result<&mut Topic, String> {
        self.by_id.get_mut(&id).map(Arc::make_mut).ok_or_else(|| format!("there is no topic {id}"))
    }
}

fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

fn unified(name: &str) -> String {
    name.replace('.', "_")
}
