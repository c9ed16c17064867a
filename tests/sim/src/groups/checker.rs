//! The invariants of groups, by name. The checker sees what is appended, stored and answered, and what members believe.
//!
//! - `OneOwner`: no partition is owned by two members of one group that the group still counts as members.
//! - `AllOwned`: once nothing disturbs, every partition that somebody subscribes to is owned.
//! - `EpochsNeverGoBack`: epochs and generations only rise, in the log and for each member.
//! - `CommitsStay`: an offset whose commit was acknowledged is fetched, or a later one, or its deletion.
//! - `OffsetsOfOneTopic`: what was committed to a topic is not told of another one of the same name.
//! - `FencedNeverCommits`: whoever is no member, or was one in an epoch that has passed, commits nothing.
//! - `StoredBeforeTold`: no answer tells of what is not stored.
//! - `ReplayIsState`: a coordinator that has read the log has the state of the one that wrote it.
//! - `CompactionIsReplay`: the same of the log as a cleaner leaves it.

use std::collections::{BTreeMap, BTreeSet};

use dohle_coordinator::frame::ReplyTo;
use dohle_coordinator::groups::{Ask, Request, Response};
use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;

use super::ledger::Ledger;
use super::member::{Answer, Member, Protocol};
use super::truth::{AWAY, Place, Spot, Truth};
use crate::log::Entry;
use crate::marks::Marks;

#[derive(Debug, Default)]
pub struct Checker {
    /// What the coordinator has decided, stored or not.
    decided: Truth,
    pub stored: Truth,
    /// For each place, and the topic that had its name: where in the log the last acknowledged commit is.
    acknowledged: BTreeMap<(Place, TopicId), u64>,
    /// To which topic an offset was committed.
    committed_to: BTreeSet<(i64, TopicId)>,
    asked: BTreeMap<ReplyTo, Asked>,
}

/// What a request was, as far as its answer is checked.
#[derive(Debug)]
enum Asked {
    Commit(Vec<(Place, TopicId, i64)>),
    /// What was acknowledged when the coordinator got the request, of which topics.
    Fetch(BTreeMap<Place, (TopicId, u64)>),
    Sync {
        group: Text,
        generation: i32,
    },
    Heartbeat {
        group: Text,
    },
    Other,
}

impl Checker {
    /// The coordinator is given a request.
    pub fn asked(&mut self, to: ReplyTo, request: &Request) {
        let asked = match &request.ask {
            Ask::OffsetCommit(commit) => {
                let of =
                    |topic: &str, partition: i32| (commit.group_id.clone(), Text::from(topic), partition);
                let commits = commit.topics.iter().flat_map(|topic| {
                    topic.partitions.iter().map(move |commit| {
                        (of(&topic.name, commit.partition_index), topic.topic_id, commit.committed_offset)
                    })
                });
                let commits: Vec<_> = commits.collect();
                self.committed_to.extend(commits.iter().map(|(_, topic, offset)| (*offset, *topic)));
                Asked::Commit(commits)
            }
            Ask::OffsetFetch { group, .. } => {
                let mut floors = BTreeMap::new();
                for topic in group.topics.iter().flatten() {
                    for partition in &topic.partition_indexes {
                        let place = (group.group_id.clone(), topic.name.clone(), *partition);
                        let key = (place, topic.topic_id);
                        let floor = self.acknowledged.get(&key).copied().unwrap_or_default();
                        floors.insert(key.0, (topic.topic_id, floor));
                    }
                }
                Asked::Fetch(floors)
            }
            Ask::SyncGroup(sync) => {
                Asked::Sync { group: sync.group_id.clone(), generation: sync.generation_id }
            }
            Ask::ConsumerGroupHeartbeat(heartbeat) => Asked::Heartbeat { group: heartbeat.group_id.clone() },
            _ => Asked::Other,
        };
        assert!(self.asked.insert(to, asked).is_none(), "a request has a number of its own");
    }

    /// A request of a coordinator that is no more.
    pub fn forgotten(&mut self, to: ReplyTo) {
        self.asked.remove(&to);
    }

    /// All requests that the coordinator had and has not answered.
    pub fn forget_all(&mut self) -> Vec<ReplyTo> {
        std::mem::take(&mut self.asked).into_keys().collect()
    }

    /// A batch is appended: what it commits, it commits for members.
    pub fn appended(&mut self, entries: &[Entry], ledger: &Ledger, marks: &mut Marks) {
        for entry in entries {
            let Some(offset) = self.decided.apply(entry) else { continue };
            let commit = ledger.commit(offset).expect("somebody meant it");
            let allowed = may_commit(&self.decided, commit);
            assert!(
                allowed,
                "FencedNeverCommits: {commit:?} in {:?}",
                self.decided.groups.get(&commit.place.0)
            );
            marks.hit("a commit is accepted");
        }
    }

    /// A batch is stored.
    pub fn stored(&mut self, entries: &[Entry], marks: &mut Marks) {
        let before = (self.stored.upgrades, self.stored.downgrades);
        entries.iter().for_each(|entry| _ = self.stored.apply(entry));
        let (upgraded, downgraded) = (self.stored.upgrades > before.0, self.stored.downgrades > before.1);
        marks.sometimes("a group with members goes over to the consumer protocol", upgraded);
        marks.sometimes("a group with members goes back to the classic protocol", downgraded);
    }

    /// What was decided and not stored has never been.
    pub fn reverted(&mut self) {
        self.decided = self.stored.clone();
    }

    /// The coordinator answers.
    pub fn answered(&mut self, to: ReplyTo, answer: &Answer, marks: &mut Marks) {
        let asked = self.asked.remove(&to);
        let asked = asked
            .unwrap_or_else(|| panic!("a request is answered once, and only if it was asked: {answer:?}"));
        match (asked, answer) {
            (Asked::Commit(commits), Ok(Response::OffsetCommit(response))) => {
                for (topic, commits) in response.topics.iter().map(|topic| (topic, &commits)) {
                    for partition in &topic.partitions {
                        let (place, topic, offset) = commits
                            .iter()
                            .find(|(place, ..)| place.1 == topic.name && place.2 == partition.partition_index)
                            .expect("what was not asked is not answered");
                        self.commit_answered((place, *topic), *offset, partition.error_code, marks);
                    }
                }
            }
            (Asked::Fetch(floors), Ok(Response::OffsetFetch(response))) if response.error_code == 0 => {
                for topic in &response.topics {
                    for partition in topic.partitions.iter().filter(|partition| partition.error_code == 0) {
                        let place =
                            (response.group_id.clone(), topic.name.clone(), partition.partition_index);
                        self.fetched(&place, partition.committed_offset, &floors, marks);
                    }
                }
            }
            (Asked::Sync { group, generation }, Ok(Response::SyncGroup(response)))
                if response.error_code == 0 =>
            {
                let truth = self.stored.groups.get(&group);
                let reached = truth.is_some_and(|truth| {
                    truth.epoch.is_some()
                        || truth.classic.as_ref().is_some_and(|classic| classic.generation >= generation)
                });
                assert!(reached, "StoredBeforeTold: the assignment of generation {generation} of {group}");
            }
            (Asked::Heartbeat { group }, Ok(Response::ConsumerGroupHeartbeat(response)))
                if response.error_code == 0 && response.member_epoch > 0 =>
            {
                let id = response.member_id.as_ref().expect("a member has an id");
                let member = self.stored.groups.get(&group).and_then(|group| group.members.get(id));
                let epoch = member.map(|member| member.epoch);
                // Whoever has left in the same batch is no longer there to be compared with.
                let gone = !self.decided.has_member(&group, id) || epoch == Some(AWAY);
                assert!(
                    epoch.is_some_and(|epoch| epoch >= response.member_epoch) || gone,
                    "StoredBeforeTold: {id} of {group} is told epoch {}, {epoch:?} is stored",
                    response.member_epoch
                );
            }
            _ => {}
        }
    }

    fn commit_answered(
        &mut self,
        (place, topic): (&Place, TopicId),
        offset: i64,
        error: i16,
        marks: &mut Marks,
    ) {
        if error != ErrorCode::None.code() {
            marks.hit("a commit is refused");
            return;
        }
        let stored = self.stored.commit(offset);
        let at = stored.unwrap_or_else(|| panic!("StoredBeforeTold: the commit of {offset} to {place:?}"));
        let floor = self.acknowledged.entry((place.clone(), topic)).or_default();
        *floor = at.max(*floor);
    }

    fn fetched(
        &self,
        place: &Place,
        offset: i64,
        floors: &BTreeMap<Place, (TopicId, u64)>,
        marks: &mut Marks,
    ) {
        let (topic, floor) = floors.get(place).expect("what was not asked is not answered");
        if offset >= 0 {
            assert!(
                self.committed_to.contains(&(offset, *topic)),
                "OffsetsOfOneTopic: {offset} is told of {topic:?} of {place:?}, to which it was not committed"
            );
        }
        if *floor == 0 {
            return;
        }
        let found = if offset < 0 { self.stored.tombstone(place) } else { self.stored.commit(offset) };
        assert!(
            found.is_some_and(|at| at >= *floor),
            "CommitsStay: {offset} of {place:?} is fetched, at {found:?}, {floor} was acknowledged"
        );
        marks.hit("an acknowledged commit is fetched");
    }

    /// Members that the group no longer knows own nothing that counts. Neither does a member of the classic protocol that the group
    /// has taken into another epoch without it: by a change of the protocol, or as a static member that did not join again in time.
    /// It is fenced with its next request.
    pub fn expel(&self, members: &mut [Member], marks: &mut Marks) {
        let owners = members.iter_mut().filter(|member| !member.owned.is_empty() && !member.void);
        for member in owners {
            let (is_classic, joins) = match &member.protocol {
                Protocol::Classic(client) => (true, client.is_joining()),
                Protocol::Consumer(_) => (false, false),
            };
            // Who keeps what it has while it joins again is in the epoch that it joined, before it is given anything in it.
            let known = [member.epoch, member.given_at];
            let moved = is_classic
                && self.stored.epoch(&member.group, &member.id).is_some_and(|epoch| !known.contains(&epoch));
            let converted = moved && self.stored.is_converted(&member.group);
            let late = moved && !converted && member.instance.is_some();
            marks.sometimes("a change of the protocol moves a member that owns partitions", converted);
            marks.sometimes("a static member is late, and the group goes on with it", late);
            let is_gone = !self.stored.has_member(&member.group, &member.id);
            member.void |= converted || late || is_gone;
            // With a member whose protocol it has changed, or whose join it has answered just now, it goes on.
            let without = is_gone || late && !joins;
            marks.sometimes("a group goes on without a member that owns partitions", without);
        }
    }

    /// `OneOwner`.
    pub fn owners(&self, members: &[Member]) {
        let mut owners: BTreeMap<(&Text, Spot), &Member> = BTreeMap::new();
        for member in members.iter().filter(|member| !member.void) {
            for spot in &member.owned {
                if let Some(other) = owners.insert((&member.group, *spot), member) {
                    panic!(
                        "OneOwner: {spot:?} of {} is owned by {} at {} and {} at {}",
                        member.group, other.id, other.epoch, member.id, member.epoch
                    );
                }
            }
        }
    }
}

/// Whether the log, as far as it was written when the commit was, has the committer as a member of that epoch.
fn may_commit(decided: &Truth, commit: &super::ledger::Commit) -> bool {
    let Some(group) = decided.groups.get(&commit.place.0) else { return false };
    if let Some(classic) = &group.classic {
        return classic.generation == commit.epoch && classic.members.contains(&commit.member_id);
    }
    group.members.get(&commit.member_id).is_some_and(|member| {
        member.epoch == commit.epoch || member.epoch > commit.epoch && member.held.contains(&commit.spot)
    })
}
