//! `uniform` where all members want the same topics: every member keeps up to its quota, what is left over fills up the others.

use dohle_types::TopicId;

use super::{Assigned, AssignorError, Member, number, partition_count};
use crate::topics::Topics;

/// A topic and which of its partitions a member has already.
struct Topic {
    id: TopicId,
    taken: Vec<bool>,
}

pub fn assign(members: &[Member], topics: &Topics) -> Result<Vec<Assigned>, AssignorError> {
    let Some(first) = members.first() else { return Ok(Vec::new()) };
    let mut subscribed = Vec::with_capacity(first.topics.len());
    for &id in first.topics.iter() {
        subscribed.push(Topic { id, taken: vec![false; partition_count(topics, id)?] });
    }
    let mut kept: Vec<Assigned> = members.iter().map(|member| existing(member, &mut subscribed)).collect();
    let mut loose: Vec<(TopicId, i32)> = subscribed.iter().flat_map(untaken).collect();
    let all: usize = subscribed.iter().map(|topic| topic.taken.len()).sum();
    let unfilled = shed(&mut kept, all, &mut loose);

    let mut loose = loose.into_iter();
    for (index, missing) in unfilled {
        for (topic, partition) in loose.by_ref().take(missing) {
            kept[index].entry(topic).or_default().push(partition);
        }
        kept[index].values_mut().for_each(|partitions| partitions.sort_unstable());
    }
    assert!(loose.next().is_none(), "the quotas add up to the number of partitions");
    Ok(kept)
}

/// What a member has of the topics that are subscribed to and exist.
fn existing(member: &Member, subscribed: &mut [Topic]) -> Assigned {
    let mut assigned = Assigned::new();
    for (&id, partitions) in member.target.iter() {
        let Ok(at) = subscribed.binary_search_by_key(&id, |topic| topic.id) else { continue };
        let topic = &mut subscribed[at];
        let mut own = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            let slot = usize::try_from(partition).ok().and_then(|index| topic.taken.get_mut(index));
            if slot.is_some_and(|taken| !std::mem::replace(taken, true)) {
                own.push(partition);
            }
        }
        if !own.is_empty() {
            assigned.insert(id, own);
        }
    }
    assigned
}

fn untaken(topic: &Topic) -> impl Iterator<Item = (TopicId, i32)> {
    let free = topic.taken.iter().enumerate().filter(|(_, taken)| !**taken);
    free.map(|(partition, _)| (topic.id, number(partition)))
}

/// Takes from each member what exceeds its quota, and tells whose quota is not reached, and by how much.
///
/// Where the partitions do not divide evenly, some members have one more. That is offered to them in order; a member that lacks it
/// passes it on as long as there are members enough behind it to take it, so that whoever has one more already keeps it.
fn shed(kept: &mut [Assigned], all: usize, loose: &mut Vec<(TopicId, i32)>) -> Vec<(usize, usize)> {
    let members = kept.len();
    let (least, mut extras) = (all / members, all % members);
    let mut unfilled = Vec::new();
    for (index, own) in kept.iter_mut().enumerate() {
        let mut extra = extras > 0;
        let mut quota = least + usize::from(extra);
        for (&topic, partitions) in own.iter_mut() {
            let keep = partitions.len().min(quota);
            quota -= keep;
            loose.extend(partitions.drain(keep..).map(|partition| (topic, partition)));
        }
        own.retain(|_, partitions| !partitions.is_empty());
        if quota > 0 && extra && members - index > extras {
            quota -= 1;
            extra = false;
        }
        if quota > 0 {
            unfilled.push((index, quota));
        }
        extras -= usize::from(extra);
    }
    unfilled
}
