//! The assignor of cooperative members: partitions stay where they are as far as the balance allows, and those that are to move belong
//! to nobody until their owner has given them up.

use std::collections::{BTreeMap, BTreeSet};

use dohle_wire::Text;

/// A partition by its topic's number.
pub type Place = (usize, i32);

/// What a member has told its leader.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub topics: BTreeSet<usize>,
    pub owned: BTreeSet<Place>,
    /// The generation that gave it what it owns.
    pub generation: i32,
}

#[derive(Clone, Debug, Default)]
pub struct Dealt {
    pub given: BTreeMap<Text, BTreeSet<Place>>,
    /// Partitions that their owners have to give up first.
    pub withheld: usize,
}

/// `partitions` are those of each topic, by number.
pub fn assign(wishes: &BTreeMap<Text, Wish>, partitions: &[i32]) -> Dealt {
    let owners = owners(wishes);
    let mut dealt = Dealt::default();
    wishes.keys().for_each(|id| _ = dealt.given.insert(id.clone(), BTreeSet::new()));
    for (topic, &count) in partitions.iter().enumerate() {
        let subscribers: Vec<&Text> =
            wishes.iter().filter(|(_, wish)| wish.topics.contains(&topic)).map(|(id, _)| id).collect();
        for (partition, subscriber) in share(topic, count, &subscribers, &owners) {
            // Whoever owns a partition may have left the topic, and has it still.
            match owners.get(&(topic, partition)) {
                Some(owner) if *owner != subscriber => dealt.withheld += 1,
                _ => _ = dealt.given.get_mut(subscriber).expect("a member").insert((topic, partition)),
            }
        }
    }
    dealt
}

/// Of several who claim a partition the youngest generation is right.
fn owners(wishes: &BTreeMap<Text, Wish>) -> BTreeMap<Place, &Text> {
    let mut owners: BTreeMap<Place, (i32, &Text)> = BTreeMap::new();
    for (id, wish) in wishes {
        for place in &wish.owned {
            let claim = owners.entry(*place).or_insert((wish.generation, id));
            if claim.0 < wish.generation {
                *claim = (wish.generation, id);
            }
        }
    }
    owners.into_iter().map(|(place, (_, id))| (place, id)).collect()
}

/// Who is to have which partition of a topic: nobody has two more than another, and as few as possible move.
fn share<'a>(
    topic: usize,
    count: i32,
    subscribers: &[&'a Text],
    owners: &BTreeMap<Place, &'a Text>,
) -> BTreeMap<i32, &'a Text> {
    if subscribers.is_empty() {
        return BTreeMap::new();
    }
    let (least, mut larger) = (count as usize / subscribers.len(), count as usize % subscribers.len());
    let mut shares: BTreeMap<&Text, usize> = subscribers.iter().map(|id| (*id, 0)).collect();
    let mut given = BTreeMap::new();
    for partition in 0..count {
        let Some(owner) = owners.get(&(topic, partition)) else { continue };
        let Some(has) = shares.get_mut(owner) else { continue };
        if *has > least || *has == least && larger == 0 {
            continue;
        }
        larger -= usize::from(*has == least);
        *has += 1;
        given.insert(partition, *owner);
    }
    for partition in 0..count {
        if given.contains_key(&partition) {
            continue;
        }
        let poorest = subscribers.iter().min_by_key(|id| shares[*id]).expect("there is one");
        *shares.get_mut(poorest).expect("a subscriber") += 1;
        given.insert(partition, *poorest);
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(owned: &[i32], generation: i32) -> Wish {
        Wish { topics: [0].into(), owned: owned.iter().map(|p| (0, *p)).collect(), generation }
    }

    fn given(wishes: &[(&str, Wish)], partitions: i32) -> (Vec<Vec<i32>>, usize) {
        let wishes = wishes.iter().map(|(id, wish)| (Text::from(*id), wish.clone())).collect();
        let dealt = assign(&wishes, &[partitions]);
        let partitions = |given: &BTreeSet<Place>| given.iter().map(|(_, p)| *p).collect();
        (dealt.given.values().map(partitions).collect(), dealt.withheld)
    }

    #[test]
    fn what_moves_belongs_to_nobody_first() {
        let two = [("a", wish(&[0, 1, 2, 3], 4)), ("b", wish(&[], -1))];
        assert_eq!(given(&two, 4), (vec![vec![0, 1], vec![]], 2));
        let two = [("a", wish(&[0, 1], 5)), ("b", wish(&[], 5))];
        assert_eq!(given(&two, 4), (vec![vec![0, 1], vec![2, 3]], 0));
    }

    #[test]
    fn of_two_claims_the_younger_is_right() {
        let two = [("a", wish(&[0, 1], 4)), ("b", wish(&[1], 5))];
        assert_eq!(given(&two, 2), (vec![vec![0], vec![1]], 0));
    }

    #[test]
    fn what_somebody_has_who_left_the_topic_waits_too() {
        let mut gone = wish(&[0], 3);
        gone.topics.clear();
        assert_eq!(given(&[("a", gone), ("b", wish(&[], -1))], 1), (vec![vec![], vec![]], 1));
    }
}
