//! OffsetForLeaderEpoch: where a leader epoch ends, so that a replica or consumer finds where its log and this one part (KIP-101, 279).

use dohle_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicPartition};
use dohle_wire::messages::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use dohle_wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use crate::partition::Refused;
use crate::request::Context;

pub async fn handle(context: Context, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let image = context.core.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let id = image.topics.id_of(&topic.topic);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let answer = match id {
                Some(topic) => {
                    let id = TopicPartition { topic, partition: PartitionIndex(asked.partition) };
                    let (current, epoch) =
                        (LeaderEpoch(asked.current_leader_epoch), LeaderEpoch(asked.leader_epoch));
                    end_of_epoch(&context, id, current, epoch).await
                }
                None => Err(Refused::new(ErrorCode::UnknownTopicOrPartition)),
            };
            partitions.push(respond(asked.partition, answer));
        }
        topics.push(OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions,
            ..Default::default()
        });
    }
    OffsetForLeaderEpochResponse { topics, ..Default::default() }
}

async fn end_of_epoch(
    context: &Context,
    id: TopicPartition,
    current: LeaderEpoch,
    epoch: LeaderEpoch,
) -> Result<(LeaderEpoch, Offset), Refused> {
    let answer = context.core.ask(id, move |_, partition, answer| {
        let looked_up = partition
            .map_err(Refused::new)
            .and_then(|partition| partition.ask(current, |log, _, _| log.end_offset_for_epoch(epoch)));
        _ = answer.send(looked_up);
    });
    answer.await.unwrap_or_else(|_| Err(Refused::new(ErrorCode::NotLeaderOrFollower)))
}

fn respond(partition: i32, answer: Result<(LeaderEpoch, Offset), Refused>) -> EpochEndOffset {
    match answer {
        Ok((epoch, end)) => EpochEndOffset {
            partition,
            leader_epoch: epoch.get(),
            end_offset: end.get(),
            ..Default::default()
        },
        Err(refused) => EpochEndOffset { partition, error_code: refused.code.code(), ..Default::default() },
    }
}
