//! CreateTopics: new topics, with replicas chosen or given, and configuration of their own.

use std::collections::{BTreeMap, BTreeSet};

use dohle_config::describe;
use dohle_types::{ErrorCode, LeaderEpoch, NodeId, PartitionIndex, TopicId, validate_topic_name};
use dohle_wire::Text;
use dohle_wire::messages::TopicRecord;
use dohle_wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use dohle_wire::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};

use super::MAX_RECORDS_PER_REQUEST;
use super::config_values::{Change, ConfigTarget, overrides};
use super::error::{ApiError, Result, parts};
use super::placement;
use super::turn::Turn;
use crate::image::{ConfigMap, PartitionState, ResourceType};

/// The topic of the metadata log itself.
const METADATA_TOPIC: &str = "__cluster_metadata";

impl Turn<'_> {
    pub(super) fn create_topics(&mut self, request: &CreateTopicsRequest) -> Result<CreateTopicsResponse> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *counts.entry(&topic.name).or_default() += 1;
        }
        let wanted: Vec<&CreatableTopic> = request
            .topics
            .iter()
            .filter(|topic| counts[&*topic.name] == 1 && &*topic.name != METADATA_TOPIC)
            .collect();
        self.check_total_partitions(&wanted)?;

        let start = self.batch.mark();
        let mut results = Vec::with_capacity(wanted.len());
        for topic in wanted {
            let before = self.batch.mark();
            let created = self.create_topic(topic);
            if created.is_err() {
                self.batch.rewind(before);
            }
            match created {
                Err(error) if error.code == ErrorCode::PolicyViolation => return Err(error),
                created => results.push(self.topic_result(topic, &created)),
            }
        }
        for (name, count) in counts {
            let refused = match name {
                _ if count > 1 => "Duplicate topic name.".to_owned(),
                METADATA_TOPIC => format!("Creation of internal topic {METADATA_TOPIC} is prohibited."),
                _ => continue,
            };
            results.push(failed(name, &ApiError::invalid_request(refused)));
        }
        if request.validate_only {
            self.batch.rewind(start);
        }
        Ok(CreateTopicsResponse { topics: results, ..Default::default() })
    }

    /// Refuses a request too large to be looked at, before anything is made of its numbers.
    fn check_total_partitions(&self, topics: &[&CreatableTopic]) -> Result<()> {
        let partitions_of = |topic: &CreatableTopic| match topic.num_partitions {
            _ if !topic.assignments.is_empty() => topic.assignments.len() as u64,
            -1 => u64::from(self.settings.default_partitions.unsigned_abs()),
            count => u64::try_from(count).unwrap_or(0),
        };
        let total = topics.iter().fold(0, |sum: u64, topic| sum.saturating_add(partitions_of(topic)));
        if total > MAX_RECORDS_PER_REQUEST as u64 {
            let sentence = "Excessively large number of partitions per request.";
            return Err(ApiError::new(ErrorCode::PolicyViolation, sentence));
        }
        Ok(())
    }

    fn create_topic(&mut self, topic: &CreatableTopic) -> Result<TopicId> {
        self.check_new_name(&topic.name)?;
        let configs = creation_configs(topic)?;
        let target = ConfigTarget { kind: ResourceType::TOPIC, name: &topic.name, is_new: true };
        let changes: Vec<Change> = configs
            .iter()
            .map(|(key, value)| Change { key: key.clone(), value: Some(value.clone()) })
            .collect();
        self.validate_configs(&target, &changes, &[])?;
        let partitions = self.new_partitions(topic)?;

        let id = self.fresh_topic_id();
        let record = TopicRecord { name: topic.name.detached(), topic_id: id, ..Default::default() };
        self.batch.push(record, 0)?;
        // The configuration goes before the partitions: whoever opens them should know it.
        self.push_configs(&target, changes)?;
        let version = self.metadata_version();
        for (index, partition) in partitions {
            self.batch.push(partition.to_record(id, index, version), version.partition_record_version())?;
        }
        Ok(id)
    }

    fn check_new_name(&self, name: &str) -> Result<()> {
        let topics = &self.image().topics;
        if topics.by_name(name).is_some() {
            let sentence = format!("Topic '{name}' already exists.");
            return Err(ApiError::new(ErrorCode::TopicAlreadyExists, sentence));
        }
        let invalid = |sentence: String| ApiError::new(ErrorCode::InvalidTopicException, sentence);
        if let Some(existing) = topics.colliding_with(name) {
            return Err(invalid(format!("Topic '{name}' collides with existing topic: {existing}")));
        }
        validate_topic_name(name)
            .map_err(|error| invalid(format!("Topic name is invalid: {}", error.describe(name))))
    }

    fn new_partitions(&mut self, topic: &CreatableTopic) -> Result<BTreeMap<PartitionIndex, PartitionState>> {
        if !topic.assignments.is_empty() {
            return self.assigned_partitions(topic);
        }
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let sentence = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(ApiError::invalid_replication_factor(sentence));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            let sentence = "Number of partitions was set to an invalid non-positive value.";
            return Err(ApiError::invalid_partitions(sentence));
        }
        let count =
            if topic.num_partitions == -1 { self.settings.default_partitions } else { topic.num_partitions };
        let replicas = match topic.replication_factor {
            -1 => self.settings.default_replication_factor,
            given => given,
        };
        let refused = |reason: &str| {
            let sentence = format!("Unable to replicate the partition {replicas} time(s): {reason}");
            ApiError::invalid_replication_factor(sentence)
        };
        let count = usize::try_from(count).expect("checked to be positive");
        let brokers = placement::usable_brokers(self.image());
        let placed = placement::place(brokers, count, replicas, &mut self.chance)
            .map_err(|reason| refused(&reason))?;
        let mut partitions = BTreeMap::new();
        for (index, replicas) in (0..).map(PartitionIndex).zip(placed) {
            let partition = self.new_partition(&replicas).ok_or_else(|| refused(ALL_FENCED))?;
            partitions.insert(index, partition);
        }
        Ok(partitions)
    }

    /// The partitions of a topic whose replicas the user has chosen.
    fn assigned_partitions(
        &self,
        topic: &CreatableTopic,
    ) -> Result<BTreeMap<PartitionIndex, PartitionState>> {
        let both =
            |what| format!("A manual partition assignment was specified, but {what} was not set to -1.");
        if topic.replication_factor != -1 {
            return Err(ApiError::invalid_request(both("replication factor")));
        }
        if topic.num_partitions != -1 {
            return Err(ApiError::invalid_request(both("numPartitions")));
        }
        let mut replication_factor = None;
        let mut partitions = BTreeMap::new();
        for assignment in &topic.assignments {
            let index = PartitionIndex(assignment.partition_index);
            if partitions.contains_key(&index) {
                let sentence = format!("Found multiple manual partition assignments for partition {index}");
                return Err(ApiError::invalid_assignment(sentence));
            }
            let replicas = crate::image::node_ids(&assignment.broker_ids);
            self.check_manual_assignment(&replicas, replication_factor)?;
            replication_factor = Some(replicas.len());
            let partition = self.new_partition(&replicas).ok_or_else(|| all_assigned_fenced(index))?;
            partitions.insert(index, partition);
        }
        if partitions.keys().zip((0..).map(PartitionIndex)).any(|(index, expected)| *index != expected) {
            let sentence = "partitions should be a consecutive 0-based integer sequence";
            return Err(ApiError::invalid_assignment(sentence));
        }
        Ok(partitions)
    }

    /// Checks replicas that a user has chosen.
    pub(super) fn check_manual_assignment(&self, replicas: &[NodeId], expected: Option<usize>) -> Result<()> {
        let wrong = |what: String| {
            Err(ApiError::invalid_assignment(format!("The manual partition assignment {what}")))
        };
        if replicas.is_empty() {
            return wrong("includes an empty replica list.".to_owned());
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        let mut seen = BTreeSet::new();
        for id in sorted {
            match self.image().brokers.get(id) {
                None => return wrong(format!("includes broker {id}, but no such broker is registered.")),
                Some(broker) if !broker.has_uncordoned_dirs() => {
                    return wrong(format!("includes broker {id}, but all its log directories are cordoned."));
                }
                Some(_) if !seen.insert(id) => {
                    return wrong(format!("includes the broker {id} more than once."));
                }
                Some(_) => {}
            }
        }
        match expected {
            Some(expected) if expected != replicas.len() => wrong(format!(
                "includes a partition with {} replica(s), but this is not consistent with previous partitions, which \
                 have {expected} replica(s).",
                replicas.len()
            )),
            _ => Ok(()),
        }
    }

    /// A partition that nobody has written to; `None` when none of its replicas is active.
    pub(super) fn new_partition(&self, replicas: &[NodeId]) -> Option<PartitionState> {
        let isr: Vec<NodeId> =
            replicas.iter().copied().filter(|&id| self.image().brokers.is_active(id)).collect();
        let leader = *isr.first()?;
        Some(PartitionState {
            replicas: replicas.into(),
            directories: replicas.iter().map(|&id| self.default_dir(id)).collect(),
            isr: isr.into(),
            leader,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            ..Default::default()
        })
    }

    fn fresh_topic_id(&mut self) -> TopicId {
        loop {
            let id = self.chance.uuid();
            if self.image().topics.by_id(id).is_none() {
                return id;
            }
        }
    }

    fn topic_result(&self, topic: &CreatableTopic, created: &Result<TopicId>) -> CreatableTopicResult {
        let id = match created {
            Ok(id) => *id,
            Err(error) => return failed(&topic.name, error),
        };
        let made = self.image().topics.by_id(id).expect("it was just created");
        let replicas = made.partitions.iter().next().map_or(0, |(_, partition)| partition.replicas.len());
        let configs = self.image().configs.topic(&topic.name);
        let described = describe::topic(&overrides(configs), &self.broker_dynamic(), &self.settings.config);
        CreatableTopicResult {
            name: topic.name.clone(),
            topic_id: id,
            error_message: None,
            num_partitions: i32::try_from(made.partitions.len()).expect("bounded by the request"),
            replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
            configs: Some(
                described
                    .into_iter()
                    .map(|config| CreatableTopicConfigs {
                        name: config.name.into(),
                        value: config.value.filter(|_| !config.sensitive).map(Text::from),
                        read_only: config.read_only,
                        config_source: config.source as i8,
                        is_sensitive: config.sensitive,
                        ..Default::default()
                    })
                    .collect(),
            ),
            ..Default::default()
        }
    }
}

pub(super) const ALL_FENCED: &str = "All brokers are currently fenced or in controlled shutdown.";

pub(super) fn all_assigned_fenced(partition: PartitionIndex) -> ApiError {
    ApiError::invalid_assignment(format!(
        "All brokers specified in the manual partition assignment for partition {partition} are fenced or in controlled \
         shutdown."
    ))
}

fn failed(name: &str, error: &ApiError) -> CreatableTopicResult {
    let (error_code, error_message) = parts::<()>(&Err(error.clone()));
    CreatableTopicResult {
        name: name.into(),
        error_code,
        error_message,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

fn creation_configs(topic: &CreatableTopic) -> Result<ConfigMap> {
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|config| config.value.is_none()).map(|config| &*config.name).collect();
    if !nulls.is_empty() {
        let sentence = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(ApiError::invalid_config(sentence));
    }
    let set = topic
        .configs
        .iter()
        .filter_map(|config| Some((config.name.detached(), config.value.as_ref()?.detached())));
    Ok(set.collect())
}
