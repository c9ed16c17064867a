//! Random clusters under random requests: the invariants of the crate, by name.

mod common;

use std::collections::BTreeMap;

use common::{Cluster, directory_of};
use dohle_metadata::{Image, MetadataVersion, PartitionState};
use dohle_types::{ErrorCode, NodeId, Offset, PartitionIndex, TopicId, Uuid};
use dohle_wire::messages::*;
use dohle_wire::{AnyResponse, Text};
use proptest::prelude::*;

const BROKERS: i32 = 5;
const PROPERTIES: &str = "process.roles=broker,controller\nnode.id=0\nlisteners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
    controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:9093\nlog.dirs=/nowhere\n";

/// One thing that happens to a cluster.
#[derive(Clone, Debug)]
enum Step {
    Create {
        topic: u8,
        partitions: i32,
        replicas: i16,
        min_isr: Option<i32>,
    },
    CreateAssigned {
        topic: u8,
        replicas: Vec<i32>,
    },
    Delete {
        topic: u8,
    },
    Grow {
        topic: u8,
        by: i32,
    },
    SetUnclean {
        topic: u8,
        on: bool,
    },
    SetMinIsr {
        topic: u8,
        to: i32,
    },
    /// A broker's process ends, and another begins at once; cleanly or not.
    Restart {
        broker: i32,
        clean: bool,
    },
    /// A broker is not heard of any more until it restarts.
    Silence {
        broker: i32,
    },
    Heartbeat {
        broker: i32,
    },
    WantShutDown {
        broker: i32,
    },
    DirectoryFails {
        broker: i32,
    },
    DirectoryReturns {
        broker: i32,
    },
    /// A leader proposes an ISR out of the replicas.
    AlterIsr {
        topic: u8,
        partition: i32,
        members: u8,
    },
    Reassign {
        topic: u8,
        partition: i32,
        target: Vec<i32>,
    },
    CancelReassignment {
        topic: u8,
        partition: i32,
    },
    Elect {
        topic: u8,
        partition: i32,
        unclean: bool,
    },
    Unregister {
        broker: i32,
    },
    ProducerIds {
        broker: i32,
    },
    Elr {
        on: bool,
    },
    Time {
        ms: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let topic = || 0u8..6;
    let partition = || 0i32..4;
    let broker = || 0..BROKERS;
    let brokers = || proptest::collection::vec(0..BROKERS, 1..4);
    prop_oneof![
        4 => (topic(), 1i32..4, 1i16..4, proptest::option::of(1i32..4)).prop_map(|(topic, partitions, replicas, min_isr)|
            Step::Create { topic, partitions, replicas, min_isr }),
        1 => (topic(), brokers()).prop_map(|(topic, replicas)| Step::CreateAssigned { topic, replicas }),
        1 => topic().prop_map(|topic| Step::Delete { topic }),
        1 => (topic(), 1i32..3).prop_map(|(topic, by)| Step::Grow { topic, by }),
        1 => (topic(), any::<bool>()).prop_map(|(topic, on)| Step::SetUnclean { topic, on }),
        1 => (topic(), 1i32..4).prop_map(|(topic, to)| Step::SetMinIsr { topic, to }),
        4 => (broker(), any::<bool>()).prop_map(|(broker, clean)| Step::Restart { broker, clean }),
        2 => broker().prop_map(|broker| Step::Silence { broker }),
        3 => broker().prop_map(|broker| Step::Heartbeat { broker }),
        2 => broker().prop_map(|broker| Step::WantShutDown { broker }),
        1 => broker().prop_map(|broker| Step::DirectoryFails { broker }),
        1 => broker().prop_map(|broker| Step::DirectoryReturns { broker }),
        8 => (topic(), partition(), any::<u8>()).prop_map(|(topic, partition, members)|
            Step::AlterIsr { topic, partition, members }),
        3 => (topic(), partition(), brokers()).prop_map(|(topic, partition, target)|
            Step::Reassign { topic, partition, target }),
        1 => (topic(), partition()).prop_map(|(topic, partition)| Step::CancelReassignment { topic, partition }),
        2 => (topic(), partition(), any::<bool>()).prop_map(|(topic, partition, unclean)|
            Step::Elect { topic, partition, unclean }),
        1 => broker().prop_map(|broker| Step::Unregister { broker }),
        1 => broker().prop_map(|broker| Step::ProducerIds { broker }),
        1 => any::<bool>().prop_map(|on| Step::Elr { on }),
        3 => (1i64..12_000).prop_map(|ms| Step::Time { ms }),
    ]
}

/// A cluster of five brokers on three racks, two directories each.
struct World {
    cluster: Cluster,
    epochs: BTreeMap<i32, i64>,
    silent: Vec<i32>,
    incarnations: u128,
}

impl World {
    fn new(version: MetadataVersion) -> Self {
        let mut cluster = Cluster::at(version, PROPERTIES, |_| {});
        let mut epochs = BTreeMap::new();
        for id in 0..BROKERS {
            epochs
                .insert(id, cluster.start_broker(id, id as u128 + 1, Some(["a", "b", "c"][id as usize % 3])));
        }
        Self { cluster, epochs, silent: Vec::new(), incarnations: 1000 }
    }

    fn take(&mut self, step: &Step) {
        match step.clone() {
            Step::Create { topic, partitions, replicas, min_isr } => {
                self.create(topic, partitions, replicas, min_isr)
            }
            Step::CreateAssigned { topic, replicas } => self.create_assigned(topic, replicas),
            Step::Delete { topic } => {
                let topics = vec![delete_topics_request::DeleteTopicState {
                    name: Some(name(topic)),
                    ..Default::default()
                }];
                self.cluster.ask(DeleteTopicsRequest { topics, ..Default::default() }, 6);
            }
            Step::Grow { topic, by } => {
                let found = self.cluster.image().topics.by_name(&name(topic));
                let count = found.map_or(0, |topic| topic.partitions.len() as i32) + by;
                let topic = create_partitions_request::CreatePartitionsTopic {
                    name: name(topic),
                    count,
                    assignments: None,
                    ..Default::default()
                };
                self.cluster.ask(CreatePartitionsRequest { topics: vec![topic], ..Default::default() }, 3);
            }
            Step::SetUnclean { topic, on } => {
                self.set(topic, "unclean.leader.election.enable", &on.to_string())
            }
            Step::SetMinIsr { topic, to } => self.set(topic, "min.insync.replicas", &to.to_string()),
            Step::Restart { broker, clean } => self.restart(broker, clean),
            Step::Silence { broker } => self.silent.push(broker),
            Step::Heartbeat { broker } => self.beat(broker, |_| {}),
            Step::WantShutDown { broker } => self.beat(broker, |request| request.want_shut_down = true),
            Step::DirectoryFails { broker } => {
                self.beat(broker, |request| request.offline_log_dirs = vec![second_directory(broker)]);
            }
            Step::DirectoryReturns { broker } => {
                let Some(found) = self.cluster.image().brokers.get(NodeId(broker)) else { return };
                let mut request = common::registration(broker, 0, found.rack.as_deref());
                request.incarnation_id = found.incarnation;
                request.log_dirs.push(second_directory(broker));
                self.cluster.ask(request, 4);
            }
            Step::AlterIsr { topic, partition, members } => self.alter_isr(topic, partition, members),
            Step::Reassign { topic, partition, target } => self.reassign(topic, partition, Some(target)),
            Step::CancelReassignment { topic, partition } => self.reassign(topic, partition, None),
            Step::Elect { topic, partition, unclean } => {
                let topics = vec![elect_leaders_request::TopicPartitions {
                    topic: name(topic),
                    partitions: vec![partition],
                    ..Default::default()
                }];
                let election_type = i8::from(unclean);
                let request = ElectLeadersRequest {
                    election_type,
                    topic_partitions: Some(topics),
                    ..Default::default()
                };
                self.cluster.ask(request, 2);
            }
            Step::Unregister { broker } => {
                self.cluster.ask(UnregisterBrokerRequest { broker_id: broker, ..Default::default() }, 0);
            }
            Step::ProducerIds { broker } => {
                let broker_epoch = self.epochs[&broker];
                let request =
                    AllocateProducerIdsRequest { broker_id: broker, broker_epoch, ..Default::default() };
                self.cluster.ask(request, 0);
            }
            Step::Elr { on } => {
                let update = update_features_request::FeatureUpdateKey {
                    feature: "eligible.leader.replicas.version".into(),
                    max_version_level: i16::from(on),
                    upgrade_type: if on { 1 } else { 2 },
                    ..Default::default()
                };
                self.cluster
                    .ask(UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() }, 2);
            }
            Step::Time { ms } => self.pass(ms),
        }
    }

    fn create(&mut self, topic: u8, partitions: i32, replicas: i16, min_isr: Option<i32>) {
        let configs = min_isr.map(|min| create_topics_request::CreatableTopicConfig {
            name: "min.insync.replicas".into(),
            value: Some(min.to_string().into()),
            ..Default::default()
        });
        let topic = create_topics_request::CreatableTopic {
            name: name(topic),
            num_partitions: partitions,
            replication_factor: replicas,
            configs: configs.into_iter().collect(),
            ..Default::default()
        };
        self.cluster.ask(CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
    }

    fn create_assigned(&mut self, topic: u8, replicas: Vec<i32>) {
        let assignment =
            create_topics_request::CreatableReplicaAssignment { broker_ids: replicas, ..Default::default() };
        let topic = create_topics_request::CreatableTopic {
            name: name(topic),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            ..Default::default()
        };
        self.cluster.ask(CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
    }

    fn set(&mut self, topic: u8, key: &str, value: &str) {
        use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let config = AlterableConfig { name: key.into(), value: Some(value.into()), ..Default::default() };
        let resource = AlterConfigsResource {
            resource_type: 2,
            resource_name: name(topic),
            configs: vec![config],
            ..Default::default()
        };
        self.cluster
            .ask(IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() }, 1);
    }

    fn restart(&mut self, broker: i32, clean: bool) {
        self.incarnations += 1;
        let mut request =
            common::registration(broker, self.incarnations, Some(["a", "b", "c"][broker as usize % 3]));
        request.log_dirs.push(second_directory(broker));
        request.previous_broker_epoch = if clean { self.epochs[&broker] } else { -1 };
        // Its own former session may still hold; then it has to wait.
        self.pass(10_000);
        let AnyResponse::BrokerRegistration(response) = self.cluster.ask(request, 4) else {
            panic!("another answer")
        };
        if response.error_code == ErrorCode::None.code() {
            self.epochs.insert(broker, response.broker_epoch);
            self.silent.retain(|silent| *silent != broker);
            self.beat(broker, |_| {});
        }
    }

    fn beat(&mut self, broker: i32, with: impl FnOnce(&mut BrokerHeartbeatRequest)) {
        if !self.silent.contains(&broker) {
            let epoch = self.epochs[&broker];
            self.cluster.heartbeat(broker, epoch, with);
        }
    }

    /// Time passes in small steps, and who is alive goes on being heard of.
    fn pass(&mut self, ms: i64) {
        let end = self.cluster.now.get() + ms;
        while self.cluster.now.get() < end {
            self.cluster.now.0 = end.min(self.cluster.now.get() + 2000);
            for broker in 0..BROKERS {
                let fenced =
                    self.cluster.image().brokers.get(NodeId(broker)).is_none_or(|broker| broker.fenced);
                self.beat(broker, |request| request.want_fence = fenced);
            }
            self.cluster.tick();
        }
    }

    fn alter_isr(&mut self, topic: u8, partition: i32, members: u8) {
        let Some((id, state)) = self.partition(topic, partition) else { return };
        let leader = state.leader;
        let isr = state
            .replicas
            .iter()
            .filter(|replica| **replica == leader || members & (1 << replica.get()) != 0);
        let epoch_of =
            |id: NodeId| self.cluster.image().brokers.get(id).map_or(-1, |broker| broker.epoch.get());
        let isr = isr.map(|id| alter_partition_request::BrokerState {
            broker_id: id.get(),
            broker_epoch: epoch_of(*id),
            ..Default::default()
        });
        let data = alter_partition_request::PartitionData {
            partition_index: partition,
            leader_epoch: state.leader_epoch.get(),
            new_isr_with_epochs: isr.collect(),
            partition_epoch: state.partition_epoch,
            ..Default::default()
        };
        let topics = vec![alter_partition_request::TopicData {
            topic_id: id,
            partitions: vec![data],
            ..Default::default()
        }];
        let request = AlterPartitionRequest {
            broker_id: leader.get(),
            broker_epoch: epoch_of(leader),
            topics,
            ..Default::default()
        };
        self.cluster.ask(request, 3);
    }

    fn reassign(&mut self, topic: u8, partition: i32, replicas: Option<Vec<i32>>) {
        use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
        let partition = ReassignablePartition { partition_index: partition, replicas, ..Default::default() };
        let topics =
            vec![ReassignableTopic { name: name(topic), partitions: vec![partition], ..Default::default() }];
        self.cluster.ask(AlterPartitionReassignmentsRequest { topics, ..Default::default() }, 1);
    }

    fn partition(&self, topic: u8, partition: i32) -> Option<(TopicId, PartitionState)> {
        let topic = self.cluster.image().topics.by_name(&name(topic))?;
        Some((topic.id, topic.partitions.get(PartitionIndex(partition))?.clone()))
    }
}

fn name(topic: u8) -> Text {
    // Some of the names collide.
    Text::from(["t", "u.v", "u_v", "w", "x.y", "z"][topic as usize])
}

fn second_directory(broker: i32) -> Uuid {
    Uuid::from_u128(u128::from_be_bytes(directory_of(broker).0) + 1_000_000)
}

fn check_partition(state: &PartitionState) {
    assert!(!state.replicas.is_empty(), "no replicas");
    assert_eq!(state.replicas.len(), state.directories.len());
    assert!(!state.has_leader() || state.isr.contains(&state.leader), "LeaderInSync: {state:?}");
    assert!(state.isr.iter().all(|id| state.replicas.contains(id)), "the ISR is of replicas: {state:?}");
    assert!(state.elr.iter().all(|id| !state.isr.contains(id)), "ISR and ELR are apart: {state:?}");
    assert!(state.elr.iter().all(|id| state.replicas.contains(id)), "the ELR is of replicas: {state:?}");
}

fn check(before: &Image, after: &Image) {
    let mut names = BTreeMap::new();
    for topic in after.topics.iter() {
        assert_eq!(names.insert(topic.name.clone(), topic.id), None, "OneName");
        let found = after.topics.by_id(topic.id);
        assert!(found.is_some_and(|found| found.name == topic.name), "OneName");
        assert!(!topic.partitions.is_empty());
        let old = before.topics.by_id(topic.id);
        for ((index, state), expected) in topic.partitions.iter().zip((0..).map(PartitionIndex)) {
            assert_eq!(index, expected, "partitions are numbered without gaps");
            check_partition(state);
            let Some(old) = old.and_then(|old| old.partitions.get(index)) else { continue };
            assert!(state.leader_epoch >= old.leader_epoch, "EpochsGrow");
            assert!(state == old || state.partition_epoch > old.partition_epoch, "EpochsGrow");
            assert!(state.leader == old.leader || state.leader_epoch > old.leader_epoch, "EpochsGrow");
        }
        let leader_lives =
            |state: &PartitionState| after.brokers.is_active(state.leader) || !state.has_leader();
        assert!(topic.partitions.iter().all(|(_, state)| leader_lives(state)), "who leads is active");
    }
    assert_eq!(names.len(), after.topics.len(), "OneName");
    assert!(after.producer_ids.next >= before.producer_ids.next);
}

fn replayed(records: &[(dohle_wire::MetadataRecord, i16)], mut image: Image, from: Offset) -> Image {
    for ((record, _), offset) in records.iter().zip(from.get()..) {
        image.replay(record, Offset(offset)).expect("in order");
    }
    image
}

/// The image after its own snapshot.
fn from_snapshot(image: &Image) -> Image {
    let mut fresh = Image::default();
    for (record, version) in image.to_records() {
        record.encode(version).expect("can be written in its version");
        fresh.replay(&record, image.offset).expect("in order");
    }
    fresh
}

fn run(version: MetadataVersion, steps: &[Step], snapshot_at: usize) {
    let mut world = World::new(version);
    let mut snapshot = None;
    for (at, step) in steps.iter().enumerate() {
        let before = world.cluster.image().clone();
        world.take(step);
        check(&before, world.cluster.image());
        if at == snapshot_at {
            snapshot = Some((from_snapshot(world.cluster.image()), world.cluster.next_offset()));
            assert_eq!(
                snapshot.as_ref().map(|(image, _)| image),
                Some(world.cluster.image()),
                "SnapshotIsState"
            );
        }
    }
    let state = world.cluster.image();
    assert_eq!(
        &replayed(&world.cluster.log, Image::default(), Offset(0)),
        state,
        "OneWriter: the log is the state"
    );
    if let Some((image, offset)) = snapshot {
        let tail = &world.cluster.log[offset.get() as usize..];
        assert_eq!(&replayed(tail, image, offset), state, "SnapshotIsState: snapshot and tail are the state");
    }
    assert_eq!(&from_snapshot(state), state, "SnapshotIsState");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold(steps in proptest::collection::vec(step(), 1..60), snapshot_at in 0usize..60) {
        run(MetadataVersion::LATEST_PRODUCTION, &steps, snapshot_at);
    }

    #[test]
    fn invariants_hold_at_older_versions(steps in proptest::collection::vec(step(), 1..40), level in 17i16..30) {
        let version = MetadataVersion::from_level(level).expect("known");
        run(version, &steps, 20);
    }
}
