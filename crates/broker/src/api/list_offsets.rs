//! ListOffsets: where a partition starts, ends, or was at a time (`ReplicaManager.fetchOffset`).

use std::collections::HashSet;

use dohle_env::task;
use dohle_log::{TimestampSearch, TimestampedOffset};
use dohle_metadata::Image;
use dohle_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicPartition};
use dohle_wire::Text;
use dohle_wire::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use dohle_wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use tokio::sync::oneshot;

use crate::partition::{Partition, Refused};
use crate::reading::Isolation;
use crate::request::Context;

/// Timestamps with a meaning of their own (`ListOffsetsRequest`, `OffsetSpec`), and the versions that know them.
mod special {
    pub const LATEST: i64 = -1;
    pub const EARLIEST: i64 = -2;
    pub const MAX_TIMESTAMP: i64 = -3;
    pub const EARLIEST_LOCAL: i64 = -4;
    pub const LATEST_TIERED: i64 = -5;
    pub const EARLIEST_PENDING_UPLOAD: i64 = -6;

    /// The first version that knows a timestamp.
    pub const fn since(timestamp: i64) -> i16 {
        match timestamp {
            MAX_TIMESTAMP => 7,
            EARLIEST_LOCAL => 8,
            LATEST_TIERED => 9,
            EARLIEST_PENDING_UPLOAD => 11,
            _ => 0,
        }
    }
}

/// From this version on answers tell leader epochs.
const EPOCHS_SINCE: i16 = 4;
/// The debugging consumer sees the end of the log.
const DEBUGGING_CONSUMER: i32 = -2;

type Answer = Result<TimestampedOffset, Refused>;

/// There is no such record.
const NOTHING: TimestampedOffset =
    TimestampedOffset { offset: Offset::NONE, timestamp: TimestampMs::NONE, leader_epoch: LeaderEpoch::NONE };

pub async fn handle(context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = match (request.replica_id, request.isolation_level) {
        (DEBUGGING_CONSUMER, _) => Isolation::LogEnd,
        (_, 1) => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let image = context.core.image();
    let duplicates = duplicates(&request.topics);
    let mut asked = Vec::new();
    for topic in &request.topics {
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(|partition| {
                let twice = duplicates.contains(&(&topic.name, partition.partition_index));
                (partition, ask(&context, &image, topic, partition, isolation, twice))
            })
            .collect();
        asked.push((topic, partitions));
    }
    let mut topics: Vec<ListOffsetsTopicResponse> = Vec::with_capacity(asked.len());
    for (topic, asked) in asked {
        let mut partitions: Vec<ListOffsetsPartitionResponse> = Vec::with_capacity(asked.len());
        for (partition, answer) in asked {
            let answer = match answer {
                Ok(receiver) => {
                    receiver.await.unwrap_or_else(|_| Err(Refused::new(ErrorCode::NotLeaderOrFollower)))
                }
                Err(code) => Err(Refused::new(code)),
            };
            partitions.push(respond(context.version, partition.partition_index, answer));
        }
        gather(&mut topics, &topic.name, partitions);
    }
    ListOffsetsResponse { topics, ..Default::default() }
}

/// Adds answers under one heading for each topic, and one answer for a partition that was named twice.
fn gather(
    topics: &mut Vec<ListOffsetsTopicResponse>,
    name: &Text,
    answers: Vec<ListOffsetsPartitionResponse>,
) {
    let at = topics.iter().position(|topic| topic.name == *name).unwrap_or_else(|| {
        topics.push(ListOffsetsTopicResponse { name: name.clone(), ..Default::default() });
        topics.len() - 1
    });
    for answer in answers {
        let twice = answer.error_code == ErrorCode::InvalidRequest.code();
        let known = &mut topics[at].partitions;
        if !twice || known.iter().all(|known| known.partition_index != answer.partition_index) {
            known.push(answer);
        }
    }
}

/// Partitions that the request names more than once.
fn duplicates(topics: &[ListOffsetsTopic]) -> HashSet<(&str, i32)> {
    let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
    for topic in topics {
        for partition in &topic.partitions {
            let name = (&*topic.name, partition.partition_index);
            if !seen.insert(name) {
                twice.insert(name);
            }
        }
    }
    twice
}

fn ask(
    context: &Context,
    image: &Image,
    topic: &ListOffsetsTopic,
    partition: &ListOffsetsPartition,
    isolation: Isolation,
    twice: bool,
) -> Result<oneshot::Receiver<Answer>, ErrorCode> {
    if twice {
        return Err(ErrorCode::InvalidRequest);
    }
    let timestamp = partition.timestamp;
    if timestamp < special::EARLIEST_PENDING_UPLOAD || context.version < special::since(timestamp) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let found = image.topics.by_name(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let id = TopicPartition { topic: found.id, partition: PartitionIndex(partition.partition_index) };
    let epoch = LeaderEpoch(partition.current_leader_epoch);
    let reader = context.peer.session.peer;
    Ok(context.core.ask(id, move |core, partition, answer| {
        let (core, partition) = (core.clone(), partition.cloned());
        let looked_up = partition
            .map_err(Refused::new)
            .and_then(|partition| Ok((look_up(&partition, timestamp, epoch, isolation)?, partition)));
        match looked_up {
            Ok((LookUp::Known(found), _)) => _ = answer.send(Ok(found)),
            Ok((LookUp::Search(search), partition)) => {
                task::spawn(async move {
                    let found = core.cold_reads.run(reader, move |_| search.run()).await;
                    let found = found.map(|found| found.unwrap_or(NOTHING));
                    _ = answer.send(found.map_err(|problem| partition.refuse_read(&problem)));
                });
            }
            Err(refused) => _ = answer.send(Err(refused)),
        }
    }))
}

/// What is known at once, or a search that may have to wait for the device.
enum LookUp {
    Known(TimestampedOffset),
    Search(TimestampSearch),
}

fn look_up(
    partition: &Partition,
    timestamp: i64,
    epoch: LeaderEpoch,
    isolation: Isolation,
) -> Result<LookUp, Refused> {
    partition.ask(epoch, |log, watermarks, leader_epoch| {
        let bound = match isolation {
            Isolation::LogEnd => log.end_offset(),
            Isolation::ReadUncommitted => watermarks.high_watermark.get(),
            Isolation::ReadCommitted => watermarks.last_stable.get(),
        };
        let at = |offset, leader_epoch| {
            LookUp::Known(TimestampedOffset { offset, timestamp: TimestampMs::NONE, leader_epoch })
        };
        match timestamp {
            special::LATEST => at(bound, leader_epoch),
            // Without tiers everything that is local is everything.
            special::EARLIEST | special::EARLIEST_LOCAL => {
                let start = log.start_offset();
                at(start, log.epoch_of(start).unwrap_or(LeaderEpoch::NONE))
            }
            special::LATEST_TIERED | special::EARLIEST_PENDING_UPLOAD => LookUp::Known(NOTHING),
            special::MAX_TIMESTAMP => LookUp::Search(log.search_max_timestamp(bound)),
            time => LookUp::Search(log.search_timestamp(TimestampMs(time), bound)),
        }
    })
}

fn respond(version: i16, partition_index: i32, answer: Answer) -> ListOffsetsPartitionResponse {
    match answer {
        Ok(found) => ListOffsetsPartitionResponse {
            partition_index,
            timestamp: found.timestamp.get(),
            offset: found.offset.get(),
            leader_epoch: if version >= EPOCHS_SINCE { found.leader_epoch.get() } else { -1 },
            ..Default::default()
        },
        Err(refused) => ListOffsetsPartitionResponse {
            partition_index,
            error_code: refused.code.code(),
            ..Default::default()
        },
    }
}
