//! AssignReplicasToDirs: a broker tells which directory each of its replicas is in.

use dohle_types::{DirectoryId, ErrorCode, NodeId, PartitionIndex, TopicId};
use dohle_wire::messages::assign_replicas_to_dirs_request::AssignReplicasToDirsRequest;
use dohle_wire::messages::assign_replicas_to_dirs_response::{
    AssignReplicasToDirsResponse, DirectoryData, PartitionData, TopicData,
};

use super::error::{ApiError, Result};
use super::turn::{Movement, Turn};

impl Turn<'_> {
    pub(super) fn assign_replicas_to_dirs(
        &mut self,
        request: &AssignReplicasToDirsRequest,
    ) -> Result<AssignReplicasToDirsResponse> {
        if !self.metadata_version().directory_assignment_supported() {
            return Err(ApiError::unsupported_version("Directory assignment is not supported yet."));
        }
        self.check_broker_epoch(request.broker_id, request.broker_epoch)?;
        let node = NodeId(request.broker_id);
        let mut offline = Vec::new();
        let mut directories = Vec::with_capacity(request.directories.len());
        for directory in &request.directories {
            let mut topics = Vec::with_capacity(directory.topics.len());
            for topic in &directory.topics {
                let mut partitions = Vec::with_capacity(topic.partitions.len());
                for partition in &topic.partitions {
                    let index = PartitionIndex(partition.partition_index);
                    let assigned = self.assign(node, directory.id, topic.topic_id, index)?;
                    partitions.push(PartitionData {
                        partition_index: index.get(),
                        error_code: assigned.code(),
                        ..Default::default()
                    });
                    if assigned == ErrorCode::None && !self.is_online(node, directory.id) {
                        offline.push((topic.topic_id, index));
                    }
                }
                topics.push(TopicData { topic_id: topic.topic_id, partitions, ..Default::default() });
            }
            directories.push(DirectoryData { id: directory.id, topics, ..Default::default() });
        }
        if !offline.is_empty() {
            let movement = Movement { leaving: Some(node), ..Movement::default() };
            self.move_leaders(movement, |topic, index, _| offline.contains(&(topic, index)))?;
        }
        Ok(AssignReplicasToDirsResponse { directories, ..Default::default() })
    }

    fn assign(
        &mut self,
        node: NodeId,
        directory: DirectoryId,
        topic: TopicId,
        index: PartitionIndex,
    ) -> Result<ErrorCode> {
        let Some(found) = self.image().topics.by_id(topic) else {
            return Ok(ErrorCode::UnknownTopicId);
        };
        let Some(partition) = found.partitions.get(index) else {
            return Ok(ErrorCode::UnknownTopicOrPartition);
        };
        if !partition.replicas.contains(&node) {
            return Ok(ErrorCode::NotLeaderOrFollower);
        }
        self.change_partition(topic, index, |change| change.set_directory(node, directory))?;
        Ok(ErrorCode::None)
    }

    fn is_online(&self, node: NodeId, directory: DirectoryId) -> bool {
        self.image().brokers.get(node).is_some_and(|broker| broker.has_online_dir(directory))
    }
}
