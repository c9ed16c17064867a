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

#[cfg(test)]
mod tests {
    use dohle_coordinator::frame::{Moment, Record, ReplyTo, Shard};
    use dohle_coordinator::groups::{
        Ask, Client, Event, GroupCoordinator, GroupRecord, Request, Response, Settings,
    };
    use dohle_types::{Offset, TimestampMs, TopicId};
    use dohle_wire::messages::{
        ConsumerGroupHeartbeatRequest, PartitionRecord, RegisterBrokerRecord, TopicRecord,
    };
    use dohle_wire::{ConsumerOffsetsValue as Value, MetadataRecord};

    use super::*;

    const TOPIC: TopicId = TopicId::from_u128(0x4001);

    /// The brokers 1, 2, ... with their racks, and the topic `t` with the replicas of its partitions.
    fn image(racks: &[Option<&str>], replicas: &[&[i32]]) -> Arc<Image> {
        let mut records: Vec<MetadataRecord> = Vec::new();
        for (id, rack) in (1..).zip(racks) {
            let rack = rack.map(Text::from);
            records.push(RegisterBrokerRecord { broker_id: id, rack, ..Default::default() }.into());
        }
        records.push(TopicRecord { name: "t".into(), topic_id: TOPIC, ..Default::default() }.into());
        for (partition_id, replicas) in (0..).zip(replicas) {
            let record = PartitionRecord {
                partition_id,
                topic_id: TOPIC,
                replicas: replicas.to_vec(),
                isr: replicas.to_vec(),
                leader: replicas[0],
                ..Default::default()
            };
            records.push(record.into());
        }
        let mut image = Image::default();
        for (offset, record) in (0..).zip(&records) {
            image.replay(record, Offset(offset)).expect("a record of the metadata");
        }
        Arc::new(image)
    }

    fn racks_of(topics: &Topics) -> Vec<Vec<&str>> {
        let racks = &topics.by_name("t").expect("the topic").racks;
        racks.iter().map(|racks| racks.iter().map(|rack| &**rack).collect()).collect()
    }

    const REPLICAS: &[&[i32]] = &[&[1, 2], &[2, 3], &[2]];

    #[test]
    fn racks_of_brokers_are_racks_of_partitions() {
        let cluster = ClusterTopics::default();
        let (none, some) = (image(&[None; 3], REPLICAS), image(&[Some("r1"), None, Some("r3")], REPLICAS));
        assert_eq!(racks_of(&cluster.at(&none)), Vec::<Vec<&str>>::new());
        assert_eq!(racks_of(&cluster.at(&some)), [vec!["r1"], vec!["r3"], vec![]]);
        assert_eq!(changes(&none, &some).expect("racks that are new").changed, ["t"]);
        // A broker that starts again elsewhere moves what it holds.
        let moved = image(&[Some("r1"), Some("r2"), Some("r3")], REPLICAS);
        assert_eq!(racks_of(&cluster.at(&moved)), [vec!["r1", "r2"], vec!["r2", "r3"], vec!["r2"]]);
        assert_eq!(changes(&some, &moved).expect("a rack that is new").changed, ["t"]);
        // So does a reassignment, while all racks stay.
        let reassigned = image(&[Some("r1"), Some("r2"), Some("r3")], &[&[1, 3], &[2, 3], &[2]]);
        assert_eq!(racks_of(&cluster.at(&reassigned)), [vec!["r1", "r3"], vec!["r2", "r3"], vec!["r2"]]);
        assert_eq!(changes(&moved, &reassigned).expect("other replicas").changed, ["t"]);
        assert_eq!(changes(&reassigned, &reassigned), None);
    }

    /// One heartbeat of the only member: the epoch it is told, and the racks of members that were written down.
    fn beat(
        shard: &mut Shard<GroupCoordinator>,
        tick_ms: u64,
        epoch: i32,
        rack: Option<&str>,
    ) -> (i32, Vec<Option<Text>>) {
        let joins = epoch == 0;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: "m".into(),
            member_epoch: epoch,
            rack_id: rack.map(Text::from),
            rebalance_timeout_ms: if joins { 60_000 } else { -1 },
            subscribed_topic_names: joins.then(|| vec!["t".into()]),
            topic_partitions: joins.then(Vec::new),
            ..Default::default()
        };
        let request =
            Request { client: Client::default(), version: 1, ask: Ask::ConsumerGroupHeartbeat(request) };
        shard.handle(moment(tick_ms), ReplyTo(0), request);
        let batch = shard.take_batch().unwrap_or_default();
        let answers = shard.take_ready().into_iter().chain(batch.replies);
        let epochs = answers.map(|(_, answer)| match answer {
            Ok(Response::ConsumerGroupHeartbeat(answer)) if answer.error_code == 0 => answer.member_epoch,
            other => panic!("{other:?}"),
        });
        let epochs: Vec<i32> = epochs.collect();
        let [epoch] = *epochs else { panic!("one answer, not {epochs:?}") };
        let written = batch.records.into_iter().map(|record| {
            let record = GroupRecord::decode(record.key, record.value).expect("readable").expect("known");
            record.value.map(|(value, _)| value)
        });
        let racks = written.filter_map(|value| match value {
            Some(Value::ConsumerGroupMemberMetadata(member)) => Some(member.rack_id),
            _ => None,
        });
        (epoch, racks.collect())
    }

    fn moment(tick_ms: u64) -> Moment {
        let wall = TimestampMs(1_700_000_000_000 + i64::try_from(tick_ms).expect("a test's time"));
        Moment { wall, tick_ms, chance: tick_ms }
    }

    #[test]
    fn racks_reach_the_group() {
        let cluster = ClusterTopics::default();
        let before = image(&[Some("r1"), None, Some("r3")], REPLICAS);
        let settings = Arc::new(Settings::default());
        let coordinator = GroupCoordinator::new(settings, cluster.at(&before), BTreeMap::new());
        let mut shard = Shard::new(coordinator, 1_048_588);
        shard.loaded(moment(0));
        let (first, racks) = beat(&mut shard, 1, 0, Some("r1"));
        assert_eq!(racks, [Some(Text::from("r1"))], "the client's rack is written down");
        assert_eq!(beat(&mut shard, 5000, first, None), (first, vec![]), "nothing has changed");
        let after = image(&[Some("r1"), Some("r2"), Some("r3")], REPLICAS);
        let news = changes(&before, &after).expect("a rack that is new");
        shard.notice(moment(6000), Event::Topics(cluster.at(&after), Arc::new(news)));
        let (second, racks) = beat(&mut shard, 10_000, first, None);
        assert!(second > first, "a broker's rack makes the group compute anew");
        assert_eq!(racks, []);
        let (_, racks) = beat(&mut shard, 15_000, second, Some("r2"));
        assert_eq!(racks, [Some(Text::from("r2"))]);
    }
}
