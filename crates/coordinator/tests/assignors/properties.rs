//! What holds for every assignment, tried on groups that live: members come and go, topics grow, come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dohle_coordinator::groups::assignors::{Assigned, Assignor, GroupSpec, Member, Subscriptions};
use dohle_coordinator::topics::Topics;
use dohle_types::TopicId;
use dohle_wire::Text;
use proptest::prelude::*;

use super::topic;

/// What happens to a group between two assignments.
#[derive(Clone, Debug)]
enum Change {
    Join { member: u8, topics: u8, instance: bool },
    Leave { member: u8 },
    Grow { topic: u8, by: u8 },
    Delete { topic: u8 },
}

const TOPICS: u8 = 6;

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0..20u8, any::<u8>(), any::<bool>())
            .prop_map(|(member, topics, instance)| Change::Join { member, topics, instance }),
        2 => (0..20u8).prop_map(|member| Change::Leave { member }),
        2 => (0..TOPICS, 1..9u8).prop_map(|(topic, by)| Change::Grow { topic, by }),
        1 => (0..TOPICS).prop_map(|topic| Change::Delete { topic }),
    ]
}

/// A group over time.
struct Life {
    same: bool,
    topics: BTreeMap<u8, i32>,
    members: BTreeMap<u8, (u8, bool)>,
    targets: BTreeMap<u8, Arc<Assigned>>,
}

impl Life {
    fn apply(&mut self, change: &Change) {
        match *change {
            Change::Join { member, topics, instance } => _ = self.members.insert(member, (topics, instance)),
            Change::Leave { member } => {
                self.members.remove(&member);
                self.targets.remove(&member);
            }
            Change::Grow { topic, by } => *self.topics.entry(topic).or_default() += i32::from(by),
            Change::Delete { topic } => _ = self.topics.remove(&topic),
        }
    }

    /// With all topics for everyone, or with those of each member's mask.
    fn spec(&self) -> (GroupSpec, Topics) {
        let mut topics = Topics::default();
        self.topics.iter().for_each(|(&number, &count)| topics.insert(topic(u64::from(number), count)));
        let subscription = |mask: u8| -> Arc<[TopicId]> {
            let wanted = self.topics.keys().filter(|&&number| self.same || mask >> number & 1 == 1);
            wanted.map(|&number| topic(u64::from(number), 0).id).collect()
        };
        let members = self.members.iter().map(|(&number, &(mask, instance))| Member {
            id: Text::from(format!("m{number:02}")),
            instance_id: instance.then(|| Text::from(format!("i{}", 99 - number))),
            topics: subscription(mask),
            target: self.targets.get(&number).cloned().unwrap_or_default(),
        });
        let kind = if self.same { Subscriptions::Homogeneous } else { Subscriptions::Heterogeneous };
        (GroupSpec { subscriptions: kind, members: members.collect() }, topics)
    }
}

fn sizes(assigned: &[Arc<Assigned>]) -> Vec<usize> {
    assigned.iter().map(|assigned| assigned.values().map(Vec::len).sum()).collect()
}

/// `EveryPartitionOnce`, and the form that `Assigned` promises.
fn check_validity(group: &GroupSpec, topics: &Topics, assigned: &[Arc<Assigned>]) {
    assert_eq!(assigned.len(), group.members.len());
    let mut given = BTreeSet::new();
    for (member, assigned) in group.members.iter().zip(assigned) {
        for (topic, partitions) in assigned.iter() {
            assert!(member.topics.contains(topic), "{} does not want {topic}", member.id);
            assert!(!partitions.is_empty() && partitions.is_sorted());
            assert!(partitions.iter().all(|&partition| given.insert((*topic, partition))), "twice");
        }
    }
    let wanted: BTreeSet<TopicId> =
        group.members.iter().flat_map(|member| member.topics.iter().copied()).collect();
    let all = wanted.iter().flat_map(|&id| (0..topics.by_id(id).unwrap().partitions).map(move |p| (id, p)));
    assert_eq!(given, all.collect());
}

/// No partition can be moved to a subscriber of its topic that has at least two fewer.
fn check_balance(group: &GroupSpec, assigned: &[Arc<Assigned>]) {
    let sizes = sizes(assigned);
    for (giver, held) in assigned.iter().enumerate() {
        for topic in held.keys() {
            let takers = group.members.iter().enumerate().filter(|(_, member)| member.topics.contains(topic));
            for (taker, member) in takers {
                assert!(sizes[giver] <= sizes[taker] + 1, "{topic} could move to {}", member.id);
            }
        }
    }
}

/// Where all want the same, a member loses what exceeds its share and nothing else.
fn check_stickiness(group: &GroupSpec, topics: &Topics, assigned: &[Arc<Assigned>]) {
    let all: usize =
        group.members[0].topics.iter().map(|&id| topics.by_id(id).unwrap().partitions as usize).sum();
    let least = all / group.members.len();
    let mut may_keep_more = all % group.members.len();
    let mut lost_one_more = 0;
    for (member, now) in group.members.iter().zip(assigned) {
        let before: Vec<(TopicId, i32)> = member
            .target
            .iter()
            .filter(|(topic, _)| member.topics.contains(topic))
            .flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
            .filter(|(topic, partition)| *partition < topics.by_id(*topic).unwrap().partitions)
            .collect();
        let kept = before
            .iter()
            .filter(|(topic, partition)| now.get(topic).is_some_and(|now| now.contains(partition)))
            .count();
        assert!(kept >= before.len().min(least), "{} lost what it could keep", member.id);
        if before.len() > least {
            may_keep_more = may_keep_more.saturating_sub(kept - least);
            lost_one_more += usize::from(kept == least);
        }
    }
    assert!(may_keep_more == 0 || lost_one_more == 0, "somebody lost a partition that it could have kept");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn uniform_is_valid_balanced_and_sticky(
        same in any::<bool>(), changes in prop::collection::vec((change(), any::<bool>()), 1..60)
    ) {
        let mut life = Life { same, topics: BTreeMap::from([(0, 5)]), members: BTreeMap::new(), targets: BTreeMap::new() };
        for (change, assign) in changes {
            life.apply(&change);
            let (group, topics) = life.spec();
            if !assign || group.members.is_empty() {
                continue;
            }
            let assigned = Assignor::Uniform.assign(&group, &topics).unwrap();
            check_validity(&group, &topics, &assigned);
            if same {
                check_balance(&group, &assigned);
                check_stickiness(&group, &topics, &assigned);
            }
            life.targets = life.members.keys().copied().zip(assigned.iter().cloned()).collect();
            let (group, _) = life.spec();
            let again = Assignor::Uniform.assign(&group, &topics).unwrap();
            if same {
                let unchanged = again.iter().zip(&assigned).all(|(again, before)| Arc::ptr_eq(again, before));
                prop_assert!(unchanged, "what is assigned stays");
            }
        }
    }

    #[test]
    fn range_is_valid_and_takes_no_notice_of_the_past(
        same in any::<bool>(), changes in prop::collection::vec(change(), 1..30)
    ) {
        let mut life = Life { same, topics: BTreeMap::from([(0, 5)]), members: BTreeMap::new(), targets: BTreeMap::new() };
        for change in changes {
            life.apply(&change);
            let (group, topics) = life.spec();
            let assigned = Assignor::Range.assign(&group, &topics).unwrap();
            check_validity(&group, &topics, &assigned);
            life.targets = life.members.keys().copied().zip(assigned.iter().cloned()).collect();
            prop_assert_eq!(Assignor::Range.assign(&life.spec().0, &topics).unwrap(), assigned);
        }
    }
}

/// Where the subscribers of each topic want the same topics, different subscriptions come out balanced too.
#[test]
fn groups_within_a_group_are_balanced() {
    let mut topics = Topics::default();
    (1..=4).for_each(|number| topics.insert(topic(number, 7 * number as i32)));
    let wanted = |number: u64| -> Arc<[TopicId]> {
        if number.is_multiple_of(2) {
            [topic(1, 0).id, topic(4, 0).id].into()
        } else {
            [topic(2, 0).id, topic(3, 0).id].into()
        }
    };
    let member = |number: u64| Member {
        id: Text::from(format!("m{number:02}")),
        instance_id: None,
        topics: wanted(number),
        target: Arc::default(),
    };
    let members = (0..9).map(member).collect();
    let mut group = GroupSpec { subscriptions: Subscriptions::Heterogeneous, members };
    for _ in 0..8 {
        let assigned = Assignor::Uniform.assign(&group, &topics).unwrap();
        check_validity(&group, &topics, &assigned);
        check_balance(&group, &assigned);
        group.members.iter_mut().zip(assigned).for_each(|(member, assigned)| member.target = assigned);
        group.members.remove(0);
    }
}

/// A thousand members over a thousand partitions, of one topic and of as many topics, joining in tens.
#[test]
fn a_thousand_members_come_to_one_partition_each() {
    for (topics_count, partitions) in [(1, 1000), (1000, 1)] {
        let mut topics = Topics::default();
        (0..topics_count).for_each(|number| topics.insert(topic(number, partitions)));
        let subscription: Arc<[TopicId]> = (0..topics_count).map(|number| topic(number, 0).id).collect();
        let mut group = GroupSpec { subscriptions: Subscriptions::Homogeneous, members: Vec::new() };
        for number in 0..1000 {
            let id = Text::from(format!("m{number:04}"));
            let topics_wanted = subscription.clone();
            group.members.push(Member {
                id,
                instance_id: None,
                topics: topics_wanted,
                target: Arc::default(),
            });
            if number % 10 != 9 {
                continue;
            }
            let assigned = Assignor::Uniform.assign(&group, &topics).unwrap();
            group.members.iter_mut().zip(assigned).for_each(|(member, assigned)| member.target = assigned);
        }
        let targets: Vec<Arc<Assigned>> = group.members.iter().map(|member| member.target.clone()).collect();
        assert_eq!(sizes(&targets), vec![1; 1000]);
    }
}
