//! AlterPartitionReassignments and ListPartitionReassignments: partitions on their way to other brokers.

use dohle_types::{ErrorCode, NodeId, PartitionIndex, TopicId};
use dohle_wire::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition,
};
use dohle_wire::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use dohle_wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use dohle_wire::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};

use super::error::{ApiError, Result, parts};
use super::partition_change::Election;
use super::reassignment::{Reassignment, reverted};
use super::turn::Turn;
use crate::image::{PartitionState, Topic, node_ids, raw_ids};

impl Turn<'_> {
    pub(super) fn alter_partition_reassignments(
        &mut self,
        request: &AlterPartitionReassignmentsRequest,
    ) -> Result<AlterPartitionReassignmentsResponse> {
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for target in &topic.partitions {
                let altered =
                    self.alter_reassignment(&topic.name, target, request.allow_replication_factor_change);
                let (error_code, error_message) = parts(&altered);
                partitions.push(ReassignablePartitionResponse {
                    partition_index: target.partition_index,
                    error_code,
                    error_message,
                    ..Default::default()
                });
            }
            responses.push(ReassignableTopicResponse {
                name: topic.name.clone(),
                partitions,
                ..Default::default()
            });
        }
        let allow_replication_factor_change =
            request.topics.is_empty() || request.allow_replication_factor_change;
        Ok(AlterPartitionReassignmentsResponse {
            allow_replication_factor_change,
            error_message: None,
            responses,
            ..Default::default()
        })
    }

    fn alter_reassignment(
        &mut self,
        name: &str,
        target: &ReassignablePartition,
        other_factor: bool,
    ) -> Result<()> {
        let index = PartitionIndex(target.partition_index);
        let topic = self.image().topics.by_name(name);
        let topic =
            topic.ok_or_else(|| ApiError::unknown_topic(format!("Unable to find a topic named {name}.")))?;
        let partition = topic.partitions.get_shared(index);
        let partition = partition
            .ok_or_else(|| ApiError::unknown_topic(format!("Unable to find partition {name}:{index}.")))?
            .clone();
        let id = topic.id;
        match &target.replicas {
            None => self.cancel_reassignment(id, name, index, &partition),
            Some(replicas) => {
                self.start_reassignment(id, index, &partition, &node_ids(replicas), other_factor)
            }
        }
    }

    fn cancel_reassignment(
        &mut self,
        topic: TopicId,
        name: &str,
        index: PartitionIndex,
        partition: &PartitionState,
    ) -> Result<()> {
        if !partition.is_reassigning() {
            return Err(ApiError::bare(ErrorCode::NoReassignmentInProgress));
        }
        let back = reverted(&partition.replicas, &partition.adding, &partition.isr).ok_or_else(|| {
            ApiError::invalid_assignment("Invalid replica assignment: addingReplicas contains all replicas.")
        })?;
        let unclean = self.unclean_election_enabled(name);
        if back.unclean && !unclean {
            return Err(ApiError::invalid_assignment(format!(
                "Unable to revert partition assignment for {name}:{index} because it would require an unclean leader \
                 election."
            )));
        }
        self.change_partition(topic, index, |change| {
            if unclean {
                change.election = Election::Unclean;
            }
            change.isr = back.isr;
            change.replicas = back.replicas;
            change.removing.clear();
            change.adding.clear();
        })?;
        Ok(())
    }

    fn start_reassignment(
        &mut self,
        topic: TopicId,
        index: PartitionIndex,
        partition: &PartitionState,
        target: &[NodeId],
        other_factor: bool,
    ) -> Result<()> {
        self.check_manual_assignment(target, None)?;
        if !other_factor {
            check_same_factor(partition, target)?;
        }
        let Reassignment { replicas, removing, adding } = Reassignment::between(&partition.replicas, target);
        self.change_partition(topic, index, |change| {
            change.replicas = replicas;
            // With nothing to remove or to add the former lists stay: the target is the assignment as it is.
            if !removing.is_empty() {
                change.removing = removing;
            }
            if !adding.is_empty() {
                change.adding = adding;
            }
        })?;
        Ok(())
    }

    pub(super) fn list_partition_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        let topics = &self.image().topics;
        let ongoing: Vec<OngoingTopicReassignment> = match &request.topics {
            None => topics.iter().map(|topic| ongoing(topic, |_| true)).collect(),
            Some(asked) => asked
                .iter()
                .filter_map(|asked| Some((topics.by_name(&asked.name)?, &asked.partition_indexes)))
                .map(|(topic, wanted)| ongoing(topic, |index| wanted.contains(&index.get())))
                .collect(),
        };
        ListPartitionReassignmentsResponse {
            error_message: None,
            topics: ongoing.into_iter().filter(|topic| !topic.partitions.is_empty()).collect(),
            ..Default::default()
        }
    }
}

fn ongoing(topic: &Topic, wanted: impl Fn(PartitionIndex) -> bool) -> OngoingTopicReassignment {
    let partitions =
        topic.partitions.iter().filter(|(index, partition)| partition.is_reassigning() && wanted(*index));
    OngoingTopicReassignment {
        name: topic.name.clone(),
        partitions: partitions
            .map(|(index, partition)| OngoingPartitionReassignment {
                partition_index: index.get(),
                replicas: raw_ids(&partition.replicas),
                adding_replicas: raw_ids(&partition.adding),
                removing_replicas: raw_ids(&partition.removing),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn check_same_factor(partition: &PartitionState, target: &[NodeId]) -> Result<()> {
    let current = partition.replicas.iter().filter(|node| !partition.removing.contains(node)).count();
    if current == target.len() {
        return Ok(());
    }
    Err(ApiError::invalid_replication_factor(format!(
        "The replication factor is changed from {current} to {}",
        target.len()
    )))
}
