//! DeleteRecords: moves the start of a partition's log (`ReplicaManager.deleteRecords`).

use dohle_env::task;
use dohle_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicPartition, is_internal_topic};
use dohle_wire::messages::delete_records_request::DeleteRecordsRequest;
use dohle_wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use crate::log_dirs::Mark;
use crate::partition::{Partition, Refused};
use crate::request::Context;

/// "Up to the high watermark".
const ALL: i64 = -1;

pub async fn handle(context: Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let image = context.core.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let id = image.topics.id_of(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let answer = match id {
                None => Err(Refused::new(ErrorCode::UnknownTopicOrPartition)),
                Some(_) if is_internal_topic(&topic.name) => {
                    Err(Refused::new(ErrorCode::InvalidTopicException))
                }
                Some(topic) => {
                    let id = TopicPartition { topic, partition: PartitionIndex(asked.partition_index) };
                    delete(&context, id, asked.offset).await
                }
            };
            partitions.push(respond(asked.partition_index, answer));
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name.clone(), partitions, ..Default::default() });
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

/// Deletes below `offset`; gives the new start of the log once it is in the checkpoint, so that no restart brings the records back.
async fn delete(context: &Context, id: TopicPartition, offset: i64) -> Result<Offset, Refused> {
    let answer = context.core.ask(id, move |core, partition, answer| {
        let moved = partition.map_err(Refused::new).and_then(|partition| {
            let start = move_start(partition, offset)?;
            Ok((start, partition.mark()))
        });
        let dirs = core.shared().log_dirs.clone();
        task::spawn(async move {
            let stored = match moved {
                Ok((start, mark)) => {
                    let marks: Vec<Mark> = mark.into_iter().collect();
                    let written = task::blocking(move || dirs.checkpoint(&marks)).await;
                    written.map(|()| start).map_err(|problem| Refused::new(problem.code()))
                }
                Err(refused) => Err(refused),
            };
            _ = answer.send(stored);
        });
    });
    answer.await.unwrap_or_else(|_| Err(Refused::new(ErrorCode::NotLeaderOrFollower)))
}

fn move_start(partition: &Partition, offset: i64) -> Result<Offset, Refused> {
    let moved = partition.ask(LeaderEpoch::NONE, |log, watermarks, _| {
        if !log.settings().cleanup_delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let before = if offset == ALL { watermarks.high_watermark.get() } else { Offset(offset) };
        if before < Offset::ZERO {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        log.delete_records_before(before, watermarks.high_watermark).map_err(|error| error.code())
    })?;
    moved.map_err(Refused::new)
}

fn respond(partition_index: i32, answer: Result<Offset, Refused>) -> DeleteRecordsPartitionResult {
    match answer {
        Ok(start) => {
            DeleteRecordsPartitionResult { partition_index, low_watermark: start.get(), ..Default::default() }
        }
        Err(refused) => DeleteRecordsPartitionResult {
            partition_index,
            low_watermark: Offset::NONE.get(),
            error_code: refused.code.code(),
            ..Default::default()
        },
    }
}
