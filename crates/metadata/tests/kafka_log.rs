//! A log that Kafka wrote: we read it, keep all of it, and write what Kafka wrote when we are asked what it was asked.

mod common;
mod script;

use std::collections::BTreeMap;

use common::Cluster;
use dohle_metadata::{Image, MetadataVersion};
use dohle_types::{NodeId, Offset, PartitionIndex, Uuid};
use dohle_wire::MetadataRecord;

const LOG: &str = include_str!("golden/kafka-log.txt");

/// A record of the fixture.
struct Written {
    offset: Offset,
    bytes: Vec<u8>,
    record: MetadataRecord,
    version: i16,
}

fn kafkas_log() -> Vec<Written> {
    let lines = LOG.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let mut next = || words.next().expect("offset and bytes");
            let offset = Offset(next().parse().expect("an offset"));
            let hex = next();
            let bytes: Vec<u8> = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"))
                .collect();
            let (record, version) =
                MetadataRecord::decode(bytes.clone().into()).expect("a record of Kafka's");
            Written { offset, bytes, record, version }
        })
        .collect()
}

#[test]
fn kafkas_records_are_read_and_kept() {
    let mut image = Image::default();
    for Written { offset, bytes, record, version, .. } in kafkas_log() {
        assert_eq!(record.encode(version).expect("can be written"), bytes, "{record:?}");
        image.replay(&record, offset).expect("Kafka's log is in order");
        if matches!(record, MetadataRecord::BeginTransaction(_)) {
            assert!(image.in_transaction() && image.stable().is_empty());
        }
    }
    assert!(!image.in_transaction());
    assert_eq!(image.features.metadata_version(), Some(MetadataVersion::LATEST_PRODUCTION));
    assert!(image.features.elr_enabled());
    assert_eq!(image.security.scram.len(), 3);
    let broker = image.brokers.get(NodeId(0)).expect("registered");
    assert!(
        broker.is_active() && broker.endpoint("PLAINTEXT").is_some_and(|endpoint| endpoint.port == 39092)
    );
    let good = image.topics.by_name("good").expect("created");
    assert_eq!(good.partitions.len(), 5);
    let partition = good.partitions.get(PartitionIndex(4)).expect("there are five");
    assert_eq!((partition.leader, &*partition.directories), (NodeId(0), &*broker.log_dirs));

    let mut from_snapshot = Image::default();
    for (record, version) in image.to_records() {
        let (read, _) =
            MetadataRecord::decode(record.encode(version).expect("can be written")).expect("can be read");
        from_snapshot.replay(&read, image.offset).expect("a snapshot is in order");
    }
    assert_eq!(from_snapshot, image);
}

#[test]
fn our_records_are_kafkas() {
    let mut cluster = Cluster::at(MetadataVersion::LATEST_PRODUCTION, script::PROPERTIES, |_| {});
    cluster.start_broker(0, 1, None);
    let start = cluster.log.len();
    script::run(&mut cluster, script::BY_BROKER);
    let mut names = Names::default();
    let ours: Vec<String> = cluster.log[start..]
        .iter()
        .map(|(record, version)| format!("v{version} {}", names.plain(record)))
        .collect();

    let log = kafkas_log();
    let unfenced = log
        .iter()
        .position(|written| matches!(&written.record, MetadataRecord::BrokerRegistrationChange(c) if c.fenced == -1))
        .expect("the broker was unfenced");
    let mut names = Names::default();
    let kafkas: Vec<String> = log[unfenced + 1..]
        .iter()
        .map(|written| format!("v{} {}", written.version, names.plain(&written.record)))
        .collect();
    let (ours, kafkas) = (without_order_of_keys(ours), without_order_of_keys(kafkas));
    for (at, (kafka, ours)) in kafkas.iter().zip(&ours).enumerate() {
        assert_eq!(ours, kafka, "record {at}");
    }
    assert_eq!(ours.len(), kafkas.len());
}

/// Kafka writes the keys of one request in the order of a hash map.
fn without_order_of_keys(mut lines: Vec<String>) -> Vec<String> {
    let is_config = |line: &str| line.contains("ConfigRecord {");
    for configs in lines.chunk_by_mut(|a, b| is_config(a) && is_config(b)) {
        configs.sort();
    }
    lines
}

/// Names for the ids that chance has given, in the order of their appearance.
#[derive(Default)]
struct Names(BTreeMap<Uuid, usize>);

impl Names {
    fn plain(&mut self, record: &MetadataRecord) -> String {
        let mut text = format!("{record:?}");
        let mut ids: Vec<Uuid> = Vec::new();
        match record {
            MetadataRecord::Topic(record) => ids.push(record.topic_id),
            MetadataRecord::Partition(record) => {
                ids.push(record.topic_id);
                ids.extend(&record.directories);
            }
            MetadataRecord::RemoveTopic(record) => ids.push(record.topic_id),
            _ => {}
        }
        for id in ids {
            let next = self.0.len();
            let name = *self.0.entry(id).or_insert(next);
            text = text.replace(&id.to_string(), &format!("id-{name}"));
        }
        text
    }
}
