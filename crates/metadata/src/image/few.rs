//! A list that mostly has one entry, and then needs no memory but its own.

use std::fmt;
use std::ops::Deref;

/// A fixed list. A hundred thousand partitions with one replica each keep three of these apiece.
#[derive(Clone)]
pub struct Few<T>(Held<T>);

#[derive(Clone)]
enum Held<T> {
    One(T),
    Many(Box<[T]>),
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Held::One(one) => std::slice::from_ref(one),
            Held::Many(many) => many,
        }
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut list: Vec<T>) -> Self {
        match (list.len(), list.pop()) {
            (1, Some(one)) => Self(Held::One(one)),
            (_, last) => {
                list.extend(last);
                Self(Held::Many(list.into()))
            }
        }
    }
}

impl<T: Clone> From<&[T]> for Few<T> {
    fn from(list: &[T]) -> Self {
        match list {
            [one] => Self(Held::One(one.clone())),
            many => Self(Held::Many(many.into())),
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items = items.into_iter();
        match (items.next(), items.next()) {
            (Some(one), None) => Self(Held::One(one)),
            (first, second) => first.into_iter().chain(second).chain(items).collect::<Vec<T>>().into(),
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Held::Many(Box::default()))
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_it_is_made_from_it_is_that_list() {
        for list in [vec![], vec![7], vec![7, 8], vec![3, 1, 2]] {
            let made = [Few::from(list.clone()), Few::from(&list[..]), list.iter().copied().collect()];
            for few in made {
                assert_eq!((&*few, few.clone()), (&list[..], Few::from(list.clone())));
                assert_eq!(matches!(few.0, Held::One(_)), list.len() == 1);
            }
        }
        assert!(Few::<i32>::default().is_empty());
        assert_eq!(size_of::<Few<i32>>(), 16, "a node's id lies where the length of a list would");
    }
}
