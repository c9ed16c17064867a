//! Moving a partition to other brokers: what it starts with, when it is done, and what takes it back.

use std::collections::BTreeSet;

use dohle_types::NodeId;

/// A partition on its way from one set of replicas to another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reassignment {
    /// The target replicas, then those that will go.
    pub replicas: Vec<NodeId>,
    pub removing: Vec<NodeId>,
    pub adding: Vec<NodeId>,
}

impl Reassignment {
    pub fn between(current: &[NodeId], target: &[NodeId]) -> Self {
        let difference = |a: &[NodeId], b: &[NodeId]| -> Vec<NodeId> {
            a.iter().filter(|node| !b.contains(node)).copied().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let removing = difference(current, target);
        let adding = difference(target, current);
        let replicas = target.iter().chain(&removing).copied().collect();
        Self { replicas, removing, adding }
    }
}

/// Replicas and ISR of a partition whose reassignment is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completed {
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
}

/// What the reassignment ends in if the ISR allows it to end: somebody in sync stays, every new replica is in sync, and when
/// more go than come, everybody who stays is.
pub(super) fn completed(
    replicas: &[NodeId],
    removing: &[NodeId],
    adding: &[NodeId],
    isr: &[NodeId],
) -> Option<Completed> {
    if removing.is_empty() && adding.is_empty() {
        return None;
    }
    let staying = |nodes: &[NodeId]| -> Vec<NodeId> {
        nodes.iter().filter(|node| !removing.contains(node)).copied().collect()
    };
    let done = Completed { replicas: staying(replicas), isr: staying(isr) };
    let in_sync = |nodes: &[NodeId]| nodes.iter().all(|node| done.isr.contains(node));
    let empty = !removing.is_empty() && (done.isr.is_empty() || done.replicas.is_empty());
    if empty || !in_sync(adding) || (adding.len() < removing.len() && !in_sync(&done.replicas)) {
        return None;
    }
    Some(done)
}

/// What a reassignment goes back to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reverted {
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    /// None of the old replicas is in sync: going back loses what only the new ones have.
    pub unclean: bool,
}

/// `None` when there is nothing to go back to: every replica is a new one.
pub(super) fn reverted(replicas: &[NodeId], adding: &[NodeId], isr: &[NodeId]) -> Option<Reverted> {
    let old = |nodes: &[NodeId]| -> Vec<NodeId> {
        nodes.iter().filter(|node| !adding.contains(node)).copied().collect()
    };
    let (replicas, isr) = (old(replicas), old(isr));
    if isr.is_empty() {
        let first = *replicas.first()?;
        return Some(Reverted { replicas, isr: vec![first], unclean: true });
    }
    Some(Reverted { replicas, isr, unclean: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().map(|&id| NodeId(id)).collect()
    }

    #[test]
    fn between_old_and_new() {
        let moved = Reassignment::between(&nodes(&[0, 1, 2]), &nodes(&[3, 0, 4]));
        let expected = Reassignment {
            replicas: nodes(&[3, 0, 4, 1, 2]),
            removing: nodes(&[1, 2]),
            adding: nodes(&[3, 4]),
        };
        assert_eq!(moved, expected);
    }

    #[test]
    fn going_back() {
        let back = reverted(&nodes(&[3, 0, 1]), &nodes(&[3]), &nodes(&[3]));
        assert_eq!(back, Some(Reverted { replicas: nodes(&[0, 1]), isr: nodes(&[0]), unclean: true }));
        assert_eq!(reverted(&nodes(&[3]), &nodes(&[3]), &nodes(&[3])), None);
    }
}
