//! The topics of the cluster, as coordinators see them, kept in step with the metadata at the cost of what changed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use dohle_coordinator::topics::{Changes, Racks, Topic, Topics};
use dohle_metadata::Image;
use dohle_types::NodeId;
use dohle_wire::Text;

/// The topics of the image that was asked for last. Empty until somebody asks.
#[derive(Default)]
pub struct ClusterTopics(RefCell<Option<(Arc<Image>, Topics)>>);

impl ClusterTopics {
    /// The topics of `image`.
    pub fn at(&self, image: &Arc<Image>) -> Topics {
        let mut held = self.0.borrow_mut();
        let (from, mut topics) = match held.take() {
            Some((known, topics)) if racks(&known) == racks(image) => (Some(known), topics),
            _ => (None, Topics::default()),
        };
        let racks = racks(image);
        match from {
            Some(known) => {
                for (before, after) in known.topics.changes(&image.topics) {
                    match (before, after) {
                        (_, Some(topic)) => topics.insert(describe(&racks, topic)),
                        (Some(topic), None) => topics.remove(topic.id),
                        (None, None) => unreachable!("a change has a side"),
                    }
                }
            }
            None => image.topics.iter().for_each(|topic| topics.insert(describe(&racks, topic))),
        }
        *held = Some((image.clone(), topics.clone()));
        topics
    }
}

/// What coordinators have to know of the way from one image to another; `None` when it is nothing.
pub fn changes(old: &Image, new: &Image) -> Option<Changes> {
    let mut changes = Changes::default();
    let (racks_before, racks_after) = (racks(old), racks(new));
    let moved = racks_before != racks_after;
    if moved {
        changes.changed = new.topics.iter().map(|topic| topic.name.clone()).collect();
    }
    for (before, after) in old.topics.changes(&new.topics) {
        match (before, after) {
            (Some(before), None) => changes.deleted.push((before.name.clone(), before.id)),
            (Some(before), Some(after)) => {
                if !moved && describe(&racks_before, before) != describe(&racks_after, after) {
                    changes.changed.push(after.name.clone());
                }
            }
            (None, Some(after)) if !moved => changes.changed.push(after.name.clone()),
            (None, _) => {}
        }
    }
    (!changes.changed.is_empty() || !changes.deleted.is_empty()).then_some(changes)
}

/// The racks of the brokers that have one.
type RackOf = BTreeMap<NodeId, Text>;

fn racks(image: &Image) -> RackOf {
    image.brokers.iter().filter_map(|broker| Some((broker.id, broker.rack.clone()?))).collect()
}

fn describe(racks: &RackOf, topic: &dohle_metadata::Topic) -> Topic {
    let of =
        |replicas: &[NodeId]| replicas.iter().filter_map(|node| racks.get(node)).cloned().collect::<Racks>();
    Topic {
        id: topic.id,
        name: topic.name.clone(),
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        racks: if racks.is_empty() {
            Vec::new()
        } else {
            topic.partitions.iter().map(|(_, state)| of(&state.replicas)).collect()
        },
    }
}
