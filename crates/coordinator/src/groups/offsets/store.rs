//! The offsets of a shard's groups, and what open transactions hold back.

use std::collections::{BTreeMap, BTreeSet};

use dohle_types::{ProducerId, TopicId};
use dohle_wire::Text;
use dohle_wire::messages as m;

use crate::small_map::SmallMap;

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub offset: i64,
    /// `-1` for none.
    pub leader_epoch: i32,
    /// Most have none, and room is kept for many.
    pub metadata: Option<Box<str>>,
    pub timestamp_ms: i64,
    /// When a client of old has asked for it; `-1` for none.
    pub expires_ms: i64,
    /// The zero id when the committer did not know it.
    pub topic_id: TopicId,
    /// Its place among all commits of the shard.
    order: u64,
}

impl Committed {
    /// A copy: what was read back lies in a block of the log, what was asked for in a request, and neither is to stay for this.
    pub fn of(value: &m::OffsetCommitValue) -> Self {
        let metadata = (!value.metadata.is_empty()).then(|| value.metadata.as_str().into());
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata,
            timestamp_ms: value.commit_timestamp,
            expires_ms: value.expire_timestamp,
            topic_id: value.topic_id,
            order: 0,
        }
    }
}

type ByPartition<T> = SmallMap<Text, SmallMap<i32, T>>;

/// The offsets of a shard's groups. Only replay changes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    by_group: BTreeMap<Text, ByPartition<Committed>>,
    /// What transactions that have not ended have committed.
    pending: BTreeMap<ProducerId, BTreeMap<Text, ByPartition<Committed>>>,
    /// The same the other way round: who holds a partition back.
    open: BTreeMap<Text, ByPartition<BTreeSet<ProducerId>>>,
    /// Records are replayed in the order of the log, which makes their count as good as their offsets, also before they have any.
    replayed: u64,
}

impl Offsets {
    pub(super) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        get(&self.by_group, group, topic, partition)
    }

    /// How many offsets are kept, without those that are pending.
    pub(in crate::groups) fn count(&self) -> u64 {
        self.by_group.values().flat_map(SmallMap::values).map(|partitions| partitions.len() as u64).sum()
    }

    /// Whether an open transaction has an offset pending for the partition.
    pub(super) fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        get(&self.open, group, topic, partition).is_some()
    }

    /// Whether an open transaction has any offset pending for the group.
    pub(super) fn has_open_transactions(&self, group: &str) -> bool {
        self.open.contains_key(group)
    }

    /// A group's topics, their partitions and offsets, in order.
    pub(super) fn topics(&self, group: &str) -> impl Iterator<Item = (&Text, &SmallMap<i32, Committed>)> {
        self.by_group.get(group).into_iter().flatten()
    }

    pub(super) fn partitions(&self, group: &str) -> impl Iterator<Item = (&Text, i32)> {
        self.topics(group).flat_map(|(topic, of)| of.keys().map(move |partition| (topic, *partition)))
    }

    /// The partitions for which there is nothing but what transactions hold back.
    pub(super) fn pending_only(&self, group: &Text) -> impl Iterator<Item = (&Text, i32)> {
        let topics = self.open.get(group).into_iter().flatten();
        let partitions = topics.flat_map(|(topic, of)| of.keys().map(move |partition| (topic, *partition)));
        partitions.filter(|(topic, partition)| self.get(group, topic, *partition).is_none())
    }

    /// What is known of a topic in all groups, also in transactions.
    pub(super) fn of_topic(&self, topic: &str, mut each: impl FnMut(&Text, i32, &Committed)) {
        let groups = self.pending.values().flatten().chain(&self.by_group);
        for (group, topics) in groups {
            for (partition, committed) in topics.get(topic).into_iter().flatten() {
                each(group, *partition, committed);
            }
        }
    }

    /// Whether both remember the same. The order counts all commits of a log, which has fewer once it is compacted.
    pub(in crate::groups) fn remembers_like(&self, other: &Self) -> Result<(), String> {
        let unordered = |offsets: &Self| {
            let mut offsets = offsets.clone();
            let pending = offsets.pending.values_mut().flat_map(BTreeMap::values_mut);
            let all = offsets.by_group.values_mut().chain(pending).flat_map(SmallMap::values_mut);
            all.flat_map(SmallMap::values_mut).for_each(|committed| committed.order = 0);
            offsets.replayed = 0;
            offsets
        };
        let (one, two) = (unordered(self), unordered(other));
        if one == two { Ok(()) } else { Err(format!("offsets are {one:#?} here, and {two:#?} there")) }
    }

    pub(super) fn put(
        &mut self,
        group: &Text,
        topic: &Text,
        partition: i32,
        committed: Committed,
        transaction: Option<ProducerId>,
    ) {
        self.replayed += 1;
        let committed = Committed { order: self.replayed, ..committed };
        match transaction {
            None if cfg!(dohle_bug = "first-commit-stays") && self.get(group, topic, partition).is_some() => {
            }
            None => put(&mut self.by_group, group, topic, partition, committed),
            Some(producer) => {
                put(self.pending.entry(producer).or_default(), group, topic, partition, committed);
                if let Some(holders) = get_mut(&mut self.open, group, topic, partition) {
                    holders.insert(producer);
                } else {
                    put(&mut self.open, group, topic, partition, BTreeSet::from([producer]));
                }
            }
        }
    }

    /// Takes an offset back, also where it is pending.
    pub(super) fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        remove(&mut self.by_group, group, topic, partition);
        for producer in remove(&mut self.open, group, topic, partition).into_iter().flatten() {
            if let Some(pending) = self.pending.get_mut(&producer) {
                remove(pending, group, topic, partition);
            }
        }
    }

    pub(in crate::groups) fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        for (group, topics) in self.pending.remove(&producer).unwrap_or_default() {
            for (topic, partitions) in topics {
                for (partition, offset) in partitions {
                    self.release(producer, &group, &topic, partition);
                    let known = self.get(&group, &topic, partition);
                    let is_newer = known.is_none_or(|known| offset.order > known.order);
                    if committed && is_newer {
                        put(&mut self.by_group, &group, &topic, partition, offset);
                    }
                }
            }
        }
    }

    fn release(&mut self, producer: ProducerId, group: &str, topic: &str, partition: i32) {
        let Some(holders) = get_mut(&mut self.open, group, topic, partition) else { return };
        holders.remove(&producer);
        if holders.is_empty() {
            remove(&mut self.open, group, topic, partition);
        }
    }
}

#[cfg(test)]
impl Offsets {
    /// Everything but the places in the log, which compaction does not change the order of.
    pub(in crate::groups) fn remembered(&self) -> String {
        let mut bare = self.clone();
        let pending = bare.pending.values_mut().flat_map(|groups| groups.values_mut());
        for committed in pending.chain(bare.by_group.values_mut()).flat_map(|topics| topics.values_mut()) {
            committed.values_mut().for_each(|committed| committed.order = 0);
        }
        format!("{:?} {:?} {:?}", bare.by_group, bare.pending, bare.open)
    }
}

fn get<'a, T>(
    map: &'a BTreeMap<Text, ByPartition<T>>,
    group: &str,
    topic: &str,
    partition: i32,
) -> Option<&'a T> {
    map.get(group)?.get(topic)?.get(&partition)
}

fn get_mut<'a, T>(
    map: &'a mut BTreeMap<Text, ByPartition<T>>,
    group: &str,
    topic: &str,
    partition: i32,
) -> Option<&'a mut T> {
    map.get_mut(group)?.get_mut(topic)?.get_mut(&partition)
}

/// Names are copied when they are new: they come from requests and blocks of the log.
fn put<T>(map: &mut BTreeMap<Text, ByPartition<T>>, group: &Text, topic: &Text, partition: i32, value: T) {
    if !map.contains_key(group) {
        map.insert(group.detached(), SmallMap::default());
    }
    let Some(topics) = map.get_mut(group) else { return };
    if !topics.contains_key(topic) {
        topics.insert(topic.detached(), SmallMap::default());
    }
    let Some(partitions) = topics.get_mut(topic) else { return };
    partitions.insert(partition, value);
}

/// Removes a value and what it leaves empty.
fn remove<T>(
    map: &mut BTreeMap<Text, ByPartition<T>>,
    group: &str,
    topic: &str,
    partition: i32,
) -> Option<T> {
    let topics = map.get_mut(group)?;
    let partitions = topics.get_mut(topic)?;
    let removed = partitions.remove(&partition);
    if partitions.is_empty() {
        topics.remove(topic);
    }
    if topics.is_empty() {
        map.remove(group);
    }
    removed
}
