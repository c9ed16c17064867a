//! A map for where most have one or two entries and a few have thousands.
//!
//! A node of a B-tree has room for eleven entries from the first one on. A coordinator keeps several maps for each of its groups, and
//! with most groups small, that room was a third of what an idle group cost. Up to [`FEW`] entries lie in a sorted vector that has grown to
//! what it needs; more are a B-tree.
//!
//! Invariant `Sorted`: the vector's keys ascend, so that both forms are walked in one order.

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::{slice, vec};

/// How many entries a vector may have. A B-tree that has shrunk to half of it becomes a vector again.
const FEW: usize = 8;

#[derive(Clone)]
pub struct SmallMap<K, V>(Form<K, V>);

#[derive(Clone)]
enum Form<K, V> {
    Few(Vec<(K, V)>),
    Many(BTreeMap<K, V>),
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self(Form::Few(Vec::new()))
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Few(few) => few.len(),
            Form::Many(many) => many.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match &self.0 {
            Form::Few(few) => find(few, key).ok().map(|at| &few[at].1),
            Form::Many(many) => many.get(key),
        }
    }

    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match &mut self.0 {
            Form::Few(few) => find(few, key).ok().map(|at| &mut few[at].1),
            Form::Many(many) => many.get_mut(key),
        }
    }

    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Puts a value under a key, and gives back the one that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let few = match &mut self.0 {
            Form::Few(few) => few,
            Form::Many(many) => return many.insert(key, value),
        };
        match find(few, &key) {
            Ok(at) => Some(std::mem::replace(&mut few[at].1, value)),
            Err(at) if few.len() < FEW => {
                if few.len() == few.capacity() {
                    // 1, 2, 4, 8: the first growth of a vector would be to four.
                    few.reserve_exact(few.len().max(1));
                }
                few.insert(at, (key, value));
                None
            }
            Err(_) => {
                let mut many: BTreeMap<K, V> = std::mem::take(few).into_iter().collect();
                many.insert(key, value);
                self.0 = Form::Many(many);
                None
            }
        }
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match &mut self.0 {
            Form::Few(few) => find(few, key).ok().map(|at| few.remove(at).1),
            Form::Many(many) => {
                let removed = many.remove(key);
                if many.len() <= FEW / 2 {
                    self.0 = Form::Few(std::mem::take(many).into_iter().collect());
                }
                removed
            }
        }
    }

    /// In the order of the keys, as all that follow.
    pub fn iter(&self) -> Iter<'_, K, V> {
        match &self.0 {
            Form::Few(few) => Iter::Few(few.iter()),
            Form::Many(many) => Iter::Many(many.iter()),
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let (few, many) = match &mut self.0 {
            Form::Few(few) => (Some(few.iter_mut()), None),
            Form::Many(many) => (None, Some(many.values_mut())),
        };
        few.into_iter().flatten().map(|(_, value)| value).chain(many.into_iter().flatten())
    }
}

fn find<K: Borrow<Q>, V, Q: Ord + ?Sized>(few: &[(K, V)], key: &Q) -> Result<usize, usize> {
    few.binary_search_by(|(known, _)| known.borrow().cmp(key))
}

impl<K: Ord + PartialEq, V: PartialEq> PartialEq for SmallMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<K: Ord, V: Eq> Eq for SmallMap<K, V> {}

impl<K: Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for SmallMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

pub enum Iter<'a, K, V> {
    Few(slice::Iter<'a, (K, V)>),
    Many(btree_map::Iter<'a, K, V>),
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(few) => few.next().map(|(key, value)| (key, value)),
            Self::Many(many) => many.next(),
        }
    }
}

impl<'a, K: Ord, V> IntoIterator for &'a SmallMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

pub enum IntoIter<K, V> {
    Few(vec::IntoIter<(K, V)>),
    Many(btree_map::IntoIter<K, V>),
}

impl<K, V> Iterator for IntoIter<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        match self {
            Self::Few(few) => few.next(),
            Self::Many(many) => many.next(),
        }
    }
}

impl<K, V> IntoIterator for SmallMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> IntoIter<K, V> {
        match self.0 {
            Form::Few(few) => IntoIter::Few(few.into_iter()),
            Form::Many(many) => IntoIter::Many(many.into_iter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u32),
        Remove(u8),
        Change(u8, u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..24_u8;
        prop_oneof![
            (key.clone(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
            key.clone().prop_map(Step::Remove),
            (key, any::<u32>()).prop_map(|(key, value)| Step::Change(key, value)),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec(step(), 0..200)) {
            let (mut small, mut model) = (SmallMap::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(key, value) => prop_assert_eq!(small.insert(key, value), model.insert(key, value)),
                    Step::Remove(key) => prop_assert_eq!(small.remove(&key), model.remove(&key)),
                    Step::Change(key, value) => {
                        if let Some(known) = small.get_mut(&key) {
                            *known = value;
                        }
                        model.entry(key).and_modify(|known| *known = value);
                        small.values_mut().for_each(|known| *known ^= 1);
                        model.values_mut().for_each(|known| *known ^= 1);
                    }
                }
                prop_assert_eq!(small.len(), model.len());
                prop_assert!(small.iter().eq(model.iter()));
                prop_assert!((0..24).all(|key| small.get(&key) == model.get(&key)));
            }
            let mut rebuilt = SmallMap::default();
            model.iter().rev().for_each(|(key, value)| _ = rebuilt.insert(*key, *value));
            prop_assert_eq!(&rebuilt, &small);
            prop_assert!(small.into_iter().eq(model));
        }
    }

    #[test]
    fn one_entry_has_room_for_one() {
        let mut map = SmallMap::default();
        map.insert(1, 'a');
        let Form::Few(few) = &map.0 else { panic!("one is few") };
        assert_eq!(few.capacity(), 1);
    }
}
