//! Borrowed maps of configuration: what a resource has been given over its defaults.

/// Keys and values of one resource, sorted by key. Borrowed from whatever map the caller keeps:
/// `map.iter().map(|(k, v)| (&**k, &**v)).collect::<Overrides>()`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Overrides<'a> {
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.binary_search_by(|(key, _)| (*key).cmp(name)).ok().map(|at| self.0[at].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Overrides<'a> {
    /// Of two values for one key the later one counts.
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.reverse();
        pairs.sort_by_key(|(name, _)| *name);
        pairs.dedup_by(|later, earlier| later.0 == earlier.0);
        Self(pairs)
    }
}

/// The dynamic configuration that applies to one broker: its own, and the cluster-wide default (the broker resource named "").
#[derive(Clone, Debug, Default)]
pub struct BrokerDynamic<'a> {
    pub per_broker: Overrides<'a>,
    pub cluster_default: Overrides<'a>,
}

impl BrokerDynamic<'_> {
    pub const fn none() -> Self {
        Self { per_broker: Overrides::none(), cluster_default: Overrides::none() }
    }
}
