//! The data of a classic group, and the rules that hold between its parts.
//!
//! Invariants, by name:
//! - `CountsAgree`: `joined` is the number of members that await a join, `support` how many members know each protocol,
//!   `statics` names exactly the members with an instance id.
//! - `KeptIsCounted`: `kept` is what the members, the ids given out and the last record make the group keep.
//! - `SettledIsStored`: an empty or stable group is what its last record says, but for what a record has no room for.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages as m;

use super::member::{Member, Protocol, Waiting, java_bucket, topics_of};
use crate::groups::kept::{self, Kept};
use crate::groups::offsets::Committer;
use crate::small_map::SmallMap;

/// The protocol type of Kafka's consumers.
const CONSUMER: &str = "consumer";

/// A group of the classic protocol.
///
/// `stored` is what the log remembers and only replay writes it. The rest is what members do between two records: it starts from
/// `stored` when the log has been loaded, and is gone with the process, whereupon members join again.
#[derive(Debug, Default)]
pub struct ClassicGroup {
    pub(super) stored: Option<m::GroupMetadataValue>,
    pub(super) phase: Phase,
    /// The wall clock at the last transition; records of old versions do not tell.
    pub(super) since_ms: Option<i64>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Text>,
    pub(super) protocol: Option<Text>,
    pub(super) leader: Option<Text>,
    members: SmallMap<Text, Box<Member>>,
    statics: SmallMap<Text, Text>,
    /// Ids given out, not yet used to join.
    pending: BTreeSet<Text>,
    joined: usize,
    support: SmallMap<Text, usize>,
    /// What the members subscribe to, when they are consumers that can be understood.
    subscribed: Option<Box<[Text]>>,
    kept: Kept,
}

/// Where the group stands. There is no dead group: one that is gone is not in the map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Empty,
    /// Members are asked to join; `first` while a group that was empty waits for more of them.
    PreparingRebalance {
        first: Option<FirstDelay>,
    },
    /// All have joined and wait for the leader's assignment. Those who have not asked for it yet are named.
    CompletingRebalance {
        unsynced: BTreeSet<Text>,
    },
    Stable {
        unsynced: BTreeSet<Text>,
    },
}

/// The waiting of a group that was empty: prolonged while members come, up to their rebalance time-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstDelay {
    pub delay_ms: i32,
    pub remaining_ms: i32,
    pub member_came: bool,
}

impl Phase {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance { .. } => "PreparingRebalance",
            Self::CompletingRebalance { .. } => "CompletingRebalance",
            Self::Stable { .. } => "Stable",
        }
    }

    pub(super) fn is_preparing(&self) -> bool {
        matches!(self, Self::PreparingRebalance { .. })
    }

    pub(super) fn is_completing(&self) -> bool {
        matches!(self, Self::CompletingRebalance { .. })
    }

    pub(super) fn unsynced(&mut self) -> Option<&mut BTreeSet<Text>> {
        match self {
            Self::CompletingRebalance { unsynced } | Self::Stable { unsynced } => Some(unsynced),
            Self::Empty | Self::PreparingRebalance { .. } => None,
        }
    }
}

impl ClassicGroup {
    pub(super) fn new(now_ms: i64) -> Self {
        Self { since_ms: Some(now_ms), ..Self::default() }
    }

    /// What the log has of the group.
    pub fn stored(&self) -> Option<&m::GroupMetadataValue> {
        self.stored.as_ref()
    }

    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    pub fn is_empty(&self) -> bool {
        self.phase == Phase::Empty
    }

    pub fn is_stable(&self) -> bool {
        matches!(self.phase, Phase::Stable { .. })
    }

    /// Only offsets are kept: nobody ever joined.
    pub fn is_simple(&self) -> bool {
        self.protocol_type.is_none() && self.is_empty() && self.pending.is_empty()
    }

    pub fn generation(&self) -> i32 {
        self.generation
    }

    pub fn protocol_type(&self) -> Option<&Text> {
        self.protocol_type.as_ref()
    }

    pub fn protocol(&self) -> Option<&Text> {
        self.protocol.as_ref()
    }

    pub fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// The wall clock at the last transition.
    pub fn since_ms(&self) -> Option<i64> {
        self.since_ms
    }

    /// In the order of the ids.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(Box::as_ref)
    }

    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id).map(Box::as_ref)
    }

    pub fn size(&self) -> usize {
        self.members.len()
    }

    pub fn static_member(&self, instance_id: &str) -> Option<&Text> {
        self.statics.get(instance_id)
    }

    /// What the members subscribe to; nothing when they are no consumers or cannot be understood.
    pub fn subscribed(&self) -> Option<&[Text]> {
        self.subscribed.as_deref()
    }

    /// A consumer group that cannot be understood counts as subscribed to everything.
    pub fn is_subscribed_to_topic(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.binary_search_by(|known| known.as_str().cmp(topic)).is_ok(),
            None => self.uses_consumer_protocol(),
        }
    }

    /// The longest that a member may take to join again.
    pub fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// Ids given out, not yet used to join.
    pub fn pending(&self) -> impl Iterator<Item = &Text> {
        self.pending.iter()
    }

    pub(super) fn is_pending(&self, id: &str) -> bool {
        self.pending.contains(id)
    }

    pub(super) fn add_pending(&mut self, id: Text) {
        self.kept.add(kept::of_pending(&id));
        self.pending.insert(id);
    }

    fn remove_pending(&mut self, id: &str) {
        if let Some(id) = self.pending.take(id) {
            self.kept.take(kept::of_pending(&id));
        }
    }

    /// Takes note of the group's last record.
    pub(super) fn remember(&mut self, stored: m::GroupMetadataValue) {
        let before = self.stored.as_ref().map_or(0, kept::of_stored);
        self.kept.take(before);
        self.kept.add(kept::of_stored(&stored));
        self.stored = Some(stored);
    }

    pub(in crate::groups) fn kept(&mut self) -> &mut Kept {
        &mut self.kept
    }

    pub(super) fn joined(&self) -> usize {
        self.joined
    }

    pub(super) fn all_have_joined(&self) -> bool {
        self.joined == self.members.len() && self.pending.is_empty()
    }

    /// Is the member of this group, and is it the one of its instance?
    pub(super) fn validate_member(&self, id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            let known = self.statics.get(instance_id).ok_or(ErrorCode::UnknownMemberId)?;
            if *known != *id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Is the committer a member of this generation?
    pub(in crate::groups) fn validate_committer(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        self.validate_member(by.member_id, by.instance_id)?;
        if by.epoch == self.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }

    /// Is there a protocol that all members know, these included?
    pub(super) fn supports<'a>(
        &self,
        protocol_type: &str,
        mut names: impl Iterator<Item = &'a Text>,
    ) -> bool {
        if self.is_empty() {
            return !protocol_type.is_empty() && names.next().is_some();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && names.any(|name| self.support.get(name).copied().unwrap_or(0) == self.members.len())
    }

    pub(super) fn add(&mut self, member: Member, protocol_type: &Text) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.remove_pending(&member.id);
        if let Some(instance_id) = &member.instance_id {
            self.statics.insert(instance_id.clone(), member.id.clone());
        }
        self.count(&member);
        self.members.insert(member.id.clone(), Box::new(member));
    }

    pub(super) fn remove(&mut self, id: &str) {
        let removed = self.members.remove(id);
        if let Some(member) = &removed {
            self.discount(member);
            if let Some(instance_id) = &member.instance_id {
                self.statics.remove(instance_id);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.remove_pending(id);
        if let Some(unsynced) = self.phase.unsynced() {
            unsynced.remove(id);
        }
    }

    /// Changes a member; what is counted of it is counted anew.
    pub(super) fn update<R>(&mut self, id: &str, change: impl FnOnce(&mut Member) -> R) -> Option<R> {
        let mut member = self.members.remove(id)?;
        self.discount(&member);
        let result = change(&mut member);
        self.count(&member);
        self.members.insert(member.id.clone(), member);
        Some(result)
    }

    /// A static member comes back: it takes the place of the one that it was, which is returned with whatever it waited for.
    pub(super) fn replace_static(&mut self, old_id: &str, new_id: &Text) -> Option<Box<Member>> {
        let old = self.members.remove(old_id)?;
        self.discount(&old);
        let member = Member {
            id: new_id.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            ..Member::clone(&old)
        };
        self.count(&member);
        if let Some(instance_id) = &member.instance_id {
            self.statics.insert(instance_id.clone(), new_id.clone());
        }
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if let Some(unsynced) = self.phase.unsynced()
            && unsynced.remove(old_id)
        {
            unsynced.insert(new_id.clone());
        }
        self.members.insert(new_id.clone(), Box::new(member));
        Some(old)
    }

    /// The member waits for the end of the join phase. Whoever waited in its name before is returned.
    pub(super) fn await_join(&mut self, id: &str, waiting: Waiting) -> Option<Waiting> {
        let member = self.members.get_mut(id)?;
        let before = member.awaiting_join.replace(waiting);
        self.joined += usize::from(before.is_none());
        before
    }

    pub(super) fn await_sync(&mut self, id: &str, waiting: Waiting) -> Option<Waiting> {
        self.members.get_mut(id)?.awaiting_sync.replace(waiting)
    }

    pub(super) fn take_join(&mut self, id: &str) -> Option<Waiting> {
        let waiting = self.members.get_mut(id)?.awaiting_join.take()?;
        self.joined -= 1;
        Some(waiting)
    }

    pub(super) fn take_sync(&mut self, id: &str) -> Option<Waiting> {
        self.members.get_mut(id)?.awaiting_sync.take()
    }

    pub(super) fn set_known(&mut self, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.is_new = false;
        }
    }

    pub fn set_assignment(&mut self, id: &str, assignment: Bytes) {
        if let Some(member) = self.members.get_mut(id) {
            self.kept.take(member.assignment.len());
            self.kept.add(assignment.len());
            member.assignment = assignment;
        }
    }

    pub(super) fn ids(&self) -> Vec<Text> {
        self.members.keys().cloned().collect()
    }

    /// Makes sure that the leader is among those who have joined. False when nobody has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let joined = |member: &Member| member.awaiting_join.is_some();
        match self.leader.as_ref().map(|leader| self.members.get(leader)) {
            None => false,
            Some(Some(leader)) if joined(leader) => true,
            Some(_) => match self.members.values().find(|member| joined(member)) {
                Some(member) => {
                    self.leader = Some(member.id.clone());
                    true
                }
                None => false,
            },
        }
    }

    /// The protocol that most members prefer among those that all know.
    pub(super) fn elect_protocol(&self) -> Option<Text> {
        let candidate = |protocol: &&Protocol| self.support.get(&protocol.name) == Some(&self.members.len());
        let mut votes: BTreeMap<&Text, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.protocols.iter().find(candidate) {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        // The first of those with the most votes, in the order of Kafka's hash map.
        let best =
            votes.into_iter().max_by_key(|(name, votes)| (*votes, std::cmp::Reverse(java_bucket(name))));
        best.map(|(name, _)| name.clone())
    }

    /// Reads the subscriptions of consumers anew.
    pub(super) fn read_subscriptions(&mut self) {
        self.subscribed = self.compute_subscribed();
    }

    /// In order.
    fn compute_subscribed(&self) -> Option<Box<[Text]>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(Box::default());
        }
        let protocol = self.protocol.as_ref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            for topic in topics_of(member.metadata(protocol)?)? {
                if !topics.contains(&topic) {
                    topics.insert(topic.detached());
                }
            }
        }
        Some(topics.into_iter().collect())
    }

    fn count(&mut self, member: &Member) {
        self.kept.add(kept::of_classic(member));
        self.joined += usize::from(member.awaiting_join.is_some());
        for protocol in &member.protocols {
            match self.support.get_mut(&protocol.name) {
                Some(count) => *count += 1,
                None => _ = self.support.insert(protocol.name.clone(), 1),
            }
        }
    }

    fn discount(&mut self, member: &Member) {
        self.kept.take(kept::of_classic(member));
        self.joined -= usize::from(member.awaiting_join.is_some());
        for protocol in &member.protocols {
            if let Some(count) = self.support.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.support.remove(&protocol.name);
                }
            }
        }
    }
}

#[cfg(test)]
impl ClassicGroup {
    pub(in crate::groups) fn restored(stored: m::GroupMetadataValue) -> Self {
        Self::from_stored(stored)
    }

    /// Who waits in the members' names.
    pub(in crate::groups) fn waiting(&self) -> impl Iterator<Item = crate::frame::ReplyTo> {
        let waiting = self.members.values().flat_map(|member| [member.awaiting_join, member.awaiting_sync]);
        waiting.flatten().map(|waiting| waiting.to)
    }

    /// What a record has room for.
    pub(in crate::groups) fn settled_view(&self) -> String {
        let members = self.members.values().map(|member| {
            let protocol = self.protocol.clone().unwrap_or_default();
            let timeouts = (member.rebalance_timeout_ms, member.session_timeout_ms);
            let said = (member.metadata(&protocol), &member.assignment);
            format!("{} {:?} {:?} {timeouts:?} {said:?}", member.id, member.instance_id, member.client)
        });
        let members: Vec<String> = members.collect();
        let since_ms = self.since_ms.filter(|_| self.is_empty());
        let protocol = (&self.protocol_type, &self.protocol, &self.subscribed);
        format!("{} {since_ms:?} {protocol:?} {:?} {members:?}", self.generation, self.leader)
    }

    pub(in crate::groups) fn kept_bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// `CountsAgree`
    pub(in crate::groups) fn assert_counts_agree(&self) {
        let mut fresh = Self { phase: self.phase.clone(), ..Self::default() };
        for member in self.members.values() {
            fresh.count(member);
            if let Some(instance_id) = &member.instance_id {
                fresh.statics.insert(instance_id.clone(), member.id.clone());
            }
        }
        assert_eq!(self.joined, fresh.joined, "CountsAgree, joined");
        assert_eq!(self.support, fresh.support, "CountsAgree, support");
        assert_eq!(self.statics, fresh.statics, "CountsAgree, statics");
        self.pending.iter().for_each(|id| fresh.kept.add(kept::of_pending(id)));
        fresh.kept.add(self.stored.as_ref().map_or(0, kept::of_stored));
        assert_eq!(self.kept.bytes(), fresh.kept.bytes(), "KeptIsCounted");
    }
}
