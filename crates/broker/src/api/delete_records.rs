//! DeleteRecords: moves the start of a partition's log (`ReplicaManager.deleteRecords`).

use dohle_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicPartition, is_internal_topic};
use dohle_wire::messages::delete_records_request::DeleteRecordsRequest;
use dohle_wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use crate::partition::Refused;
use crate::request::Context;
use crate::upkeep;

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
                Some(_) if is_internal_topic(&topic.name) => Err(Refused::new(ErrorCode::InvalidTopicException)),
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

/// Deletes below `offset`; gives the new start of the log.
async fn delete(context: &Context, id: TopicPartition, offset: i64) -> Result<Offset, Refused> {
    let answer = context.core.ask(id, move |core, partition, answer| {
        let deleted = partition.map_err(Refused::new).and_then(|partition| {
            let deleted = partition.ask(LeaderEpoch::NONE, |log, watermarks, _| {
                if !log.settings().cleanup_delete {
                    return Err(ErrorCode::PolicyViolation);
                }
                let before = if offset == ALL { watermarks.high_watermark } else { Offset(offset) };
                if before < Offset::ZERO {
                    return Err(ErrorCode::OffsetOutOfRange);
                }
                log.delete_records_before(before, watermarks.high_watermark).map_err(|error| error.code())
            })?;
            upkeep::checkpoint_soon(core, partition);
            deleted.map_err(Refused::new)
        });
        _ = answer.send(deleted);
    });
    answer.await.unwrap_or_else(|_| Err(Refused::new(ErrorCode::NotLeaderOrFollower)))
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
