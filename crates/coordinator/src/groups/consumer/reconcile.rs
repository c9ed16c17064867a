//! How a member moves from what it owns to what it is to own: give up first, then take what is free.
//!
//! ```text
//!                         target moved, nothing to give up, all free
//!            ┌────────────────────────────────────────────────────────────────┐
//!            │                                                                ▼
//!        ┌────────┐  must give up   ┌──────────────────────┐  gave up     ┌────────┐
//!   ────►│ Stable ├────────────────►│ UnrevokedPartitions  ├─────────────►│ Stable │
//!        └───┬────┘                 └──────────┬───────────┘              └────────┘
//!            │  others own some     gave up,   │                              ▲
//!            │                      others own ▼ some     all free            │
//!            └─────────────────────►┌──────────────────────┐──────────────────┘
//!                                   │ UnreleasedPartitions │
//!                                   └──────────────────────┘
//! ```
//!
//! A pure function. Invariant `OneOwner`: a partition is added only if no other member has it, given up or not.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;

use super::denied::Denied;
use super::member::{Epochs, Member, MemberState};
use crate::groups::assignors::Assigned;
use crate::topics::Topics;

/// What a member says it has: topics with partitions.
pub type Owned = [(TopicId, Vec<i32>)];

/// The topics that a member subscribes to, by name or by pattern.
pub struct Subscribed<'a> {
    pub topics: &'a Topics,
    pub names: &'a BTreeSet<Text>,
    pub matched: Option<&'a BTreeSet<Text>>,
}

impl Subscribed<'_> {
    fn contains(&self, topic: TopicId) -> bool {
        self.topics.by_id(topic).is_some_and(|topic| {
            self.names.contains(&topic.name) || self.matched.is_some_and(|names| names.contains(&topic.name))
        })
    }
}

/// What the group holds for a member.
pub struct Goal<'a> {
    pub epoch: i32,
    pub target: &'a Assigned,
    pub subscribed: Subscribed<'a>,
    /// The member has just changed what it subscribes to.
    pub subscription_changed: bool,
    /// Whether a partition is anybody's.
    pub is_owned: &'a dyn Fn(TopicId, i32) -> bool,
}

/// The member after a step towards the goal; borrowed if there was none to take.
pub fn step<'m>(
    member: &'m Member,
    goal: &Goal<'_>,
    owned: Option<&Owned>,
) -> Result<Cow<'m, Member>, Denied> {
    let next = |epoch| next_assignment(member, epoch, goal, owned);
    let drop_unsubscribed = || match goal.subscription_changed {
        true => without_unsubscribed(member, goal, owned),
        false => Cow::Borrowed(member),
    };
    Ok(match member.state {
        MemberState::Stable if member.epoch != goal.epoch => next(member.epoch),
        MemberState::Stable => drop_unsubscribed(),
        MemberState::UnrevokedPartitions if owns_any(owned, &member.revoking) => drop_unsubscribed(),
        MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => next(member.epoch),
        MemberState::Unknown if owned.is_some_and(<[_]>::is_empty) => next(goal.epoch),
        MemberState::Unknown => {
            return Err(Denied::new(
                ErrorCode::FencedMemberEpoch,
                "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.",
            ));
        }
    })
}

/// Whether the member may still read any of these partitions: it says so, or it says nothing.
fn owns_any(owned: Option<&Owned>, partitions: &Epochs) -> bool {
    let Some(owned) = owned else { return true };
    owned.iter().any(|(topic, owned)| {
        partitions
            .get(topic)
            .is_some_and(|partitions| owned.iter().any(|owned| partitions.contains_key(owned)))
    })
}

/// Takes away what the member has stopped to subscribe to, before there is a new target.
fn without_unsubscribed<'m>(member: &'m Member, goal: &Goal<'_>, owned: Option<&Owned>) -> Cow<'m, Member> {
    if member.assigned.keys().all(|topic| goal.subscribed.contains(*topic)) {
        return Cow::Borrowed(member);
    }
    let (kept, dropped): (Epochs, Epochs) =
        member.assigned.clone().into_iter().partition(|(topic, _)| goal.subscribed.contains(*topic));
    let mut revoking = member.revoking.clone();
    for (topic, partitions) in dropped {
        revoking.entry(topic).or_default().extend(partitions);
    }
    let mut next = member.clone();
    next.move_to_epoch(member.epoch);
    next.assigned = kept;
    if owns_any(owned, &revoking) {
        next.state = MemberState::UnrevokedPartitions;
        next.revoking = revoking;
    }
    Cow::Owned(next)
}

fn next_assignment<'m>(
    member: &'m Member,
    epoch: i32,
    goal: &Goal<'_>,
    owned: Option<&Owned>,
) -> Cow<'m, Member> {
    let Split { kept, revoked, added, unreleased } = split(member, goal);
    let mut next = member.clone();
    if !revoked.is_empty() && owns_any(owned, &revoked) {
        next.state = MemberState::UnrevokedPartitions;
        next.move_to_epoch(epoch);
        next.assigned = kept;
        next.revoking = revoked;
        return Cow::Owned(next);
    }
    next.state = if unreleased { MemberState::UnreleasedPartitions } else { MemberState::Stable };
    next.move_to_epoch(goal.epoch);
    next.assigned = kept;
    next.revoking = Epochs::new();
    for (topic, partitions) in added {
        next.assigned.entry(topic).or_default().extend(partitions.into_iter().map(|at| (at, goal.epoch)));
    }
    Cow::Owned(next)
}

/// What is, held against what is to be.
struct Split {
    kept: Epochs,
    revoked: Epochs,
    /// To be added, and free.
    added: BTreeMap<TopicId, Vec<i32>>,
    /// Some that are to be added are not free.
    unreleased: bool,
}

fn split(member: &Member, goal: &Goal<'_>) -> Split {
    let mut split =
        Split { kept: Epochs::new(), revoked: Epochs::new(), added: BTreeMap::new(), unreleased: false };
    let topics: BTreeSet<TopicId> = goal.target.keys().chain(member.assigned.keys()).copied().collect();
    for topic in topics {
        let target: &[i32] = match goal.target.get(&topic) {
            Some(target) if goal.subscribed.contains(topic) => target,
            _ => &[],
        };
        let (kept, revoked): (BTreeMap<i32, i32>, BTreeMap<i32, i32>) = member
            .assigned
            .get(&topic)
            .into_iter()
            .flatten()
            .map(|(partition, epoch)| (*partition, *epoch))
            .partition(|(partition, _)| target.binary_search(partition).is_ok());
        let own_revoking = member.revoking.get(&topic);
        let mut added = Vec::new();
        for partition in target.iter().filter(|partition| !kept.contains_key(partition)) {
            let its_own = own_revoking.is_some_and(|partitions| partitions.contains_key(partition));
            if its_own || !(goal.is_owned)(topic, *partition) || cfg!(dohle_bug = "unreleased") {
                added.push(*partition);
            } else {
                split.unreleased = true;
            }
        }
        insert(&mut split.kept, topic, kept, BTreeMap::is_empty);
        insert(&mut split.revoked, topic, revoked, BTreeMap::is_empty);
        insert(&mut split.added, topic, added, Vec::is_empty);
    }
    split
}

fn insert<T>(map: &mut BTreeMap<TopicId, T>, topic: TopicId, value: T, is_empty: fn(&T) -> bool) {
    if !is_empty(&value) {
        map.insert(topic, value);
    }
}
