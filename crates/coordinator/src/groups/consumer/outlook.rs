//! What the members of a group subscribe to as it will be: before it is recorded, a group is looked at with its changes.

use std::collections::{BTreeMap, BTreeSet};

use dohle_wire::Text;

use super::group::{ConsumerGroup, Subscribers, Watched, add, change};
use super::member::Member;
use crate::groups::assignors::Subscriptions;

/// The topics a group subscribes to, with some members or patterns as they will be.
#[derive(Clone, Debug)]
pub struct Outlook {
    topics: BTreeMap<Text, Subscribers>,
    patterns: BTreeMap<Text, usize>,
    members: usize,
    ignored: Watched,
}

impl Outlook {
    pub fn of(group: &ConsumerGroup) -> Self {
        Self {
            topics: group.topics().clone(),
            patterns: group.patterns().clone(),
            members: group.members.len(),
            ignored: Watched::default(),
        }
    }

    /// With a member as it will be. A pattern that nobody has any more takes its topics with it.
    pub fn update(&mut self, group: &ConsumerGroup, old: &Member, new: &Member) {
        let known = group.members.contains_key(&new.id)
            || new.instance.as_ref().is_some_and(|instance| group.statics.contains_key(instance));
        self.members += usize::from(!known);
        self.names(new, 1);
        self.names(old, -1);
        if old.pattern() == new.pattern() {
            return;
        }
        if let Some(pattern) = new.pattern() {
            add(&mut self.patterns, pattern, 1);
        }
        self.drop_pattern(group, old);
    }

    /// Without a member.
    pub fn remove(&mut self, group: &ConsumerGroup, member: &Member) {
        self.members = self.members.saturating_sub(1);
        self.names(member, -1);
        self.drop_pattern(group, member);
    }

    /// With other topics for a pattern.
    pub fn resolve(&mut self, before: &BTreeSet<Text>, after: &BTreeSet<Text>) {
        self.matches(after, 1);
        self.matches(before, -1);
    }

    /// Patterns that nobody has any more.
    pub fn is_gone(&self, pattern: &str) -> bool {
        !self.patterns.contains_key(pattern)
    }

    pub fn topics(&self) -> impl Iterator<Item = &Text> {
        self.topics.keys()
    }

    pub fn subscriptions(&self) -> Subscriptions {
        let same = |count: &Subscribers| match self.patterns.values().next() {
            None => count.by_name == self.members,
            Some(_) => count.by_pattern == 1 && count.by_name == 0,
        };
        let one_pattern = self.patterns.values().next().is_none_or(|count| *count == self.members);
        if one_pattern && self.topics.values().all(same) {
            Subscriptions::Homogeneous
        } else {
            Subscriptions::Heterogeneous
        }
    }

    fn names(&mut self, member: &Member, by: isize) {
        for topic in member.topics.iter() {
            change(&mut self.topics, topic, |count| &mut count.by_name, by, &mut self.ignored);
        }
    }

    fn matches(&mut self, topics: &BTreeSet<Text>, by: isize) {
        for topic in topics {
            change(&mut self.topics, topic, |count| &mut count.by_pattern, by, &mut self.ignored);
        }
    }

    fn drop_pattern(&mut self, group: &ConsumerGroup, member: &Member) {
        let Some(pattern) = member.pattern() else { return };
        add(&mut self.patterns, pattern, -1);
        if self.is_gone(pattern)
            && let Some(resolved) = group.resolved.get(pattern)
        {
            self.matches(&resolved.topics, -1);
        }
    }
}
