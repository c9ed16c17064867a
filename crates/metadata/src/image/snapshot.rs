//! The image as the records of a snapshot.

use dohle_wire::MetadataRecord;
use dohle_wire::messages::{ConfigRecord, FeatureLevelRecord, ProducerIdsRecord, TopicRecord};

use super::Image;
use crate::MetadataVersion;

impl Image {
    /// The records that make [`Image::stable`] when they are replayed into an empty image, each with the version it has to be
    /// written in. `metadata.version` comes first: it tells how to read the others. What the cluster's version cannot say
    /// is left out, as in Kafka.
    pub fn to_records(&self) -> Vec<(MetadataRecord, i16)> {
        let stable = self.stable();
        let version = stable.features.metadata_version().unwrap_or(MetadataVersion::MINIMUM);
        let mut records = Vec::new();
        stable.write_features(&mut records);
        stable.write_nodes(version, &mut records);
        stable.write_topics(version, &mut records);
        stable.write_configs(&mut records);
        records
            .extend(stable.client_quotas.to_records().map(|quota| (MetadataRecord::ClientQuota(quota), 0)));
        if let Some(next) = stable.producer_ids.next {
            let record = ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: -1,
                next_producer_id: next.get(),
                ..Default::default()
            };
            records.push((MetadataRecord::ProducerIds(record), 0));
        }
        stable.write_security(version, &mut records);
        records
    }

    fn write_features(&self, records: &mut Vec<(MetadataRecord, i16)>) {
        for (name, level) in self.features.finalized() {
            let record = FeatureLevelRecord { name: name.into(), feature_level: level, ..Default::default() };
            records.push((MetadataRecord::FeatureLevel(record), 0));
        }
    }

    fn write_nodes(&self, version: MetadataVersion, records: &mut Vec<(MetadataRecord, i16)>) {
        for broker in self.brokers.iter() {
            let record = MetadataRecord::RegisterBroker(broker.to_record(version));
            records.push((record, version.register_broker_record_version()));
        }
        if version.controller_registration_supported() {
            let controllers = self.controllers.values();
            records.extend(controllers.map(|node| (MetadataRecord::RegisterController(node.to_record()), 0)));
        }
    }

    fn write_topics(&self, version: MetadataVersion, records: &mut Vec<(MetadataRecord, i16)>) {
        for topic in self.topics.iter() {
            let record = TopicRecord { name: topic.name.clone(), topic_id: topic.id, ..Default::default() };
            records.push((MetadataRecord::Topic(record), 0));
            for (index, partition) in topic.partitions.iter() {
                let record = MetadataRecord::Partition(partition.to_record(topic.id, index, version));
                records.push((record, version.partition_record_version()));
            }
        }
    }

    fn write_configs(&self, records: &mut Vec<(MetadataRecord, i16)>) {
        for (kind, resource, map) in self.configs.iter() {
            for (key, value) in map {
                let record = ConfigRecord {
                    resource_type: kind.code(),
                    resource_name: resource.clone(),
                    name: key.clone(),
                    value: Some(value.clone()),
                    ..Default::default()
                };
                records.push((MetadataRecord::Config(record), 0));
            }
        }
    }

    fn write_security(&self, version: MetadataVersion, records: &mut Vec<(MetadataRecord, i16)>) {
        let security = &self.security;
        records.extend(
            security.acls.values().map(|acl| (MetadataRecord::AccessControlEntry((**acl).clone()), 0)),
        );
        if version.scram_supported() {
            let scram = security.scram.values();
            records.extend(scram.map(|user| (MetadataRecord::UserScramCredential((**user).clone()), 0)));
        }
        if version.delegation_tokens_supported() {
            let tokens = security.tokens.values();
            records.extend(tokens.map(|token| (MetadataRecord::DelegationToken((**token).clone()), 0)));
        }
    }
}
