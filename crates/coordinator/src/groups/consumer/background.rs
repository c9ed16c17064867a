//! Work for other threads, and which groups look at which topics.
//!
//! At most one piece of work of a kind runs for a group. What comes back for a group that has gone another way is dropped.

use std::collections::{BTreeMap, BTreeSet};

use dohle_wire::Text;

use super::regex;
use super::target::{Computation, Computed};
use crate::frame::Moment;
use crate::topics::Topics;

/// After this long without a result, work counts as lost and is started again.
const WORK_LOST_AFTER_MS: i64 = 60_000;

/// Work for another thread: an assignment, or patterns that are matched with the names of topics.
pub enum Work {
    Assign(Computation),
    Resolve(Patterns),
}

/// What came of it.
pub enum Done {
    Assigned(Computed),
    Resolved(Matches),
}

/// The patterns of a group, to be matched with the topics.
pub struct Patterns {
    pub group_id: Text,
    pub token: u64,
    pub patterns: BTreeSet<Text>,
    pub topics: Topics,
    pub timestamp: i64,
    /// How many topics had been created by then.
    pub created: u64,
}

/// What the patterns of a group match.
pub struct Matches {
    pub group_id: Text,
    pub token: u64,
    pub matches: BTreeMap<Text, BTreeSet<Text>>,
    pub version: i64,
    pub timestamp: i64,
    pub created: u64,
}

pub fn run(work: Work) -> Done {
    match work {
        Work::Assign(computation) => Done::Assigned(computation.run()),
        Work::Resolve(patterns) => Done::Resolved(Matches {
            matches: regex::resolve(&patterns.patterns, &patterns.topics),
            group_id: patterns.group_id,
            token: patterns.token,
            version: patterns.topics.version(),
            timestamp: patterns.timestamp,
            created: patterns.created,
        }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Assign,
    Resolve,
}

#[derive(Debug, Default)]
pub struct Background {
    subscribers: BTreeMap<Text, BTreeSet<Text>>,
    running: BTreeMap<(Kind, Text), Running>,
    /// Topics created since this coordinator was loaded.
    pub created: u64,
}

#[derive(Debug)]
struct Running {
    token: u64,
    lost_at: u64,
}

impl Background {
    pub fn begin(&mut self, moment: Moment, work: &Work) {
        let (kind, group_id, token) = match work {
            Work::Assign(work) => (Kind::Assign, &work.group_id, work.token),
            Work::Resolve(work) => (Kind::Resolve, &work.group_id, work.token),
        };
        let lost_at = moment.after(WORK_LOST_AFTER_MS);
        self.running.insert((kind, group_id.clone()), Running { token, lost_at });
    }

    pub fn is_running(&self, kind: Kind, group_id: &Text, moment: Moment) -> bool {
        self.running.get(&(kind, group_id.clone())).is_some_and(|running| moment.tick_ms < running.lost_at)
    }

    /// Whether this is the result that is waited for.
    pub fn end(&mut self, kind: Kind, group_id: &Text, token: u64) -> bool {
        let key = (kind, group_id.clone());
        let awaited = self.running.get(&key).is_some_and(|running| running.token == token);
        if awaited {
            self.running.remove(&key);
        }
        awaited
    }

    /// The group is gone; results for it are of no use to a later one of its name.
    pub fn forget(&mut self, group_id: &Text) {
        for kind in [Kind::Assign, Kind::Resolve] {
            self.running.remove(&(kind, group_id.clone()));
        }
    }

    pub fn watch(&mut self, group_id: &Text, topic: Text) {
        self.subscribers.entry(topic).or_default().insert(group_id.clone());
    }

    pub fn unwatch(&mut self, group_id: &Text, topic: &Text) {
        let Some(groups) = self.subscribers.get_mut(topic) else { return };
        groups.remove(group_id);
        if groups.is_empty() {
            self.subscribers.remove(topic);
        }
    }

    /// The groups whose members subscribe to a topic.
    pub fn subscribers(&self, topic: &str) -> impl Iterator<Item = &Text> {
        self.subscribers.get(topic).into_iter().flatten()
    }
}

/// A member id as the broker makes it.
pub fn random_id(seed: u64) -> Text {
    let mut state = seed;
    loop {
        let (high, low) = (mix(&mut state), mix(&mut state));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        if let Some(id) = dohle_types::TopicId::from_random(bytes) {
            return Text::from(id.to_string());
        }
    }
}

/// `SplitMix64`: a seed drawn out to as many words as are needed.
fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
