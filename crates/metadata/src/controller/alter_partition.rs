//! AlterPartition: a leader tells which replicas are in sync.

use dohle_types::{ErrorCode, NodeId, PartitionIndex, TopicId};
use dohle_wire::messages::alter_partition_request::{self, AlterPartitionRequest, BrokerState};
use dohle_wire::messages::alter_partition_response::{self, AlterPartitionResponse};

use super::error::{ApiError, Result};
use super::partition_change::Election;
use super::turn::Turn;
use crate::image::{LeaderRecovery, PartitionState, raw_ids};

impl Turn<'_> {
    pub(super) fn alter_partition(
        &mut self,
        request: &AlterPartitionRequest,
    ) -> Result<AlterPartitionResponse> {
        if request.topics.is_empty() {
            return Ok(AlterPartitionResponse::default());
        }
        self.check_broker_epoch(request.broker_id, request.broker_epoch)?;
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for data in &topic.partitions {
                let altered = self.alter_one(NodeId(request.broker_id), topic.topic_id, data);
                partitions.push(altered.unwrap_or_else(|error| alter_partition_response::PartitionData {
                    partition_index: data.partition_index,
                    error_code: error.code.code(),
                    ..Default::default()
                }));
            }
            topics.push(alter_partition_response::TopicData {
                topic_id: topic.topic_id,
                partitions,
                ..Default::default()
            });
        }
        Ok(AlterPartitionResponse { topics, ..Default::default() })
    }

    fn alter_one(
        &mut self,
        leader: NodeId,
        topic_id: TopicId,
        data: &alter_partition_request::PartitionData,
    ) -> Result<alter_partition_response::PartitionData> {
        let index = PartitionIndex(data.partition_index);
        let topic = self.image().topics.by_id(topic_id);
        let topic = topic.ok_or_else(|| ApiError::bare(ErrorCode::UnknownTopicId))?;
        let isr = new_isr(self.version, data);
        let recovery =
            self.check_alteration(leader, topic.partitions.get(index), data, &isr).map_err(ApiError::bare)?;
        let unclean = self.unclean_election_enabled(&topic.name);
        self.change_partition(topic_id, index, |change| {
            if unclean {
                change.election = Election::Unclean;
            }
            change.isr = isr.iter().map(|state| NodeId(state.broker_id)).collect();
            change.recovery = recovery;
        })?;
        let topic = self.image().topics.by_id(topic_id).expect("changed, not removed");
        let after = topic.partitions.get(index).expect("changed, not removed");
        if after.leader != leader {
            // The ISR completed a reassignment that ends this leader's time.
            return Err(ApiError::bare(ErrorCode::NewLeaderElected));
        }
        Ok(alter_partition_response::PartitionData {
            partition_index: index.get(),
            leader_id: after.leader.get(),
            leader_epoch: after.leader_epoch.get(),
            isr: raw_ids(&after.isr),
            leader_recovery_state: after.leader_recovery.code(),
            partition_epoch: after.partition_epoch,
            ..Default::default()
        })
    }

    fn check_alteration(
        &self,
        leader: NodeId,
        partition: Option<&PartitionState>,
        data: &alter_partition_request::PartitionData,
        isr: &[BrokerState],
    ) -> std::result::Result<LeaderRecovery, ErrorCode> {
        let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        // A leader that knows more than the controller talks to a controller whose time is over.
        if data.leader_epoch > partition.leader_epoch.get()
            || data.partition_epoch > partition.partition_epoch
        {
            return Err(ErrorCode::NotController);
        }
        if data.leader_epoch < partition.leader_epoch.get() {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if leader != partition.leader {
            return Err(ErrorCode::InvalidRequest);
        }
        if data.partition_epoch < partition.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let ids: Vec<NodeId> = isr.iter().map(|state| NodeId(state.broker_id)).collect();
        let recovery =
            LeaderRecovery::from_code(data.leader_recovery_state).ok_or(ErrorCode::InvalidRequest)?;
        let recovering = recovery == LeaderRecovery::Recovering;
        if !is_valid_isr(&ids, &partition.replicas)
            || !ids.contains(&partition.leader)
            || (recovering && (ids.len() > 1 || partition.leader_recovery == LeaderRecovery::Recovered))
        {
            return Err(ErrorCode::InvalidRequest);
        }
        if !isr.iter().all(|state| self.may_join_isr(state)) {
            return Err(ErrorCode::IneligibleReplica);
        }
        Ok(recovery)
    }

    /// Whether the replica is the incarnation the leader thinks it is, and stays (KIP-903).
    fn may_join_isr(&self, state: &BrokerState) -> bool {
        let broker = self.image().brokers.get(NodeId(state.broker_id));
        let same = |epoch: i64| state.broker_epoch == -1 || state.broker_epoch == epoch;
        broker.is_some_and(|broker| broker.is_active() && same(broker.epoch.get()))
    }
}

/// The new ISR; leaders before version 3 do not tell which incarnations they mean.
fn new_isr(version: i16, data: &alter_partition_request::PartitionData) -> Vec<BrokerState> {
    match version {
        ..3 => data.new_isr.iter().map(|&id| BrokerState { broker_id: id, ..Default::default() }).collect(),
        _ => data.new_isr_with_epochs.clone(),
    }
}

/// Every member is a replica, and none is named twice.
fn is_valid_isr(isr: &[NodeId], replicas: &[NodeId]) -> bool {
    isr.iter().enumerate().all(|(at, id)| id.get() >= 0 && replicas.contains(id) && !isr[..at].contains(id))
}
