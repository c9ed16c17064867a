//! Server-side assignors (KIP-848): pure functions from what members want and have to who reads what, with Kafka 4.3's results.
//!
//! - `uniform` gives every member as many partitions as any other, and moves as few as that takes. Where all members want the same
//!   topics ([`homogeneous`]) one pass does it; where they differ ([`heterogeneous`]) partitions wander from the fullest members to
//!   the emptiest, topic by topic.
//! - `range` gives each subscriber of a topic a run of its partitions, the same run of every topic of that size. It starts from
//!   nothing each time; members with an instance id come first, so that they keep their runs.
//!
//! Kafka 4.3's assignors do not look at racks, and neither do these: a rack only makes a group's metadata change. Where Kafka goes
//! by the order of a hash table, the order here is the one of the ids.
//!
//! Invariants, by name:
//! - `EveryPartitionOnce`: each partition of a topic that somebody subscribes to is given to exactly one of its subscribers.
//! - `LinearCost`: time and memory grow with members + subscriptions + partitions, never with members × partitions.
//! - `SameAnswer`: equal specifications give equal assignments. What does not change for a member is the very same `Arc`.

mod heterogeneous;
mod homogeneous;
mod range;

use std::collections::BTreeMap;
use std::sync::Arc;

use dohle_types::TopicId;
use dohle_wire::Text;

use crate::topics::Topics;

/// Partitions by topic: ascending, and no topic without partitions.
pub type Assigned = BTreeMap<TopicId, Vec<i32>>;

/// The assignors of the consumer protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    Uniform,
    Range,
}

/// Whether all members of a group want the same topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscriptions {
    Homogeneous,
    Heterogeneous,
}

/// A group as an assignor sees it.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    pub subscriptions: Subscriptions,
    /// In the order of their ids.
    pub members: Vec<Member>,
}

#[derive(Clone, Debug)]
pub struct Member {
    pub id: Text,
    pub instance_id: Option<Text>,
    /// The topics it subscribes to, ascending; members that want the same may share one list.
    pub topics: Arc<[TopicId]>,
    /// What it was to have so far.
    pub target: Arc<Assigned>,
}

/// Why there is no assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignorError {
    /// A member subscribes to a topic that does not exist.
    UnknownTopic(TopicId),
}

impl Assignor {
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Who is to have what, in the order of the members.
    pub fn assign(self, group: &GroupSpec, topics: &Topics) -> Result<Vec<Arc<Assigned>>, AssignorError> {
        debug_assert!(
            group.members.is_sorted_by(|a, b| a.id < b.id),
            "members are in the order of their ids"
        );
        debug_assert!(group.members.iter().all(|member| member.topics.is_sorted()), "topics are ascending");
        let assigned = match (self, group.subscriptions) {
            (Self::Range, _) => range::assign(group, topics)?,
            (Self::Uniform, Subscriptions::Homogeneous) => homogeneous::assign(&group.members, topics)?,
            (Self::Uniform, Subscriptions::Heterogeneous) => heterogeneous::assign(&group.members, topics)?,
        };
        Ok(keep_unchanged(&group.members, assigned))
    }
}

/// Members whose assignment stays keep the one they have.
fn keep_unchanged(members: &[Member], assigned: Vec<Assigned>) -> Vec<Arc<Assigned>> {
    assigned
        .into_iter()
        .zip(members)
        .map(|(new, member)| if new == *member.target { member.target.clone() } else { Arc::new(new) })
        .collect()
}

/// How many partitions a topic has that somebody subscribes to.
fn partition_count(topics: &Topics, topic: TopicId) -> Result<usize, AssignorError> {
    let topic = topics.by_id(topic).ok_or(AssignorError::UnknownTopic(topic))?;
    Ok(usize::try_from(topic.partitions).unwrap_or(0))
}

/// A partition's number on the wire. Counts come from `i32`, so an index below one fits.
fn number(partition: usize) -> i32 {
    i32::try_from(partition).expect("a topic has no more partitions than an i32 counts")
}
