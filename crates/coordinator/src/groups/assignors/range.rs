//! `range`: of every topic, each subscriber reads one run of partitions.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use dohle_types::TopicId;

use super::{Assigned, AssignorError, GroupSpec, Member, Subscriptions, number, partition_count};
use crate::topics::Topics;

pub fn assign(group: &GroupSpec, topics: &Topics) -> Result<Vec<Assigned>, AssignorError> {
    let members = &group.members;
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|&a, &b| compare(&members[a], &members[b]));
    let mut assigned = vec![Assigned::new(); members.len()];
    match group.subscriptions {
        Subscriptions::Homogeneous => {
            let Some(&first) = order.first() else { return Ok(assigned) };
            for &topic in members[first].topics.iter() {
                spread(topic, partition_count(topics, topic)?, &order, &mut assigned);
            }
        }
        Subscriptions::Heterogeneous => {
            let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
            for &index in &order {
                for &topic in members[index].topics.iter() {
                    subscribers.entry(topic).or_default().push(index);
                }
            }
            for (topic, subscribers) in subscribers {
                spread(topic, partition_count(topics, topic)?, &subscribers, &mut assigned);
            }
        }
    }
    Ok(assigned)
}

/// Cuts a topic into runs, the longer ones first.
fn spread(topic: TopicId, partitions: usize, subscribers: &[usize], assigned: &mut [Assigned]) {
    let (least, extras) = (partitions / subscribers.len(), partitions % subscribers.len());
    let mut start = 0;
    for (place, &index) in subscribers.iter().enumerate() {
        if start == partitions {
            break;
        }
        let end = start + least + usize::from(place < extras);
        assigned[index].insert(topic, (start..end).map(number).collect());
        start = end;
    }
}

/// Members with an instance id come first, by that id; the others follow by their member ids.
fn compare(a: &Member, b: &Member) -> Ordering {
    match (&a.instance_id, &b.instance_id) {
        (Some(a), Some(b)) => by_utf16(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => by_utf16(&a.id, &b.id),
    }
}

/// Java compares strings by their UTF-16 units, which is another order than the one of the bytes beyond U+FFFF.
fn by_utf16(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}
