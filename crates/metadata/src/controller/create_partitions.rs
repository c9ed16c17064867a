//! CreatePartitions: more partitions for topics there are.

use std::collections::BTreeMap;

use dohle_types::{ErrorCode, PartitionIndex};
use dohle_wire::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use dohle_wire::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use super::MAX_RECORDS_PER_REQUEST;
use super::create_topics::{ALL_FENCED, all_assigned_fenced};
use super::error::{ApiError, Result, parts};
use super::placement;
use super::turn::Turn;
use crate::image::PartitionState;

impl Turn<'_> {
    pub(super) fn create_partitions(
        &mut self,
        request: &CreatePartitionsRequest,
    ) -> Result<CreatePartitionsResponse> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *counts.entry(&topic.name).or_default() += 1;
        }
        let start = self.batch.mark();
        let mut results = Vec::new();
        for (&name, _) in counts.iter().filter(|(_, count)| **count > 1) {
            let duplicate = ApiError::invalid_request("Duplicate topic name.");
            results.push(result_of(name, &Err(duplicate)));
        }
        for topic in request.topics.iter().filter(|topic| counts[&*topic.name] == 1) {
            let before = self.batch.mark();
            let added = self.add_partitions(topic);
            if added.is_err() {
                self.batch.rewind(before);
            }
            results.push(result_of(&topic.name, &added));
        }
        if request.validate_only {
            self.batch.rewind(start);
        }
        Ok(CreatePartitionsResponse { results, ..Default::default() })
    }

    fn add_partitions(&mut self, request: &CreatePartitionsTopic) -> Result<()> {
        let topic = self.image().topics.by_name(&request.name);
        let topic = topic.ok_or_else(|| ApiError::bare(ErrorCode::UnknownTopicOrPartition))?;
        let id = topic.id;
        let existing = i32::try_from(topic.partitions.len()).expect("numbered by an i32");
        if request.count == existing {
            return Err(ApiError::invalid_partitions(format!("Topic already has {existing} partition(s).")));
        }
        if request.count < existing {
            return Err(ApiError::invalid_partitions(format!(
                "The topic {} currently has {existing} partition(s); {} would not be an increase.",
                request.name, request.count
            )));
        }
        let additional = usize::try_from(request.count - existing).expect("an increase");
        let replicas = topic.partitions.iter().next().map_or(0, |(_, partition)| partition.replicas.len());
        for (index, partition) in
            (existing..).map(PartitionIndex).zip(self.additional(request, additional, replicas)?)
        {
            let version = self.metadata_version();
            self.batch.push(partition.to_record(id, index, version), version.partition_record_version())?;
        }
        Ok(())
    }

    fn additional(
        &mut self,
        request: &CreatePartitionsTopic,
        additional: usize,
        replicas: usize,
    ) -> Result<Vec<PartitionState>> {
        let Some(assignments) = &request.assignments else {
            return self.placed(additional, replicas);
        };
        if assignments.len() != additional {
            return Err(ApiError::invalid_assignment(format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            )));
        }
        let first = request.count - i32::try_from(additional).expect("at most the count");
        let assigned = (first..).map(PartitionIndex).zip(assignments).map(|(index, assignment)| {
            let chosen = crate::image::node_ids(&assignment.broker_ids);
            self.check_manual_assignment(&chosen, Some(replicas))?;
            self.new_partition(&chosen).ok_or_else(|| all_assigned_fenced(index))
        });
        assigned.collect()
    }

    fn placed(&mut self, additional: usize, replicas: usize) -> Result<Vec<PartitionState>> {
        if additional > MAX_RECORDS_PER_REQUEST {
            let sentence = "Excessively large number of partitions per request.";
            return Err(ApiError::new(ErrorCode::PolicyViolation, sentence));
        }
        let replicas = i16::try_from(replicas).unwrap_or(i16::MAX);
        let brokers = placement::usable_brokers(self.image());
        let placed = placement::place(brokers, additional, replicas, &mut self.chance);
        let fenced = || {
            let sentence = format!("Unable to replicate the partition {replicas} time(s): {ALL_FENCED}");
            ApiError::invalid_replication_factor(sentence)
        };
        let placed = placed.map_err(ApiError::invalid_replication_factor)?;
        placed.iter().map(|replicas| self.new_partition(replicas).ok_or_else(fenced)).collect()
    }
}

fn result_of(name: &str, added: &Result<()>) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = parts(added);
    CreatePartitionsTopicResult { name: name.into(), error_code, error_message, ..Default::default() }
}
