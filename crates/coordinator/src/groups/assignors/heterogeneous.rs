//! `uniform` where members want different topics: what nobody has goes to the emptiest subscribers, and then partitions wander
//! from the fullest subscribers of each topic to its emptiest until that changes nothing, or long enough.

use dohle_types::TopicId;

use super::{Assigned, AssignorError, Member, number, partition_count};
use crate::topics::Topics;

/// How often all topics are looked at. Where subscriptions overlap without being the same, each round about halves what is left to
/// balance; this many get close enough.
const MAX_ROUNDS: usize = 16;

/// A member, by its place in the specification.
type Place = usize;

struct Topic {
    id: TopicId,
    /// Ascending.
    subscribers: Vec<Place>,
    owners: Vec<Option<Place>>,
}

pub fn assign(members: &[Member], topics: &Topics) -> Result<Vec<Assigned>, AssignorError> {
    let mut subscribed = subscribed(members, topics)?;
    let mut sizes = keep(members, &mut subscribed);
    let order = wandering_order(&subscribed);
    for &at in &order {
        hand_out(&mut subscribed[at], &mut sizes);
    }
    let movable: Vec<usize> = order.into_iter().filter(|&at| subscribed[at].subscribers.len() >= 2).collect();
    balance(&mut subscribed, &movable, &mut sizes);

    let mut assigned = vec![Assigned::new(); members.len()];
    for topic in &subscribed {
        for (partition, owner) in topic.owners.iter().enumerate() {
            let owner = owner.expect("every partition has been handed out");
            assigned[owner].entry(topic.id).or_default().push(number(partition));
        }
    }
    Ok(assigned)
}

/// All topics that somebody subscribes to, in the order of their ids.
fn subscribed(members: &[Member], topics: &Topics) -> Result<Vec<Topic>, AssignorError> {
    let mut wanted: Vec<(TopicId, Place)> = Vec::new();
    for (place, member) in members.iter().enumerate() {
        wanted.extend(member.topics.iter().map(|&topic| (topic, place)));
    }
    wanted.sort_unstable();
    let mut subscribed: Vec<Topic> = Vec::new();
    for wishes in wanted.chunk_by(|a, b| a.0 == b.0) {
        let id = wishes[0].0;
        let subscribers = wishes.iter().map(|(_, place)| *place).collect();
        subscribed.push(Topic { id, subscribers, owners: vec![None; partition_count(topics, id)?] });
    }
    Ok(subscribed)
}

/// Leaves to members what they have and still want. Returns how much that is for each.
fn keep(members: &[Member], subscribed: &mut [Topic]) -> Vec<i64> {
    let mut sizes = vec![0; members.len()];
    for (place, member) in members.iter().enumerate() {
        for (&id, partitions) in member.target.iter() {
            let Ok(at) = subscribed.binary_search_by_key(&id, |topic| topic.id) else { continue };
            let topic = &mut subscribed[at];
            if topic.subscribers.binary_search(&place).is_err() {
                continue;
            }
            for &partition in partitions {
                let slot = usize::try_from(partition).ok().and_then(|index| topic.owners.get_mut(index));
                if let Some(owner @ None) = slot {
                    *owner = Some(place);
                    sizes[place] += 1;
                }
            }
        }
    }
    sizes
}

/// The topics' places: those with most partitions per subscriber first, for they are the hardest to even out later.
fn wandering_order(subscribed: &[Topic]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..subscribed.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&subscribed[a], &subscribed[b]);
        let load = |topic: &Topic| topic.owners.len() as f64 / topic.subscribers.len() as f64;
        load(b)
            .total_cmp(&load(a))
            .then(a.subscribers.len().cmp(&b.subscribers.len()))
            .then(java_order(a.id).cmp(&java_order(b.id)))
    });
    order
}

/// Kafka compares ids as two signed numbers.
fn java_order(id: TopicId) -> (i64, i64) {
    let bits = u128::from_be_bytes(id.0);
    ((bits >> 64) as i64, bits as i64)
}

/// Gives what nobody has of a topic to its emptiest subscribers.
fn hand_out(topic: &mut Topic, sizes: &mut [i64]) {
    if topic.owners.iter().all(Option::is_some) {
        return;
    }
    let mut level = Levels::of(&topic.subscribers, sizes);
    for owner in topic.owners.iter_mut().filter(|owner| owner.is_none()) {
        let place = level.emptiest(sizes);
        *owner = Some(place);
        sizes[place] += 1;
    }
}

/// Goes round the topics until one whole round has moved nothing.
fn balance(subscribed: &mut [Topic], order: &[usize], sizes: &mut [i64]) {
    let mut last_moved = None;
    for _ in 0..MAX_ROUNDS {
        for &at in order {
            if last_moved == Some(at) {
                return;
            }
            if balance_topic(&mut subscribed[at], sizes) || last_moved.is_none() {
                last_moved = Some(at);
            }
        }
    }
}

/// Moves partitions of one topic from its fullest subscribers to its emptiest. Tells whether any moved.
fn balance_topic(topic: &mut Topic, sizes: &mut [i64]) -> bool {
    let mut levels = Levels::of(&topic.subscribers, sizes);
    if levels.spread(sizes) <= 1 {
        return false;
    }
    let mut piles = Piles::of(topic);
    let mut moved = false;
    while !levels.are_even() {
        let Some(giver) = levels.fullest_with(sizes, |place| piles.has_any(place)) else { break };
        let partition = piles.take_last(giver);
        let taker = levels.emptiest(sizes);
        // The step down and the step up may have met.
        if levels.are_even() {
            break;
        }
        topic.owners[partition] = Some(taker);
        sizes[giver] -= 1;
        sizes[taker] += 1;
        moved = true;
    }
    moved
}

/// A topic's partitions by owner at the beginning of a round.
struct Piles {
    /// Owner and partition, ascending.
    owned: Vec<(Place, usize)>,
    /// For each owner, ascending: where its pile starts and ends in `owned`. The end sinks as partitions are taken.
    bounds: Vec<(Place, usize, usize)>,
}

impl Piles {
    fn of(topic: &Topic) -> Self {
        let owners = topic.owners.iter().enumerate();
        let mut owned: Vec<(Place, usize)> =
            owners.filter_map(|(partition, owner)| Some(((*owner)?, partition))).collect();
        owned.sort_unstable();
        let mut bounds: Vec<(Place, usize, usize)> = Vec::new();
        for (at, &(owner, _)) in owned.iter().enumerate() {
            match bounds.last_mut() {
                Some((last, _, end)) if *last == owner => *end = at + 1,
                _ => bounds.push((owner, at, at + 1)),
            }
        }
        Self { owned, bounds }
    }

    fn find(&self, place: Place) -> Option<usize> {
        self.bounds.binary_search_by_key(&place, |(owner, ..)| *owner).ok()
    }

    fn has_any(&self, place: Place) -> bool {
        self.find(place).is_some_and(|at| self.bounds[at].1 < self.bounds[at].2)
    }

    fn take_last(&mut self, place: Place) -> usize {
        let at = self.find(place).expect("only owners give");
        self.bounds[at].2 -= 1;
        self.owned[self.bounds[at].2].1
    }
}

/// A topic's subscribers by what they have, and two ranges among them: the emptiest, filled evenly from the left, and the fullest,
/// emptied evenly from the right. A range that has been gone through once is one level higher (or lower), and grows by the
/// subscribers that stand at that level.
///
/// ```text
///   size │            ##       emptiest: [0, low_end), next at `low_next`
///        │ ...→ ]  [ ##←       fullest:  [high_start, high_end), next at `high_next`
///        │ #####]##[####       right of high_end: full, but without a partition to give
///        └──────────────► subscribers
/// ```
struct Levels {
    sorted: Vec<Place>,
    low_end: usize,
    low_next: usize,
    low_level: i64,
    high_start: usize,
    high_end: usize,
    /// One behind the next: nothing is left when it is zero.
    high_next: usize,
    high_level: i64,
}

impl Levels {
    fn of(subscribers: &[Place], sizes: &[i64]) -> Self {
        let mut sorted = subscribers.to_vec();
        sorted.sort_unstable_by_key(|&place| (sizes[place], place));
        let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
        Self {
            low_end: 0,
            low_next: 0,
            low_level: sizes[first] - 1,
            high_start: sorted.len(),
            high_end: sorted.len(),
            high_next: sorted.len(),
            high_level: sizes[last] + 1,
            sorted,
        }
    }

    /// How much more the fullest has than the emptiest, before anything moves.
    fn spread(&self, sizes: &[i64]) -> i64 {
        sizes[self.sorted[self.sorted.len() - 1]] - sizes[self.sorted[0]]
    }

    fn are_even(&self) -> bool {
        self.high_level - self.low_level <= 1
    }

    /// Who gets the next partition.
    fn emptiest(&mut self, sizes: &[i64]) -> Place {
        if self.low_next >= self.low_end {
            self.low_level += 1;
            while self.low_end < self.sorted.len() && sizes[self.sorted[self.low_end]] == self.low_level {
                self.low_end += 1;
            }
            self.low_next = 0;
        }
        self.low_next += 1;
        self.sorted[self.low_next - 1]
    }

    /// Who gives the next partition. Those that `can_give` turns down leave the range.
    fn fullest_with(&mut self, sizes: &[i64], can_give: impl Fn(Place) -> bool) -> Option<Place> {
        loop {
            if self.high_next <= self.high_start {
                self.lower(sizes);
            }
            if self.high_next == 0 {
                return None;
            }
            self.high_next -= 1;
            let place = self.sorted[self.high_next];
            if can_give(place) {
                return Some(place);
            }
            self.sorted.swap(self.high_next, self.high_end - 1);
            self.high_end -= 1;
        }
    }

    /// The range of the fullest has been gone through.
    fn lower(&mut self, sizes: &[i64]) {
        if self.high_end <= self.high_start && self.high_start > 0 {
            // All of it left; go on with whoever is next, however much lower.
            self.high_level = sizes[self.sorted[self.high_start - 1]];
        } else {
            self.high_level -= 1;
        }
        while self.high_start > 0 && sizes[self.sorted[self.high_start - 1]] == self.high_level {
            self.high_start -= 1;
        }
        self.high_next = self.high_end;
    }
}
