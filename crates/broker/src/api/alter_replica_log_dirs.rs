//! AlterReplicaLogDirs: which log directory a partition is to lie in (`ReplicaManager.alterReplicaLogDirs`). The answer says that it
//! was taken; DescribeLogDirs shows how far it is.

use std::collections::BTreeMap;

use dohle_metadata::Image;
use dohle_types::{ErrorCode, PartitionIndex, TopicPartition};
use dohle_wire::Text;
use dohle_wire::messages::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use dohle_wire::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};

use crate::moves;
use crate::request::Context;

/// A file system's bound on the name of a folder.
const MAX_FOLDER_NAME_LENGTH: usize = 255;
/// What the name of a copy's folder has behind the partition: a dot, 32 digits and the mark.
const MARK_LENGTH: usize = 1 + 32 + "-future".len();

pub async fn handle(context: Context, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse {
    // Of a partition that is named twice the last one counts.
    let mut wanted: BTreeMap<Text, BTreeMap<i32, Text>> = BTreeMap::new();
    for dir in request.dirs {
        for topic in dir.topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
            let partitions = wanted.entry(topic.name).or_default();
            partitions.extend(topic.partitions.into_iter().map(|partition| (partition, dir.path.clone())));
        }
    }
    let image = context.core.image();
    let mut results = Vec::with_capacity(wanted.len());
    for (topic_name, asked) in wanted {
        let mut partitions = Vec::with_capacity(asked.len());
        for (partition_index, path) in asked {
            let altered = alter(&context, &image, &topic_name, PartitionIndex(partition_index), &path).await;
            let error_code = altered.err().unwrap_or(ErrorCode::None).code();
            partitions.push(AlterReplicaLogDirPartitionResult {
                partition_index,
                error_code,
                ..Default::default()
            });
        }
        results.push(AlterReplicaLogDirTopicResult { topic_name, partitions, ..Default::default() });
    }
    AlterReplicaLogDirsResponse { results, ..Default::default() }
}

async fn alter(
    context: &Context,
    image: &Image,
    topic: &Text,
    partition: PartitionIndex,
    path: &str,
) -> Result<(), ErrorCode> {
    let (core, shared) = (&context.core, context.core.shared());
    if format!("{topic}-{partition}").len() + MARK_LENGTH > MAX_FOLDER_NAME_LENGTH {
        return Err(ErrorCode::InvalidTopicException);
    }
    let dirs = &shared.log_dirs;
    let target = dirs.directory_named(path).ok_or(ErrorCode::LogDirNotFound)?;
    if !dirs.is_served(target) {
        return Err(ErrorCode::KafkaStorageError);
    }
    if dirs.directory_id(target).is_some_and(|id| shared.lifecycle.cordoned().contains(&id)) {
        return Err(ErrorCode::InvalidReplicaAssignment);
    }
    let found =
        image.topics.by_name(topic).and_then(|topic| Some((topic.id, topic.partitions.get(partition)?)));
    let Some((id, state)) = found else {
        // It is made there when it comes.
        dirs.wish(topic, partition, target);
        return Err(ErrorCode::UnknownTopicOrPartition);
    };
    if !state.replicas.contains(&shared.node) {
        dirs.wish(topic, partition, target);
        return Err(ErrorCode::ReplicaNotAvailable);
    }
    let named = state.directory_of(shared.node).unwrap_or_default();
    if dirs.is_offline(topic, partition, named) {
        return Err(ErrorCode::KafkaStorageError);
    }
    let id = TopicPartition { topic: id, partition };
    // A partition is made when somebody first comes for it.
    let opened = core.ask(id, |_, partition, answer| _ = answer.send(partition.map(drop)));
    match opened.await {
        Ok(Ok(())) => moves::ask(core, topic, id, target).await,
        Ok(Err(ErrorCode::NotLeaderOrFollower)) | Err(_) => Err(ErrorCode::ReplicaNotAvailable),
        Ok(Err(code)) => Err(code),
    }
}
