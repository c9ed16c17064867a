//! A group of the consumer protocol: its members, their target, and the counts that spare looking at all of them.
//!
//! Invariants, by name:
//! - `CountsFollowMembers`: every count here is what counting the members would give; they change in [`ConsumerGroup::put_member`]
//!   and [`ConsumerGroup::remove_member`] only.
//! - `OneOwner`: a partition has one epoch, that of the only member that has it, given up or not.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;

use super::denied::Denied;
use super::member::{Epochs, LEFT, Member, MemberState};
use super::records;
use super::regex::Resolved;
use crate::groups::GroupRecord;
use crate::groups::assignors::Assigned;
use crate::groups::kept::{self, Kept};
use crate::groups::offsets::Committer;

/// The first OffsetCommit that can tell that its member's epoch is stale.
const COMMIT_BY_MEMBER_EPOCH: i16 = 9;

#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerGroup {
    /// Goes up whenever the target must be computed again.
    pub(in crate::groups) epoch: i32,
    /// Of the topics that the target was, or is to be, computed for.
    pub(in crate::groups) metadata_hash: i64,
    /// The group epoch that the target is of.
    pub(in crate::groups) assignment_epoch: i32,
    pub(in crate::groups) assignment_timestamp: i64,
    pub(in crate::groups) members: BTreeMap<Text, Member>,
    pub(in crate::groups) targets: BTreeMap<Text, Arc<Assigned>>,
    pub(in crate::groups) resolved: BTreeMap<Text, Resolved>,
    pub(in crate::groups) statics: BTreeMap<Text, Text>,
    /// Kafka before 4.1 wrote a record of the topics; it gets its tombstone.
    pub(in crate::groups) has_partition_metadata: bool,
    counts: Counts,
    owners: BTreeMap<TopicId, BTreeMap<i32, i32>>,
    pub(in crate::groups) passing: Passing,
    kept: Kept,
}

/// What counting the members would give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    topics: BTreeMap<Text, Subscribers>,
    patterns: BTreeMap<Text, usize>,
    assignors: BTreeMap<Text, usize>,
    classic: usize,
    classic_protocols: BTreeMap<Text, usize>,
    /// Stable members by epoch.
    stable: BTreeMap<i32, usize>,
}

/// Who subscribes to a topic: members by its name, and patterns that match it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscribers {
    pub by_name: usize,
    pub by_pattern: usize,
}

/// What is known for a while and never recorded; a coordinator that has just loaded finds it out again.
#[derive(Clone, Debug, Default)]
pub struct Passing {
    /// The topics were looked at for this group epoch. Older than the group's epoch or none: they must be looked at again.
    pub checked_at: Option<i32>,
    /// How many topics had been created when the patterns were last resolved.
    pub resolved_at: Option<u64>,
    /// Members of the classic protocol that have been told to join again, and by when.
    pub told_to_join: BTreeSet<Text>,
}

/// Two groups are equal whatever is passing.
impl PartialEq for Passing {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Topics that a group has begun or ceased to subscribe to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    pub begun: Vec<Text>,
    pub ceased: Vec<Text>,
}

impl ConsumerGroup {
    pub fn new() -> Self {
        Self {
            epoch: 1,
            metadata_hash: 0,
            assignment_epoch: 1,
            assignment_timestamp: 0,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            resolved: BTreeMap::new(),
            statics: BTreeMap::new(),
            has_partition_metadata: false,
            counts: Counts::default(),
            owners: BTreeMap::new(),
            passing: Passing::default(),
            kept: Kept::default(),
        }
    }

    /// No members.
    pub(in crate::groups) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// `Empty`, `Assigning`, `Reconciling`, `Stable`.
    pub(in crate::groups) fn state_name(&self) -> &'static str {
        let reconciled = self.counts.stable.get(&self.assignment_epoch).copied().unwrap_or(0);
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if reconciled < self.members.len() {
            "Reconciling"
        } else {
            "Stable"
        }
    }

    /// Whether a member subscribes to the topic: its offsets neither expire nor are deleted.
    pub(in crate::groups) fn is_subscribed_to_topic(&self, topic: &str) -> bool {
        self.counts.topics.contains_key(topic)
    }

    /// May this one commit, to these partitions?
    ///
    /// A member that has moved on may still commit what it has had since the epoch it names.
    pub(in crate::groups) fn validate_offset_commit(
        &self,
        committer: &Committer<'_>,
        partitions: &mut dyn Iterator<Item = (&str, TopicId, i32)>,
    ) -> Result<(), ErrorCode> {
        let anonymous =
            committer.epoch == LEFT && committer.member_id.is_empty() && committer.instance_id.is_none();
        if committer.epoch < 0 && self.is_empty() || committer.transactional && anonymous {
            return Ok(());
        }
        let member = self.members.get(committer.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if !committer.transactional && !member.is_classic() && committer.version < COMMIT_BY_MEMBER_EPOCH {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let since = |(_, topic, partition)| {
            member.epoch_of(topic, partition).is_some_and(|epoch| epoch <= committer.epoch)
        };
        let mut partitions = partitions;
        match committer.epoch.cmp(&member.epoch) {
            Ordering::Equal => Ok(()),
            Ordering::Less if Iterator::all(&mut partitions, since) => Ok(()),
            Ordering::Less | Ordering::Greater => Err(stale(member)),
        }
    }

    /// May this one fetch offsets (OffsetFetch from version 9)?
    pub(in crate::groups) fn validate_offset_fetch(
        &self,
        member_id: Option<&str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member_id.and_then(|id| self.members.get(id)).ok_or(ErrorCode::UnknownMemberId)?;
        if epoch == member.epoch { Ok(()) } else { Err(stale(member)) }
    }

    /// The records that end the group.
    pub(in crate::groups) fn tombstones(&self, group_id: &Text, out: &mut Vec<GroupRecord>) {
        let ids = || self.members.keys();
        out.extend(ids().map(|id| records::current_tombstone(group_id, id)));
        out.extend(ids().map(|id| records::target_tombstone(group_id, id)));
        out.push(records::target_epoch_tombstone(group_id));
        out.extend(ids().map(|id| records::member_tombstone(group_id, id)));
        out.extend(self.resolved.keys().map(|regex| records::regex_tombstone(group_id, regex)));
        out.push(records::partition_metadata_tombstone(group_id));
        out.push(records::epoch_tombstone(group_id));
    }

    pub fn member(&self, group_id: &str, member_id: &str) -> Result<&Member, Denied> {
        self.members.get(member_id).ok_or_else(|| Denied::not_a_member(member_id, group_id))
    }

    pub fn static_member(&self, instance: &str) -> Option<&Member> {
        self.members.get(self.statics.get(instance)?)
    }

    /// What a member is to have. A static member has what the one before it under its instance id had.
    pub fn target_of(&self, member: &Member) -> Arc<Assigned> {
        let id = match &member.instance {
            None => Some(&member.id),
            Some(instance) => self.statics.get(instance),
        };
        id.and_then(|id| self.targets.get(id)).cloned().unwrap_or_default()
    }

    /// The topics that a member's pattern matched.
    pub fn matched(&self, member: &Member) -> Option<&BTreeSet<Text>> {
        Some(&self.resolved.get(member.pattern()?)?.topics)
    }

    pub fn is_owned(&self, topic: TopicId, partition: i32) -> bool {
        self.owners.get(&topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    pub(in crate::groups) fn kept(&mut self) -> &mut Kept {
        &mut self.kept
    }

    #[cfg(test)]
    pub(in crate::groups) fn kept_bytes(&self) -> usize {
        self.kept.bytes()
    }

    #[cfg(test)]
    pub(in crate::groups) fn counted_anew(&self) -> usize {
        let members = self.members.values().map(kept::of_consumer).sum::<usize>();
        members + self.resolved.values().map(|resolved| kept::of_names(&*resolved.topics)).sum::<usize>()
    }

    pub fn topics(&self) -> &BTreeMap<Text, Subscribers> {
        &self.counts.topics
    }

    pub fn patterns(&self) -> &BTreeMap<Text, usize> {
        &self.counts.patterns
    }

    pub fn subscribed_by_pattern(&self, pattern: &str) -> usize {
        self.counts.patterns.get(pattern).copied().unwrap_or(0)
    }

    pub fn classic_members(&self) -> usize {
        self.counts.classic
    }

    /// How many members of the classic protocol support one of its assignors.
    pub fn classic_supporters(&self, protocol: &str) -> usize {
        self.counts.classic_protocols.get(protocol).copied().unwrap_or(0)
    }

    /// The server-side assignor that most members ask for, with one member as it will be.
    pub fn preferred_assignor(&self, change: Option<(&Member, &Member)>) -> Option<Text> {
        let (old, new) = change.map(|(old, new)| (old.assignor.as_ref(), new.assignor.as_ref())).unzip();
        let (old, new) = (old.flatten(), new.flatten());
        let names = self.counts.assignors.keys().chain(new);
        let votes = |name: &Text| {
            let counted = self.counts.assignors.get(name).copied().unwrap_or(0);
            (counted + usize::from(new == Some(name))).saturating_sub(usize::from(old == Some(name)))
        };
        names
            .map(|name| (votes(name), name))
            .filter(|(votes, _)| *votes > 0)
            .max()
            .map(|(_, name)| name.clone())
    }

    /// A member that a member waits for has partitions of its target.
    pub fn waits_for_others(&self, member: &Member) -> bool {
        if member.state != MemberState::UnreleasedPartitions {
            return false;
        }
        let target = self.targets.get(&member.id);
        let missing = |(topic, partitions): (&TopicId, &Vec<i32>)| {
            let has = member.assigned.get(topic);
            partitions
                .iter()
                .any(|at| !has.is_some_and(|has| has.contains_key(at)) && self.is_owned(*topic, *at))
        };
        target.is_some_and(|target| target.iter().any(missing))
    }
}

fn stale(member: &Member) -> ErrorCode {
    if member.is_classic() { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
}

/// What records change.
impl ConsumerGroup {
    pub fn put_member(&mut self, member: Member, watched: &mut Watched) {
        let before = self.members.remove(&member.id);
        if let Some(before) = &before {
            self.disown(before);
            self.kept.take(kept::of_consumer(before));
        }
        self.kept.add(kept::of_consumer(&member));
        self.own(&member);
        self.count(&member, 1, watched);
        if let Some(before) = &before {
            self.count(before, -1, watched);
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    pub fn remove_member(&mut self, member_id: &str, watched: &mut Watched) {
        let Some(member) = self.members.remove(member_id) else { return };
        self.disown(&member);
        self.kept.take(kept::of_consumer(&member));
        self.count(&member, -1, watched);
        if let Some(instance) = &member.instance
            && self.statics.get(instance) == Some(&member.id)
        {
            self.statics.remove(instance);
        }
        self.passing.told_to_join.remove(member_id);
    }

    pub fn put_resolved(&mut self, regex: Text, resolved: Option<Resolved>, watched: &mut Watched) {
        let (before, after) = match resolved {
            Some(resolved) => {
                self.kept.add(kept::of_names(&*resolved.topics));
                let topics = resolved.topics.clone();
                (self.resolved.insert(regex, resolved), topics)
            }
            None => (self.resolved.remove(&regex), Arc::default()),
        };
        for topic in after.iter() {
            change(&mut self.counts.topics, topic, |count| &mut count.by_pattern, 1, watched);
        }
        self.kept.take(before.as_ref().map_or(0, |before| kept::of_names(&*before.topics)));
        for topic in before.iter().flat_map(|before| before.topics.iter()) {
            change(&mut self.counts.topics, topic, |count| &mut count.by_pattern, -1, watched);
        }
    }

    fn count(&mut self, member: &Member, by: isize, watched: &mut Watched) {
        let counts = &mut self.counts;
        for topic in member.topics.iter() {
            change(&mut counts.topics, topic, |count| &mut count.by_name, by, watched);
        }
        if let Some(pattern) = member.pattern() {
            add(&mut counts.patterns, pattern, by);
        }
        if let Some(assignor) = &member.assignor {
            add(&mut counts.assignors, assignor, by);
        }
        if let Some(classic) = &member.classic {
            counts.classic = counts.classic.saturating_add_signed(by);
            for protocol in &classic.supported_protocols {
                add(&mut counts.classic_protocols, &protocol.name, by);
            }
        }
        if member.state == MemberState::Stable {
            add(&mut counts.stable, &member.epoch, by);
        }
    }

    fn own(&mut self, member: &Member) {
        for (topic, partitions) in member.assigned.iter().chain(&member.revoking) {
            let owners = self.owners.entry(*topic).or_default();
            for partition in partitions.keys() {
                let epoch = owners.entry(*partition).or_insert(member.epoch);
                *epoch = member.epoch.max(*epoch);
            }
        }
    }

    /// Only what is still the member's: a log may tell of the new owner first.
    fn disown(&mut self, member: &Member) {
        let mut forget = |epochs: &Epochs| {
            for (topic, partitions) in epochs {
                let Some(owners) = self.owners.get_mut(topic) else { continue };
                for partition in partitions.keys() {
                    if owners.get(partition) == Some(&member.epoch) {
                        owners.remove(partition);
                    }
                }
                if owners.is_empty() {
                    self.owners.remove(topic);
                }
            }
        };
        forget(&member.assigned);
        forget(&member.revoking);
    }
}

pub(super) fn add<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, key: &K, by: isize) {
    match counts.get_mut(key) {
        Some(count) => {
            *count = count.saturating_add_signed(by);
            if *count == 0 {
                counts.remove(key);
            }
        }
        None if by > 0 => {
            counts.insert(key.clone(), by.unsigned_abs());
        }
        None => {}
    }
}

/// Counts one more or one less subscriber of a topic.
pub(super) fn change(
    topics: &mut BTreeMap<Text, Subscribers>,
    topic: &Text,
    field: fn(&mut Subscribers) -> &mut usize,
    by: isize,
    watched: &mut Watched,
) {
    if !topics.contains_key(topic) {
        if by < 0 {
            return;
        }
        topics.insert(topic.clone(), Subscribers::default());
        watched.begun.push(topic.clone());
    }
    let Some(count) = topics.get_mut(topic) else { return };
    let count_of = field(count);
    *count_of = count_of.saturating_add_signed(by);
    if *count == Subscribers::default() {
        topics.remove(topic);
        watched.ceased.push(topic.clone());
    }
}
